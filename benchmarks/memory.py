"""S7: what a long `create_each` grows by when its outcomes are dropped, and whether an item of it costs more."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks import results
from benchmarks.cores import on_the_clients_core
from benchmarks.measuring import Contestant, started
from benchmarks.responder import responder
from benchmarks.results import Options
from benchmarks.rows import Figure, Row

FEW = 5
"""Short runs before each long one: a single one is over too soon to be timed well."""


def run(options: Options) -> list[Row]:
    """All rows. Each sample is a process of its own, which makes several short runs and then a long one."""
    short = options.pick(tiny=20, quick=1_000, full=1_000)
    long = options.calls or options.pick(tiny=100, quick=10_000, full=100_000)
    rounds = options.rounds or options.pick(tiny=1, quick=1, full=3)
    with responder() as url, on_the_clients_core():
        ours = [_grown("each", url, short, long) for _ in range(rounds)]
        by_hand = [_grown("dropping", url, short, long)]
    of = f"create_each of {long:,}, outcomes dropped"
    return [
        _megabytes("S7", f"memory that {of}, adds to one of {short:,}", [grown for grown, _ in ours], 6.0),
        Row(
            name="S7",
            what=f"an item of {of} / of {short:,}",
            clock="CPU",
            figure=Figure.of([times for _, times in ours]),
            goal=1.1,
        ),
        _megabytes(
            "", "memory that a pool of workers on plain aiohttp adds", [grown for grown, _ in by_hand]
        ),
    ]


def _megabytes(name: str, what: str, grown: Sequence[float | None], goal: float | None = None) -> Row:
    samples = [one for one in grown if one is not None]
    figure = Figure.of(samples) if samples else "this system does not tell"
    return Row(name=name, what=what, figure=figure, unit="MB", goal=goal)


def _grown(name: str, url: str, short: int, long: int) -> tuple[float | None, float]:
    """Megabytes that the peak rises by, and what an item of the long run costs in terms of the short ones'."""
    with started(Contestant(name, "jobs", (name, url))) as process:
        process.wait_until_ready()
        before = [process.turn(short, short) for _ in range(FEW)]
        after = process.turn(0, long)
    times = after["cpu"] / median(one["cpu"] for one in before)
    return after["peak"] and after["peak"] - before[-1]["peak"], times


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("memory", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
