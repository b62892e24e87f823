"""One coroutine or async generator on the loop, one caller waiting for it.

The caller waits, and gives up, by rules 1 and 2 in `_bridge.py`. While it waits it runs errands: what the loop
asks of its thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ._loop import GONE, PULSE, Background

if TYPE_CHECKING:
    from types import TracebackType

CLEAN_UP = 5.0  # s a cancelled call has for its clean-up before its caller goes on
AHEAD = 16  # outcomes waiting for the caller of a stream, at most

# The files of the bridge, as code objects name them: `outside` trims their frames.
BRIDGE = {
    __file__.removesuffix("_calls.py") + name
    for name in ("_bridge.py", "_callers_code.py", "_at_exit.py", "_calls.py", "_loop.py", "_loop_kind.py")
}


class Call:
    """One coroutine on the loop, one caller waiting for it.

    ``done`` is set by the loop's thread, once, before the latch is released for the last time. The arguments
    are not kept here: the caller's frame holds them longest, so its generators are also freed in its thread.
    """

    _report_error: Exception | None = None

    def __init__(self, background: Background) -> None:
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
        for argument in crossing(args, kwargs):
            argument.call = self
        self.background.hand_over(self._begin, func, args, kwargs)

    def wait(self) -> None:
        """Come back when the coroutine has ended."""
        while not self._is_over():
            self.sleep(PULSE)

    def sleep(self, seconds: float) -> None:
        """Sleep at most this long, or until the loop has something to do or to say.

        The loop must still be there, and this thread be wanted.
        """
        if not self._latch.acquire(timeout=seconds) and not self.background.is_alive():
            raise RuntimeError(f"{GONE} (process {os.getpid()})")
        if not self.done and is_told_to_end():
            raise asyncio.CancelledError

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

    def _tell(self, errand: Callable[[], None]) -> None:
        if self._report_error is None:
            try:
                errand()
            except Exception as error:  # noqa: BLE001 - `told` raises it
                self._report_error = error.with_traceback(outside(error.__traceback__))

    def _is_over(self) -> bool:
        """Whether nothing more will come; on the way, do what the loop asks this thread to do."""
        done = self.done  # read before the errands: none is added after it was set
        while self._errands:
            self._errands.popleft()()
        return done

    # In the loop's thread

    def ask(self, errand: Callable[[], None]) -> None:
        """Have the caller's thread run something; its outcome, if any, is the errand's own business."""
        if not self._is_abandoned:
            self._errands.append(errand)
            self._wake()

    def report(self, errand: Callable[[], None]) -> None:
        """Have the caller's thread run something, in order with what it is given."""
        self.ask(partial(self._tell, errand))

    async def told(self) -> None:
        """Wait until all reports have been run; raise what the first to fail raised."""
        reached = self.background.loop.create_future()
        self.ask(partial(self.background.post, _reach, reached))
        await reached
        error, self._report_error = self._report_error, None
        try:
            if error is not None:
                raise error
        finally:
            del error

    def leave(self) -> asyncio.Task[None] | None:
        """The program ends. A daemon thread waits for this call: it ends too, without waking up to an error."""
        self._is_forsaken = True
        self._cancel()  # else it would go on, and open what nobody closes any more
        return self._task

    def _begin(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.done:  # cancelled before it was begun: the caller was interrupted while it handed this over
            return
        if (sniffio := sys.modules.get("sniffio")) is not None:
            try:  # noqa: SIM105 - that is for every call
                # The context may say "trio"; this is in a copy of it.
                sniffio.current_async_library_cvar.set("asyncio")
            except AttributeError:  # another thread is just importing it
                pass
        try:
            self._task = self.background.loop.create_task(self._carry(func, args, kwargs))
            self.background.calls.add(self)  # asyncio itself holds its tasks weakly
            self._task.add_done_callback(self._settle)
        except Exception as error:  # noqa: BLE001 - else nobody would tell the caller, who waits
            self.error = error
            self._finish()

    async def _carry(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the coroutine and keep its outcome: an error never reaches asyncio, which would die of SystemExit."""
        try:
            self.value = await func(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001
            self.error = error.with_traceback(outside(error.__traceback__))
        else:
            # Here and not in the done callback: that is one turn of the loop less.
            assert self._task is not None
            self._task.remove_done_callback(self._settle)
            self._finish()

    def _settle(self, task: asyncio.Task[None]) -> None:
        # A done callback, not the end of _carry(): a task cancelled before its first step never gets there.
        if task.cancelled():
            self.error = asyncio.CancelledError()
        self._finish()

    def _finish(self) -> None:
        if self._is_forsaken and isinstance(self.error, asyncio.CancelledError):
            self.error = (
                SystemExit()
            )  # should its thread wake up all the same: threads end in silence by that one
        self._task = None
        self.background.calls.discard(self)
        self.done = True
        self._wake()

    def _cancel(self) -> None:
        if self._task is None:
            if not self.done:  # interrupted before it was handed over
                self.error = asyncio.CancelledError()
                self._finish()
        elif not self._is_cancelled:  # a second time would cut off its clean-up
            self._is_cancelled = True
            self._task.cancel()

    def _wake(self) -> None:
        # Only this thread releases the latch and only the caller takes it: nothing changes between the two steps.
        if self._latch.locked() and not self._is_forsaken:
            self._latch.release()


class Caller:
    """The call's caller, as long as its frame exists."""

    __slots__ = ("__weakref__",)


class Stream(Call):
    """One async generator on the loop, one caller taking its items."""

    def __init__(self, background: Background) -> None:
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
            self.sleep(PULSE)
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
            self.error = error.with_traceback(outside(error.__traceback__))

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


class AtCaller:
    """Something of the caller's that the core uses on the loop, and that runs in the caller's thread."""

    call: Call


def is_told_to_end() -> bool:
    """Whether the asyncio task that calls, should there be one, was cancelled and could not hear of it yet.

    Ctrl-C raises nothing under `asyncio.run`: it cancels the task, which hears of that when it awaits, and here it waits.
    Unlike `Task.cancelling()` this is not so any more when the task cleans up, and calls for that.
    """
    loop = asyncio._get_running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    return getattr(task, "_must_cancel", False)  # anyio needs it too


def _reach(reached: asyncio.Future[None]) -> None:
    if not reached.done():  # cancelled meanwhile
        reached.set_result(None)


def crossing(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[AtCaller]:
    """Those arguments for which the caller's thread must be there."""
    return [argument for argument in (*args, *kwargs.values()) if isinstance(argument, AtCaller)]


def outside(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without the leading frames of the bridge: they are the loop's side of it."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename in BRIDGE:
        traceback = traceback.tb_next
    return traceback
