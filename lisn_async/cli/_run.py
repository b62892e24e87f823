"""Running a coroutine to its end, or to Ctrl-C, or to SIGTERM."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import TypeVar

Result = TypeVar("Result")


class Interrupted(BaseException):
    """SIGINT or SIGTERM came, and the coroutine was cancelled. Not an Exception: nobody handles it by mistake."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


def run(coroutine: Coroutine[object, object, Result]) -> Result:
    """The result of the coroutine; raises `Interrupted` where a signal cancelled it."""
    try:
        return asyncio.run(_until_sigterm(coroutine))
    except KeyboardInterrupt:  # asyncio cancels the task at SIGINT by itself
        raise Interrupted(signal.SIGINT) from None


async def _until_sigterm(coroutine: Coroutine[object, object, Result]) -> Result:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    came = False

    def stop() -> None:
        nonlocal came
        came = True
        task.cancel()

    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
        loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        return await coroutine
    except asyncio.CancelledError:
        if came:
            raise Interrupted(signal.SIGTERM) from None
        raise
