"""Checked rows, kept until they are sent.

A file is read once, checked row by row, and what was checked is what is sent: a file that changes in between
changes nothing, and stdin can be imported. Up to 8 MiB stay in memory, the rest goes to an unnamed temporary
file that only we can read and that is gone with the process.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from lisn_async.cli._columns import Value

IN_MEMORY = 8 * 2**20


class Spool:
    """A sequence of (where, values) to be written once and read once."""

    def __init__(self) -> None:
        # No `with` here: __exit__ below closes it.
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._count = 0

    def add(self, where: str, values: Mapping[str, Value]) -> None:
        """Appends one row."""
        self._file.write(json.dumps([where, values]).encode("ascii") + b"\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[str, dict[str, Value]]]:
        self._file.seek(0)
        for line in self._file:
            where, values = json.loads(line)
            yield where, values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
