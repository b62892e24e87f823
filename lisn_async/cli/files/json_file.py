"""JSON: one array of objects."""

import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from lisn_async.cli.files.jsonl_file import decoder, encode, object_row
from lisn_async.cli.files.row import FileError, Record, Row
from lisn_async.cli.files.text import text_of

WHITE_SPACE = " \t\r\n"


def read_json(stream: BinaryIO, label: str) -> Iterator[Row]:
    """The objects of the array, each with the line on which it begins."""
    text = text_of(stream, label)
    if not text.strip(WHITE_SPACE):
        raise FileError(f"{label}: the file is empty")
    cursor = _Cursor(text)
    try:
        for value, line in _items(cursor):
            yield object_row(value, f"{label}:{line}", line)
    except json.JSONDecodeError as error:
        raise FileError(f"{label}:{error.lineno}: not JSON: {error.msg}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{label}:{cursor.line}: not JSON we read: {error}") from None


class _Cursor:
    """A place in a text, and the line it is on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1

    def move(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def skip_white_space(self) -> str:
        """The next character that is none, or an empty text at the end."""
        at = self.at
        while self.text[at : at + 1] and self.text[at] in WHITE_SPACE:
            at += 1
        self.move(at)
        return self.text[at : at + 1]

    def take(self, wanted: str, message: str) -> str:
        """Steps over the next character, which is one of those wanted."""
        found = self.skip_white_space()
        if not found or found not in wanted:
            raise json.JSONDecodeError(message, self.text, self.at)
        self.move(self.at + 1)
        return found


def _items(cursor: _Cursor) -> Iterator[tuple[object, int]]:
    # The array is walked by hand because json.loads gives no lines for its items.
    cursor.take("[", "expected an array of objects, [{…}, …] (one object a line? then `--format jsonl`)")
    if cursor.skip_white_space() == "]":
        cursor.move(cursor.at + 1)
    else:
        after = ","
        while after == ",":
            cursor.skip_white_space()
            value, end = decoder.raw_decode(cursor.text, cursor.at)
            yield value, cursor.line
            cursor.move(end)
            after = cursor.take(",]", "expected , or ]")
    if cursor.skip_white_space():
        raise json.JSONDecodeError("text after the end of the array", cursor.text, cursor.at)


def write_json(records: Iterable[Record], stream: BinaryIO) -> None:
    """An array, indented for people."""
    before = b"[\n"
    for record in records:
        stream.write(before + b"  " + encode(record, indent=2).replace(b"\n", b"\n  "))
        before = b",\n"
    stream.write(b"[]\n" if before == b"[\n" else b"\n]\n")
