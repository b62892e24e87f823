"""The memory of a bulk run that survives a crash: one JSON line per fact, appended, never rewritten.

    {"run": 1, "base_url": "https://..."}     which API this belongs to
    {"before": ["ast_1", ...], "whole": true} the ids that were there before the first create
    {"sent": 7, "item": "<fingerprint>"}      on disk before the first byte of item 7 is sent
    {"created": 7, "id": "ast_9"}             a fact of the same weight as a reply
    {"named": 7}                              under markers: it has been given its name
    {"unsent": 7}                             that request provably had no effect
    {"absent": 7}                             the same, because a listing that can be believed lacks it
    {"refused": 7, "status": 422}             the service said no

The state of an item is its last line. `sent` with nothing after it is ambiguous: kill -9, power loss,
timeout, reset and 5xx are all that one state. No token, secret or content is written. Under markers the
line `before` also holds the `key` that they are made with, and `created` whether the reply `kept` the marker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import orjson

from ..errors import JournalError, JournalInUseError
from .memory import Memory, read_memory

try:
    import fcntl
except ImportError:  # Windows: there an open file keeps no second writer out
    fcntl = None  # type: ignore[assignment]


WRITES_THROUGH = getattr(os, "O_DSYNC", 0)
"""Has each write return once it is on the disk: one wait, where a write and a sync are two turns of the thread."""
LINGER = 0.02
"""Seconds that a line nobody waits for may wait for one that somebody does, to share its write."""


class Journal:
    """An open journal. Noting something is cheap, and on the disk soon; `flushed` waits until it is."""

    def __init__(self, path: Path, file: IO[bytes], memory: Memory) -> None:
        self._path = path
        self._file = file
        self.memory = memory
        self._lines: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []  # for these lines
        self._written: list[asyncio.Future[None]] = []  # for those that are being written
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: str | None = None
        self._in_use = threading.Lock()
        self._is_linked = os.fstat(file.fileno()).st_nlink > 0  # some file systems do not count

    async def before(self, ids: Iterable[str], whole: bool, key: str | None) -> None:
        """Note the ids that were there before the first create, all or some; return once that is on the disk."""
        fact = {"before": list(ids), "whole": whole}
        self._append(fact if key is None else {**fact, "key": key})
        await self.flushed()

    def sent(self, index: int, item: str) -> None:
        """Note that an item is about to be sent: not before `flushed` has returned."""
        self._append({"sent": index, "item": item})

    def created(self, index: int, assistant_id: str, kept: bool | None = None) -> None:
        """Note that an item was made. Lost in a crash, this line leaves the item ambiguous, not wrong."""
        fact = {"created": index, "id": assistant_id}
        self._append(fact if kept is None else {**fact, "kept": kept})

    def named(self, index: int) -> None:
        """Note that an item that was made under a marker has its own name."""
        self._append({"named": index})

    def unsent(self, index: int) -> None:
        """Note that the last request for an item provably had no effect."""
        self._append({"unsent": index})

    def absent(self, index: int) -> None:
        """Note that a listing has shown that an item whose reply was lost does not exist."""
        self._append({"absent": index})

    def refused(self, index: int, status: int) -> None:
        """Note that the service refused an item for good."""
        self._append({"refused": index, "status": status})

    async def flushed(self) -> None:
        """Return once everything noted so far is on the disk."""
        if self._failure is not None:
            raise JournalError(self._failure)
        if self._lines:
            await self._written_with(self._waiters)
        elif self._writing is not None:
            await self._written_with(self._written)

    async def aclose(self) -> None:
        """Write what is left and let go of the file."""
        try:
            while (writing := self._begin_to_write()) is not None:
                await asyncio.shield(writing)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            with self._in_use:  # cancelled twice, this waits for the thread, as long as one write takes
                self._file.close()

    def _written_with(self, waiters: list[asyncio.Future[None]]) -> asyncio.Future[None]:
        """Done once the lines are on the disk that these wait for."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        if waiters is self._waiters:
            self._begin_to_write()
        return waiter

    def _append(self, fact: dict[str, Any]) -> None:
        if self._failure is not None:
            raise JournalError(self._failure)
        self._lines.append(orjson.dumps(fact, option=orjson.OPT_APPEND_NEWLINE))
        if self._timer is None and self._writing is None:
            self._linger()

    def _linger(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LINGER, self._begin_to_write)

    def _begin_to_write(self) -> asyncio.Task[None] | None:
        """Write what there is, if nothing is being written; the task that does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None and self._lines:
            self._writing = asyncio.get_running_loop().create_task(self._write_all())
        return self._writing

    async def _write_all(self) -> None:
        """Group commit: all that was appended while the disk was busy goes in one write and one sync."""
        try:
            while True:
                lines, self._lines = self._lines, []
                self._written, self._waiters = self._waiters, []
                if self._failure is None:
                    await self._write_some(b"".join(lines))
                for waiter in self._written:
                    if waiter.done():  # whoever waited was cancelled
                        continue
                    if self._failure is None:
                        waiter.set_result(None)
                    else:
                        waiter.set_exception(JournalError(self._failure))
                if not self._waiters:
                    break
        finally:
            self._writing = None
            if self._lines:
                self._linger()

    async def _write_some(self, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._write, data)
            if self._is_linked and os.fstat(self._file.fileno()).st_nlink == 0:
                # Going on would leave nothing to continue from.
                raise OSError(errno.ENOENT, "it was removed while in use")
        except OSError as error:
            # Nothing more is written: what came after half a line would be no line of a journal.
            self._failure = f"cannot write the journal {self._path}: {error.strerror}"
        except ValueError:  # closed by a run that was cancelled while it was closing
            self._failure = f"cannot write the journal {self._path}: it is closed"

    def _write(self, data: bytes) -> None:
        with self._in_use:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            if not WRITES_THROUGH:
                os.fsync(self._file.fileno())


def open_journal(path: str | os.PathLike[str], base_url: str) -> Journal:
    """The journal at `path`, new or to be continued, locked for this process.

    Raises `JournalInUseError`, and `JournalError` if it is damaged, belongs to another API or cannot be opened.
    """
    where = Path(path)
    try:
        return _open(where, base_url)
    except FileNotFoundError as error:
        raise JournalError(f"cannot open the journal {where}: its folder does not exist") from error
    except OSError as error:
        raise JournalError(f"cannot open the journal {where}: {error.strerror}") from error
    except ValueError as error:  # of the name
        raise JournalError(f"cannot open the journal {where!r}: {error}") from error


def _open(where: Path, base_url: str) -> Journal:
    if where.exists() and not where.is_file():
        what = "Is a directory" if where.is_dir() else "it is no ordinary file"
        raise JournalError(f"cannot open the journal {where}: {what}")
    # Not truncated, private from its first moment, and not inherited by a child.
    descriptor = os.open(where, os.O_RDWR | os.O_CREAT | WRITES_THROUGH | getattr(os, "O_BINARY", 0), 0o600)
    file = os.fdopen(descriptor, "r+b", buffering=0)  # what is written is written, or not, and known
    try:
        _lock(file, where)
        with open(descriptor, "rb", closefd=False) as lines:
            memory, whole = read_memory(lines, where)
        memory.written_at = os.fstat(descriptor).st_mtime
        _check_api(memory, base_url, where)
        if whole == 0:
            _check_torn_head(file, where)
        if memory.before is None:
            whole = 0  # a run that ended before it could send anything binds nobody
        file.seek(whole)
        file.truncate()  # a torn last line
        if whole == 0:
            file.write(orjson.dumps({"run": 1, "base_url": base_url}) + b"\n")
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
        # Whoever held it a moment ago may have removed the file that was opened here.
        is_there = os.path.samestat(os.fstat(file.fileno()), os.stat(where))  # noqa: PTH116 - to stay beside fstat
    except (BlockingIOError, PermissionError, FileNotFoundError):  # the second on some shared file systems
        is_there = False
    if not is_there:
        raise JournalInUseError(f"the journal {where} is in use by another run")


def _sync_folder(folder: Path) -> None:
    """So that the file's name, too, survives a power failure."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
