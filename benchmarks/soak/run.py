"""One soak: its processes, the load, and what they told in the end as one report."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import attrs

from benchmarks.soak.book import read
from benchmarks.soak.callers import Callers, contradicted
from benchmarks.soak.child import started
from benchmarks.soak.mix import Mix
from benchmarks.soak.reconciling import Truth, unexplained
from benchmarks.soak.sampling import Watched, growth

LONG = 300.0
"""Seconds of load from which on growth is judged: before, it is caches and the allocator that fill up."""
WARM_UP = 0.25
"""The first share of the samples, which growth is not taken from."""
MOST_MORE = 1024
"""KiB that may be needed in the end beyond what there was after the warm-up: a leak of 100 bytes in each of the calls of
ten minutes would be 2,900."""
MOST_GROWTH: Mapping[str, float] = {"memory": 256.0, "blocks": 300.0, "files": 1.0, "tasks": 1.0}
"""Per minute, of 3,000 calls. Memory in KiB: a leak of 100 bytes in each call would be 293, and without a leak the C
library still keeps more and more of what was freed. Blocks that Python has allocated: a leak of one object in ten calls would be 300. Files
and tasks: more than chance makes of a level line, and one that stays is seen in the end anyway."""
SAMPLED = {
    "memory": "memory, KiB",
    "blocks": "blocks of Python's",
    "files": "open files",
    "tasks": "tasks",
    "threads": "threads",
}
MOST_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""Threads that may stay: those of asyncio's executor, in which journals are written; they wait to be used again."""
MOST_CALLERS_ASSISTANTS = 60
"""Assistants of the backend's callers, more or less: a listing has to stay small."""


@attrs.frozen(kw_only=True)
class Load:
    """What is asked of both sides."""

    seconds: float = 600.0
    rate: float = 50.0
    faults: float = 0.05
    threads: int = 8


@attrs.frozen(kw_only=True)
class Side:
    """What one process did, and how it grew: per minute, by what; nothing after a load too short to say."""

    name: str
    counts: Mapping[str, int]
    errors: Mapping[str, int]
    watched: Watched
    growth: Mapping[str, float]

    @classmethod
    def of(cls, name: str, told: Mapping[str, Any], load: Load) -> Side:
        """What its process told in the end."""
        watched = Watched.from_json(told["watched"])
        steady = watched.during[int(len(watched.during) * WARM_UP) :]
        return cls(
            name=name,
            counts=told["counts"],
            errors=told["errors"],
            watched=watched,
            growth={what: growth(steady, what) for what in MOST_GROWTH} if load.seconds >= LONG else {},
        )

    @property
    def more(self) -> int:
        """KiB that are needed in the end beyond what there was after the warm-up, kept or needed."""
        during = self.watched.during
        return self.watched.needed - during[int(len(during) * WARM_UP)].memory

    def problems(self) -> list[str]:
        """Bounds that it has exceeded."""
        before, after = self.watched.before, self.watched.after
        problems = [
            f"{what} grew by {grew:.0f} per minute, more than {MOST_GROWTH[what]:.0f}"
            for what, grew in self.growth.items()
            if grew > MOST_GROWTH[what]
        ]
        if self.growth and self.more > MOST_MORE:
            problems.append(
                f"{self.more} KiB more are needed than after the warm-up, not {MOST_MORE} at most"
            )
        if after.files > before.files:
            problems.append(f"{after.files - before.files} files were left open")
        if after.tasks > before.tasks:
            problems.append(f"{after.tasks - before.tasks} tasks were left")
        if after.threads - before.threads > MOST_THREADS:
            problems.append(f"{after.threads - before.threads} threads were left, more than {MOST_THREADS}")
        if self.watched.slots:
            problems.append(f"{self.watched.slots} slots for connections were never given back")
        if self.watched.sessions:
            problems.append(f"{self.watched.sessions} sessions were left open")
        return [f"{self.name}: {problem}" for problem in problems]


