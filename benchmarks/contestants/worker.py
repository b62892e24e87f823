"""The process of one contestant: makes as many calls as it is told on standard input, and says what they cost.

Imports, connections and first calls are over before a clock runs. Standard library only: it serves in the environment
of the peers as well. By hand: `echo "64 5000" | python -m benchmarks.contestants.asynchronous lisn URL 64 default`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def serve(work: Callable[[int], Mapping[str, Any] | None]) -> None:
    """For each line `warm-up calls`: make that many calls, untimed, and then that many; print seconds as JSON.

    What `work` returns is added to what is printed, or replaces it.
    """
    # Libraries may print what they like; not here.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        warm_up, calls = map(int, line.split())
        if warm_up:
            work(warm_up)
        gc.collect()
        clock = Clock()
        more = work(calls)
        print(json.dumps({**clock.read(), **(more or {})}), file=answers, flush=True)


class Clock:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds: wall, and user and system time of this process."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {"cpu": cpu, "wall": wall}
