"""Reading and checking all rows of a file before the first one is sent."""

from collections.abc import Iterable, Mapping

import attrs

from lisn_async.cli._columns import Columns, Item, Value, item_of
from lisn_async.cli._spool import Spool
from lisn_async.cli.files import FileError, Row
from lisn_async.cli.files.row import shorten

MOST_KEPT = 1000  # bad rows whose problems are kept; all are counted


@attrs.define
class Checked:
    """What was found: how many rows, how many of them bad and why, and which columns there are."""

    rows: int = 0
    bad: int = 0
    unreadable: int = 0
    problems: list[str] = attrs.field(factory=list)
    columns: dict[str, None] = attrs.field(factory=dict)  # a set in the order of the file

    @property
    def good(self) -> int:
        """How many rows can be assistants."""
        return self.rows - self.bad

    def note(self, where: str, problems: Iterable[str]) -> None:
        """Counts a bad row."""
        self.bad += 1
        if self.bad <= MOST_KEPT:
            self.problems += [f"{where}: {problem}" for problem in problems]


def check_rows(rows: Iterable[Row], columns: Columns, spool: Spool, file: str) -> Checked:
    """Reads all rows into the spool, and finds what is wrong with each."""
    checked = Checked()
    for row in rows:
        checked.rows += 1
        if row.problems:
            checked.unreadable += 1
            checked.note(row.where, row.problems)
            spool.add(row.where, None, is_good=False)
            continue
        checked.columns.update(dict.fromkeys(row.values))
        problems = _problems(item_of(row.values, columns))
        if problems:
            checked.note(row.where, [f"{field}: {reason}" for field, reason in problems.items()])
        spool.add(row.where, row.values, is_good=not problems)
    if checked.rows > checked.unreadable:
        _check_mapped(checked, columns, file)
    return checked


def _check_mapped(checked: Checked, columns: Columns, file: str) -> None:
    # A column that only some rows of a JSON file have is fine; one that none has is a slip in --map.
    missing = [name for name in columns.mapped if name not in checked.columns]
    if missing:
        there = ", ".join(shorten(name) for name in list(checked.columns)[:30]) or "none"
        names = ", ".join(shorten(name) for name in missing)
        raise FileError(f"{file}: there is no column {names} to --map; the columns are {there}")


def _problems(item: Item) -> Mapping[str, str]:
    return {**validate(item.values), **item.problems}


def validate(values: Mapping[str, Value]) -> Mapping[str, str]:
    """What is wrong with an assistant of these fields, by field."""
    from lisn_async.errors import ValidationError
    from lisn_async.models import AssistantCreate

    try:
        AssistantCreate(**values).validate()  # type: ignore[arg-type]  # being checked just now
    except ValidationError as error:
        return error.fields
    return {}
