"""R7: how near a bulk run comes to the best fixed concurrency limit, and how many calls are declined on the way.

The best limit is another for every service and nobody knows it beforehand. It is found by trying all of them (fewer
in the quick profiles), with the same client, retries and pauses. Everything above the socket is the real code; time
is virtual (`_virtual`), the services are models (`_virtual_servers`):

- 20 slots of 150 ms, and 4 slots of 1 s: one more is declined at once with 429 without `Retry-After`, none is queued;
- 40 a second: a token bucket that holds 40, 50 ms, with `Retry-After` in whole seconds, and the same without it;
- 600 a minute: fixed windows, 50 ms, `Retry-After` until the window ends.

A row is the worst number of items, each the mean of several seeds; the worst single run stands beside it.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from benchmarks.reliability._virtual_servers import Bucket, Moody, Ran, Server, Slots, Window, run_bulk
from benchmarks.reliability.rows import Profile, Row

MOST = 64
LEAST_SHARE = 95.0
"""% of the rate of the best fixed limit."""
MOST_WASTED = 6.0
"""Declined calls, in % of creates."""

MODELS: Mapping[str, Callable[[], Server]] = {
    "20 slots of 150 ms": lambda: Slots([(0, 20)], 0.15),
    "40/s, Retry-After": lambda: Bucket(40, 40, 0.05, says_when=True),
    "40/s, no Retry-After": lambda: Bucket(40, 40, 0.05, says_when=False),
    "600 a minute, Retry-After": lambda: Window(600, 60, 0.05),
    "4 slots of 1 s": lambda: Slots([(0, 4)], 1.0),
}
OTHERS: Mapping[str, Callable[[], Server]] = {
    "40 slots, 10 from second 4 to 16": lambda: Slots([(0, 40), (4, 10), (16, 40)], 0.15),
    "50 slots of 150 ms": lambda: Slots([(0, 50)], 0.15),
    "20 slots of 150 ms, Retry-After 1 s": lambda: Slots([(0, 20)], 0.15, 1.0),
    "3 slots of 50 ms": lambda: Slots([(0, 3)], 0.05),
    "1 ms, never declines": lambda: Slots([(0, 1000)], 0.001),
    "declines one in 200 for no reason": lambda: Moody(200, 0.05),
    "40/s of 5 ms, Retry-After": lambda: Bucket(40, 40, 0.005, says_when=True),
    "40/s of 5 ms, no Retry-After": lambda: Bucket(40, 40, 0.005, says_when=False),
    "43/s of 150 ms, no Retry-After": lambda: Bucket(43, 40, 0.15, says_when=False),
    "40/s, bursts of 10, Retry-After": lambda: Bucket(40, 10, 0.05, says_when=True),
    "40/s, bursts of 10, no Retry-After": lambda: Bucket(40, 10, 0.05, says_when=False),
    "100 per 10 s, Retry-After": lambda: Window(100, 10, 0.05),
}
"""Nothing is promised of these; the numbers of `Pace` must not be fitted to five models only."""

SHORT = "nothing is promised of a run that is over before much is learnt"


def run(profile: Profile) -> list[Row]:
    """One row per model, and with the full profile short runs and other models."""
    if profile is Profile.TINY:
        return [_row(name, (700,), seeds=1, limits=(2, 20), note="too few items") for name in MODELS]
    limits = range(1, MOST + 1) if profile is Profile.FULL else (1, 2, 3, 4, 8, 16, 20, 28, 44, MOST)
    items = (1000, 2000, 5000) if profile is Profile.FULL else (1000, 2000)
    rows = [_row(name, items, seeds=profile.pick(tiny=1, fast=2, full=5), limits=limits) for name in MODELS]
    if profile is Profile.FULL:
        some = (1, 2, 3, 4, 6, 10, 16, 20, 24, 32, 40, 50, MOST)
        rows += [_row(name, (500,), seeds=5, limits=some, note=SHORT) for name in MODELS]
        rows += [_row(name, (2000,), seeds=3, limits=some, note="one of the other models") for name in OTHERS]
    return rows


@attrs.frozen(kw_only=True)
class Figures:
    """What one number of items came to. Shares are in % of the best fixed limit's rate, waste in % of creates."""

    share: float
    worst_share: float
    wasted: float
    worst_wasted: float
    best_limit: int
    most_share: float
    most_wasted: float


def _row(name: str, items: Iterable[int], *, seeds: int, limits: Sequence[int], note: str = "") -> Row:
    all_figures = [_figures(name, count, range(seeds), limits) for count in items]
    least = min(all_figures, key=lambda figures: figures.share)
    most = max(all_figures, key=lambda figures: figures.wasted)
    is_met = least.share >= LEAST_SHARE and most.wasted <= MOST_WASTED
    return Row(
        name="R7",
        what=f"pace, {name}",
        figures={
            "items": "/".join(f"{count}" for count in items),
            "rate in % of the best fixed limit's": round(least.share, 1),
            "worst run %": round(min(figures.worst_share for figures in all_figures), 1),
            "declined per create %": round(most.wasted, 1),
            "worst run's %": round(max(figures.worst_wasted for figures in all_figures), 1),
            "best fixed limit": least.best_limit,
            f"fixed {MOST}: rate %": round(least.most_share, 1),
            f"fixed {MOST}: declined %": round(most.most_wasted, 1),
        },
        is_met=None if note else is_met,
        note=note,
    )


def _figures(name: str, items: int, seeds: Iterable[int], limits: Sequence[int]) -> Figures:
    best_limit, best = _best_fixed(name, items, seeds, limits)
    ours = [_run(name, items, seed) for seed in seeds]
    most = [_run(name, items, seed, MOST) for seed in seeds]
    return Figures(
        share=100 * _rate(ours) / best,
        worst_share=100 * min(ran.rate for ran in ours) / best,
        wasted=100 * statistics.fmean(ran.wasted for ran in ours),
        worst_wasted=100 * max(ran.wasted for ran in ours),
        best_limit=best_limit,
        most_share=100 * _rate(most) / best,
        most_wasted=100 * statistics.fmean(ran.wasted for ran in most),
    )


def _best_fixed(name: str, items: int, seeds: Iterable[int], limits: Sequence[int]) -> tuple[int, float]:
    """The best limit and its rate: all limits on one seed and 1,000 items, then the best three in earnest."""
    tried = {limit: _swept(name, limit) for limit in limits}
    rates = {
        limit: _rate([_run(name, items, seed, limit) for seed in seeds])
        for limit in sorted(tried, key=tried.__getitem__)[-3:]
    }
    best = max(rates, key=rates.__getitem__)
    return best, rates[best]


@functools.cache
def _swept(name: str, limit: int) -> float:
    return _run(name, 1000, 0, limit).rate


def _rate(runs: Iterable[Ran]) -> float:
    return statistics.fmean(ran.rate for ran in runs)


def _run(name: str, items: int, seed: int, fixed: int | None = None) -> Ran:
    ran = run_bulk({**MODELS, **OTHERS}[name](), items=items, seed=seed, fixed=fixed, max_concurrency=MOST)
    if ran.created != items:
        raise AssertionError(f"{name}: {ran.created} of {items} were created")
    return ran
