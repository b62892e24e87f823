"""An import that is stopped, by Ctrl-C, SIGTERM or kill -9: the same command again finishes it, nothing twice."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
from asyncio.subprocess import Process
from collections import Counter
from pathlib import Path

import pytest

from lisn_async.sandbox import Sandbox
from tests.fix_cli import PLAN, lisn, started, table, without_slowness

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
QUICK = ["--settle", "0"]


def rows(count: int) -> str:
    return "name,system_prompt\n" + "".join(f"n{number},p\n" for number in range(count))


async def again(*arguments: str, box: Sandbox) -> str:
    """The same command, which now has to finish; what it said."""
    done = await asyncio.to_thread(lisn, *arguments, box=box)
    assert done.returncode == 0, done.stderr
    return done.stderr


def assert_every_row_is_there_once(box: Sandbox, count: int) -> None:
    made = Counter(one["name"] for one in box.assistants())
    assert made == Counter(f"n{number}" for number in range(count))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def end_of(process: Process) -> tuple[str, str]:
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    return out.decode(), without_slowness(err.decode())


@BOTH
async def test_an_interrupted_import_is_finished_by_the_command_it_names(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
):
    sandbox.faults = [
        {"do": "hang", "operation": "create", "when": "after", "skip": 5},
        {"do": "hang", "operation": "create", "skip": 5, "times": 2},
    ]
    command = ["import", table(tmp_path, rows(20)), *PLAN, *QUICK, "--max-concurrency", "3"]
    async with started(*command, box=sandbox) as process:
        await sandbox.received(8, operation="create")
        await sandbox.answered(5, operation="create")
        process.send_signal(number)
        _, err = await end_of(process)
    assert process.returncode == 130
    assert "3 more were under way" in err
    assert names_in(tmp_path) == ["in.csv", "in.csv.journal"]
    named = next(line for line in err.splitlines() if "To finish, run: " in line).partition("run: ")[2]
    assert shlex.split(named) == ["lisn", *command]
    await again(*command, box=sandbox)
    assert_every_row_is_there_once(sandbox, 20)
    assert names_in(tmp_path) == ["in.csv"]


async def test_the_command_to_go_on_with_does_not_start_over(sandbox: Sandbox, tmp_path: Path):
    sandbox.faults = [{"do": "hang", "operation": "create", "skip": 1}]
    command = ["import", table(tmp_path, rows(2)), *PLAN, "--max-concurrency", "1", "--fresh"]
    async with started(*command, "--set", "webhook_secret=s3cr3t", box=sandbox) as process:
        await sandbox.received(2, operation="create")
        process.send_signal(signal.SIGINT)
        _, err = await end_of(process)
    assert "--fresh" not in err
    assert "s3cr3t" not in err


@BOTH
async def test_the_second_signal_ends_the_wait(sandbox: Sandbox, tmp_path: Path, number: signal.Signals):
    sandbox.faults = [{"do": "hang", "operation": "create", "times": None}]
    command = ["import", table(tmp_path, rows(4)), *PLAN, *QUICK]
    async with started(*command, "--json", box=sandbox) as process:
        await sandbox.received(4, operation="create")
        process.send_signal(number)
        await asyncio.sleep(0.05)  # two at once are one for the kernel
        with contextlib.suppress(
            ProcessLookupError
        ):  # where this machine stood still, the first one has ended it
            process.send_signal(number)
        out, err = await end_of(process)
    assert process.returncode == 130
    assert "4 more were under way" in err
    summary = json.loads(out)
    assert (summary["interrupted"], summary["created"]) == (True, 0)
    assert summary["journal"].endswith("in.csv.journal")
    sandbox.faults = []
    await again(*command, box=sandbox)
    assert_every_row_is_there_once(sandbox, 4)


@pytest.mark.parametrize("kills", [1, 3])
async def test_kill_9_amid_faults_makes_nothing_twice_and_loses_nothing(
    sandbox: Sandbox, tmp_path: Path, kills: int
):
    await again("import", table(tmp_path, rows(3)), *PLAN, box=sandbox)
    sandbox.clear()
    faults = [
        {"do": what, "when": when, "operation": "create", "times": None, "probability": 0.08}
        for what in ("reset", "close", "cut")
        for when in ("before", "after")
        if (what, when) != ("cut", "before")
    ]
    faults += [{"status": 503, "when": "after", "operation": "create", "times": None, "probability": 0.08}]
    faults += [{"status": 429, "retry_after": 0, "operation": "create", "times": None, "probability": 0.08}]
    sandbox.faults = faults
    command = ["import", table(tmp_path, rows(200)), *PLAN, *QUICK, "--max-concurrency", "8"]
    for kill in range(kills):
        before = len([one for one in sandbox.seen if one.operation == "create"])
        async with started(*command, box=sandbox) as process:
            await sandbox.received(before + 40 + kill, operation="create")
            process.kill()
            await process.wait()
        assert names_in(tmp_path) == ["in.csv", "in.csv.journal"]
    sandbox.faults = []
    await again(*command, box=sandbox)
    assert_every_row_is_there_once(sandbox, 200)
    assert names_in(tmp_path) == ["in.csv"]


@BOTH
async def test_a_signal_while_rows_are_checked_sends_nothing(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
):
    os.mkfifo(tmp_path / "pipe")
    command = ["import", str(tmp_path / "pipe"), "--format", "csv", *PLAN, "--json"]
    async with started(*command, box=sandbox) as process:
        writer = await asyncio.to_thread((tmp_path / "pipe").open, "wb", 0)  # returns once the command reads
        with writer:
            # More than a pipe holds: once it is written, the command is in the middle of reading.
            await asyncio.to_thread(writer.write, rows(30_000).encode())
            process.send_signal(number)
            out, err = await end_of(process)
    assert process.returncode == 130
    assert err.splitlines()[-2:] == ["nothing was sent", "interrupted"]
    assert json.loads(out) == {"error": "interrupted"}
    assert sandbox.seen == []
    assert names_in(tmp_path) == ["pipe"]


@BOTH
async def test_a_signal_before_the_first_create_leaves_nothing_behind(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
):
    sandbox.faults = [{"do": "hang", "operation": "list"}]
    command = ["import", table(tmp_path, rows(3)), *PLAN]
    async with started(*command, box=sandbox) as process:
        await sandbox.received(1, operation="list")
        process.send_signal(number)
        _, err = await end_of(process)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted: nothing was sent"
    assert names_in(tmp_path) == ["in.csv"]


@BOTH
async def test_a_signal_while_lost_replies_settle_leaves_them_to_the_next_run(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
):
    sandbox.faults = [{"do": "close", "operation": "create", "when": "after", "times": 3}]
    command = ["import", table(tmp_path, rows(6)), *PLAN]
    async with started(*command, "--settle", "600", box=sandbox) as process:
        assert process.stderr is not None
        while b"looking for those assistants" not in await process.stderr.readline():
            pass
        process.send_signal(number)
        _, err = await end_of(process)
    assert process.returncode == 130
    assert "3 more were under way" in err
    await again(*command, *QUICK, box=sandbox)
    assert_every_row_is_there_once(sandbox, 6)
    assert names_in(tmp_path) == ["in.csv"]


@BOTH
async def test_a_signal_in_the_pause_that_a_429_asks_for_is_heard_at_once(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
):
    sandbox.faults = [
        {"status": 429, "retry_after": 50, "operation": "create", "skip": 2, "times": None},
    ]
    command = ["import", table(tmp_path, rows(6)), *PLAN, *QUICK, "--max-concurrency", "1"]
    async with started(*command, box=sandbox) as process:
        await sandbox.answered(3, operation="create")
        process.send_signal(number)
        _, err = await end_of(process)
    assert process.returncode == 130, err
    sandbox.faults = []
    await again(*command, box=sandbox)
    assert_every_row_is_there_once(sandbox, 6)
    assert names_in(tmp_path) == ["in.csv"]


async def test_of_two_imports_of_one_file_at_once_the_second_waits_for_nothing_and_harms_nothing(
    sandbox: Sandbox, tmp_path: Path
):
    sandbox.faults = [{"do": "hang", "operation": "create", "skip": 1}]
    command = ["import", table(tmp_path, rows(3)), *PLAN, *QUICK, "--max-concurrency", "1"]
    async with started(*command, box=sandbox) as process:
        await sandbox.received(2, operation="create")
        for more in ([], ["--fresh"]):
            second = await asyncio.to_thread(lisn, *command, *more, box=sandbox)
            assert second.returncode == 2
            assert "in.csv.journal is in use by another run" in second.stderr
        assert names_in(tmp_path) == ["in.csv", "in.csv.journal"]
        process.kill()
        await process.wait()
    await again(*command, box=sandbox)
    assert_every_row_is_there_once(sandbox, 3)


async def test_what_does_not_fit_into_memory_is_in_no_file_that_has_a_name(sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "tmp").mkdir()
    sandbox.faults = [{"do": "hang", "operation": "create", "times": None}]
    many = "name,system_prompt\n" + "".join(f"n{number},{'x' * 10_000}\n" for number in range(1000))
    command = ["import", table(tmp_path, many), *PLAN]
    for ending in (signal.SIGINT, signal.SIGKILL):
        async with started(*command, box=sandbox, TMPDIR=str(tmp_path / "tmp")) as process:
            await sandbox.received(1, operation="create")
            assert names_in(tmp_path / "tmp") == []
            process.send_signal(ending)
            await process.communicate()
        assert names_in(tmp_path / "tmp") == []
        assert names_in(tmp_path) == ["in.csv", "in.csv.journal", "tmp"]
