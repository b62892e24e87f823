"""Bars with their quartiles, as SVG, if matplotlib is there (the extra `bench`)."""

from __future__ import annotations

# mypy: disable-error-code="import-not-found"
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, number

OURS, THEIRS = "#0b7a75", "#9aa5b1"
GOAL = "#d1495b"


def plot(path: Path, title: str, rows: Sequence[Row]) -> None:
    """All rows that have a figure; one panel for each unit."""
    measured = [row for row in rows if not isinstance(row.figure, str)]
    if not measured or not _has_matplotlib():
        return
    pyplot = _pyplot()
    units = list(dict.fromkeys(row.unit for row in measured))
    groups = [[row for row in measured if row.unit == unit] for unit in units]
    figure, panels = pyplot.subplots(
        len(units),
        squeeze=False,
        figsize=(10, 1.2 * len(units) + 0.34 * len(measured)),
        height_ratios=[len(group) + 1 for group in groups],
        layout="constrained",
    )
    figure.suptitle(title, fontsize=9)
    for unit, group, panel in zip(units, groups, panels.flat, strict=True):
        _bars(panel, [(row.text, row, OURS if row.goal is not None else THEIRS) for row in group])
        panel.set_xlabel("ratio, less is better" if unit == "×" else unit, fontsize=8)
    _save(figure, path)


def plot_headline(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Only the rows that have a name for it, from the cheapest to the dearest."""
    chosen = [row for row in rows if row.bar and not isinstance(row.figure, str)]
    if not chosen or not _has_matplotlib():
        return
    pyplot = _pyplot()
    figure, panel = pyplot.subplots(figsize=(8, 0.9 + 0.36 * len(chosen)), layout="constrained")
    figure.suptitle(title, fontsize=10)
    chosen.sort(key=lambda row: 0.0 if isinstance(row.figure, str) else row.figure.median)
    _bars(panel, [(row.bar, row, OURS if row.bar.startswith("lisn") else THEIRS) for row in chosen])
    panel.axvline(1.0, color="#333333", linewidth=0.8, linestyle=":")
    _save(figure, path)


def _bars(panel: Any, bars: Sequence[tuple[str, Row, str]]) -> None:
    for place, (_, row, color) in enumerate(bars):
        assert not isinstance(row.figure, str)
        middle, low, high = row.figure.median, row.figure.low, row.figure.high
        panel.barh(place, middle, color=color, xerr=[[middle - low], [high - middle]], ecolor="#333333")
        panel.annotate(
            number(middle),
            (high, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        if row.goal is not None:
            panel.plot([row.goal] * 2, [place - 0.4, place + 0.4], color=GOAL, linewidth=2)
    panel.set_yticks(range(len(bars)), [name for name, _, _ in bars], fontsize=8)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:,g}")
    panel.margins(x=0.12, y=0.02)
    panel.invert_yaxis()
    panel.tick_params(axis="x", labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _has_matplotlib() -> bool:
    if importlib.util.find_spec("matplotlib") is not None:
        return True
    print("no plot: matplotlib is not installed (pip install -e '.[bench]')")
    return False


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lisn"  # the same figures give the same file
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    _pyplot().close(figure)
