"""How a call is made: other limits, the raw response, a deadline, more fields. In both packages, over real HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from lisn_async import (
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    Assistant,
    AssistantCreate,
    AssistantUpdate,
    CallNext,
    ConfigurationError,
    InternalServerError,
    RateLimitError,
    RawResponse,
    UnprocessableEntityError,
    ValidationError,
)
from lisn_async.sandbox import Sandbox
from tests.fix_surface import Making, Surface
from tests.fix_wire import Wire, reply

CREATE: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "p"}
ONE = b'{"id":"ast_1","name":"n"}'
KEY = "k3y-of-a-customer"


def of(surface: Making, sandbox: Sandbox, **options: Any) -> Surface:
    return surface(sandbox.token, base_url=sandbox.base_url, **options)


# --- with_options ---------------------------------------------------------------------------------------


async def test_a_copy_with_other_limits_uses_the_very_same_connection(surface: Making, wire: Wire) -> None:
    wire.script.extend([reply(ONE)] * 4)
    async with surface("t", base_url=wire.base_url) as client:
        copy = client.with_options(timeout=5)
        for one in (client, copy, copy.with_options(max_retries=0), client):
            await one("get", "ast_1")
    assert wire.connections == 1


async def test_each_copy_has_its_own_limits(surface: Making, sandbox: Sandbox, waiting: list[float]) -> None:
    async with of(surface, sandbox, max_retries=1) as client:
        once, patient = client.with_options(max_retries=0), client.with_options(max_retries=2)
        hasty = patient.with_options(timeout=0.1)
        for one, requests in ((once, 1), (client, 2), (patient, 3)):
            sandbox.seen.clear()
            sandbox.faults = ["reset"] * 3
            if one is patient:
                sandbox.faults = ["reset"] * 2
                assert await one("list") == []
            else:
                with pytest.raises(APIConnectionError):
                    await one("list")
            assert len(sandbox.seen) == requests
        sandbox.seen.clear()
        sandbox.faults = ["hang"] * 3
        with pytest.raises(APITimeoutError) as caught:
            await hasty("list")
        assert caught.value.attempts == 3
        assert len(sandbox.seen) <= 3  # fewer, where this machine stood still for a tenth of a second


@pytest.mark.parametrize("closed", ["the copy", "the client"])
async def test_closing_either_closes_both(surface: Making, sandbox: Sandbox, closed: str) -> None:
    client = of(surface, sandbox)
    copy = client.with_options(timeout=5)
    await client("list")
    await (copy if closed == "the copy" else client).close()
    for one in (client, copy):
        with pytest.raises(ConfigurationError, match="closed"):
            await one("list")


async def test_a_pause_that_one_copy_was_told_holds_for_all(
    surface: Making, sandbox: Sandbox, waiting: list[float]
) -> None:
    sandbox.faults = [{"status": 429, "retry_after": 50}]
    async with of(surface, sandbox) as client:
        with pytest.raises(RateLimitError):
            await client.with_options(max_retries=0)("list")
        assert waiting == []
        await client("list")
    assert 30 < waiting[0] <= 50  # less, where this machine stood still
    assert len(sandbox.seen) == 2


# --- with_raw_response ----------------------------------------------------------------------------------

STATUS = {"list": 200, "create": 201, "get": 200, "update": 200, "delete": 204, "duplicate": 201}


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("operation", STATUS)
async def test_the_raw_response_of_each_call_tells_of_the_request_that_was_answered(
    surface: Making, sandbox: Sandbox, operation: str, attempts: int
) -> None:
    async with of(surface, sandbox) as client:
        there = await client("create", **CREATE)
        sandbox.seen.clear()
        sandbox.faults = [{"status": 503, "retry_after": 0}] * (attempts - 1)
        arguments = () if operation in ("list", "create") else (there.id,)
        fields = CREATE if operation == "create" else {"name": "m"} if operation == "update" else {}
        raw = await client(operation, *arguments, raw=True, **fields)
    assert (raw.status_code, raw.attempts) == (STATUS[operation], attempts)
    assert [request.operation for request in sandbox.seen] == [operation] * attempts
    assert raw.request_id == raw.headers["x-request-id"] == sandbox.seen[-1].request_id
    found = raw.parse()
    if operation == "delete":
        assert found is None
        assert sandbox.assistants() == []
        return
    assert "application/json" in raw.headers["CONTENT-TYPE"]
    [listed] = found if operation == "list" else [found]
    assert isinstance(listed, Assistant)
    assert (listed.id == there.id) == (operation in ("list", "get", "update"))
    assert listed.name == ("m" if operation == "update" else "n")


# --- deadline -------------------------------------------------------------------------------------------

LONG = 50.0
"""Seconds that no deadline below comes near, and that each of these calls would take without one."""


async def failing(client: Surface, operation: str, *arguments: Any, **fields: Any) -> Any:
    """The error of a call that has to end long before `LONG`."""
    began = time.perf_counter()
    with pytest.raises(Exception) as caught:
        await client(operation, *arguments, **fields)
    assert time.perf_counter() - began < LONG / 2
    return caught.value


async def test_a_deadline_bounds_the_sum_of_attempts_and_waits(
    surface: Making, sandbox: Sandbox, waiting: list[float]
) -> None:
    sandbox.faults = [{"status": 500, "times": None}]
    async with of(surface, sandbox, max_retries=100, deadline=LONG) as client:
        error = await failing(client, "list")
    assert isinstance(error, InternalServerError)
    assert error.attempts == len(sandbox.seen) == len(waiting) + 1 >= 2
    assert sum(waiting) < LONG


async def test_a_deadline_bounds_the_sum_of_attempts_that_time_out(surface: Making, sandbox: Sandbox) -> None:
    sandbox.faults = [{"do": "hang", "times": None}]
    async with of(surface, sandbox, max_retries=100, timeout=0.1, deadline=1) as client:
        error = await failing(client, "list")
    assert isinstance(error, APITimeoutError)
    assert error.attempts <= 11


async def test_a_retry_after_beyond_the_deadline_ends_the_call_at_once_and_is_told(
    surface: Making, sandbox: Sandbox
) -> None:
    sandbox.faults = [{"status": 429, "retry_after": LONG}]
    async with of(surface, sandbox, deadline=LONG / 2) as client:
        error = await failing(client, "create", **CREATE)
    assert isinstance(error, RateLimitError)
    assert (error.retry_after, error.attempts, error.outcome_unknown) == (LONG, 1, False)


async def test_a_retry_after_within_the_deadline_is_waited_for(
    surface: Making, sandbox: Sandbox, waiting: list[float]
) -> None:
    sandbox.faults = [{"status": 429, "retry_after": LONG / 2}]
    async with of(surface, sandbox, deadline=LONG) as client:
        assert (await client("create", raw=True, **CREATE)).attempts == 2
    assert waiting[0] == LONG / 2


@pytest.mark.parametrize("operation", ["create", "get"])
async def test_a_deadline_in_the_middle_of_a_body_ends_the_call(
    surface: Making, sandbox: Sandbox, operation: str
) -> None:
    async with of(surface, sandbox) as client:
        there = await client("create", **CREATE)
        sandbox.seen.clear()
        sandbox.faults = [{"do": "drip", "seconds": LONG}] * 3
        arguments, fields = ((), CREATE) if operation == "create" else ((there.id,), {})
        deadline = 0.2
        while not sandbox.seen:  # nothing was sent in time, where this machine stood still
            deadline *= 2
            error = await failing(client.with_options(deadline=deadline), operation, *arguments, **fields)
    assert isinstance(error, APITimeoutError)
    assert error.outcome_unknown == (operation == "create")
    assert [request.operation for request in sandbox.seen] == [operation]
    assert len(sandbox.assistants()) == (2 if operation == "create" else 1)


async def test_a_deadline_covers_the_wait_for_a_slot(surface: Making, wire: Wire) -> None:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    wire.script.append(answer)
    async with surface("t", base_url=wire.base_url, max_connections=1, max_retries=0) as client:
        holding = asyncio.create_task(client("get", "ast_1"))
        await wire.arrived.wait()
        error = await failing(client.with_options(deadline=0.1), "create", **CREATE)
        assert isinstance(error, APITimeoutError)
        assert not error.outcome_unknown
        answer.set_result(reply(b'{"id":"ast_1","name":"n"}'))
        await holding
    assert wire.methods == ["GET"]


async def test_what_a_middleware_does_before_the_request_takes_from_the_deadline(
    surface: Making, sandbox: Sandbox
) -> None:
    async def slow(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        await asyncio.sleep(0.2)  # all of the deadline, and more
        return await call_next(request)

    async with of(surface, sandbox, deadline=0.05, middleware=[slow]) as client:
        error = await failing(client, "create", **CREATE)
    assert isinstance(error, APITimeoutError)
    assert "the deadline has passed" in str(error)
    assert not error.outcome_unknown
    assert sandbox.seen == []


async def test_each_call_has_the_whole_deadline_for_itself(
    surface: Making, sandbox: Sandbox, waiting: list[float]
) -> None:
    async with of(surface, sandbox, deadline=LONG) as client:
        for _ in range(3):
            sandbox.faults = [{"status": 503, "retry_after": LONG / 2}]
            assert (await client("list", raw=True)).attempts == 2
    assert sum(waiting) > LONG


# --- extra_body -----------------------------------------------------------------------------------------


async def test_extra_body_adds_to_and_replaces_what_create_sends(surface: Making, sandbox: Sandbox) -> None:
    async with of(surface, sandbox) as client:
        extra = {"name": "replaced", "customer": {"key": [KEY]}}
        by_field = await client("create", **CREATE, extra_body=extra)
        by_spec = await client("create", AssistantCreate(**CREATE, extra_body=extra))
    assert sandbox.seen[0].json() == sandbox.seen[1].json() == {**CREATE, **extra}
    assert by_field.name == by_spec.name == "replaced"
    assert by_field.extra["customer"] == {"key": [KEY]}


async def test_extra_body_adds_to_and_replaces_what_update_sends(surface: Making, sandbox: Sandbox) -> None:
    async with of(surface, sandbox) as client:
        there = await client("create", **CREATE)
        extra = {"description": "replaced", "customer": KEY}
        await client("update", there.id, name="m", description="d", extra_body=extra)
        await client("update", there.id, AssistantUpdate(name="m", description="d", extra_body=extra))
        assert (await client("update", there.id, extra_body={"customer": 1})).extra["customer"] == 1
    by_field, by_change, alone = sandbox.seen[1:]
    assert by_field.json() == by_change.json() == {"name": "m", **extra}
    assert alone.json() == {"customer": 1}


async def test_extra_body_of_a_bulk_item_travels_and_is_in_no_journal(
    surface: Making, sandbox: Sandbox, tmp_path: Path
) -> None:
    fields = [{**CREATE, "name": f"n{n}"} for n in range(3)]
    extras = [{"name": f"m{n}", "customer": KEY} for n in range(3)]
    specs = [AssistantCreate(**one, extra_body=extra) for one, extra in zip(fields, extras, strict=True)]
    async with of(surface, sandbox) as client:
        result = await client("create_many", specs, journal=tmp_path / "journal")
        assert [one.status for one in result.outcomes] == ["created"] * 3
        again = await client("create_many", specs, journal=tmp_path / "journal")
    assert [one.assistant.id for one in again.outcomes] == [one.assistant.id for one in result.outcomes]
    rows = sandbox.assistants()
    assert sorted(row["name"] for row in rows) == ["m0", "m1", "m2"]
    assert {row["customer"] for row in rows} == {KEY}
    assert KEY.encode() not in (tmp_path / "journal").read_bytes()
    assert KEY not in repr(result) + repr(result.outcomes)


async def test_extra_body_in_a_mapping_is_refused_as_it_may_come_from_anybody(
    surface: Making, sandbox: Sandbox
) -> None:
    async with of(surface, sandbox) as client:
        for extra in ({"customer": KEY, "temperature": 7}, {}, KEY):
            fields = {**CREATE, "extra_body": extra}
            with pytest.raises(ValidationError, match="extra_body is not taken from a mapping") as caught:
                await client("create", fields)
            assert list(caught.value.fields) == ["extra_body"]
            assert KEY not in str(caught.value)
            (outcome,) = (await client("create_many", [fields])).outcomes
            assert isinstance(outcome.error, ValidationError)
        assert not sandbox.assistants()
        await client("create", {**CREATE, "extra_body": None}, extra_body={"customer": 1})
    assert sandbox.seen[-1].json() == {**CREATE, "customer": 1}


async def test_extra_body_is_shown_by_no_repr_no_error_and_no_log(
    surface: Making, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="lisn")
    extra = {"temperature": 7, "customer": KEY}
    shown = repr(AssistantCreate(**CREATE, extra_body=extra)) + repr(AssistantUpdate(extra_body=extra))
    async with of(surface, sandbox) as client:
        for error, fields in (
            (UnprocessableEntityError, CREATE),
            (ValidationError, {**CREATE, "name": ""}),
            (ValidationError, {**CREATE, "extra_body": {"x": [KEY, object()]}}),
        ):
            with pytest.raises(error) as caught:
                await client("create", **{"extra_body": extra, **fields})
            shown += str(caught.value) + repr(caught.value)
    assert "POST" in caplog.text
    assert KEY not in shown + caplog.text
