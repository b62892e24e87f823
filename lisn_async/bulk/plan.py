"""Deciding what became of ambiguous items: pure functions over a listing. Nothing here waits or sends.

An item is ambiguous when its create was sent and no usable reply came. A listing settles it if it can be
believed, which takes two guards:

1. *Completeness witness*: every id we know we made is in that same listing. Else it is paged, lagging or
   cut, and what it does not show may exist. (Measured: a list cut at 500 made 297 duplicates of 2,000
   without this guard, 0 with it.)
2. *Echo check*: what we know we made looks as it was sent. Else the service rewrites content, and a row of
   ours cannot be recognised. (Measured: a service that trims names made 132 of 500 without it, 0 with it.)
   A service may rewrite some items only: a new row that is nobody's, but resembles an item that seems not to
   exist, is a doubt as well.

Items of equal content are interchangeable: they are matched as a multiset. Under markers every item has a
content of its own, and what shows whether the service keeps it is the reply to each create (`Echo`).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import attrs

from ..models import Assistant
from .content import Content, row_content
from .likeness import Likeness, likeness_of_row


@attrs.frozen(kw_only=True)
class Pending:
    """An ambiguous item; `likeness` is what a row of it resembles even where the service rewrites it."""

    index: int
    content: Content
    likeness: Likeness


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


@attrs.define
class Echo:
    """How often replies to creates showed what was sent, and how often something else."""

    kept: int = 0
    changed: int = 0

    def note(self, row: Assistant, content: Content) -> None:
        """Take the reply to a create into account. One without a name says nothing."""
        if row.name is None:
            return
        if row_content(row, content.fields) == content:
            self.kept += 1
        else:
            self.changed += 1


@attrs.frozen(kw_only=True)
class Findings:
    """What a listing says about the ambiguous items.

    `claims` are items and the rows that are theirs. `open` are items without a row. `missing` are ids we
    made that the listing does not show. `kept` and `changed` count those it shows as they were sent, and
    otherwise. `strangers` are rows that are new and nobody's, `lookalikes` those of them that resemble an
    open item.
    """

    claims: Sequence[tuple[Pending, Assistant]]
    open: Sequence[Pending]
    missing: Sequence[str]
    kept: int
    changed: int
    strangers: Sequence[Assistant]
    lookalikes: Sequence[Assistant]

    def reason_for_doubt(self) -> str | None:
        """Why an item without a row may exist all the same; None if it certainly does not."""
        if self.missing:
            return f"the listing lacks {len(self.missing)} assistants that this run made"
        if self.changed:
            return "the service shows other content than it was sent"
        if self.strangers and not self.kept:
            return (
                "new assistants are there, and nothing shows whether the service keeps content as it was sent"
            )
        if self.lookalikes:
            return f"new assistants resemble it without being equal, such as {self.lookalikes[0].id}"
        return None


def reconcile(
    rows: Sequence[Assistant],
    before: AbstractSet[str],
    made: Made,
    pending: Sequence[Pending],
    gone: AbstractSet[str],
    echo: Echo | None = None,
) -> Findings:
    """What a listing says.

    `before` are the ids there were at first, `gone` ours that somebody deleted. With `echo`, the replies
    told whether the service keeps what it was sent: a renamed row cannot.
    """
    by_id = {row.id: row for row in rows}
    contents = dict(made.items())
    kept = changed = 0
    for assistant_id, content in contents.items():
        if (row := by_id.get(assistant_id)) is not None:
            keeps = row_content(row, content.fields) == content
            kept, changed = kept + keeps, changed + (not keeps)
    new = [row for row in rows if row.id not in before and row.id not in contents]
    claims, unmatched = _match(new, pending)
    claimed = {row.id for _, row in claims}
    strangers = [row for row in new if row.id not in claimed]
    ours = _Contents(contents.values())
    suspects = [row for row in strangers if not ours.has(row)] if unmatched and echo is None else []
    return Findings(
        claims=claims,
        open=unmatched,
        missing=missing(rows, made, gone),
        kept=kept if echo is None else echo.kept + len(claims),
        changed=changed if echo is None else echo.changed,
        strangers=strangers,
        lookalikes=resembling(suspects, [item.likeness for item in unmatched]),
    )


def missing(rows: Sequence[Assistant], made: Made, gone: AbstractSet[str]) -> list[str]:
    """The ids we know we made that a listing does not show and that nobody deleted."""
    there = {row.id for row in rows}
    return [one for one, _ in made.items() if one not in there and one not in gone]


def surplus(
    rows: Sequence[Assistant], before: AbstractSet[str], made: Made, sent_again: Iterable[Likeness]
) -> list[Assistant]:
    """Rows that are new, not ours, and look exactly like something that is ours, or resemble what was sent again."""
    ours = dict(made.items())
    contents = _Contents(ours.values())
    new = [row for row in rows if row.id not in before and row.id not in ours]
    equal = {row.id for row in new if contents.has(row)}
    similar = {row.id for row in resembling([row for row in new if row.id not in equal], sent_again)}
    return [row for row in new if row.id in equal or row.id in similar]


def resembling(rows: Sequence[Assistant], likenesses: Iterable[Likeness]) -> list[Assistant]:
    """The rows that resemble one of them."""
    wanted = list(dict.fromkeys(likenesses))
    if not wanted:
        return []
    alike = ((row, likeness_of_row(row)) for row in rows)
    return [row for row, shown in alike if any(one.is_like(shown) for one in wanted)]


class _Contents:
    """A set of contents that rows can be looked up in, whatever fields each of them has."""

    def __init__(self, contents: Iterable[Content]) -> None:
        self._contents = set(contents)
        self._kinds = {content.fields for content in self._contents}

    def has(self, row: Assistant) -> bool:
        return any(row_content(row, fields) in self._contents for fields in self._kinds)


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
