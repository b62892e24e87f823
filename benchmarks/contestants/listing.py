"""One `list()`, and decoding the same bytes alone: `python -m benchmarks.contestants.listing URL`."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
import urllib.request
from collections.abc import Awaitable
from typing import Any

import orjson

from benchmarks.contestants.worker import Clock, serve
from lisn_async import AsyncLisn


async def turn(client: AsyncLisn, body: bytes, count: int) -> dict[str, Any]:
    """What each of them costs, and for how long each keeps the loop from anything else, in seconds."""

    async def decode() -> None:
        orjson.loads(body)

    clock = _clock()
    listed = await client.assistants.list()
    spent: dict[str, Any] = {"list": clock.read()}
    assert len(listed) == count
    del listed
    clock = _clock()
    json.loads(body)
    spent["json"] = clock.read()
    clock = _clock()
    orjson.loads(body)
    spent["orjson"] = clock.read()
    spent["stall of list"] = await _longest_stall(client.assistants.list())
    spent["stall of orjson"] = await _longest_stall(decode())
    return spent


def _clock() -> Clock:
    gc.collect()
    return Clock()


async def _longest_stall(work: Awaitable[object]) -> float:
    """The longest time between two turns of a task that asks for nothing but its next turn."""
    gc.collect()
    longest, last = 0.0, time.perf_counter()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    await work
    await asyncio.sleep(0)
    ticking.cancel()
    return longest


def main(url: str) -> None:
    """Serve."""
    with urllib.request.urlopen(f"{url}/v1/assistants") as reply:
        body = reply.read()
    count = len(json.loads(body))
    with asyncio.Runner() as runner:
        client = AsyncLisn("token", base_url=url)
        serve(lambda calls: runner.run(turn(client, body, count)))
        runner.run(client.aclose())


if __name__ == "__main__":
    main(*sys.argv[1:])
