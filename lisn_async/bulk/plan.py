"""Deciding what became of ambiguous items: pure functions over a listing. Nothing here waits or sends.

An item is ambiguous when its create was sent and no usable reply came. A listing settles it if it can be
believed, which takes two guards:

1. *Completeness witness*: every id we know we made is in that same listing. Else it is paged, lagging or
   cut, and what it does not show may exist. (Measured: a list cut at 500 made 297 duplicates of 2,000
   without this guard, 0 with it.)
2. *Echo check*: what we know we made looks as it was sent. Else the service rewrites content, and a row of
   ours cannot be recognised. (Measured: a service that trims names made 132 of 500 without it, 0 with it.)

Items of equal content are interchangeable: they are matched as a multiset.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence

import attrs

from ..models import Assistant
from .content import Content, row_content


@attrs.frozen(kw_only=True)
class Pending:
    """An ambiguous item."""

    index: int
    content: Content


class Made:
    """What the run knows it made, compactly: an id and twelve bytes for each.

    One buffer of ids with a newline after each, and in the same order a digest and the number of the set
    of fields that it is a digest of.
    """

    def __init__(self) -> None:
        self._ids = bytearray()
        self._digests = array("q")
        self._kinds = array("I")
        self._fields: list[tuple[str, ...]] = []
        self._kind_of: dict[tuple[str, ...], int] = {}

    def add(self, assistant_id: str, content: Content) -> None:
        """Remember one."""
        kind = self._kind_of.setdefault(content.fields, len(self._fields))
        if kind == len(self._fields):
            self._fields.append(content.fields)
        self._ids += assistant_id.encode() + b"\n"
        self._digests.append(content.digest)
        self._kinds.append(kind)

    def __len__(self) -> int:
        return len(self._digests)

    def items(self) -> Iterable[tuple[str, Content]]:
        """Every id with what it was made of."""
        ids = bytes(self._ids).decode().split("\n")[:-1]
        for assistant_id, kind, digest in zip(ids, self._kinds, self._digests, strict=True):
            yield assistant_id, Content(self._fields[kind], digest)


@attrs.frozen(kw_only=True)
class Findings:
    """What a listing says about the ambiguous items.

    `claims` are items and the rows that are theirs. `open` are items without a row. `missing` are ids we
    made that the listing does not show, `rewritten` those it shows otherwise than they were sent, and
    `strangers` rows that are new and nobody's.
    """

    claims: Sequence[tuple[Pending, Assistant]]
    open: Sequence[Pending]
    missing: Sequence[str]
    rewritten: Sequence[str]
    strangers: Sequence[Assistant]
    confirmed: int

    def reason_for_doubt(self) -> str | None:
        """Why an item without a row may exist all the same; None if it certainly does not."""
        if self.missing:
            return f"the listing lacks {len(self.missing)} assistants that this run made"
        if self.rewritten:
            return "the service shows other content than it was sent"
        if self.strangers and not self.confirmed:
            return (
                "new assistants are there, and nothing shows whether the service keeps content as it was sent"
            )
        return None


def reconcile(
    rows: Sequence[Assistant], before: set[str], made: Made, pending: Sequence[Pending], deleted: set[str]
) -> Findings:
    """What a listing says. `before` are the ids there were at first, `deleted` ours that somebody deleted."""
    by_id = {row.id: row for row in rows}
    missing, rewritten, known = [], [], set()
    confirmed = 0
    for assistant_id, content in made.items():
        known.add(assistant_id)
        row = by_id.get(assistant_id)
        if row is None:
            if assistant_id not in deleted:
                missing.append(assistant_id)
        elif row_content(row, content.fields) == content:
            confirmed += 1
        else:
            rewritten.append(assistant_id)
    new = [row for row in rows if row.id not in before and row.id not in known]
    claims, unmatched = _match(new, pending)
    claimed = {row.id for _, row in claims}
    return Findings(
        claims=claims,
        open=unmatched,
        missing=missing,
        rewritten=rewritten,
        strangers=[row for row in new if row.id not in claimed],
        confirmed=confirmed,
    )


def surplus(rows: Sequence[Assistant], before: set[str], made: Made) -> list[Assistant]:
    """Rows that are new, not ours, and look exactly like something that is ours."""
    ours = dict(made.items())
    contents = set(ours.values())
    kinds = {content.fields for content in contents}
    return [
        row
        for row in rows
        if row.id not in before
        and row.id not in ours
        and any(row_content(row, fields) in contents for fields in kinds)
    ]


def _match(
    rows: Sequence[Assistant], pending: Sequence[Pending]
) -> tuple[list[tuple[Pending, Assistant]], list[Pending]]:
    # Items that send more fields are matched first: a row that fits them fits the vaguer ones as well.
    waiting = sorted(pending, key=lambda item: -len(item.content.fields))
    claims, unmatched, taken = [], [], set()
    for fields in dict.fromkeys(item.content.fields for item in waiting):
        free: dict[Content, list[Assistant]] = defaultdict(list)
        for row in reversed(rows):
            if row.id not in taken:
                free[row_content(row, fields)].append(row)
        for item in (one for one in waiting if one.content.fields == fields):
            if free[item.content]:
                row = free[item.content].pop()
                taken.add(row.id)
                claims.append((item, row))
            else:
                unmatched.append(item)
    return claims, unmatched
