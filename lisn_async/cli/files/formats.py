"""Which format a path means."""

from pathlib import Path
from typing import Literal, get_args

from lisn_async.cli.files.row import FileError

FileFormat = Literal["csv", "jsonl", "json", "yaml", "markdown"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

STREAM = "-"  # stdin or stdout

SUFFIXES: dict[str, FileFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
}


def format_of(file: str, wanted: FileFormat | None) -> FileFormat:
    """The format asked for, or the one the path means: by its suffix; a folder holds Markdown."""
    if wanted:
        return wanted
    if file.endswith("/") or Path(file).is_dir():
        return "markdown"
    found = SUFFIXES.get(Path(file).suffix.lower())
    if found:
        return found
    known = ", ".join(SUFFIXES)
    said = "stdin has no suffix" if file == STREAM else f"{file}: the suffix says nothing about the format"
    raise FileError(
        f"{said} (known: {known}, a folder for Markdown): say it with --format {'|'.join(FORMATS)}"
    )
