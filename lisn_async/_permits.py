"""Whose turn it is to send, and when, where a client has a `RateLimit`.

In each event loop requests queue for a lock, which asyncio hands on in the order they came; whoever is cancelled
leaves the queue. The one that holds it sleeps until the window has room, so no more than one wakes up for each permit.
The loops of other threads, each with one such request, meet in `Window`. A permit is stamped when it is given and
never promised for later: whoever gives up leaves no gap, and a loop that stands still holds up nobody elsewhere.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakSet

from ._forks import opening

if TYPE_CHECKING:
    from ._retry import Pause
    from ._shared_permits import SharedWindow
    from .rate_limit import RateLimit


class Queue:
    """Those of one event loop that wait for a permit; it is the turn of the first."""

    def __init__(self) -> None:
        self.waiting = 0
        self._turn = asyncio.Lock()

    async def acquire(self, by: float) -> bool:
        """Wait for one's turn; False if it did not come by then."""
        if by == math.inf or self.waiting == 1:
            return await self._turn.acquire()
        try:
            async with asyncio.timeout(by - time.monotonic()):
                return await self._turn.acquire()
        except TimeoutError:
            return False

    def release(self) -> None:
        """Let the next one have its turn."""
        self._turn.release()


class Window:
    """When this process sent its last requests: at most `most` in any `seconds`. For any thread."""

    def __init__(self, most: int, seconds: float) -> None:
        self.seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._sent: deque[float] = deque(maxlen=most)
        _live.add(self)

    def take(self) -> float:
        """Seconds until a request may be sent; 0.0 if now, and then it counts."""
        with self._lock:
            now = time.monotonic()
            wait = self._wait(now, 0)
            if not wait:
                self._sent.append(now)
            return wait

    def note(self) -> None:
        """Count a request that somebody else has let out."""
        with self._lock:
            self._sent.append(time.monotonic())

    def seconds_until(self, ahead: int) -> float:
        """Seconds until a request may be sent, at the earliest, if so many go first."""
        with self._lock:
            return self._wait(time.monotonic(), ahead)

    def _wait(self, now: float, ahead: int) -> float:
        rounds, ahead = divmod(ahead, self._most)
        leaves_next = ahead - (self._most - len(self._sent))
        wait = self._sent[leaves_next] + self.seconds - now if leaves_next >= 0 else 0.0
        return max(0.0, wait) + rounds * self.seconds

    def begin_anew(self) -> None:
        """In a child: the lock may be held by a thread that is not here."""
        self._lock = threading.Lock()
        self._sent.clear()


class Permits:
    """The permits of a client."""

    def __init__(self, limit: RateLimit, pause: Pause) -> None:
        self._limit = limit
        self._pause = pause
        self._window = Window(limit.most, limit.seconds)
        self._shared: SharedWindow | None = None
        if limit.redis is not None:
            with opening.lock:
                from ._shared_permits import SharedWindow  # pyrate-limiter and redis, for whoever has them

            self._shared = SharedWindow(limit, self._window)

    async def take(self, queue: Queue, by: float) -> float | None:
        """Return when a request may be sent, None; or at once the seconds that it would have to wait, beyond `by`.

        `by` is a moment of the monotonic clock.
        """
        wait = self._soonest(queue.waiting)
        if time.monotonic() + wait >= by:
            return wait
        queue.waiting += 1
        try:
            if not await queue.acquire(by):
                return self._soonest(queue.waiting - 1)
            try:
                while wait := await self._seconds_to_wait():
                    if time.monotonic() + wait >= by:
                        return wait
                    await asyncio.sleep(wait)
            finally:
                queue.release()
        finally:
            queue.waiting -= 1
        return None

    def why(self, wait: float) -> str:
        """What to tell whoever cannot wait so long."""
        limit = self._limit
        numbers = f"{limit.requests} in {limit.per_seconds:g} s"
        if limit.burst is not None:
            numbers += f", at most {limit.burst} at once"
        return f"the rate limit of this client ({numbers}), or a pause, lets it out in {wait:.1f} s, which is too long"

    async def declined(self, seconds: float | None) -> None:
        """Tell all who share the permits that the service asks for a pause; None if it does not say how long."""
        if self._shared is not None:
            await self._shared.hold(seconds)

    async def aclose(self) -> None:
        """Close what is open for the permits, if they are shared."""
        if self._shared is not None:
            await self._shared.aclose()

    async def _seconds_to_wait(self) -> float:
        """0.0 if a request may be sent, and then it counts."""
        pause = self._pause.seconds_left(time.monotonic())
        if pause or self._shared is None:
            return pause or self._window.take()
        return await self._shared.take()

    def _soonest(self, ahead: int) -> float:
        """Seconds that it takes at least, as far as this process knows, if so many go first."""
        return max(self._pause.seconds_left(time.monotonic()), self._window.seconds_until(ahead))


_live: WeakSet[Window] = WeakSet()


def _begin_anew() -> None:
    for window in list(_live):
        window.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
