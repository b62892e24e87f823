"""CPU of the client per `create()`, relative to plain aiohttp as people write it: `python -m benchmarks.create`.

Both sides send the same fields at the same concurrency to the same responder, in turns; the figure is the
median ratio of user + system time, with its quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
from collections.abc import Awaitable, Callable

import aiohttp

from benchmarks.responder import responder
from lisn_async import AsyncLisn

PROMPT = "p" * 1500


async def _spread(call: Callable[[int], Awaitable[object]], calls: int, concurrency: int) -> None:
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def plain(base_url: str, calls: int, concurrency: int) -> None:
    """Ten lines of aiohttp, as a user would write them."""
    headers = {"Authorization": "Bearer token"}
    async with aiohttp.ClientSession() as session:

        async def call(number: int) -> None:
            fields = {"name": f"n{number}", "type": "text", "llm_provider": "openai", "system_prompt": PROMPT}
            async with session.post(f"{base_url}/v1/assistants", json=fields, headers=headers) as response:
                await response.json()

        await _spread(call, calls, concurrency)


async def ours(base_url: str, calls: int, concurrency: int) -> None:
    """The same through the SDK, with its defaults."""
    async with AsyncLisn("token", base_url=base_url) as client:

        async def call(number: int) -> None:
            await client.assistants.create(
                name=f"n{number}", type="text", llm_provider="openai", system_prompt=PROMPT
            )

        await _spread(call, calls, concurrency)


def cpu_seconds(run: Awaitable[None]) -> float:
    """User and system time of this process while it runs."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    async def main() -> None:
        await run

    before = spent()
    asyncio.run(main())
    return spent() - before


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    with responder() as base_url:
        arguments = (base_url, options.calls, options.concurrency)
        pairs = [
            (cpu_seconds(plain(*arguments)), cpu_seconds(ours(*arguments))) for _ in range(options.repeats)
        ]
    ratios = sorted(mine / theirs for theirs, mine in pairs)
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    print(f"CPU per create / plain aiohttp: {statistics.median(ratios):.2f} (quartiles {low:.2f}-{high:.2f})")


if __name__ == "__main__":
    main()
