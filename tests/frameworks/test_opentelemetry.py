"""Traces and metrics, with OpenTelemetry's own SDK and its exporters in memory."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import os
import subprocess
import sys
import textwrap
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lisn_sync
from lisn_async import (
    APIConnectionError,
    APIRequest,
    AsyncLisn,
    CallNext,
    LisnError,
    NotFoundError,
    RateLimitError,
    RawResponse,
)
from lisn_async.sandbox import Sandbox
from tests.conftest import SALES
from tests.frameworks.conftest import environment_for, needs

pytestmark = needs("opentelemetry.sdk")

SPEC = {"name": "n", "type": "text", "llm_provider": "grok", "system_prompt": "p"}


class Observed:
    """Providers of one test, and what they were told."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from lisn_async.contrib.opentelemetry import Tracing

        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader])
        self.middleware = Tracing(tracer_provider=self.tracers, meter_provider=self._meters)

    def use(self, tracers: Any) -> None:
        """Let calls from now on be traced by another provider, and measured by the same."""
        from lisn_async.contrib.opentelemetry import Tracing

        self.middleware = Tracing(tracer_provider=tracers, meter_provider=self._meters)

    def client(self, box: Sandbox, *inside: Any, **options: Any) -> AsyncLisn:
        """A client that is traced, with this middleware inside of that."""
        return AsyncLisn(box.token, base_url=box.base_url, middleware=[self.middleware, *inside], **options)

    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        if data is None:  # nothing was measured at all
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def client(sandbox: Sandbox, observed: Observed) -> Any:
    async with observed.client(sandbox) as client:
        yield client


CALLS: dict[str, Callable[[AsyncLisn], Any]] = {
    "list": lambda client: client.assistants.list(),
    "create": lambda client: client.assistants.create(**SALES),
    "get": lambda client: client.assistants.get("ast_000001"),
    "update": lambda client: client.assistants.update("ast_000001", name="m"),
    "duplicate": lambda client: client.assistants.duplicate("ast_000001"),
    "delete": lambda client: client.assistants.delete("ast_000001"),
}


