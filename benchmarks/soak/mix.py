"""What is called next: all six calls, so that about as many assistants are made as deleted."""

from __future__ import annotations

import itertools
import random
import time
from collections import deque

import attrs

from benchmarks.soak.book import Call
from lisn_async import AssistantCreate

PROMPT = "Analyze this call transcript and answer as JSON. " * 6
IMPORTED = 8
"""Items of a bulk run."""
LEFT_ALONE = 3.0
"""Seconds for which an assistant rests after somebody hung up: the call may still be at work on it."""

_SHARES: dict[Call, int] = {"get": 30, "update": 20, "delete": 20, "create": 17, "duplicate": 9, "list": 4}


@attrs.define
class Mix:
    """The next call of one owner of assistants. One that a call is about is taken out until it is given back."""

    owner: str
    most: int
    """Assistants there are at most, more or less."""
    free: list[str] = attrs.field(factory=list)
    _resting: deque[tuple[float, str]] = attrs.field(factory=deque)
    _numbers: itertools.count[int] = attrs.field(factory=itertools.count)
    _random: random.Random = attrs.field(factory=lambda: random.Random(1))

    def next(self) -> tuple[Call, str | None]:
        """A call, and the assistant that it is about."""
        if self._resting and self._resting[0][0] < time.monotonic():
            return "delete", self._resting.popleft()[1]
        [call] = self._random.choices(list(_SHARES), list(_SHARES.values()))
        if call in ("create", "duplicate") and len(self.free) >= self.most:
            call = "delete"
        elif call == "delete" and len(self.free) < self.most // 2:
            call = "create"
        if call in ("list", "create"):
            return call, None
        if not self.free:
            return "create", None
        place = self._random.randrange(len(self.free))
        self.free[place], self.free[-1] = self.free[-1], self.free[place]
        return call, self.free.pop()

    def rest(self, id: str) -> None:
        """Leave an assistant alone for a while, then delete it."""
        self._resting.append((time.monotonic() + LEFT_ALONE, id))

    def unique(self) -> str:
        """A name or a value that no other call has."""
        return f"{self.owner}-{next(self._numbers)}"

    def names(self) -> list[str]:
        """The names for a bulk run."""
        return [self.unique() for _ in range(IMPORTED)]


def spec(name: str) -> AssistantCreate:
    """A usual assistant."""
    return AssistantCreate(name=name, type="text", llm_provider="openai", system_prompt=PROMPT)
