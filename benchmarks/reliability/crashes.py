"""R1 to R4: bulk jobs against a server that breaks, killed with SIGKILL again and again, judged by what is there.

The judge is the sandbox's: it compares the assistants in its database with what the job was told to make and with
what the job said of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from benchmarks.reliability._job import Plan, Where, finish, start, verdict
from benchmarks.reliability.rows import Profile, Row
from lisn_async.sandbox import Sandbox, Verdict, storm

JOURNAL_HEAD = 1
"""Lines of a journal that are written before the process can be killed at one: the run."""


def run(profile: Profile) -> list[Row]:
    """The four rows."""
    return asyncio.run(_rows(profile))


async def _rows(profile: Profile) -> list[Row]:
    many = Plan(count=profile.pick(tiny=60, fast=1500, full=10_000))
    small = Plan(count=profile.pick(tiny=20, fast=300, full=300), settle=0.05)
    fifty = Plan(count=profile.pick(tiny=8, fast=50, full=50), settle=0.05)
    seeds = profile.pick(tiny=2, fast=10, full=100)
    step = profile.pick(tiny=7, fast=5, full=1)
    return [
        await _killed_at_random("R1", many, share=0.2, late=False, kills=3),
        await _killed_at_random("R2", many, share=0.5, late=True, kills=7),
        await _killed_at_random_lines("R3", small, seeds),
        await _killed_at_every_line("R4", fifty, step),
    ]


async def _killed_at_random(name: str, plan: Plan, *, share: float, late: bool, kills: int) -> Row:
    chance = random.Random(f"{name} {plan.count}")
    began, killed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox() as box:
            box.faults = storm(share, late=late)
            where = _files(box, Path(folder))
            seen = 0
            for _ in range(kills):
                process = start(plan, where)
                seen += int(chance.uniform(0.2, 1.5) * plan.count / (kills + 1))
                await _created(box, seen, process.sentinel)
                with contextlib.suppress(ProcessLookupError):  # it came to its end first
                    os.kill(process.pid, signal.SIGKILL)
                killed += await finish(process) == -signal.SIGKILL
            status = await finish(start(plan, where))
            await box.quiet()
            result = verdict(box, plan, where)
            struck = sum(request.fault is not None for request in box.seen)
    figures = {
        "creates": plan.count,
        "kills": killed,
        "faults": struck,
        **_counts([result]),
        "s": round(time.monotonic() - began),
    }
    kinds = "16 kinds of fault, late commits" if late else "16 kinds of fault"
    what = f"{plan.count:,} creates, {plan.twins:.0%} identical, {kinds} at {share:.0%}, {kills} x kill -9"
    return Row(
        name=name, what=what, figures=figures, is_met=_is_met([result]) and status == 0 and killed == kills
    )


async def _created(box: Sandbox, count: int, sentinel: int) -> None:
    """Return when the server has seen so many creates, or when the process has ended by itself."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sentinel, ended.set)
    waits = [
        loop.create_task(box.received(count, operation="create", within=300)),
        loop.create_task(ended.wait()),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(sentinel)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _killed_at_random_lines(name: str, plan: Plan, seeds: int) -> Row:
    results = []
    for seed in range(seeds):
        chance = random.Random(seed)
        # Every item has at least two lines, and a fault adds some.
        kill_at = (chance.randrange(JOURNAL_HEAD, 2 * plan.count), chance.choice((0.0, 0.5, 1.0)))
        results.append(await _killed_once(plan, kill_at, seed, share=0.1))
    what = f"{seeds} seeds x {plan.count} creates, faults at 10%, kill -9 at a random journal line, torn or whole"
    figures = {"jobs": seeds, "creates": seeds * plan.count, **_counts(results)}
    return Row(name=name, what=what, figures=figures, is_met=_is_met(results))


async def _killed_at_every_line(name: str, plan: Plan, step: int) -> Row:
    lines = range(JOURNAL_HEAD, 2 * plan.count + 2, step)
    results = [
        await _killed_once(plan, (line, share), 0, share=0.0) for line in lines for share in (0.0, 1.0)
    ]
    every = "every" if step == 1 else f"every {step}th"
    what = f"kill -9 at {every} journal boundary of a {plan.count}-item run"
    figures = {"jobs": len(results), "creates": len(results) * plan.count, **_counts(results)}
    return Row(name=name, what=what, figures=figures, is_met=_is_met(results))


async def _killed_once(plan: Plan, kill_at: tuple[int, float], seed: int, *, share: float) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox(seed=seed) as box:
            box.faults = storm(share)
            where = _files(box, Path(folder))
            if await finish(start(plan, where, kill_at)) not in (-signal.SIGKILL, 0):
                raise RuntimeError(f"a job failed by itself (seed {seed}, line {kill_at})")
            await finish(start(plan, where))
            return verdict(box, plan, where)


def _files(box: Sandbox, folder: Path) -> Where:
    return Where(
        base_url=box.base_url, token=box.token, journal=folder / "job.journal", result=folder / "result.json"
    )


def _counts(results: list[Verdict]) -> Mapping[str, int]:
    names = ("lost", "duplicated", "unexplained", "wrong_id", "failed", "unknown")
    total = Counter({name: sum(getattr(result, name) for result in results) for name in names})
    return {name.replace("_", " "): total[name] for name in names}


def _is_met(results: list[Verdict]) -> bool:
    return all(result.is_clean and not result.duplicated for result in results)
