"""S5, S6: `create_many`, from blocking code and from asyncio, with and without a journal."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import results
from benchmarks.measuring import Contestant, Effort, race
from benchmarks.responder import responder
from benchmarks.results import Options
from benchmarks.rows import Row

SLOW = 0.02
"""Seconds that a service takes for each reply, where the wait for it and not the client decides how long a job is."""


def run(options: Options) -> list[Row]:
    """All rows."""
    calls = options.calls or options.pick(tiny=10, quick=1500, full=5000)
    return [*_blocking(options, calls), *_asynchronous(options, calls), *_slow(options, calls)]


def _blocking(options: Options, calls: int) -> list[Row]:
    effort = _effort(options, calls, options.pick(tiny=1, quick=3, full=7))
    with responder() as url:
        contestants = [
            _one("blocking", url),
            Contestant("requests", "jobs", ("requests", url), ("requests",)),
        ]
        ran = race(contestants, effort, peers=options.peers)
    what = f"blocking create_many of {calls:,} / requests in 64 threads"
    return [
        ran.row("S5", what, "blocking", "requests"),
        ran.row("S5", what, "blocking", "requests", "wall", goal=0.5),
    ]


def _asynchronous(options: Options, calls: int) -> list[Row]:
    effort = _effort(options, calls, options.pick(tiny=1, quick=3, full=11))
    with responder() as url:
        ran = race([_one(name, url) for name in ("many", "journaled", "by_hand")], effort)
    journal = f"create_many of {calls:,} with a journal / without"
    hand = f"create_many of {calls:,} / a pool of workers on plain aiohttp"
    return [
        ran.row("S6", journal, "journaled", "many", goal=1.3),
        ran.row("S6", journal, "journaled", "many", "wall", goal=1.05),
        ran.row("S6", hand, "many", "by_hand", goal=1.0),
        ran.row("S6", hand, "many", "by_hand", "wall"),
    ]


def _slow(options: Options, calls: int) -> list[Row]:
    effort = _effort(options, calls, options.pick(tiny=1, quick=3, full=9))
    with responder(SLOW) as url:
        ran = race([_one(name, url) for name in ("many", "journaled")], effort)
    what = f"create_many of {calls:,} with a journal / without, replies take {SLOW * 1000:.0f} ms"
    return [
        ran.row("S6", what, "journaled", "many", goal=1.3),
        ran.row("S6", what, "journaled", "many", "wall", goal=1.05),
    ]


def _effort(options: Options, calls: int, rounds: int) -> Effort:
    return Effort(rounds=options.rounds or rounds, calls=calls, warm_up=min(calls, 64))


def _one(name: str, url: str) -> Contestant:
    return Contestant(name, "jobs", (name, url))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("bulk", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
