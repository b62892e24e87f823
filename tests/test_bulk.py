"""Many at once: order, bounds, laziness, and one bad item that stops nobody."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from lisn_async import (
    AssistantCreate,
    AsyncLisn,
    AuthenticationError,
    BulkError,
    BulkProgress,
    ConfigurationError,
    ValidationError,
)
from lisn_async.sandbox import Fault, Sandbox


def spec(n: int) -> AssistantCreate:
    return AssistantCreate(name=f"n{n}", type="text", llm_provider="openai", system_prompt="p")


def creates(sandbox: Sandbox) -> int:
    return sum(seen.operation == "create" for seen in sandbox.seen)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lisn_async.bulk.sender.backoff", lambda *_: 0.0)


async def test_every_item_is_created_once_and_outcomes_come_in_input_order(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    result = await client.assistants.create_many([spec(n) for n in range(150)])

    assert [outcome.index for outcome in result.outcomes] == list(range(150))
    assert [outcome.assistant.name for outcome in result.created] == [f"n{n}" for n in range(150)]
    names = sorted(row.name for row in await client.assistants.list())
    assert names == sorted(f"n{n}" for n in range(150))
    result.raise_for_failures()


async def test_mappings_iterators_and_async_iterators_are_all_read(client: AsyncLisn) -> None:
    async def later() -> AsyncIterator[Any]:
        for n in range(20):
            await asyncio.sleep(0)
            yield spec(n)

    as_mapping = {"name": "m", "type": "text", "llm_provider": "openai", "system_prompt": "p"}
    for specs in ([as_mapping] * 20, (spec(n) for n in range(20)), later()):
        assert len((await client.assistants.create_many(specs)).created) == 20
    assert (await client.assistants.create_many([])).outcomes == []


async def test_the_account_is_listed_once_before_the_first_create(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    await client.assistants.create_many([spec(1), spec(2)])
    assert [seen.operation for seen in sandbox.seen] == ["list", "create", "create"]


async def test_a_wrong_token_ends_the_run_before_anything_is_read_or_sent(sandbox: Sandbox) -> None:
    read: list[int] = []

    def specs() -> Iterator[AssistantCreate]:
        read.append(1)
        yield spec(1)

    async with AsyncLisn("wrong", base_url=sandbox.base_url) as client:
        with pytest.raises(AuthenticationError):
            await client.assistants.create_many(specs())
    assert (read, creates(sandbox)) == ([], 0)


async def test_one_bad_item_never_stops_the_others(sandbox: Sandbox, client: AsyncLisn) -> None:
    specs: list[Any] = [spec(0), AssistantCreate(name=""), 7, {"nme": "x"}, None, spec(5)]
    result = await client.assistants.create_many(specs)

    assert [outcome.status for outcome in result.outcomes] == [
        *("created", "failed", "failed", "failed", "failed", "created")
    ]
    assert all(isinstance(outcome.error, ValidationError) for outcome in result.failed)
    assert [outcome.spec for outcome in result.outcomes] == specs
    assert creates(sandbox) == 2
    with pytest.raises(BulkError, match="4 of 6 items failed") as caught:
        result.raise_for_failures()
    assert caught.value.result is result


async def test_what_the_service_refuses_fails_and_what_it_may_have_done_comes_last_once_it_is_known(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [
        Fault(do="status", status=502, when="after", operation="create"),
        Fault(do="status", status=422, operation="create"),
        Fault(do="reset", operation="create"),
    ]
    outcomes = [outcome async for outcome in client.assistants.create_each(map(spec, range(6)), settle=0)]

    assert sorted(outcome.status for outcome in outcomes[:4]) == ["created"] * 3 + ["failed"]
    assert [outcome.status for outcome in outcomes[4:]] == ["created"] * 2
    assert creates(sandbox) == 7, "of the two lost ones only that which was not made is sent again"
    assert len(await client.assistants.list()) == 5


async def test_declined_items_are_sent_again_whatever_max_retries_says(
    sandbox: Sandbox, no_backoff: None
) -> None:
    sandbox.faults = [Fault(do="status", status=429, operation="create", times=30)]
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, max_retries=0) as client:
        result = await client.assistants.create_many([spec(n) for n in range(3)])
    assert len(result.created) == 3
    assert creates(sandbox) == 33


async def test_a_run_without_any_success_is_given_up_and_the_rest_fails(
    sandbox: Sandbox, client: AsyncLisn, no_backoff: None
) -> None:
    sandbox.faults = [Fault(do="status", status=429, operation="create", times=10**6)]
    result = await client.assistants.create_many(
        [spec(n) for n in range(40)], max_concurrency=4, give_up_after=0.05
    )
    assert [outcome.status for outcome in result.outcomes] == ["failed"] * 40
    assert not any(outcome.error.outcome_unknown for outcome in result.outcomes)


async def test_no_more_than_max_concurrency_are_under_way(sandbox: Sandbox, client: AsyncLisn) -> None:
    under_way = most = 0
    exchange = client._calls.transport.exchange

    async def counting(*arguments: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await exchange(*arguments)
        finally:
            under_way -= 1

    client._calls.transport.exchange = counting  # type: ignore[method-assign]
    await client.assistants.create_many([spec(n) for n in range(60)], max_concurrency=7)
    assert most == 7


async def test_the_input_is_read_only_as_fast_as_outcomes_are_taken(client: AsyncLisn) -> None:
    read = 0

    def endless() -> Iterator[AssistantCreate]:
        nonlocal read
        while True:
            read += 1
            yield spec(read)

    async with aclosing(client.assistants.create_each(endless(), max_concurrency=5)) as outcomes:
        taken = 0
        async for _ in outcomes:
            taken += 1
            await asyncio.sleep(0.001)
            assert read <= taken + 6 * 5
            if taken == 100:
                break


async def test_leaving_the_stream_early_cancels_what_is_under_way(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [Fault(do="hang", operation="create", skip=1, times=100)]
    async with aclosing(client.assistants.create_each(map(spec, range(9)), max_concurrency=3)) as outcomes:
        first = await anext(outcomes)
        assert first.status == "created"
    assert not [task for task in asyncio.all_tasks() if "_work" in repr(task)]


async def test_an_input_that_raises_loses_nothing_that_was_made_before(client: AsyncLisn) -> None:
    def broken() -> Iterator[AssistantCreate]:
        yield from map(spec, range(5))
        raise OSError("disk gone")

    with pytest.raises(BulkError, match="OSError ended the run after 5 items") as caught:
        await client.assistants.create_many(broken())
    assert len(caught.value.result.created) == 5
    assert isinstance(caught.value.__cause__, OSError)

    seen = []
    with pytest.raises(OSError, match="disk gone"):
        async for outcome in client.assistants.create_each(broken()):
            seen.append(outcome)  # noqa: PERF401
    assert len(seen) == 5


async def test_an_input_that_waits_for_something_cancelled_is_an_error_and_no_end(client: AsyncLisn) -> None:
    async def broken() -> AsyncIterator[AssistantCreate]:
        yield spec(0)
        raise asyncio.CancelledError

    with pytest.raises(BulkError, match="CancelledError ended the run after 1 items") as caught:
        await client.assistants.create_many(broken(), max_concurrency=3)
    assert len(caught.value.result.created) == 1


async def test_a_progress_callback_that_raises_loses_nothing_that_was_made(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    def broken(progress: BulkProgress) -> None:
        if progress.done == 3:
            raise ZeroDivisionError("the bar broke")

    with pytest.raises(BulkError, match="the bar broke") as caught:
        await client.assistants.create_many([spec(n) for n in range(50)], on_progress=broken)
    known = {outcome.assistant.id for outcome in caught.value.result.created}
    assert known == {row["id"] for row in sandbox.assistants()}


async def test_a_slow_input_and_a_slow_reader_are_no_failures_of_the_service(client: AsyncLisn) -> None:
    async def slow() -> AsyncIterator[AssistantCreate]:
        for n in range(3):
            yield spec(n)
            await asyncio.sleep(0.03)

    result = await client.assistants.create_many(slow(), give_up_after=0.01)
    assert len(result.created) == 3


class OddMapping(Mapping[str, object]):
    """Somebody's lazy row whose cell cannot be read."""

    def __getitem__(self, key: str) -> object:
        raise RuntimeError("the cell is broken")

    def __iter__(self) -> Iterator[str]:
        return iter(["name"])

    def __len__(self) -> int:
        return 1


