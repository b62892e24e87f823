"""Bars with their quartiles, as SVG, if matplotlib is there (the extra `bench`)."""

from __future__ import annotations

# mypy: disable-error-code="import-not-found"
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.rows import Figure, Row, number

GOOD, OTHER, GOAL = "#0b7a75", "#9aa5b1", "#d1495b"

Bar: TypeAlias = tuple[str, Figure, str]
"""A name, what it shows, and its color."""


def plot(path: Path, title: str, rows: Sequence[Row]) -> None:
    """All rows that have a figure, one panel for each unit; what has a goal stands out, and the goal is red."""
    units = list(dict.fromkeys(row.unit for row in rows if isinstance(row.figure, Figure)))
    groups = [[row for row in rows if row.unit == unit and isinstance(row.figure, Figure)] for unit in units]
    if not groups or (pyplot := _pyplot()) is None:
        return
    heights = [len(group) + 1 for group in groups]
    figure, panels = pyplot.subplots(
        len(units), squeeze=False, figsize=(10, 0.4 * sum(heights) + 0.6), height_ratios=heights
    )
    for unit, group, panel in zip(units, groups, panels.flat, strict=True):
        color = [OTHER if row.goal is None else GOOD for row in group]
        _draw(panel, [_bar(row.text, row, color) for row, color in zip(group, color, strict=True)], unit)
        for place, row in enumerate(group):
            if row.goal is not None:
                panel.plot([row.goal] * 2, [place - 0.4, place + 0.4], color=GOAL, linewidth=2)
    _save(figure, path, title)


def plot_headline(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Only the rows that have a name for it, from the cheapest to the dearest."""
    bars = [
        _bar(row.bar, row, GOOD if row.bar.startswith("lisn") else OTHER)
        for row in rows
        if row.bar and isinstance(row.figure, Figure)
    ]
    if not bars or (pyplot := _pyplot()) is None:
        return
    figure, panel = pyplot.subplots(figsize=(8, 0.36 * len(bars) + 0.9))
    _draw(panel, sorted(bars, key=lambda bar: bar[1].median), "×")
    panel.axvline(1.0, color="#333333", linewidth=0.8, linestyle=":")
    _save(figure, path, title)


def _bar(name: str, row: Row, color: str) -> Bar:
    assert isinstance(row.figure, Figure)
    return name, row.figure, color


def _draw(panel: Any, bars: Sequence[Bar], unit: str) -> None:
    for place, (_, shown, color) in enumerate(bars):
        spread = [[shown.median - shown.low], [shown.high - shown.median]]
        panel.barh(place, shown.median, color=color, xerr=spread, ecolor="#333333")
        panel.annotate(
            number(shown.median), (shown.high, place), (5, 0), textcoords="offset points", va="center", size=8
        )
    medians = [shown.median for _, shown, _ in bars]
    if max(medians) > 10 * min(medians) > 0:
        panel.set_xscale("log")
    panel.set_xlabel("ratio, less is better" if unit == "×" else unit, fontsize=8)
    panel.xaxis.set_major_formatter("{x:,g}")
    panel.set_yticks(range(len(bars)), [name for name, _, _ in bars], fontsize=8)
    panel.margins(x=0.12, y=0.02)
    panel.invert_yaxis()
    panel.tick_params(axis="x", labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _pyplot() -> Any:
    """Where figures are made; None, and a line that says so, without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed (pip install -e '.[bench]')")
        return None
    import matplotlib

    matplotlib.use("svg")
    # The same figures give the same file, and letters stay letters.
    matplotlib.rcParams.update(
        {"svg.hashsalt": "lisn", "svg.fonttype": "none", "figure.constrained_layout.use": True}
    )
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path, title: str) -> None:
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    _pyplot().close(figure)
