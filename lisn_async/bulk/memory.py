"""What a journal tells: reading its lines. `journal` says what they are, and writes them."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, get_args

import attrs
import orjson

from ..errors import JournalError

State: TypeAlias = Literal["sent", "created", "named", "unsent", "absent", "refused"]

STATES: tuple[State, ...] = get_args(State)


@attrs.define
class Past:
    """What a journal tells of an item: its state, its fingerprint, and its id once it was created.

    `was_absent` says whether a listing once showed that it did not exist although it had been sent.
    """

    state: State
    item: str
    assistant_id: str | None = None
    was_absent: bool = False

    @property
    def had_no_effect(self) -> bool:
        """Whether nothing was ever made of it, so that another item may take its place."""
        return self.state == "unsent" and not self.was_absent


@attrs.define
class Memory:
    """What a journal tells of its run. `written_at` is when that was last added to, in seconds since the epoch.

    `key` is what the run's markers are made with, where it has markers; `kept` and `changed` count the replies
    that showed one as it was sent, and otherwise.
    """

    base_url: str | None = None
    before: list[str] | None = None
    before_is_whole: bool = True
    key: str | None = None
    kept: int = 0
    changed: int = 0
    items: dict[int, Past] = attrs.field(factory=dict)
    written_at: float = 0.0


def read_memory(lines: IO[bytes], where: Path) -> tuple[Memory, int]:
    """What the lines tell, and where the last whole one ends. Raises `JournalError` if they are of no journal.

    A torn last line tells nothing: its writer was killed while writing it, and never acted on it.
    """
    memory, end = Memory(), 0
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            _learn(memory, orjson.loads(line))
        except _Stranger as strange:
            raise JournalError(f"{where}, line {number}: {strange}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise JournalError(f"{where}, line {number}: this is no line of a bulk journal") from None
        end += len(line)
    return memory, end


class _Stranger(Exception):
    """A line of something else."""


def _learn(memory: Memory, fact: Any) -> None:
    if memory.base_url is None and "run" not in fact:
        raise _Stranger("a bulk journal begins with its run; this file is left as it is")
    if "run" in fact:
        if fact["run"] != 1:
            raise _Stranger("this journal was written by a newer version")
        memory.base_url = str(fact["base_url"])
    elif "before" in fact:
        memory.before, memory.before_is_whole = list(fact["before"]), fact.get("whole") is True
        memory.key = fact.get("key")
    else:
        _learn_of_item(memory, fact)


def _learn_of_item(memory: Memory, fact: dict[str, Any]) -> None:
    [state] = [state for state in STATES if state in fact]
    index = fact[state]
    if type(index) is not int:
        raise TypeError
    if state == "sent":
        before = memory.items.get(index)
        memory.items[index] = Past("sent", str(fact["item"]), None, before is not None and before.was_absent)
        return
    past = memory.items[index]
    past.state = state
    if state == "created":
        past.assistant_id = str(fact["id"])
        memory.kept += fact.get("kept") is True
        memory.changed += fact.get("kept") is False
    elif state == "absent":
        past.was_absent = True
