"""S9: `list()` of 10,000 assistants, 40 MB, beside `json.loads` of the same bytes in the same process."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import results
from benchmarks.measuring import Contestant, Effort, race
from benchmarks.responder import listing, responder
from benchmarks.results import Options
from benchmarks.rows import Figure, Row


def run(options: Options) -> list[Row]:
    """All rows."""
    count = options.pick(tiny=20, quick=10_000, full=10_000)
    effort = Effort(rounds=options.rounds or options.pick(tiny=2, quick=5, full=25), calls=1, warm_up=0)
    with responder(listed=count) as url:
        ran = race([Contestant("listing", "listing", (url,))], effort)
    rounds = [spent["listing"] for spent in ran.rounds]
    what = f"list() of {count:,} assistants, {len(listing(count)) / 1e6:.0f} MB"

    def times(one: str, other: str, clock: str) -> Figure:
        return Figure.of([spent[one][clock] / spent[other][clock] for spent in rounds])

    def stall(of: str) -> Figure:
        return Figure.of([1000 * spent[f"stall of {of}"] for spent in rounds])

    grown = Figure.of([spent["stall of list"] / spent["stall of orjson"] for spent in rounds])
    return [
        *(
            Row(
                name="S9",
                what=f"{what} / json.loads alone",
                clock=clock,
                figure=times("list", "json", clock.lower()),
                goal=1.5,
            )
            for clock in ("CPU", "wall")
        ),
        Row(
            name="S9", what=f"longest stall of the loop, {what} / orjson.loads alone", figure=grown, goal=1.1
        ),
        Row(name="S9", what=f"longest stall of the loop, {what}", figure=stall("list"), unit="ms"),
        Row(name="", what="longest stall of the loop, orjson.loads", figure=stall("orjson"), unit="ms"),
        Row(name="", what="orjson.loads / json.loads", clock="CPU", figure=times("orjson", "json", "cpu")),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("listing", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
