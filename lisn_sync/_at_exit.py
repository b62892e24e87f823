"""The end of the program: what is open is closed, and nobody is waited for (rule 5 in `_bridge.py`)."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

from ._calls import Call
from ._loop import LEAVE, Background, TooLate, home

C = TypeVar("C")
T = TypeVar("T")

OVER = "lisn_sync was called after the end of the program"


def adopt(core: C, close: Callable[[C], Coroutine[Any, Any, None]]) -> C:
    """See to it that this is closed when the program ends, if it still exists then."""
    home.closers[core] = close
    return core


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives without waiting for anything, for a `__del__` in the very last moments.

    No loop can be made there any more, and what such a `__del__` closes is closed already.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    except RuntimeError as error:  # there is no running event loop
        raise TooLate(OVER) from error
    coroutine.close()
    raise TooLate(OVER)


def _leave() -> None:
    """Close what is open, through the loop; leave the loop running.

    Stopped, it would make Python 3.12 print "can't create new thread at interpreter shutdown". A handler that was
    registered before this one may still call: each such call gets a loop of its own, which closes what it opened.
    """
    home.is_over = True
    background, home.background = home.background, None
    if background is not None and background.is_alive() and not background.is_current():
        _close_through(background)
        background.leave_behind()
    home.has_left.set()


def _close_through(background: Background) -> None:
    cores = [core for reference in reversed(home.closers.keyrefs()) if (core := reference()) is not None]
    closing = Call(background)
    hand_over, background.hand_over = background.hand_over, _drop
    with contextlib.suppress(BaseException):
        closers = [partial(home.closers[core], core) for core in cores]
        hand_over(closing._begin, _close_all, (closing, closers), {})
        closing.sleep(LEAVE)


def _drop(*_: object) -> None:
    """For a daemon thread that calls in this very moment: it waits, and most likely ends with the program."""


async def _close_all(closing: Call, closers: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    calls = closing.background.calls - {closing}
    cancelled = [task for call in calls if (task := call.leave()) is not None]
    if cancelled:
        await asyncio.wait(cancelled)
    for close in closers:
        with contextlib.suppress(Exception):
            await close()


atexit.register(_leave)
