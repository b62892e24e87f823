"""Traces and metrics of OpenTelemetry (extra `otel`): a span and its numbers for every call.

Nothing has to be set up: once the program has loaded OpenTelemetry, every client has a `Tracing` as its outermost
middleware, which reports to the global providers, and costs some microseconds where none is set. Give one yourself,
`AsyncLisn(middleware=[Tracing(tracer_provider=...)])`, to have other providers or another place in the order.

Names follow the semantic conventions for HTTP clients (opentelemetry.io, *HTTP spans*), with one span for a call,
not for a request: `http.request.resend_count` and `lisn.attempts` tell how many requests it took. Tools that trace
aiohttp itself add a span for each of them below ours; it is then theirs that the service is told as its parent.

Where instrumentation is suppressed, as `opentelemetry.instrumentation.utils.suppress_instrumentation` and
`suppress_http_instrumentation` do, a call is neither traced nor measured, and carries no trace context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Token
from functools import cache, lru_cache
from time import perf_counter
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import attrs

from .._headers import wrong_with_headers
from .._log import logger
from .._middleware import APIRequest, CallNext, may_have_acted, needs_no_check
from .._response import RawResponse
from .._version import __version__
from ..errors import APIError, APIStatusError, LisnError

try:
    from opentelemetry import baggage, context, metrics, propagate, trace
except ImportError as absent:
    raise ImportError(f"tracing needs OpenTelemetry: pip install 'lisn[otel]' ({absent})") from None

P = ParamSpec("P")
T = TypeVar("T")

SCOPE = "lisn"
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds: those that the conventions advise for `http.client.request.duration`."""
SUPPRESSED_BY = (
    # Instrumentations share them, and have no public name for them yet.
    getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", ""),
    getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", ""),
    "suppress_instrumentation",
)


@attrs.define
class _Call:
    """A call under way: what is known of it, its span, how to leave its context, and when it began."""

    request: APIRequest
    about: Mapping[str, Any]
    span: trace.Span
    entered: Token[context.Context] | None
    began: float


