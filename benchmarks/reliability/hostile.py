"""H1 and H2: replies that no honest server sends, over aiohttp's two parsers. Cases and judges are those of the tests."""

from __future__ import annotations

from typing import Any

from benchmarks.reliability.rows import Profile, Row
from tests.hostile.run import MOST_MIB, in_a_process

PARSERS = ("C", "Python")
SEED = 2026


def run(profile: Profile) -> list[Row]:
    """The corpus and the fuzzer, each once per parser."""
    return [
        _corpus(profile.pick(tiny=20, fast=1, full=1)),
        _fuzz(profile.pick(tiny=50, fast=1_500, full=20_000)),
    ]


def _corpus(every: int) -> Row:
    reports = [in_a_process(("--every", str(every)), parser=parser) for parser in PARSERS]
    failures = [failure for report in reports for failure in report["failures"]]
    return Row(
        name="H1",
        what=f"hostile replies: our error or the right result, in 2 s and {MOST_MIB:.0f} MiB, and the next call is right",
        figures={
            "cases": reports[0]["cases"],
            "calls": sum(report["calls"] for report in reports),
            "failures": len(failures),
            "slowest_s": max(report["slowest"] for report in reports),
            "grown_mib": max(report["grown_mib"] for report in reports),
        },
        is_met=not failures,
        note="; ".join(failure[:200] for failure in failures[:3]),
    )


def _fuzz(replies: int) -> Row:
    options = ("--replies", str(replies), "--seed", str(SEED))
    reports = [in_a_process(options, parser=parser, module="tests.hostile.fuzz") for parser in PARSERS]
    failures = [failure for report in reports for failure in report["failures"]]
    return Row(
        name="H2",
        what="damaged replies, both parsers: our error, or what the bytes say by a second witness",
        figures={
            "replies": sum(report["replies"] for report in reports),
            "failures": len(failures),
            "results": sum(_results(report) for report in reports),
            "errors": sum(report["replies"] - _results(report) for report in reports),
            "per_s": min(report["per_second"] for report in reports),
            "seed": SEED,
        },
        is_met=not failures,
        note="; ".join(failure[:200] for failure in failures[:3]),
    )


def _results(report: dict[str, Any]) -> int:
    return sum(count for kind, count in report["kinds"].items() if kind.startswith("result"))
