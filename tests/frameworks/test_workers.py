"""The recipes for workers as they stand: real Celery on a real Redis, a real process pool, and real kill -9."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from lisn_sync import RateLimit, Sandbox
from tests.fix_redis import RedisServer

from .conftest import MISHAPS, RECIPES, WITHIN, Program, Start, environment_for, needs
from .fix_backends import Relay
from .fix_permits import watched

NEEDS_CELERY = needs("celery", "redis", "pyrate_limiter")
PARTS, ITEMS = 4, 120
ANSWERED = 30
"""Creates that are answered while a job is to be stuck: about as many as a partition has, so at most one is done."""
STUCK: list[Any] = [
    {"do": "hang", "when": "after", "operation": "create", "skip": ANSWERED, "times": 8},
    {"do": "hang", "when": "before", "operation": "create", "skip": ANSWERED, "times": None},
]
"""Of all others eight are made all the same."""


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def mishaps(log: str) -> list[str]:
    """What went wrong in a log, without what Celery says of itself, and what the test did to it."""
    ours = re.compile(r"SecurityWarning|WorkerLostError|JournalInUseError|Traceback|site-packages/celery/")
    return [line for line in log.splitlines() if MISHAPS.search(line) and not ours.search(line)]


def items_in(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Items in a file: alike in their prompt, and every fifth the same as the one before."""
    names = [f"Agent {number - (number % 5 == 4)}" for number in range(ITEMS)]
    fixed = {"type": "text", "llm_provider": "openai", "system_prompt": "Be brief.\u2028And kind."}
    items = [{"name": name, **fixed} for name in names]
    file = folder / "items.jsonl"
    file.write_text("\n".join(json.dumps(item, ensure_ascii=False) for item in items), "utf-8")
    return file, items


def part_of(item: dict[str, Any]) -> int:
    return crc32(item["name"].encode()) % PARTS


def remembered(
    items: list[dict[str, Any]], journals: Path, open_questions: Collection[int] = ()
) -> list[dict[str, Any]]:
    """What the journals say became of each item, for the judge; some partitions end with items of unknown fate."""
    outcomes = []
    for part in range(PARTS):
        facts = [json.loads(line) for line in (journals / f"{part}.journal").read_bytes().splitlines()]
        ids = {fact["created"]: fact["id"] for fact in facts if "created" in fact}
        mine = [item for item in items if part_of(item) == part]
        for index, item in enumerate(mine):
            missing = {"outcome": "unknown" if part in open_questions else "failed"}
            named = {"id": ids[index], "outcome": "created"} if index in ids else missing
            outcomes.append({"fields": item, **named})
    return outcomes


def children_of(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):  # it ends, or one of its threads: those who call look again
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *children_of(child)]
    return found


def stuck(box: Sandbox, items: list[dict[str, Any]], journals: Path, program: Program) -> dict[int, int]:
    """Once at least two partitions can go on no more: these, and the processes that have them.

    One of the first kind comes first: it has made something.
    """
    found: dict[int, int] = {}

    def are_stuck() -> bool:
        found.clear()
        found.update(dict(sorted(held(journals, program).items(), key=lambda one: -created(one[0]))))
        for part in list(found):
            if created(part) == sum(part_of(item) == part for item in items):
                del found[part]  # what it still has to do, it can
        hanging = sum(request.fault == "hang" for request in box.seen)
        return hanging > 12 and len(found) > 1 and created(next(iter(found))) > 0

    def created(part: int) -> int:
        return (journals / f"{part}.journal").read_bytes().count(b'"created"')

    wait_until(are_stuck, program)
    return found


def held(journals: Path, program: Program) -> dict[int, int]:
    """The partitions whose journals are open, and the processes that have them."""
    files = [journals / f"{part}.journal" for part in range(PARTS)]
    found = {}
    for child in children_of(program.pid):
        with contextlib.suppress(OSError):  # closed, or gone, meanwhile
            for descriptor in Path(f"/proc/{child}/fd").iterdir():
                if (opened := descriptor.readlink()) in files:
                    found[files.index(opened)] = child
    return found


