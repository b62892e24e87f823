"""Whose turn it is to send, and when, where a client has a `RateLimit`.

In each event loop requests queue for their turn, which is handed on in the order they came; whoever is cancelled
leaves the queue. The one whose turn it is sleeps until the window has room, so no more than one wakes up for each permit.
The loops of other threads, each with one such request, meet in `Window`. A permit is stamped when it is given and
never promised for later: whoever gives up leaves no gap, and a loop that stands still holds up nobody elsewhere.

Only Redis is asked for all that wait here at once (`_shared_permits`).
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from ._forks import opening
from .errors import ConfigurationError

if TYPE_CHECKING:
    from ._retry import Pause
    from ._shared_permits import Link, SharedWindow
    from .rate_limit import Rate, RateLimit


Sleep: TypeAlias = Callable[[float], Awaitable[None]]

LATE = 0.05
"""Seconds after its moment for which something is left to a loop that was told to wait."""
GRACE = 0.005
"""Seconds that it has the first choice then."""


class Queue:
    """Those of one event loop that wait for a permit; it is the turn of the first.

    `asyncio.Lock` looks through all of them for each one that leaves.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.link: Link | None = None
        self._is_taken = False
        self._behind: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

    async def acquire(self, by: float) -> bool:
        """Wait for one's turn; False if it did not come by then."""
        if not self._is_taken:
            self._is_taken = True
            return True
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self._behind[turn] = None
        timer = None if by == math.inf else loop.call_later(by - time.monotonic(), _settle, turn, False)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.release()
            raise
        finally:
            self._behind.pop(turn, None)
            if timer is not None:
                timer.cancel()

    def release(self) -> None:
        """Let the next one have its turn."""
        while self._behind:
            turn, _ = self._behind.popitem(last=False)
            if _settle(turn, True):
                return
        self._is_taken = False


def _settle(turn: asyncio.Future[bool], is_theirs: bool) -> bool:
    """Whether that was still open."""
    if turn.done():
        return False
    turn.set_result(is_theirs)
    return True


class Window:
    """When this process sent its last requests: at most `most` in any `seconds` of each rate. For any thread."""

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        self._rates = rates
        self._at_once = min(most for most, _ in rates)
        # By queue; those of loops that are gone go with them.
        self._told: WeakKeyDictionary[Queue, float] = WeakKeyDictionary()
        self._shares: WeakKeyDictionary[Queue, int] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._sent: deque[float] = deque(maxlen=max(most for most, _ in rates))
        _live.add(self)

    def take(self, queue: Queue) -> float:
        """Seconds until the first of a queue may be sent; 0.0 if now, and then it counts."""
        with self._lock:
            now = time.monotonic()
            if wait := self._wait(now, 0):
                self._told[queue] = now + wait
            elif not (self._told and (wait := self._leaves_to_others(queue, now))):
                self._sent.append(now)
            return wait

    def _leaves_to_others(self, queue: Queue, now: float) -> float:
        """Seconds to wait for whoever had its share, as long as other loops are about to take theirs.

        All that were told to wait wake up at the same moment, and the first could take everything, each time.
        """
        self._told.pop(queue, None)
        for other in [other for other, at in self._told.items() if at + LATE < now]:
            del self._told[other]  # it stands still, or has nobody left
        share = self._shares.get(queue, math.ceil(self._at_once / (len(self._told) + 1)))
        if share and self._told:
            self._shares[queue] = share - 1
            return 0.0
        self._shares.pop(queue, None)
        return GRACE if self._told else 0.0

    def seconds_until(self, ahead: int) -> float:
        """Seconds until a request may be sent, at the earliest, if so many go first."""
        with self._lock:
            return self._wait(time.monotonic(), ahead)

    def _wait(self, now: float, ahead: int) -> float:
        sent, longest = self._sent, 0.0
        for most, seconds in self._rates:
            rounds, over = divmod(ahead, most) if ahead else (0, 0)
            place = len(sent) - most + over  # of the one that has to leave the window first
            wait = sent[place] + seconds - now if place >= 0 else 0.0
            longest = max(longest, max(0.0, wait) + rounds * seconds)
        return longest

    def begin_anew(self) -> None:
        """In a child: the lock may be held by a thread that is not here."""
        self._lock = threading.Lock()
        self._sent.clear()
        self._told.clear()
        self._shares.clear()


class Wait(NamedTuple):
    """What somebody who wants to send is told: not yet."""

    seconds: float
    """Until it can be sent, at the earliest."""
    asks_again: float
    """Seconds as well. Sooner, where the answer takes its time."""


class Permits:
    """The permits of a client."""

    def __init__(self, limit: RateLimit, pause: Pause) -> None:
        self._limit = limit
        self._pause = pause
        self._window = Window(limit.rates)
        self._shared: SharedWindow | None = None
        if limit.redis is not None:
            try:
                with opening.lock:
                    from ._shared_permits import SharedWindow
            except ImportError as absent:
                raise ConfigurationError(
                    "RateLimit: redis needs the packages redis and pyrate-limiter: pip install 'lisn[redis]'"
                    f" ({absent})"
                ) from None
            self._shared = SharedWindow(limit, self._window, pause)

    async def take(self, queue: Queue, by: float, sleep: Sleep = asyncio.sleep) -> float | None:
        """Return when a request may be sent, None; or at once the seconds that it would have to wait, beyond `by`.

        `by` is a moment of the monotonic clock. What `sleep` raises ends the wait.
        """
        wait = self._soonest(queue.waiting)
        if time.monotonic() + wait >= by:
            return wait
        queue.waiting += 1
        try:
            if not await queue.acquire(by):
                return max(self._soonest(queue.waiting - 1), by - time.monotonic())
            try:
                while (told := await self._ask(queue)) is not None:
                    if time.monotonic() + told.seconds >= by:
                        return told.seconds
                    await sleep(told.asks_again)
            finally:
                queue.release()
        finally:
            queue.waiting -= 1
        return None

    def why(self, wait: float) -> str:
        """What to tell whoever cannot wait so long."""
        limit = self._limit
        numbers = f"{limit.requests} in {limit.per_seconds:.12g} s"
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

    async def _ask(self, queue: Queue) -> Wait | None:
        """None if the first of a queue may be sent, and then it counts."""
        wait = self._pause.seconds_left(time.monotonic())
        if not wait:
            if self._shared is not None:
                return await self._shared.take(queue)
            wait = self._window.take(queue)
        return Wait(wait, wait) if wait else None

    def _soonest(self, ahead: int) -> float:
        """Seconds that it takes at least, as far as this process knows, if so many go first."""
        return max(self._pause.seconds_left(time.monotonic()), self._window.seconds_until(ahead))


_live: WeakSet[Window] = WeakSet()


def _begin_anew() -> None:
    for window in list(_live):
        window.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
