"""The items of a run, read one at a time and only when there is room for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from typing import Any

import attrs

from .._secrets import kind_of
from ..errors import ConfigurationError
from ..models import AssistantCreate


@attrs.frozen
class Item:
    """One item of the input, as it was given, and its place in it."""

    index: int
    spec: Any = attrs.field(repr=False)


class Source:
    """Hands out the items of an iterable or async iterable to many workers.

    If the input itself raises, it counts as ended, and `error` holds what it raised: the items read
    before it are still carried out.
    """

    def __init__(self, specs: Iterable[Any] | AsyncIterable[Any]) -> None:
        self.total = len(specs) if isinstance(specs, Sized) else None
        self.error: BaseException | None = None
        self._lock = asyncio.Lock()  # an async iterator must not be asked twice at the same time
        self._count = 0
        self._ended = False
        self._items: Iterator[Any] = iter(())
        self._async_items: AsyncIterator[Any] | None = None
        if isinstance(specs, Mapping | str | bytes | AssistantCreate):
            raise ConfigurationError(
                f"specs must be a list or another iterable of specs, not one {kind_of(specs)}"
            )
        if isinstance(specs, AsyncIterable):
            self._async_items = aiter(specs)
        elif isinstance(specs, Iterable):
            self._items = iter(specs)
        else:
            raise ConfigurationError(f"specs must be an iterable, not {kind_of(specs)}")

    async def take(self) -> Item | None:
        """The next item, None once there is none."""
        if self._async_items is not None:
            async with self._lock:
                return await self._anext_of(self._async_items)
        if self._ended:
            return None
        try:
            spec = next(self._items)
        except StopIteration:
            self._ended = True
        except Exception as error:  # noqa: BLE001 - whatever the caller's own code raises
            self._ended, self.error = True, error
        else:
            return self._number(spec)
        return None

    async def _anext_of(self, items: AsyncIterator[Any]) -> Item | None:
        if self._ended:
            return None
        try:
            spec = await anext(items)
        except StopAsyncIteration:
            self._ended = True
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the input itself waited for was cancelled: its error, and no end of it.
            self._ended, self.error = True, error
        except Exception as error:  # noqa: BLE001 - whatever the caller's own code raises
            self._ended, self.error = True, error
        else:
            return self._number(spec)
        return None

    def _number(self, spec: Any) -> Item:
        self._count += 1
        return Item(self._count - 1, spec)
