"""The caller's trace goes along: with OpenTelemetry, whose current span is a context variable, in many threads."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lisn_sync
from lisn_async.sandbox import Sandbox

from .conftest import needs

pytestmark = needs("opentelemetry.sdk")


def test_a_middleware_on_the_loop_sees_the_span_of_the_thread_that_calls(lisn_sandbox: Sandbox) -> None:
    from opentelemetry import trace
    from opentelemetry.propagate import inject
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("test")

    async def propagate(request: Any, call_next: Any) -> Any:
        inject(request.headers)
        return await call_next(request)

    def ask(number: int) -> str:
        with tracer.start_as_current_span(f"caller {number}") as span:
            client.assistants.list()
            assert trace.get_current_span() is span
            client.assistants.create_many(
                [{"name": "n", "type": "text", "llm_provider": "grok", "system_prompt": "p"}]
            )
        return f"{span.get_span_context().trace_id:032x}"

    with (
        lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url, middleware=[propagate]) as client,
        ThreadPoolExecutor(16) as threads,
    ):
        traces = list(threads.map(ask, range(64)))
    arrived = [request.headers["traceparent"].split("-")[1] for request in lisn_sandbox.seen]
    assert Counter(arrived) == dict.fromkeys(traces, 3)  # each a list, and a list and a create of create_many
