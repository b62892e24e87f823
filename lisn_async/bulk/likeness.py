"""Whether a row may be an item that the service rewrote: trimmed, cut, decorated, written in another case.

Not equality, which `content` decides, but a reason to doubt that an item does not exist.
"""

from __future__ import annotations

import unicodedata

import attrs

from ..models import UNSET, Assistant, AssistantCreate

SHORTEST = 8
"""Letters and digits that a text must have to be taken for the beginning of another."""


@attrs.frozen
class Likeness:
    """Name and prompt, reduced to what survives rewriting: letters and digits without their case."""

    name: str
    prompt: str

    def is_like(self, other: Likeness) -> bool:
        """Whether names or prompts are equal, or one is the beginning of the other."""
        return _are_like(self.name, other.name) or _are_like(self.prompt, other.prompt)


def likeness_of(spec: AssistantCreate) -> Likeness:
    """The likeness of an item."""
    extra = spec.extra_body or {}
    values = (extra.get(field, getattr(spec, field)) for field in ("name", "system_prompt"))
    return Likeness(*(_reduced(None if value is UNSET else value) for value in values))


def likeness_of_row(row: Assistant) -> Likeness:
    """The likeness of a row."""
    return Likeness(_reduced(row.name), _reduced(row.system_prompt))


def _reduced(text: object) -> str:
    if not isinstance(text, str):
        return ""
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())


def _are_like(one: str, other: str) -> bool:
    if one == other:
        return bool(one)
    short, long = sorted((one, other), key=len)
    return len(short) >= SHORTEST and long.startswith(short)
