"""Bytes to text: UTF-8 only, an optional byte order mark, errors with byte offset and line."""

import shlex
from collections.abc import Iterator
from typing import BinaryIO

from lisn_async.cli.files.row import FileError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def lines_of(stream: BinaryIO, label: str) -> Iterator[str]:
    """The lines of a UTF-8 stream with their endings, split at LF and nowhere else.

    Files are iterated as bytes for that reason: `str.splitlines` also splits at U+2028, U+0085, VT, FF and
    FS-RS, and `open(..., newline="")` at a lone CR. All of these are text inside a prompt.
    """
    offset = 0
    for number, line in enumerate(stream, start=1):
        start = len(BYTE_ORDER_MARK) if number == 1 and line.startswith(BYTE_ORDER_MARK) else 0
        yield _decode(line[start:], label, offset + start, number)
        offset += len(line)


def text_of(stream: BinaryIO, label: str) -> str:
    """The whole of a UTF-8 stream, line endings as they are."""
    data = stream.read().removeprefix(BYTE_ORDER_MARK)
    return _decode(data, label, 0, 1)


def utf8(data: bytes, label: str) -> str:
    """The text of some bytes of UTF-8, exactly (a byte order mark included)."""
    return _decode(data, label, 0, 1)


def _decode(data: bytes, label: str, offset: int, line: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise FileError(
            f"{label}:{line}: byte {offset + error.start} (0x{data[error.start]:02x}) is not UTF-8 text. "
            + _likely_fix(data, offset, label)
        ) from None


def _likely_fix(data: bytes, offset: int, label: str) -> str:
    name = "FILE" if label == "-" else shlex.quote(label)
    if offset == 0 and data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return (
            f"The file looks like UTF-16: save it as UTF-8 (in Excel: 'CSV UTF-8'), or run "
            f"`iconv -f UTF-16 -t UTF-8 {name} > new-file`"
        )
    return (
        f"The file looks like Windows-1252 or Latin-1: save it as UTF-8, or run "
        f"`iconv -f WINDOWS-1252 -t UTF-8 {name} > new-file`"
    )
