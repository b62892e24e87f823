"""What was done, told from the sandbox's own rows and commits, against what the two sides noted.

Everything that does not fit is a sentence in the list; an empty one means that every call did what it said, once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from benchmarks.soak.book import Entry


@attrs.frozen
class Truth:
    """What the sandbox has: its assistants by id, and its commits in order."""

    rows: Mapping[str, Mapping[str, Any]]
    commits: Sequence[Mapping[str, Any]]

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Truth:
        """What its process wrote in the end."""
        return cls({row["id"]: row for row in told["rows"]}, told["commits"])

    def count(self, operation: str) -> Counter[str]:
        """How often the operation was committed, by id."""
        return Counter(commit["assistant_id"] for commit in self.commits if commit["operation"] == operation)


def unexplained(entries: Sequence[Entry], truth: Truth) -> list[str]:
    """What no call accounts for, and what a call said that is not so."""
    return [*_creates(entries, truth), *_updates(entries, truth), *_deletes(entries, truth)]


def _with(entries: Iterable[Entry], call: str, *outcomes: str) -> list[Entry]:
    return [entry for entry in entries if entry.call == call and entry.outcome in outcomes]


def _creates(entries: Sequence[Entry], truth: Truth) -> list[str]:
    """Creates and duplicates: said to be done, exactly one; unknown, at most one; failed, none."""
    problems = []
    names = {entry.id: entry.name for entry in entries if entry.id and entry.name}
    names |= {id: row["name"] for id, row in truth.rows.items()}
    surplus = {entry.id for entry in _with(entries, "surplus", "done")}
    for call in ("create", "duplicate"):
        made = truth.count(call)
        # A bulk run that was cut off and run again notes an item twice, the same both times.
        done = {(entry.name, entry.id) for entry in _with(entries, call, "done")}
        claims = Counter(id for _, id in done)
        certain_names = {name for name, _ in done} if call == "create" else set()
        free = Counter(entry.name for entry in _with(entries, call, "unknown"))
        if call == "create":
            free = Counter(free.keys() - certain_names)  # however often it was noted, it was one create
        problems += [f"{call} gave {id} {n} times" for id, n in claims.items() if n > 1]
        problems += [
            f"{call} of {name} gave {id}, which never was" for name, id in done if id is None or not made[id]
        ]
        for id, count in made.items():
            name = names.get(id)
            if count > 1 or name is None:
                problems.append(f"{id} was made {count} times, as {name}")
            elif id not in claims and id not in surplus:
                free[name] -= 1
                if free[name] < 0:
                    problems.append(f"{id} is one {call} of {name} too many")
    return problems


def _updates(entries: Sequence[Entry], truth: Truth) -> list[str]:
    """An assistant shows the last update that was done, or one of unknown fate, and never one that failed."""
    problems = []
    committed = truth.count("update")
    last: dict[str | None, str | None] = {}
    doubted: defaultdict[str | None, set[str | None]] = defaultdict(set)
    by_name: defaultdict[str | None, set[str | None]] = defaultdict(lambda: {None})
    done: Counter[str | None] = Counter()
    for entry in entries:
        if entry.call == "update" and entry.outcome != "failed":
            by_name[entry.name].add(entry.value)
            doubted[entry.id].add(entry.value)
            if entry.outcome == "done":
                if entry.attempts == 1:
                    doubted[entry.id].discard(entry.value)
                last[entry.id] = entry.value
                done[entry.id] += 1
    asked = {entry.id for entry in entries if entry.call == "update"}
    problems += [f"{id} was updated, and nobody asked for it" for id in committed if id not in asked]
    problems += [
        f"{id} was updated {committed[id or '']} times, not {count}"
        for id, count in done.items()
        if committed[id or ""] < count
    ]
    for id, row in truth.rows.items():
        # Without an update of its own it shows what its original did when it was copied.
        may_be = {last[id], *doubted[id]} if id in last else by_name[row["name"]]
        if row["description"] not in may_be:
            problems.append(f"{id} shows {row['description']}, which no update has left there")
    return problems


def _deletes(entries: Sequence[Entry], truth: Truth) -> list[str]:
    """What is gone was deleted, once, by a call that does not say otherwise; what was deleted is gone."""
    committed = truth.count("delete")
    done = {entry.id for entry in _with(entries, "delete", "done")}
    perhaps = {entry.id for entry in _with(entries, "delete", "unknown")}
    made = truth.count("create").keys() | truth.count("duplicate").keys()
    return [
        *(f"{id} was deleted {count} times" for id, count in committed.items() if count > 1),
        *(f"{id} is gone, and no delete says so" for id in made - truth.rows.keys() - done - perhaps),
        *(f"{id} was deleted, and is still there" for id in done & truth.rows.keys()),
        *(f"{id} was deleted, and never was" for id in done - made),
    ]
