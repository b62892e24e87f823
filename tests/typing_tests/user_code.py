"""What a user writes, as the type checker sees it: checked by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import assert_type

import lisn_async
import lisn_sync
from lisn_async import (
    Assistant,
    AssistantCreate,
    AssistantUpdate,
    AsyncLisn,
    BulkOutcome,
    BulkProgress,
    BulkResult,
    LisnError,
    RawResponse,
    ValidationError,
)
from lisn_sync import Lisn


def show(progress: BulkProgress) -> None:
    print(progress.done, progress.total, f"{progress.rate:.0f}/s")


async def asynchronous(specs: list[AssistantCreate], rows: list[dict[str, object]]) -> None:
    async with AsyncLisn(timeout=5, default_headers={"X-Tenant": "acme"}) as client:
        assert_type(client, AsyncLisn)
        assert_type(client.with_options(deadline=3, max_retries=0), AsyncLisn)
        made = await client.assistants.create(
            name="n", type="voice", llm_provider="openai", system_prompt="p", temperature=0, description=None
        )
        assert_type(made, Assistant)
        assert_type(made.temperature, float | None)
        assert_type(await client.assistants.create(made.to_create()), Assistant)
        assert_type(await client.assistants.list(), list[Assistant])
        assert_type(await client.assistants.update(made.id, llm_provider="grok"), Assistant)
        assert_type(await client.assistants.duplicate(made.id), Assistant)
        assert_type(await client.assistants.with_raw_response.get(made.id), RawResponse[Assistant])
        assert_type(await client.assistants.with_raw_response.list(), RawResponse[list[Assistant]])
        await client.assistants.delete(made.id)
        assert_type(await client.assistants.create_many(specs, on_progress=show), BulkResult)
        await client.assistants.create_many(rows)
        each = client.assistants.create_each(iter(specs), max_concurrency=3)
        assert_type(each, AsyncGenerator[BulkOutcome, None])
        async for outcome in each:
            if outcome.assistant is not None:
                print(outcome.assistant.id)


def blocking(specs: list[AssistantCreate]) -> None:
    with Lisn(base_url="https://app.lisn.dev") as client, lisn_sync.Sandbox() as box:
        assert_type(box.base_url, str)
        assert_type(client, Lisn)
        made = client.assistants.create(name="n", type="text", llm_provider="openai", system_prompt="p")
        assert_type(made, Assistant)
        assert_type(client.assistants.create(made.to_create()), Assistant)
        assert_type(client.assistants.list(), list[Assistant])
        assert_type(client.assistants.create_many(specs), BulkResult)
        outcomes = client.assistants.create_each(specs)
        assert_type(outcomes, Generator[BulkOutcome, None, None])
        for outcome in outcomes:
            print(outcome.index, outcome.status)
        assert_type(client.assistants.with_raw_response.duplicate(made.id), RawResponse[Assistant])


def wrong(client: Lisn) -> None:
    client.assistants.create(name="n", type="fax", llm_provider="openai", system_prompt="p")  # type: ignore[call-overload]
    client.assistants.create(name="n", type="text", llm_provider="openai")  # type: ignore[call-overload]
    client.assistants.get(7)  # type: ignore[arg-type]
    AssistantUpdate(temperature="hot")  # type: ignore[arg-type]


def errors(error: lisn_async.APIStatusError) -> None:
    assert_type(error.status_code, int)
    assert_type(error.retry_after, float | None)
    try:
        raise error
    except ValidationError as invalid:
        assert_type(invalid.fields, Mapping[str, str])
    except LisnError as other:
        assert_type(other.message, str)
