"""One request of a bulk run while a middleware has it, and what is known of it at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ._calls import Tried
    from ._response import RawResponse

T = TypeVar("T")

Step: TypeAlias = Callable[[], Awaitable[None]]


class _Send(Protocol[T]):
    async def __call__(self, headers: Mapping[str, str], /, *, about_to_send: Step) -> Tried[T]: ...


class Passage(Generic[T]):
    """What the innermost end of a chain of middleware does, and remembers, whatever becomes of it further out.

    `tried` is what became of the request, None before that. `is_out`: its first byte may have left. `ended` is what
    ended the attempt itself (the client was closed, the journal cannot be written), which concerns all of the run.
    """

    def __init__(self, send: _Send[T], about_to_send: Step | None) -> None:
        self.tried: Tried[T] | None = None
        self.is_out = False
        self.ended: Exception | None = None
        self._send = send
        self._about_to_send = about_to_send
        self._is_left = False

    def leave(self) -> None:
        """The middleware have given their answer: from now on nothing is sent."""
        self._is_left = True

    async def carry_out(self, headers: Mapping[str, str]) -> RawResponse[T]:
        """Send it. Raises the error it came to."""
        try:
            self.tried = await self._send(headers, about_to_send=self._go_out)
        except Exception as error:
            self.ended = error
            raise
        if self.tried.response is None:
            assert self.tried.error is not None
            raise self.tried.error from self.tried.cause
        return self.tried.response

    async def _go_out(self) -> None:
        if self._about_to_send is not None:
            await self._about_to_send()
        if self._is_left:  # a middleware has this done in a task of its own: it was told as not sent
            raise asyncio.CancelledError
        self.is_out = True
