"""YAML: one list of mappings, in which a value is text and nothing else.

PyYAML is used as a parser only (`compose`): `yes` stays "yes", `1.10` stays "1.10", `2024-01-01` stays as it is.
"""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import yaml

from lisn_async.cli.files.row import FileError, Record, Row, shorten
from lisn_async.cli.files.text import text_of

# YAML 1.1, which PyYAML speaks, breaks lines at these three; YAML 1.2 (2009) calls them text, and so do we.
# PyYAML would drop the blanks around them, and turn the first into a space or LF.
NOT_LINE_BREAKS = "\x85\u2028\u2029"
PRIVATE_USE = range(0xE000, 0xF900)

NOTHING_SAID = frozenset({"", "~", "null"})  # as plain scalars; in quotes they are text
TEXT_TAG = "tag:yaml.org,2002:str"

Loader: type = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # in C where libyaml is there: 10 times as fast


def read_yaml(stream: BinaryIO, label: str) -> Iterator[Row]:
    """The mappings of the list, each with the line on which it begins."""
    text = text_of(stream, label)
    document = Document(text, label)
    if document.root is None:
        raise FileError(f"{label}: the file is empty")
    if not isinstance(document.root, yaml.SequenceNode):
        raise FileError(
            f"{label}:{document.line(document.root)}: expected a list (`- name: …`) of assistants"
        )
    for item in document.root.value:
        line = document.line(item)
        where = f"{label}:{line}"
        if isinstance(item, yaml.MappingNode):
            yield Row(where=where, line=line, values=document.mapping(item))
        else:
            yield Row(where=where, line=line, problems=("expected a mapping (`name: …`)",))


class Document:
    """One parsed YAML document; `first_line` is the line of the file on which the text begins."""

    def __init__(self, text: str, label: str, first_line: int = 1) -> None:
        self._label = label
        self._first_line = first_line
        hidden: dict[str, str | int | None] = dict(_stand_ins(text))
        self._restore = {ord(str(stand_in)): char for char, stand_in in hidden.items()}
        self.root = self._compose(text.translate(str.maketrans(hidden)))

    def line(self, node: yaml.Node) -> int:
        """The line of the file on which a node begins."""
        return int(node.start_mark.line) + self._first_line

    def mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        """The values of a mapping by key, all of them text or None."""
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be text")
            key = self._text(key_node)
            if key in found:
                raise self._error(key_node, f"the key {shorten(key)} stands twice in one mapping")
            if key == "<<" and is_plain(key_node):
                raise self._error(
                    key_node, "merge keys (<<) are not read: write the fields out, or use --set"
                )
            found[key] = self._value(value_node)
        return found

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            root: yaml.Node | None = yaml.compose(text, Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{self._label}:{mark.line + self._first_line}" if mark else self._label
            column = f", column {mark.column + 1}" if mark else ""
            detail = ", ".join(part for part in (error.context, error.problem) if part)
            raise FileError(f"{place}: not YAML: {detail}{column}") from None
        except yaml.reader.ReaderError as error:
            raise FileError(self._unreadable(text, error)) from None
        except RecursionError:
            raise FileError(f"{self._label}: not YAML we read: nested too deeply") from None
        except (ValueError, OverflowError):  # PyYAML without libyaml, of "\\UFFFFFFFF"
            raise FileError(
                f"{self._label}: not YAML: an escape for a character that does not exist"
            ) from None
        return root

    def _unreadable(self, text: str, error: yaml.reader.ReaderError) -> str:
        # The C reader counts bytes and the Python reader characters, so the character is looked for again.
        found = yaml.reader.Reader.NON_PRINTABLE.search(text)
        if not found:
            return f"{self._label}: not YAML: {error.reason}"
        line = text.count("\n", 0, found.start()) + self._first_line
        return (
            f"{self._label}:{line}: YAML does not allow the character U+{ord(found.group()):04X} as it is: "
            f'write it as an escape inside double quotes, "\\x{ord(found.group()):02x}"'
        )

    def _value(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.SequenceNode):
            return []
        if isinstance(node, yaml.MappingNode):
            return {}
        if isinstance(node, yaml.ScalarNode) and is_plain(node) and node.value in NOTHING_SAID:
            return None
        return self._text(node)

    def _text(self, node: yaml.Node) -> str:
        if node.tag not in (TEXT_TAG, "!"):
            raise self._error(node, f"the tag {shorten(node.tag)} is not read: values are plain text here")
        return str(node.value).translate(self._restore)

    def _error(self, node: yaml.Node, message: str) -> FileError:
        return FileError(f"{self._label}:{self.line(node)}: {message}")


def is_plain(node: yaml.ScalarNode) -> bool:
    """Whether a value stands without quotes. The Python parser says None, the one in C an empty text."""
    return not node.style


def _stand_ins(text: str) -> dict[str, str]:
    """For each of the three characters that the text holds, one of private use that it does not hold."""
    needed = [char for char in NOT_LINE_BREAKS if char in text]
    free = (chr(code) for code in PRIVATE_USE if chr(code) not in text)
    return dict(zip(needed, free, strict=False))


def write_yaml(records: Iterable[Record], stream: BinaryIO) -> None:
    """A list of mappings; texts of several lines as blocks where a block holds them exactly."""
    empty = True
    for record in records:
        empty = False
        lines = [entry(name, value, indent="  ", blocks=True) for name, value in record.items()]
        stream.write(("- " + "\n  ".join(lines or ["{}"]) + "\n").encode("utf-8"))
    if empty:
        stream.write(b"[]\n")


def entry(name: str, value: object, *, indent: str = "", blocks: bool = False) -> str:
    """A key and its value; `indent` is what stands before the key, of which only further lines need to know."""
    key = one_line(name)
    if len(key) > LONGEST_SIMPLE_KEY:
        return f"? {key}\n{indent}: {one_line(value)}"
    return f"{key}: {_scalar(value, indent + '  ') if blocks else one_line(value)}"


def _scalar(value: object, indent: str) -> str:
    if isinstance(value, str) and "\n" in value.strip("\n") and not BLOCK_CANNOT_HOLD.search(value):
        return _block(value, indent)
    return one_line(value)


def one_line(value: object) -> str:
    """The value as YAML on one line: nothing, a number or words as they are, everything else in double quotes."""
    if value is None:
        return "null"
    if not isinstance(value, str):
        return repr(value)
    if PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT_ELSEWHERE:
        return value
    return f'"{QUOTE.sub(_escape, value)}"'


# Words, which no other YAML reader takes for anything but text.
LONGEST_SIMPLE_KEY = 1000  # characters; YAML allows 1024 before the colon
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./()-]+)*")
NOT_TEXT_ELSEWHERE = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})

# What a literal block loses or YAML forbids: CR, the other controls, line breaks of YAML 1.1, byte order
# marks, non-characters.
BLOCK_CANNOT_HOLD = re.compile(
    "[^\n\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
QUOTE = re.compile(BLOCK_CANNOT_HOLD.pattern.replace("\n\t", "") + r'|["\\]')
SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def _block(text: str, indent: str) -> str:
    # The 2 says how deep the block is indented, so that blanks which begin the text belong to the text.
    body = text.removesuffix("\n")
    chomping = "-" if body == text else "+" if body.endswith("\n") else ""
    return f"|2{chomping}\n" + "\n".join(indent + line if line else "" for line in body.split("\n"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    short = SHORT_ESCAPES.get(found.group())
    if short:
        return short
    if 0xD800 <= code <= 0xDFFF:
        return found.group()  # for encode() to refuse: YAML has no way to say it
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
