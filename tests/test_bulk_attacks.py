"""What broke the promise once, found by a hostile reader: each is a double, a loss or a wrong id that went unsaid.

What is counted is rows in the sandbox's store, never what the engine says of itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from lisn_async import (
    Assistant,
    AssistantCreate,
    AsyncLisn,
    BulkError,
    BulkResult,
    ConfigurationError,
    JournalError,
)
from lisn_async.bulk.content import values_of
from lisn_async.bulk.journal import Journal, open_journal
from lisn_async.bulk.likeness import likeness_of
from lisn_async.bulk.plan import Made, Pending, reconcile, resembling, surplus
from lisn_async.bulk.settler import NOT_WHOLE, Settler
from lisn_async.sandbox import Fault, Sandbox
from tests.conftest import SALES
from tests.test_bulk_exactly_once import lost, names, spec


def judge(sandbox: Sandbox, specs: list[AssistantCreate], result: BulkResult, before: Any = ()) -> Any:
    items = [
        {
            "fields": {
                name: value
                for name in ("name", "system_prompt", "description", "temperature", "webhook_secret")
                if isinstance(value := getattr(one, name), str | float)
            }
            | dict(one.extra_body or {}),
            "outcome": outcome.status,
            "id": outcome.assistant and outcome.assistant.id,
        }
        for one, outcome in zip(specs, result.outcomes, strict=True)
    ]
    return sandbox.judge(items, before=before, surplus=[row.id for row in result.surplus])


# --- claims -----------------------------------------------------------------------------------------------


async def test_a_listing_that_shows_a_row_twice_is_one_row(
    sandbox: Sandbox, client: AsyncLisn, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Settler._list

    async def twice(self: Settler) -> Any:
        rows = await listing(self)
        return [*rows, *rows] if isinstance(rows, list) else rows

    monkeypatch.setattr(Settler, "_list", twice)
    sandbox.faults = [lost(when="after"), lost(when="before")]
    result = await client.assistants.create_many([spec(1)] * 2, settle=0, max_concurrency=1)
    assert names(sandbox) == {"n1": 2}
    assert len({outcome.assistant.id for outcome in result.created}) == 2


@pytest.mark.parametrize("shows_secrets", [True, False])
async def test_items_that_differ_in_their_webhook_secret_only_do_not_take_each_others_rows(
    sandbox: Sandbox, client: AsyncLisn, monkeypatch: pytest.MonkeyPatch, shows_secrets: bool
) -> None:
    listing = Settler._list

    async def showing(self: Settler) -> Any:
        rows = await listing(self)
        return rows if shows_secrets else [attrs.evolve(row, webhook_secret=None) for row in rows]

    monkeypatch.setattr(Settler, "_list", showing)
    specs = [spec(1, webhook_secret="A"), spec(1, webhook_secret="B")]
    sandbox.faults = [lost(when="before"), lost(when="after")]
    result = await client.assistants.create_many(specs, settle=0, max_concurrency=1)
    assert judge(sandbox, specs, result).is_clean
    secrets = Counter(row["webhook_secret"] for row in sandbox.assistants())
    if shows_secrets:
        assert secrets == {"A": 1, "B": 1}
    else:
        assert secrets == {"B": 1}
        assert len(result.unknown) == 2


async def test_large_numbers_that_a_float_cannot_tell_apart_are_two_contents(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    specs = [spec(1, extra_body={"customer": 2**53 + 1}), spec(1, extra_body={"customer": 2**53})]
    sandbox.faults = [lost(when="before"), lost(when="after")]
    result = await client.assistants.create_many(specs, settle=0, max_concurrency=1)
    assert len(result.created) == 2
    rows = {row["id"]: row["customer"] for row in sandbox.assistants()}
    assert [rows[outcome.assistant.id] for outcome in result.outcomes] == [2**53 + 1, 2**53]


async def test_a_row_that_fits_two_items_of_different_fields_is_not_given_to_either(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    """0.7 is what the service makes of a temperature that was left out."""
    specs = [spec(1, temperature=0.7), spec(1, description="d")]
    sandbox.faults = [lost(when="before"), lost(when="after")]
    result = await client.assistants.create_many(specs, settle=0, max_concurrency=1)
    assert [row["description"] for row in sandbox.assistants()] == ["d"]
    assert len(result.unknown) == 2
    assert "cannot be told whose" in str(result.unknown[0].error)


@pytest.mark.parametrize("turn", [1, -1])
async def test_rows_that_fit_one_item_only_are_given_to_it_first(
    sandbox: Sandbox, client: AsyncLisn, turn: int
) -> None:
    specs = [spec(1, description="d"), spec(1, temperature=0.7)][::turn]
    sandbox.faults = [lost(when="after", times=2)]
    result = await client.assistants.create_many(specs, settle=0, max_concurrency=1)
    assert len(result.created) == 2
    rows = {row["id"]: row["description"] for row in sandbox.assistants()}
    assert [rows[outcome.assistant.id] for outcome in result.outcomes] == ["d", None][::turn]


async def test_an_input_that_breaks_in_a_resumed_run_does_not_leave_its_rows_to_others(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    specs = [spec(1), spec(2), spec(1)]
    sandbox.faults = [lost(do="hang", when="before")]
    run = asyncio.create_task(client.assistants.create_many(specs, journal=tmp_path / "j"))
    await sandbox.answered(2, operation="create")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    def breaking() -> Any:
        yield specs[0]
        raise OSError("the file is gone")

    with pytest.raises(BulkError, match="the file is gone"):
        await client.assistants.create_many(breaking(), journal=tmp_path / "j", settle=0)
    result = await client.assistants.create_many(specs, journal=tmp_path / "j", settle=0)
    assert names(sandbox) == {"n1": 2, "n2": 1}
    assert len({outcome.assistant.id for outcome in result.created}) == 3


async def test_an_item_that_sends_more_does_not_take_the_row_of_one_with_another_secret(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    """By content it could: 0.7 is what the service makes of a temperature that was left out."""
    specs = [spec(1, temperature=0.7, webhook_secret="A"), spec(1, webhook_secret="B")]
    sandbox.faults = [lost(when="before"), lost(when="after")]
    result = await client.assistants.create_many(specs, settle=0, max_concurrency=1)
    assert len(result.created) == 2
    rows = {row["id"]: row["webhook_secret"] for row in sandbox.assistants()}
    assert [rows[outcome.assistant.id] for outcome in result.outcomes] == ["A", "B"]


# --- listings ---------------------------------------------------------------------------------------------


async def test_a_lost_copy_whose_name_the_service_rewrote_is_not_made_again(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    original = await client.assistants.create(**SALES)
    sandbox.faults = [
        {"do": "reset", "when": "after", "operation": "duplicate"},
        Fault(do="rewrite", how="lower", operation="duplicate", times=None),
    ]
    result = await client.assistants.duplicate_many(original.id, 1, settle=0)
    assert len(result.unknown) == 1
    assert names(sandbox) == {"Sales Analyzer": 1, "sales analyzer": 1}


async def test_where_direct_looks_lag_as_listings_do_nothing_counts_as_deleted_too_soon(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [
        lost(when="after", skip=1),
        Fault(do="lag", operation="list", seconds=0.5, times=None),
        Fault(do="status", status=404, operation="get", times=2),
    ]
    result = await client.assistants.create_many([spec(n) for n in range(3)], settle=0.1, max_concurrency=1)
    assert len(result.created) == 3
    assert names(sandbox) == {f"n{n}": 1 for n in range(3)}


async def test_without_a_whole_first_listing_nothing_is_called_surplus(
    sandbox: Sandbox, client: AsyncLisn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there all along would be: an invitation to delete it."""
    await client.assistants.create(spec(1))
    first = Settler.look_first

    async def partial(self: Settler) -> None:
        await first(self)
        self._before, self._before_is_whole = set(), False

    monkeypatch.setattr(Settler, "look_first", partial)
    sandbox.faults = [lost(when="before", skip=1)]
    result = await client.assistants.create_many([spec(1), spec(2)], settle=0, max_concurrency=1)
    assert result.surplus == []
    assert result.doubt == NOT_WHOLE


