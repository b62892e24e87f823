"""Whether a row may be an item that the service rewrote: trimmed, cut, decorated, written in another case.

Not equality, which `content` decides, but a reason to doubt that an item does not exist.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable

import attrs

from ..models import UNSET, Assistant, AssistantCreate

SHORTEST = 8
"""Letters and digits that a text must have to be taken for the beginning of another."""


@attrs.frozen
class Likeness:
    """Name and prompt, reduced to what survives rewriting: letters and digits without their case.

    A text that has neither is kept without outer white space.
    """

    name: str
    prompt: str


class Likenesses:
    """Many of them, to be compared with many rows."""

    def __init__(self, likenesses: Iterable[Likeness]) -> None:
        all_of_them = set(likenesses)
        self._names = _Texts(one.name for one in all_of_them)
        self._prompts = _Texts(one.prompt for one in all_of_them)

    def has_like(self, other: Likeness) -> bool:
        """Whether the name or the prompt of one is equal, or one is the beginning of the other."""
        return self._names.has_like(other.name) or self._prompts.has_like(other.prompt)


def likeness_of(spec: AssistantCreate) -> Likeness:
    """The likeness of an item."""
    extra = spec.extra_body or {}
    values = (extra.get(field, getattr(spec, field)) for field in ("name", "system_prompt"))
    return Likeness(*(_reduced(None if value is UNSET else value) for value in values))


def likeness_of_marker(marker: str) -> Likeness:
    """The likeness of an item that is created under a marker: others may well have its prompt."""
    return Likeness(_reduced(marker), "")


def likeness_of_row(row: Assistant) -> Likeness:
    """The likeness of a row."""
    return Likeness(_reduced(row.name), _reduced(row.system_prompt))


def _reduced(text: object) -> str:
    if not isinstance(text, str):
        return ""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in plain if char.isalnum()) or plain.strip()


class _Texts:
    def __init__(self, texts: Iterable[str]) -> None:
        self._set = {text for text in texts if text}
        self._sorted = sorted(self._set)
        self._lengths = sorted({len(text) for text in self._set if len(text) >= SHORTEST})

    def has_like(self, text: str) -> bool:
        if text in self._set:
            return True
        if len(text) < SHORTEST:
            return False
        place = bisect_left(self._sorted, text)  # where those begin that begin with it
        if place < len(self._sorted) and self._sorted[place].startswith(text):
            return True
        return any(text[:length] in self._set for length in self._lengths if length < len(text))
