"""From a path to rows."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from lisn_async.cli.files.csv_file import read_csv
from lisn_async.cli.files.formats import STREAM, FileFormat
from lisn_async.cli.files.json_file import read_json
from lisn_async.cli.files.jsonl_file import read_jsonl
from lisn_async.cli.files.markdown_folder import read_markdown
from lisn_async.cli.files.row import FileError, Row
from lisn_async.cli.files.yaml_file import read_yaml

Reader = Callable[[BinaryIO, str], Iterator[Row]]

READERS: dict[FileFormat, Reader] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "json": read_json,
    "yaml": read_yaml,
}


def read_rows(file: str, format: FileFormat) -> Iterator[Row]:
    """The rows of a file or a folder, or of stdin for `-`; CSV and JSON Lines are never held whole."""
    if format == "markdown":
        return _folder_rows(file)
    reader = READERS[format]
    return reader(sys.stdin.buffer, STREAM) if file == STREAM else _file_rows(file, reader)


def _file_rows(file: str, reader: Reader) -> Iterator[Row]:
    try:
        with Path(file).open("rb") as stream:
            yield from reader(stream, file)
    except OSError as error:
        raise FileError(unreadable(file, error)) from None


def _folder_rows(file: str) -> Iterator[Row]:
    if file == STREAM:
        raise FileError("Markdown is read from a folder, not from stdin")
    try:
        yield from read_markdown(Path(file), file)
    except OSError as error:
        raise FileError(unreadable(file, error)) from None


def unreadable(file: str, error: OSError) -> str:
    """What the operating system said about a file, with the file's name in front."""
    return f"{error.filename or file}: {error.strerror or error}"
