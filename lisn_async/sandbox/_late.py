"""Requests carried out after their client was told otherwise, and waiting until there are none left."""

import asyncio
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future


class LateCommits:
    """The late commits of one running sandbox.

    A lock and `concurrent.futures`, as in `SeenLog`: who waits may be in another thread or loop than the server.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._due: dict[int, asyncio.TimerHandle] = {}
        self._waiting: list[Future[None]] = []

    def __len__(self) -> int:
        return len(self._due)

    def schedule(self, delay: float, commit: Callable[[], object]) -> None:
        """Carry out `commit` in `delay` seconds."""
        number = next(self._numbers)
        with self._lock:
            self._due[number] = self._loop.call_later(delay, self._carry_out, number, commit)

    def drop(self) -> None:
        """Forget those that have not happened."""
        with self._lock:
            dropped = list(self._due.values())
            self._due.clear()
        for timer in dropped:
            self._loop.call_soon_threadsafe(timer.cancel)
        self._wake_if_quiet()

    async def quiet(self) -> None:
        """Wait until none is outstanding."""
        future: Future[None] = Future()
        with self._lock:
            if not self._due:
                return
            self._waiting.append(future)
        try:
            await asyncio.wrap_future(future)
        finally:
            with self._lock:
                self._waiting = [other for other in self._waiting if other is not future]

    def _carry_out(self, number: int, commit: Callable[[], object]) -> None:
        # With the lock: another thread that has dropped it may rely on it not happening any more.
        with self._lock:
            try:
                if number in self._due:
                    commit()
            finally:
                self._due.pop(number, None)
        self._wake_if_quiet()

    def _wake_if_quiet(self) -> None:
        with self._lock:
            if self._due:
                return
            ready, self._waiting = self._waiting, []
        for future in ready:
            if future.set_running_or_notify_cancel():  # False if the waiter gave up in the same moment
                future.set_result(None)
