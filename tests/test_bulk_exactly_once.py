"""Exactly once: ambiguous items are settled by looking, and a run that was killed goes on where it was.

What is counted is rows in the sandbox's store, never what the engine says of itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability._virtual import Clock
from lisn_async import (
    APIConnectionError,
    AssistantCreate,
    AsyncLisn,
    BulkProgress,
    BulkResult,
    JournalError,
    JournalInUseError,
)
from lisn_async.bulk.ids import Ids
from lisn_async.bulk.job import Job, creating
from lisn_async.bulk.memory import STATES
from lisn_async.bulk.settler import Settler
from lisn_async.bulk.source import Item
from lisn_async.sandbox import Fault, Sandbox

ROOT = Path(__file__).parent.parent


def spec(n: int, **more: Any) -> AssistantCreate:
    return AssistantCreate(
        **{"name": f"n{n}", "type": "text", "llm_provider": "openai", "system_prompt": "p", **more}
    )


def names(sandbox: Sandbox) -> Counter[str]:
    return Counter(row["name"] for row in sandbox.assistants())


def lost(*, when: str, times: int = 1, skip: int = 0, do: str = "reset") -> Fault:
    return Fault(do=do, when=when, operation="create", times=times, skip=skip)  # type: ignore[arg-type]


# --- ambiguous items, in memory --------------------------------------------------------------------------


def assert_each_of_eight_is_there_with_its_own_id(sandbox: Sandbox, result: BulkResult) -> None:
    assert [outcome.status for outcome in result.outcomes] == ["created"] * 8
    assert names(sandbox) == {f"n{n}": 1 for n in range(8)}
    by_id = {row["id"]: row["name"] for row in sandbox.assistants()}
    assert [by_id[outcome.assistant.id] for outcome in result.outcomes] == [f"n{n}" for n in range(8)]
    assert result.surplus == []


@pytest.mark.parametrize("do", ["reset", "close", "cut"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lost_reply_ends_in_one_assistant_and_its_own_id(
    sandbox: Sandbox, client: AsyncLisn, do: str, when: str
) -> None:
    sandbox.faults = [lost(do=do, when=when, times=3, skip=2)]
    result = await client.assistants.create_many([spec(n) for n in range(8)], settle=0)
    assert_each_of_eight_is_there_with_its_own_id(sandbox, result)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_reply_that_never_came_ends_in_one_assistant_and_its_own_id(
    sandbox: Sandbox, client: AsyncLisn, time_passes: Callable[[float], None], when: str
) -> None:
    sandbox.faults = [lost(do="hang", when=when, times=3, skip=2)]
    run = asyncio.create_task(client.assistants.create_many([spec(n) for n in range(8)], settle=0))
    await sandbox.received(8, operation="create")
    await sandbox.answered(5, operation="create")
    time_passes(65)
    assert_each_of_eight_is_there_with_its_own_id(sandbox, await run)


async def test_equal_items_are_a_multiset_and_what_was_there_before_is_nobodys(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    old = await client.assistants.create(spec(1))
    sandbox.faults = [lost(when="after", times=2, skip=1), lost(when="before", times=2)]
    result = await client.assistants.create_many([spec(1)] * 6, settle=0)

    assert len(result.created) == 6
    ids = {outcome.assistant.id for outcome in result.created}
    assert len(ids) == 6
    assert old.id not in ids
    assert names(sandbox) == {"n1": 7}


async def test_an_item_lost_again_and_again_ends_unknown_and_never_doubled(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [lost(when="before", times=1000)]
    result = await client.assistants.create_many([spec(1), spec(2)], settle=0)

    assert [outcome.status for outcome in result.outcomes] == ["unknown"] * 2
    assert all(outcome.error.outcome_unknown for outcome in result.outcomes)
    assert sandbox.assistants() == []


async def test_a_deleted_witness_does_not_spoil_the_listing(sandbox: Sandbox, client: AsyncLisn) -> None:
    sandbox.faults = [lost(when="before", skip=4)]
    async for outcome in client.assistants.create_each([spec(n) for n in range(5)], settle=0):
        if outcome.index == 0:
            await client.assistants.delete(outcome.assistant.id)
        assert outcome.status == "created"
    assert names(sandbox) == {f"n{n}": 1 for n in range(1, 5)}


async def test_a_listing_that_fails_leaves_the_item_unknown_with_the_reason(
    sandbox: Sandbox, no_waiting: list[float]
) -> None:
    sandbox.faults = [
        lost(when="after"),
        Fault(do="status", status=500, operation="list", skip=1, times=None),
    ]
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url) as client:
        result = await client.assistants.create_many([spec(1)], settle=0)
    [outcome] = result.unknown
    assert "the listing failed" in str(outcome.error)
    assert names(sandbox) == {"n1": 1}


@pytest.mark.parametrize(
    ("settle", "may_be_running", "age", "seconds"),
    [
        (None, False, 0, 2),
        (None, True, 0, 62),
        (5, True, 0, 5),
        (5, False, 0, 5),
        (5, True, 3, 2),
        (5, True, 9, 0),
    ],
)
def test_a_listing_is_believed_once_the_service_must_have_finished(
    settle: float | None, may_be_running: bool, age: float, seconds: float
) -> None:
    settler = Settler(AsyncLisn("t")._calls, settle)
    job = creating(Item(0, spec(1)), strict=True)
    assert isinstance(job, Job)
    before = time.monotonic()
    settler.lost(job, may_be_running=may_be_running, age=age)
    assert before <= job.believable_at - seconds <= time.monotonic()


def test_a_listing_is_not_looked_at_before_its_time_where_timers_ring_early(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of uvloop do, by a millisecond."""
    settler = Settler(AsyncLisn("t")._calls, 5.0)
    job = creating(Item(0, spec(1)), strict=True)
    assert isinstance(job, Job)
    looked: list[float] = []

    async def sleep(seconds: float) -> None:
        clock.now += max(0.001, seconds - 0.001)

    async def look() -> str:
        looked.append(clock.now)
        return "nothing can be told"

    monkeypatch.setattr(settler._caller, "sleep", sleep)
    monkeypatch.setattr(settler, "_look", look)
    monkeypatch.setattr(settler, "_listing", look)
    settler.lost(job, may_be_running=False)
    settler.sent_again(job)
    clock.run(settler.settle())
    clock.run(settler.audit(look=True))
    assert looked[0] >= 1005
    assert looked[1] >= looked[0] + 5


