"""Noting items in the journal before anybody has time to send them, many with one write.

What is about to be sent has to be on the disk first. A write for each item costs as much as sending it, and has
somebody wait for the disk. So one task reads the input a little ahead, another has all that was read noted at once,
and whoever sends finds items that need no wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from .job import Job
from .journal import Journal


class Ahead:
    """Up to `most` items that are noted already, or soon will be. `next_job` gives them one by one, None at the end."""

    def __init__(self, next_job: Callable[[], Awaitable[Job | None]], journal: Journal, most: int) -> None:
        self._next_job = next_job
        self._journal = journal
        self._most = most
        self._count = 0  # of what was read and not taken yet
        self._is_at_end = False  # of the input
        self._is_over = False  # nothing more will be noted
        self._read: list[Job] = []
        self._writing: list[Job] = []
        self._noted: deque[Job] = deque()
        self._has_read = asyncio.Event()
        self._has_noted = asyncio.Event()
        self._has_room = asyncio.Event()

    async def take(self) -> Job | None:
        """The next item, on the disk as about to be sent; None once there is none."""
        while not self._noted:
            if self._is_over:
                return None
            self._has_noted.clear()
            await self._has_noted.wait()
        self._count -= 1
        if 2 * self._count <= self._most:  # enough room for a large group
            self._has_room.set()
        return self._noted.popleft()

    def left(self) -> list[Job]:
        """What was read, and perhaps noted, and has not been taken."""
        return [*self._noted, *self._writing, *self._read]

    async def read(self) -> None:
        """Read the input to its end, as far ahead as there is room."""
        try:
            while (job := await self._next_job()) is not None:
                self._count += 1
                self._read.append(job)
                self._has_read.set()
                if self._count >= self._most:
                    self._has_room.clear()
                    await self._has_room.wait()
        finally:
            self._is_at_end = True
            self._has_read.set()

    async def note(self) -> None:
        """Note what was read, all that came while the disk was busy with one write."""
        try:
            while self._read or not self._is_at_end:
                if self._read:
                    await self._note_all()
                else:
                    self._has_read.clear()
                    await self._has_read.wait()
        finally:
            self._is_over = True
            self._has_noted.set()

    async def _note_all(self) -> None:
        self._writing, self._read = self._read, []
        for job in self._writing:
            if job.made is None:  # else it only has to be given its name
                job.noted_at = time.monotonic()
                self._journal.sent(job.index, job.fingerprint)
        await self._journal.flushed()
        self._noted += self._writing
        self._writing = []
        self._has_noted.set()
