"""The one extension point: functions that every call passes through, and what they see of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeAlias, TypeVar, cast

import attrs

from ._async_functions import is_async
from ._headers import NO_HEADERS, wrong_with_headers
from ._log import logger
from ._response import RawResponse
from ._secrets import SecretFields, hide, kind_of
from .errors import APIError, ConfigurationError

C = TypeVar("C", bound=Callable[..., object])


def _names(headers: object) -> str:
    if not isinstance(headers, Mapping):
        return f"<{type(headers).__name__}>"
    return "{" + ", ".join(f"{name!r}: ..." for name in headers) + "}"


_fixed = partial(attrs.field, on_setattr=attrs.setters.frozen)


@attrs.define(eq=False)
class Way:
    """How far a call has come: one for all copies that middleware make of what they see of it."""

    carry_out: CallNext = attrs.field(repr=False)
    url: str
    is_passed_on: bool = False
    may_have_acted: bool = False
    answer: RawResponse[Any] | None = attrs.field(default=None, repr=False)

    def __deepcopy__(self, _: object) -> Way:
        return self


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
    _way: Way = attrs.field(repr=False)


CallNext: TypeAlias = Callable[[APIRequest], Coroutine[Any, Any, RawResponse[Any]]]
Middleware: TypeAlias = Callable[[APIRequest, CallNext], Awaitable[RawResponse[Any]]]
"""`async def middleware(request, call_next): return await call_next(request)`, with something before or after."""


def checked(given: object) -> tuple[Middleware, ...]:
    """The functions themselves. Raises `ConfigurationError` for what cannot be awaited."""
    if given is None:
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ConfigurationError(f"middleware must be a list of functions, not {kind_of(given)}")
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


def needs_no_check(call: C) -> C:
    """Mark the function of a middleware of ours: it returns what `call_next` returned, and adds one frame to errors."""
    _need_no_check.add(call)
    return call


_need_no_check: set[Callable[..., object]] = set()


def _link(middleware: Middleware, following: CallNext) -> CallNext:
    if type(middleware).__call__ in _need_no_check:
        return cast("CallNext", lambda request: middleware(request, following))
    name, middleware = name_of(middleware), hide(middleware)  # it shows in the frame of `pass_through`

    async def pass_through(request: APIRequest) -> RawResponse[Any]:
        try:
            waiting = middleware(request, following)
            if not hasattr(waiting, "__await__"):  # a wrapper that looks like an `async def` and is none
                raise TypeError(f"middleware {name} must be an `async def`, it gave {type(waiting).__name__}")
            response = await waiting
            if not isinstance(response, RawResponse):
                raise TypeError(
                    f"middleware {name} must return what call_next returned, not {type(response).__name__}"
                )
            return response
        except Exception as error:
            _note_what_was_done(request, name, error)
            raise

    return pass_through


def _carry_out(request: APIRequest) -> Coroutine[Any, Any, RawResponse[Any]]:
    # No `async def`: it would be one more frame in the traceback of every error.
    if not isinstance(request, APIRequest):
        raise TypeError(
            f"call_next takes the request that a middleware was given, not {type(request).__name__}"
        )
    return request._way.carry_out(request)


def passed_on(request: APIRequest) -> Mapping[str, str]:
    """The headers to send it with, now that it has passed through. Raises `RuntimeError` the second time, and
    `ConfigurationError` for headers that cannot be sent.
    """
    way, headers = request._way, request.headers
    if way.is_passed_on:
        raise RuntimeError(
            "call_next may be called once for each call: what is safe to send again the client sends again itself"
        )
    if request.url != way.url:
        raise RuntimeError("where a call goes cannot be changed by a middleware")
    if headers:
        if not isinstance(headers, Mapping):
            kind = type(headers).__name__
            raise ConfigurationError(
                f"request.headers must be a dict of strings, a middleware made it {kind}"
            )
        if (wrong := wrong_with_headers(headers)) is not None:
            raise ConfigurationError(f"a header that a middleware added: {wrong}")
    way.is_passed_on = True
    way.may_have_acted = request.method != "GET"
    return _once(headers) if headers else NO_HEADERS


def answered(request: APIRequest, response: RawResponse[Any]) -> None:
    """Note what came of it, for what is said if a middleware fails from here on."""
    request._way.answer = response


def may_have_acted(request: APIRequest) -> bool:
    """Whether a call that ends now, without the client's own word for it, may have taken effect."""
    return request._way.may_have_acted and request._way.answer is None


def failed(request: APIRequest, error: APIError) -> None:
    """As `answered`, where the client itself raises."""
    request._way.may_have_acted = error.outcome_unknown


def _note_what_was_done(request: APIRequest, name: str, error: Exception) -> None:
    """Add to an error of a middleware what the service did of what it was asked for, or may have done."""
    way = request._way
    if getattr(error, "__notes__", None):
        return
    if way.answer is not None:
        made = getattr(way.answer.parse(), "id", None)
        error.add_note(
            f"middleware {name} failed after the service had done it: {request.operation} was answered with"
            f" {way.answer.status_code}" + (f", {made}" if made else "")
        )
    elif may_have_acted(request) and not isinstance(error, APIError):
        error.add_note(
            f"middleware {name} ended {request.operation} without its reply: it may have taken effect; look before"
            " you send it again"
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
        from .contrib.opentelemetry import Tracing, shared

        return given if any(isinstance(one, Tracing) for one in given) else (shared(), *given)
    except Exception as error:  # noqa: BLE001
        _say_once(f"calls are not traced: the OpenTelemetry that is loaded cannot be used: {error!r}")
        return given


@lru_cache(maxsize=16)
def _say_once(what: str) -> None:
    logger.warning(what)
