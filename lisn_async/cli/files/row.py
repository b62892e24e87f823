"""What every reader yields and every writer takes."""

from collections.abc import Mapping

import attrs

type_names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text"}


Record = Mapping[str, object]  # what a writer takes: text and numbers; None says nothing about a field


class FileError(Exception):
    """A file that cannot be read or written as a whole; the text says where and what to do."""


@attrs.frozen(kw_only=True)
class Row:
    """One record of a file, as it was written: nothing stripped, nothing converted.

    `values` holds text, or what JSON wrote (numbers, true/false, lists). None means "nothing was said":
    an empty CSV cell, a JSON null, an empty YAML value. `problems` are what makes this one record unusable.
    """

    where: str
    line: int
    values: Mapping[str, object] = attrs.field(factory=dict)
    problems: tuple[str, ...] = ()


def describe_type(value: object) -> str:
    """What a person would call this kind of value."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return type_names.get(type(value), type(value).__name__)


def shorten(text: str, width: int = 60) -> str:
    """The text as a quoted one-liner, so that odd characters in a message can be seen and none are obeyed."""
    return ascii_controls(repr(text if len(text) <= width else text[: width - 1] + "…"))


def ascii_controls(text: str) -> str:
    """The text with everything unprintable escaped (a terminal obeys some of these characters)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
