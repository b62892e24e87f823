"""The one extension point: functions that every call passes through, and what they see of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeAlias

import attrs

from ._async_functions import is_async
from ._forks import opening
from ._headers import wrong_with_headers
from ._log import logger
from ._response import RawResponse
from ._secrets import SecretFields, hide
from .errors import ConfigurationError


def _names(headers: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name!r}: ..." for name in headers) + "}"


_fixed = partial(attrs.field, on_setattr=attrs.setters.frozen)


@attrs.define(kw_only=True, eq=False)
class APIRequest:
    """A call as a middleware sees it: everything but the token and the body.

    `operation` is its name, such as `assistants.update`; `method`, `url` and `url_template`
    (`/v1/assistants/{id}`) say where it goes. `attempt` is 1; an item of a bulk run that is sent for the second time
    has 2. `headers`, empty at first, takes those that this call is to carry besides the client's own; one of
    `default_headers` is replaced.
    """

    operation: str = _fixed()
    method: str = _fixed()
    url: str = _fixed()
    url_template: str = _fixed()
    attempt: int = _fixed(default=1)
    headers: dict[str, str] = attrs.field(factory=dict, repr=_names)
    _carry_out: Callable[[Mapping[str, str]], Awaitable[RawResponse[Any]]] = attrs.field(repr=False)
    _is_passed_on: bool = attrs.field(default=False, init=False, repr=False)
    _answer: RawResponse[Any] | None = attrs.field(default=None, init=False, repr=False)


CallNext: TypeAlias = Callable[[APIRequest], Coroutine[Any, Any, RawResponse[Any]]]
Middleware: TypeAlias = Callable[[APIRequest, CallNext], Awaitable[RawResponse[Any]]]
"""`async def middleware(request, call_next): return await call_next(request)`, with something before or after."""


def checked(given: object) -> tuple[Middleware, ...]:
    """The functions themselves. Raises `ConfigurationError` for what cannot be awaited."""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ConfigurationError(f"middleware must be a list of functions, not {type(given).__name__}")
    if wrong := [name_of(one) for one in given if not is_async(one)]:
        raise ConfigurationError(
            f"middleware {wrong[0]} must be an `async def (request, call_next)` that returns the response"
        )
    if wrong := [name_of(one) for one in given if not _takes_two(one)]:
        raise ConfigurationError(f"middleware {wrong[0]} must take two arguments, `request` and `call_next`")
    return tuple(given)


def chain(middleware: Sequence[Middleware]) -> CallNext:
    """All of them as one: the first is the outermost, the innermost carries the request out."""
    following: CallNext = _carry_out
    for one in reversed(middleware):
        following = _link(one, following)
    return following


def _takes_two(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # it does not tell
        return True
    return True


def name_of(middleware: object) -> str:
    """What a middleware is called in messages."""
    return getattr(middleware, "__qualname__", None) or type(middleware).__qualname__


def _link(middleware: Middleware, following: CallNext) -> CallNext:
    name, middleware = name_of(middleware), hide(middleware)  # it shows in the frame of `pass_through`

    async def pass_through(request: APIRequest) -> RawResponse[Any]:
        try:
            response = await middleware(request, following)
            if not isinstance(response, RawResponse):
                raise TypeError(
                    f"middleware {name} must return what call_next returned, not {type(response).__name__}"
                )
            return response
        except Exception as error:
            _note_what_was_done(request, name, error)
            raise

    return pass_through


async def _carry_out(request: APIRequest) -> RawResponse[Any]:
    if not isinstance(request, APIRequest):
        raise TypeError(
            f"call_next takes the request that a middleware was given, not {type(request).__name__}"
        )
    if request._is_passed_on:
        raise RuntimeError(
            "call_next may be called once for each call: what is safe to send again the client sends again itself"
        )
    if (wrong := wrong_with_headers(request.headers)) is not None:
        raise ConfigurationError(f"a header that a middleware added: {wrong}")
    request._is_passed_on = True
    request._answer = await request._carry_out(_once(request.headers))
    return request._answer


def _note_what_was_done(request: APIRequest, name: str, error: Exception) -> None:
    """Add to an error that came after the reply that the service did what it was asked for, and to what."""
    answer = request._answer
    if answer is not None and not getattr(error, "__notes__", None):
        made = getattr(answer.parse(), "id", None)
        error.add_note(
            f"middleware {name} failed after the service had done it: {request.operation} was answered with"
            f" {answer.status_code}" + (f", {made}" if made else "")
        )


def _once(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Each header once: two that wrote a name in two cases meant the same one, and the last one has it."""
    names = {name.lower(): name for name in headers}
    return SecretFields(
        (name, headers[name]) for name in names.values()
    )  # a local of every frame from here on


def with_tracing(given: tuple[Middleware, ...]) -> tuple[Middleware, ...]:
    """These, and our own tracing where none was given. What is loaded may be broken or of long ago: no call fails."""
    try:
        with opening.lock:
            from .contrib.opentelemetry import Tracing, shared

        return given if any(isinstance(one, Tracing) for one in given) else (shared(), *given)
    except Exception as error:  # noqa: BLE001
        _say_once(f"calls are not traced: the OpenTelemetry that is loaded cannot be used: {error!r}")
        return given


@lru_cache(maxsize=16)
def _say_once(what: str) -> None:
    logger.warning(what)
