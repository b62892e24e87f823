"""Traces and metrics, with OpenTelemetry's own SDK and its exporters in memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

import lisn_sync
from lisn_async import APIConnectionError, AsyncLisn, LisnError, NotFoundError, RateLimitError
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

    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
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
    async with AsyncLisn(
        sandbox.token, base_url=sandbox.base_url, middleware=[observed.middleware]
    ) as client:
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
    call = asyncio.ensure_future(client.assistants.list())
    await sandbox.received(1)
    assert [point.value for point in observed.points("lisn.client.call.active")] == [1]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    [span] = observed.spans()
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
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
    assert done.explicit_bounds[0] == 0.005


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

    from lisn_async.contrib import opentelemetry as ours

    class Broken(Exception):
        pass

    def broken(*_: Any, **__: Any) -> Any:
        raise Broken

    provider, processor = TracerProvider(), SpanProcessor()
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
        made = await client.assistants.create(**SALES)
        with pytest.raises(NotFoundError):
            await client.assistants.get("ast_none")
    assert made.name == SALES["name"]
    assert caplog.text.count("tracing failed: Broken") == 1


# --- without being asked --------------------------------------------------------------------------------

GLOBAL = """
    import asyncio, json, sys
    from lisn_async import AsyncLisn

    client = AsyncLisn()  # before anything is set up, as at import time
    assert "opentelemetry" not in sys.modules

    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()

    async def main():
        async with client:
            if "{before}":
                await client.assistants.list()  # loaded, and no provider is set yet
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            trace.set_tracer_provider(provider)
            await client.assistants.list()
            await client.with_options(timeout=9).assistants.list()

    made = []
    from lisn_async.contrib import opentelemetry as ours
    begin = ours.Tracing.__init__
    ours.Tracing.__init__ = lambda self: (made.append(self), begin(self))[1]
    asyncio.run(main())
    assert len(made) == 1, "instruments are made once"
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