class Tracing:
    """A middleware that makes a client span and measures for each call.

    Span `lisn.assistants.update` and so on, with `http.request.method`, `url.template`, `url.full`,
    `server.address`, `server.port`, `http.response.status_code`, `http.request.resend_count`, `error.type` (the
    status of an error reply, else the class of what was raised), `lisn.attempts`, `lisn.request_id`,
    `lisn.outcome_unknown`. Metrics `lisn.client.call.duration` (seconds), `lisn.client.call.resends`,
    `lisn.client.call.active`. No token, secret or body is in any of them.

    The trace context travels with the request (`traceparent`), as the global propagator writes it; baggage does not:
    it is meant for services of your own.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider, SCHEMA)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider, SCHEMA)
        self._duration = meter.create_histogram(
            "lisn.client.call.duration",
            unit="s",
            description="Duration of calls, with waits and re-sends.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._resends = meter.create_counter(
            "lisn.client.call.resends", unit="{request}", description="Requests that were sent again."
        )
        self._active = meter.create_up_down_counter(
            "lisn.client.call.active", unit="{call}", description="Calls that are under way."
        )

    @needs_no_check
    async def __call__(self, request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        call = _quietly(self._begin, request)
        if call is None:
            return await call_next(request)
        try:
            response = await call_next(request)
        except BaseException as error:  # a caller that is cancelled has waited as well
            _quietly(self._end, call, error)
            raise
        _quietly(self._end, call, response)
        return response

    def _begin(self, request: APIRequest) -> _Call | None:
        outside = context.get_current()
        if outside and any(outside.get(key) for key in SUPPRESSED_BY):
            return None
        scheme, _, host = request.url.split("/", 3)[:3]
        about = _about(request.method, request.url_template, scheme, host)
        span = _quietly(self._start, request, about) or trace.INVALID_SPAN
        inside, entered = outside, None
        its_own = span.get_span_context()
        # A tracer that does nothing hands on the context of the caller's span: then that stays the current one.
        if its_own is not trace.get_current_span(outside).get_span_context():
            inside = trace.set_span_in_context(span, outside)
            entered = context.attach(inside)
        if its_own.is_valid:
            _quietly(_pass_on, inside, request)
        _quietly(self._active.add, 1, about)
        return _Call(request, about, span, entered, perf_counter())

    def _start(self, request: APIRequest, about: Mapping[str, Any]) -> trace.Span:
        return self._tracer.start_span(
            f"lisn.{request.operation}",
            kind=trace.SpanKind.CLIENT,
            attributes={"url.full": request.url, **about},
        )

    def _end(self, call: _Call, came_of_it: RawResponse[Any] | BaseException) -> None:
        seconds = perf_counter() - call.began
        # A call that is thrown away unfinished ends somewhere else, in a context that it never changed.
        if call.entered is not None and not isinstance(came_of_it, GeneratorExit):
            context.detach(call.entered)
        _quietly(self._measure, call, came_of_it, seconds)
        if call.span.is_recording():
            _quietly(self._tell, call, came_of_it)
        call.span.end()

    def _tell(self, call: _Call, came_of_it: RawResponse[Any] | BaseException) -> None:
        span = call.span
        span.set_attributes(_found(came_of_it))
        if isinstance(came_of_it, asyncio.CancelledError):
            span.set_attribute("lisn.outcome_unknown", may_have_acted(call.request))
        if isinstance(came_of_it, BaseException):
            # In its own words if they are ours: those of others may hold what is not for everybody to see.
            why = str(came_of_it) if isinstance(came_of_it, LisnError) else None
            span.set_status(trace.StatusCode.ERROR, why)

    def _measure(self, call: _Call, came_of_it: RawResponse[Any] | BaseException, seconds: float) -> None:
        self._active.add(-1, call.about)
        measured = {**call.about, **_outcome(came_of_it)}
        self._duration.record(seconds, measured)
        if isinstance(came_of_it, RawResponse | APIError):
            # An item of a bulk run comes here each time it is sent: then the last one is all that is new.
            again = came_of_it.attempts - call.request.attempt + (call.request.attempt > 1)
            if again > 0:
                self._resends.add(again, measured)


def _quietly(do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """What it gives. A call does not fail because a sampler, a propagator or a processor of spans does."""
    try:
        return do(*args, **kwargs)
    except Exception as error:  # noqa: BLE001
        _say_once(f"tracing failed: {type(error).__name__}")
        return None


@cache
def _say_once(what: str) -> None:
    logger.warning(what, exc_info=True)


def _pass_on(inside: context.Context, request: APIRequest) -> None:
    """Write the trace context into the headers of a request."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, baggage.clear(inside))
    for name, value in carrier.items():
        if wrong_with_headers({name: value}) is None:
            request.headers[name] = value


@cache
def shared() -> Tracing:
    """The one of all clients that were given none: it makes its instruments once."""
    return Tracing()


@lru_cache(maxsize=256)
def _about(method: str, template: str, scheme: str, host: str) -> Mapping[str, Any]:
    """What is known of a call beforehand, and is one of few."""
    to = urlsplit(f"{scheme}//{host}")
    return {
        "http.request.method": method,
        "url.template": template,
        "server.address": to.hostname or "",
        "server.port": to.port or (443 if scheme == "https:" else 80),
    }


def _outcome(came_of_it: RawResponse[Any] | BaseException) -> dict[str, Any]:
    """What came of a call, as one of few."""
    if isinstance(came_of_it, RawResponse):
        return {"http.response.status_code": came_of_it.status_code}
    if isinstance(came_of_it, APIStatusError):
        status = came_of_it.status_code
        return {"http.response.status_code": status, "error.type": str(status)}
    error = type(came_of_it)
    name = error.__qualname__
    return {"error.type": name if error.__module__ == "builtins" else f"{error.__module__}.{name}"}


def _found(came_of_it: RawResponse[Any] | BaseException) -> dict[str, Any]:
    """All that is known of a call when it is over."""
    found = _outcome(came_of_it)
    if isinstance(came_of_it, RawResponse | APIError):
        found["lisn.attempts"] = came_of_it.attempts
        if came_of_it.attempts > 1:
            found["http.request.resend_count"] = came_of_it.attempts - 1
    if isinstance(came_of_it, RawResponse | APIStatusError) and came_of_it.request_id is not None:
        found["lisn.request_id"] = came_of_it.request_id
    if isinstance(came_of_it, APIError):
        found["lisn.outcome_unknown"] = came_of_it.outcome_unknown
    return found
