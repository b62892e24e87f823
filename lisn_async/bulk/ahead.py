"""Getting items ready before anybody has time to send them, a group at a time.

1. Making many, one right after the other, takes 10 % less of a run's CPU than making each in between other things.
2. With a journal, what is about to be sent has to be on the disk first. A write for each item costs as much as
   sending it, and somebody has to wait for the disk. Of a group all are noted with one write, and whoever sends
   finds items that need no wait.

One task reads the input, another notes what was read meanwhile: an input that is slow holds up nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from .job import Job
from .journal import Journal

LONGEST_TURN = 0.005
"""Seconds for which an input that takes its time is read before everything else has its turn."""


class Ahead:
    """Up to `most` items that are ready, or soon will be. `next_job` gives them one by one, None at the end."""

    def __init__(
        self, next_job: Callable[[], Awaitable[Job | None]], journal: Journal | None, most: int
    ) -> None:
        self._next_job = next_job
        self._journal = journal
        self._most = most
        self._count = 0  # of what was read and not taken yet
        self._is_at_end = False  # of the input
        self._is_over = False  # nothing more will be ready
        self._read: list[Job] = []
        self._noting: list[Job] = []
        self._ready: deque[Job] = deque()
        self._has_read = asyncio.Event()
        self._has_ready = asyncio.Event()
        self._has_room = asyncio.Event()

    async def take(self) -> Job | None:
        """The next item, with a journal on the disk as about to be sent; None once there is none."""
        while not self._ready:
            if self._is_over:
                return None
            self._has_ready.clear()
            await self._has_ready.wait()
        self._count -= 1
        if 2 * self._count <= self._most:  # enough for a group
            self._has_room.set()
        return self._ready.popleft()

    def left(self) -> list[Job]:
        """What was read, and perhaps noted, and has not been taken."""
        return [*self._ready, *self._noting, *self._read]

    async def read(self) -> None:
        """Read the input to its end, as far ahead as there is room."""
        try:
            turn_ends = time.monotonic() + LONGEST_TURN
            while (job := await self._next_job()) is not None:
                self._count += 1
                self._read.append(job)
                self._has_read.set()
                if self._count >= self._most:
                    self._has_room.clear()
                    await self._has_room.wait()
                elif time.monotonic() > turn_ends:
                    await asyncio.sleep(0)
                else:
                    continue
                turn_ends = time.monotonic() + LONGEST_TURN
        finally:
            self._is_at_end = True
            self._has_read.set()

    async def note(self) -> None:
        """Make ready what was read: all that came while the disk was busy, with one write."""
        try:
            while self._read or not self._is_at_end:
                if self._read:
                    self._noting, self._read = self._read, []
                    if self._journal is not None:
                        await self._note(self._noting, self._journal)
                    self._ready += self._noting
                    self._noting = []
                    self._has_ready.set()
                else:
                    self._has_read.clear()
                    await self._has_read.wait()
        finally:
            self._is_over = True
            self._has_ready.set()

    async def _note(self, jobs: list[Job], journal: Journal) -> None:
        for job in jobs:
            if job.made is None:  # else it only has to be given its name
                job.noted_at = time.monotonic()
                journal.sent(job.index, job.item.fingerprint)
        await journal.flushed()
