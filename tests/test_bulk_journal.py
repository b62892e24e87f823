"""The journal as a file: what is read of it after a crash at any byte, and what happens when the disk says no."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lisn_async import AsyncLisn, JournalError
from lisn_async.bulk.journal import open_journal
from lisn_async.bulk.memory import STATES, Memory, read_memory
from lisn_async.sandbox import Sandbox
from tests.test_bulk_exactly_once import ROOT, names, spec

HEAD = [{"run": 1, "base_url": "http://x"}, {"before": ["ast_0"], "whole": True}]


def fact(index: int, state: str) -> dict[str, Any]:
    more = {"sent": {"item": f"print{index}"}, "created": {"id": f"ast_{index}"}, "refused": {"status": 422}}
    return {state: index, **more.get(state, {})}


def lines_of(facts: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in facts)


def read(data: bytes) -> Memory:
    return read_memory(io.BytesIO(data), Path("j"))[0]


histories = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(STATES)), max_size=20).map(
    lambda steps: HEAD + [fact(n, "sent") for n in range(6)] + [fact(n, state) for n, state in steps]
)


@given(histories)
def test_the_state_of_an_item_is_its_last_line(facts: list[dict[str, Any]]) -> None:
    memory = read(lines_of(facts))
    for n in range(6):
        last = [state for one in facts for state in STATES if one.get(state) == n][-1]
        assert memory.items[n].state == last
        assert (memory.items[n].assistant_id is None) or any(one.get("created") == n for one in facts)


@given(histories, st.data())
def test_torn_at_any_byte_it_tells_what_its_whole_lines_tell(
    facts: list[dict[str, Any]], data: st.DataObject
) -> None:
    whole = lines_of(facts)
    cut = data.draw(st.integers(0, len(whole)))
    kept = whole[:cut].rfind(b"\n") + 1
    memory, end = read_memory(io.BytesIO(whole[:cut]), Path("j"))
    assert end == kept
    assert memory == read(whole[:kept])


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*STATES, "run", "before", "item", "id", "base_url"]), inner, max_size=4),
).map(lambda value: json.dumps(value).encode() + b"\n"))  # fmt: skip
def test_whatever_a_file_holds_it_is_read_or_refused_in_our_own_words(data: bytes) -> None:
    for before in (b"", lines_of(HEAD), lines_of([*HEAD, fact(0, "sent")])):
        try:
            read(before + data)
        except JournalError as error:
            assert str(error).startswith("j, line ")


async def test_after_a_write_that_failed_nothing_more_is_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "j", "http://x")
    await journal.before([], True, None)
    size = (tmp_path / "j").stat().st_size
    write = journal._write

    def half(data: bytes) -> None:
        write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    journal._write = half  # type: ignore[method-assign]
    journal.sent(0, "print")
    with pytest.raises(JournalError, match="No space left"):
        await journal.flushed()
    journal._write = write  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="No space left"):
        journal.created(0, "ast_1")
    await journal.aclose()
    memory, end = read_memory(io.BytesIO((tmp_path / "j").read_bytes()), tmp_path)
    assert (memory.items, end) == ({}, size)


FULL_DISK = """
import asyncio, resource, sys
from lisn_async import AssistantCreate, AsyncLisn, JournalError
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
async def main():
    async with AsyncLisn(sys.argv[2], base_url=sys.argv[1]) as client:
        specs = [AssistantCreate(name=f"n{n}", type="text", llm_provider="openai", system_prompt="p") for n in range(60)]
        try:
            await client.assistants.create_many(specs, journal=sys.argv[3])
        except JournalError as error:
            print(error)