async def test_each_call_is_one_client_span_whose_name_and_template_hold_no_id(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    from opentelemetry.trace import SpanKind, StatusCode

    made = await client.assistants.create(**SALES)
    await client.assistants.update(made.id, name="m")
    create, update = observed.spans()
    assert (create.name, update.name) == ("lisn.assistants.create", "lisn.assistants.update")
    assert update.kind is SpanKind.CLIENT
    assert update.status.status_code is StatusCode.UNSET
    port = int(sandbox.base_url.rpartition(":")[2])
    assert update.attributes == {
        "http.request.method": "PATCH",
        "url.template": "/v1/assistants/{id}",
        "url.full": f"{sandbox.base_url}/v1/assistants/{made.id}",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
        "lisn.attempts": 1,
        "lisn.request_id": update.attributes["lisn.request_id"],
    }
    assert update.attributes["lisn.request_id"]


@pytest.mark.parametrize("operation", CALLS)
async def test_all_six_are_named_after_their_method(
    client: AsyncLisn, observed: Observed, operation: str
) -> None:
    with_errors = [CALLS[operation](client)]
    await asyncio.gather(*with_errors, return_exceptions=True)
    assert observed.spans()[-1].name == f"lisn.assistants.{operation}"


async def test_resends_are_counted_in_the_span_and_in_a_metric(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    sandbox.faults = [{"status": 429, "retry_after": 0, "times": 2}]
    await client.assistants.list()
    [span] = observed.spans()
    assert (span.attributes["http.request.resend_count"], span.attributes["lisn.attempts"]) == (2, 3)
    [point] = observed.points("lisn.client.call.resends")
    assert point.value == 2
    assert point.attributes["url.template"] == "/v1/assistants"


async def test_an_error_reply_marks_the_span_with_its_status_as_its_type(
    client: AsyncLisn, observed: Observed
) -> None:
    from opentelemetry.trace import StatusCode

    with pytest.raises(NotFoundError) as caught:
        await client.assistants.get("ast_none")
    [span] = observed.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "404"
    assert span.attributes["http.response.status_code"] == 404
    assert span.attributes["lisn.request_id"] == caught.value.request_id
    assert span.attributes["lisn.outcome_unknown"] is False
    assert span.status.description == str(caught.value)
    assert span.events == ()  # the conventions advise against exceptions as events since 2026


async def test_a_lost_reply_is_named_and_said_to_be_unknown(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    sandbox.faults = [{"do": "reset", "when": "after"}]
    with pytest.raises(APIConnectionError):
        await client.assistants.create(**SALES)
    [span] = observed.spans()
    assert span.attributes["error.type"] == "lisn_async.errors.APIConnectionError"
    assert span.attributes["lisn.outcome_unknown"] is True
    assert "http.response.status_code" not in span.attributes


async def test_a_caller_that_leaves_ends_the_span_and_is_no_longer_active(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    sandbox.faults = ["hang"]
    call = asyncio.ensure_future(client.assistants.create(**SALES))
    await sandbox.received(1)
    assert [point.value for point in observed.points("lisn.client.call.active")] == [1]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    [span] = observed.spans()
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert span.attributes["lisn.outcome_unknown"] is True
    assert (span.status.status_code.name, span.status.description) == ("ERROR", None)
    assert [point.value for point in observed.points("lisn.client.call.active")] == [0]


async def test_durations_are_measured_in_seconds_and_by_few_attributes(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    for _ in range(3):
        await client.assistants.create(**SALES)
    with pytest.raises(NotFoundError):
        await client.assistants.get("ast_none")
    done, failed = observed.points("lisn.client.call.duration")
    assert (done.count, failed.count) == (3, 1)
    assert 0 < done.sum < 60
    assert set(done.attributes) == {
        "http.request.method",
        "url.template",
        "server.address",
        "server.port",
        "http.response.status_code",
    }
    assert failed.attributes["error.type"] == "404"
    assert done.explicit_bounds == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


async def test_a_call_that_was_cancelled_is_measured_too(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    sandbox.faults = ["hang"]
    call = asyncio.ensure_future(client.assistants.list())
    await sandbox.received(1)
    call.cancel()
    await asyncio.wait([call])
    [point] = observed.points("lisn.client.call.duration")
    assert (point.count, point.attributes["error.type"]) == (1, "asyncio.exceptions.CancelledError")


async def test_the_span_is_a_child_of_the_callers_and_its_context_travels_without_baggage(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    from opentelemetry import baggage, context

    tracer = observed.tracers.get_tracer("test")
    token = context.attach(baggage.set_baggage("customer", "secret-customer"))
    try:
        with tracer.start_as_current_span("handler") as handler:
            await client.assistants.list()
    finally:
        context.detach(token)
    ours, parent = observed.spans()
    assert ours.parent.span_id == parent.context.span_id == handler.get_span_context().span_id
    [seen] = sandbox.seen
    assert seen.headers["traceparent"].split("-")[1:3] == [
        f"{ours.context.trace_id:032x}",
        f"{ours.context.span_id:016x}",
    ]
    assert "baggage" not in seen.headers


async def test_a_span_that_nobody_samples_is_passed_on_as_such_and_the_call_is_measured(
    sandbox: Sandbox, observed: Observed
) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    observed.use(TracerProvider(sampler=ALWAYS_OFF))
    async with observed.client(sandbox) as client:
        await client.assistants.list()
    assert observed.spans() == []
    assert int(sandbox.seen[0].headers["traceparent"].rpartition("-")[2], 16) & 1 == 0
    assert [point.count for point in observed.points("lisn.client.call.duration")] == [1]


async def test_without_a_provider_the_context_that_came_in_travels_on_as_it_is(
    sandbox: Sandbox, observed: Observed
) -> None:
    from opentelemetry import context, propagate, trace

    came_in = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    observed.use(trace.NoOpTracerProvider())
    async with observed.client(sandbox) as client:
        await client.assistants.list()
        token = context.attach(propagate.extract({"traceparent": came_in}))
        try:
            await client.assistants.list()
        finally:
            context.detach(token)
    assert [one.headers.get("traceparent") for one in sandbox.seen] == [None, came_in]


async def test_the_callers_span_stays_the_current_one_where_ours_is_switched_off(
    sandbox: Sandbox, observed: Observed
) -> None:
    from opentelemetry import trace

    seen: list[Any] = []

    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        seen.append(trace.get_current_span())
        return await call_next(request)

    tracer = observed.tracers.get_tracer("test")
    observed.use(trace.NoOpTracerProvider())
    async with observed.client(sandbox, look) as client:
        with tracer.start_as_current_span("handler") as handler:
            await client.assistants.list()
    assert seen == [handler]


@pytest.mark.parametrize("ends", ["well", "badly", "cancelled"])
async def test_after_a_call_the_current_span_is_what_it_was(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed, ends: str
) -> None:
    from opentelemetry import trace

    async def call() -> Any:
        with observed.tracers.get_tracer("test").start_as_current_span("handler") as handler:
            with contextlib.suppress(NotFoundError, asyncio.CancelledError):
                await (client.assistants.get("ast_none") if ends == "badly" else client.assistants.list())
            assert trace.get_current_span() is handler
            assert handler.is_recording()

    sandbox.faults = ["hang"] if ends == "cancelled" else []
    calling = asyncio.ensure_future(call())
    await sandbox.received(1)
    if ends == "cancelled":
        calling.cancel()
    await calling
    assert [span.name.rpartition(".")[0] for span in observed.spans()] == ["lisn.assistants", ""]


async def test_a_call_that_is_thrown_away_unfinished_ends_its_span_and_disturbs_no_context(
    sandbox: Sandbox, observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    async def waits(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    # As the collector does with what a loop left behind when it was closed: not in the context it ran in.
    async with observed.client(sandbox, waits) as client:
        call = client.assistants.list()
        contextvars.copy_context().run(call.send, None)
        call.close()
    [span] = observed.spans()
    assert span.attributes["error.type"] == "GeneratorExit"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")] == []


async def test_what_others_say_in_their_errors_is_not_in_a_span(sandbox: Sandbox, observed: Observed) -> None:
    async def refuse(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        raise ValueError("no quota for key sk-canary")

    async with observed.client(sandbox, refuse) as client:
        with pytest.raises(ValueError):
            await client.assistants.list()
    [span] = observed.spans()
    assert span.attributes["error.type"] == "ValueError"
    assert span.status.status_code.name == "ERROR"
    assert "sk-canary" not in span.to_json()


async def test_an_error_shows_three_frames_of_ours_with_tracing_and_five_in_the_shim(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.assistants.get("ast_none")
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[1:] == ["get", "__call__", "_call"]

    def blocking() -> None:
        url = sandbox.base_url
        with lisn_sync.Lisn(sandbox.token, base_url=url, middleware=[observed.middleware]) as lisn:
            lisn.assistants.get("ast_none")

    with pytest.raises(NotFoundError) as caught:
        await asyncio.to_thread(blocking)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[names.index("blocking") + 1 :] == ["get", "run", "get", "__call__", "_call"]


async def test_a_reply_that_a_middleware_made_up_badly_still_ends_the_span(
    sandbox: Sandbox, observed: Observed
) -> None:
    async def makes_up(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        return RawResponse(status_code=200, headers=None, attempts=1, result=None)  # type: ignore[arg-type]

    async with observed.client(sandbox, makes_up) as client:
        await client.assistants.delete("ast_1")
    assert [span.name for span in observed.spans()] == ["lisn.assistants.delete"]
    assert [point.value for point in observed.points("lisn.client.call.active")] == [0]


async def test_no_span_is_kept_once_its_call_is_over(sandbox: Sandbox, observed: Observed) -> None:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    met: list[weakref.ref[Any]] = []

    class Meeting(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            met.append(weakref.ref(span))

    provider = TracerProvider()
    provider.add_span_processor(Meeting())
    observed.use(provider)
    async with observed.client(sandbox) as client:
        for _ in range(20):
            await client.assistants.list()
        gc.collect()
        # The connection and the timer of the first call live on, in the context that they were made in.
        assert len([span for span in met if span() is not None]) <= 1
    assert len(met) == 20


async def test_it_is_told_who_made_a_span_and_by_which_conventions(
    client: AsyncLisn, observed: Observed
) -> None:
    import lisn_async

    await client.assistants.list()
    [span] = observed.spans()
    scope = span.instrumentation_scope
    assert (scope.name, scope.version) == ("lisn", lisn_async.__version__)
    assert scope.schema_url.startswith("https://opentelemetry.io/schemas/1.")


# --- next to other instrumentation ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_instrumentation"]
)
async def test_where_instrumentation_is_suppressed_nothing_is_traced_measured_or_sent_along(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed, key: str
) -> None:
    from opentelemetry import context

    token = context.attach(context.set_value(getattr(context, key, key), True))
    try:
        await client.assistants.list()
        await client.assistants.create_many([SPEC])
    finally:
        context.detach(token)
    assert observed.spans() == []
    assert observed.points("lisn.client.call.duration") == []
    assert {"traceparent" in one.headers for one in sandbox.seen} == {False}
    await client.assistants.list()
    assert [span.name for span in observed.spans()] == ["lisn.assistants.list"]


@pytest.fixture
def aiohttp_traced(observed: Observed) -> Iterator[None]:
    """Every session of aiohttp that is made from now on is traced, with the tool that people use for it."""
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor

    instrumentor = AioHttpClientInstrumentor()
    instrumentor.instrument(tracer_provider=observed.tracers)
    yield
    instrumentor.uninstrument()


@needs("opentelemetry.instrumentation.aiohttp_client")
@pytest.mark.usefixtures("aiohttp_traced")
@pytest.mark.parametrize("borrowed", [False, True])
async def test_spans_of_aiohttps_own_instrumentation_are_below_ours_one_for_each_request(
    sandbox: Sandbox, observed: Observed, borrowed: bool
) -> None:
    import aiohttp

    sandbox.faults = [{"status": 429, "retry_after": 0}]
    async with aiohttp.ClientSession() as session:
        options = {"session": session} if borrowed else {}
        async with observed.client(sandbox, **options) as client:
            await client.assistants.create(**SALES)
    first, second, ours = observed.spans()
    assert [span.name for span in (first, second, ours)] == ["POST", "POST", "lisn.assistants.create"]
    assert ours.parent is None
    assert {span.parent.span_id for span in (first, second)} == {ours.context.span_id}
    told = [one.headers.getall("traceparent") for one in sandbox.seen]
    assert [len(values) for values in told] == [1, 1]
    parents = [int(value.split("-")[2], 16) for [value] in told]
    assert parents == [first.context.span_id, second.context.span_id]
    assert sandbox.token not in "".join(span.to_json() for span in observed.spans())


@needs("opentelemetry.instrumentation.aiohttp_client")
@pytest.mark.usefixtures("aiohttp_traced")
@pytest.mark.parametrize("how", ["suppress_instrumentation", "suppress_http_instrumentation"])
async def test_the_switches_that_others_heed_switch_ours_off_with_them(
    sandbox: Sandbox, observed: Observed, how: str
) -> None:
    from opentelemetry.instrumentation import utils

    async with observed.client(sandbox) as client:
        with getattr(utils, how)():
            await client.assistants.list()
    assert observed.spans() == []
    assert "traceparent" not in sandbox.seen[0].headers


# --- bulk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["create_many", "create_each", "marker", "lost"])
async def test_every_span_of_a_bulk_run_is_a_child_of_the_span_that_it_was_started_in(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed, way: str
) -> None:
    if way == "lost":
        sandbox.faults = [{"do": "reset", "when": "after", "operation": "create", "times": 2}]
    with observed.tracers.get_tracer("test").start_as_current_span("job") as job:
        if way == "create_each":
            done = [one async for one in client.assistants.create_each([SPEC] * 9, max_concurrency=3)]
        else:
            exact = {"exact": "marker"} if way == "marker" else {}
            result = await client.assistants.create_many([SPEC] * 9, max_concurrency=3, settle=0.01, **exact)
            done = result.outcomes
    assert [one.status for one in done] == ["created"] * 9
    *items, parent = observed.spans()
    assert len(items) >= 10
    assert parent.name == "job"
    assert {span.parent.span_id for span in items} == {job.get_span_context().span_id}


async def test_every_item_of_a_bulk_run_has_a_span_for_each_time_it_was_sent(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed
) -> None:
    sandbox.faults = [{"status": 429, "retry_after": 0, "operation": "create", "times": 3}]
    result = await client.assistants.create_many([SPEC] * 5, max_concurrency=1)
    assert len(result.created) == 5
    assert [(span.name, span.attributes.get("http.request.resend_count")) for span in observed.spans()] == [
        ("lisn.assistants.list", None),
        ("lisn.assistants.create", None),
        ("lisn.assistants.create", 1),
        ("lisn.assistants.create", 2),
        ("lisn.assistants.create", 3),
        *[("lisn.assistants.create", None)] * 4,
    ]
    assert sum(point.value for point in observed.points("lisn.client.call.resends")) == 3


def test_in_the_shim_the_callers_span_is_the_parent(lisn_sandbox: Any, observed: Observed) -> None:
    url, tracer = lisn_sandbox.base_url, observed.tracers.get_tracer("test")
    with lisn_sync.Lisn(lisn_sandbox.token, base_url=url, middleware=[observed.middleware]) as client:
        client.assistants.list()
        with tracer.start_as_current_span("view"):
            client.assistants.list()
    alone, ours, parent = observed.spans()
    assert alone.parent is None
    assert ours.parent.span_id == parent.context.span_id


@pytest.mark.parametrize("fault", ["reset", {"status": 403}, {"status": 429, "times": 9, "retry_after": 0}])
async def test_no_attribute_event_or_metric_shows_a_secret(
    sandbox: Sandbox, client: AsyncLisn, observed: Observed, fault: Any
) -> None:
    sandbox.faults = [fault]
    kinds = (APIConnectionError, RateLimitError, LisnError)
    with pytest.raises(kinds):
        await client.assistants.create(**{**SALES, "webhook_secret": "whsec-canary"})
    told = "".join(span.to_json() for span in observed.spans())
    told += "".join(repr(point) for point in observed.points("lisn.client.call.duration"))
    assert "lisn.assistants.create" in told
    assert "whsec-canary" not in told
    assert sandbox.token not in told


async def test_baggage_stays_whatever_the_propagator_calls_it_and_so_does_what_is_no_header(
    sandbox: Sandbox, client: AsyncLisn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry import baggage, context, propagate

    class Jaegerish:
        def inject(self, carrier: dict[str, Any], context: Any = None, setter: Any = None) -> None:
            carrier |= {f"uberctx-{name}": value for name, value in baggage.get_all(context).items()}
            carrier |= {"X-B3": "1-2-1", "X-Odd": "\u00fc", "X-Number": 7, "Authorization": "theirs"}

    monkeypatch.setattr(propagate, "inject", Jaegerish().inject)
    token = context.attach(baggage.set_baggage("customer", "secret-customer"))
    try:
        await client.assistants.list()
    finally:
        context.detach(token)
    [seen] = sandbox.seen
    assert seen.headers["X-B3"] == "1-2-1"
    assert seen.headers["Authorization"] == f"Bearer {sandbox.token}"
    assert not {"uberctx-customer", "X-Odd", "X-Number"} & set(seen.headers)


@pytest.mark.parametrize("fails", ["on_start", "on_end", "sampler", "inject"])
async def test_what_fails_in_tracing_fails_no_call_and_is_logged(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    from opentelemetry import propagate
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    from lisn_async.contrib import opentelemetry as ours

    class Broken(Exception):
        pass

    def broken(*_: Any, **__: Any) -> Any:
        raise Broken

    provider, processor = TracerProvider(sampler=TraceIdRatioBased(1)), SpanProcessor()
    provider.add_span_processor(processor)
    if fails == "sampler":
        monkeypatch.setattr(provider.sampler, "should_sample", broken, raising=False)
    elif fails == "inject":
        monkeypatch.setattr(propagate, "inject", broken)
    else:
        monkeypatch.setattr(processor, fails, broken)
    ours._say_once.cache_clear()
    middleware = [ours.Tracing(tracer_provider=provider)]
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, middleware=middleware) as client:
        with TracerProvider().get_tracer("test").start_as_current_span("theirs") as theirs:
            made = await client.assistants.create(**SALES)
            with pytest.raises(NotFoundError):
                await client.assistants.get("ast_none")
            assert theirs.is_recording()
    assert made.name == SALES["name"]
    assert caplog.text.count("tracing failed: Broken") == 1


# --- without being asked --------------------------------------------------------------------------------

GLOBAL = """
    import asyncio, json, sys
    from lisn_async import AsyncLisn

    client = AsyncLisn()  # before anything is set up, as at import time
    assert "opentelemetry" not in sys.modules

    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()

    async def main():
        async with client:
            if "{before}":
                await client.assistants.list()  # loaded, and no provider is set yet
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            trace.set_tracer_provider(provider)
            metrics.set_meter_provider(MeterProvider([reader]))
            await client.assistants.list()
            await client.with_options(timeout=9).assistants.list()

    made = []
    from lisn_async.contrib import opentelemetry as ours
    begin = ours.Tracing.__init__
    ours.Tracing.__init__ = lambda self: (made.append(self), begin(self))[1]
    asyncio.run(main())
    assert len(made) == 1, "instruments are made once"
    scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
    points = {one.name: one.data.data_points[0] for scope in scopes for one in scope.metrics}
    assert points["lisn.client.call.duration"].count == 2
    assert points["lisn.client.call.duration"].explicit_bounds[0] == 0.005
    assert points["lisn.client.call.active"].value == 0
    print(json.dumps([span.name for span in exporter.get_finished_spans()]))
"""


@pytest.mark.parametrize("before", ["", "before"])
def test_a_program_that_sets_opentelemetry_up_gets_spans_from_every_client(
    lisn_sandbox: Any, before: str
) -> None:
    program = textwrap.dedent(GLOBAL.replace("{before}", before))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment_for(lisn_sandbox.base_url, lisn_sandbox.token),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["lisn.assistants.list"] * 2


FORK = """
    import json, os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork while there are threads
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from lisn_sync import Lisn

    exporter, provider, client = InMemorySpanExporter(), TracerProvider(), Lisn()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    def tell(who):
        spans = exporter.get_finished_spans()
        ours = [(one.name, one.parent and f"{one.parent.span_id:x}") for one in spans]
        print(json.dumps([who, ours]), flush=True)

    client.assistants.list()
    exporter.clear()
    with trace.get_tracer("test").start_as_current_span("request") as request:
        print(json.dumps(["id", f"{request.get_span_context().span_id:x}"]), flush=True)
        child = os.fork()
        client.assistants.list()
        tell("parent" if child else "child")
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_traces_its_own_calls_below_the_span_it_was_forked_in(lisn_sandbox: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORK)],
        env=environment_for(lisn_sandbox.base_url, lisn_sandbox.token),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = dict(json.loads(line) for line in done.stdout.splitlines())
    assert told["parent"] == told["child"] == [["lisn.assistants.list", told["id"]]]


UNUSABLE = """
    import asyncio, logging, sys, types
    logging.basicConfig(level="WARNING", stream=sys.stdout, format="%(message)s")
    from lisn_async import AsyncLisn
    {load}

    async def main():
        for _ in range(2):
            async with AsyncLisn() as client:
                assert await client.assistants.list() == []

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    "load",
    [
        "sys.modules['opentelemetry.trace'] = types.ModuleType('opentelemetry.trace')",
        "sys.modules['opentelemetry.trace'] = None",
        "from opentelemetry import metrics, trace; metrics.get_meter = lambda name: None  # of before 1.0",
    ],
)
def test_an_opentelemetry_that_cannot_be_used_fails_no_call_and_is_said_once(
    lisn_sandbox: Any, load: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(UNUSABLE).replace("{load}", load)],
        env=environment_for(lisn_sandbox.base_url, lisn_sandbox.token),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("calls are not traced") == 1
