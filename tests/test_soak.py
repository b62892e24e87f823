"""The soak, for twenty seconds; and that its accounts see each kind of departure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks.soak.book import Entry
from benchmarks.soak.callers import contradicted
from benchmarks.soak.child import started
from benchmarks.soak.reconciling import Truth, unexplained
from benchmarks.soak.run import LONG, MOST_GROWTH, MOST_MORE, MOST_THREADS, Load, Side, soak
from benchmarks.soak.sampling import Sample, Watched, growth

has_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="what a process holds is read from /proc"
)


@has_proc
async def test_twenty_seconds_of_faults_leave_nothing_unexplained_and_nothing_open() -> None:
    report = await soak(Load(seconds=20))
    assert report.problems == []
    assert report.requests > 1500
    assert len(report.faults) > 5
    assert report.callers["hung up"] > 0
    for side in report.sides:
        for call in ("list", "create", "get", "update", "delete", "duplicate", "create_many"):
            assert side.counts[f"{call} done"] > 0, f"{side.name} never did a {call}"
        assert side.errors, f"no fault ever reached {side.name}"


async def test_a_process_of_the_soak_that_dies_is_an_error_that_says_why() -> None:
    async with started("no_such_module") as child:
        with pytest.raises(RuntimeError, match="No module named"):
            await child.said()
        assert "exit status 1" in await child.ended()


# --- the accounts ---------------------------------------------------------------------------------------


def truth(rows: dict[str, tuple[str, str | None]], *commits: str) -> Truth:
    """Assistants as id: (name, description), and commits as "operation id"."""
    shown = {id: {"name": name, "description": value} for id, (name, value) in rows.items()}
    split = [commit.split() for commit in commits]
    return Truth(shown, [{"operation": operation, "assistant_id": id} for operation, id in split])


MADE = [Entry(call="create", name="n", id="a")]
UNKNOWN = [Entry(call="create", outcome="unknown", name="n")]
FAILED = [Entry(call="create", outcome="failed", name="n")]
UPDATED = [*MADE, Entry(call="update", name="n", id="a", value="v1")]
DELETED = [*MADE, Entry(call="delete", name="n", id="a")]
COPIED = [*MADE, Entry(call="duplicate", name="n", id="b")]
TWICE = [*MADE, Entry(call="update", name="n", id="a", value="v1", attempts=2)]  # the first may come late
THEN = Entry(call="update", name="n", id="a", value="v2")
THERE = {"a": ("n", None)}


def perhaps(call: Any, **fields: Any) -> Entry:
    return Entry(call=call, outcome="unknown", name="n", **fields)


@pytest.mark.parametrize(
    ("entries", "there"),
    [
        (MADE, truth(THERE, "create a")),
        (UNKNOWN, truth(THERE, "create a")),
        (UNKNOWN, truth({})),
        (UNKNOWN * 2 + MADE, truth(THERE, "create a")),  # a bulk run, cut off twice and then done
        (MADE * 2, truth(THERE, "create a")),
        (FAILED, truth({})),
        (UPDATED, truth({"a": ("n", "v1")}, "create a", "update a")),
        (UPDATED, truth({"a": ("n", "v1")}, "create a", "update a", "update a")),  # sent again
        (
            [*UPDATED, perhaps("update", id="a", value="v2")],
            truth({"a": ("n", "v2")}, "create a", "update a"),
        ),
        (
            [*UPDATED, perhaps("update", id="a", value="v2")],
            truth({"a": ("n", "v1")}, "create a", "update a"),
        ),
        ([*TWICE, THEN], truth({"a": ("n", "v1")}, "create a", "update a", "update a", "update a")),
        (DELETED, truth({}, "create a", "delete a")),
        ([*MADE, perhaps("delete", id="a")], truth({}, "create a", "delete a")),
        ([*MADE, perhaps("delete", id="a")], truth(THERE, "create a")),
        (COPIED, truth({**THERE, "b": ("n", None)}, "create a", "duplicate b")),
        (
            [*MADE, perhaps("duplicate", id="a")],
            truth({**THERE, "b": ("n", None)}, "create a", "duplicate b"),
        ),
        ([*MADE, Entry(call="surplus", name="n", id="b")], truth(THERE, "create a", "create b", "delete b")),
    ],
)
def test_what_was_done_as_it_was_told_is_explained(entries: Sequence[Entry], there: Truth) -> None:
    if any(entry.call == "surplus" for entry in entries):
        entries = [*entries, Entry(call="delete", id="b")]
    assert unexplained(entries, there) == []


@pytest.mark.parametrize(
    ("entries", "there", "problem"),
    [
        ([], truth(THERE, "create a"), "a is one create of n too many"),
        (FAILED, truth(THERE, "create a"), "a is one create of n too many"),
        (MADE, truth({}), "create of n gave a, which never was"),
        (MADE, truth({**THERE, "b": ("n", None)}, "create a", "create b"), "b is one create of n too many"),
        (
            UNKNOWN,
            truth({**THERE, "b": ("n", None)}, "create a", "create b"),
            "b is one create of n too many",
        ),
        (UNKNOWN, truth({}, "create a", "delete a"), "a was made 1 times, as None"),
        ([*MADE, Entry(call="create", name="m", id="a")], truth(THERE, "create a"), "create gave a 2 times"),
        (MADE, truth({}, "create a", "delete a"), "a is gone, and no delete says so"),
        (DELETED, truth(THERE, "create a"), "a was deleted, and is still there"),
        (DELETED, truth({}, "create a", "delete a", "delete a"), "a was deleted 2 times"),
        (UPDATED, truth(THERE, "create a"), "a was updated 0 times, not 1"),
        (UPDATED, truth(THERE, "create a", "update a"), "a shows None, which no update has left there"),
        (
            [*UPDATED, THEN],
            truth({"a": ("n", "v1")}, "create a", "update a", "update a"),
            "a shows v1, which no update has left there",
        ),
        (MADE, truth(THERE, "create a", "update a"), "a was updated, and nobody asked for it"),
        (
            [*MADE, Entry(call="update", outcome="failed", name="n", id="a", value="v1")],
            truth({"a": ("n", "v1")}, "create a", "update a"),
            "a shows v1, which no update has left there",
        ),
        (
            COPIED,
            truth({**THERE, "b": ("n", None), "c": ("n", None)}, "create a", "duplicate b", "duplicate c"),
            "c is one duplicate of n too many",
        ),
    ],
)
def test_each_departure_is_seen(entries: Sequence[Entry], there: Truth, problem: str) -> None:
    assert problem in unexplained(entries, there)


def test_what_a_caller_was_told_has_to_be_in_the_backends_book() -> None:
    deleted = Entry(call="delete", id="a")
    assert contradicted([deleted], [attrs.evolve(deleted, name="n")]) == []
    [problem] = contradicted([deleted], [attrs.evolve(deleted, outcome="unknown")])
    assert "which the backend did not note" in problem


# --- the bounds -----------------------------------------------------------------------------------------

IDLE = Sample(at=0.0, memory=40_000, blocks=100_000, files=10, tasks=1, threads=1)


def growing(per_minute: float, count: int = 60) -> list[Sample]:
    return [
        attrs.evolve(IDLE, at=float(second), memory=int(40_000 + second * per_minute / 60))
        for second in range(count)
    ]


def test_growth_is_not_moved_by_a_few_peaks() -> None:
    samples = growing(600)
    assert growth(samples, "memory") == pytest.approx(600, rel=0.02)
    samples[30] = attrs.evolve(samples[30], memory=90_000)
    samples[59] = attrs.evolve(samples[59], memory=90_000)
    assert growth(samples, "memory") == pytest.approx(600, rel=0.05)


@pytest.mark.parametrize(
    ("left", "per_minute", "problem"),
    [
        ({}, MOST_GROWTH["memory"] / 2, None),
        ({"files": 9, "threads": 1 + MOST_THREADS}, 0, None),
        ({"files": 11}, 0, "backend: 1 files were left open"),
        ({"tasks": 2}, 0, "backend: 1 tasks were left"),
        ({"threads": 2 + MOST_THREADS}, 0, "backend: .* threads were left"),
        ({"slots": 1}, 0, "backend: 1 slots for connections were never given back"),
        ({"needed": 40_000 + MOST_MORE}, 0, None),
        ({"needed": 40_001 + MOST_MORE}, 0, "backend: 1025 KiB more are needed than after the warm-up"),
        ({"sessions": 1}, 0, "backend: 1 sessions were left open"),
        ({}, MOST_GROWTH["memory"] * 2, "backend: memory grew by .* per minute"),
    ],
)
def test_what_is_left_behind_or_grows_is_a_problem(
    left: dict[str, int], per_minute: float, problem: str | None
) -> None:
    after = attrs.evolve(
        IDLE, **{name: count for name, count in left.items() if name not in ("slots", "sessions", "needed")}
    )
    watched = Watched(
        before=IDLE,
        during=growing(per_minute),
        after=after,
        slots=left.get("slots", 0),
        sessions=left.get("sessions", 0),
        needed=left.get("needed", 40_000),
    )
    told = {"watched": attrs.asdict(watched), "counts": {}, "errors": {}}
    problems = Side.of("backend", told, Load(seconds=LONG)).problems()
    if problem is None:
        assert problems == []
    else:
        [found] = problems
        assert re.match(problem, found)


def test_a_short_load_says_nothing_of_growth() -> None:
    watched = Watched(before=IDLE, during=growing(1e6), after=IDLE, slots=0, sessions=0, needed=40_000)
    told = {"watched": attrs.asdict(watched), "counts": {}, "errors": {}}
    assert Side.of("threads", told, Load(seconds=LONG - 1)).problems() == []
