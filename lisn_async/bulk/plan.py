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

Items of equal content are interchangeable: they are matched as a multiset. Two kinds of items are not, though
one row may fit both: those that send different fields, neither more than the other, and those that differ in
nothing but the webhook secret. A row that such items contend for is nobody's, and a doubt. Under markers every item has a
content of its own, and what shows whether the service keeps it is the reply to each create (`Echo`).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

import attrs

from ..models import Assistant
from .content import Content, row_content
from .likeness import Likeness, Likenesses, likeness_of_row


@attrs.frozen(kw_only=True)
class Pending:
    """An ambiguous item; `likeness` is what a row of it resembles even where the service rewrites it.

    `secret` is its webhook secret: no part of its content, for a service need not show it.
    """

    index: int
    content: Content
    likeness: Likeness
    secret: object = attrs.field(default=None, repr=False)


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
    open item, `contested` those that open items contend for.
    """

    claims: Sequence[tuple[Pending, Assistant]]
    open: Sequence[Pending]
    missing: Sequence[str]
    kept: int
    changed: int
    strangers: Sequence[Assistant]
    lookalikes: Sequence[Assistant]
    contested: Sequence[Assistant]

    def reason_for_doubt(self) -> str | None:
        """Why an item without a row may exist all the same; None if it certainly does not."""
        if self.missing:
            return f"the listing lacks {len(self.missing)} assistants that this run made"
        if self.changed:
            return "the service shows other content than it was sent"
        if self.contested:
            return f"it cannot be told whose of them a new assistant is, such as {self.contested[0].id}"
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
    may_be_ours: Callable[[Assistant], bool] = lambda row: True,
) -> Findings:
    """What a listing says.

    `before` are the ids there were at first, `gone` ours that somebody deleted. With `echo`, the replies
    told whether the service keeps what it was sent: a renamed row cannot. Only what `may_be_ours` is claimed;
    the like of what is not is a doubt.
    """
    by_id = {row.id: row for row in rows}  # a listing in pages may show a row twice
    contents = dict(made.items())
    kept = changed = 0
    for assistant_id, content in contents.items():
        if (row := by_id.get(assistant_id)) is not None:
            keeps = may_be_ours(row) and row_content(row, content.fields) == content
            kept, changed = kept + keeps, changed + (not keeps)
    new = [row for row in by_id.values() if row.id not in before and row.id not in contents]
    claims, unmatched, contested = _match([row for row in new if may_be_ours(row)], pending)
    claimed = {row.id for _, row in claims}
    strangers = [row for row in new if row.id not in claimed]
    ours = _Contents(contents.values())
    suspects = [row for row in strangers if not (may_be_ours(row) and ours.has(row))]
    wanted = [item.likeness for item in unmatched] if echo is None else []
    return Findings(
        claims=claims,
        open=unmatched,
        missing=missing(rows, made, gone),
        kept=kept if echo is None else echo.kept + len(claims),
        changed=changed if echo is None else echo.changed,
        strangers=strangers,
        lookalikes=resembling(suspects, wanted),
        contested=contested,
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
    by_id = {row.id: row for row in rows}
    new = [row for row in by_id.values() if row.id not in before and row.id not in ours]
    equal = {row.id for row in new if contents.has(row)}
    similar = {row.id for row in resembling([row for row in new if row.id not in equal], sent_again)}
    return [row for row in new if row.id in equal or row.id in similar]


def resembling(rows: Sequence[Assistant], likenesses: Iterable[Likeness]) -> list[Assistant]:
    """The rows that resemble one of them."""
    wanted = Likenesses(likenesses)
    return [row for row in rows if wanted.has_like(likeness_of_row(row))]


class _Contents:
    """A set of contents that rows can be looked up in, whatever fields each of them has."""

    def __init__(self, contents: Iterable[Content]) -> None:
        self._contents = set(contents)
        self._kinds = {content.fields for content in self._contents}

    def has(self, row: Assistant) -> bool:
        return any(row_content(row, fields) in self._contents for fields in self._kinds)


def _match(
    rows: Sequence[Assistant], pending: Sequence[Pending]
) -> tuple[list[tuple[Pending, Assistant]], list[Pending], list[Assistant]]:
    """Claims, items without a row, and rows that cannot be told whose they are."""
    groups: defaultdict[Content, list[Pending]] = defaultdict(list)
    for item in pending:
        groups[item.content].append(item)
    kinds = dict.fromkeys(content.fields for content in groups)
    fits = {
        row.id: [one for one in (row_content(row, kind) for kind in kinds) if one in groups] for row in rows
    }
    # Rows that fit one content only go first: others may need the rest.
    fitting: defaultdict[Content, list[Assistant]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: len(fits[row.id])):
        for content in fits[row.id]:
            fitting[content].append(row)

    owners: dict[str, Pending] = {}
    unmatched: list[Pending] = []
    contested: dict[str, Assistant] = {}
    # Items that send more fields are matched first: a row that fits them fits the vaguer ones as well.
    for content, items in sorted(groups.items(), key=lambda group: -len(group[0].fields)):
        free = [row for row in fitting[content] if row.id not in owners]
        taken, left, unsure = _share(items, free)
        owners.update({row.id: item for item, row in taken})
        unmatched += left
        contested.update({row.id: row for row in unsure})
    for content in {item.content for item in unmatched}:
        for row in fitting[content]:
            owner = owners.get(row.id)
            if owner is not None and not set(owner.content.fields).issuperset(content.fields):
                contested[row.id] = row
    unmatched += [owners.pop(found) for found in contested if found in owners]
    claims = [(owners[row.id], row) for row in rows if row.id in owners]
    claims.sort(key=lambda claim: claim[0].index)
    return claims, sorted(unmatched, key=lambda item: item.index), list(contested.values())


def _share(
    items: Sequence[Pending], rows: Sequence[Assistant]
) -> tuple[list[tuple[Pending, Assistant]], list[Pending], list[Assistant]]:
    """Claims among items of equal content, items without a row, and rows that cannot be told whose they are."""
    if len({item.secret for item in items}) == 1:
        return list(zip(items, rows, strict=False)), list(items[len(rows) :]), []
    claims, left, free = [], [], list(rows)
    for item in items:
        row = next(
            (row for row in free if item.secret is not None and row.webhook_secret == item.secret), None
        )
        if row is None:
            left.append(item)
        else:
            free.remove(row)
            claims.append((item, row))
    return claims, left, free if left else []
