"""The memory of a bulk run that survives a crash: one JSON line per fact, appended, never rewritten.

    {"run": 1, "base_url": "https://..."}     which API this belongs to
    {"before": ["ast_1", ...], "whole": true} the ids that were there before the first create
    {"sent": 7, "item": "<fingerprint>"}      on disk before the first byte of item 7 is sent
    {"created": 7, "id": "ast_9"}             a fact of the same weight as a reply
    {"unsent": 7}                             that request provably had no effect
    {"refused": 7, "status": 422}             the service said no

The state of an item is its last line. `sent` with nothing after it is ambiguous: kill -9, power loss,
timeout, reset and 5xx are all that one state. No token, secret or content is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import attrs
import orjson

from ..errors import JournalError

try:
    import fcntl
except ImportError:  # Windows: there an open file keeps no second writer out
    fcntl = None  # type: ignore[assignment]

State: TypeAlias = Literal["sent", "created", "unsent", "refused"]

_STATES: tuple[State, ...] = ("sent", "created", "unsent", "refused")


@attrs.define
class Past:
    """What a journal tells of an item: its state, its fingerprint, and its id once it was created."""

    state: State
    item: str
    assistant_id: str | None = None


@attrs.define
class Memory:
    """What a journal tells of its run. `written_at` is when that was last added to, in seconds since the epoch."""

    base_url: str | None = None
    before: list[str] | None = None
    before_is_whole: bool = True
    items: dict[int, Past] = attrs.field(factory=dict)
    written_at: float = 0.0


class Journal:
    """An open journal. Appending is cheap; `sent` waits until its line is on the disk."""

    def __init__(self, path: Path, file: IO[bytes], memory: Memory) -> None:
        self._path = path
        self._file = file
        self.memory = memory
        self._lines: list[bytes] = []
        self._waiting: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    async def before(self, ids: Iterable[str], whole: bool) -> None:
        """Note the ids that were there before the first create, all or some; return once that is on the disk."""
        await self._append_and_wait({"before": list(ids), "whole": whole})

    async def sent(self, index: int, item: str) -> None:
        """Note that an item is about to be sent; return once that is on the disk."""
        await self._append_and_wait({"sent": index, "item": item})

    def created(self, index: int, assistant_id: str) -> None:
        """Note that an item was made. Lost in a crash, this line leaves the item ambiguous, not wrong."""
        self._append({"created": index, "id": assistant_id})

    def unsent(self, index: int) -> None:
        """Note that the last request for an item provably had no effect."""
        self._append({"unsent": index})

    def refused(self, index: int, status: int) -> None:
        """Note that the service refused an item for good."""
        self._append({"refused": index, "status": status})

    async def aclose(self) -> None:
        """Write what is left and let go of the file."""
        try:
            while self._writing is not None:
                await asyncio.shield(self._writing)
        finally:
            self._file.close()

    async def _append_and_wait(self, fact: dict[str, Any]) -> None:
        self._append(fact)
        assert self._waiting is not None
        await asyncio.shield(self._waiting)

    def _append(self, fact: dict[str, Any]) -> None:
        self._lines.append(orjson.dumps(fact) + b"\n")
        loop = asyncio.get_running_loop()
        if self._waiting is None:
            self._waiting = loop.create_future()
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        """Group commit: all that was appended while the disk was busy goes in one write and one sync."""
        try:
            while self._lines:
                lines, self._lines = self._lines, []
                waiting, self._waiting = self._waiting, None
                assert waiting is not None
                try:
                    await asyncio.to_thread(self._write, b"".join(lines))
                except OSError as error:
                    failure = JournalError(f"cannot write the journal {self._path}: {error.strerror}")
                    waiting.set_exception(failure)
                    waiting.exception()  # perhaps nobody waits for these lines
                else:
                    waiting.set_result(None)
        finally:
            self._writing = None

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())


def open_journal(path: str | os.PathLike[str], base_url: str) -> Journal:
    """The journal at `path`, new or to be continued, locked for this process.

    Raises `JournalError` if it is in use, is damaged, or belongs to another API.
    """
    where = Path(path)
    try:
        # Not truncated, private from its first moment, and not inherited by a child.
        descriptor = os.open(where, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise JournalError(f"cannot open the journal {where}: {error.strerror}") from error
    file = os.fdopen(descriptor, "r+b")
    try:
        _lock(file, where)
        memory = Memory(written_at=os.fstat(descriptor).st_mtime)
        whole = 0
        for number, (fact, end) in enumerate(_facts(file, where), 1):
            _learn(memory, fact, f"{where}, line {number}")
            whole = end
        _check_api(memory, base_url, where)
        if whole == 0:
            _check_torn_head(file, where)
        if memory.before is None:
            whole = 0  # a run that ended before it could send anything binds nobody
        file.seek(whole)
        file.truncate()  # a torn last line: its writer was killed while writing it, and never acted on it
        if whole == 0:
            file.write(orjson.dumps({"run": 1, "base_url": base_url}) + b"\n")
            file.flush()
            os.fsync(descriptor)
            _sync_folder(where.parent)
    except BaseException:
        file.close()
        raise
    return Journal(where, file, memory)


def _check_torn_head(file: IO[bytes], where: Path) -> None:
    """A file without one whole line is a journal whose first line was torn, or somebody else's file."""
    file.seek(0)
    torn, head = file.read(4096), b'{"run":1,"base_url":"'
    if not head.startswith(torn) and not torn.startswith(head):
        raise JournalError(f"{where} is no bulk journal; it is left as it is")


def _check_api(memory: Memory, base_url: str, where: Path) -> None:
    if memory.before is not None and memory.base_url != base_url:
        raise JournalError(
            f"the journal {where} belongs to {memory.base_url}, the client talks to {base_url}:"
            " use another journal for it"
        )


def _lock(file: IO[bytes], where: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise JournalError(f"the journal {where} is in use by another run") from error


def _sync_folder(folder: Path) -> None:
    """So that the file's name, too, survives a power failure."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _facts(file: IO[bytes], where: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Every whole line with the offset of its end. Only the last line may be torn."""
    end = 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            return  # the torn last line
        try:
            fact = orjson.loads(line)
        except orjson.JSONDecodeError:
            fact = None
        if not isinstance(fact, dict):
            raise JournalError(f"{where}, line {number}: this is no line of a bulk journal")
        end += len(line)
        yield fact, end


def _learn(memory: Memory, fact: dict[str, Any], where: str) -> None:
    if memory.base_url is None and "run" not in fact:
        raise JournalError(f"{where}: a bulk journal begins with its run; this file is left as it is")
    if "run" in fact:
        if fact["run"] != 1:
            raise JournalError(f"{where}: this journal was written by a newer version")
        memory.base_url = str(fact.get("base_url"))
        return
    if "before" in fact:
        memory.before, memory.before_is_whole = fact["before"], fact.get("whole") is True
        return
    try:
        [state] = [state for state in _STATES if state in fact]
        index = fact[state]
        if state == "sent":
            memory.items[index] = Past("sent", fact["item"])
        else:
            past = memory.items[index]
            past.state = state
            past.assistant_id = fact["id"] if state == "created" else None
    except (ValueError, KeyError, TypeError):
        raise JournalError(f"{where}: this is no line of a bulk journal") from None
