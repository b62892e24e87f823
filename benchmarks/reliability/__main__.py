"""Run the experiments, print their table, and write it to `benchmarks/results/` (JSON and Markdown)."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.reliability.rows import Profile, Row

EXPERIMENTS = ("crashes", "listings", "peers", "pacing", "hostile", "cancelling", "cost")
"""Modules of this package, each with `run(profile) -> list[Row]`."""
RESULTS = Path(__file__).parent.parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every promise was met, 1 if one was not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="the numbers of the README, about ten minutes")
    size.add_argument("--tiny", action="store_true", help="a few items, to see that it runs")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, help="some of the experiments")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    chosen = parser.parse_args(arguments)
    profile = Profile.FULL if chosen.full else Profile.TINY if chosen.tiny else Profile.FAST
    rows: list[Row] = []
    for name in EXPERIMENTS:
        if chosen.only is None or name in chosen.only:
            rows += _run(name, profile)
    # The table that the README shows is replaced by its like only.
    kind = "" if profile is Profile.FULL else f"-{profile.name.lower()}"
    _write(rows, profile, chosen.results, f"reliability{kind}{'-part' if chosen.only else ''}")
    return 1 if any(row.is_met is False for row in rows) else 0


def _run(name: str, profile: Profile) -> list[Row]:
    began = time.monotonic()
    rows: list[Row] = importlib.import_module(f"benchmarks.reliability.{name}").run(profile)
    for row in rows:
        print(_as_line(row), flush=True)
    print(f"   ({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    return rows


def _as_line(row: Row) -> str:
    sign = {True: "ok", False: "NOT MET", None: "-"}[row.is_met]
    note = f" ({row.note})" if row.note else ""
    return f"{row.name:<4} {sign:<8} {row.what}: {_figures(row)}{note}"


def _figures(row: Row) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int | float) else f"{name} {value}"
        for name, value in row.figures.items()
    )


def _write(rows: Sequence[Row], profile: Profile, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "profile": profile.name.lower(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "rows": [attrs.asdict(row) for row in rows],
    }
    (folder / f"{name}.json").write_text(json.dumps(about, indent=2) + "\n")
    lines = ["| | experiment | figures | met |", "|---|---|---|---|"]
    for row in rows:
        met = {True: "yes", False: "**no**", None: row.note or "-"}[row.is_met]
        lines.append(f"| {row.name} | {row.what} | {_figures(row)} | {met} |")
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
