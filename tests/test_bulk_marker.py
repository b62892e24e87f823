"""`exact="marker"`: created under a name that only the run can know, then renamed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lisn_async import AssistantCreate, AsyncLisn, ConfigurationError, JournalError
from lisn_async.bulk.content import marker_of
from lisn_async.sandbox import Sandbox
from tests.test_bulk_exactly_once import names, spec


def bodies(sandbox: Sandbox, operation: str) -> list[dict[str, Any]]:
    return [request.json() for request in sandbox.seen if request.operation == operation]


async def test_each_is_created_under_a_marker_and_then_given_its_name(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    result = await client.assistants.create_many([spec(n) for n in range(20)], exact="marker")

    created = [body["name"] for body in bodies(sandbox, "create")]
    assert len(set(created)) == 20
    assert all(name.startswith("lisn-") and len(name) == 37 for name in created)
    assert names(sandbox) == {f"n{n}": 1 for n in range(20)}
    by_id = {row["id"]: row["name"] for row in sandbox.assistants()}
    assert [outcome.assistant.name for outcome in result.outcomes] == [f"n{n}" for n in range(20)]
    assert [by_id[outcome.assistant.id] for outcome in result.outcomes] == [f"n{n}" for n in range(20)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ["create", "update"])
async def test_lost_replies_to_either_request_end_in_one_assistant_with_its_name(
    sandbox: Sandbox, client: AsyncLisn, operation: str, when: str
) -> None:
    sandbox.faults = [{"do": "reset", "when": when, "operation": operation, "times": 5, "skip": 3}]
    result = await client.assistants.create_many([spec(1)] * 12, settle=0, exact="marker")
    assert len(result.created) == 12
    assert names(sandbox) == {"n1": 12}
    assert len({outcome.assistant.id for outcome in result.outcomes}) == 12


async def test_what_others_make_meanwhile_is_no_surplus_of_a_run_that_sent_an_item_again(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    """As beside a partition of the same job: everybody has the same prompt."""
    sandbox.faults = [{"do": "reset", "when": "before", "operation": "create", "skip": 1}]
    run = asyncio.create_task(client.assistants.create_many([spec(1), spec(2)], settle=0.2, exact="marker"))
    await sandbox.received(2, operation="create")
    await client.assistants.create(spec(2))
    result = await run
    assert len(bodies(sandbox, "create")) == 4, "one was sent again"
    assert result.surplus == []
    assert result.doubt is None


async def test_what_others_make_of_the_same_content_meanwhile_is_never_claimed(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    """By content the lost item would be found in the other's row, and never be made."""
    sandbox.faults = [{"do": "reset", "when": "before", "operation": "create", "skip": 1}]
    run = asyncio.create_task(client.assistants.create_many([spec(1), spec(1)], settle=0.2, exact="marker"))
    await sandbox.received(2, operation="create")
    foreign = await client.assistants.create(spec(1))
    result = await run
    assert len(result.created) == 2
    assert foreign.id not in {outcome.assistant.id for outcome in result.created}
    assert names(sandbox) == {"n1": 3}


async def test_a_run_that_was_cut_off_between_create_and_rename_is_finished(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    specs = [spec(n) for n in range(6)]
    sandbox.faults = [{"do": "hang", "operation": "update", "times": 2, "skip": 2}]
    run = asyncio.create_task(client.assistants.create_many(specs, journal=tmp_path / "j", exact="marker"))
    await sandbox.received(6, operation="update")
    while (tmp_path / "j").read_bytes().count(b'"named"') < 4:
        await asyncio.sleep(0.01)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert sum(name.startswith("lisn-") for name in names(sandbox)) == 2

    sandbox.seen.clear()
    result = await client.assistants.create_many(specs, journal=tmp_path / "j", exact="marker")
    assert names(sandbox) == {f"n{n}": 1 for n in range(6)}
    assert [outcome.assistant.name for outcome in result.outcomes] == [f"n{n}" for n in range(6)]
    assert [request.operation for request in sandbox.seen].count("create") == 0
    assert [request.operation for request in sandbox.seen].count("update") == 2


async def test_the_markers_of_a_run_are_the_same_after_a_crash(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    sandbox.faults = [{"do": "hang", "when": "after", "operation": "create", "times": 3}]
    specs = [spec(n) for n in range(3)]
    run = asyncio.create_task(client.assistants.create_many(specs, journal=tmp_path / "j", exact="marker"))
    await sandbox.received(3, operation="create")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    [before] = [json.loads(line) for line in (tmp_path / "j").read_bytes().splitlines() if b"before" in line]
    assert set(names(sandbox)) == {marker_of(bytes.fromhex(before["key"]), n) for n in range(3)}

    result = await client.assistants.create_many(specs, journal=tmp_path / "j", settle=0, exact="marker")
    assert len(result.created) == 3
    assert names(sandbox) == {f"n{n}": 1 for n in range(3)}


async def test_a_name_that_is_refused_leaves_the_item_unknown_with_its_assistant(
    sandbox: Sandbox, client: AsyncLisn, tmp_path: Path
) -> None:
    sandbox.faults = [{"do": "status", "status": 422, "operation": "update"}]
    result = await client.assistants.create_many([spec(1)], journal=tmp_path / "j", exact="marker")
    [outcome] = result.unknown
    assert outcome.assistant.id == sandbox.assistants()[0]["id"]
    assert "could not be given its own" in str(outcome.error)
    again = await client.assistants.create_many([spec(1)], journal=tmp_path / "j", exact="marker")
    assert len(again.created) == 1
    assert names(sandbox) == {"n1": 1}


async def test_a_name_in_extra_body_is_the_name(sandbox: Sandbox, client: AsyncLisn) -> None:
    specs = [spec(1, extra_body={"name": "the other", "x": 1}), spec(2)]
    result = await client.assistants.create_many(specs, exact="marker")
    assert len(result.created) == 2
    assert names(sandbox) == {"the other": 1, "n2": 1}
    assert sandbox.assistants()[0]["x"] == 1 or sandbox.assistants()[1]["x"] == 1


async def test_a_journal_is_continued_in_the_way_it_was_begun(client: AsyncLisn, tmp_path: Path) -> None:
    await client.assistants.create_many([spec(1)], journal=tmp_path / "a", exact="marker")
    await client.assistants.create_many([spec(1)], journal=tmp_path / "b")
    with pytest.raises(JournalError, match="exact='marker'"):
        await client.assistants.create_many([spec(1)], journal=tmp_path / "a")
    with pytest.raises(JournalError, match="exact='content'"):
        await client.assistants.create_many([spec(1)], journal=tmp_path / "b", exact="marker")


async def test_another_word_for_exact_is_refused(client: AsyncLisn) -> None:
    with pytest.raises(ConfigurationError, match="content, marker"):
        await client.assistants.create_many([AssistantCreate()], exact="maker")  # type: ignore[arg-type]
