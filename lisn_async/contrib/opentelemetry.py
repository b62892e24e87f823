"""Traces and metrics of OpenTelemetry (extra `otel`): a span and its numbers for every call.

Nothing has to be set up: once the program has loaded OpenTelemetry, every client has a `Tracing` as its outermost
middleware, which reports to the global providers, and costs next to nothing where none is set. Give one yourself,
`AsyncLisn(middleware=[Tracing(tracer_provider=...)])`, to have other providers or another place in the order.

Names follow the semantic conventions for HTTP clients (opentelemetry.io, *HTTP spans*), with one span for a call,
not for a request: `http.request.resend_count` and `lisn.attempts` tell how many requests it took. Tools that trace
aiohttp itself add a span for each of them below ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from time import perf_counter
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from opentelemetry import baggage, metrics, propagate, trace

from .._headers import wrong_with_headers
from .._log import logger
from .._middleware import APIRequest, CallNext
from .._response import RawResponse
from .._version import __version__
from ..errors import APIError, APIStatusError

P = ParamSpec("P")
T = TypeVar("T")

SCOPE = "lisn"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds: those that the conventions advise for `http.client.request.duration`."""


class Tracing:
    """A middleware that makes a client span and measures for each call.

    Span `lisn.assistants.update` and so on, with `http.request.method`, `url.template`, `url.full`,
    `server.address`, `server.port`, `http.response.status_code`, `http.request.resend_count`, `error.type`,
    `lisn.attempts`, `lisn.request_id`, `lisn.outcome_unknown`. Metrics `lisn.client.call.duration` (seconds),
    `lisn.client.call.resends`, `lisn.client.call.active`. No token, secret or body is in any of them.

    The trace context travels with the request (`traceparent`), as the global propagator writes it; baggage does not:
    it is meant for services of your own.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider)
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

    async def __call__(self, request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        about = _about(request)
        span = _quietly(self._begin, request, about) or trace.INVALID_SPAN
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            _quietly(_pass_on_context, request)
            began = perf_counter()
            found: dict[str, Any] = {}
            try:
                response = await call_next(request)
            except BaseException as error:  # a caller that is cancelled has waited as well
                found = _failed(error)
                _quietly(_record, span, error)
                raise
            else:
                found = _found(response.status_code, response.attempts, response.request_id)
                return response
            finally:
                _quietly(self._measure, request, about, found, perf_counter() - began)
                _quietly(self._end, span, found)

    def _begin(self, request: APIRequest, about: Mapping[str, Any]) -> trace.Span:
        self._active.add(1, about)
        return self._tracer.start_span(
            f"lisn.{request.operation}",
            kind=trace.SpanKind.CLIENT,
            attributes={"url.full": request.url, **about},
        )

    def _end(self, span: trace.Span, found: Mapping[str, Any]) -> None:
        span.set_attributes(found)
        span.end()

    def _measure(
        self, request: APIRequest, about: Mapping[str, Any], found: Mapping[str, Any], seconds: float
    ) -> None:
        self._active.add(-1, about)
        measured = {**about, **{name: found[name] for name in _MEASURED if name in found}}
        self._duration.record(seconds, measured)
        # An item of a bulk run comes here each time it is sent: then the last one is all that is new.
        resends = found.get("lisn.attempts", 0) - request.attempt + (request.attempt > 1)
        if resends > 0:
            self._resends.add(resends, measured)


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


def _pass_on_context(request: APIRequest) -> None:
    carrier: dict[str, str] = {}
    propagate.inject(carrier, baggage.clear())
    for name, value in carrier.items():
        if wrong_with_headers({name: value}) is None:
            request.headers[name] = value


def _record(span: trace.Span, error: BaseException) -> None:
    if span.is_recording():
        span.record_exception(error)
        span.set_status(trace.StatusCode.ERROR, _one_line(error))


@cache
def shared() -> Tracing:
    """The one of all clients that were given none: it makes its instruments once."""
    return Tracing()


_MEASURED = ("http.response.status_code", "error.type")


def _about(request: APIRequest) -> dict[str, Any]:
    """What is known of a call beforehand, and is one of few."""
    to = urlsplit(request.url)
    return {
        "http.request.method": request.method,
        "url.template": request.url_template,
        "server.address": to.hostname or "",
        "server.port": to.port or (443 if to.scheme == "https" else 80),
    }


def _found(status: int, attempts: int, request_id: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"lisn.attempts": attempts}
    if status:
        found["http.response.status_code"] = status
    if attempts > 1:
        found["http.request.resend_count"] = attempts - 1
    if request_id is not None:
        found["lisn.request_id"] = request_id
    return found


def _failed(error: BaseException) -> dict[str, Any]:
    """What is known of a call that raised."""
    kind = type(error)
    named = {"error.type": f"{kind.__module__}.{kind.__qualname__}"}
    if not isinstance(error, APIError):
        return named
    if isinstance(error, APIStatusError):
        named["error.type"] = str(error.status_code)
        found = _found(error.status_code, error.attempts, error.request_id)
    else:
        found = _found(0, error.attempts, None)
    return {**found, **named, "lisn.outcome_unknown": error.outcome_unknown}


def _one_line(error: BaseException) -> str:
    return str(error) or type(error).__name__
