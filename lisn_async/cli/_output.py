"""What is printed: results on stdout, messages on stderr, and nothing that a terminal would obey."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# Controls (an assistant's name may hold an escape sequence), other line breaks, marks that reverse the text
# around them, halves of surrogate pairs.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
UNSAFE_IN_PROSE = re.compile(UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))  # TAB and LF are fine


WIDEST = 48  # columns of a terminal for one cell


def visible(text: str) -> str:
    """The text on one line, everything a terminal might obey escaped."""
    return UNSAFE.sub(_escaped, text)


def visible_prose(text: str) -> str:
    """The same, but a text of several lines stays one."""
    return UNSAFE_IN_PROSE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def say(message: str) -> None:
    """A message to the person, on stderr."""
    print(visible_prose(message), file=sys.stderr, flush=True)


@contextlib.contextmanager
def messages_of(name: str) -> Iterator[None]:
    """Says what a logger of the SDK is told meanwhile, from INFO on."""
    logger, handler = logging.getLogger(name), _Say()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Say(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"  {record.getMessage()}")


def complain(message: str) -> None:
    """An error message, on stderr."""
    say(f"error: {message}")


def print_json(value: object) -> None:
    """One JSON value on stdout: indented for a terminal, else on one line."""
    print_json_text(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def print_json_text(text: str) -> None:
    """JSON that is text already, in UTF-8 whatever the locale, at once."""
    print_bytes(text.encode("utf-8", "surrogatepass") + b"\n")


def print_bytes(data: bytes) -> None:
    """Bytes on stdout as they are, all of them.

    With PYTHONUNBUFFERED set, Python's stdout is the bare file descriptor, which may take less than it is given.
    """
    sys.stdout.flush()
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: drawn on a terminal, else columns side by side, nothing cut off."""
    safe = [[visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw_table(columns, safe)
    else:
        _align_table(columns, safe)


def _draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        if number:
            table.add_column(column, max_width=WIDEST, overflow="ellipsis", no_wrap=True)
        else:  # the first one is there to be copied, so it is never cut
            width = max((cell_len(row[0]) for row in rows), default=0)
            table.add_column(column, min_width=width, no_wrap=True, style="cyan")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text, because a name may look like rich's markup
    console(sys.stdout).print(table)


def _align_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.cells import cell_len  # 日本 takes four columns

    lines = [columns, *rows]
    widths = [max(cell_len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def print_details(values: Mapping[str, object]) -> None:
    """One thing on stdout, a line for each value; a text of several lines is indented under its name."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        text = visible_prose(str(value))
        if "\n" in text:
            print(f"{name}:")
            print("\n".join(f"    {line}" for line in text.split("\n")))
        else:
            print(f"{name + ':':<{width + 1}} {text}")


def console(stream: TextIO) -> "Console":
    """A rich console, which takes neither numbers nor brackets in our texts for something to colour."""
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def count(number: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,484 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
