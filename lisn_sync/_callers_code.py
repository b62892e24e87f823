"""The caller's own code, its iterable and its callback: the core uses them on the loop, the caller's thread runs them.

Why, is rule 3 in `_bridge.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from typing import Generic, ParamSpec, TypeVar, cast

from lisn_async._secrets import SecretItems

from ._calls import AtCaller, outside

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 16  # items read from the caller's iterable at one go, at most
SLICE = 0.005  # s after which a batch goes off as it is


def items_of(iterable: Iterable[T]) -> Iterable[T] | AsyncIterable[T]:
    """The caller's iterable as the core reads it: in the caller's thread, a batch at a time, only on demand.

    A list runs no code of the caller's and goes as it is; so does what the core is going to refuse.
    """
    if type(iterable) in (list, tuple, SecretItems) or not isinstance(iterable, Iterable):
        return iterable
    if isinstance(iterable, Mapping | str | bytes):
        return iterable
    return _SizedItems(iterable) if isinstance(iterable, Sized) else _Items(iterable)


class _Items(AtCaller, Generic[T]):
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
            is_at_end, error = True, raised.with_traceback(outside(raised.__traceback__))
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
    """The caller's callback as the core calls it: it runs in the caller's thread, soon after, in order.

    What it raises ends a stream at once. In any other call the core gets it from `await callback.told()`, and adds
    what has been done so far.
    """
    return _Callback(callback) if callable(callback) else callback


class _Callback(AtCaller, Generic[P]):
    def __init__(self, callback: Callable[P, None]) -> None:
        self._callback = callback

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self.call.report(partial(self._callback, *args, **kwargs))

    async def told(self) -> None:
        await self.call.told()
