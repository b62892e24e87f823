"""The command line that is running, so that a message can say how to go on: by this very command."""

import re
import shlex
from collections.abc import Sequence

ONLY_ONCE = frozenset({"--fresh"})  # said again, it would start over instead of going on
SECRET_GIVEN = re.compile(r"((?:--set=)?webhook_secret=).+", re.DOTALL)

_tokens: tuple[str, ...] = ()


def remember(tokens: Sequence[str]) -> None:
    """Takes note of the command line, at its beginning."""
    global _tokens
    _tokens = tuple(tokens)


def again() -> str:
    """What to type to go on. A secret that was given is not repeated on the screen."""
    said = (SECRET_GIVEN.sub(r"\1...", token) for token in _tokens if token not in ONLY_ONCE)
    return shlex.join(["lisn", *said])