@pytest.mark.parametrize(
    ("what", "may_be_running"),
    [({"do": "reset"}, True), ({"status": 504}, True), ({"status": 524}, True), ({"status": 502}, False)],
)
async def test_the_wait_is_longer_where_the_service_may_still_be_at_work(
    sandbox: Sandbox, client: AsyncLisn, settling: list[float], what: Any, may_be_running: bool
) -> None:
    sandbox.faults = [{**what, "operation": "create", "when": "after"}]
    result = await client.assistants.create_many([spec(1)])
    assert len(result.created) == 1
    shortest, longest = (2, 62) if may_be_running else (0, 2)
    assert shortest < max(settling) <= longest


# --- the journal -----------------------------------------------------------------------------------------


async def test_running_again_sends_nothing_that_was_made(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    journal = tmp_path / "run.journal"
    specs = [spec(n) for n in range(30)]
    first = await client.assistants.create_many(specs, journal=journal)
    sandbox.seen.clear()
    second = await client.assistants.create_many(specs, journal=journal)

    assert [seen.operation for seen in sandbox.seen] == ["list"]
    assert [o.assistant.id for o in second.outcomes] == [o.assistant.id for o in first.outcomes]
    assert [o.assistant.name for o in second.outcomes] == [f"n{n}" for n in range(30)]


async def test_refused_items_are_tried_again_in_the_next_run(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    specs = [spec(n) for n in range(4)]
    sandbox.faults = [Fault(do="status", status=403, operation="create", times=2)]
    first = await client.assistants.create_many(specs, journal=tmp_path / "j")
    assert len(first.failed) == 2
    second = await client.assistants.create_many(specs, journal=tmp_path / "j")
    assert len(second.created) == 4
    assert names(sandbox) == {f"n{n}": 1 for n in range(4)}


async def test_the_journal_is_private_and_holds_no_secret_and_no_content(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    journal = tmp_path / "j"
    await client.assistants.create_many(
        [spec(1, webhook_secret="canary-secret", system_prompt="canary-prompt")], journal=journal
    )
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    text = journal.read_bytes()
    assert b"canary" not in text
    assert sandbox.token.encode() not in text


@pytest.mark.parametrize("change", [{"name": "other"}, {"temperature": 0.5}, {"extra_body": {"x": 1}}])
async def test_another_item_at_the_same_place_is_refused(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path, change: Any
) -> None:
    await client.assistants.create_many([spec(0), spec(1)], journal=tmp_path / "j")
    sandbox.seen.clear()
    with pytest.raises(JournalError, match="item 1 is not the one"):
        await client.assistants.create_many([spec(0), spec(1, **change)], journal=tmp_path / "j")
    assert "create" not in [seen.operation for seen in sandbox.seen]


async def test_an_input_that_became_shorter_is_refused(client: AsyncLisn, tmp_path: Path) -> None:
    await client.assistants.create_many([spec(0), spec(1)], journal=tmp_path / "j")
    with pytest.raises(JournalError, match="no longer has"):
        await client.assistants.create_many([spec(0)], journal=tmp_path / "j")


async def test_an_input_that_became_longer_goes_on(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    await client.assistants.create_many([spec(0)], journal=tmp_path / "j")
    await client.assistants.create_many([spec(0), spec(1)], journal=tmp_path / "j")
    assert names(sandbox) == {"n0": 1, "n1": 1}


async def test_a_journal_of_another_api_is_refused(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    await client.assistants.create_many([spec(0)], journal=tmp_path / "j")
    async with Sandbox() as other, AsyncLisn(other.token, base_url=other.base_url) as elsewhere:
        with pytest.raises(JournalError, match="belongs to"):
            await elsewhere.assistants.create_many([spec(0)], journal=tmp_path / "j")
        assert other.seen == []


async def test_a_journal_of_a_run_that_never_began_binds_nobody(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    """A mistyped base URL must not spoil the journal for the right one."""
    async with AsyncLisn("t", base_url="http://127.0.0.1:1", max_retries=0) as wrong:
        with pytest.raises(APIConnectionError):
            await wrong.assistants.create_many([spec(0)], journal=tmp_path / "j")
    await client.assistants.create_many([spec(0)], journal=tmp_path / "j")
    assert names(sandbox) == {"n0": 1}


async def test_progress_tells_what_an_earlier_run_had_made(client: AsyncLisn, tmp_path: Path) -> None:
    await client.assistants.create_many([spec(0)], journal=tmp_path / "j")
    seen: list[BulkProgress] = []
    await client.assistants.create_many([spec(0), spec(1)], journal=tmp_path / "j", on_progress=seen.append)
    assert (seen[-1].created, seen[-1].resumed) == (2, 1)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"hello\n", b'{"a": 1}\n', b'{"sent": 1}\n', b"\x00\xff", b"[]\n", b'{"name":"x"}\n{"na'],
)
async def test_a_file_that_is_no_journal_is_left_as_it_is(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path, content: bytes
) -> None:
    precious = tmp_path / "precious.jsonl"
    precious.write_bytes(content)
    with pytest.raises(JournalError, match=r"precious\.jsonl"):
        await client.assistants.create_many([spec(0)], journal=precious)
    assert precious.read_bytes() == content
    assert sandbox.seen == []


async def test_a_journal_that_cannot_be_opened_says_why(client: AsyncLisn, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="its folder does not exist") as caught:
        await client.assistants.create_many([spec(0)], journal=tmp_path / "none" / "j")
    assert not isinstance(caught.value, JournalInUseError)  # trying again later would not help


async def test_two_runs_cannot_use_one_journal_at_the_same_time(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    sandbox.faults = [Fault(do="hang", operation="create")]
    first = asyncio.create_task(client.assistants.create_many([spec(0)], journal=tmp_path / "j"))
    await sandbox.received(1, operation="create")
    with pytest.raises(JournalInUseError, match="in use"):
        await client.assistants.create_many([spec(0)], journal=tmp_path / "j")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_cancelled_run_is_continued_without_a_double(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    specs = [spec(n) for n in range(40)]
    sandbox.faults = [
        lost(do="hang", when="after", times=3, skip=10),
        lost(do="hang", when="before", times=3),
    ]
    run = asyncio.create_task(client.assistants.create_many(specs, journal=tmp_path / "j", max_concurrency=6))
    await sandbox.received(13, operation="create")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    sandbox.faults = []
    result = await client.assistants.create_many(specs, journal=tmp_path / "j", settle=0)
    assert len(result.created) == 40
    assert names(sandbox) == {f"n{n}": 1 for n in range(40)}


async def test_a_journal_torn_at_any_byte_is_continued_without_a_double(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    """Each prefix of a journal is what a crash may leave, with every create of it that was on its way done."""
    journal = tmp_path / "j"
    specs = [spec(n) for n in range(3)]
    result = await client.assistants.create_many(specs, journal=journal, max_concurrency=1)
    whole = journal.read_bytes()
    head = whole.index(b"\n", whole.index(b'{"before"')) + 1
    sent = [line for line in whole.splitlines() if b"sent" in line]
    assert len(sent) == 3
    for cut in range(head, len(whole), 3):
        for assistant in await client.assistants.list():
            await client.assistants.delete(assistant.id)
        kept = whole[:cut]
        survivors = {n for n in range(3) if f'{{"sent":{n},'.encode() in kept[: kept.rfind(b"\n") + 1]}
        rows = {n: await client.assistants.create(specs[n]) for n in sorted(survivors)}
        for n, row in rows.items():  # under the ids of this round
            kept = kept.replace(result.outcomes[n].assistant.id.encode(), row.id.encode())
        journal.write_bytes(kept)
        again = await client.assistants.create_many(specs, journal=journal, settle=0)
        assert len(again.created) == 3
        assert names(sandbox) == {f"n{n}": 1 for n in range(3)}, cut


KILLED = """
import asyncio, sys
from lisn_async import AssistantCreate, AsyncLisn
async def main():
    async with AsyncLisn(sys.argv[2], base_url=sys.argv[1]) as client:
        specs = (AssistantCreate(name=f"n{n % 150}", type="text", llm_provider="openai", system_prompt="p")
                 for n in range(200))
        result = await client.assistants.create_many(specs, journal=sys.argv[3], settle=0.2, max_concurrency=16)
        print(len(result.created))
asyncio.run(main())
"""


async def test_a_run_killed_three_times_makes_every_assistant_exactly_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, sandbox.base_url, sandbox.token, str(tmp_path / "j")]

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)

    for kill_after in (40, 90, 140):
        sandbox.faults = [Fault(do="reset", when="after", operation="create", probability=0.1, times=8)]
        process = await start()
        await sandbox.received(kill_after, operation="create")
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    process = await start()
    out, _ = await process.communicate()

    assert int(out) == 200
    expected = Counter(f"n{n % 150}" for n in range(200))
    assert names(sandbox) == expected
    assert len(sandbox.commits()) == 200, "nothing was made and deleted again"


def test_the_journals_own_table_names_every_kind_of_line() -> None:
    from lisn_async.bulk import journal

    lines = (line.strip() for line in (journal.__doc__ or "").splitlines())
    assert {line.split('"')[1] for line in lines if line.startswith('{"')} == {
        "run",
        "before",
        *STATES,
    }


async def test_a_reply_with_the_id_of_what_was_there_before_is_no_proof_that_something_was_made(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    """Mixed up on the way, or from a service that gives back what it has."""
    old = await client.assistants.create(spec(99))
    sandbox.faults = [
        {"do": "status", "status": 201, "operation": "create", "body": {"id": old.id}, "when": when}
        for when in ("after", "before")
    ]
    result = await client.assistants.create_many([spec(n) for n in range(4)], settle=0)
    assert len(result.created) == 4
    assert names(sandbox) == {"n99": 1} | {f"n{n}": 1 for n in range(4)}
    assert old.id not in {outcome.assistant.id for outcome in result.created}


async def test_two_replies_with_one_id_are_told_as_a_doubt(
    sandbox: Sandbox, client: AsyncLisn, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = {"do": "status", "status": 201, "operation": "create", "when": "after", "times": 2}
    sandbox.faults = [{**mixed, "body": {"id": "ast_mixed"}}]
    result = await client.assistants.create_many([spec(n) for n in range(4)])
    assert "1 replies to creates named an assistant that another one had named" in str(result.doubt)
    assert "another one had named" in caplog.text
    sandbox.clear()
    assert (await client.assistants.create_many([spec(n) for n in range(4)])).doubt is None


def test_a_compact_set_of_ids_tells_what_was_in_it() -> None:
    ids = Ids()
    assert [ids.add(f"ast_{n % 4000}") for n in range(5000)] == [True] * 4000 + [False] * 1000
    assert len(ids) == 4000
