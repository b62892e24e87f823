"""The judge: what it calls lost, duplicated, unexplained and wrong, on plain values and over HTTP."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lisn_async.sandbox import Sandbox, Verdict
from lisn_async.sandbox._judge import judged
from tests.test_sandbox import TEXT, ask

BLANK = {
    "description": None,
    "llm_model": None,
    "temperature": 0.7,
    "created_at": "2026",
    "updated_at": "2026",
}


def row(name: str = "a", **more: Any) -> dict[str, Any]:
    """An assistant as the sandbox keeps it."""
    return {**BLANK, "name": name, **more}


def item(outcome: Any, made: Any = None, **fields: Any) -> dict[str, Any]:
    """An item of a job."""
    told = {"outcome": outcome} if made is None else {"outcome": outcome, "id": made}
    return {"fields": fields or {"name": "a"}, **told}


def found(rows: list[tuple[str, dict[str, Any]]], items: list[Any], **known: Any) -> dict[str, int]:
    """What of a verdict is not zero, beyond the counts of items."""
    verdict = attrs.asdict(judged(rows, items, **known))
    return {name: verdict[name] for name in list(verdict)[4:] if verdict[name]}


A, B, C = (("ast_1", row()), ("ast_2", row()), ("ast_3", row()))
OTHER = ("ast_9", row("z"))

CASES: list[tuple[str, list[Any], list[Any], dict[str, Any], dict[str, int]]] = [
    ("nothing", [], [], {}, {}),
    ("all as it was said", [A, B], [item("created", "ast_2"), item("created", "ast_1")], {}, {}),
    ("a failed one that is not there", [A], [item("created", "ast_1"), item("failed")], {}, {}),
    ("an unknown one that is there", [A], [item("unknown")], {}, {}),
    ("an unknown one that is not there", [], [item("unknown")], {}, {}),
    ("created, and no such row", [], [item("created", "ast_1")], {}, {"lost": 1}),
    ("created without an id", [A], [item("created")], {}, {"lost": 1, "duplicated": 1}),
    ("an id that is no text", [], [item("created", ["ast_1"]), item("created", 1)], {}, {"lost": 2}),
    ("no outcome", [], [item(None), item("done"), item([]), {"fields": {}}], {}, {"lost": 4}),
    ("a row too many", [A, B], [item("created", "ast_1")], {}, {"duplicated": 1}),
    (
        "a row too many that was reported",
        [A, B],
        [item("created", "ast_1")],
        {"surplus": ["ast_2"]},
        {"duplicated": 1, "reported": 1},
    ),
    (
        "the unknown one accounts for the row that was not reported",
        [A, B],
        [item("unknown")],
        {"surplus": ["ast_1"]},
        {"duplicated": 1, "reported": 1},
    ),
    ("an unknown one accounts for one row", [A, B, C], [item("unknown")], {}, {"duplicated": 2}),
    ("a failed one that is there", [A], [item("failed")], {}, {"duplicated": 1}),
    ("what nobody asked for", [A, OTHER], [item("created", "ast_1")], {}, {"unexplained": 1}),
    (
        "reporting does not explain what nobody asked for",
        [OTHER],
        [],
        {"surplus": ["ast_9"]},
        {"unexplained": 1},
    ),
    ("what was there before", [A, OTHER], [item("created", "ast_1")], {"before": ["ast_9"]}, {}),
    (
        "an equal one that was there before",
        [A, B],
        [item("created", "ast_1")],
        {"before": ["ast_2"]},
        {},
    ),
    (
        "an id that was there before",
        [A],
        [item("created", "ast_1")],
        {"before": ["ast_1"]},
        {"wrong_id": 1},
    ),
    ("an id of other content", [OTHER], [item("created", "ast_9")], {}, {"wrong_id": 1}),
    (
        "two ids exchanged",
        [A, OTHER],
        [item("created", "ast_9"), item("created", "ast_1", name="z")],
        {},
        {"wrong_id": 2},
    ),
    (
        "an id claimed twice",
        [A],
        [item("created", "ast_1"), item("created", "ast_1")],
        {},
        {"wrong_id": 1},
    ),
    (
        "an id claimed rightly and wrongly",
        [A],
        [item("created", "ast_1", name="z"), item("created", "ast_1")],
        {},
        {"wrong_id": 1},
    ),
    ("numbers by value", [("x", row(temperature=1.0, n=3))], [item("unknown", temperature=1, n=3.0)], {}, {}),
    ("a truth is no number", [("x", row(n=True))], [item("unknown", n=1)], {}, {"unexplained": 1}),
    ("text is no number", [("x", row(n="1"))], [item("unknown", n=1)], {}, {"unexplained": 1}),
    ("null is not nothing", [A], [item("unknown", name="a", tag=None)], {}, {"unexplained": 1}),
    ("a default of the server", [A], [item("unknown", name="a")], {}, {}),
    ("a value against a default", [A], [item("unknown", name="a", temperature=0.5)], {}, {"unexplained": 1}),
    (
        "what belongs to the server is not compared",
        [A],
        [item("unknown", name="a", id="mine", created_at="now", updated_at=1)],
        {},
        {},
    ),
    (
        "nested values",
        [("x", row(tags=[{"a": 1, "b": [None]}]))],
        [item("unknown", tags=[{"b": [None], "a": 1.0}])],
        {},
        {},
    ),
    ("order in a list", [("x", row(tags=[1, 2]))], [item("unknown", tags=[2, 1])], {}, {"unexplained": 1}),
    (
        # The first item fits both rows, the second only "ast_2": whoever comes first must not take that away.
        "items of fewer fields leave rows to those that need them",
        [("ast_2", row(llm_model="m")), A],
        [item("unknown", name="a", temperature=0.7), item("unknown", name="a", llm_model="m")],
        {},
        {},
    ),
]


@pytest.mark.parametrize(
    ("rows", "items", "known", "wanted"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_the_judge_says(rows: Any, items: Any, known: Any, wanted: dict[str, int]) -> None:
    for order in itertools.permutations(rows):
        for turned in (items, items[::-1]):
            assert found(list(order), turned, **known) == wanted


def test_only_what_the_client_did_not_report_makes_a_verdict_unclean() -> None:
    clean = Verdict(
        items=9, created=3, failed=3, unknown=3, lost=0, duplicated=2, reported=2, unexplained=0, wrong_id=0
    )
    assert clean.is_clean
    for name in ("lost", "duplicated", "unexplained", "wrong_id"):
        assert not attrs.evolve(clean, **{name: getattr(clean, name) + 1}).is_clean
    assert not attrs.evolve(clean, reported=1).is_clean


def test_items_are_counted_by_outcome() -> None:
    verdict = judged(
        [A], [item("created", "ast_1"), item("failed"), item("failed"), item("unknown"), item("")]
    )
    assert (verdict.items, verdict.created, verdict.failed, verdict.unknown) == (5, 1, 2, 1)


@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_a_job_with_known_damage_is_judged_to_have_exactly_that_damage(
    source: random.Random, size: int
) -> None:
    rows, items, wanted = [], [], {"lost": 0, "duplicated": 0, "unexplained": 0}
    ids = (f"ast_{number}" for number in itertools.count())
    for _ in range(size):
        fields = {"name": source.choice("ab"), "temperature": source.choice([0, 1])}
        kind = source.choice(["made", "lost", "twice", "failed", "failed but there", "unknown", "stranger"])
        made = next(ids)
        if kind in ("made", "twice", "failed but there"):
            rows.append((made, row(**fields)))
        if kind == "stranger":
            rows.append((made, row("z")))
            wanted["unexplained"] += 1
        elif kind == "unknown":  # told apart from the others, or it would account for their surplus
            items.append(item("unknown", name="u"))
            rows += [(made, row("u"))] * source.choice([0, 1])
        elif kind.startswith("failed"):
            items.append(item("failed", **fields))
            wanted["duplicated"] += kind != "failed"
        else:
            items.append(item("created", made, **fields))
            wanted["lost"] += kind == "lost"
        if kind == "twice":
            rows.append((next(ids), row(**fields)))
            wanted["duplicated"] += 1
    source.shuffle(rows)
    assert found(rows, items) == {name: count for name, count in wanted.items() if count}


WRONG_ITEMS: list[tuple[Any, str]] = [
    ([1], "Item 0 is not"),
    ([{"fields": {}, "outcome": "failed"}, {"outcome": "failed"}], "Item 1 is not"),
    ([{"fields": [], "outcome": "failed"}], "Item 0 is not"),
]


@pytest.mark.parametrize(("items", "reason"), WRONG_ITEMS)
def test_items_that_are_none_are_refused(items: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        judged([], items)


def test_what_is_no_json_or_no_list_of_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="holds object, which JSON does not have"):
        judged([], [item("failed", name=object())])
    for known in ({"before": "ast_1"}, {"surplus": "ast_1"}, {"before": [1]}):
        with pytest.raises(ValueError, match="must be a list of ids"):
            judged([], [], **known)  # type: ignore[arg-type]


async def test_the_sandbox_judges_what_is_in_it(sandbox: Sandbox) -> None:
    before = (await ask(sandbox, "POST", json=TEXT)).json["id"]
    made = (await ask(sandbox, "POST", json=TEXT)).json["id"]
    extra = (await ask(sandbox, "POST", json=TEXT)).json["id"]
    items = iter([{"fields": TEXT, "outcome": "created", "id": made}])
    verdict = sandbox.judge(items, before={before}, surplus=(extra,))
    assert verdict == Verdict(
        items=1, created=1, failed=0, unknown=0, lost=0, duplicated=1, reported=1, unexplained=0, wrong_id=0
    )
    body = {
        "items": [{"fields": TEXT, "outcome": "created", "id": made}],
        "before": [before],
        "surplus": [extra],
    }
    over_http = await ask(sandbox, "POST", "/_sandbox/judge", json=body)
    assert (over_http.status, over_http.json) == (200, {**attrs.asdict(verdict), "is_clean": True})
    alone = await ask(sandbox, "POST", "/_sandbox/judge", json={"items": body["items"]})
    assert (alone.json["duplicated"], alone.json["is_clean"]) == (2, False)


@pytest.mark.parametrize(
    "body",
    [[], {}, {"items": {}}, {"items": [1]}, {"items": [], "befor": []}, {"items": [], "before": "x"},
     {"items": [], "surplus": [1]}, {"items": [{"fields": 1}]}],
)  # fmt: skip
async def test_a_judge_who_is_asked_nonsense_says_so(sandbox: Sandbox, body: Any) -> None:
    reply = await ask(sandbox, "POST", "/_sandbox/judge", json=body)
    assert (reply.status, reply.json["error"]["type"]) == (422, "invalid")


async def test_the_judge_takes_a_job_that_is_larger_than_any_other_request_may_be() -> None:
    async with Sandbox(max_body=100) as box:
        items = [{"fields": {**TEXT, "name": f"{n}"}, "outcome": "failed"} for n in range(10_000)]
        body = json.dumps({"items": items}).encode()
        reply = await ask(box, "POST", "/_sandbox/judge", data=body)
        assert (reply.status, reply.json["failed"], reply.json["is_clean"]) == (200, 10_000, True)


async def test_the_judge_goes_by_what_was_asked_for_and_not_by_what_was_made_of_it(sandbox: Sandbox) -> None:
    fields = {**TEXT, "name": "  Sorter  "}
    sandbox.faults = [{"do": "rewrite", "times": None}]
    made = (await ask(sandbox, "POST", json=fields)).json
    assert made["name"] == "Sorter"
    asked = [{"fields": fields, "outcome": "created", "id": made["id"]}]
    shown = [{"fields": {**fields, "name": "Sorter"}, "outcome": "created", "id": made["id"]}]
    assert sandbox.judge(asked).is_clean
    assert sandbox.judge(shown).wrong_id == 1
