"""Time limits for many exchanges at once, on one timer of the loop.

`asyncio.timeout` sets a timer of its own for each block, which for a short exchange costs as much as decoding
the reply. Here the loop has one, for the limit that ends first; the others wait in a dict.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

STALL = 0.05
"""Seconds by which a timer may be late. Beyond that the loop stood still: blocked, suspended, or held in a debugger."""
MOMENT = 0.05
"""Seconds in which a loop that stood still reads what has arrived meanwhile."""


class Limits:
    """The limits that are running in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.running: dict[Limit, None] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.rings_at = 0.0
        self.has_stood_still = False

    def within(self, seconds: float) -> Limit:
        """A `with` block that is cancelled after so many seconds, and then raises `TimeoutError`."""
        return Limit(self, self.loop.time() + seconds)

    def __len__(self) -> int:
        """How many blocks are running."""
        return len(self.running)

    def rest(self) -> None:
        """Give the timer back if no block is running: it would stay with the loop until it rings."""
        if self.timer is not None and not self.running:
            self.timer.cancel()
            self.timer = None
            self.has_stood_still = False

    def ring_at(self, when: float) -> None:
        """Set the timer, and forget when it was set before."""
        if self.timer is not None:
            self.timer.cancel()
        self.rings_at = when
        self.timer = self.loop.call_at(when, self._ring)

    def _ring(self) -> None:
        """End the blocks whose time is up, and wait for the next. Most have ended by themselves long since.

        Not at once where the timer is late: a reply may have come in time, and wait to be read. It is worth a moment,
        since a create whose reply is thrown away may exist.
        """
        self.timer = None
        self.has_stood_still = not self.has_stood_still and self.loop.time() - self.rings_at > STALL
        if self.has_stood_still:
            self.ring_at(self.loop.time() + MOMENT)
            return
        for limit in [limit for limit in self.running if limit.ends <= self.rings_at]:
            del self.running[limit]
            limit.end()
        if self.running:
            self.ring_at(min(limit.ends for limit in self.running))


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
        limits = self._limits
        limits.running[self] = None
        if limits.timer is None or self.ends < limits.rings_at:
            limits.ring_at(self.ends)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_over:
            self._limits.running.pop(self, None)
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """The time is up."""
        self._is_over = True
        self._task.cancel()


def is_being_cancelled() -> bool:
    """Whether a `CancelledError` is meant for the current task, and not for something that it waited for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
