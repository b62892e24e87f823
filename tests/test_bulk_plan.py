"""What a listing says about items whose reply was lost: pure decisions, and the two guards before believing it."""

from __future__ import annotations

from typing import Any

from lisn_async import Assistant, AssistantCreate
from lisn_async.bulk.content import content_of, fingerprint, row_content, shown
from lisn_async.bulk.plan import Made, Pending, reconcile, surplus

FIELDS: dict[str, Any] = {"type": "text", "llm_provider": "openai", "system_prompt": "p"}


def spec(name: str, **more: Any) -> AssistantCreate:
    return AssistantCreate(**{**FIELDS, "name": name, **more})


def row(assistant_id: str, name: str, **more: Any) -> Assistant:
    return Assistant(id=assistant_id, **{**FIELDS, "name": name, "temperature": 0.7, **more})


def made_of(**specs: AssistantCreate) -> Made:
    made = Made()
    for assistant_id, one in specs.items():
        made.add(assistant_id, content_of(one))
    return made


def pending(*specs: AssistantCreate) -> list[Pending]:
    return [Pending(index=n, content=content_of(one)) for n, one in enumerate(specs)]


def test_a_row_is_recognised_by_the_fields_that_were_sent_and_by_no_others() -> None:
    sent = spec("n", description=None)
    content = content_of(sent)
    assert row_content(row("ast_1", "n", llm_model="the server's choice"), content.fields) == content
    assert row_content(row("ast_1", "n", description="x"), content.fields) != content
    assert row_content(row("ast_1", "N"), content.fields) != content


def test_numbers_and_nested_extra_fields_compare_by_value() -> None:
    content = content_of(spec("n", temperature=1, extra_body={"x": {"b": 1, "a": 2}}))
    same = row("ast_1", "n", temperature=1.0, extra={"x": {"a": 2, "b": 1}})
    assert row_content(same, content.fields) == content


def test_the_webhook_secret_takes_no_part() -> None:
    assert content_of(spec("n", webhook_secret="a")) == content_of(spec("n"))
    assert fingerprint(spec("n", webhook_secret="a")) == fingerprint(spec("n", webhook_secret="b"))


def test_a_fingerprint_is_the_same_in_every_process_and_tells_items_apart() -> None:
    assert fingerprint(spec("n")) == "f0bed37009d6235ff6086e7bc5be3f92", (
        "else journals of the last version are refused"
    )
    assert (
        len({fingerprint(spec("n")), fingerprint(spec("m")), fingerprint(spec("n", description=None))}) == 3
    )


def test_what_an_item_became_is_told_by_the_item() -> None:
    became = shown(spec("n", extra_body={"x": 1, "temperature": 0.5}), "ast_1")
    assert (became.id, became.name, became.extra) == ("ast_1", "n", {"x": 1})


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
    assert "keeps content" in str(doubt([row("new", "LOST")], Made()))
    assert doubt([row("new", "LOST"), row("m1", "a")], made_of(m1=spec("a"))) is None


def test_surplus_is_what_is_new_not_ours_and_looks_like_ours() -> None:
    rows = [row("old", "a"), row("m1", "a"), row("twin", "a"), row("foreign", "z")]
    assert [one.id for one in surplus(rows, {"old"}, made_of(m1=spec("a")))] == ["twin"]
