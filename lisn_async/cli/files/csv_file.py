"""CSV as RFC 4180 has it: a header, quoted cells that may hold anything, CRLF between records."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from lisn_async.cli.files.row import FileError, Record, Row, shorten
from lisn_async.cli.files.text import lines_of

# One cell of a prompt can be longer than csv's default of 128 KiB. 2 GiB fits a C long everywhere.
LONGEST_CELL = 2**31 - 1


def read_csv(stream: BinaryIO, label: str) -> Iterator[Row]:
    """The records of a CSV file, one at a time; an empty cell says nothing about its field."""
    csv.field_size_limit(LONGEST_CELL)
    lines = _CountedLines(lines_of(stream, label))
    records = _records(lines, label)
    try:
        _, header = next(records)
    except StopIteration:
        raise FileError(
            f"{label}: the file is empty: a CSV file begins with a line of column names"
        ) from None
    _check_header(header, label)
    for line, cells in records:
        where = f"{label}:{line}"
        if len(cells) != len(header):
            problem = _ragged(cells, header)
            yield Row(where=where, line=line, problems=(problem,))
        else:
            values = {name: cell or None for name, cell in zip(header, cells, strict=True) if name or cell}
            yield Row(where=where, line=line, values=values)


class _CountedLines:
    """Lines for csv.reader, which wants a lone CR at the end of a line, while a line of ours ends at LF."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.count = 0
        self._lines = lines

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.count += 1
            if "\r" in line.removesuffix("\n").removesuffix("\r"):
                yield from re.split(r"(?<=\r)(?!\n|\Z)", line)
            else:
                yield line


def _records(lines: _CountedLines, label: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is no blank line, with the line on which it begins."""
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = lines.count + 1
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise FileError(
                f'{label}:{line}: the record that begins here has an opening quote " without its closing one'
            ) from None
        raise FileError(
            f"{label}:{lines.count}: not CSV: {error} (in the record that begins on line {line}). "
            'A cell that holds " or a comma must be quoted, and " inside it doubled'
        ) from None


def _check_header(header: Sequence[str], label: str) -> None:
    named = [name for name in header if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        names = ", ".join(shorten(name) for name in twice)
        raise FileError(f"{label}:1: the header names a column twice: {names}. Rename one of them")
    if len(header) == 1 and (found := re.search(r"[;\t]", header[0])):
        raise FileError(
            f"{label}:1: the columns seem to be separated by {found.group()!r}: save the file with commas"
        )
    if not named:
        raise FileError(f"{label}:1: the header names no column")


def _ragged(cells: Sequence[str], header: Sequence[str]) -> str:
    count = f"{len(cells)} cell{'s' if len(cells) != 1 else ''}, but the header has {len(header)} columns"
    if len(cells) < len(header):
        return f"{count}: no cell for {', '.join(shorten(name) for name in header[len(cells) :])}"
    # What stands in a cell too many is not shown: whatever was last in the line, a secret say, has slipped into it.
    return f"{count}. A comma outside quotes?"


def write_csv(records: Iterable[Record], stream: BinaryIO, fields: Sequence[str]) -> None:
    """All fields as columns in a fixed order; what a record lacks is an empty cell.

    A cell that begins with = or @ is left as it is: this file is made to be read back, byte for byte.
    """
    # Not closed but detached: the stream belongs to the caller. newline="" leaves every CR and LF alone.
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        writer = csv.writer(text)
        writer.writerow(fields)
        for record in records:
            writer.writerow([record.get(name, "") for name in fields])
    finally:
        text.detach()
