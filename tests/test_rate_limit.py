"""A rate limit: what leaves within any window, in whose order, and what happens to those who cannot wait."""

from __future__ import annotations

import asyncio
import collections
import copy
import itertools
import math
import pickle
import random
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import pytest

import lisn_async
import lisn_sync
from benchmarks.reliability._virtual import Clock, virtual_time
from lisn_async import APITimeoutError, AssistantCreate, AsyncLisn, ConfigurationError, RateLimit
from lisn_async._permits import Permits, Queue, Window
from lisn_async._retry import Pause
from lisn_async.sandbox import Sandbox
from lisn_sync import Lisn

SPEC = AssistantCreate(name="n", type="text", llm_provider="grok", system_prompt="p")


JITTER = 0.3
"""Seconds by which one arrival may be later than another, because the machine was busy with something else."""


@pytest.fixture
def stalls() -> Iterator[list[float]]:
    """For how many seconds at a time this machine stood still meanwhile."""
    found: list[float] = []
    is_over = threading.Event()

    def tick() -> None:
        while not is_over.is_set():
            began = time.monotonic()
            time.sleep(0.01)
            if (late := time.monotonic() - began - 0.01) > 0.02:
                found.append(late)

    thread = threading.Thread(target=tick)
    thread.start()
    yield found
    is_over.set()
    thread.join()


def assert_kept(
    arrived: Iterable[float], limit: RateLimit, since: float | None = None, stalls: Iterable[float] = ()
) -> None:
    """What arrived, left as the limit says; `since` is a moment before the first of them.

    A request arrives some time after it left. So two things are looked at. Counted from the beginning, none comes
    before its turn: no delay can make it come earlier, and this is exact. And in any stretch of time at most
    burst + rate x length arrived, where the length is that of the stretch and `JITTER`, and of all stalls, for those that
    arrived late and met others. That they leave exactly so in any stretch is shown on a clock that knows no delay.
    """
    times, jitter = sorted(arrived), JITTER + sum(stalls)
    for most, seconds in limit.rates:
        assert len(times) > most, "too few arrived to show anything"
        for first, began in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= most + most / seconds * (times[last] - began + jitter)
        for place, when in enumerate(times if since is not None else ()):
            assert when - (since or 0.0) >= place // most * seconds - 0.005  # of two clocks


async def test_a_client_that_is_closed_lets_nobody_wait_for_a_permit() -> None:
    async with Sandbox() as box:
        client = AsyncLisn(box.token, base_url=box.base_url, rate_limit=RateLimit(1, 3600))
        await client.assistants.list()
        calls = [asyncio.create_task(client.assistants.list()) for _ in range(5)]
        while not client._calls.transport._asleep:
            await asyncio.sleep(0)
        await client.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [ConfigurationError] * 5
        assert "closed" in str(errors[0])
        assert len(box.seen) == 1


def arrivals(box: Sandbox | lisn_sync.Sandbox) -> list[float]:
    return [request.received_at for request in box.seen]


# --- the value ------------------------------------------------------------------------------------------


def test_a_rate_limit_is_a_value() -> None:
    limit = RateLimit(600, 60, burst=10, redis="redis://127.0.0.1:6379/0", key="jobs")
    assert limit == RateLimit(600, per_seconds=60.0, burst=10, redis="redis://127.0.0.1:6379/0", key="jobs")
    assert len({limit, copy.deepcopy(limit), pickle.loads(pickle.dumps(limit))}) == 1
    assert (limit.requests, limit.per_seconds, limit.burst, limit.key) == (600, 60.0, 10, "jobs")
    with pytest.raises(AttributeError):
        limit.requests = 5  # type: ignore[misc]
    assert lisn_sync.RateLimit is lisn_async.RateLimit


