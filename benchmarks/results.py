"""What a benchmark reports, as values, and where it goes: the terminal, JSON, a table in Markdown, a plot."""

from __future__ import annotations

import argparse
import enum
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from benchmarks.plots import plot, plot_headline
from benchmarks.rows import Figure, Row, quartiles, shown
from benchmarks.surroundings import in_a_line, surroundings

NO_PEERS = "other libraries were left out"
RESULTS = Path(__file__).parent / "results"


class Profile(enum.Enum):
    """How much is run."""

    TINY = "a few calls, without other libraries: keeps the benchmarks runnable, in the ordinary tests"
    QUICK = "all of it in under two minutes"
    FULL = "the numbers of the README, in under ten minutes"


@attrs.frozen(kw_only=True)
class Options:
    """What was asked for. Numbers replace what the profile would use."""

    profile: Profile
    rounds: int | None = None
    calls: int | None = None
    concurrency: int | None = None
    peers: bool = True
    folder: Path = RESULTS

    def pick(self, *, tiny: int, quick: int, full: int) -> int:
        """The number that the profile uses."""
        return {Profile.TINY: tiny, Profile.QUICK: quick, Profile.FULL: full}[self.profile]

    @property
    def suffix(self) -> str:
        """Of the files. Only a full run as it is meant replaces what is shown in the README."""
        if (self.rounds, self.calls, self.concurrency) != (None, None, None):
            return "-custom"
        return "" if self.profile is Profile.FULL else f"-{self.profile.name.lower()}"


Run: TypeAlias = Callable[[Options], list[Row]]


def main(name: str, run: Run, about: str | None, arguments: Sequence[str] | None = None) -> int:
    """The command of one benchmark."""
    asked = options(parser(f"python -m benchmarks.{name}", about).parse_args(arguments))
    report(name, run(asked), asked)
    return 0


def report(name: str, rows: list[Row], options: Options) -> list[Row]:
    """Print the rows of a benchmark and write its files; the rows."""
    for row in rows:
        print(as_line(row), flush=True)
    about = surroundings(options.profile.name.lower(), peers=options.peers)
    write(name, rows, options, about)
    plot(_file(name, options, "svg"), f"{name}: {about['date']}, {about['machine']}", rows)
    return rows


def parser(command: str, about: str | None) -> argparse.ArgumentParser:
    """What each of the commands understands."""
    parser = argparse.ArgumentParser(prog=command, description=about)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=Profile.QUICK.value)
    size.add_argument("--tiny", action="store_true", help=Profile.TINY.value)
    parser.add_argument("--repeats", type=int, help="rounds")
    parser.add_argument("--calls", type=int, help="calls in each turn of a round, for whoever takes part")
    parser.add_argument("--concurrency", type=int, help="creates under way, in benchmarks.create")
    parser.add_argument("--without-peers", action="store_true", help="leave out what has to be installed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    return parser


def options(chosen: argparse.Namespace) -> Options:
    """What a command was told."""
    return Options(
        profile=Profile.QUICK if chosen.quick else Profile.TINY if chosen.tiny else Profile.FULL,
        rounds=chosen.repeats,
        calls=chosen.calls,
        concurrency=chosen.concurrency,
        peers=not (chosen.without_peers or chosen.tiny),
        folder=chosen.results,
    )


# --- in words -------------------------------------------------------------------------------------------


def as_line(row: Row) -> str:
    """A row on a terminal."""
    spread = f"({quartiles(row.figure)})" if isinstance(row.figure, Figure) else ""
    value = f"{shown(row.figure, row.unit):>8} {spread}"
    sign = {True: "met", False: "NOT MET", None: ""}[row.is_met]
    return f"{row.name:<4} {row.text:<84} {value:<26} {_goal(row):<9} {sign}".rstrip()


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    lines = ["| | figure | median | quartiles | goal | met |", "|---|---|---|---|---|---|"]
    for row in rows:
        value = f"{shown(row.figure, row.unit)} | {quartiles(row.figure)}"
        lines.append(f"| {row.name} | {row.text} | {value} | {_goal(row)} | {_met([row])} |")
    return "\n".join(lines) + "\n"


def headline(rows: Sequence[Row]) -> str:
    """What has a goal, in fewer lines: ratios with both clocks in one, then what is no ratio."""
    wanted = dict.fromkeys((row.name, row.what) for row in rows if row.goal is not None)
    groups = [[row for row in rows if (row.name, row.what) == key] for key in wanted]
    lines = ["| | ratio | CPU | wall | goal | met |", "|---|---|---|---|---|---|"]
    for group in groups:
        if group[0].clock:
            clocks = {row.clock: shown(row.figure) for row in group}
            value = f"{clocks.get('CPU', '')} | {clocks.get('wall', '')}"
            goals = " · ".join(dict.fromkeys(_goal(row) for row in group if row.goal is not None))
            only = "" if len({row.goal for row in group}) == 1 else f" ({_clocks_with_goal(group)})"
            lines.append(f"| {group[0].name} | {group[0].what} | {value} | {goals}{only} | {_met(group)} |")
    lines += ["", "| | figure | median | goal | met |", "|---|---|---|---|---|"]
    for [row] in (group for group in groups if not group[0].clock):
        lines.append(
            f"| {row.name} | {row.what} | {shown(row.figure, row.unit)} | {_goal(row)} | {_met([row])} |"
        )
    return "\n".join(lines) + "\n"


def _clocks_with_goal(rows: Sequence[Row]) -> str:
    return ", ".join(row.clock for row in rows if row.goal is not None)


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    digits = f"{row.goal:,.3f}".rstrip("0").rstrip(".")
    return f"{'≥' if row.is_least else '≤'} {digits}"


def _met(rows: Sequence[Row]) -> str:
    """Of those that have a goal, whether all of them meet it."""
    said = {row.is_met for row in rows} - {None}
    return "" if not said else "yes" if said == {True} else "**no**"


# --- files ----------------------------------------------------------------------------------------------


def write(name: str, rows: Sequence[Row], options: Options, about: Mapping[str, Any]) -> None:
    """JSON and table of a benchmark."""
    shown = {**about, "rows": [{**attrs.asdict(row), "is_met": row.is_met} for row in rows]}
    _file(name, options, "json").write_text(json.dumps(shown, indent=1, ensure_ascii=False) + "\n")
    _file(name, options, "md").write_text(f"{table(rows)}\n{in_a_line(about)}\n")


def write_summary(rows: Sequence[Row], options: Options) -> None:
    """What the README shows: all that has a goal as one table, and one plot; and the whole, as any other."""
    about = surroundings(options.profile.name.lower(), peers=options.peers)
    write("speed", rows, options, about)
    _file("headline", options, "md").write_text(f"{headline(rows)}\n{in_a_line(about)}\n")
    title = (
        f"CPU of one create, 64 at a time; plain aiohttp = 1, log scale\n{about['date']}, {about['machine']}"
    )
    plot_headline(_file("speed", options, "svg"), title, rows)


def _file(name: str, options: Options, kind: str) -> Path:
    options.folder.mkdir(parents=True, exist_ok=True)
    return options.folder / f"{name}{options.suffix}.{kind}"
