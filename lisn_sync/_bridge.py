"""Blocking calls over one background event loop.

    the caller's thread                       the loop's thread: one per process, daemon
    -------------------                       ------------------------------------------
    run(client.get, "ast_1")
      hands it over -------------------------> a plain asyncio task, in a copy of the caller's context
      waits on a lock used as a latch <------- released when the task ends
      returns the value or raises the error

Where each part lives; a file imports only from those below it:

    _bridge.py        the front, all that the generated files use; `run` and `stream` are the two ways across
    _callers_code.py  what the caller gave, an iterable or a callback
    _at_exit.py       the end of the program
    _calls.py         one coroutine or async generator, one caller waiting for it; tracebacks
    _loop.py          the thread with its loop; forks
    _loop_kind.py     what kind of loop that is; how it finds addresses

Five rules keep this from hanging or leaking. Each was broken on purpose in tests/test_sync_*.py.

1. *A wait ends.* The latch is a bare ``threading.Lock``: an exception from a signal handler cannot leave it
   half changed, as it can a ``Condition``. The waiter looks every second whether the loop is still there, and
   whether the task that it holds up, if it was called in one, was cancelled: Ctrl-C does no more under asyncio.run.
2. *Nobody waiting, nothing running.* Whatever ends the wait early (Ctrl-C first of all) cancels the task.
3. *The caller's code runs in the caller's thread*: the iterable it gave, the callback it gave. Nothing of it
   can then block the loop that all clients share, meet a lock or a database connection from another thread,
   run at the same time as the caller's own loop body, or be out of reach of Ctrl-C; and it may call the client.
4. *A fork leaves the parent's loop alone.* The child never uses, closes or frees what it inherited.
5. *The end of the program waits for nobody*: the thread is a daemon, the loop is never stopped.

Why not ``anyio.from_thread``: a portal's ``call`` lets the coroutine run on after Ctrl-C, waits twice, keeps
every error in a reference cycle and dies of ``SystemExit``; ``start_blocking_portal()`` left open hangs the exit.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

import anyio

from ._at_exit import adopt, at_once
from ._callers_code import callback_of, items_of
from ._calls import AtCaller, Call, Caller, Stream, crossing
from ._loop import TooLate, home
from ._loop_kind import plain_loop

__all__ = ["adopt", "callback_of", "close", "items_of", "overloaded", "run", "stream"]

P = ParamSpec("P")
T = TypeVar("T")


def run(func: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``await func(*args, **kwargs)`` gives or raises, run on the background loop."""
    try:
        call = Call(home.background_now())
    except TooLate:
        if crossing(args, kwargs):  # nobody is there to do errands
            raise
        if sys.is_finalizing():
            return at_once(func(*args, **kwargs))
        return anyio.run(partial(func, *args, **kwargs), backend_options={"loop_factory": plain_loop()})
    caller = Caller()
    watch = weakref.ref(caller, call.lose)
    try:
        call.start(func, args, kwargs)
        call.wait()
    except BaseException:
        call.abandon()
        raise
    del watch
    error, call.error = call.error, None  # the error's frames hold the call, on Python 3.12 and later
    if error is None:
        return cast("T", call.value)
    try:
        raise error
    finally:
        del error  # the error's traceback holds this frame


def close(func: Callable[[], Coroutine[Any, Any, None]], /) -> None:
    """The same as `run`; in the loop's own thread, which cannot wait for itself, only a beginning.

    That is where the collector runs many a `__del__` that closes a client.
    """
    background = home.background
    if background is not None and background.is_alive() and background.is_current():
        Call(background).start(func, (), {})
    else:
        run(func)


def overloaded(func: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """The same function, for `run`: type checkers cannot match an implementation's arguments with overloads."""
    return func


def stream(
    func: Callable[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
) -> Generator[T, None, None]:
    """The items of ``func(*args, **kwargs)``, an async generator that one task on the background loop drives.

    It starts with the first item asked for and runs at most ``AHEAD`` items ahead. Leaving the caller's loop
    early closes it.
    """
    return _each(func(*args, **kwargs), crossing(args, kwargs))


def _each(items: AsyncIterator[T], mine: list[AtCaller]) -> Generator[T, None, None]:
    call = Stream(home.background_now())
    for one in mine:
        one.call = call
    caller = Caller()
    watch = weakref.ref(caller, call.lose)
    try:
        call.start(_itself, (items,), {})
        del items  # freed on the loop, so that its bookkeeping of async generators swallows no Ctrl-C here
        while call.has_next():
            yield call.take()
    except BaseException:  # GeneratorExit too: a `break` in the caller's loop
        call.abandon()
        raise
    del watch
    error, call.error = call.error, None
    if error is None:
        return
    try:
        raise error
    finally:
        del error


def _itself(value: T) -> T:
    return value