@pytest.mark.parametrize(
    ("limit", "rates"),
    [
        (RateLimit(10, 1), [(10, 1.0)]),
        (RateLimit(10, 1, burst=1), [(1, 0.1)]),
        (RateLimit(10, 1, burst=5), [(5, 0.5)]),
        (RateLimit(10, 1, burst=10), [(10, 1.0)]),
        (RateLimit(10, 1, burst=20), [(20, 2.0)]),
        (RateLimit(1, 86_400), [(1, 86_400.0)]),
        (RateLimit(10_000_000, 86_400, burst=100), [(100, 0.864)]),
        # These would let 12 and 14 out in a second.
        (RateLimit(10, 1, burst=4), [(4, 0.4), (10, 1.0)]),
        (RateLimit(10, 1, burst=7), [(7, 0.7), (10, 1.0)]),
    ],
)
def test_a_burst_has_a_window_of_its_own_and_leaves_the_rate(
    limit: RateLimit, rates: list[tuple[int, float]]
) -> None:
    assert list(limit.rates) == rates


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"requests": 0}, "requests must be a whole number of at least 1, not 0"),
        ({"requests": 1.5}, "requests must be a whole number"),
        ({"requests": True}, "requests must be a whole number"),
        ({"requests": "10"}, "requests must be a whole number"),
        ({"per_seconds": 0}, "per_seconds must be a number of seconds above 0"),
        ({"per_seconds": -1}, "per_seconds must be a number of seconds above 0"),
        ({"per_seconds": math.nan}, "per_seconds must be a number of seconds above 0"),
        ({"per_seconds": math.inf}, "per_seconds must be a number of seconds above 0"),
        ({"per_seconds": None}, "per_seconds must be a number of seconds above 0"),
        ({"burst": 0}, "burst must be a whole number of at least 1, not 0"),
        ({"burst": 2.0}, "burst must be a whole number"),
        ({"requests": 1_000_001}, "1000001 are too many to keep account of: give a burst"),
        ({"burst": 10**7}, "10000000 are too many"),
        ({"requests": 10_000_001, "burst": 100}, "10000001 are too many"),
        ({"burst": 10**6, "per_seconds": 1e8}, "burst * per_seconds / requests must be a number of seconds"),
        ({"redis": "localhost:6379"}, "redis must be a URL that begins with redis://"),
        ({"redis": "http://localhost"}, "redis must be a URL that begins with redis://"),
        ({"redis": 6379}, "redis must be a URL, not int"),
        ({"redis": "redis+sentinel://host/mymaster"}, "redis must be a URL that begins with redis://"),
        ({"redis": "REDIS//localhost"}, "redis must be a URL that begins with redis://"),
        ({"redis": ""}, "redis must be a URL that begins with redis://"),
        ({"redis": "redis://host/abc"}, "redis must be a URL that ends with the number of a database"),
        ({"redis": "redis://host/0/1"}, "redis must be a URL that ends with the number of a database"),
        ({"redis": "redis://host/-1"}, "redis must be a URL that ends with the number of a database"),
        ({"redis": "redis://host/1.5"}, "redis must be a URL that ends with the number of a database"),
        ({"redis": "redis://host:99999"}, "redis must be a URL with a host, a port"),
        ({"redis": "redis://host:port"}, "redis must be a URL with a host, a port"),
        ({"redis": "redis://[::1"}, "redis must be a URL with a host, a port"),
        ({"redis": "redis://host:0"}, "redis must be a URL with a host, a port"),
        ({"redis": "redis://:pass?word@host"}, "redis must be a URL with a host, a port"),
        ({"redis": "redis://:12?word@host"}, "redis must be a URL with a host, a port"),
        ({"redis": "redis://:12/word@host"}, "redis must be a URL with a host, a port"),
        ({"redis": "redis://:12#word@host"}, "redis must be a URL with a host, a port"),
        ({"redis": "unix://"}, "redis must be a URL with the path of a socket"),
        ({"redis": "unix://redis.sock"}, "redis must be a URL with the path of a socket"),
        ({"key": ""}, "key must be a string that is not empty"),
        ({"key": 7}, "key must be a string"),
    ],
)
def test_what_cannot_work_is_refused_and_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RateLimit(**{"requests": 10, "per_seconds": 1.0, **arguments})
    assert f"RateLimit: {says}" in str(caught.value)