async def test_a_name_without_letters_is_recognised_though_it_was_trimmed(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [
        lost(when="after", skip=1),
        Fault(do="rewrite", how="trim", operation="create", times=None),
    ]
    specs = [spec(1), spec(1, name="\N{FIRE} ", system_prompt="\u2026")]
    result = await client.assistants.create_many(specs, settle=0, max_concurrency=1)
    assert len(result.unknown) == 1
    assert names(sandbox) == {"n1": 1, "\N{FIRE}": 1}


async def test_a_listing_that_fails_for_a_while_is_asked_again(sandbox: Sandbox, client: AsyncLisn) -> None:
    """The outage that took a reply seldom ends with it."""
    sandbox.faults = [lost(when="after"), {"status": 503, "operation": "list", "skip": 1, "times": 7}]
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, max_retries=0) as hasty:
        result = await hasty.assistants.create_many([spec(1)], settle=0)
    assert len(result.unknown) == 1
    sandbox.faults = [lost(when="after"), {"status": 503, "operation": "list", "skip": 1, "times": 3}]
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, max_retries=0) as hasty:
        result = await hasty.assistants.create_many([spec(2)], settle=0)
    assert len(result.created) == 1
    assert names(sandbox) == {"n1": 1, "n2": 1}


def test_comparing_many_with_many_does_not_hold_up_the_loop() -> None:
    rows = [
        Assistant(id=f"a{n}", name=f"Agent of customer {n}", system_prompt=f"Prompt of {n} " * 20)
        for n in range(2000)
    ]
    wanted = [
        likeness_of(spec(n, name=f"Bot number {n}", system_prompt=f"You are {n} " * 20)) for n in range(2000)
    ]
    began = time.process_time()  # of this process alone, however busy the machine is
    assert resembling(rows, wanted) == []
    assert time.process_time() - began < 2, "every row with every item takes five seconds"


