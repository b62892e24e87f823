"""Time limits for many exchanges at once, on one timer of the loop.

`asyncio.timeout` sets a timer of its own for each block, which for a short exchange costs as much as decoding
the reply. Here the loop has one, for the limit that ends first; the others wait in a dict.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Limits:
    """The limits that are running in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: dict[Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def within(self, seconds: float) -> Limit:
        """A `with` block that is cancelled after so many seconds, and then raises `TimeoutError`."""
        return Limit(self, self.loop.time() + seconds)

    def __len__(self) -> int:
        """How many blocks are running."""
        return len(self._running)

    def rest(self) -> None:
        """Give the timer back if no block is running: it would stay with the loop until it rings."""
        if self._timer is not None and not self._running:
            self._timer.cancel()
            self._timer = None

    def start(self, limit: Limit) -> None:
        self._running[limit] = None
        if self._timer is None or limit.ends < self._rings_at:
            self._set_timer(limit.ends)

    def stop(self, limit: Limit) -> None:
        self._running.pop(limit, None)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = when
        self._timer = self.loop.call_at(when, self._ring)

    def _ring(self) -> None:
        """End the blocks whose time is up, and wait for the next. Most have ended by themselves long since."""
        self._timer = None
        for limit in [limit for limit in self._running if limit.ends <= self._rings_at]:
            del self._running[limit]
            limit.end()
        if self._running:
            self._set_timer(min(limit.ends for limit in self._running))


class Limit:
    """One block and when it ends, with the rules of `asyncio.timeout`: a cancellation that came from
    somebody else stays one.
    """

    __slots__ = ("_cancelling", "_is_over", "_limits", "_task", "ends")

    def __init__(self, limits: Limits, ends: float) -> None:
        self.ends = ends
        self._limits = limits
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task(self._limits.loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._limits.start(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_over:
            self._limits.stop(self)
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """The time is up."""
        self._is_over = True
        self._task.cancel()