@attrs.frozen(kw_only=True)
class Report:
    """What a soak has shown. `problems` are all departures in words; with none it was met."""

    load: Load
    sides: Sequence[Side]
    requests: int
    faults: Mapping[str, int]
    callers: Mapping[str, int]
    unexplained: Sequence[str]
    problems: Sequence[str]

    def as_table(self) -> str:
        """For a reader, in Markdown."""
        sides = self.sides
        lines = [f"| | {' | '.join(side.name for side in sides)} |", "|---" * (len(sides) + 1) + "|"]
        for call in ("list", "create", "get", "update", "delete", "duplicate"):
            cells = (_of(side.counts, call, ("done", "failed", "unknown")) for side in sides)
            lines.append(f"| `{call}`: done, failed, unknown | {' | '.join(cells)} |")
        bulk = (_of(side.counts, "create_many", ("done", "cancelled")) for side in sides)
        lines.append(f"| `create_many`: done, to be run again | {' | '.join(bulk)} |")
        for what, shown in SAMPLED.items():
            cells = (_course(side.watched, what) for side in sides)
            lines.append(f"| {shown}: before; first, last, most; after | {' | '.join(cells)} |")
        for what, most in MOST_GROWTH.items():
            slopes = (f"{side.growth[what]:+.2f}" if side.growth else "–" for side in sides)
            lines.append(f"| {SAMPLED[what]}: growth per minute, at most {most:.0f} | {' | '.join(slopes)} |")
        needed = (f"{side.watched.needed:,} ({side.more:+,})" for side in sides)
        lines.append(
            f"| memory needed in the end, KiB (beyond what there was after the warm-up) | {' | '.join(needed)} |"
        )
        errors = (", ".join(f"{n:,} {kind}" for kind, n in sorted(side.errors.items())) for side in sides)
        lines.append(f"| errors | {' | '.join(errors)} |")
        faults = sum(self.faults.values())
        share = 100 * faults / max(1, self.requests)
        callers = ", ".join(f"{n:,} {what}" for what, n in sorted(self.callers.items()))
        summary = (
            f"{self.load.seconds:.0f} s at {self.load.rate:.0f} calls per second on either side:"
            f" {self.requests:,} requests reached the sandbox, {faults:,} ({share:.1f} %) met a fault of"
            f" {len(self.faults)} kinds; {len(self.unexplained)} outcomes unexplained."
        )
        return "\n".join([summary, f"Callers of the backend: {callers}.", "", *lines, ""])


def _of(counts: Mapping[str, int], call: str, outcomes: Sequence[str]) -> str:
    return ", ".join(f"{counts.get(f'{call} {outcome}', 0):,}" for outcome in outcomes)


def _course(watched: Watched, what: str) -> str:
    during = [getattr(sample, what) for sample in watched.during]
    before, after = getattr(watched.before, what), getattr(watched.after, what)
    return f"{before:,}; {during[0]:,}, {during[-1]:,}, {max(during):,}; {after:,}"


async def soak(load: Load) -> Report:
    """Run it. Every process that it started has ended when it returns."""
    with tempfile.TemporaryDirectory(prefix="lisn-soak-") as name:
        folder = Path(name)
        truth = folder / "truth.json"
        async with started("sandbox", load.faults, truth) as sandbox:
            where = await sandbox.said()
            address = (where["base_url"], where["token"], folder)
            async with (
                started("backend", *address) as backend,
                started("threads", *address, load.seconds, load.rate, load.threads) as threads,
            ):
                url = (await backend.said())["url"]
                await threads.said()
                callers = await _call(url, load)
                backend.tell("stop")
                told = [await backend.said(), await threads.said()]
                ended = {"backend": await backend.ended(), "threads": await threads.ended()}
            sandbox.tell("stop")
            ended["sandbox"] = await sandbox.ended()
        noted = read(folder / "backend.jsonl")
        entries = noted + read(folder / "threads.jsonl")
        found = json.loads(truth.read_text())
    sides = [Side.of("backend", told[0], load), Side.of("threads", told[1], load)]
    unaccounted = [
        *(f"{side.name}: {wrong}" for side, one in zip(sides, told, strict=True) for wrong in one["wrong"]),
        *contradicted(callers.told, noted),
        *unexplained(entries, Truth.from_json(found)),
    ]
    problems = [
        *unaccounted,
        *(problem for side in sides for problem in side.problems()),
        *(f"{name} ended badly: {problem}" for name, problems in ended.items() for problem in problems),
    ]
    return Report(
        load=load,
        sides=sides,
        requests=found["requests"],
        faults=Counter(found["faults"]),
        callers={**callers.counts, "at once": callers.most_at_once},
        unexplained=unaccounted,
        problems=problems,
    )


async def _call(url: str, load: Load) -> Callers:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        callers = Callers(session, url, Mix("c", MOST_CALLERS_ASSISTANTS))
        await callers.call(load.seconds, load.rate)
    return callers
