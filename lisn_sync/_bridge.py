"""Blocking calls over one background event loop.

    the caller's thread                       the loop's thread: one per process, daemon
    -------------------                       ------------------------------------------
    run(client.get, "ast_1")
      call_soon_threadsafe ------------------> a plain asyncio task, in a copy of the caller's context
      waits on a lock used as a latch <------- the task's done callback releases it
      returns the value or raises the error

Five rules keep this from hanging or leaking. Each was broken on purpose in tests/test_sync_bridge.py.

1. *A wait ends.* The latch is a bare ``threading.Lock``: an exception from a signal handler cannot leave it
   half changed, as it can a ``Condition``. The waiter looks every second whether the loop is still there.
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

import _thread
import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - it refuses to be imported by a first call at the very end
import contextlib
import contextvars
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

import anyio

# Not left to anyio's first run: of 400 children forked during that import, one hung.
import anyio._backends._asyncio
from anyio.from_thread import BlockingPortal

from lisn_async._secrets import SecretItems

if TYPE_CHECKING:
    from types import TracebackType

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C")

PULSE = 1.0  # s between two looks whether the loop is alive
CLEAN_UP = 5.0  # s a cancelled call has for its clean-up before its caller goes on
LEAVE = 1.0  # s in which open clients must have closed at the end of the program
AHEAD = 16  # outcomes waiting for the caller of a stream, at most
BATCH = 16  # items read from the caller's iterable at one go, at most
SLICE = 0.005  # s after which a batch goes off as it is


# --- calls ------------------------------------------------------------------------------------------------


def run(func: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``await func(*args, **kwargs)`` gives or raises, run on the background loop."""
    try:
        call = _Call(_home.background_now())
    except _TooLate:
        if _crossing(args, kwargs):  # nobody is there to do errands
            raise
        return anyio.run(partial(func, *args, **kwargs))
    caller = _Caller()
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
    return _each(func(*args, **kwargs), _crossing(args, kwargs))


def _each(items: AsyncIterator[T], mine: list[_AtCaller]) -> Generator[T, None, None]:
    call = _Stream(_home.background_now())
    for one in mine:
        one.call = call
    caller = _Caller()
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