def test_a_client_takes_nothing_else_for_a_rate_limit() -> None:
    with pytest.raises(ConfigurationError, match=r"rate_limit must be a RateLimit, such as .*, not tuple"):
        AsyncLisn("t", rate_limit=(10, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", [None, "redis://", "redis://host", "redis://host/", "redis://[::1]:6379/15", "unix:///a.sock?db=2"]
)
def test_a_url_that_can_be_one_is_taken_as_it_is(url: str | None) -> None:
    assert RateLimit(10, 1, redis=url).redis == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@cache:6379/0", "redis://cache:6379/0"),
        ("rediss://me:hunter2@cache/0?password=hunter2", "rediss://cache/0"),
        ("redis://me:hun@ter2:hunter2@cache", "redis://cache"),
        ("redis://me:hun%2Fter2%3F%23hunter2@cache", "redis://cache"),
        ("unix:///run/redis.sock?password=hunter2", "unix:///run/redis.sock"),
    ],
)
def test_the_password_of_redis_is_never_shown(url: str, shown: str) -> None:
    limit = RateLimit(10, 1, redis=url)
    assert shown in repr(limit)
    assert "hunter2" not in repr(limit)
    assert "hunter2" not in repr(attrs.asdict(limit))


@pytest.mark.parametrize(
    "url",
    [
        "redis:hunter2@host",
        "redis://:hunter2@host/abc",
        "redis://me:hunter2/x@host",
        "redis://:hunter2#x@host/0",
        "redis://:x?hunter2@host/0",
        "redis://h:hunter2",
        "redis://[hunter2",
        "redis://:hunter2@h:99999999",
        "unix://:hunter2@",
    ],
)
def test_nor_is_that_of_a_url_that_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RateLimit(10, 1, redis=url)
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    for frame in told.stack[1:]:  # the first is this test's own
        assert "hunter2" not in repr(frame.locals)


# --- exactly, on a clock that knows no delay -------------------------------------------------------------


def permits(*numbers: Any) -> tuple[Permits, Queue, Pause]:
    pause = Pause()
    return Permits(RateLimit(*numbers), pause), Queue(), pause


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_and_goes_no_window_holds_more_and_none_waits_for_nothing(seed: int) -> None:
    with virtual_time(seed) as clock:
        dice = random.Random(seed)
        limit = RateLimit(dice.randint(1, 12), dice.choice([0.5, 1, 7]), dice.choice([None, 1, 3, 5, 20]))
        at_once = limit.rates[0]
        given: list[tuple[float, int]] = []
        asked: dict[int, float] = {}

        async def ask(gate: Permits, queue: Queue, number: int, by: float) -> None:
            asked[number] = clock.now
            if await gate.take(queue, by) is None:
                assert clock.now <= by
                given.append((clock.now, number))

        async def main() -> None:
            gate, queue = Permits(limit, Pause()), Queue()
            tasks = []
            for number in range(120):
                by = clock.now + dice.choice([math.inf, math.inf, at_once.seconds * dice.random() * 4])
                tasks.append(asyncio.create_task(ask(gate, queue, number, by)))
                if dice.random() < 0.3:
                    dice.choice(tasks).cancel()
                if dice.random() < 0.5:
                    await asyncio.sleep(dice.random() * at_once.seconds / at_once.most)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert queue.waiting == 0

        clock.run(main())
    times = [when for when, _ in given]
    order = [number for _, number in given]
    assert order == sorted(order), "first come, first served"
    assert len(given) > 30
    for place, (when, number) in enumerate(given):
        opens = max(times[place - most] + seconds if place >= most else 0.0 for most, seconds in limit.rates)
        assert when >= opens - 1e-9
        # Nobody waits longer than for the window, for those before, or since it asked.
        assert when <= max(opens, times[place - 1] if place else 0.0, asked[number]) + 1e-6


def test_a_storm_of_cancellations_leaves_no_gap(clock: Clock) -> None:
    async def main() -> tuple[float, int]:
        gate, queue, _ = permits(1, 1)
        assert await gate.take(queue, math.inf) is None
        storm = [asyncio.create_task(gate.take(queue, math.inf)) for _ in range(1000)]
        await asyncio.sleep(0.5)
        for task in storm[1:]:
            task.cancel()
        await asyncio.wait(storm[1:])
        assert (queue.waiting, len(queue._behind)) == (1, 0), (
            "the first one waits on, and nothing is kept of the rest"
        )
        storm[0].cancel()
        assert await gate.take(queue, math.inf) is None
        return clock.now - 1000, queue.waiting

    assert clock.run(main()) == (1.0, 0)


