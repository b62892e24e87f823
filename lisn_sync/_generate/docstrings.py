"""Docstrings in the words of the facade."""

from __future__ import annotations

import ast
import re
import textwrap

from .source import Function, Source
from .tables import LEFT_OVER, WORDS


def translated(
    source: Source, node: ast.Module | ast.ClassDef | Function, dropped: set[str] | None = None
) -> str:
    """The docstring as it is true of blocking code, without indentation."""
    text = _without_arguments(ast.get_docstring(node) or "", dropped or set())
    text = _without_main(text)
    for pattern, replacement in WORDS:
        text = re.sub(pattern, replacement, text)
    if found := LEFT_OVER.search(text):
        raise source.error(node, f"`{found[0]}` in a docstring (WORDS)")
    if '"""' in text or "\\" in text:
        raise source.error(node, "quotes or backslashes in a docstring")
    return text + ("\n" if "\n" in text else "")


def _without_arguments(text: str, dropped: set[str]) -> str:
    """A paragraph explains arguments in sentences that begin with their names; those of a dropped one go."""
    paragraphs = text.split("\n\n")
    for place, paragraph in enumerate(paragraphs):
        sentences = re.split(r"(?<=\.)\s+", paragraph)
        kept, about = [], ""
        for sentence in sentences:
            begin = re.match(r"`(\w+)[`=]", sentence)
            about = begin[1] if begin else about
            if about not in dropped:
                kept.append(sentence)
        if len(kept) < len(sentences):
            paragraphs[place] = textwrap.fill(" ".join(kept), 100)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _without_main(text: str) -> str:
    """An example needs no `async def main()` and nothing to run it."""
    lines: list[str] = []
    inside = None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if re.fullmatch(r"\s*(import asyncio|asyncio\.run\(main\(\)\))", line):
            continue
        if re.match(r"\s*async def main\(\).*:$", line):
            inside = indent
            continue
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        lines.append(line if inside is None or not line.strip() else line[4:])
    return "\n".join(lines)
