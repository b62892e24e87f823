"""The `lisn` command: as a process of its own, or inside this one."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lisn_async.cli import _app
from lisn_async.sandbox import Sandbox

LISN = [sys.executable, "-m", "lisn_async.cli"]
PLAN = ["--set", "type=text", "--set", "llm_provider=openai"]

Done = subprocess.CompletedProcess[str]


def environment(box: Sandbox | None, **more: str) -> dict[str, str]:
    """The environment of a command that is to talk to this sandbox, and to nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LISN_", "COV_"))}
    ours = {"LISN_BASE_URL": box.base_url, "LISN_API_TOKEN": box.token} if box else {}
    return {**kept, "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", **ours, **more}


def without_slowness(errors: str) -> str:
    """What asyncio's debug mode says when this machine is busy is no fault of the program."""
    return "".join(line for line in errors.splitlines(True) if not re.match("Executing <.* took ", line))


def lisn(*arguments: str, box: Sandbox | None = None, stdin: str = "", **more: str) -> Done:
    """The command, run to its end. Whatever happens, nobody is shown a traceback."""
    done = subprocess.run(
        [*LISN, *arguments],
        env=environment(box, **more),
        input=stdin.encode(),
        capture_output=True,
        timeout=100,
    )
    out, err = done.stdout.decode(), without_slowness(done.stderr.decode())
    assert "Traceback" not in out + err, err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


@pytest.fixture
def here(lisn_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """The command inside this process, which is ten times as fast: for tables of many cases."""
    monkeypatch.setenv("LISN_BASE_URL", lisn_sandbox.base_url)
    monkeypatch.setenv("LISN_API_TOKEN", lisn_sandbox.token)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        status = _app.run_command(arguments)
        return subprocess.CompletedProcess(arguments, status, *capfd.readouterr())

    return run


def table(tmp_path: Path, text: str) -> str:
    path = tmp_path / "in.csv"
    path.write_text(text, newline="")
    return str(path)


@asynccontextmanager
async def started(*arguments: str, box: Sandbox, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *LISN,
        *arguments,
        env=environment(box, **more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
