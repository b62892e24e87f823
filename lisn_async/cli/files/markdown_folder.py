"""A folder of Markdown files: the fields in front matter, the prompt as the body.

The body is every byte after the line that closes the front matter, to the end of the file.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from lisn_async.cli.files.row import FileError, Record, Row
from lisn_async.cli.files.text import text_of
from lisn_async.cli.files.yaml_file import Document, entry

BODY = "system_prompt"
SUFFIX = ".md"
OPENING = re.compile(r"---[ \t]*\r?\n")
CLOSING = re.compile(r"^---[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
LONGEST_NAME = 120  # bytes; most file systems allow 255

# Windows opens a device under these names, whatever the suffix.
RESERVED = frozenset({"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10)})


def read_markdown(folder: Path, label: str) -> Iterator[Row]:
    """One row for each .md file of the folder, in the order of their names."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == SUFFIX and path.is_file())
    if not files:
        raise FileError(f"{label}: the folder has no {SUFFIX} file in it (folders inside it are not read)")
    for path in files:
        file_label = str(Path(label) / path.name)
        with path.open("rb") as stream:
            yield _row(text_of(stream, file_label), file_label)


def _row(text: str, label: str) -> Row:
    opening = OPENING.match(text)
    if not opening:
        return _unusable(label, "the file does not begin with front matter (a line ---, fields, a line ---)")
    closing = CLOSING.search(text, opening.end())
    if not closing:
        return _unusable(label, "the front matter is not closed by a line ---")
    document = Document(text[opening.end() : closing.start()], label, first_line=2)
    if not isinstance(document.root, yaml.MappingNode | None):
        return _unusable(label, "the front matter is no mapping (`name: …`)")
    values = document.mapping(document.root) if document.root else {}
    body = text[closing.end() :]
    if body and values.get(BODY) is not None:
        return _unusable(label, f"{BODY} stands in the front matter and as the body: leave one of them out")
    return Row(where=f"{label}:1", line=1, values=values | {BODY: body} if body else values)


def _unusable(label: str, problem: str) -> Row:
    return Row(where=f"{label}:1", line=1, problems=(problem,))


def markdown_files(records: Iterable[Record]) -> Iterator[tuple[str, bytes]]:
    """A file name, unique and safe, and the bytes of that file for each record."""
    taken: set[str] = set()
    for record in records:
        yield _file_name(str(record.get("name", "")), taken), document(record)


def document(record: Record) -> bytes:
    """A record as a Markdown file."""
    front = "".join(f"{entry(name, value)}\n" for name, value in record.items() if name != BODY)
    body = record.get(BODY)
    return f"---\n{front}---\n{'' if body is None else body}".encode()


def _file_name(name: str, taken: set[str]) -> str:
    # Letters and digits of any script, the rest as hyphens; cut by bytes, which is what file systems count.
    # Compared without case: Sales.md and sales.md are one file on macOS and Windows.
    letters = "".join(c if _is_of_a_word(c) else "-" for c in unicodedata.normalize("NFC", name).lower())
    words = "-".join(word for word in letters.split("-") if word)
    stem = words.encode("utf-8", "ignore")[:LONGEST_NAME].decode("utf-8", "ignore").rstrip("-") or "assistant"
    if stem in RESERVED:
        stem = f"{stem}-assistant"
    number, unique = 1, stem
    while unicodedata.normalize("NFC", unique.casefold()) in taken:
        number += 1
        unique = f"{stem}-{number}"
    taken.add(unicodedata.normalize("NFC", unique.casefold()))
    return unique + SUFFIX


def _is_of_a_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char).startswith("M")  # the vowels of Hindi, say
