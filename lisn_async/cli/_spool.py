"""Rows that were read, kept until they are sent, and until it is known which of them failed.

A file is read once, checked row by row, and what was checked is what is sent: a file that changes in between
changes nothing, and stdin can be imported. Rows are kept as they were read; which column becomes which field is
worked out anew where it is needed, so nothing is kept twice. Up to 8 MiB stay in memory, the rest goes to an
unnamed temporary file that only we can read and that is gone with the process.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import attrs

IN_MEMORY = 8 * 2**20


@attrs.frozen(kw_only=True)
class Kept:
    """A row as it was read. `values` is None where the record could not be read at all."""

    where: str
    values: Mapping[str, object] | None = attrs.field(repr=False)
    is_good: bool


class Spool:
    """A sequence of rows to be written once and read as often as needed, by one reader at a time."""

    def __init__(self) -> None:
        # No `with` here: __exit__ below closes it.
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._count = 0

    def add(self, where: str, values: Mapping[str, object] | None, *, is_good: bool) -> None:
        """Appends one row."""
        self._file.write(json.dumps([where, values, is_good]).encode("ascii") + b"\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Kept]:
        self._file.seek(0)
        for line in self._file:
            where, values, is_good = json.loads(line)
            yield Kept(where=where, values=values, is_good=is_good)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