class Float(float):
    """As numpy.float64 is."""


@pytest.mark.parametrize(
    ("odd", "status"),
    [
        ({"temperature": 10**400}, "failed"),
        ({"temperature": 10**5000}, "failed"),
        ({"temperature": Float(0.5)}, "created"),
        ({"extra_body": {"x": 1}}, "failed"),
        ({"name": NotImplemented}, "failed"),
        ({7: "x"}, "failed"),
    ],
)
async def test_an_odd_item_is_one_outcome_and_no_end(client: AsyncLisn, odd: Any, status: str) -> None:
    fields = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "p", **odd}
    result = await client.assistants.create_many([spec(0), fields, spec(2)])
    assert [outcome.status for outcome in result.outcomes] == ["created", status, "created"]


@pytest.mark.parametrize(
    ("extra", "status"), [([1], "failed"), ({"x": MappingProxyType({"y": (1, 2)})}, "created")]
)
async def test_an_odd_extra_body_is_one_outcome_and_no_end(
    client: AsyncLisn, extra: Any, status: str
) -> None:
    odd = attrs.evolve(spec(1), extra_body=extra)
    result = await client.assistants.create_many([spec(0), odd, spec(2)])
    assert [outcome.status for outcome in result.outcomes] == ["created", status, "created"]


