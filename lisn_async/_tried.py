"""What became of one attempt to carry out a request: a result, or an error, and what the attempt means."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from . import errors
from ._response import Broken, Kind, RawResponse, hint
from ._retry import Attempt, Happened, may_have_acted

if TYPE_CHECKING:
    from ._request import Request

T = TypeVar("T")

E = TypeVar("E", bound=errors.APIError)

KINDS: Mapping[Kind, type[errors.APIError]] = {
    "connection": errors.APIConnectionError,
    "timeout": errors.APITimeoutError,
    "response": errors.APIResponseError,
}


@attrs.define(kw_only=True)
class Tried(Generic[T]):
    """One attempt and what it means: a result, or an error."""

    attempt: Attempt
    response: RawResponse[T] | None = None
    error: errors.APIError | None = None
    cause: BaseException | None = attrs.field(default=None, repr=False)


@lru_cache(maxsize=64)
def succeeded(method: str, status: int) -> Attempt:
    """What is known after a 2xx. Nearly all attempts end so, and nobody changes one: they share it."""
    return Attempt(method=method, happened=Happened.REPLIED, status=status)


def unsent(kind: Kind, why: str, retry_after: float | None = None) -> Broken:
    """An attempt that ended before its first byte left."""
    return Broken(happened=Happened.UNSENT, kind=kind, why=why, retry_after=retry_after)


def broken(request: Request[T], url: str, number: int, what: Broken, *, acted: bool) -> Tried[T]:
    """An attempt, the `number`th, that ended without a reply. `acted`: an earlier one may have taken effect."""
    attempt = Attempt(
        method=request.method,
        happened=what.happened,
        retry_after=what.retry_after,
        acted_before=acted,
    )
    unknown = acted or may_have_acted(attempt)
    error = error_of(KINDS[what.kind], request, url, what.why, number, unknown=unknown)
    return Tried(attempt=attempt, error=error, cause=what.cause)


def refused(request: Request[T], url: str, number: int, error: BaseException) -> Tried[T]:
    """A request that a middleware did not let pass."""
    attempt = Attempt(method=request.method, happened=Happened.BARRED)
    if isinstance(error, errors.APIError):
        return Tried(attempt=attempt, error=error)
    why = f"a middleware refused it: {error!r}"
    refusal = error_of(errors.APIConnectionError, request, url, why, number, unknown=False)
    refusal.__cause__ = error
    return Tried(attempt=attempt, error=refusal)


def given_up(request: Request[T], url: str, number: int, error: BaseException | None) -> Tried[T]:
    """A request for whose reply a middleware did not wait, as with a time limit of its own."""
    attempt = Attempt(method=request.method, happened=Happened.LOST)
    kind: Kind = "timeout" if isinstance(error, TimeoutError) else "connection"
    why = "a middleware gave it up under way" + ("" if error is None else f": {error!r}")
    lost = error_of(KINDS[kind], request, url, why, number, unknown=may_have_acted(attempt))
    lost.__cause__ = error
    return Tried(attempt=attempt, error=lost)


def error_of(kind: type[E], request: Request[Any], url: str, why: str, attempts: int, *, unknown: bool) -> E:
    """An error that says what was asked for, where, how often, and why it failed."""
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    message = f"{request.method} {url} failed{tries}: {why}{hint(unknown=unknown)}"
    return kind(message, request.method, url, attempts, unknown)
