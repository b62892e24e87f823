"""The sandbox, in one process with the client that talks to it: `python -m benchmarks.contestants.sandboxes KIND`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contestants.asynchronous import spread
from benchmarks.contestants.fields import fields
from benchmarks.contestants.worker import Clock, serve
from lisn_async import AsyncLisn
from lisn_async.sandbox import Sandbox

AT_ONCE = 64


async def life(database: str | Path, creates: int) -> dict[str, Any]:
    """A sandbox from start to stop, and what each part of it takes."""
    clock = Clock()
    box = Sandbox(database=database)
    await box.start()
    started = clock.read()
    async with AsyncLisn(box.token, base_url=box.base_url) as client:

        async def create(number: int) -> object:
            return await client.assistants.create(**fields(number))

        await spread(create, AT_ONCE, AT_ONCE)
        clock = Clock()
        await spread(create, creates, AT_ONCE)
        created = clock.read()
    clock = Clock()
    await box.stop()
    return {"start": started, "create": created, "stop": clock.read()}


def main(kind: str) -> None:
    """Serve with a database in `memory`, or in a `file` that is new each time."""

    def work(creates: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            database = ":memory:" if kind == "memory" else Path(folder) / "lisn.db"
            return asyncio.run(life(database, creates))

    serve(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