def test_whoever_cannot_wait_so_long_is_told_at_once_and_takes_no_permit(clock: Clock) -> None:
    async def main() -> list[float | None]:
        gate, queue, _ = permits(2, 10)
        said = [await gate.take(queue, clock.now + 1) for _ in range(3)]
        assert clock.now == 1000
        behind = [asyncio.create_task(gate.take(queue, math.inf)) for _ in range(4)]
        await asyncio.sleep(0)
        said.append(await gate.take(queue, clock.now + 25))  # the fifth of a queue of two at a time
        assert clock.now == 1000
        said.append(await gate.take(queue, clock.now + 35))
        await asyncio.gather(*behind)
        return said

    done, also_done, too_long, behind_others, in_time = clock.run(main())
    assert done is also_done is in_time is None
    assert (too_long, behind_others) == (10, 30)


def test_a_pause_holds_the_queue_and_ends_the_wait_of_whoever_has_no_time(clock: Clock) -> None:
    async def main() -> None:
        gate, queue, pause = permits(100, 1)
        pause.extend(clock.now + 10)
        first = asyncio.create_task(gate.take(queue, math.inf))
        await asyncio.sleep(0)
        assert await gate.take(queue, clock.now + 3) == 10
        assert clock.now == 1000
        behind = asyncio.create_task(gate.take(queue, clock.now + 15))
        await asyncio.sleep(1)
        pause.extend(1020)  # asked for while the first one sleeps
        assert await behind == 5
        assert clock.now == 1015
        assert await first is None
        assert clock.now == 1020

    clock.run(main())


def test_whoever_is_first_and_finds_that_others_were_faster_does_not_wait_beyond_its_time(
    clock: Clock,
) -> None:
    async def main() -> None:
        gate, here, pause = permits(1, 10)
        elsewhere = Queue()  # as of another loop
        assert await gate.take(here, math.inf) is None
        faster = asyncio.create_task(gate.take(here, math.inf))
        await asyncio.sleep(0)
        said = await gate.take(elsewhere, 1015)
        assert clock.now == 1010
        assert said == 10
        assert await faster is None
        asked = asyncio.create_task(gate.take(here, 1025))
        await asyncio.sleep(1)
        pause.extend(1060)
        said = await asked
        assert clock.now == 1020
        assert said == 40
        assert here.waiting == elsewhere.waiting == 0

    clock.run(main())


def test_a_loop_that_stands_still_with_the_first_of_its_queue_holds_up_no_other(clock: Clock) -> None:
    gate = Permits(RateLimit(1, 5), Pause())

    async def waits_for_ever() -> None:
        queue = Queue()
        await gate.take(queue, math.inf)
        waiting = asyncio.ensure_future(gate.take(queue, math.inf))
        await asyncio.sleep(0)
        left_alone.append(waiting)

    left_alone: list[asyncio.Future[Any]] = []
    still = asyncio.new_event_loop()
    still.run_until_complete(waits_for_ever())

    async def other() -> float:
        assert await gate.take(Queue(), math.inf) is None
        return clock.now

    assert clock.run(other()) == 1005
    left_alone[0].cancel()
    still.run_until_complete(asyncio.gather(*left_alone, return_exceptions=True))
    still.close()


def test_a_loop_leaves_their_share_to_those_that_were_told_to_wait(clock: Clock) -> None:
    window, one, other = Window(RateLimit(20, 1).rates), Queue(), Queue()

    def taken(queue: Queue) -> int:
        """How many are given in a row."""
        return next(count for count in itertools.count() if window.take(queue))

    assert taken(one) == 20
    assert taken(other) == 0
    clock.now += 1
    assert taken(one) == 10
    assert taken(other) == 10
    assert taken(one) == 0
    clock.now += 2  # long after its moment: it stands still, or has nobody left
    assert taken(other) == 20


