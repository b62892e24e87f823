"""Many creates as one job, with its client and its connections: `python -m benchmarks.contestants.jobs NAME URL`.

All keep up to 64 under way, and what they made in the order of the input; `each` and `dropping` keep nothing.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.contestants.fields import HEADERS, fields
from benchmarks.contestants.worker import Clock, serve

AT_ONCE = 64


def many(url: str, count: int) -> Any:
    """Our `create_many`."""
    from lisn_async import AsyncLisn

    async def run() -> Any:
        async with AsyncLisn("token", base_url=url) as client:
            return _all_made(await client.assistants.create_many(_specs(count)), count)

    return asyncio.run(run())


def journaled(url: str, count: int) -> Any:
    """Our `create_many`, with a journal of its own for each job."""
    from lisn_async import AsyncLisn

    async def run() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncLisn("token", base_url=url) as client:
                journal = Path(folder) / "job.journal"
                return _all_made(await client.assistants.create_many(_specs(count), journal=journal), count)

    return asyncio.run(run())


def blocking(url: str, count: int) -> Any:
    """Our `create_many` from blocking code."""
    from lisn_sync import Lisn

    with Lisn("token", base_url=url) as client:
        return _all_made(client.assistants.create_many(_specs(count)), count)


def each(url: str, count: int) -> dict[str, float]:
    """Our `create_each`; whoever reads the outcomes drops them. The connections are there when the clock starts."""
    from lisn_async import AsyncLisn

    async def run() -> dict[str, float]:
        async with AsyncLisn("token", base_url=url) as client:

            async def create(count: int) -> None:
                async for outcome in client.assistants.create_each(_specs(count)):
                    assert outcome.status == "created"

            await create(AT_ONCE)
            clock = Clock()
            await create(count)
            return clock.read()

    return asyncio.run(run())


def by_hand(url: str, count: int) -> list[Any]:
    """A bounded pool on plain aiohttp: workers over one iterator, and a list for what they made."""
    made: list[Any] = [None] * count

    def keep(number: int, assistant: Any) -> None:
        made[number] = assistant

    asyncio.run(_pool(url, count, keep))
    return made


def dropping(url: str, count: int) -> None:
    """The same pool, keeping nothing."""
    asyncio.run(_pool(url, count, lambda number, assistant: None))


def requests(url: str, count: int) -> list[Any]:
    """Requests in a pool of threads, a session for each thread, as its own documentation wants it."""
    import requests

    mine = threading.local()

    def create(number: int) -> Any:
        if not hasattr(mine, "session"):
            mine.session = requests.Session()
            mine.session.headers.update(HEADERS)
        return mine.session.post(f"{url}/v1/assistants", json=fields(number)).json()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(create, range(count)))


async def _pool(url: str, count: int, keep: Any) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                async with session.post(
                    f"{url}/v1/assistants", json=fields(number), headers=HEADERS
                ) as response:
                    keep(number, await response.json())

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def _specs(count: int) -> Iterator[Any]:
    from lisn_async import AssistantCreate

    return (AssistantCreate(**fields(number)) for number in range(count))


def _all_made(result: Any, count: int) -> Any:
    result.raise_for_failures()
    assert len(result.outcomes) == count
    return result


def peak_megabytes() -> float | None:
    """The most that this process ever held. Not `ru_maxrss`: Linux hands that on from whoever started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


def main(name: str, url: str) -> None:
    """Serve one of them."""

    def work(count: int) -> dict[str, Any]:
        ran = globals()[name](url, count)
        return {"peak": peak_megabytes(), **(ran if name == "each" else {})}

    serve(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
