"""What a benchmark reports: rows of a table, as values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs


@attrs.frozen
class Figure:
    """A median with its quartiles, and what they were taken from."""

    median: float
    low: float
    high: float
    samples: Sequence[float]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Figure:
        """The figure for some samples, at least one."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0], samples)
        low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(middle, low, high, [float(f"{sample:.4g}") for sample in samples])


@attrs.frozen(kw_only=True)
class Row:
    """One line of a table. In place of its figure may stand why there is none.

    Rows of the same words may differ in the clock, "CPU" or "wall". The goal is the most that the figure may be, or the least with `is_least`. Rows with a `bar` are in the plot
    that the README shows, under that name.
    """

    name: str
    what: str
    clock: str = ""
    figure: Figure | str
    unit: str = "×"
    goal: float | None = None
    is_least: bool = False
    bar: str = ""

    @property
    def text(self) -> str:
        """What the figure is of, in full."""
        return f"{self.what}, {self.clock}" if self.clock else self.what

    @property
    def is_met(self) -> bool | None:
        """None where there is no goal, or no figure."""
        if self.goal is None or isinstance(self.figure, str):
            return None
        return self.figure.median >= self.goal if self.is_least else self.figure.median <= self.goal


def shown(figure: Figure | str, unit: str = "×") -> str:
    """A figure for a reader."""
    if isinstance(figure, str):
        return f"not measured: {figure}"
    return number(figure.median) if unit == "×" else f"{number(figure.median)} {unit}"


def quartiles(figure: Figure | str) -> str:
    """How far its samples are apart."""
    return "" if isinstance(figure, str) else f"{number(figure.low)} – {number(figure.high)}"


def number(value: float) -> str:
    """Three digits, but whole ones from a hundred on."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.2f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 3)}f}"
