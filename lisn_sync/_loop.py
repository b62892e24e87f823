"""The event loop that all calls of a process share: its thread, how it starts, what a fork leaves of it.

The thread is a daemon and the loop is never stopped (rule 5 in `_bridge.py`); `_at_exit.py` tells why.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures.thread  # noqa: F401 - it refuses to be imported by a first call at the very end
import contextlib
import contextvars
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

import anyio

# Not left to anyio's first run: of 400 children forked during that import, one hung.
import anyio._backends._asyncio
from anyio.from_thread import BlockingPortal

from lisn_async._forks import WholeAtForks

from ._loop_kind import best_loop

PULSE = 1.0  # s between two looks of whoever waits: whether the loop is alive, and the caller wanted
LEAVE = 1.0  # s in which open clients must have closed at the end of the program
_HAS_EVENTFD = sys.platform == "linux"


_here = threading.local()  # what is known of the current thread
GONE = "the event loop of lisn_sync is gone"
OWN_LOOP = (
    "lisn_sync was called in the thread of its own event loop, where the call would wait for itself;"
    " code that runs on that loop must use lisn_async"
)
NO_THREADS = (
    "lisn_sync needs threads, and gevent has replaced them: patch_all(thread=False) leaves them as they are. A call then"
    " holds up all greenlets, except through gevent's threadpool"
)


class TooLate(RuntimeError):
    """No more threads are started, or used: the interpreter is shutting down. A last `close()` must still do."""


class Underway(Protocol):
    """A call on the loop, as far as the end of the program needs to know it (`_calls.Call`)."""

    def leave(self) -> asyncio.Task[None] | None: ...


class Background:
    """A daemon thread in which anyio runs an event loop until the process ends."""

    loop: asyncio.AbstractEventLoop
    hand_over: Callable[..., object]
    """Call something on the loop, in a copy of the caller's context. What is posted later may be called first."""

    def __init__(self) -> None:
        self.calls: set[Underway] = set()
        self.is_unwanted = False
        self._is_open = False
        self._failure: BaseException | None = None
        self._portal: BlockingPortal | None = None
        self._process = os.getpid()
        self._ready = threading.Lock()
        self._ready.acquire()
        self._thread = threading.Thread(target=self._main, name="lisn-sync", daemon=True)

    def start(self) -> None:
        # A greenlet in place of the thread: it would wait for the network, and all others in this thread with it.
        monkey = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched("threading"):
            raise RuntimeError(NO_THREADS)
        # Through a bare thread, where no signal arrives: an interrupt inside Thread.start() leaves its Condition
        # half changed, and raises "release unlocked lock" in place of what the signal handler raised.
        try:
            _thread.start_new_thread(self._start, ())
        except RuntimeError as error:
            raise TooLate(*error.args) from error
        while not self._ready.acquire(timeout=PULSE):
            if os.getpid() != self._process:  # a signal handler forked: there is no such thread in the child
                raise RuntimeError(f"{GONE} (process {os.getpid()})")
        if isinstance(self._failure, TooLate):
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

    def leave_behind(self) -> None:
        """For the end of the program: whoever still waits for it is told, should there be time for that."""
        self._is_open = False

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
        except BaseException as failure:  # noqa: BLE001
            self._failure = TooLate(*failure.args) if isinstance(failure, RuntimeError) else failure
            self._ready.release()

    def _main(self) -> None:
        try:
            _here.is_ours = True
            import encodings.idna  # noqa: F401 - aiohttp's first request would, in the middle of a fork perhaps

            options = {"loop_factory": best_loop()}
            # An empty context: Python 3.14 lets threads inherit that of whoever made the first call.
            contextvars.Context().run(partial(anyio.run, self._serve, backend_options=options))
        except BaseException as failure:  # noqa: BLE001
            self._failure = failure
        finally:
            if self._portal is None:
                self._ready.release()

    async def _serve(self) -> None:
        async with BlockingPortal() as portal:
            self.loop = asyncio.get_running_loop()
            self.hand_over = _Inbox(self.loop).put if _HAS_EVENTFD else self.loop.call_soon_threadsafe
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


class _Inbox:
    """What other threads hand over to the loop: `call_soon_threadsafe` for 6 % less of the CPU of a short call.

    asyncio's own writes to a socket and reads it twice. The descriptor lives as long as this object, not as its
    loop: a thread that comes too late would write to whatever has its number by then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(
            self, os.close, self._bell
        ).atexit = False  # daemon threads ring it until the very end
        self._items: deque[tuple[contextvars.Context, Callable[..., object], tuple[object, ...]]] = deque()
        loop.add_reader(self._bell, self._take)

    def put(self, func: Callable[..., object], *args: object) -> None:
        self._items.append((contextvars.copy_context(), func, args))
        os.eventfd_write(self._bell, 1)

    def _take(self) -> None:
        os.eventfd_read(self._bell)
        try:
            while self._items:
                context, func, args = self._items.popleft()
                context.run(func, *args)
        except BaseException:
            if self._items:  # no bell will ring for what was handed over already
                os.eventfd_write(self._bell, 1)
            raise


class Home:
    """What this process has: at most one loop, and the clients to close at its end."""

    def __init__(self) -> None:
        self.background: Background | None = None
        self.is_over = False
        self.has_left = threading.Event()  # what was open has been closed
        self.closers: weakref.WeakKeyDictionary[Any, Callable[[Any], Coroutine[Any, Any, None]]]
        self.closers = weakref.WeakKeyDictionary()
        self._starting = WholeAtForks()  # its thread imports: uvloop, for one

    def background_now(self) -> Background:
        background = self.background
        if background is not None and background.is_alive():
            if background.is_current():
                raise RuntimeError(OWN_LOOP)
            return background
        if self.is_over:
            self.has_left.wait(LEAVE)
            raise TooLate("the program is ending")
        if hasattr(
            _here, "is_ours"
        ):  # in the middle of a start: some `__del__` that the collector came across
            raise RuntimeError(OWN_LOOP)
        with self._starting.lock:
            if self.background is None or not self.background.is_alive():
                background = Background()
                try:
                    background.start()
                    if self.background is None or not self.background.is_alive():
                        self.background = background
                finally:
                    # Interrupted, or one too many: a signal handler called, and started another.
                    if self.background is not background:
                        background.stop_soon()
            return self.background

    def move(self) -> Background | None:
        """Begin anew, in a child; the parent's loop is handed out, to be kept and never touched."""
        inherited, self.background = self.background, None
        return inherited


home = Home()


def _keep_apart_after_forks(home: Home) -> None:
    inherited = []  # in this closure, which is never cleared: module globals are, at exit

    def move() -> None:
        inherited.append(home.move())

    os.register_at_fork(after_in_child=move)


if hasattr(os, "register_at_fork"):  # not on Windows
    _keep_apart_after_forks(home)
