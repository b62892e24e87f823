"""S4: one blocking `create()` after the other, beside other libraries: wall and CPU time of a call."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import results
from benchmarks.measuring import Contestant, Effort, race
from benchmarks.responder import responder
from benchmarks.results import Options
from benchmarks.rows import Row

GOALS = {"requests": 0.5, "httpx": 0.7, "openai": 0.35, "urllib3": 1.0}
NAMES = {
    "requests": "requests.Session",
    "httpx": "httpx.Client",
    "openai": "openai",
    "urllib3": "urllib3.PoolManager",
}


def run(options: Options) -> list[Row]:
    """Two rows for each of the others."""
    effort = Effort(
        rounds=options.rounds or options.pick(tiny=2, quick=7, full=25),
        seconds=options.pick(tiny=0, quick=15, full=30) / 100,
        calls=options.calls,
        warm_up=options.pick(tiny=2, quick=20, full=20),
    )
    with responder() as url:
        contestants = [
            Contestant("lisn", "blocking", ("lisn", url)),
            *(Contestant(name, "blocking", (name, url), (name,)) for name in GOALS),
        ]
        ran = race(contestants, effort, peers=options.peers)
    return [
        ran.row("S4", f"blocking create / {NAMES[name]}", "lisn", name, clock, goal)
        for name, goal in GOALS.items()
        for clock in ("CPU", "wall")
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("sync_calls", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