class _Call:
    """One coroutine on the loop, one caller waiting for it.

    ``done`` is set by the loop's thread, once, before the latch is released for the last time. The arguments
    are not kept here: the caller's frame holds them longest, so its generators are also freed in its thread.
    """

    def __init__(self, background: _Background) -> None:
        self.background = background
        self.value: object = None
        self.error: BaseException | None = None
        self.done = False
        self._errands: deque[Callable[[], None]] = deque()
        self._is_forsaken = False
        self._is_abandoned = False
        self._is_cancelled = False
        self._task: asyncio.Task[None] | None = None
        self._latch = threading.Lock()
        self._latch.acquire()

    # In the caller's thread

    def start(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Have the loop start the coroutine, in a copy of this thread's context."""
        for argument in _crossing(args, kwargs):
            argument.call = self
        self.background.loop.call_soon_threadsafe(self._begin, func, args, kwargs)

    def wait(self) -> None:
        """Come back when the coroutine has ended."""
        while not self._is_over():
            self._sleep(PULSE)

    def abandon(self) -> None:
        """Cancel the coroutine and give its clean-up a while; Ctrl-C ends that while.

        In the loop's own thread, where a collected stream may end up, it does not wait.
        """
        if self.done:
            return
        self._is_abandoned = True
        until = time.monotonic() + CLEAN_UP
        try:
            self.background.post(self._cancel)
            if self.background.is_current() or sys.is_finalizing():
                return
            while not self.done and self.background.is_alive() and (left := until - time.monotonic()) > 0:
                self._latch.acquire(timeout=min(left, PULSE))
        except KeyboardInterrupt:
            self.background.post(self._cancel)  # once more: the first may not have been posted

    def lose(self, _: object) -> None:
        """Cancel the coroutine of a caller that is gone.

        For the second Ctrl-C within microseconds of the first, before `abandon` could do anything. (A weak
        reference and no `__del__`, which would run after every call, and swallow a Ctrl-C that arrives meanwhile.)
        """
        if not self.done:
            self.background.post(self._cancel)

    def _is_over(self) -> bool:
        """Whether nothing more will come; on the way, do what the loop asks this thread to do."""
        done = self.done  # read before the errands: none is added after it was set
        while self._errands:
            self._errands.popleft()()
        return done

    def _sleep(self, seconds: float) -> None:
        if not self._latch.acquire(timeout=seconds) and not self.background.is_alive():
            raise RuntimeError(f"the event loop of lisn_sync is gone (process {os.getpid()})")

    # In the loop's thread

    def ask(self, errand: Callable[[], None]) -> None:
        """Have the caller's thread run something; its outcome, if any, is the errand's own business."""
        if not self._is_abandoned:
            self._errands.append(errand)
            self._wake()

    def report(self, errand: Callable[[], None]) -> None:
        """Have the caller's thread run something, in order with what it is given."""
        self.ask(errand)

    def leave(self) -> asyncio.Task[None] | None:
        """The program ends. A daemon thread waits for this call: it ends too, without waking up to an error."""
        self._is_forsaken = True
        return None

    def _begin(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if (sniffio := sys.modules.get("sniffio")) is not None:
            sniffio.current_async_library_cvar.set(
                "asyncio"
            )  # the context may say "trio"; this is a copy of it
        self._task = self.background.loop.create_task(self._carry(func, args, kwargs))
        self.background.calls.add(self)  # asyncio itself holds its tasks weakly
        self._task.add_done_callback(self._finish)

    async def _carry(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the coroutine and keep its outcome: an error never reaches asyncio, which would die of SystemExit."""
        try:
            self.value = await func(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001
            self.error = error.with_traceback(_outside(error.__traceback__))

    def _finish(self, task: asyncio.Task[None] | None) -> None:
        # A done callback, not the end of _carry(): a task cancelled before its first step never gets there.
        if task is None or task.cancelled():
            self.error = asyncio.CancelledError()
        self._task = None
        self.background.calls.discard(self)
        self.done = True
        self._wake()

    def _cancel(self) -> None:
        if self._task is None:
            if not self.done:  # interrupted before it was handed over
                self._finish(None)
        elif not self._is_cancelled:  # a second time would cut off its clean-up
            self._is_cancelled = True
            self._task.cancel()

    def _wake(self) -> None:
        # Only this thread releases the latch and only the caller takes it: nothing changes between the two steps.
        if self._latch.locked() and not self._is_forsaken:
            self._latch.release()


class _Caller:
    """The call's caller, as long as its frame exists."""

    __slots__ = ("__weakref__",)


class _Stream(_Call):
    """One async generator on the loop, one caller taking its items."""

    def __init__(self, background: _Background) -> None:
        super().__init__(background)
        self._items: deque[Any] = deque()
        self._room: asyncio.Future[None] | None = None
        self._is_attended = False

    # In the caller's thread

    def has_next(self) -> bool:
        """Wait for an item, or for the end.

        What is there already comes before the errands: an outcome does not wait for the caller's slow input.
        """
        self._is_attended = True
        while not self._has_item():
            is_over = self._is_over()
            if self._has_item():
                break
            if is_over:
                return False
            self._sleep(PULSE)
        self._is_attended = False
        return True

    def take(self) -> Any:
        item = self._items.popleft()
        self._give_room()
        return item

    def _has_item(self) -> bool:
        while self._items and isinstance(self._items[0], _Report):
            self._items.popleft().deliver()
            self._give_room()
        return bool(self._items)

    def _give_room(self) -> None:
        if self._room is not None and len(self._items) <= AHEAD // 2:
            self.background.post(self._make_room)

    # In the loop's thread

    async def _carry(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # One task for all items: a timeout or cancel scope that the generator holds across a `yield` stays in the
        # task that entered it. With a task for each step it would silently never fire.
        try:
            async with contextlib.aclosing(func(*args, **kwargs)) as items:
                async for item in items:
                    self._items.append(item)
                    self._wake()
                    await self._wait_for_room()
        except BaseException as error:  # noqa: BLE001
            self.error = error.with_traceback(_outside(error.__traceback__))

    async def _wait_for_room(self) -> None:
        if len(self._items) < AHEAD:
            return
        room = self._room = self.background.loop.create_future()
        if len(self._items) < AHEAD:  # taken in between, perhaps before take() could see `_room`
            self._make_room()
        await room

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def report(self, errand: Callable[[], None]) -> None:
        self._items.append(_Report(errand))
        self._wake()

    def leave(self) -> asyncio.Task[None] | None:
        if self._is_attended or self._task is None:
            return super().leave()
        self._task.cancel()
        return self._task


class _Report:
    """Something that the caller's thread does between two items."""

    def __init__(self, deliver: Callable[[], None]) -> None:
        self.deliver = deliver


def _outside(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without the leading frames of this file: they are the loop's side of the bridge."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


# --- the caller's own code ----------------------------------------------------------------------------------


class _AtCaller:
    """Something of the caller's that the core uses on the loop, and that runs in the caller's thread."""

    call: _Call


def _crossing(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[_AtCaller]:
    return [argument for argument in (*args, *kwargs.values()) if isinstance(argument, _AtCaller)]


def items_of(iterable: Iterable[T]) -> Iterable[T] | AsyncIterable[T]:
    """The caller's iterable as the core reads it: in the caller's thread, a batch at a time, only on demand.

    A list runs no code of the caller's and goes as it is; so does what the core is going to refuse.
    """
    if type(iterable) in (list, tuple, SecretItems) or not isinstance(iterable, Iterable):
        return iterable
    if isinstance(iterable, Mapping | str | bytes):
        return iterable
    return _SizedItems(iterable) if isinstance(iterable, Sized) else _Items(iterable)


class _Items(_AtCaller, Generic[T]):
    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterable = iterable
        self._iterator: Iterator[T] | None = None
        self._read: deque[T] = deque()
        self._batch = 1  # doubled each time: a short run does not read far ahead of its need
        self._is_at_end = False
        self._error: Exception | None = None
        self._reading = asyncio.Lock()  # several workers may ask for the next item at once

    # In the loop's thread

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        async with self._reading:
            while not self._read and not self._is_at_end:
                await self._read_on()
        if self._read:
            return self._read.popleft()
        error, self._error = self._error, None
        try:
            raise error or StopAsyncIteration
        finally:
            del error

    async def _read_on(self) -> None:
        arrived = asyncio.get_running_loop().create_future()
        self.call.ask(partial(self._read_batch, arrived))
        await arrived

    def _arrive(
        self, arrived: asyncio.Future[None], batch: list[T], is_at_end: bool, error: Exception | None
    ) -> None:
        self._read.extend(batch)
        self._is_at_end, self._error = is_at_end, error
        if not arrived.done():
            arrived.set_result(None)

    # In the caller's thread

    def _read_batch(self, arrived: asyncio.Future[None]) -> None:
        batch: list[T] = []
        error = None
        try:
            is_at_end = self._read_into(batch)
        except Exception as raised:  # noqa: BLE001 - it is the core's to raise: what was read before comes first
            is_at_end, error = True, raised.with_traceback(_outside(raised.__traceback__))
        self.call.background.post(self._arrive, arrived, batch, is_at_end, error)
        del error

    def _read_into(self, batch: list[T]) -> bool:
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        until = time.monotonic() + SLICE
        for item in self._iterator:
            batch.append(item)
            if len(batch) == self._batch or time.monotonic() > until:
                self._batch = min(2 * self._batch, BATCH)
                return False
        return True


class _SizedItems(_Items[T]):
    def __init__(self, iterable: Iterable[T]) -> None:
        super().__init__(iterable)
        self._length = len(cast("Sized", iterable))

    def __len__(self) -> int:
        return self._length


def callback_of(callback: Callable[P, None] | None) -> Callable[P, None] | None:
    """The caller's callback as the core calls it: it runs in the caller's thread, soon after, in order."""
    return _Callback(callback) if callable(callback) else callback


class _Callback(_AtCaller, Generic[P]):
    def __init__(self, callback: Callable[P, None]) -> None:
        self._callback = callback

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self.call.report(partial(self._callback, *args, **kwargs))


# --- the loop -------------------------------------------------------------------------------------------------


class _TooLate(RuntimeError):
    """No more threads are started: the interpreter is shutting down. A last `close()` must still do."""


class _Background:
    """A daemon thread in which anyio runs an event loop until the process ends."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.calls: set[_Call] = set()
        self.is_unwanted = False
        self._is_open = False
        self._failure: BaseException | None = None
        self._portal: BlockingPortal | None = None
        self._ready = threading.Lock()
        self._ready.acquire()
        self._thread = threading.Thread(target=self._main, name="lisn-sync", daemon=True)

    def start(self) -> None:
        # Through a bare thread, where no signal arrives: an interrupt inside Thread.start() leaves its Condition
        # half changed, and raises "release unlocked lock" in place of what the signal handler raised.
        try:
            _thread.start_new_thread(self._start, ())
        except RuntimeError as error:
            raise _TooLate(*error.args) from error
        self._ready.acquire()
        if isinstance(self._failure, _TooLate):
            raise self._failure
        if self._portal is None:
            raise RuntimeError("lisn_sync could not start its background event loop") from self._failure

    def stop_soon(self) -> None:
        """For a start that was interrupted: nobody knows of this loop."""
        self.is_unwanted = True
        if self._portal is not None:
            self.post(self._stop)

    def is_alive(self) -> bool:
        return self._is_open and self._thread.is_alive()  # the thread is not, in a child

    def is_current(self) -> bool:
        return self._thread.ident == threading.get_ident()

    def post(self, func: Callable[..., object], *args: object) -> None:
        """Call something on the loop, if it is still there. A child must not try: it would wake its parent."""
        if self.is_alive():
            with contextlib.suppress(RuntimeError):  # closed in between
                self.loop.call_soon_threadsafe(func, *args)

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as failure:
            self._failure = _TooLate(*failure.args)
            self._ready.release()

    def _main(self) -> None:
        try:
            # An empty context: Python 3.14 lets threads inherit that of whoever made the first call.
            contextvars.Context().run(
                partial(anyio.run, self._serve, backend_options={"use_uvloop": _has_uvloop()})
            )
        except BaseException as failure:  # noqa: BLE001
            self._failure = failure
        finally:
            if self._portal is None:
                self._ready.release()

    async def _serve(self) -> None:
        async with BlockingPortal() as portal:
            self.loop = asyncio.get_running_loop()
            self._portal = portal
            self._is_open = True
            self._ready.release()
            try:
                if not self.is_unwanted:
                    await portal.sleep_until_stopped()
            finally:
                # A dying loop cancels this task along with the calls, but tells their callers one step later: when
                # they call again, they find that it is gone, and do not wait for it.
                self._is_open = False

    def _stop(self) -> None:
        assert self._portal is not None
        self._stopping = self.loop.create_task(self._portal.stop())


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return sys.platform != "win32"


class _Home:
    """What this process has: at most one loop, and the clients to close at its end."""

    def __init__(self) -> None:
        self.background: _Background | None = None
        self.closers: weakref.WeakKeyDictionary[Any, Callable[[Any], Coroutine[Any, Any, None]]]
        self.closers = weakref.WeakKeyDictionary()
        self._starting = threading.Lock()

    def background_now(self) -> _Background:
        background = self.background
        if background is not None and background.is_alive():
            if background.is_current():
                raise RuntimeError(
                    "lisn_sync was called in the thread of its own event loop, where the call would wait for itself;"
                    " code that runs on that loop must use lisn_async"
                )
            return background
        with self._starting:
            if self.background is None or not self.background.is_alive():
                background = _Background()
                try:
                    background.start()
                    self.background = background
                except BaseException:
                    background.stop_soon()
                    raise
            return self.background

    def move(self) -> _Background | None:
        """Begin anew, in a child; the parent's loop is handed out, to be kept and never touched."""
        inherited, self.background = self.background, None
        self._starting = threading.Lock()  # the old one may be held by a thread that is not here
        return inherited


_home = _Home()


def adopt(core: C, close: Callable[[C], Coroutine[Any, Any, None]]) -> C:
    """See to it that this is closed when the program ends, if it still exists then."""
    _home.closers[core] = close
    return core


def _leave() -> None:
    """Close what is open, through the loop; leave the loop running.

    Stopped, it would make Python 3.12 print "can't create new thread at interpreter shutdown".
    """
    background = _home.background
    if background is None or not background.is_alive() or background.is_current():
        return
    cores = [core for reference in reversed(_home.closers.keyrefs()) if (core := reference()) is not None]
    closing = _Call(background)
    with contextlib.suppress(BaseException):
        closing.start(_close_all, (closing, [partial(_home.closers[core], core) for core in cores]), {})
        closing._sleep(LEAVE)


async def _close_all(closing: _Call, closers: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    calls = closing.background.calls - {closing}
    cancelled = [task for call in calls if (task := call.leave()) is not None]
    if cancelled:
        await asyncio.wait(cancelled)
    for close in closers:
        with contextlib.suppress(Exception):
            await close()


def _keep_apart_after_forks(home: _Home) -> None:
    inherited = []  # in this closure, which is never cleared: module globals are, at exit

    def move() -> None:
        inherited.append(home.move())

    os.register_at_fork(after_in_child=move)


atexit.register(_leave)
if hasattr(os, "register_at_fork"):  # not on Windows
    _keep_apart_after_forks(_home)
