"""Memory, open files, tasks and threads of this process, and how memory grows."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import statistics
import sys
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import attrs

from lisn_async import AsyncLisn

EVERY = 1.0
"""Seconds between two samples."""


@attrs.frozen
class Sample:
    """One look at a process. `memory` is in KiB, `at` in seconds of the monotonic clock.

    `blocks` are what Python has allocated: unlike memory they do not depend on how full its pages are.
    """

    at: float
    memory: int
    blocks: int
    files: int
    tasks: int
    threads: int

    @classmethod
    def now(cls, tasks: int) -> Sample:
        """This process; somebody in its loop has counted the tasks."""
        gc.collect()  # cycles wait for Python's own collection for minutes, and would look like growth
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            at=time.monotonic(),
            memory=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            blocks=sys.getallocatedblocks(),
            files=sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1,  # without the one that lists them
            tasks=tasks,
            threads=threading.active_count(),
        )

    def is_back_at(self, before: Sample) -> bool:
        """Whether no file and no task is left that was not there before."""
        return self.files <= before.files and self.tasks <= before.tasks


class Samples:
    """A series of them, kept as plain numbers: objects would be the growth that they are to measure."""

    def __init__(self) -> None:
        self._numbers = array("d")

    def append(self, sample: Sample) -> None:
        """Add the next."""
        self._numbers.extend(attrs.astuple(sample))

    def all(self) -> list[Sample]:
        """All of them."""
        width = len(attrs.fields(Sample))
        rows = (self._numbers[start : start + width] for start in range(0, len(self._numbers), width))
        return [Sample(at, *map(int, counts)) for at, *counts in rows]


@attrs.frozen(kw_only=True)
class Watched:
    """What was sampled of one process: idle before the load, every second of it, idle after it.

    `slots` are those of the client's connections that are taken when nothing is under way, and `sessions` those of
    aiohttp that are open when the client is closed. `needed` is the memory in the end, without what is only kept.
    """

    before: Sample
    during: Sequence[Sample]
    after: Sample
    slots: int
    sessions: int
    needed: int

    @classmethod
    def of_this(cls, before: Sample, during: Samples, after: Sample, slots: int) -> Watched:
        """This process; its client is closed by now."""
        return cls(
            before=before,
            during=during.all(),
            after=after,
            slots=slots,
            sessions=open_sessions(),
            needed=needed_memory(),
        )

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Watched:
        """What another process has told."""
        during = [Sample(**one) for one in told["during"]]
        before, after = Sample(**told["before"]), Sample(**told["after"])
        rest = {name: told[name] for name in ("slots", "sessions", "needed")}
        return cls(before=before, during=during, after=after, **rest)


def needed_memory() -> int:
    """KiB of this process when glibc has given back what it keeps of freed memory, which may grow for hours."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return Sample.now(0).memory


def taken_slots(client: AsyncLisn) -> int:
    """Nobody can see from outside that one is lost, until the last of them is."""
    pools = client._calls.transport._pools.values()
    return sum(client._calls.settings.max_connections - pool.slots._value for pool in pools)


def open_sessions() -> int:
    """Those of this process: one that is idle holds no file by which it could be seen."""
    gc.collect()
    return sum(type(one) is aiohttp.ClientSession and not one.closed for one in gc.get_objects())


def growth(samples: Sequence[Sample], what: str) -> float:
    """Per minute: the median of the slopes between any two samples (Theil and Sen), which no outlier moves."""
    slopes = [
        (getattr(later, what) - getattr(sooner, what)) / (later.at - sooner.at)
        for sooner, later in itertools.combinations(samples, 2)
    ]
    return 60 * statistics.median(slopes) if slopes else 0.0
