"""S10: creates per second over HTTP with the sandbox and our client in one process; how long it starts and stops."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import results
from benchmarks.measuring import Contestant, Effort, race
from benchmarks.results import Options
from benchmarks.rows import Figure, Row

KINDS = {"memory": ":memory:", "file": "a file"}


def run(options: Options) -> list[Row]:
    """Three rows for each kind of database."""
    calls = options.calls or options.pick(tiny=20, quick=1000, full=3000)
    effort = Effort(
        rounds=options.rounds or options.pick(tiny=2, quick=3, full=7), calls=calls, warm_up=min(calls, 64)
    )
    ran = race([Contestant(kind, "sandboxes", (kind,)) for kind in KINDS], effort)

    def seconds(kind: str, part: str) -> list[float]:
        return [spent[kind][part]["wall"] for spent in ran.rounds]

    rows = []
    for kind, told in KINDS.items():
        rates = [calls / taken for taken in seconds(kind, "create")]
        what = f"creates per second, sandbox and client in one process, {told}"
        rows.append(Row(name="S10", what=what, figure=Figure.of(rates), unit="/s", goal=2000, is_least=True))
        for part in ("start", "stop"):
            taken = Figure.of([1000 * one for one in seconds(kind, part)])
            rows.append(
                Row(name="S10", what=f"{part} of a sandbox, {told}", figure=taken, unit="ms", goal=20)
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("sandbox", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
