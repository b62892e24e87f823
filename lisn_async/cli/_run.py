"""Running a coroutine to its end, or to Ctrl-C, or to SIGTERM."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from typing import NoReturn, TypeVar

Result = TypeVar("Result")


class Interrupted(BaseException):
    """SIGINT or SIGTERM came, and the coroutine was cancelled. Not an Exception: nobody handles it by mistake."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM raises `Interrupted` meanwhile, as Ctrl-C raises KeyboardInterrupt: what is open is closed."""

    def stop(*_: object) -> NoReturn:
        raise Interrupted(signal.SIGTERM)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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

    before = signal.getsignal(signal.SIGTERM)
    is_ours = False
    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
        loop.add_signal_handler(signal.SIGTERM, stop)
        is_ours = True
    try:
        return await coroutine
    except asyncio.CancelledError:
        if came:
            raise Interrupted(signal.SIGTERM) from None
        raise
    finally:
        if is_ours:  # the loop would leave the default behind, which ends the process at once
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)
