"""JSON Lines: one object a line. A line ends at LF and nowhere else."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from lisn_async.cli.files.row import FileError, Record, Row, describe_type, shorten
from lisn_async.cli.files.text import lines_of

DEEPEST = 64  # levels below a record, which only columns that are ignored can have


def read_jsonl(stream: BinaryIO, label: str) -> Iterator[Row]:
    """The objects of a JSON Lines file, one at a time; blank lines are passed over."""
    line = 0
    for line, text in enumerate(lines_of(stream, label), start=1):
        if text.strip(" \t\r\n"):
            yield _row(text, f"{label}:{line}", line)
    if not line:
        raise FileError(f"{label}: the file is empty")


def _row(text: str, where: str, line: int) -> Row:
    try:
        return object_row(decoder.decode(text), where, line)
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        problem = f"not JSON we read: {error}"
    return Row(where=where, line=line, problems=(problem,))


def object_row(value: object, where: str, line: int) -> Row:
    """A row of what stands in the file where an object belongs."""
    if isinstance(value, dict):
        if _is_too_deep(value):
            return Row(where=where, line=line, problems=(f"nested deeper than {DEEPEST} levels",))
        return Row(where=where, line=line, values=value)
    return Row(where=where, line=line, problems=(f"expected an object {{…}}, found {describe_type(value)}",))


def _is_too_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [item for item in value.values() if isinstance(item, dict | list)]
    for _ in range(DEEPEST):
        below = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in below for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return bool(level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shorten(twice)} stands twice in one object")
    return found


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{shorten(digits, 20)} is too large a number")
    return number


# Not strict about control characters inside strings: a raw tab or U+001F is text, as in a CSV cell.
decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_number, strict=False
)


def encode(record: Record, indent: int | None = None) -> bytes:
    """JSON as UTF-8; only a record with half a surrogate pair, which UTF-8 cannot hold, is escaped."""
    text = json.dumps(record, ensure_ascii=False, indent=indent, allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(record, indent=indent, allow_nan=False).encode("ascii")


def write_jsonl(records: Iterable[Record], stream: BinaryIO) -> None:
    """One object a line, with LF at the end of each."""
    stream.writelines(encode(record) + b"\n" for record in records)
