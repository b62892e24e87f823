"""A process of the soak: it tells by lines of JSON on its output, and is told by lines on its input."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent.parent
ENDS_WITHIN = 60.0
"""Seconds for whatever a process does after it was told to stop."""


class Child:
    """A process, as its parent holds it."""

    def __init__(self, process: asyncio.subprocess.Process, complaints: IO[str]) -> None:
        self._process = process
        self._complaints = complaints

    async def said(self) -> dict[str, Any]:
        """The next thing that it tells. Raises `RuntimeError` if it ended instead."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the soak ended: {self.complaints()[-2000:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def tell(self, word: str) -> None:
        """Say something to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    async def ended(self) -> list[str]:
        """How it ended: nothing if that was with status 0 and without a word of complaint."""
        async with asyncio.timeout(ENDS_WITHIN):
            status = await self._process.wait()
        problems = [f"exit status {status}"] if status else []
        return problems + ([complaints] if (complaints := self.complaints()) else [])

    def complaints(self) -> str:
        """What it has written to its standard error."""
        self._complaints.seek(0)
        return self._complaints.read().strip()


@contextlib.asynccontextmanager
async def started(module: str, *arguments: object) -> AsyncIterator[Child]:
    """A running process, killed if it is still there when the block ends."""
    # `LISN_LOG` would have it write to its standard error.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LISN_")}
    with tempfile.TemporaryFile("w+") as complaints:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "always::ResourceWarning", "-W", "always::RuntimeWarning"),  # left open, never awaited
            *("-m", f"benchmarks.soak.{module}", *map(str, arguments)),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
            limit=2**26,
        )
        try:
            yield Child(process, complaints)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


# --- in the process itself ------------------------------------------------------------------------------


def told(what: object) -> None:
    """Tell the parent."""
    print(json.dumps(what), flush=True)


async def wait_for(word: str) -> None:
    """Until the parent says a word, or is gone."""
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()

    def read() -> None:
        line = sys.stdin.readline()
        if line.strip() == word or not line:
            loop.remove_reader(sys.stdin)
            heard.set()

    loop.add_reader(sys.stdin, read)
    await heard.wait()
