"""Many copies of one assistant: the same promises as for creates, counted in rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lisn_async import Assistant, AsyncLisn, JournalError, NotFoundError, ValidationError
from lisn_async.sandbox import Sandbox
from lisn_sync import Lisn
from tests.conftest import SALES


@pytest.fixture
async def original(client: AsyncLisn) -> Assistant:
    return await client.assistants.create(**SALES, webhook_secret="s")


async def test_every_copy_is_one_row_with_an_id_of_its_own(
    sandbox: Sandbox, client: AsyncLisn, original: Assistant
) -> None:
    result = await client.assistants.duplicate_many(original.id, 30)
    ids = [outcome.assistant.id for outcome in result.created]
    assert [outcome.index for outcome in result.outcomes] == list(range(30))
    assert [commit["operation"] for commit in sandbox.commits()] == ["create"] + ["duplicate"] * 30
    assert set(ids) == {row["id"] for row in sandbox.assistants()} - {original.id}
    assert result.outcomes[7].spec == original.to_create()
    assert [request.operation for request in sandbox.seen[:3]] == ["create", "get", "list"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("do", ["reset", "close", "cut"])
async def test_a_copy_whose_reply_was_lost_is_made_once(
    sandbox: Sandbox, client: AsyncLisn, original: Assistant, do: str, when: str
) -> None:
    sandbox.faults = [{"do": do, "when": when, "operation": "duplicate", "times": 4, "skip": 2}]
    result = await client.assistants.duplicate_many(original.id, 12, settle=0)
    assert len(result.created) == 12
    assert len(sandbox.assistants()) == 13
    assert (list(result.surplus), result.doubt) == ([], None)


async def test_a_copy_is_recognised_though_the_service_changes_its_name(
    sandbox: Sandbox, client: AsyncLisn, original: Assistant
) -> None:
    """Renamed behind our back, as a service would that calls copies "... (copy)"."""
    sandbox.faults = [{"do": "reset", "when": "after", "operation": "duplicate", "times": 3}]
    renamed: set[str] = set()

    async def rename() -> None:
        for row in sandbox.assistants():
            if row["id"] != original.id and row["id"] not in renamed:
                renamed.add(row["id"])
                await client.assistants.update(row["id"], name=f"{row['name']} (copy {len(renamed)})")

    settler_listing = "lisn_async.bulk.settler.Settler._list"
    from lisn_async.bulk.settler import Settler

    listing = Settler._list

    async def renaming(self: Any) -> Any:
        await rename()
        return await listing(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settler_listing, renaming)
        result = await client.assistants.duplicate_many(original.id, 6, settle=0)
    assert len(result.created) == 6
    assert len(sandbox.assistants()) == 7


async def test_a_journal_of_copies_is_continued_and_not_for_an_original_that_changed(
    sandbox: Sandbox, client: AsyncLisn, original: Assistant, tmp_path: Path
) -> None:
    await client.assistants.duplicate_many(original.id, 3, journal=tmp_path / "j")
    result = await client.assistants.duplicate_many(original.id, 5, journal=tmp_path / "j")
    assert len(result.created) == 5
    assert len(sandbox.assistants()) == 6

    await client.assistants.update(original.id, system_prompt="another")
    with pytest.raises(JournalError, match="item 0 is not the one"):
        await client.assistants.duplicate_many(original.id, 5, journal=tmp_path / "j")
    assert len(sandbox.assistants()) == 6


async def test_what_is_wrong_is_said_before_anything_is_copied(sandbox: Sandbox, client: AsyncLisn) -> None:
    for count in (-1, 1.5, True, "3"):
        with pytest.raises(ValidationError, match="count"):
            await client.assistants.duplicate_many("ast_1", count)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="assistant_id"):
        await client.assistants.duplicate_many("../x", 1)
    assert sandbox.seen == []
    with pytest.raises(NotFoundError):
        await client.assistants.duplicate_many("ast_none", 2)
    assert [request.method for request in sandbox.seen] == ["GET"]


async def test_no_copies_are_no_copies(client: AsyncLisn, original: Assistant) -> None:
    assert (await client.assistants.duplicate_many(original.id, 0)).outcomes == []


def test_blocking_code_has_it_as_well(lisn_sandbox: Sandbox) -> None:
    with Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url) as client:
        made = client.assistants.create(**SALES)
        assert len(client.assistants.duplicate_many(made.id, 4).created) == 4
    assert len(lisn_sandbox.assistants()) == 5
