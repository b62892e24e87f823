"""Soak: keep an async backend and threads of the sync shim busy against a sandbox that breaks, then settle accounts."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.soak.run import Load, Report, soak
from benchmarks.surroundings import in_a_line, surroundings

KEPT = 30
"""One sample in so many goes to the file: enough to see the course."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if everything is accounted for and nothing grows, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    usual = Load()
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="how long the load lasts")
    parser.add_argument("--rate", type=float, default=usual.rate, help="calls per second, of each side")
    parser.add_argument(
        "--faults", type=float, default=usual.faults, help="share of requests that a fault hits"
    )
    parser.add_argument("--threads", type=int, default=usual.threads, help="of the sync side")
    parser.add_argument(
        "--results", type=Path, help="a file for the figures, in JSON; a table goes beside it"
    )
    chosen = parser.parse_args(arguments)
    load = Load(seconds=chosen.seconds, rate=chosen.rate, faults=chosen.faults, threads=chosen.threads)
    report = asyncio.run(soak(load))
    table = report.as_table()
    print(table)
    for problem in report.problems:
        print(f"NOT MET  {problem}")
    if chosen.results is not None:
        _write(report, table, chosen.results)
    return 1 if report.problems else 0


def _write(report: Report, table: str, path: Path) -> None:
    about = surroundings(f"{report.load.seconds:.0f} s", peers=False)
    told = attrs.asdict(report)
    for side in told["sides"]:
        side["watched"]["during"] = side["watched"]["during"][::KEPT]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, **told}, indent=1) + "\n")
    path.with_suffix(".md").write_text(f"{table}\n{in_a_line(about)}\n")


if __name__ == "__main__":
    raise SystemExit(main())
