"""P1: what the journal costs, and what a long stream of creates costs in memory."""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reliability.rows import Profile, Row
from benchmarks.responder import responder
from lisn_async import AssistantCreate, AsyncLisn

MOST_WALL = 5.0
"""Percent of time that the journal may add at 64 workers."""
MOST_GROWTH = 6.0
"""MiB that a stream of any length may add."""


def run(profile: Profile) -> list[Row]:
    """The three rows."""
    return [
        _journal(profile, 0.02, "against a service that takes 20 ms"),
        _journal(profile, 0.0, "against one that takes no time", note="the client is the bottleneck"),
        _memory(profile),
    ]


def specs(count: int) -> Iterator[AssistantCreate]:
    """Assistants of a usual size, one at a time."""
    for n in range(count):
        yield AssistantCreate(name=f"n{n}", type="text", llm_provider="openai", system_prompt="p" * 1500)


def _journal(profile: Profile, seconds: float, where: str, note: str = "") -> Row:
    count = profile.pick(tiny=50, fast=2000, full=5_000)
    repeats = profile.pick(tiny=2, fast=5, full=15)
    with responder(seconds) as base_url, tempfile.TemporaryDirectory() as folder:
        pairs = []
        for n in range(repeats):  # in turns, so that noise of the machine hits both
            without = _spent(base_url, count, None)
            pairs.append((without, _spent(base_url, count, Path(folder) / f"{n}.journal")))
    wall = [100 * (with_[0] / without[0] - 1) for without, with_ in pairs]
    cpu = [100 * (with_[1] / without[1] - 1) for without, with_ in pairs]
    low, middle, high = statistics.quantiles(wall, n=4)
    figures: dict[str, int | float | str] = {
        "wall %": round(middle, 1),
        "quartiles": f"{low:.1f} to {high:.1f}",
        "cpu %": round(statistics.median(cpu), 1),
    }
    what = f"what a journal adds to {count:,} creates at 64 workers {where}"
    is_promised = repeats > 2 and not note
    is_met = middle <= MOST_WALL if is_promised else None
    return Row(name="P1", what=what, figures=figures, is_met=is_met, note=note)


def _spent(base_url: str, count: int, journal: Path | None) -> tuple[float, float]:
    """Seconds of wall and of CPU (user and system) for a run."""

    def cpu() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    async def create() -> tuple[float, float]:
        async with AsyncLisn("token", base_url=base_url) as client:
            began = time.perf_counter(), cpu()
            await client.assistants.create_many(specs(count), journal=journal)
            return time.perf_counter() - began[0], cpu() - began[1]

    return asyncio.run(create())


def _memory(profile: Profile) -> Row:
    few = profile.pick(tiny=50, fast=1_000, full=1_000)
    many = profile.pick(tiny=200, fast=20_000, full=100_000)
    with responder() as base_url:
        peaks = {count: _peak(base_url, count) for count in (few, many)}
    growth = peaks[many] - peaks[few]
    figures = {f"peak MiB at {count:,}": round(peak, 1) for count, peak in peaks.items()}
    what = f"memory of create_each, outcomes dropped, {few:,} and {many:,} items"
    return Row(
        name="P1",
        what=what,
        figures={**figures, "growth MiB": round(growth, 1)},
        is_met=growth <= MOST_GROWTH,
    )


def _peak(base_url: str, count: int) -> float:
    """MiB: the largest a process of its own ever was while it created so many."""
    command = [sys.executable, "-m", "benchmarks.reliability.cost", base_url, str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _stream(base_url: str, count: int) -> None:
    async with AsyncLisn("token", base_url=base_url) as client:
        async for _ in client.assistants.create_each(specs(count)):
            pass


def _peak_of_this_process() -> float:
    """MiB. Not `ru_maxrss`: Linux hands that on from the process that started this one."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    asyncio.run(_stream(sys.argv[1], int(sys.argv[2])))
    print(_peak_of_this_process())
