"""A service that takes liberties: listings that lag or are cut in silence, content that is stored otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lisn_async.sandbox import Fault, Sandbox
from lisn_async.sandbox._fault_queue import FaultQueue
from lisn_async.sandbox._modifiers import rewritten
from tests.test_sandbox import TEXT, ask
from tests.test_sandbox_faults import raw

if TYPE_CHECKING:
    from pathlib import Path

A_DAY = 86_400


async def names(box: Sandbox) -> list[str]:
    """The names in a listing."""
    return [one["name"] for one in (await ask(box, "GET")).json]


async def create(box: Sandbox, *made: str) -> list[str]:
    """The ids of assistants of these names, created."""
    return [(await ask(box, "POST", json={**TEXT, "name": name})).json["id"] for name in made]


# lag and partial


async def test_a_lagging_listing_shows_only_what_is_old_enough(tmp_path: Path) -> None:
    file = tmp_path / "box.db"
    async with Sandbox(database=file) as box:
        await create(box, "old")
    async with Sandbox(database=file) as box:  # what was there at the start is as old as can be
        [young] = await create(box, "young")
        lag = {"do": "lag", "seconds": A_DAY, "times": 2}
        box.faults = [lag, {"do": "lag", "seconds": 0}]
        assert await names(box) == ["old"]
        assert (await ask(box, "GET", f"/v1/assistants/{young}")).json["name"] == "young"
        assert await names(box) == ["old"]
        assert await names(box) == ["old", "young"]
        assert box.faults == []


async def test_what_lags_is_shown_when_it_has_the_age(
    sandbox: Sandbox, time_passes: Callable[[float], None]
) -> None:
    await create(sandbox, "a")
    sandbox.faults = [{"do": "lag", "seconds": A_DAY, "times": None}]
    assert await names(sandbox) == []
    time_passes(A_DAY)
    assert await names(sandbox) == ["a"]


async def test_an_update_does_not_make_an_assistant_young(tmp_path: Path) -> None:
    file = tmp_path / "box.db"
    async with Sandbox(database=file) as box:
        [made] = await create(box, "old")
    async with Sandbox(database=file) as box:
        await ask(box, "PATCH", f"/v1/assistants/{made}", json={"name": "changed"})
        box.faults = [{"do": "lag", "seconds": A_DAY}]
        assert await names(box) == ["changed"]


async def test_a_partial_listing_is_cut_and_does_not_say_so(sandbox: Sandbox) -> None:
    await create(sandbox, "a", "b", "c")
    sandbox.faults = [{"do": "partial", "count": count} for count in (2, 0, 9)]
    cut = await ask(sandbox, "GET")
    assert (cut.status, [one["name"] for one in cut.json]) == (200, ["a", "b"])
    whole = [await names(sandbox), await names(sandbox)]
    assert whole == [[], ["a", "b", "c"]]
    honest = await ask(sandbox, "GET")
    assert set(cut.headers) == set(honest.headers)


async def test_lag_and_partial_wait_for_a_listing(sandbox: Sandbox) -> None:
    sandbox.faults = [{"do": "partial", "count": 0, "skip": 1}]
    [made] = await create(sandbox, "a")
    await ask(sandbox, "GET", f"/v1/assistants/{made}")
    await ask(sandbox, "GET", "/nowhere")
    assert await names(sandbox) == ["a"]
    assert await names(sandbox) == []


# rewrite


@pytest.mark.parametrize(
    ("how", "name", "prompt"),
    [
        ("trim", "A Name Beyond Twenty Letters", "P"),
        ("lower", "\t a name beyond twenty letters ", " P\n"),
        ("short", "\t A Name Beyond Twen", " P\n"),
    ],
)
async def test_a_rewritten_create_update_and_duplicate_show_what_is_stored(
    sandbox: Sandbox, how: Any, name: str, prompt: str
) -> None:
    sent = {**TEXT, "name": "\t A Name Beyond Twenty Letters ", "system_prompt": " P\n", "description": " D "}
    sandbox.faults = [{"do": "rewrite", "how": how}]
    made = await ask(sandbox, "POST", json=sent)
    assert made.status == 201
    assert (made.json["name"], made.json["system_prompt"], made.json["description"]) == (name, prompt, " D ")
    assert (await ask(sandbox, "GET")).json == [made.json] == sandbox.assistants()

    [plain] = [(await ask(sandbox, "POST", json=sent)).json["id"]]
    sandbox.faults = [{"do": "rewrite", "how": how}] * 2
    copy = await ask(sandbox, "POST", f"/v1/assistants/{plain}/duplicate")
    assert (copy.json["name"], copy.json["system_prompt"]) == (name, prompt)
    changed = await ask(sandbox, "PATCH", f"/v1/assistants/{plain}", json={"name": sent["name"]})
    assert (changed.json["name"], changed.json["system_prompt"]) == (name, " P\n")  # which was not sent


async def test_a_rewrite_waits_for_something_to_rewrite(sandbox: Sandbox) -> None:
    sandbox.faults = [{"do": "rewrite"}]
    await ask(sandbox, "GET")
    assert len(sandbox.faults) == 1
    await create(sandbox, " a ")
    assert (await names(sandbox), list(sandbox.faults)) == (["a"], [])


def test_a_rewrite_leaves_alone_what_is_no_text() -> None:
    trims = [Fault(do="rewrite")]
    assert rewritten({"name": None, "system_prompt": 1}, trims) == {"name": None, "system_prompt": 1}


def asked(box: Sandbox, made: str, **fields: Any) -> bool:
    """Whether the judge takes these fields for what was asked for."""
    return box.judge([{"fields": fields, "outcome": "created", "id": made}]).wrong_id == 0


async def test_what_was_asked_for_is_kept_through_updates_and_copies_and_goes_with_the_row(
    tmp_path: Path,
) -> None:
    file = tmp_path / "box.db"
    async with Sandbox(database=file) as box:
        box.faults = [{"do": "rewrite"}]
        [made] = await create(box, " a ")
        assert box.assistants()[0]["name"] == "a"
        assert asked(box, made, name=" a ")
        assert not asked(box, made, name="a")
        await ask(box, "PATCH", f"/v1/assistants/{made}", json={"description": "d"})
        assert asked(box, made, name=" a ", description="d")
        assert box.assistants()[0]["name"] == "a"
        copy = (await ask(box, "POST", f"/v1/assistants/{made}/duplicate")).json
        assert (copy["name"], asked(box, copy["id"], name=" a ", description="d")) == ("a", True)
    async with Sandbox(database=file) as box:
        assert asked(box, made, name=" a ")
        await ask(box, "PATCH", f"/v1/assistants/{made}", json={"name": "b"})
        assert asked(box, made, name="b", description="d")
        await ask(box, "DELETE", f"/v1/assistants/{copy['id']}")
        assert box._running_store().asked(copy["id"]) is None
        box.faults = [{"do": "rewrite"}]
        await ask(box, "PATCH", f"/v1/assistants/{made}", json={"name": " c "})
        assert asked(box, made, name=" c ")
        assert box.assistants()[0]["name"] == "c"
        box.clear()
        assert box._running_store()._run("SELECT * FROM asked") == []


# together


async def test_one_request_meets_modifiers_and_one_breakage(sandbox: Sandbox) -> None:
    sandbox.faults = [
        {"do": "rewrite", "how": "trim"},
        {"do": "reset", "when": "after"},
        {"do": "rewrite", "how": "short"},
        502,
    ]
    with pytest.raises(ConnectionResetError):
        await raw(sandbox, _create("  Sorter of many kinds of letters "))
    assert [one["name"] for one in sandbox.assistants()] == ["Sorter of many kinds"]
    assert [one.fault for one in sandbox.seen] == ["reset"]
    assert sandbox.faults == [502]
    sandbox.faults = ["lag", {"do": "partial", "count": 1}]
    assert (await names(sandbox), sandbox.seen[-1].fault) == ([], "lag")


async def test_a_late_commit_is_rewritten_as_well(sandbox: Sandbox) -> None:
    sandbox.faults = ["rewrite", {"status": 502, "when": "late", "delay": 0.01}]
    await create_and_fail(sandbox, " a ")
    await sandbox.quiet()
    assert await names(sandbox) == ["a"]


async def create_and_fail(box: Sandbox, name: str) -> None:
    assert (await ask(box, "POST", json={**TEXT, "name": name})).status == 502


def test_of_each_sort_only_the_first_strikes_and_the_others_wait() -> None:
    queue = FaultQueue(0)
    queue.replace([500, {"do": "partial", "count": 1}, "lag", {"do": "partial", "count": 2}, 501])
    hits = [queue.take("list") for _ in range(3)]
    assert [hit.breakage and hit.breakage.status for hit in hits] == [500, 501, None]
    assert [[(one.do, one.count) for one in hit.modifiers] for hit in hits] == [
        [("partial", 1), ("lag", None)],
        [("partial", 2)],
        [],
    ]


def test_equal_faults_are_counted_off_one_by_one() -> None:
    one = Fault(do="status", status=500, times=2)
    queue = FaultQueue(0)
    queue.replace([one, one])
    assert [queue.take(None).breakage is not None for _ in range(5)] == [True] * 4 + [False]


def _create(name: str) -> bytes:
    body = b'{"name":"%s","type":"text","llm_provider":"grok","system_prompt":"p"}' % name.encode()
    return (
        b"POST /v1/assistants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer lisn-sandbox-token\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body
