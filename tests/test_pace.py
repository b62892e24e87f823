"""Pace: as fast as the service lets, few declined, and never more at once than allowed. No test waits for real."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import attrs
import pytest

from benchmarks.reliability import pacing
from benchmarks.reliability._virtual import Clock
from benchmarks.reliability._virtual_servers import Bucket, Declined, Moody, Slots, Window, run_bulk
from benchmarks.reliability.rows import Profile
from lisn_async.bulk.pace import PRICE, Pace

# --- whole runs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("20 slots of 150 ms", 20),
        ("40/s, Retry-After", 2),
        ("40/s, no Retry-After", 2),
        ("600 a minute, Retry-After", 16),
        ("4 slots of 1 s", 4),
    ],
)
def test_a_run_is_nearly_as_fast_as_with_the_best_limit_and_wastes_little(
    name: str, limit: int, seed: int
) -> None:
    ours = run_bulk(pacing.MODELS[name](), items=1000, seed=seed)
    best = run_bulk(pacing.MODELS[name](), items=1000, seed=seed, fixed=limit)
    assert ours.created == 1000
    assert ours.rate > 0.93 * best.rate
    assert ours.wasted < 0.07


def test_the_same_seed_gives_the_same_run() -> None:
    runs = [run_bulk(Slots([(0, 9)], 0.1), items=300, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("most", [1, 5, 64])
def test_no_more_than_max_concurrency_are_under_way_and_all_of_it_is_used(most: int) -> None:
    ran = run_bulk(Slots([(0, 1000)], 0.05), items=1000, max_concurrency=most)
    assert (ran.most_under_way, ran.declined) == (most, 0)
    assert run_bulk(Slots([(0, 20)], 0.05), items=500, max_concurrency=most).most_under_way <= most


def test_a_pause_is_shared_by_all_workers_and_no_herd_follows_it() -> None:
    ran = run_bulk(Bucket(40, 40, 0.05, says_when=True), items=400)
    gaps = [(late - early, early, late) for early, late in zip(ran.sent_at, ran.sent_at[1:], strict=False)]
    pauses = [late for gap, _, late in gaps if gap > 0.9]
    assert pauses
    for end in pauses[2:]:
        at_once = sum(end <= sent < end + 0.01 for sent in ran.sent_at)
        assert at_once <= 16, "not all 64 workers"


def test_a_service_that_becomes_smaller_and_larger_again_is_followed() -> None:
    slots = Slots([(0, 40), (4, 10), (16, 40)], 0.15)
    ran = run_bulk(slots, items=5000)
    began = ran.sent_at[0]

    def rate(since: float, until: float) -> float:
        return sum(since <= sent - began < until for sent in ran.sent_at) / (until - since)

    assert rate(2, 4) > 0.85 * 40 / 0.15
    assert 0.85 * 10 / 0.15 < rate(8, 16) < 1.1 * 10 / 0.15
    assert rate(22, 25) > 0.85 * 40 / 0.15
    assert ran.wasted < 0.06


def test_where_less_than_one_under_way_is_enough_sends_are_spaced() -> None:
    ran = run_bulk(Bucket(40, 40, 0.005, says_when=False), items=1500)
    assert ran.wasted < 0.1
    fixed_at_1 = run_bulk(Bucket(40, 40, 0.005, says_when=False), items=1500, fixed=1)
    assert fixed_at_1.wasted > 5 * ran.wasted, "a semaphore cannot say that"


def test_a_few_declined_for_no_reason_do_not_slow_a_run_down() -> None:
    assert run_bulk(Moody(1000, 0.05), items=3000).rate > 0.6 * 64 / 0.05


@pytest.mark.parametrize("one_in", [8, 14, 40])
def test_a_service_that_declines_many_whatever_it_is_sent_is_not_slowed_to_a_crawl(one_in: int) -> None:
    """Each decline looks like a limit that is too high; only that sending less does not help shows that it is not."""
    for seed in (11, 12):
        assert run_bulk(Moody(one_in, 0.05), items=2000, seed=seed).rate > 4 / 0.05


def test_a_service_that_declines_everything_is_given_up_in_time() -> None:
    @attrs.define
    class Never:
        def arrive(self, now: float, chance: random.Random) -> tuple[float, Declined | None]:
            return 0.01, Declined()

    ran = run_bulk(Never(), items=300, give_up_after=60.0)
    assert ran.created == 0
    assert 60 < ran.seconds < 64
    assert ran.declined < 1500, "64 workers that back off to 8 s"


def test_giving_up_is_not_held_up_by_spacing() -> None:
    @attrs.define
    class Dies:
        bucket: Bucket = attrs.field(factory=lambda: Bucket(2, 2, 0.005, says_when=False))
        left: int = 40

        def arrive(self, now: float, chance: random.Random) -> tuple[float, Declined | None]:
            takes, declined = self.bucket.arrive(now, chance)
            self.left -= declined is None
            return (takes, declined) if self.left > 0 else (0.01, Declined())

    ran = run_bulk(Dies(), items=500, give_up_after=30.0)
    assert ran.created == 39
    assert ran.seconds - 30 < 40 / 2 + 10


def test_the_wait_of_a_long_pause_costs_no_calls() -> None:
    ran = run_bulk(Window(600, 60, 0.05), items=650)
    assert ran.seconds > 10
    assert ran.declined < 40


def test_the_experiment_runs_and_meets_what_is_promised_even_of_few_items() -> None:
    rows = pacing.run(Profile.TINY)
    assert [row.name for row in rows] == ["R7"] * 5
    assert all(row.figures["rate in % of the best fixed limit's"] > 90 for row in rows)  # type: ignore[operator]


# --- the semaphore and what it learns ---------------------------------------------------------------------


async def window(pace: Pace, seconds: float = 0.1) -> int:
    """Use the limit once; how many were under way."""
    sent = []
    while pace._wait() <= 0:
        sent.append(await pace.acquire())
    await asyncio.sleep(seconds)
    for one in sent:
        pace.succeeded(one)
    for _ in sent:
        pace.release()
    return len(sent)


@pytest.mark.parametrize("most", [1, 5, 64])
def test_the_limit_doubles_until_the_service_pushes_back(clock: Clock, most: int) -> None:
    async def main() -> None:
        pace = Pace(most)
        sizes = [await window(pace) for _ in range(5)]
        assert sizes == [min(most, 8 * 2**n) for n in range(5)]

    clock.run(main())


def test_the_limit_never_falls_below_one_under_way(clock: Clock) -> None:
    async def main() -> None:
        pace = Pace(64)
        for _ in range(200):
            sent = await asyncio.wait_for(pace.acquire(), 2.1)
            await asyncio.sleep(0.01)
            pace.pushed_back(sent)
            pace.release()
        assert pace.limit > 0.5, "without a success a decline says nothing about how much less"

    clock.run(main())


def test_what_was_sent_before_the_fall_does_not_count_again(clock: Clock) -> None:
    async def main() -> None:
        pace = Pace(64)
        await window(pace)
        sent = [await pace.acquire() for _ in range(16)]
        await asyncio.sleep(0.01)
        pace.pushed_back(sent[-1])
        fallen = pace.limit
        assert fallen == 15, "so many were under way beside it"
        for one in sent[:-1]:
            pace.pushed_back(one)
        assert pace.limit == fallen

    clock.run(main())


def test_more_is_tried_once_successes_have_paid_for_what_was_declined(clock: Clock) -> None:
    async def main() -> None:
        pace = Pace(64)
        sent = [await pace.acquire() for _ in range(8)]
        await asyncio.sleep(0.1)
        pace.pushed_back(sent[-1])
        fallen, successes = pace.limit, 0
        for one in sent[:-1]:
            pace.succeeded(one)
            successes += 1
        for _ in sent:
            pace.release()
        while pace.limit == fallen:
            one = await pace.acquire()
            others = [await pace.acquire() for _ in range(5)]
            await asyncio.sleep(0.1)
            for success in (one, *others):
                pace.succeeded(success)
                successes += 1
            for _ in range(6):
                pace.release()
        assert 2 * PRICE <= successes <= 2 * PRICE + 6
        assert pace.limit == pytest.approx(1.05 * fallen)

    clock.run(main())


def test_a_turn_that_nobody_takes_is_handed_on_and_a_cancelled_wait_is_forgotten(clock: Clock) -> None:
    async def main() -> None:
        pace = Pace(1)
        await pace.acquire()
        waits = [asyncio.create_task(pace.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waits[0].cancel()
        pace.release()
        waits[1].cancel()  # its turn has come already
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waits[2].done()
        assert [wait.cancelled() for wait in waits] == [True, True, False]
        pace.release()
        assert pace._under_way == 0

    clock.run(main())


# --- the clock --------------------------------------------------------------------------------------------


def test_a_virtual_hour_takes_no_time_and_timers_keep_their_order(clock: Clock) -> None:
    seen: list[Any] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(seconds)

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(sleeper(3600), sleeper(1), sleeper(60))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        assert await asyncio.to_thread(lambda: "done") == "done"
        return asyncio.get_running_loop().time() - began

    real = time.monotonic()
    assert clock.run(main()) == pytest.approx(3605)
    assert seen == [1, 60, 3600]
    assert time.monotonic() - real < 600


def test_waiting_for_ever_is_an_error_on_a_virtual_clock(clock: Clock) -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="for ever"):
        clock.run(main())