def wait_until(is_so: Callable[[], bool], program: Program) -> None:
    until = time.monotonic() + WITHIN
    while not is_so():
        assert time.monotonic() < until, program.log
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["celery_calls", "celery_partitions", "process_pool"])
def test_a_recipe_for_workers_is_at_most_ten_lines(name: str) -> None:
    """Without imports."""
    lines = (RECIPES / f"{name}.py").read_text().splitlines()
    code = {number for number, line in enumerate(lines, 1) if line.strip()}
    for node in ast.parse("\n".join(lines)).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring or isinstance(node, ast.Import | ast.ImportFrom):
            code -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    assert len(code) <= 10


# --- Celery ---------------------------------------------------------------------------------------------


def celery_worker(start: Start, app: str, box: Any, redis: RedisServer, processes: int) -> Program:
    arguments = ("-m", "celery", "--app", app, "--workdir", str(RECIPES), "worker")
    options = ("--pool", "prefork", "--concurrency", str(processes), "--loglevel", "info")
    worker = start(*arguments, *options, box=box, REDIS_URL=redis.url)
    worker.wait_for(r"ready\.$")
    return worker


CALLS = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
from celery import group
from celery_calls import create
from lisn_sync import APIConnectionError, AuthenticationError, ValidationError

fields = dict(type="text", llm_provider="grok", system_prompt="p")

def failure(**fields):
    return create.delay(fields).get(propagate=False)

