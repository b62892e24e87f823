"""From the columns of a file to the fields of an assistant. Values in, values out.

Where a field has several sources: --set wins over --map, and --map over the column of the field's own name.
"""

import re
from collections.abc import Mapping, Sequence

import attrs

from lisn_async.cli._fields import FIELDS, NUMBER
from lisn_async.cli._stop import UsageError
from lisn_async.cli.files.row import describe_type, shorten

Value = str | float

# float() also reads " 1 ", "1_0", "nan" and digits of other scripts.
DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@attrs.frozen(kw_only=True)
class Columns:
    """Which column becomes which field, and which fields are the same in every row."""

    mapped: Mapping[str, str]
    constants: Mapping[str, Value]

    def field_of(self, column: str) -> str | None:
        """The field that a column is about, or None if it is ignored."""
        if column in self.mapped:
            return self.mapped[column]
        return column if column in FIELDS and column not in self.mapped.values() else None


@attrs.frozen(kw_only=True)
class Item:
    """One row as fields: ready to be an assistant, unless there are problems."""

    values: Mapping[str, Value]
    problems: Mapping[str, str]


def parse_columns(maps: Sequence[str], sets: Sequence[str]) -> Columns:
    """The plan that `--map` and `--set` describe."""
    mapped: dict[str, str] = {}
    for text in maps:
        column, equals, field = text.rpartition("=")  # a column may have a = in its name, a field has none
        if not equals or not column:
            raise UsageError(f"--map {shorten(text)}: write it as COLUMN=FIELD, such as --map title=name")
        _check_field("--map", text, field)
        if column in mapped:
            raise UsageError(f"--map {shorten(text)}: the column {shorten(column)} is mapped already")
        if field in mapped.values():
            raise UsageError(f"--map {shorten(text)}: another column is mapped to {field} already")
        mapped[column] = field
    constants: dict[str, Value] = {}
    for text in sets:
        field, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {shorten(text)}: write it as FIELD=VALUE, such as --set type=text")
        _check_field("--set", field, field)
        if field in constants:
            raise UsageError(f"--set {field}: the field is set already")
        constants[field] = _constant(field, value)
    return Columns(mapped=mapped, constants=constants)


def _check_field(option: str, text: str, field: str) -> None:
    if field not in FIELDS:
        raise UsageError(
            f"{option} {shorten(text)}: there is no field {shorten(field)}; there are {', '.join(FIELDS)}"
        )


def _constant(field: str, value: str) -> Value:
    converted = convert(field, value)
    if isinstance(converted, Problem):
        raise UsageError(f"--set {field}: {converted.text}")
    return converted


def item_of(row: Mapping[str, object], columns: Columns) -> Item:
    """The fields that the values of a row and the constants give."""
    values: dict[str, Value] = {}
    problems: dict[str, str] = {}
    for column, value in row.items():
        field = columns.field_of(column)
        if field is None or value is None or field in columns.constants:
            continue
        converted = convert(field, value)
        if isinstance(converted, Problem):
            origin = "" if column == field else f" (column {shorten(column)})"
            problems[field] = converted.text + origin
        else:
            values[field] = converted
    return Item(values={**values, **columns.constants}, problems=problems)


@attrs.frozen
class Problem:
    """Why a value cannot be what the field needs."""

    text: str


def convert(field: str, value: object) -> Value | Problem:
    """The value as its field needs it: a number for the temperature, for the others text, just as it stands."""
    if field == NUMBER:
        return _number(value)
    if isinstance(value, str):
        return value
    return Problem(f"must be text, not {describe_type(value)}")


def _number(value: object) -> float | Problem:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return Problem(f"must be a number, not {describe_type(value)}")
    if DECIMAL.fullmatch(value):
        return float(value)
    hint = " (the decimal sign is a point)" if DECIMAL.fullmatch(value.replace(",", ".")) else ""
    return Problem(f"must be a number such as 0.7, not {shorten(value)}{hint}")