@pytest.mark.parametrize("numbers", [(20, 0.2), (10, 0.1, 3), (100, 0.3, 1)])
def test_timers_that_ring_too_soon_let_none_out_too_soon(numbers: tuple[Any, ...]) -> None:
    """Those of uvloop do, by a millisecond."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop not installed: pip install -e '.[speed]'")
    gate, _, _ = permits(*numbers)
    left = gate._window._sent = collections.deque()  # all of them

    async def some() -> None:
        queue = Queue()
        await asyncio.gather(*(gate.take(queue, math.inf) for _ in range(50)))

    def run(factory: Any) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(some())

    kinds = (uvloop.new_event_loop, uvloop.new_event_loop, asyncio.new_event_loop)
    threads = [threading.Thread(target=run, args=[factory]) for factory in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(left) == 150
    for most, seconds in RateLimit(*numbers).rates:
        gaps = [late - early for early, late in zip(left, list(left)[most:], strict=False)]
        assert min(gaps) >= seconds - 1e-9


def test_whoever_is_cancelled_as_its_turn_comes_hands_it_on(clock: Clock) -> None:
    async def main() -> bool:
        queue = Queue()
        assert await queue.acquire(math.inf)
        leaves, stays = (asyncio.create_task(queue.acquire(math.inf)) for _ in range(2))
        await asyncio.sleep(0)
        queue.release()
        leaves.cancel()
        return await stays

    assert clock.run(main())


@pytest.mark.parametrize("backwards", [False, True])
def test_a_queue_that_all_leave_is_as_good_as_new(clock: Clock, backwards: bool) -> None:
    async def main() -> float:
        gate, queue, _ = permits(1, 1)
        for _ in range(3):
            calls = [asyncio.create_task(gate.take(queue, clock.now + 100 + n % 7)) for n in range(60)]
            await asyncio.sleep(dice.random() * 3)
            for call in reversed(calls) if backwards else calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert queue.waiting == len(queue._behind) == 0
        began = clock.now
        assert await gate.take(queue, math.inf) is None
        return clock.now - began

    dice = random.Random(7)
    assert clock.run(main()) <= 1


# --- over real HTTP -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [RateLimit(20, 0.4), RateLimit(50, 1, burst=10), RateLimit(50, 1, burst=1)])
async def test_sixty_four_at_once_leave_as_the_limit_says(
    sandbox: Sandbox, stalls: list[float], limit: RateLimit
) -> None:
    since = time.time()
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, rate_limit=limit) as client:
        made = await asyncio.gather(*(client.assistants.create(SPEC) for _ in range(64)))
    assert len({one.id for one in made}) == len(sandbox.seen) == 64
    assert_kept(arrivals(sandbox), limit, since, stalls)


def test_threads_loops_and_copies_share_one_budget(stalls: list[float]) -> None:
    limit = RateLimit(20, 0.4)
    with lisn_sync.Sandbox() as box:
        client = AsyncLisn(box.token, base_url=box.base_url, rate_limit=limit)
        blocking = Lisn(box.token, base_url=box.base_url, rate_limit=limit)

        async def some(client: AsyncLisn) -> None:
            await asyncio.gather(*(client.assistants.list() for _ in range(20)))

        def loop() -> None:
            asyncio.run(some(client.with_options(timeout=30)))

        since = time.time()
        in_loops = [threading.Thread(target=loop) for _ in range(3)]
        for thread in in_loops:
            thread.start()
        for thread in in_loops:
            thread.join()
        assert len(box.seen) == 60
        assert_kept(arrivals(box), limit, since, stalls)

        box.seen.clear()

        def calls() -> None:
            for _ in range(2):
                blocking.assistants.list()

        since = time.time()
        in_threads = [threading.Thread(target=calls) for _ in range(32)]
        for thread in in_threads:
            thread.start()
        for thread in in_threads:
            thread.join()
        blocking.close()
        assert len(box.seen) == 64
        assert_kept(arrivals(box), limit, since, stalls)


async def test_another_client_has_another_budget(sandbox: Sandbox) -> None:
    limit = RateLimit(1, 3600)
    for _ in range(2):
        async with AsyncLisn(
            sandbox.token, base_url=sandbox.base_url, rate_limit=limit, deadline=60
        ) as client:
            await client.assistants.list()
    assert len(sandbox.seen) == 2


async def test_each_time_a_request_is_sent_again_it_takes_a_permit(
    sandbox: Sandbox, stalls: list[float]
) -> None:
    limit = RateLimit(10, 2, burst=1)
    sandbox.faults = [{"status": 429, "retry_after": 0}, {"status": 429, "retry_after": 0}]
    since = time.time()
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, rate_limit=limit) as client:
        await client.assistants.create(SPEC)
    assert [request.status for request in sandbox.seen] == [429, 429, 201]
    assert_kept(arrivals(sandbox), limit, since, stalls)


async def test_those_who_wait_for_a_permit_are_sent_with_the_token_of_then(sandbox: Sandbox) -> None:
    tokens = iter(["revoked", sandbox.token])
    limit = RateLimit(5, 1, burst=1)
    async with AsyncLisn(lambda: next(tokens), base_url=sandbox.base_url, rate_limit=limit) as client:
        await asyncio.gather(*(client.assistants.list() for _ in range(5)))
    assert sorted(request.status or 0 for request in sandbox.seen) == [200] * 5 + [401]


async def test_a_bulk_run_with_its_listings_keeps_to_the_limit(sandbox: Sandbox, stalls: list[float]) -> None:
    limit = RateLimit(50, 1, burst=5)
    since = time.time()
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, rate_limit=limit) as client:
        result = await client.assistants.create_many([SPEC] * 40, max_concurrency=32)
    assert len(result.created) == 40
    assert {request.operation for request in sandbox.seen} == {"list", "create"}
    assert_kept(arrivals(sandbox), limit, since, stalls)


async def test_a_call_that_cannot_go_out_before_its_deadline_is_not_sent(sandbox: Sandbox) -> None:
    async with AsyncLisn(
        sandbox.token, base_url=sandbox.base_url, rate_limit=RateLimit(1, 3000), max_retries=5
    ) as client:
        await client.assistants.list()
        budget = client._calls.traffic.budget.tokens
        with pytest.raises(APITimeoutError) as caught:
            await client.with_options(deadline=20).assistants.create(SPEC)
    assert "the rate limit of this client (1 in 3000 s), or a pause, lets it out in " in str(caught.value)
    assert (caught.value.outcome_unknown, caught.value.attempts) == (False, 1), "trying again is of no use"
    assert client._calls.traffic.budget.tokens == budget
    assert len(sandbox.seen) == 1


async def test_a_cancelled_call_gives_its_turn_and_its_slot_to_the_next(sandbox: Sandbox) -> None:
    limit = RateLimit(1, 0.2)
    async with AsyncLisn(
        sandbox.token, base_url=sandbox.base_url, rate_limit=limit, max_connections=8
    ) as client:
        calls = [asyncio.create_task(client.assistants.list()) for _ in range(1000)]
        await sandbox.received(1)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await client.with_options(deadline=60).assistants.list()  # 1000 permits would take 200 s


FORKED = """
import asyncio, os, sys, threading
from lisn_async import AsyncLisn, RateLimit
from lisn_sync import Lisn

client = Lisn(sys.argv[2], base_url=sys.argv[1], rate_limit=RateLimit(1, 3600), deadline=20, max_retries=0)
client.assistants.list()  # the permit is gone, in this process

window = client._core._calls.traffic.permits._window
with window._lock:  # as if another thread were in the middle of it
    child = os.fork()
    if child == 0:
        client.assistants.list()  # a child begins with a budget of its own, and hangs on nothing
        try:
            client.assistants.list()
        except TimeoutError:
            os._exit(7)
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
try:
    client.assistants.list()
except TimeoutError:
    print("parent keeps its own")
"""


def test_a_forked_child_begins_with_a_budget_of_its_own(lisn_sandbox: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, lisn_sandbox.base_url, lisn_sandbox.token],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "parent keeps its own\n"), done.stderr
    assert len(lisn_sandbox.seen) == 2
