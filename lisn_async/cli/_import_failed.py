"""The rows of an import that failed, as a file of their own: to be mended, and imported by the same command line.

In the format of the input and with all of its columns. A row is in it only if it was certainly not created.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from lisn_async.cli import _output
from lisn_async.cli._columns import Columns
from lisn_async.cli._fields import SECRET
from lisn_async.cli._import_journal import is_same, place_of
from lisn_async.cli._spool import Kept, Spool
from lisn_async.cli._stop import UsageError
from lisn_async.cli.files import FileError, FileFormat, format_of, save_folder, save_records
from lisn_async.cli.files.formats import STREAM
from lisn_async.cli.files.writing import has_half_surrogate

SAID_BEFORE = re.compile(r"(.*\.failed)(?:-([0-9]+))?", re.DOTALL)
HOLDS_EVERYTHING = frozenset({"json", "jsonl"})


@attrs.frozen(kw_only=True)
class FailedPlace:
    """Where the failed rows go: beside the input, or to a place that was named."""

    path: str | None
    is_named: bool
    format: FileFormat

    def prepare(self, journal: str | None) -> None:
        """Makes sure that nothing of somebody else's will be overwritten. Raises `UsageError`, nothing is sent.

        What lies there is ours if this run continues, or starts over, an import that left it there, and if nobody
        has worked on it since.
        """
        if not self.holds_something:
            return
        if journal is not None and Path(journal).exists():
            if self._changed_at() <= Path(journal).stat().st_mtime_ns:
                return
            raise UsageError(
                f"{self.path} was changed since the last run wrote it. If it is mended, import it with the same --map"
                " and --set, and not this input again; else move it away. Nothing was sent"
            )
        raise UsageError(
            f"{self.path} is there already, where the rows would go that fail now: if it is of an earlier import,"
            " import or remove it first; or name another place with --failed FILE. Nothing was sent"
        )

    def stamp(self, journal: str | None) -> None:
        """Marks what was just written as untouched: not younger than the journal it goes with."""
        if journal is None or not Path(journal).exists():
            return
        written = Path(journal).stat().st_mtime_ns
        for path in self._files():
            os.utime(path, ns=(written, written))

    def _changed_at(self) -> int:
        return max(path.stat().st_mtime_ns for path in self._files())

    def _files(self) -> list[Path]:
        assert self.path is not None
        path = Path(self.path)
        return sorted(path.iterdir()) if path.is_dir() else [path]

    def remove(self) -> None:
        """Removes what an earlier run left beside the input, now that nothing of it is left to do."""
        if self.path is None or not self.holds_something:
            return
        if self.is_named:
            _output.say(f"{self.path} is of an earlier run; nothing that is in it failed this time")
            return
        try:
            if self.format == "markdown":
                save_folder({}, self.path)
            else:
                Path(self.path).unlink()
        except (OSError, FileError) as error:
            _output.complain(
                f"{self.path} is of an earlier run and out of date, and cannot be removed: {error}"
            )

    @property
    def holds_something(self) -> bool:
        """Whether an earlier run, or somebody else, has left something there."""
        if self.path is None:
            return False
        path = Path(self.path)
        return any(path.iterdir()) if path.is_dir() else path.exists()


def place_of_failed(file: str, named: str | None, format: FileFormat, journal: str | None) -> FailedPlace:
    """Where the rows of this input go that fail. Raises `UsageError` for a place that cannot be one."""
    if named is None:
        return FailedPlace(path=_beside(file, format), is_named=False, format=format)
    if not named or named == STREAM:
        raise UsageError("--failed needs the name of a file")
    if is_same(named, file):
        raise UsageError(f"the failed rows cannot go to the input itself ({named}): it is a file of its own")
    if journal is not None and is_same(named, journal):
        raise UsageError(f"{named} cannot be the journal and hold the failed rows as well")
    _check_format(named, format)
    parent = Path(named).absolute().parent
    if not parent.is_dir():
        raise UsageError(f"--failed {named}: the folder {parent} does not exist: make it first")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"--failed {named}: the folder {parent} cannot be written to")
    return FailedPlace(path=named, is_named=True, format=format)


def _check_format(named: str, format: FileFormat) -> None:
    path = Path(named)
    if format == "markdown":
        if path.exists() and not path.is_dir():
            raise UsageError(f"--failed {named}: failed rows of a folder of Markdown go to a folder")
        return
    if path.is_dir() or named.endswith("/"):
        raise UsageError(f"--failed {named}: name a file, not a folder")
    try:
        meant = format_of(named, None)
    except FileError:
        return  # the suffix says nothing
    if meant != format:
        raise UsageError(
            f"--failed {named}: failed rows are written in the format of the input, which is {format}"
        )


def _beside(file: str, format: FileFormat) -> str | None:
    """`x.csv` → `x.failed.csv` → `x.failed-2.csv`: what fails of a file of failed rows never replaces it."""
    path = place_of(file)
    if path is None:
        return None
    has_suffix = format != "markdown" and not SAID_BEFORE.fullmatch(path.suffix)
    stem, suffix = (path.stem, path.suffix) if has_suffix else (path.name, "")
    before = SAID_BEFORE.fullmatch(stem)
    if before:
        return str(path.with_name(f"{before[1]}-{int(before[2] or 1) + 1}{suffix}"))
    return str(path.with_name(f"{stem}.failed{suffix}"))


@attrs.define
class FailedRows:
    """The failed rows of a spool, as records: read again each time, so that they need no memory.

    `failures` has a 1 for each row that failed; a row behind its end was not sent at all, and is not failed.
    Counted while reading: rows that the format cannot hold, values that were left out.
    """

    spool: Spool
    failures: bytearray
    columns: Columns
    format: FileFormat
    with_secrets: bool
    count: int = 0
    not_held: int = 0
    secrets: int = 0
    nested: int = 0

    def __iter__(self) -> Iterator[dict[str, object]]:
        return (record for _, record in self._each())

    def by_file_name(self) -> dict[str, dict[str, object]]:
        """The records of a folder, each under the name that it had there."""
        return {Path(where.rpartition(":")[0]).name: record for where, record in self._each()}

    def look(self) -> int:
        """How many can be written; the other counts are there then, too."""
        return sum(1 for _ in self._each())

    def _each(self) -> Iterator[tuple[str, dict[str, object]]]:
        self.count = self.not_held = self.secrets = self.nested = 0
        for row, failed in zip(self.spool, self._flags(), strict=True):
            if not failed and row.is_good:
                continue
            record = self._record(row)
            if record is None:
                self.not_held += 1
            else:
                self.count += 1
                yield row.where, record

    def _flags(self) -> Iterator[int]:
        yield from self.failures
        for _ in range(len(self.spool) - len(self.failures)):
            yield 0

    def _record(self, row: Kept) -> dict[str, object] | None:
        if row.values is None:
            return None
        # A column that is mapped has to be there for --map, though this row may have nothing to say in it.
        record: dict[str, object] = {**dict.fromkeys(self.columns.mapped), **row.values}
        for column, value in row.values.items():
            if value is not None and not self.with_secrets and self._is_secret(column):
                record[column] = None
                self.secrets += 1
        if self.format in HOLDS_EVERYTHING:
            return record
        if any(
            isinstance(text, str) and has_half_surrogate(text) for item in record.items() for text in item
        ):
            return None
        nested = [column for column, value in record.items() if isinstance(value, list | dict)]
        self.nested += len(nested)
        return {column: value for column, value in record.items() if column not in nested}

    def _is_secret(self, column: str) -> bool:
        return SECRET in (column, self.columns.field_of(column))


def write_failed(
    rows: FailedRows, place: FailedPlace, columns: Mapping[str, None], journal: str | None
) -> str | None:
    """Writes the failed rows, and says so; returns the path, or None where nothing was written."""
    if place.path is None:
        return None
    count = rows.look()
    if not count:
        place.remove()
        _say_what_is_missing(rows, place.path)
        return None
    try:
        if place.format == "markdown":
            save_folder(rows.by_file_name(), place.path)
        else:
            save_records(rows, place.path, place.format, list(columns), force=True, private=True)
        place.stamp(journal)
    except FileError as error:
        _output.complain(
            f"the failed rows could not be written: {error}. Name another place with --failed FILE"
        )
        return None
    are = "row that was not created is" if count == 1 else "rows that were not created are"
    _output.say(f"{count:,} {are} in {place.path}: mend and import that file with the same --map and --set")
    _say_what_is_missing(rows, place.path)
    return place.path


def _say_what_is_missing(rows: FailedRows, path: str) -> None:
    if rows.not_held:
        _output.say(
            f"{_output.count(rows.not_held, 'bad row')} could not be read as a record, so {path} does not have"
            " them: mend them in the input"
        )
    if rows.secrets:
        _output.say(
            f"{path} has no webhook secrets: {_output.count(rows.secrets, 'row')} lost one (--with-secrets keeps them)"
        )
    if rows.nested:
        _output.say(f"{path} has no lists and mappings of ignored columns")
