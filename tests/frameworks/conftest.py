"""Fixtures for tests with frameworks: programs in processes of their own, and a sandbox that they can reach.

A program's output is read by a thread, so that blocking tests and coroutines (through `asyncio.to_thread`) can
wait for what it says, and a pipe that nobody reads never holds it up.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import attrs
import pytest

import lisn_sync
from lisn_async.sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent
RECIPES = ROOT / "recipes"
WITHIN = 60.0
"""Seconds that a program has to say or do what is waited for: long, it only bounds a test that fails."""
TRIES = 3
"""How often a test that has to measure seconds may try. A machine that stands still slows one try, code that waits
slows each."""

MISHAPS = re.compile(
    r"Traceback|Warning\b|Unclosed|never awaited|was destroyed|never retrieved|Exception ignored|Fatal error"
)
"""What no log of a program that used the SDK may hold."""


class Stopwatch:
    """The seconds that something took, without those for which a process that takes part had to wait for a processor.

    So what a program waits for by itself counts, and how busy the machine is does not. Only Linux tells.
    """

    def __init__(self, pid: int) -> None:
        self._pids = (pid, os.getpid())
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._hindered = 0.0

    def __enter__(self) -> Self:
        self._delays = self._look()
        self._began = time.monotonic()
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        ended = time.monotonic()
        self._over.set()
        self._sampler.join()
        self.seconds = ended - self._began - self._hindered

    def _sample(self) -> None:
        while True:
            is_last = self._over.wait(0.01)
            now = self._look()
            growth = [delay - self._delays.get(task, 0.0) for task, delay in now.items()]
            self._hindered += max(growth, default=0.0)
            self._delays = now
            if is_last:
                return

    def _look(self) -> dict[str, float]:
        """How long each thread of these processes, and of their children, has waited for a processor so far."""
        found: dict[str, float] = {}
        left = [*self._pids]
        while left:
            for task in Path(f"/proc/{left.pop()}/task").glob("*"):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    found[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
                    left += map(int, (task / "children").read_text().split())
        return found


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skips where one of these packages is not installed, and says how to have it."""
    absent = [package for package in packages if not _is_there(package)]
    return pytest.mark.skipif(
        bool(absent), reason=f"{', '.join(absent)} not installed: pip install -e '.[dev,dev-frameworks]'"
    )


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of what it is a part of
        return False


def environment_for(base_url: str, token: str, **more: str) -> dict[str, str]:
    """The environment of a program that uses this sandbox, in development mode: asyncio tells what it notices."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LISN_", "COV_"))}
    path = os.pathsep.join([str(ROOT), str(RECIPES), *filter(None, [os.environ.get("PYTHONPATH")])])
    ours = {"LISN_BASE_URL": base_url, "LISN_API_TOKEN": token, "PYTHONPATH": path}
    return {**kept, "PYTHONDEVMODE": "1", "PYTHONUNBUFFERED": "1", **ours, **more}


class Program:
    """A process and what it said so far, stdout and stderr together."""

    def __init__(self, command: list[str], environment: dict[str, str], **options: Any) -> None:
        # A session of its own: whatever the program starts can be ended with it, and nothing else can.
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        self._said = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """All that was said so far."""
        with self._changed:
            return self._said

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """The first match of a pattern in what it says, as soon as it is there; `after` leaves out a beginning."""
        expression = re.compile(pattern, re.MULTILINE)
        found: list[re.Match[str]] = []

        def is_there() -> bool:
            found.extend(expression.finditer(self._said, after))
            return bool(found) or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(is_there, WITHIN)
            assert found, f"{pattern!r} was never said:\n{self._said}"
            return found[0]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; the exit status, and the seconds of a `Stopwatch` until the process was gone."""
        with Stopwatch(self.pid) as watch:
            self.process.send_signal(number)
            status = self.wait()
        return status, watch.seconds

    def wait(self) -> int:
        """The exit status, once the process and all that it said have come."""
        status = self.process.wait(WITHIN)
        self._reader.join(WITHIN)
        return status

    def kill(self) -> None:
        """End it, and what it started, whatever they are doing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while piece := os.read(self.process.stdout.fileno(), 65536):
            with self._changed:
                self._said += piece.decode("utf-8", "replace")
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


Start = Callable[..., Program]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a sandbox may take as long as a program takes to start on a busy machine."""
    for kind in (Sandbox, lisn_sync.Sandbox):
        for waits in (kind.received, kind.answered, kind.aborted):
            monkeypatch.setitem(waits.__kwdefaults__, "within", WITHIN)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs, which end with the test: `start(*command, box=sandbox, **environment)`.

    A command that begins with `-` is one for this Python.
    """
    programs: list[Program] = []

    def start(*command: str, box: Sandbox | SandboxProcess, **more: str) -> Program:
        whole = [sys.executable, *command] if command[0].startswith("-") else list(command)
        environment = environment_for(box.base_url, box.token, **more)
        programs.append(Program(whole, environment, cwd=ROOT))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@attrs.frozen
class SandboxProcess:
    """A sandbox in a process of its own: what to give to a client."""

    base_url: str
    token: str


@pytest.fixture
def sandbox_process() -> Iterator[SandboxProcess]:
    """A sandbox that goes on whatever the test's own process is doing; ask it over HTTP (`/_sandbox/...`)."""
    program = Program(
        [sys.executable, "-m", "lisn_async.cli", "sandbox", "--port", "0", "--json"], environment_for("", "")
    )
    try:
        said = json.loads(program.wait_for(r"^\{.*\}$")[0])
        yield SandboxProcess(said["base_url"], said["token"])
    finally:
        program.kill()
