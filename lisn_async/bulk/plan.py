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
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

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


_Kind: TypeAlias = tuple[Content, object]
"""Items that are interchangeable: equal content, equal secret."""


PACK = 512
"""How many are packed at one time."""


class Made:
    """What the run knows it made, compactly: an id and twelve bytes for each.

    Of a pack, one text of ids, and in the same order a digest and the number of the set of fields that it is a digest
    of. Nothing grows in place: what is moved about in memory leaves holes of its size.
    """

    def __init__(self) -> None:
        self._loose: list[tuple[str, Content]] = []
        self._packs: list[tuple[bytes, array[int], array[int]]] = []
        self._fields: dict[tuple[str, ...], int] = {}

    def add(self, assistant_id: str, content: Content) -> None:
        """Remember one."""
        self._loose.append((assistant_id, content))
        if len(self._loose) == PACK:
            self._pack()

    def _pack(self) -> None:
        ids = "\n".join([assistant_id for assistant_id, _ in self._loose]).encode()
        digests = array("q", [content.digest for _, content in self._loose])
        kinds = [self._fields.setdefault(content.fields, len(self._fields)) for _, content in self._loose]
        self._packs.append((ids, digests, array("I", kinds)))
        self._loose = []

    def __len__(self) -> int:
        return PACK * len(self._packs) + len(self._loose)

    def items(self) -> Iterator[tuple[str, Content]]:
        """Every id with what it was made of."""
        fields = list(self._fields)
        for ids, digests, kinds in self._packs:
            for assistant_id, digest, kind in zip(ids.decode().split("\n"), digests, kinds, strict=True):
                yield assistant_id, Content(fields[kind], digest)
        yield from self._loose


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
            keeps = row_content(row, content.fields) == content
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
    kinds: defaultdict[_Kind, list[Pending]] = defaultdict(list)
    for item in pending:
        kinds[item.content, item.secret].append(item)
    fits = _fits(rows, list(kinds))
    fitting: defaultdict[_Kind, list[Assistant]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: len(fits[row.id])):  # others may need those that fit several
        for kind in fits[row.id]:
            fitting[kind].append(row)

    owners: dict[str, Pending] = {}
    unmatched: list[Pending] = []
    # Items that send more fields are matched first: a row that fits them fits the vaguer ones as well.
    for kind, items in sorted(kinds.items(), key=lambda one: -len(one[0][0].fields)):
        free = [row for row in fitting[kind] if row.id not in owners]
        owners.update({row.id: item for item, row in zip(items, free, strict=False)})
        unmatched += items[len(free) :]

    open_kinds = {(item.content, item.secret) for item in unmatched}
    contested = [
        row for row in rows if row.id in owners and _is_contested(owners[row.id], fits[row.id], open_kinds)
    ]
    unmatched += [owners.pop(row.id) for row in contested]
    claims = sorted(((owners[row.id], row) for row in rows if row.id in owners), key=lambda one: one[0].index)
    return claims, sorted(unmatched, key=lambda item: item.index), contested


def _fits(rows: Sequence[Assistant], kinds: Sequence[_Kind]) -> dict[str, list[_Kind]]:
    """For each row the kinds of items that it may be. Where the service shows secrets, they have to be equal."""
    secrets: defaultdict[Content, list[object]] = defaultdict(list)
    for content, secret in kinds:
        secrets[content].append(secret)
    fields = list(dict.fromkeys(content.fields for content in secrets))
    known = {secret for _, secret in kinds if secret is not None}
    are_shown = any(row.webhook_secret in known for row in rows) if known else False
    return {
        row.id: [
            (content, secret)
            for content in (row_content(row, some) for some in fields)
            for secret in secrets.get(content, ())
            if not are_shown or row.webhook_secret == secret
        ]
        for row in rows
    }


def _is_contested(owner: Pending, fits: Sequence[_Kind], open_kinds: AbstractSet[_Kind]) -> bool:
    """Whether a row that was given to `owner` may be another item, and would be something else then."""
    return any(
        secret != owner.secret
        or ((content, secret) in open_kinds and not set(owner.content.fields).issuperset(content.fields))
        for content, secret in fits
    )
