"""The judge: what a job of creates did, told from what was sent and from what is there.

An independent witness: it knows nothing of who ran the job, and nothing of how. It compares multisets, because
assistants of equal content cannot be told apart: ten of them for ten items are right, whichever is whose.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from lisn_async.sandbox._rules import SERVER_OWNED

_Group: TypeAlias = int
"""The number of all items that sent the same: the same fields with the same values."""

_OUTCOMES = ("created", "failed", "unknown")
_ABSENT = ("absent",)  # no value is compared as this


@attrs.frozen(kw_only=True)
class Verdict:
    """What a job did to the assistants, in numbers."""

    items: int
    created: int
    """Items that were said to be created; so are `failed` and `unknown`."""
    failed: int
    unknown: int
    lost: int
    """Items said to be created under an id that does not exist, and items of which nothing was said."""
    duplicated: int
    """Assistants with the content of an item that no item accounts for."""
    reported: int
    """Those of the duplicated that the client itself reported as surplus."""
    unexplained: int
    """Assistants that nobody asked for."""
    wrong_id: int
    """Items said to be created under the id of something else, or of another item."""

    @property
    def is_clean(self) -> bool:
        """True if nothing was lost, and nothing is there twice or uncalled-for without the client saying so."""
        return not (self.lost or self.duplicated - self.reported or self.unexplained or self.wrong_id)


class _Groups:
    """Which items are of equal content, and which groups of items a row fits."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], dict[tuple[Hashable, ...], _Group]] = {}
        self._count = 0

    def of_item(self, fields: Mapping[str, Any]) -> _Group:
        """The group of an item that sent these fields."""
        names = tuple(sorted(name for name in fields if name not in SERVER_OWNED))
        numbers = self._numbers.setdefault(names, {})
        values = tuple(_comparable(fields[name]) for name in names)
        if values not in numbers:
            numbers[values] = self._count
            self._count += 1
        return numbers[values]

    def fitting(self, content: Mapping[str, Any]) -> tuple[_Group, ...]:
        """The groups a row of this content could belong to: at most one for each set of fields that items sent."""
        values = {name: _comparable(value) for name, value in content.items()}
        found = (
            numbers.get(tuple(values.get(name, _ABSENT) for name in names))
            for names, numbers in self._numbers.items()
        )
        return tuple(number for number in found if number is not None)


@attrs.frozen
class _Item:
    group: _Group
    outcome: object
    id: str


def judged(
    contents: Iterable[tuple[str, Mapping[str, Any]]],
    items: Iterable[Mapping[str, Any]],
    *,
    before: Iterable[str] = (),
    surplus: Iterable[str] = (),
) -> Verdict:
    """The verdict on `items`, given the id and the content of every assistant there is."""
    old, reported = _ids("before", before), _ids("surplus", surplus)
    groups = _Groups()
    sent = [_item(place, item, groups) for place, item in enumerate(items)]
    rows = {found: groups.fitting(content) for found, content in contents if found not in old}

    outcomes = Counter(item.outcome if item.outcome in _OUTCOMES else "none" for item in sent)
    named = [item for item in sent if item.outcome == "created" and (item.id in rows or item.id in old)]
    right = {item.id for item in named if item.group in rows.get(item.id, ())}

    claimed = {item.id for item in named}
    # Those that the client reported come last: an unknown item accounts for one of which nobody spoke.
    left = sorted((found for found in rows if found not in claimed), key=lambda found: found in reported)
    unaccounted = _unaccounted(
        [(found, rows[found]) for found in left],
        Counter(item.group for item in sent if item.outcome == "unknown"),
    )
    duplicated = [found for found in unaccounted if rows[found]]
    return Verdict(
        items=len(sent),
        created=outcomes["created"],
        failed=outcomes["failed"],
        unknown=outcomes["unknown"],
        lost=outcomes["created"] - len(named) + outcomes["none"],
        duplicated=len(duplicated),
        reported=sum(found in reported for found in duplicated),
        unexplained=len(unaccounted) - len(duplicated),
        wrong_id=len(named) - len(right),
    )


def _unaccounted(rows: Sequence[tuple[str, tuple[_Group, ...]]], free: Counter[_Group]) -> list[str]:
    """The ids of rows for which no unknown item is left, each item accounting for one.

    An item that sent few fields fits rows of several contents, so first come, first served could waste the one item
    that another row needs. This is the usual search for a largest matching, on groups instead of single rows.
    """
    held: defaultdict[_Group, Counter[tuple[_Group, ...]]] = defaultdict(Counter)

    def find_room(groups: tuple[_Group, ...], tried: set[_Group]) -> bool:
        for group in groups:
            if group in tried:
                continue
            tried.add(group)
            if free[group]:
                free[group] -= 1
                held[group][groups] += 1
                return True
            for other in [other for other, count in held[group].items() if count]:
                if find_room(other, tried):
                    held[group][other] -= 1
                    held[group][groups] += 1
                    return True
        return False

    return [found for found, groups in rows if not find_room(groups, set())]


def _item(place: int, item: object, groups: _Groups) -> _Item:
    fields = item.get("fields") if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or not isinstance(fields, Mapping):
        # ValueError for a wrong type too: items come over HTTP as well.
        raise ValueError(f"Item {place} is not {{'fields': {{...}}, 'outcome': ..., 'id': ...}}.")  # noqa: TRY004
    named = item.get("id")
    return _Item(
        group=groups.of_item(fields),
        outcome=item.get("outcome"),
        id=named if isinstance(named, str) else "",
    )


def _ids(what: str, ids: Iterable[str]) -> set[str]:
    found = [ids] if isinstance(ids, str) else list(ids)
    if isinstance(ids, str) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{what} must be a list of ids.")
    return set(found)


def _comparable(value: Any) -> Hashable:
    """Equal for equal JSON: 1 is 1.0, True is not 1."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return ("list", *map(_comparable, value))
    if isinstance(value, Mapping):
        return ("object", frozenset((name, _comparable(inner)) for name, inner in value.items()))
    raise ValueError(f"A field holds {type(value).__name__}, which JSON does not have.")