asyncio.run(main())
"""


async def test_a_full_disk_ends_the_run_with_its_reason_and_the_next_one_finishes_it(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        FULL_DISK,
        sandbox.base_url,
        sandbox.token,
        str(tmp_path / "j"),
    ]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip().endswith("File too large"), done
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sandbox.assistants()) < 60

    result = await client.assistants.create_many(
        [spec(n) for n in range(60)], journal=tmp_path / "j", settle=0
    )
    assert len(result.created) == 60
    assert names(sandbox) == {f"n{n}": 1 for n in range(60)}


async def test_an_item_that_waits_for_its_turn_is_noted_once_more_when_it_comes(
    sandbox: Sandbox,
    tmp_path: Path,
    time_passes: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a request could go out long after its line, and a resumed run would not wait long enough for it."""
    monkeypatch.setattr("lisn_async.bulk.pace.LONGEST_GAP", 0.01)
    sandbox.faults = [{"do": "hang", "operation": "create", "times": 2}]
    specs = [spec(n) for n in range(6)]
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, max_connections=2) as client:
        run = asyncio.create_task(client.assistants.create_many(specs, journal=tmp_path / "j", settle=0))
        await sandbox.received(2, operation="create")
        time_passes(65)
        await run
    facts = [json.loads(line) for line in (tmp_path / "j").read_bytes().splitlines()]
    noted = [fact["sent"] for fact in facts if "sent" in fact]
    assert sorted(set(noted)) == [0, 1, 2, 3, 4, 5]
    waited = {n for n in range(6) if noted.count(n) > 1}
    assert len(waited) == 6, "two were lost and sent again, four waited for the two connections"
    assert names(sandbox) == {f"n{n}": 1 for n in range(6)}


async def test_what_was_noted_and_not_sent_when_a_run_is_stopped_is_no_doubt_for_the_next(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    sandbox.faults = [{"do": "hang", "operation": "create", "times": None}]
    run = asyncio.create_task(
        client.assistants.create_many([spec(n) for n in range(30)], journal=tmp_path / "j", max_concurrency=4)
    )
    await sandbox.received(4, operation="create")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    states = Counter(past.state for past in read((tmp_path / "j").read_bytes()).items.values())
    assert states["sent"] == 4
    assert set(states) <= {"sent", "unsent"}
    assert len(await sandbox.received(4, operation="create")) == 4, "nothing more was sent"


async def test_what_was_never_sent_leaves_no_line_that_cannot_be_read(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, max_retries=0) as client:
        sandbox.faults = [
            {"do": "status", "status": 429, "retry_after": 30, "times": None, "operation": "create"}
        ]
        result = await client.assistants.create_many(
            [spec(n) for n in range(9)], journal=tmp_path / "j", give_up_after=0.2
        )
        assert len(result.failed) == 9
    assert sandbox.assistants() == []
    memory = read((tmp_path / "j").read_bytes())
    assert {past.state for past in memory.items.values()} == {"unsent"}


async def test_a_wrong_input_that_was_refused_does_not_spoil_the_journal_for_the_right_one(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    right = [spec(n) for n in range(3)]
    wrong = [spec(n + 100) for n in range(60)]
    await client.assistants.create_many(right, journal=tmp_path / "j")
    for _ in range(2):
        with pytest.raises(JournalError, match="item 0 is not the one"):
            await client.assistants.create_many(wrong, journal=tmp_path / "j")
        assert len((await client.assistants.create_many(right, journal=tmp_path / "j")).created) == 3
    longer = [*right, *(spec(n) for n in range(3, 60))]
    assert len((await client.assistants.create_many(longer, journal=tmp_path / "j")).created) == 60
    assert names(sandbox) == {f"n{n}": 1 for n in range(60)}


async def test_an_error_that_tells_why_an_item_is_unknown_tells_it_after_pickling_too(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    sandbox.faults = [
        {"do": "reset", "when": "after", "operation": "create"},
        {"do": "status", "status": 403, "operation": "list", "skip": 1, "times": None},
    ]
    result = await client.assistants.create_many([spec(1)], settle=0)
    [outcome] = result.unknown
    assert "could not be told whether it exists: the listing failed" in str(outcome.error)
    assert str(pickle.loads(pickle.dumps(outcome.error))) == str(outcome.error)
    assert "<1 unknown>" in repr(result)
