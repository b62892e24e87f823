"""What a listing says about items whose reply was lost: pure decisions, and the two guards before believing it."""

from __future__ import annotations

from typing import Any

import pytest

from lisn_async import Assistant, AssistantCreate
from lisn_async.bulk.content import (
    marker_content,
    marker_of,
    row_content,
    shown,
    values_of,
    values_of_copy,
)
from lisn_async.bulk.likeness import Likenesses, likeness_of, likeness_of_row
from lisn_async.bulk.plan import Echo, Made, Pending, reconcile, surplus

FIELDS: dict[str, Any] = {"type": "text", "llm_provider": "openai", "system_prompt": "p"}


def spec(name: str, **more: Any) -> AssistantCreate:
    return AssistantCreate(**{**FIELDS, "name": name, **more})


def row(assistant_id: str, name: str, **more: Any) -> Assistant:
    return Assistant(id=assistant_id, **{**FIELDS, "name": name, "temperature": 0.7, **more})


def made_of(**specs: AssistantCreate) -> Made:
    made = Made()
    for assistant_id, one in specs.items():
        made.add(assistant_id, values_of(one).content)
    return made


def pending(*specs: AssistantCreate) -> list[Pending]:
    return [
        Pending(index=n, content=values_of(one).content, likeness=likeness_of(one))
        for n, one in enumerate(specs)
    ]


def named(one: AssistantCreate) -> str:
    return values_of(one).fingerprint


def test_a_row_is_recognised_by_the_fields_that_were_sent_and_by_no_others() -> None:
    sent = spec("n", description=None)
    content = values_of(sent).content
    assert row_content(row("ast_1", "n", llm_model="the server's choice"), content.fields) == content
    assert row_content(row("ast_1", "n", description="x"), content.fields) != content
    assert row_content(row("ast_1", "N"), content.fields) != content


def test_numbers_and_nested_extra_fields_compare_by_value() -> None:
    content = values_of(spec("n", temperature=1, extra_body={"x": {"b": 1, "a": 2}})).content
    same = row("ast_1", "n", temperature=1.0, extra={"x": {"a": 2, "b": 1}})
    assert row_content(same, content.fields) == content


def test_the_webhook_secret_takes_no_part() -> None:
    assert values_of(spec("n", webhook_secret="a")) == values_of(spec("n"))
    assert named(spec("n", webhook_secret="a")) == named(spec("n", webhook_secret="b"))


def test_a_fingerprint_is_the_same_in_every_process_and_tells_items_apart() -> None:
    assert named(spec("n")) == "f0bed37009d6235ff6086e7bc5be3f92", (
        "else journals of the last version are refused"
    )
    assert len({named(spec("n")), named(spec("m")), named(spec("n", description=None))}) == 3


def test_what_an_item_became_is_told_by_the_item() -> None:
    became = shown(spec("n", extra_body={"x": 1, "temperature": 0.5}), "ast_1")
    assert (became.id, became.name, became.extra) == ("ast_1", "n", {"x": 1})


def test_a_copy_is_recognised_by_everything_but_its_name_and_its_secret() -> None:
    original = row("ast_0", "n", webhook_secret="s", extra={"created_at": "then"})
    content = values_of_copy(original).content
    assert row_content(row("ast_1", "Copy of n"), content.fields) == content
    assert row_content(row("ast_1", "n", description="x"), content.fields) != content


def test_items_are_claimed_as_a_multiset_among_rows_that_are_new_and_nobodys() -> None:
    rows = [row("old", "a"), row("known", "a"), row("new1", "a"), row("new2", "a"), row("other", "b")]
    found = reconcile(
        rows, {"old"}, made_of(known=spec("a")), pending(spec("a"), spec("a"), spec("a"), spec("c")), set()
    )

    assert [(item.index, claimed.id) for item, claimed in found.claims] == [(0, "new1"), (1, "new2")]
    assert [item.index for item in found.open] == [2, 3]
    assert [stranger.id for stranger in found.strangers] == ["other"]


def test_a_vague_item_does_not_take_the_row_of_a_precise_one() -> None:
    vague, precise = spec("a"), spec("a", description="d")
    found = reconcile([row("new", "a", description="d")], set(), Made(), pending(vague, precise), set())
    assert [(item.index, claimed.id) for item, claimed in found.claims] == [(1, "new")]
    assert [item.index for item in found.open] == [0]


def test_under_markers_an_item_is_its_marker_whatever_surrounds_it() -> None:
    key, other = b"k" * 16, b"x" * 16
    marker = marker_of(key, 7)
    content = marker_content(marker)
    assert marker_of(key, 7) == marker != marker_of(key, 8) != marker_of(other, 8)
    for name in (marker, f" {marker.upper()} ", f"Copy of {marker}!"):
        assert row_content(row("r", name), content.fields) == content
    for name in (marker_of(key, 8), marker[:-1], "", None):
        assert row_content(row("r", name), content.fields) != content


