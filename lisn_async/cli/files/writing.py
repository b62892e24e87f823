"""From records to a file that is there whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from lisn_async.cli.files.csv_file import write_csv
from lisn_async.cli.files.formats import FileFormat
from lisn_async.cli.files.json_file import write_json
from lisn_async.cli.files.jsonl_file import write_jsonl
from lisn_async.cli.files.markdown_folder import SUFFIX, document, markdown_files
from lisn_async.cli.files.row import FileError, Record, shorten
from lisn_async.cli.files.yaml_file import write_yaml

Records = Iterable[Record]  # one that can be read again: to find the record that cannot be written

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700


def write_records(
    records: Records,
    stream: BinaryIO,
    format: FileFormat,
    fields: Sequence[str],
) -> None:
    """The records in the given format; `fields` is the order of the columns of CSV."""
    with _naming_the_unwritable(records):
        if format == "csv":
            write_csv(records, stream, fields)
        elif format == "jsonl":
            write_jsonl(records, stream)
        elif format == "json":
            write_json(records, stream)
        elif format == "yaml":
            write_yaml(records, stream)
        else:
            raise FileError("Markdown is written to a folder: name one, with a / at its end")


def save_records(
    records: Records,
    file: str,
    format: FileFormat,
    fields: Sequence[str],
    *,
    force: bool,
    private: bool,
) -> int:
    """Writes a file, or a folder of Markdown; returns how many other Markdown files the folder holds.

    Nothing is overwritten without `force`; `private` makes files that only their owner can read.
    """
    path = Path(file)
    try:
        if format == "markdown":
            return _save_folder(records, path, force=force, private=private)
        _refuse_to_overwrite(path, force=force)
        with _replacing(path, private=private) as stream:
            write_records(records, stream, format, fields)
    except OSError as error:
        raise FileError(f"{error.filename or file}: {error.strerror or error}") from None
    return 0


def _save_folder(records: Records, folder: Path, *, force: bool, private: bool) -> int:
    with _naming_the_unwritable(records):
        files = dict(markdown_files(records))  # all first: a record that cannot be written leaves no trace
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there and not force:
        raise FileError(f"{folder}: the folder is not empty: choose another, or say --force to write into it")
    _refuse_names_of_another_locale(folder, files)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with _replacing(folder / name, private=private) as stream:
            stream.write(data)
    return sum(name.lower().endswith(SUFFIX) for name in there - files.keys())


def save_folder(records: Mapping[str, Record], file: str) -> None:
    """Makes a folder of Markdown, for its owner's eyes only, hold exactly these records, by file name.

    Other Markdown files go first, so that whatever happens none stays that should not be there. A folder that
    is empty in the end goes as well.
    """
    folder = Path(file)
    try:
        files = {name: document(record) for name, record in records.items()}
        stale = (
            [path for path in folder.glob("*") if path.suffix.lower() == SUFFIX] if folder.is_dir() else []
        )
        for path in stale:
            if path.name not in files:
                path.unlink()
        if files:
            folder.mkdir(exist_ok=True, mode=PRIVATE_FOLDER)
        elif not any(folder.iterdir()):
            folder.rmdir()
        for name, data in files.items():
            with _replacing(folder / name, private=True) as stream:
                stream.write(data)
    except OSError as error:
        raise FileError(f"{error.filename or file}: {error.strerror or error}") from None


def _refuse_names_of_another_locale(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            shown = name.encode("ascii", "backslashreplace").decode()
            raise FileError(
                f"{folder}: this locale cannot hold the file name {shown}: set PYTHONUTF8=1, or another LC_ALL"
            ) from None


def _refuse_to_overwrite(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise FileError(f"{path}: is a folder: name a file, or write Markdown into it with --format markdown")
    if not path.parent.is_dir():
        raise FileError(f"{path}: the folder {path.parent} does not exist: make it first")
    if path.exists() and not force:
        raise FileError(
            f"{path}: the file is there already: choose another name, or say --force to overwrite it"
        )


@contextlib.contextmanager
def _replacing(path: Path, *, private: bool) -> Iterator[BinaryIO]:
    """A file under another name beside `path`, which takes its place once it is whole and on the disk."""
    target = path.resolve()
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:60]}.")
    try:
        with os.fdopen(handle, "wb") as stream:  # closed before it takes its place: Windows wants that
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(beside).chmod(PRIVATE if private else _usual_mode(target))
        Path(beside).replace(target)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _usual_mode(target: Path) -> int:
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)  # there is no way to look without touching; no other thread of ours makes files
    os.umask(umask)
    return 0o666 & ~umask


@contextlib.contextmanager
def _naming_the_unwritable(records: Records) -> Iterator[None]:
    """Turns an encoding error into one that says which record and field UTF-8 cannot hold."""
    try:
        yield
    except UnicodeEncodeError:
        names = (
            f"{field} of {shorten(str(record.get('name', '')))}"
            for record in records
            for field, value in record.items()
            if isinstance(value, str) and has_half_surrogate(value)
        )
        raise FileError(
            f"{next(names, 'a text')} holds half a surrogate pair, which UTF-8 text cannot: "
            "only json and jsonl can hold it"
        ) from None


def has_half_surrogate(text: str) -> bool:
    """Whether the text holds a code point that is no character, and so cannot be sent or saved as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