async def test_an_item_that_cannot_be_read_is_one_outcome_and_no_end(client: AsyncLisn) -> None:
    result = await client.assistants.create_many([spec(0), OddMapping(), spec(2)])
    assert [outcome.status for outcome in result.outcomes] == ["created", "failed", "created"]


async def test_a_long_pause_does_not_hold_a_run_beyond_giving_up(sandbox: Sandbox, client: AsyncLisn) -> None:
    sandbox.faults = [Fault(do="status", status=429, retry_after=30, operation="create", times=None)]
    result = await client.assistants.create_many([spec(n) for n in range(9)], give_up_after=0.05)
    assert len(result.failed) == 9


async def test_progress_counts_every_outcome(client: AsyncLisn) -> None:
    seen: list[BulkProgress] = []
    await client.assistants.create_many([*map(spec, range(9)), AssistantCreate()], on_progress=seen.append)

    assert [progress.done for progress in seen] == list(range(1, 11))
    last = seen[-1]
    assert (last.created, last.failed, last.unknown, last.total) == (9, 1, 0, 10)
    assert last.elapsed > 0
    assert last.rate == last.done / last.elapsed

    seen.clear()
    await client.assistants.create_many(map(spec, range(2)), on_progress=seen.append)
    assert seen[-1].total is None


async def test_a_client_closed_underneath_ends_the_run_with_the_reason(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    with pytest.raises(ConfigurationError, match="closed"):
        async for _ in client.assistants.create_each(map(spec, range(500)), max_concurrency=2):
            await client.aclose()


async def test_a_client_closed_while_a_run_waits_for_its_listing_ends_the_run_at_once(
    sandbox: Sandbox, client: AsyncLisn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults = [Fault(do="reset", when="after", operation="create")]
    waiting, loop = asyncio.Event(), asyncio.get_running_loop()

    def emit(record: logging.LogRecord) -> None:
        if "looking for" in record.msg:
            loop.call_soon_threadsafe(waiting.set)

    caplog.set_level(logging.INFO, logger="lisn.bulk")
    monkeypatch.setattr(caplog.handler, "emit", emit)
    run = asyncio.create_task(client.assistants.create_many(map(spec, range(2)), settle=3600))
    await waiting.wait()
    await client.aclose()
    with pytest.raises(BulkError, match="closed") as caught:
        await run
    assert sorted(one.status for one in caught.value.result.outcomes) == ["created", "unknown"]
    assert len(sandbox.assistants()) == 2


@pytest.mark.parametrize(
    "wrong", [{"max_concurrency": 0}, {"max_concurrency": 1.5}, {"give_up_after": 0}, {"settle": -1}]
)
async def test_options_out_of_range_are_refused_before_anything_is_sent(
    sandbox: Sandbox, client: AsyncLisn, wrong: Any
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        await client.assistants.create_many([spec(0)], **wrong)
    assert sandbox.seen == []


@pytest.mark.parametrize("wrong", [7, {"name": "n"}, "text", b"text", AssistantCreate(name="n")])
async def test_specs_must_be_an_iterable_of_specs(client: AsyncLisn, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="iterable"):
        await client.assistants.create_many(wrong)


async def test_results_survive_pickle(client: AsyncLisn) -> None:
    result = await client.assistants.create_many([spec(0), AssistantCreate()])
    again = pickle.loads(pickle.dumps(result))
    assert again.created == result.created
    assert str(again.failed[0].error) == str(result.failed[0].error)