def test_under_markers_the_replies_tell_whether_the_service_keeps_names() -> None:
    marker = marker_of(b"k" * 16, 1)
    item = Pending(index=1, content=marker_content(marker), likeness=likeness_of(spec("n")))
    made = Made()
    made.add("m1", marker_content(marker_of(b"k" * 16, 2)))
    rows = [row("m1", "renamed by now"), row("new", "somebody's")]

    def doubt_after(*replies: str | None) -> str | None:
        echo = Echo()
        for name in replies:
            echo.note(row("r", name), marker_content(marker))
        return reconcile(rows, set(), made, [item], set(), echo).reason_for_doubt()

    assert doubt_after(marker) is None
    assert "other content" in str(doubt_after(marker, marker[:10]))
    assert "nothing shows" in str(doubt_after())
    assert "nothing shows" in str(doubt_after(None))


def doubt(rows: list[Assistant], made: Made, deleted: frozenset[str] = frozenset()) -> str | None:
    return reconcile(rows, {"old"}, made, pending(spec("lost")), set(deleted)).reason_for_doubt()


def test_a_whole_listing_that_shows_what_was_made_as_it_was_sent_is_believed() -> None:
    assert doubt([row("old", "x"), row("m1", "a")], made_of(m1=spec("a"))) is None
    assert doubt([], Made()) is None


def test_a_listing_without_something_we_made_is_not_believed() -> None:
    assert "lacks 1" in str(doubt([row("m1", "a")], made_of(m1=spec("a"), m2=spec("b"))))


def test_what_somebody_deleted_is_no_witness_any_more() -> None:
    assert doubt([row("m1", "a")], made_of(m1=spec("a"), m2=spec("b")), frozenset({"m2"})) is None


def test_a_service_that_rewrites_what_it_was_sent_is_not_believed() -> None:
    assert "other content" in str(doubt([row("m1", "a")], made_of(m1=spec("a "))))


def test_new_rows_of_nobody_are_not_believed_to_be_somebody_elses_without_a_sample_of_ours() -> None:
    stranger = row("new", "another", system_prompt="of somebody else")
    assert "keeps content" in str(doubt([stranger], Made()))
    assert doubt([stranger, row("m1", "a")], made_of(m1=spec("a"))) is None


@pytest.mark.parametrize(
    "rewritten",
    [
        row("new", " Lost\u00a0", system_prompt="x"),
        row("new", "somebody's", system_prompt="P"),
        row("new", None, system_prompt=" p\n"),
    ],
)
def test_a_new_row_that_resembles_the_lost_item_is_a_reason_to_doubt_that_it_does_not_exist(
    rewritten: Assistant,
) -> None:
    """A service may rewrite some contents only: what was confirmed says nothing about this one."""
    assert "resemble" in str(doubt([rewritten, row("m1", "a")], made_of(m1=spec("a"))))


def test_a_late_twin_of_something_that_is_ours_is_surplus_and_no_reason_to_doubt() -> None:
    assert doubt([row("m1", "a"), row("twin", "a")], made_of(m1=spec("a"))) is None


@pytest.mark.parametrize(
    ("sent", "shown", "are_like"),
    [
        ("Sales Analyzer", "sales-analyzer", True),
        ("Sales Analyzer", "Sales Analyzer (2)", True),
        ("Sales Analyzer", "Sales Ana", True),
        ("\ufb01ne print", "fine print", True),
        ("Agent", "Agent 12", False),
        ("Agent", "agent", True),
        ("Sales Analyzer", "Support Analyzer", False),
        ("", "", False),
        ("!?", "...", False),
    ],
)
def test_likeness_outlives_case_white_space_and_decoration(sent: str, shown: str, are_like: bool) -> None:
    wanted = likeness_of(spec(sent, system_prompt="one prompt"))
    shown_as = likeness_of_row(row("r", shown, system_prompt="and another"))
    assert Likenesses([wanted]).has_like(shown_as) is are_like


def test_surplus_is_what_is_new_not_ours_and_looks_like_ours() -> None:
    rows = [row("old", "a"), row("m1", "a"), row("twin", "a"), row("foreign", "z")]
    assert [one.id for one in surplus(rows, {"old"}, made_of(m1=spec("a")), [])] == ["twin"]


def test_surplus_is_also_what_resembles_an_item_that_was_sent_again() -> None:
    rows = [
        row("m1", "Lost one"),
        row("late", "LOST ONE", system_prompt="x"),
        row("foreign", "z", system_prompt="x"),
    ]
    made = made_of(m1=spec("Lost one"))
    assert [one.id for one in surplus(rows, set(), made, [likeness_of(spec("Lost one"))])] == ["late"]
    assert surplus(rows, set(), made, []) == []
