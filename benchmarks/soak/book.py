"""What one side did and was told: on disk, so that a long run does not need more memory than a short one."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, TypeAlias

import attrs

from lisn_async import APIError, Assistant, BulkResult, NotFoundError

Call: TypeAlias = Literal["list", "create", "get", "update", "delete", "duplicate"]
Outcome: TypeAlias = Literal["done", "failed", "unknown"]

FORGOTTEN_AFTER = 10.0
"""Seconds after which a create of unknown fate that no listing shows is not looked for any more."""


@attrs.define(kw_only=True)
class Entry:
    """A call and what became of it, or an assistant that was `found` or reported as `surplus`.

    `id` is the assistant's: the new one of a create or duplicate. `name` is unique for each create, and its copies
    have the same. `value` is unique for each update: it is what the description is set to. An update that needed
    several `attempts` may be carried out once more, late.
    """

    call: Call | Literal["found", "surplus"]
    outcome: Outcome = "done"
    name: str | None = None
    id: str | None = None
    value: str | None = None
    attempts: int = 1


@attrs.define
class Row:
    """An assistant that this side made, and what its description may be.

    A value of which one request is of unknown fate stays possible for ever: it may be carried out late.
    """

    name: str
    values: set[str | None] = attrs.field(factory=lambda: {None})
    doubted: set[str | None] = attrs.field(factory=set)
    is_certain: bool = True
    """False as soon as somebody began to delete it."""


@attrs.define
class Book:
    """The calls of one side; may be used by several threads."""

    _file: IO[str]
    rows: dict[str, Row] = attrs.field(factory=dict)
    counts: Counter[str] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    """What a reply contradicted at once."""
    _doubtful: dict[str, float] = attrs.field(factory=dict)
    """Names under which there may be an assistant that nobody knows, and since when."""
    _busy: Counter[str] = attrs.field(factory=Counter)
    """Ids and names that a call under way may change."""
    _lock: threading.RLock = attrs.field(factory=threading.RLock)

    def in_short(self) -> dict[str, object]:
        """The calls and errors, counted, and what was wrong."""
        return {"counts": self.counts, "errors": self.errors, "wrong": self.wrong}

    @contextlib.contextmanager
    def noting(
        self, call: Call, *, id: str | None = None, name: str | None = None, value: str | None = None
    ) -> Iterator[Entry]:
        """Note one call: its outcome is how the block ends. The block tells what it got by `made` or `saw`."""
        entry = Entry(call=call, outcome="unknown", id=id, name=name, value=value)
        with self._lock:
            row = self.rows.get(id or "")
            must_be_there = row is not None and row.is_certain
            if row is not None:
                entry.name = row.name
                if call == "delete":
                    row.is_certain = False
            self._busy.update(filter(None, (id, entry.name)))
        try:
            yield entry
        except APIError as error:
            entry.outcome = "unknown" if error.outcome_unknown else "failed"
            self.errors[type(error).__name__] += 1
            if isinstance(error, NotFoundError) and must_be_there:
                self.wrong.append(f"{call} of {id}, which is there, was answered with 404")
            raise
        except BaseException as error:
            self.errors[type(error).__name__] += 1  # cancelled, most of all: it may have been carried out
            raise
        else:
            entry.outcome = "done"
        finally:
            with self._lock:
                self._busy.subtract(filter(None, (id, row.name if row else name)))
                self._settle(entry, id)
                self._count(entry)
                self._write(entry)

    def made(self, entry: Entry, assistant: Assistant) -> None:
        """The reply of a create or duplicate."""
        entry.id = assistant.id
        if assistant.name != entry.name:
            self.wrong.append(f"{entry.call} of {entry.name} was answered with {assistant.name}")

    def saw(self, entry: Entry, assistant: Assistant) -> None:
        """The reply of a get or update."""
        with self._lock:
            row = self.rows.get(entry.id or "")
            may_be = {entry.value} if entry.call == "update" else row.values | row.doubted if row else None
        if assistant.id != entry.id or (may_be is not None and assistant.description not in may_be):
            self.wrong.append(f"{entry.call} of {entry.id} shows {assistant.id}, {assistant.description}")

    def certain(self) -> set[str]:
        """The ids that a listing from now on has to show, unless a delete begins meanwhile."""
        with self._lock:
            return {id for id, row in self.rows.items() if row.is_certain}

    def saw_all(self, certain: set[str], listed: Sequence[Assistant]) -> None:
        """The reply of a list, with what was certain before it."""
        shown = {assistant.id for assistant in listed}
        with self._lock:
            missing = {id for id in certain - shown if id in self.rows and self.rows[id].is_certain}
        if missing:
            self.wrong.append(f"a listing lacks {sorted(missing)}")

    def imported(self, names: Sequence[str], result: BulkResult | None) -> list[str]:
        """A bulk run, None if it was cancelled; the ids that it made."""
        with self._lock:
            if result is None:
                self.counts["create_many cancelled"] += 1
                for name in names:
                    self._write(Entry(call="create", outcome="unknown", name=name))
                return []
            self.counts["create_many done"] += 1
            for name, one in zip(names, result.outcomes, strict=True):
                outcome: Outcome = "done" if one.status == "created" else one.status
                made = one.assistant.id if one.assistant and one.status == "created" else None
                entry = Entry(call="create", outcome=outcome, name=name, id=made)
                self._settle(entry, None)
                self._count(entry)
                self._write(entry)
            for more in result.surplus:
                self._write(Entry(call="surplus", id=more.id, name=more.name))
            return [one.assistant.id for one in result.created if one.assistant]

    def to_sweep(self, listed: Sequence[Assistant]) -> list[str]:
        """The ids in a listing that are of no use: left by calls of unknown fate. They are known from now on."""
        useless = []
        shown = {assistant.id for assistant in listed}
        with self._lock:
            for one in listed:
                row = self.rows.get(one.id)
                if self._busy[one.id] or self._busy[one.name or ""]:
                    continue
                if row is None and one.name in self._doubtful:
                    self.rows[one.id] = Row(one.name, is_certain=False)
                    self._write(Entry(call="found", id=one.id, name=one.name))
                    useless.append(one.id)
                elif row is not None and not row.is_certain:
                    useless.append(one.id)
            for id, row in list(self.rows.items()):
                if not row.is_certain and id not in shown and not self._busy[id]:
                    del self.rows[id]
            now = time.monotonic()
            self._doubtful = {
                name: since for name, since in self._doubtful.items() if now - since < FORGOTTEN_AFTER
            }
            self._busy = +self._busy  # without those that are zero
        return useless

    def _settle(self, entry: Entry, id: str | None) -> None:
        row = self.rows.get(id or "")
        match entry.call, entry.outcome:
            case (("create" | "duplicate"), "done"):
                assert entry.id is not None
                assert entry.name is not None
                copied = Row(entry.name) if row is None else Row(entry.name, row.values | row.doubted)
                self.rows[entry.id] = copied
            case (("create" | "duplicate"), "unknown"):
                assert entry.name is not None
                self._doubtful[entry.name] = time.monotonic()
            case "update", "done" if row is not None:
                row.values = {entry.value}
                if entry.attempts > 1:
                    row.doubted.add(entry.value)
            case "update", "unknown" if row is not None:
                row.doubted.add(entry.value)
            case "delete", "done":
                self.rows.pop(id or "", None)
            case "delete", "failed" if row is not None:
                row.is_certain = False

    def _count(self, entry: Entry) -> None:
        self.counts[f"{entry.call} {entry.outcome}"] += 1

    def _write(self, entry: Entry) -> None:
        if entry.call in ("list", "get"):
            return
        self._file.write(json.dumps(attrs.asdict(entry)) + "\n")


def read(path: Path) -> list[Entry]:
    """What one side wrote."""
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines()]