# --- a run that ends early ---------------------------------------------------------------------------------


async def test_a_run_that_ends_early_tells_of_every_item_that_may_exist(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    """One reply was lost and not looked for, one never came."""

    def stop(progress: Any) -> None:
        if progress.done >= 2:
            raise RuntimeError("enough")

    sandbox.faults = [lost(when="after"), lost(when="after", do="hang", skip=1)]
    specs = [spec(n) for n in range(6)]
    with pytest.raises(BulkError, match="enough") as caught:
        await client.assistants.create_many(specs, on_progress=stop, max_concurrency=3)
    result = caught.value.result
    assert len(result.unknown) == 2
    told = [outcome.index for outcome in result.outcomes]
    assert len(told) == len(set(told))
    assert {f"n{index}" for index in told} >= set(names(sandbox))
    assert all(outcome.error.outcome_unknown for outcome in result.unknown)


@pytest.mark.parametrize("exact", ["content", "marker"])
async def test_a_run_that_ends_while_it_settles_tells_of_what_it_found(
    sandbox: Sandbox, client: AsyncLisn, exact: Any
) -> None:
    def stop(progress: Any) -> None:
        if progress.done >= 2:
            raise RuntimeError("enough")

    sandbox.faults = [lost(when="after", times=6, skip=1)]
    specs = [spec(n) for n in range(7)]
    with pytest.raises(BulkError, match="enough") as caught:
        await client.assistants.create_many(specs, on_progress=stop, max_concurrency=1, settle=0, exact=exact)
    told = [outcome.index for outcome in caught.value.result.outcomes if outcome.assistant is not None]
    assert sorted(told) == list(range(7))


async def test_what_was_certainly_not_sent_is_not_called_unknown(sandbox: Sandbox, client: AsyncLisn) -> None:
    def stop(progress: Any) -> None:
        raise RuntimeError("enough")

    declined = {"status": 429, "retry_after": 30, "operation": "create", "skip": 1, "times": None}
    sandbox.faults = [declined]
    with pytest.raises(BulkError) as caught:
        await client.assistants.create_many([spec(n) for n in range(9)], on_progress=stop, max_concurrency=3)
    assert [outcome.status for outcome in caught.value.result.outcomes] == ["created"]
    assert len(sandbox.assistants()) == 1


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_run_that_is_cancelled_while_it_closes_still_lets_go_of_its_journal(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    write = Journal._write

    def slow(self: Journal, data: bytes) -> None:
        time.sleep(0.05)
        write(self, data)

    monkeypatch.setattr(Journal, "_write", slow)
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    specs = [spec(n) for n in range(9)]
    run = asyncio.create_task(client.assistants.create_many(specs, journal=tmp_path / "j"))
    await sandbox.received(2, operation="create")
    for _ in range(times):
        run.cancel()
        await asyncio.sleep(0.01)
    await asyncio.gather(run, return_exceptions=True)
    result = await client.assistants.create_many(specs, journal=tmp_path / "j", settle=0)
    assert len(result.created) == 9
    assert names(sandbox) == {f"n{n}": 1 for n in range(9)}
    assert unheard == []


# --- markers ----------------------------------------------------------------------------------------------


async def test_nothing_is_renamed_before_the_disk_knows_that_it_was_made(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, the next run would look for a marker that is not there any more."""
    write = Journal._write

    def slow(self: Journal, data: bytes) -> None:
        if b'"created":1' in data:
            time.sleep(0.3)
        write(self, data)

    monkeypatch.setattr(Journal, "_write", slow)
    specs = [spec(1), spec(2)]
    run = asyncio.create_task(
        client.assistants.create_many(specs, journal=tmp_path / "slow", max_concurrency=1, exact="marker")
    )
    await sandbox.answered(2, operation="update")
    (tmp_path / "killed").write_bytes((tmp_path / "slow").read_bytes())
    await run
    result = await client.assistants.create_many(specs, journal=tmp_path / "killed", settle=0, exact="marker")
    assert len(result.created) == 2
    assert names(sandbox) == {"n1": 1, "n2": 1}


async def test_a_journal_that_is_removed_while_in_use_ends_the_run(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    def remove(progress: Any) -> None:
        (tmp_path / "j").unlink(missing_ok=True)

    with pytest.raises(JournalError, match="removed"):
        await client.assistants.create_many(
            [spec(n) for n in range(99)], journal=tmp_path / "j", on_progress=remove, max_concurrency=2
        )
    assert len(sandbox.assistants()) < 99


# --- odd things ---------------------------------------------------------------------------------------------


async def test_an_id_that_cannot_be_asked_for_ends_no_run(canned: Any) -> None:
    base = "https://canned"
    canned.get(f"{base}/v1/assistants", payload=[], repeat=True)
    for n in range(2):
        canned.post(f"{base}/v1/assistants", payload={"id": f"ast.{n}", "name": "x"}, status=201)
    async with AsyncLisn("t", base_url=base) as client:
        result = await client.assistants.create_many(
            [spec(n) for n in range(2)], exact="marker", max_concurrency=1
        )
    assert [outcome.assistant.id for outcome in result.unknown] == ["ast.0", "ast.1"]


@pytest.mark.parametrize("path", ["/dev/null", "a\0b", ""])
async def test_what_can_be_no_journal_is_refused_in_our_own_words(client: AsyncLisn, path: str) -> None:
    with pytest.raises(JournalError, match="cannot open"):
        await client.assistants.create_many([spec(1)], journal=path)


async def test_a_journal_that_is_no_path_is_a_wrong_option(client: AsyncLisn) -> None:
    with pytest.raises(ConfigurationError, match="journal"):
        await client.assistants.create_many([spec(1)], journal=5)  # type: ignore[arg-type]


async def test_behind_a_gateway_that_gave_up_the_service_may_still_be_at_work(
    sandbox: Sandbox, client: AsyncLisn, settling: list[float], time_passes: Callable[[float], None]
) -> None:
    sandbox.faults = [Fault(do="status", status=504, when="late", delay=50, operation="create")]
    result = await client.assistants.create_many([spec(1)])
    time_passes(50)
    await sandbox.quiet()
    assert len(result.created) == 1
    assert names(sandbox) == {"n1": 1}


# --- guards that no test noticed being broken -------------------------------------------------------------


async def test_an_audit_whose_listing_lacks_what_was_made_says_so(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [
        lost(when="before"),
        Fault(do="partial", count=0, operation="list", skip=2, times=None),
    ]
    result = await client.assistants.create_many([spec(1)], settle=0)
    assert len(result.created) == 1
    assert "lacks 1" in str(result.doubt)


async def test_after_a_first_listing_that_was_one_page_no_lost_item_is_settled_not_even_by_a_later_run(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    await client.assistants.create(spec(1))
    page = {"status": 200, "body": {"data": [], "has_more": True}, "operation": "list"}
    for faults in ([page, lost(when="before", do="close")], []):
        sandbox.faults = faults
        result = await client.assistants.create_many([spec(1)], journal=tmp_path / "j", settle=0)
        [outcome] = result.unknown
        assert NOT_WHOLE in str(outcome.error)
        assert names(sandbox) == {"n1": 1}


async def test_every_line_that_must_be_on_the_disk_is_there_before_its_request(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Journal._write

    def slow(self: Journal, data: bytes) -> None:
        time.sleep(0.1)
        write(self, data)

    monkeypatch.setattr(Journal, "_write", slow)
    sandbox.faults = [lost(when="before", do="hang")]
    run = asyncio.create_task(client.assistants.create_many([spec(0)], journal=tmp_path / "j"))
    await sandbox.received(1, operation="create")
    lines = (tmp_path / "j").read_bytes().splitlines()
    assert [line[:8] for line in lines] == [b'{"run":1', b'{"before', b'{"sent":']
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_the_ids_that_were_there_are_on_the_disk_before_anything_is_made_of_the_input(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Journal._write

    def slow(self: Journal, data: bytes) -> None:
        time.sleep(0.1)
        write(self, data)

    monkeypatch.setattr(Journal, "_write", slow)
    seen: list[bytes] = []

    def reading() -> Any:
        seen.append((tmp_path / "j").read_bytes())
        yield spec(0)

    await client.assistants.create_many(reading(), journal=tmp_path / "j")
    assert b'"before"' in seen[0]


@pytest.mark.parametrize("writes_through", [True, False])
async def test_the_disk_is_asked_to_keep_each_line_before_its_request(
    sandbox: Sandbox,
    client: AsyncLisn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes_through: bool,
) -> None:
    """With every write where the system can, else by a sync after it."""
    if not writes_through:
        monkeypatch.setattr("lisn_async.bulk.journal.WRITES_THROUGH", 0)
    elif not hasattr(os, "O_DSYNC"):
        pytest.skip("no O_DSYNC on this system")
    kept: list[int] = []
    sync, write = os.fsync, Journal._write

    def note(descriptor: int) -> None:
        kept.append(descriptor)
        sync(descriptor)

    def look(journal: Journal, data: bytes) -> None:
        write(journal, data)
        if fcntl.fcntl(journal._file, fcntl.F_GETFL) & getattr(os, "O_DSYNC", 0):
            kept.append(journal._file.fileno())

    monkeypatch.setattr("lisn_async.bulk.journal.os.fsync", note)
    monkeypatch.setattr(Journal, "_write", look)
    await client.assistants.create_many(
        [spec(n) for n in range(3)], journal=tmp_path / "j", max_concurrency=1
    )
    journal = kept[0]
    assert kept.count(journal) >= 4, "the ids before, and three that were sent"


async def test_what_was_declined_and_waits_is_not_called_unknown_when_the_run_ends(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    def stop(progress: Any) -> None:
        raise RuntimeError("enough")

    sandbox.faults = [
        Fault(do="drip", seconds=0.4, operation="create"),
        Fault(do="status", status=429, retry_after=30, operation="create", times=None),
    ]
    with pytest.raises(BulkError) as caught:
        await client.assistants.create_many([spec(n) for n in range(9)], on_progress=stop, max_concurrency=3)
    assert [outcome.status for outcome in caught.value.result.outcomes] == ["created"]


async def test_a_resumed_run_still_looks_for_what_an_earlier_one_may_have_made_too_often(
    sandbox: Sandbox,
    client: AsyncLisn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    time_passes: Callable[[float], None],
) -> None:
    sandbox.faults = [Fault(do="reset", when="late", delay=50, operation="create")]
    with monkeypatch.context() as patch:

        async def killed(self: Settler) -> Any:
            raise RuntimeError("killed")

        patch.setattr(Settler, "audit", killed)
        with pytest.raises(BulkError, match="killed"):
            await client.assistants.create_many([spec(1)], journal=tmp_path / "j", settle=0)
    time_passes(55)
    await sandbox.quiet()
    result = await client.assistants.create_many([spec(1)], journal=tmp_path / "j", settle=0)
    assert names(sandbox) == {"n1": 2}
    assert len(result.surplus) == 1


async def test_the_audit_waits_before_it_looks(
    sandbox: Sandbox, client: AsyncLisn, settling: list[float]
) -> None:
    sandbox.faults = [Fault(do="reset", when="late", delay=60, operation="create")]
    result = await client.assistants.create_many([spec(1)], settle=40)
    assert names(sandbox) == {"n1": 2}
    assert len(result.surplus) == 1


async def test_late_twins_that_the_service_rewrote_are_surplus_each(
    sandbox: Sandbox, client: AsyncLisn, settling: list[float]
) -> None:
    sandbox.faults = [
        Fault(do="reset", when="late", delay=60, operation="create", times=2),
        Fault(do="rewrite", how="lower", operation="create", times=2),
    ]
    specs = [spec(n, name=f"Agent {n}", system_prompt=f"Prompt of {n}") for n in range(2)]
    result = await client.assistants.create_many(specs, settle=40)
    assert names(sandbox) == {"Agent 0": 1, "Agent 1": 1, "agent 0": 1, "agent 1": 1}
    assert len(result.surplus) == 2


async def test_a_late_commit_of_an_item_that_was_lost_twice_is_reported(
    sandbox: Sandbox, client: AsyncLisn, settling: list[float]
) -> None:
    """The first request's commit settles the item, while the second one's is still to come."""
    sandbox.faults = [Fault(do="reset", when="late", delay=100, operation="create", times=2)]
    result = await client.assistants.create_many([spec(1)], settle=60)
    await sandbox.quiet()
    assert len(result.created) == 1
    assert len(sandbox.assistants()) == 1 + len(result.surplus) > 1


async def test_one_listing_waits_for_the_slowest_of_those_that_are_lost(
    sandbox: Sandbox, client: AsyncLisn, settling: list[float]
) -> None:
    sandbox.faults = [
        {"status": 502, "operation": "create", "when": "after"},
        lost(when="after"),
        {"status": 502, "operation": "create", "when": "after"},
    ]
    result = await client.assistants.create_many([spec(n) for n in range(3)], max_concurrency=1)
    assert len(result.created) == 3
    assert 2 < settling[0] <= 62


@pytest.mark.parametrize(("age", "seconds"), [(0, 62), (50, 62), (80, 43)])
async def test_a_resumed_run_waits_as_if_what_was_sent_last_were_still_running(
    sandbox: Sandbox,
    client: AsyncLisn,
    tmp_path: Path,
    settling: list[float],
    age: float,
    seconds: float,
) -> None:
    sandbox.faults = [lost(do="hang", when="after")]
    run = asyncio.create_task(client.assistants.create_many([spec(1)], journal=tmp_path / "j"))
    await sandbox.received(1, operation="create")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    written = time.time() - age
    os.utime(tmp_path / "j", (written, written))
    result = await client.assistants.create_many([spec(1)], journal=tmp_path / "j")
    assert len(result.created) == 1
    assert seconds - 15 < settling[0] <= seconds  # less, where this machine stood still


def test_rows_that_fit_one_item_only_go_to_it_whatever_the_order_of_the_listing() -> None:
    specs = [spec(1, temperature=0.7), spec(1, description="d")]
    pending = [
        Pending(index=n, content=values_of(one).content, likeness=likeness_of(one))
        for n, one in enumerate(specs)
    ]
    fields: dict[str, Any] = {"name": "n1", "type": "text", "llm_provider": "openai", "system_prompt": "p"}
    rows = [
        Assistant(id="described", description="d", temperature=0.7, **fields),
        Assistant(id="plain", temperature=0.7, **fields),
    ]
    for order in (rows, rows[::-1]):
        found = reconcile(order, set(), Made(), pending, set())
        assert [(item.index, row.id) for item, row in found.claims] == [(0, "plain"), (1, "described")]


async def test_a_journal_that_is_begun_anew_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    for base_url in ("http://a-long-name.example", "http://x"):
        await open_journal(tmp_path / "j", base_url).aclose()
    assert (tmp_path / "j").read_bytes() == b'{"run":1,"base_url":"http://x"}\n'


async def test_a_listing_that_stays_cut_is_not_believed(sandbox: Sandbox, client: AsyncLisn) -> None:
    sandbox.faults = [
        lost(when="after", skip=4),
        Fault(do="partial", count=3, operation="list", skip=1, times=None),
    ]
    specs = [spec(n) for n in range(5)]
    result = await client.assistants.create_many(specs, settle=0, max_concurrency=1)
    assert [outcome.index for outcome in result.unknown] == [4]
    assert names(sandbox) == {f"n{n}": 1 for n in range(5)}


async def test_where_a_listing_lacks_many_they_are_not_asked_for_one_by_one(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [
        lost(when="after", skip=60),
        Fault(do="partial", count=0, operation="list", skip=1, times=None),
    ]
    result = await client.assistants.create_many([spec(n) for n in range(61)], settle=0, max_concurrency=1)
    assert len(result.unknown) == 1
    assert "get" not in {request.operation for request in sandbox.seen}


async def test_what_the_replies_of_an_earlier_run_told_of_markers_is_remembered(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    specs = [spec(0), spec(1)]
    sandbox.faults = [lost(do="hang", when="before", skip=1)]
    run = asyncio.create_task(
        client.assistants.create_many(specs, journal=tmp_path / "j", exact="marker", max_concurrency=1)
    )
    await sandbox.received(2, operation="create")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await client.assistants.create(spec(7))
    result = await client.assistants.create_many(specs, journal=tmp_path / "j", settle=0, exact="marker")
    assert len(result.created) == 2
    assert names(sandbox) == {"n0": 1, "n1": 1, "n7": 1}


async def test_a_run_that_died_while_it_waited_is_given_as_long_as_one_that_stopped_waiting(
    sandbox: Sandbox,
    client: AsyncLisn,
    tmp_path: Path,
    settling: list[float],
    time_passes: Callable[[float], None],
) -> None:
    """The service takes longer than the timeout: a run that lives would have found it."""
    sandbox.faults = [Fault(do="hang", when="late", delay=81, operation="create")]
    run = asyncio.create_task(client.assistants.create_many([spec(1)], journal=tmp_path / "j"))
    await sandbox.received(1, operation="create")
    time_passes(20)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    result = await client.assistants.create_many([spec(1)], journal=tmp_path / "j")
    time_passes(81)
    await sandbox.quiet()
    assert len(result.created) == 1
    assert names(sandbox) == {"n1": 1}


async def test_a_journal_is_not_continued_in_an_account_that_has_nothing_of_it(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    """Same address, another token: all would be called created, and nothing made."""
    specs = [spec(n) for n in range(3)]
    first = await client.assistants.create_many(specs, journal=tmp_path / "j")
    await client.assistants.delete(first.outcomes[0].assistant.id)
    assert len((await client.assistants.create_many(specs, journal=tmp_path / "j")).created) == 3
    sandbox.clear()
    with pytest.raises(JournalError, match="another account"):
        await client.assistants.create_many(specs, journal=tmp_path / "j")
    assert sandbox.assistants() == []


async def test_what_was_noted_while_a_write_was_failing_is_not_written_after_it(tmp_path: Path) -> None:
    """Behind half a line it would make the journal unreadable."""
    journal = open_journal(tmp_path / "j", "http://x")
    await journal.before([], True, None)
    write = journal._write
    loop, is_writing, more_was_noted = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def half(data: bytes) -> None:
        write(data[: len(data) // 2])
        loop.call_soon_threadsafe(is_writing.set)
        more_was_noted.wait()
        journal._write = write  # type: ignore[method-assign]
        raise OSError(28, "No space left on device")

    journal._write = half  # type: ignore[method-assign]
    journal.sent(0, "print")
    first = asyncio.create_task(journal.flushed())
    await is_writing.wait()
    journal.sent(1, "print")
    second = asyncio.create_task(journal.flushed())
    await asyncio.sleep(0)
    more_was_noted.set()
    ends = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(end) for end in ends] == [JournalError, JournalError]
    await journal.aclose()
    again = open_journal(tmp_path / "j", "http://x")
    assert again.memory.items == {}
    await again.aclose()


def test_a_surplus_that_a_listing_shows_twice_is_one() -> None:
    made = Made()
    made.add("ours", values_of(spec(1)).content)
    fields: dict[str, Any] = {"name": "n1", "type": "text", "llm_provider": "openai", "system_prompt": "p"}
    twin = Assistant(id="twin", **fields)
    assert surplus([twin, Assistant(id="ours", **fields), twin], set(), made, []) == [twin]
