"""What survives: the assistants and the history of commits, in SQLite.

The row holds the very text the server answers with, so a reply is a read and a listing is a join. Every change
is one transaction that also writes its line of history: an assistant without its commit cannot exist.

What was asked for is usually what is stored. Where a fault made it something else, a row of `asked` has it.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lisn_async.sandbox._ids import assistant_id
from lisn_async.sandbox._json import dump

_APPLICATION_ID = 0x4C49534E  # "LISN", so that no other program's database is ever written to
_EPOCH = 1_767_225_600  # 2026-01-01T00:00:00Z

# AUTOINCREMENT remembers the highest number in a table of its own, beyond DELETE, restart and kill -9:
# that is what keeps an id from being given out twice.
_SCHEMA = f"""
BEGIN;
PRAGMA application_id = {_APPLICATION_ID};
CREATE TABLE IF NOT EXISTS commits (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT NOT NULL,
    assistant_id TEXT
);
CREATE TABLE IF NOT EXISTS assistants (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS asked (id TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
COMMIT;
"""


class Store:
    """The assistants of one sandbox; safe to use from several threads."""

    def __init__(self, database: str | os.PathLike[str], seed: int) -> None:
        self.lock = threading.RLock()
        self._made_at: dict[int, float] = {}  # monotonic; rows from before this start are simply old
        self._db = _open(os.fspath(database))
        try:
            # A file keeps the seed it was made with: another seed could give out an id of the past.
            self._run("INSERT OR IGNORE INTO settings VALUES ('seed', ?)", str(seed))
            [(kept,)] = self._run("SELECT value FROM settings WHERE name = 'seed'")
            self._seed = int(kept)
            [(last,)] = self._run("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'commits'")
            self._number: int = last
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the database; a file is complete by itself afterwards."""
        with self.lock:
            self._db.close()

    def create(self, operation: str, fields: dict[str, Any], *, asked: dict[str, Any] | None = None) -> bytes:
        """The new assistant as JSON, committed; `asked` is given if something else was asked for."""
        with self.lock:
            number = self._number + 1
            made = assistant_id(self._seed, number)
            now = _clock(number)
            document = dump({"id": made, **fields, "created_at": now, "updated_at": now})
            with self._commit(operation, made):
                self._db.execute("INSERT INTO assistants VALUES (?, ?, ?)", (number, made, document))
                if asked is not None:
                    self._remember(made, asked)
            self._made_at[number] = time.monotonic()
            return document.encode()

    def get(self, wanted: str) -> bytes | None:
        """The assistant as JSON, or None."""
        rows = self._run("SELECT document FROM assistants WHERE id = ?", wanted)
        return rows[0][0] if rows else None

    def all(self) -> list[bytes]:
        """Every assistant as JSON, oldest first."""
        return [document for (document,) in self._run("SELECT document FROM assistants ORDER BY number")]

    def older_than(self, seconds: float) -> list[bytes]:
        """The assistants committed at least so many seconds ago."""
        latest = time.monotonic() - seconds
        rows = self._run("SELECT number, document FROM assistants ORDER BY number")
        return [document for number, document in rows if self._made_at.get(number, latest) <= latest]

    def asked(self, wanted: str) -> dict[str, Any] | None:
        """What was asked for, if that is not what is stored."""
        rows = self._run("SELECT document FROM asked WHERE id = ?", wanted)
        return json.loads(rows[0][0]) if rows else None

    def contents(self) -> list[tuple[str, dict[str, Any]]]:
        """The id of every assistant with the content that was asked for, oldest first."""
        rows = self._run(
            "SELECT id, coalesce(asked.document, assistants.document) FROM assistants"
            " LEFT JOIN asked USING (id) ORDER BY number"
        )
        return [(found.decode(), json.loads(document)) for found, document in rows]

    def update(
        self,
        wanted: str,
        before: dict[str, Any],
        fields: dict[str, Any],
        *,
        asked: dict[str, Any] | None = None,
    ) -> bytes:
        """The changed assistant as JSON, committed; `before` gives what an update leaves alone."""
        with self.lock:
            now = _clock(self._number + 1)
            document = dump({"id": wanted, **fields, "created_at": before["created_at"], "updated_at": now})
            with self._commit("update", wanted):
                self._db.execute("UPDATE assistants SET document = ? WHERE id = ?", (document, wanted))
                if asked is not None:
                    self._remember(wanted, asked)
            return document.encode()

    def delete(self, wanted: str) -> None:
        """Remove the assistant, committed."""
        with self.lock, self._commit("delete", wanted):
            self._db.execute("DELETE FROM assistants WHERE id = ?", (wanted,))
            self._db.execute("DELETE FROM asked WHERE id = ?", (wanted,))

    def clear(self) -> None:
        """Remove every assistant and the history; ids already given out stay used."""
        with self.lock, self._transaction():
            self._db.execute("DELETE FROM assistants")
            self._db.execute("DELETE FROM asked")
            self._db.execute("DELETE FROM commits")
            self._made_at.clear()

    def commits(self) -> list[dict[str, Any]]:
        """The history of changes, oldest first."""
        rows = self._run("SELECT number, operation, assistant_id FROM commits ORDER BY number")
        return [
            {"number": number, "operation": operation.decode(), "assistant_id": changed.decode()}
            for number, operation, changed in rows
        ]

    def documents(self) -> list[dict[str, Any]]:
        """Every assistant as a plain dict, oldest first."""
        return [json.loads(document) for document in self.all()]

    def _remember(self, wanted: str, asked: dict[str, Any]) -> None:
        self._db.execute("INSERT OR REPLACE INTO asked VALUES (?, ?)", (wanted, dump(asked)))

    @contextmanager
    def _commit(self, operation: str, changed: str) -> Iterator[None]:
        number = self._number + 1
        with self._transaction():
            self._db.execute("INSERT INTO commits VALUES (?, ?, ?)", (number, operation, changed))
            yield
        self._number = number

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _run(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        with self.lock:
            return self._db.execute(statement, values).fetchall()


def _open(database: str) -> sqlite3.Connection:
    try:
        # Autocommit mode (isolation_level=None): the transactions are ours, each one visible in this file.
        # Text comes back as bytes: it goes straight to the socket, decoding it would be for nothing.
        db = sqlite3.connect(database, timeout=0, isolation_level=None, check_same_thread=False)
        db.text_factory = bytes
    except sqlite3.Error as error:
        raise OSError(f"Cannot open the database {database}: {error}.") from error
    try:
        _set_up(db, database)
    except sqlite3.Error as error:
        db.close()
        reason = "another process is using it" if "locked" in str(error) else str(error)
        raise OSError(f"Cannot open the database {database}: {reason}.") from error
    except BaseException:
        db.close()
        raise
    return db


def _set_up(db: sqlite3.Connection, database: str) -> None:
    [(owner,)] = db.execute("PRAGMA application_id")
    [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master")
    if tables and owner != _APPLICATION_ID:
        raise OSError(f"The database {database} belongs to another program; it was left alone.")
    # One process at a time: two sandboxes on one file would give out the same ids.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    # A committed transaction is in the operating system's hands: it outlives kill -9 of this process. Not a power
    # cut, which may spoil the file: waiting for the disk would take most of the time of a start and of a stop.
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(_SCHEMA)


def _clock(number: int) -> str:
    # One second per commit instead of the time of day: the same calls give the same replies, always.
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_EPOCH + number))
