"""How many creates are under way at once: additive increase, multiplicative decrease, as TCP finds its speed.

Until the service first pushes back the limit doubles with every window of successes; after that it grows by
one a window and shrinks to 0.7 of itself, at most once a round trip, on 429, 503 and timeouts.
"""

from __future__ import annotations

import asyncio
from collections import deque

START = 8
SHRINK = 0.7


class Pace:
    """A semaphore whose size follows what the service can take, between 1 and `most`."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self.limit = min(self._most, START)
        self._under_way = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._is_starting = True
        self._shrunk_at = float("-inf")
        self._round_trip = 0.0

    async def acquire(self) -> None:
        """Wait until one more may be sent."""
        if self._under_way < int(self.limit) and not self._waiters:
            self._under_way += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it was our turn already
            elif turn in self._waiters:
                self._waiters.remove(turn)
            raise

    def release(self) -> None:
        """One less is under way."""
        self._under_way -= 1
        while self._waiters and self._under_way < int(self.limit):
            turn = self._waiters.popleft()
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)

    def succeeded(self, seconds: float) -> None:
        """A request succeeded after so many seconds; grow if the limit was in use."""
        self._round_trip += (seconds - self._round_trip) / 8 if self._round_trip else seconds
        if 2 * self._under_way > self.limit and self.limit < self._most:
            self.limit = min(self._most, self.limit + (1.0 if self._is_starting else 1.0 / self.limit))

    def pushed_back(self, now: float) -> None:
        """The service declined, or took too long."""
        self._is_starting = False
        if now - self._shrunk_at > self._round_trip:
            self._shrunk_at = now
            self.limit = max(1.0, self.limit * SHRINK)
