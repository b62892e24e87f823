"""A request as a value, and the promise that somebody can carry it out.

Resources build requests and ask a `Caller` for the result; they know neither the client nor the wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import attrs

from ._secrets import Payload

if TYPE_CHECKING:
    from ._response import RawResponse, Reply
    from ._tried import Tried

T = TypeVar("T")

Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]

COLLECTION = "/v1/assistants"


@attrs.define(kw_only=True)
class Request(Generic[T]):
    """One logical call: what to send, and how to read what comes back.

    `operation` is its name, for traces, and `template` the path with `{id}` left open, for logs. `read` turns a
    2xx reply into the result or raises `Unreadable`, in turns with the loop where it is a coroutine. `secrets` are
    those of ours that travel in the body and must not come back in an error. `max_reply` is the largest reply body
    that is read, in bytes.
    """

    operation: str
    method: Method
    path: str
    template: str
    read: Callable[[Reply], T | Coroutine[Any, Any, T]]
    body: Payload | None = None
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    max_reply: int = 16 * 2**20


class Caller(Protocol):
    """Whoever carries out requests."""

    @property
    def strict(self) -> bool:
        """Whether undocumented types and providers are refused."""

    @property
    def base_url(self) -> str:
        """The API that is called."""

    @property
    def timeout(self) -> float:
        """Seconds that one attempt may take."""

    def call(self, request: Request[T]) -> Coroutine[Any, Any, RawResponse[T]]:
        """The result, after as many attempts as are provably safe."""

    async def ask(self, request: Request[T]) -> T:
        """As `call`, but what the service itself said, whatever a middleware makes of it."""

    async def attempt(
        self,
        request: Request[T],
        *,
        number: int = 1,
        sent_by: float = ...,
        about_to_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Tried[T]:
        """What became of one single request; `about_to_send` is awaited right before it goes out."""

    async def sleep(self, seconds: float) -> None:
        """Sleep. Raises `ConfigurationError` at once when the client is closed."""

    def pause_left(self) -> float:
        """Seconds for which the service asked this client to be silent."""
