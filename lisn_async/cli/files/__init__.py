"""Files of assistants: CSV, JSON Lines, JSON, YAML, a folder of Markdown. Text is never changed."""

from lisn_async.cli.files.formats import FORMATS, FileFormat, format_of
from lisn_async.cli.files.reading import read_rows
from lisn_async.cli.files.row import FileError, Row
from lisn_async.cli.files.writing import save_folder, save_records, write_records

__all__ = [
    "FORMATS",
    "FileError",
    "FileFormat",
    "Row",
    "format_of",
    "read_rows",
    "save_folder",
    "save_records",
    "write_records",
]