error = failure(name="refused", **fields)
assert type(error) is AuthenticationError and (error.status_code, error.attempts) == (401, 1), repr(error)
error = failure(name="lost", **fields)
assert type(error) is APIConnectionError and error.outcome_unknown, repr(error)
error = failure(name="", **fields)
assert type(error) is ValidationError and list(error.fields) == ["name"], repr(error)
print("made", create.delay({"name": "declined", **fields}).get())
signal.sigwait([signal.SIGUSR1])
made = group(create.s({"name": f"many {number}", **fields}) for number in range(45))().get()
assert len(set(made)) == 45
print("done")
"""


@NEEDS_CELERY
@pytest.mark.timeout(300)
async def test_calls_of_celery_tasks_keep_one_limit_and_raise_what_was_raised(
    box: Sandbox, redis_port: RedisServer, start: Start
) -> None:
    box.faults = [401, {"do": "reset", "when": "after"}, *[{"status": 429, "retry_after": 0}] * 3]
    async with Relay(box).listening() as relay:
        worker = await asyncio.to_thread(celery_worker, start, "celery_calls", relay, redis_port, 3)
        caller = start("-c", CALLS, box=relay, REDIS_URL=redis_port.url)
        await asyncio.to_thread(caller.wait_for, "^made")
        # No reply before three are under way, for which it takes all three processes.
        so_far = len(box.seen)
        relay.gate.clear()
        with watched(redis_port) as permits:
            caller.process.send_signal(signal.SIGUSR1)
            await asyncio.to_thread(box.received, so_far + 3)
            relay.gate.set()
            assert await asyncio.to_thread(caller.wait) == 0, caller.log + worker.log
        permits.assert_kept(RateLimit(600, per_seconds=60, burst=20))
        names = [row["name"] for row in box.assistants()]
        assert sorted(names) == sorted(["lost", "declined", *(f"many {number}" for number in range(45))])
        assert len(set(re.findall(r"ForkPoolWorker-\d+", worker.log))) == 3
        assert "Retry in" in worker.log
        assert (await asyncio.to_thread(worker.stop))[0] == 0
        assert mishaps(worker.log) == []


@NEEDS_CELERY
@pytest.mark.timeout(300)
def test_a_folder_that_does_not_exist_fails_at_once_and_is_named(
    box: Sandbox, redis_port: RedisServer, start: Start, tmp_path: Path
) -> None:
    file, _ = items_in(tmp_path)
    celery_worker(start, "celery_partitions", box, redis_port, 2)
    job = start(
        *(sys.executable, str(RECIPES / "celery_partitions.py"), str(file), str(tmp_path / "none")),
        box=box,
        REDIS_URL=redis_port.url,
    )
    assert job.wait() == 1
    assert re.search(rf"JournalError: cannot open the journal {tmp_path}/none/\d\.journal", job.log), job.log
    assert len(box.seen) == 0


@NEEDS_CELERY
@pytest.mark.timeout(300)
def test_a_partition_whose_worker_is_killed_or_that_is_handed_out_twice_is_made_once(
    box: Sandbox, redis_port: RedisServer, start: Start, tmp_path: Path
) -> None:
    file, items = items_in(tmp_path)
    box.faults = STUCK
    worker = celery_worker(start, "celery_partitions", box, redis_port, 5)
    job = start(
        *(sys.executable, str(RECIPES / "celery_partitions.py"), str(file), str(tmp_path)),
        box=box,
        REDIS_URL=redis_port.url,
    )
    (_, killed), (twice, _), *_ = stuck(box, items, tmp_path, worker).items()
    again = start(
        "-c",
        f"from celery_partitions import create_part\n"
        f"print(create_part.delay({str(file)!r}, {str(tmp_path)!r}, 4, {twice}).get(), 'created')",
        box=box,
        REDIS_URL=redis_port.url,
    )
    worker.wait_for(rf"Retry in .*JournalInUseError.*{twice}\.journal is in use")
    os.kill(killed, signal.SIGKILL)
    box.faults = []
    assert job.wait() == 0, job.log + worker.log
    assert again.wait() == 0, again.log + worker.log

    assert job.log.strip() == f"{ITEMS} created"
    assert again.log.strip() == f"{sum(part_of(item) == twice for item in items)} created"
    verdict = box.judge(remembered(items, tmp_path))
    assert (verdict.lost, verdict.duplicated, verdict.unexplained, verdict.wrong_id) == (0, 0, 0, 0)
    assert verdict.created == len(box.assistants()) == ITEMS
    assert "SIGKILL" in worker.log
    assert worker.stop()[0] == 0
    assert mishaps(worker.log) == []


# --- a process pool -------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker to be killed in /proc")
def test_a_pool_whose_worker_is_killed_goes_on_elsewhere_and_makes_nothing_twice(
    box: Sandbox, start: Start, tmp_path: Path
) -> None:
    file, items = items_in(tmp_path)
    here, elsewhere, home = tmp_path / "here", tmp_path / "elsewhere", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    box.faults = STUCK
    recipe = str(RECIPES / "process_pool.py")
    first = start(sys.executable, recipe, str(file), str(here), box=box)
    os.kill(next(iter(stuck(box, items, here, first).values())), signal.SIGKILL)
    assert first.wait() != 0
    box.faults = []
    # All are killed with the one. Of a partition whose first reply had not come yet, nothing shows later that a listing
    # is not an old one: what it lacks may be there.
    new = {int(one.stem) for one in here.glob("?.journal") if b'"created"' not in one.read_bytes()}

    shutil.copytree(here, elsewhere)
    for journal in elsewhere.iterdir():  # more than `timeout` has passed, so nothing of it can be under way
        os.utime(journal, (time.time() - 120, time.time() - 120))
    environment = environment_for(box.base_url, box.token)
    second = Program([sys.executable, recipe, str(file), str(elsewhere)], environment, cwd=home)
    try:
        assert second.wait() == 0, second.log
    finally:
        second.kill()

    said = re.findall(r"^(\d+) created, 0 failed, (\d+) unknown$", second.log, re.MULTILINE)
    assert len(said) == PARTS, second.log
    for part, (created, unknown) in enumerate(said):
        assert int(created) + int(unknown) == sum(part_of(item) == part for item in items), second.log
        assert part in new or unknown == "0", second.log
    verdict = box.judge(remembered(items, elsewhere, new))
    assert (verdict.lost, verdict.duplicated, verdict.unexplained, verdict.wrong_id) == (0, 0, 0, 0)
    assert new or len(box.assistants()) == ITEMS
    assert not MISHAPS.search(second.log), second.log
