"""Ctrl-C, as it really comes: from a terminal to Python's prompt, and as SIGINT to a program with a journal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lisn_async.sandbox import Sandbox
from tests.fix_sync import without_slowness

from .conftest import ROOT, TRIES, WITHIN, Start, Stopwatch, environment_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no terminals like these")

PROMPTLY = 1.0
"""Seconds from Ctrl-C to the next result: measured are 0.01, and 0.5 where `create_many` first gives the requests
under way that long. The quickest of several counts, for one may meet a machine that is busy."""

SPECS = [
    {"name": f"n{number}", "type": "text", "llm_provider": "grok", "system_prompt": "p"}
    for number in range(100)
]
JOB = f"""
import json, sys, lisn_sync
client = lisn_sync.Lisn()
try:
    result = client.assistants.create_many({SPECS}, max_concurrency=8, journal=sys.argv[1], settle=0.1)
except KeyboardInterrupt:
    client.assistants.list()
    print("the next call works", flush=True)
    raise
print(json.dumps([(one.status, one.assistant and one.assistant.id) for one in result.outcomes]))
"""


def test_a_job_with_a_journal_that_is_interrupted_three_times_is_finished_by_the_fourth_run(
    start: Start, lisn_sandbox: Sandbox, tmp_path: Path
) -> None:
    command = ["-W", "error", "-c", JOB, str(tmp_path / "jobs.journal")]
    took = []
    for last in ("before", "after", "before"):
        lisn_sandbox.faults = [
            *(
                {"operation": "create", "do": do, "when": when, "times": None, "probability": 0.05}
                for do in ("hang", "reset")
                for when in ("before", "after")
            ),
            {"operation": "create", "do": "hang", "when": last, "skip": 12, "times": None},
        ]
        so_far = sum(request.operation == "create" for request in lisn_sandbox.seen)
        program = start(*command, box=lisn_sandbox)
        asyncio.run(lisn_sandbox.received(so_far + 13, operation="create"))
        status, seconds = program.stop(signal.SIGINT)
        assert status == -signal.SIGINT, program.log
        said = without_slowness(program.log)
        assert said.startswith("the next call works\nTraceback"), said
        assert said.endswith("\nKeyboardInterrupt\n"), said
        took.append(seconds)
    assert min(took) < PROMPTLY, took
    lisn_sandbox.faults = []
    program = start(*command, box=lisn_sandbox)
    assert program.wait() == 0, program.log
    items = [
        {"fields": fields, "outcome": outcome, "id": made}
        for fields, (outcome, made) in zip(SPECS, json.loads(without_slowness(program.log)), strict=True)
    ]
    verdict = lisn_sandbox.judge(items)
    assert verdict.is_clean, verdict
    assert verdict.created == len(SPECS)


class Terminal:
    """Python's interactive prompt in a terminal, and the fingers of whoever sits there."""

    def __init__(self, box: Sandbox) -> None:
        self.master, slave = os.openpty()
        # It makes the terminal its own, so that Ctrl-C becomes a signal.
        become = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        become += "os.execv(sys.executable, [sys.executable, '-W', 'error', '-q'])"
        environment = environment_for(
            box.base_url,
            box.token,
            PYTHON_BASIC_REPL="1",
            TERM="dumb",
            PYTHONDEVMODE="",  # in which asyncio says when it was slow, between the lines here
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", become],
            env=environment,
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.prompt()

    def prompt(self) -> str:
        """What is shown until the next prompt."""
        shown = b""
        while not shown.endswith(b">>> "):
            shown += os.read(self.master, 65536)
        return shown.decode().removesuffix(">>> ").replace("\r\n", "\n")

    def type(self, line: str) -> None:
        """Type a line; its echo is read, its result not waited for."""
        os.write(self.master, line.encode() + b"\n")
        echo = b""
        while b"\n" not in echo:
            echo += os.read(self.master, 1)

    def ask(self, line: str) -> str:
        """What a line shows."""
        self.type(line)
        return self.prompt()

    def press_ctrl_c(self) -> None:
        os.write(self.master, b"\x03")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(lisn_sandbox: Sandbox) -> Iterator[Terminal]:
    terminal = Terminal(lisn_sandbox)
    yield terminal
    terminal.close()


def test_at_the_prompt_ctrl_c_ends_a_call_and_the_next_one_works(
    terminal: Terminal, lisn_sandbox: Sandbox
) -> None:
    assert terminal.ask("import lisn_sync; client = lisn_sync.Lisn(); client.assistants.list()") == "[]\n"
    took: list[float] = []
    while len(took) < TRIES and min(took, default=PROMPTLY) >= PROMPTLY:
        lisn_sandbox.faults = [{"operation": "list", "do": "hang"}]
        terminal.type("client.assistants.list()")
        asyncio.run(lisn_sandbox.received(2 + 2 * len(took), operation="list"))
        with Stopwatch(terminal.process.pid) as watch:
            terminal.press_ctrl_c()
            shown = terminal.prompt()
            assert shown.endswith("\nKeyboardInterrupt\n")
            assert shown.count("  File ") <= 5, shown
            assert len(asyncio.run(lisn_sandbox.aborted(1 + len(took), operation="list"))) == 1 + len(took)
            assert terminal.ask("client.assistants.list()") == "[]\n"
        took.append(watch.seconds)
    assert min(took) < PROMPTLY, took
    terminal.type("exit()")  # without a close
    assert terminal.process.wait(WITHIN) == 0


def test_at_the_prompt_ctrl_c_ends_create_many_and_the_same_line_finishes_it(
    terminal: Terminal, lisn_sandbox: Sandbox, tmp_path: Path
) -> None:
    terminal.ask("import lisn_sync; client = lisn_sync.Lisn()")
    terminal.ask(f"specs = {SPECS}")
    line = f"client.assistants.create_many(specs, max_concurrency=4, journal={str(tmp_path / 'j')!r}, settle=0.1)"
    line = f"result = {line}; len(result.created), len(result.unknown)"
    lisn_sandbox.faults = [{"operation": "create", "do": "hang", "skip": 8, "when": "after", "times": 4}]
    terminal.type(line)
    asyncio.run(lisn_sandbox.received(12, operation="create"))
    asyncio.run(lisn_sandbox.answered(8, operation="create"))
    terminal.press_ctrl_c()
    shown = terminal.prompt()
    assert shown.endswith("KeyboardInterrupt\n")
    assert len(asyncio.run(lisn_sandbox.aborted(4, operation="create"))) == 4
    assert terminal.ask("len(client.assistants.list())") == "12\n"
    assert terminal.ask(line) == "(100, 0)\n"
    assert sorted(one["name"] for one in lisn_sandbox.assistants()) == sorted(spec["name"] for spec in SPECS)
