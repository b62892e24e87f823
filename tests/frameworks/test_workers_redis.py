"""A rate limit that many processes share through a real Redis, and what they do when it is slow, gone or back."""

from __future__ import annotations

import asyncio
import gc
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from lisn_async import APIStatusError, AsyncLisn, ConfigurationError, LisnError, RateLimit
from lisn_async import sandbox as async_sandbox
from lisn_async._permits import Queue
from lisn_sync import Lisn, Sandbox
from tests.fix_redis import RedisServer
from tests.test_rate_limit import assert_kept

from .conftest import MISHAPS, Start, needs

pytestmark = needs("redis", "pyrate_limiter")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def client_of(box: Any, limit: RateLimit, **more: Any) -> AsyncLisn:
    return AsyncLisn(box.token, base_url=box.base_url, rate_limit=limit, **more)


def shared_window(client: AsyncLisn) -> Any:
    gate = client._calls.traffic.permits
    assert gate is not None
    return gate._shared


def queue_of(waiting: int) -> Queue:
    queue = Queue()
    queue.waiting = waiting
    return queue


def warnings_of(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.levelno >= logging.WARNING]


def permits(server: RedisServer, key: str) -> int:
    return int(server.ask("LLEN", key).removeprefix(":"))


def stamps_in(server: RedisServer, key: str) -> set[int]:
    """When the last permits were given, in microseconds."""
    return set(map(int, server.ask("LRANGE", key, "0", "-1").split("\r\n")[2::2]))


def microseconds(server: RedisServer) -> int:
    """What time it is there."""
    seconds, rest = server.ask("TIME").split("\r\n")[2::2]
    return int(seconds) * 1_000_000 + int(rest)


# --- several processes ----------------------------------------------------------------------------------

WORKER = """
import asyncio, os, sys
from lisn_async import AsyncLisn, RateLimit

requests, seconds, count = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])

async def main():
    limit = RateLimit(requests, seconds, redis=os.environ["REDIS"])
    async with AsyncLisn(rate_limit=limit, default_headers={"X-Worker": str(os.getpid())}) as client:
        print("ready")
        await asyncio.gather(*(client.assistants.list() for _ in range(count)))
    print("done")

asyncio.run(main())
"""


def test_processes_keep_to_the_limit_jointly(box: Sandbox, redis_server: RedisServer, start: Start) -> None:
    limit = RateLimit(20, 0.5)
    with redis_server.watched("{lisn}:permits:20/0.5") as given:
        workers = [start("-c", WORKER, "20", "0.5", "25", box=box, REDIS=redis_server.url) for _ in range(3)]
        for worker in workers:
            assert worker.wait() == 0, worker.log
            assert not MISHAPS.search(worker.log), worker.log
    assert len(given) >= len(box.seen) == 75  # what a slow worker did not take in time is void
    assert min(late - early for early, late in zip(given, given[20:], strict=False)) >= 500_000
    assert_kept([request.received_at for request in box.seen], limit)
    assert redis_server.connections() == 0


def test_a_pause_that_the_service_asks_one_worker_for_holds_all(
    box: Sandbox, redis_server: RedisServer, start: Start
) -> None:
    box.faults = [{"status": 429, "retry_after": 2, "skip": 60}]
    workers = [start("-c", WORKER, "50", "1", "60", box=box, REDIS=redis_server.url) for _ in range(3)]
    for worker in workers:
        assert worker.wait() == 0, worker.log
    seen = sorted(box.seen, key=lambda request: request.received_at)
    (declined,) = [place for place, request in enumerate(seen) if request.status == 429]
    began = seen[declined].received_at
    after = [request for request in seen if request.received_at > began + 0.5]
    assert after[0].received_at >= began + 2, "nobody sent while the service wanted silence"
    assert len({request.headers["X-Worker"] for request in after}) > 1, "there were others to be held back"
    assert len(seen) == 181


# --- asking for many at once ----------------------------------------------------------------------------


def assert_exact(given: list[int], limit: RateLimit) -> None:
    """What Redis gave, in microseconds of its own clock, is what the limit says."""
    for most, seconds in limit.rates:
        assert len(given) > most
        gaps = [late - early for early, late in zip(given, given[most:], strict=False)]
        assert min(gaps) >= seconds * 1_000_000


async def test_far_from_redis_the_rate_is_that_of_the_window(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer
) -> None:
    """140 ms there and back, and 40 a second: one at a time would be 7 a second."""
    limit = RateLimit(20, 0.5)
    with redis_server.far_away(0.07) as url, redis_server.watched("{lisn}:permits:20/0.5") as given:
        async with client_of(sandbox, RateLimit(20, 0.5, redis=url)) as client:
            await asyncio.gather(*(client.assistants.list() for _ in range(121)))
    assert_exact(given, limit)
    assert len(given) >= len(sandbox.seen) == 121
    assert_kept([request.received_at for request in sandbox.seen], limit)
    gaps = [late - early for early, late in zip(given, given[20:], strict=False)]
    assert statistics.median(gaps) < 580_000, "with the way there and back in each window it would be 640,000"
    assert redis_server.calls("eval") <= 40


@pytest.mark.parametrize("limit", [RateLimit(10, 0.2), RateLimit(10, 0.3, burst=4), RateLimit(9, 0.3, 20)])
async def test_however_many_ask_for_however_many_the_limit_is_kept(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, limit: RateLimit
) -> None:
    numbers = "+".join(f"{most}/{seconds:.12g}" for most, seconds in limit.rates)
    shared = attrs.evolve(limit, redis=redis_server.url)
    with redis_server.watched(f"{{lisn}}:permits:{numbers}") as given:
        clients = [client_of(sandbox, shared, max_connections=many) for many in (1, 3, 30)]
        await asyncio.gather(*(client.assistants.list() for client in clients for _ in range(20)))
        for client in clients:
            await client.aclose()
    assert len(given) >= len(sandbox.seen) == 60
    assert_exact(given, limit)


async def test_whoever_is_cancelled_while_redis_is_asked_leaves_the_answer_to_those_behind(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer
) -> None:
    with redis_server.far_away(0.05) as url, redis_server.watched("{lisn}:permits:60/3600") as given:
        async with client_of(sandbox, RateLimit(60, 3600, redis=url), deadline=60) as client:
            await client.assistants.list()
            calls = [asyncio.create_task(client.assistants.list()) for _ in range(29)]
            opened = redis_server.opened()
            for call in calls[:9]:  # each of them is the first when its turn comes
                for _ in range(10):
                    await asyncio.sleep(0)
                call.cancel()
            await asyncio.gather(*calls[9:])
            assert redis_server.opened() - opened == 1, (
                "the line on which he asked was not cut, this is that of the test"
            )
    assert len(sandbox.seen) >= 1 + 20
    assert len(given) <= 60


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.07])
async def test_a_client_that_is_closed_while_redis_is_asked_leaves_no_connection(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, moment: float
) -> None:
    with redis_server.far_away(0.05) as url:
        client = client_of(sandbox, RateLimit(1000, 1, redis=url))
        await client.assistants.list()
        opened = redis_server.opened()
        calls = [asyncio.create_task(client.assistants.list()) for _ in range(20)]
        await asyncio.sleep(moment)
        await client.aclose()
        for ended in await asyncio.gather(*calls, return_exceptions=True):
            assert ended == [] or isinstance(ended, LisnError), ended
        assert redis_server.opened() - opened == 1, "but for that of the test"
    gc.collect()  # a warning about what was left open would be an error here
    assert warnings_of(caplog.records) == []


async def test_whoever_takes_all_leaves_their_share_to_those_who_wait(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lisn_async._shared_permits.FRESH", 0.1
    )  # what one asked for another time is not taken
    limit = RateLimit(20, 0.3, redis=redis_server.url)
    async with client_of(sandbox, limit) as greedy, client_of(sandbox, limit) as modest:
        first, second = (shared_window(client) for client in (greedy, modest))
        many, few = queue_of(100), queue_of(2)
        with redis_server.watched("{lisn}:permits:20/0.3") as given:
            assert await first.take(many) is None
            told = await second.take(few)
            assert told is not None
            await asyncio.sleep(told.seconds)
            while (told := await first.take(many)) is not None:
                await asyncio.sleep(told.asks_again)
            assert await second.take(few) is None
        assert given[20:] == [given[20]] * 10 + [given[-1]] * 2


async def test_permits_that_a_loop_did_not_take_in_time_are_void(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still: they would leave together with those that others were given since."""
    monkeypatch.setattr("lisn_async._shared_permits.FRESH", 0.2)
    async with client_of(sandbox, RateLimit(20, 60, redis=redis_server.url)) as client:
        window = shared_window(client)
        queue = queue_of(5)
        for asked_for in (5, 10):
            for _ in range(4):
                assert await window.take(queue) is None
            assert permits(redis_server, "{lisn}:permits:20/60") == asked_for
            time.sleep(0.3)


async def test_permits_that_a_loop_heard_of_too_late_are_void_but_for_the_one_that_asked(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lisn_async._shared_permits.FRESH", 0.2)
    with redis_server.far_away(0.05) as url:
        async with client_of(sandbox, RateLimit(100, 60, redis=url)) as client:
            window, queue = shared_window(client), queue_of(5)
            for stands_still, left in ((0, 4), (0.8, 0)):
                asked = asyncio.create_task(window.take(queue))
                await asyncio.sleep(0.02)
                time.sleep(stands_still)
                assert await asked is None
                (link,) = window._links.values()
                assert link.left == left
                time.sleep(0.3)


# --- the pause ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 429, "retry_after": 1}])
async def test_a_client_waits_for_what_another_was_told(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, fault: dict[str, float]
) -> None:
    limit = RateLimit(1000, 1, redis=redis_server.url)
    async with client_of(sandbox, limit, max_retries=0) as told, client_of(sandbox, limit) as other:
        await other.assistants.list()
        sandbox.faults = [fault]
        with pytest.raises(APIStatusError):
            await told.assistants.list()
        await other.assistants.list()
    _, declined, waited = sandbox.seen
    assert waited.received_at - declined.received_at >= fault.get("retry_after", 0.5) - 0.01


async def test_the_later_end_of_two_pauses_wins(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer
) -> None:
    async with client_of(sandbox, RateLimit(1000, 1, redis=redis_server.url, key="jobs")) as client:
        gate = client._calls.traffic.permits
        assert gate is not None
        for seconds, left in ((50, 50), (1, 50), (None, 50), (100, 100)):
            await gate.declined(seconds)
            assert left - 40 < int(redis_server.ask("PTTL", "{jobs}:pause").removeprefix(":")) / 1000 <= left


async def test_a_pause_of_another_is_known_to_all_of_a_client_once_one_was_told(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer
) -> None:
    limit = RateLimit(1000, 1, redis=redis_server.url)
    async with client_of(sandbox, limit, max_retries=0) as told, client_of(sandbox, limit) as other:
        sandbox.faults = [{"status": 429, "retry_after": 50}]
        with pytest.raises(APIStatusError):
            await told.assistants.list()
        asked = redis_server.calls("eval")
        late = other.with_options(deadline=20)
        failed = await asyncio.gather(*(late.assistants.list() for _ in range(40)), return_exceptions=True)
        assert all("too long" in str(error) for error in failed)
        assert redis_server.calls("eval") - asked == 1
        assert 45 < other._calls.pause_left() < 51, "bulk runs look there"


async def test_other_numbers_are_another_budget_and_the_same_pause(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer
) -> None:
    narrow, wide = RateLimit(1, 3600, redis=redis_server.url), RateLimit(3, 3600, redis=redis_server.url)
    async with client_of(sandbox, narrow) as one, client_of(sandbox, wide, max_retries=0) as two:
        await one.assistants.list()
        for _ in range(2):
            await two.assistants.list()
        async with client_of(sandbox, narrow, deadline=2, max_retries=0) as late:
            with pytest.raises(TimeoutError, match="rate limit of this client"):
                await late.assistants.list()
        sandbox.faults = [{"status": 429, "retry_after": 30}]
        with pytest.raises(APIStatusError):
            await two.assistants.list()
        async with client_of(sandbox, RateLimit(9, 9, redis=redis_server.url), deadline=2) as held:
            with pytest.raises(TimeoutError, match="too long"):
                await held.assistants.list()
    assert len(sandbox.seen) == 4


# --- Redis is not there ---------------------------------------------------------------------------------


@pytest.fixture
def quickly_forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is asked again soon after it did not answer."""
    monkeypatch.setattr("lisn_async._shared_permits.GRUDGE", 0.1)


async def test_without_redis_calls_go_on_and_it_is_said_once(
    sandbox: async_sandbox.Sandbox, redis_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = RateLimit(10, 0.3, redis=f"unix://:hunter2@{redis_folder}/redis.sock")
    since = time.time()
    async with client_of(sandbox, limit) as client:
        await asyncio.gather(*(client.assistants.list() for _ in range(30)))
    (said,) = warnings_of(caplog.records)
    assert "not shared" in said
    assert "redis.sock" in said
    assert "hunter2" not in said
    assert_kept([request.received_at for request in sandbox.seen], limit, since)


@pytest.mark.parametrize("outage", [RedisServer.stop, RedisServer.hold_still])
async def test_redis_that_goes_and_comes_back_is_left_and_used_again(
    sandbox: async_sandbox.Sandbox,
    redis_server: RedisServer,
    quickly_forgiving: None,
    caplog: pytest.LogCaptureFixture,
    outage: Callable[[RedisServer], None],
) -> None:
    caplog.set_level(logging.INFO, "lisn")
    limit = RateLimit(1000, 60, redis=redis_server.url)
    async with client_of(sandbox, limit) as client:
        await client.assistants.list()
        outage(redis_server)
        await asyncio.gather(*(client.assistants.list() for _ in range(20)))
        assert len(warnings_of(caplog.records)) == 1
        if outage is RedisServer.stop:
            redis_server.start()
        else:
            redis_server.go_on()
        while "shared again" not in caplog.text:
            await client.assistants.list()
        await client.assistants.list()
    assert len(warnings_of(caplog.records)) == 1
    assert permits(redis_server, "{lisn}:permits:1000/60") >= 2
    assert redis_server.connections() == 0


def test_redis_that_is_started_anew_in_the_middle_costs_workers_no_call(
    box: Sandbox, redis_server: RedisServer, start: Start
) -> None:
    workers = [
        start("-c", WORKER, "30", "0.3", "90", box=box, REDIS=redis_server.url, LISN_LOG="info")
        for _ in range(2)
    ]
    box.received(40)
    redis_server.stop()
    redis_server.start()
    for worker in workers:
        assert worker.wait() == 0, worker.log
        assert worker.log.count("not shared") <= 1, "said once for an outage, if it was noticed at all"
        assert not MISHAPS.search(worker.log.replace("WARNING", "")), worker.log
    assert len(box.seen) == 180


async def test_a_loop_that_stood_still_does_not_take_redis_for_slow(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(sandbox, RateLimit(1000, 60, redis=redis_server.url)) as client:
        await client.assistants.list()
        redis_server.hold_still()
        call = asyncio.create_task(client.assistants.list())
        await asyncio.sleep(0.05)  # it has asked by now, or will ask when this loop stands still no longer
        redis_server.go_on()
        time.sleep(1.5)
        await call
    assert warnings_of(caplog.records) == []
    assert permits(redis_server, "{lisn}:permits:1000/60") >= 2


@pytest.mark.parametrize("forget", [lambda server: server.ask("FLUSHALL"), RedisServer.stop])
async def test_what_this_process_sent_counts_even_if_redis_knows_nothing_of_it(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, forget: Callable[[RedisServer], None]
) -> None:
    limit = RateLimit(2, 1, burst=1, redis=redis_server.url)
    since = time.time()
    async with client_of(sandbox, limit) as client:
        await client.assistants.list()
        forget(redis_server)
        await client.assistants.list()
    assert_kept([request.received_at for request in sandbox.seen], limit, since)


async def test_scripts_that_redis_forgot_are_told_to_it_again(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(sandbox, RateLimit(1000, 60, redis=redis_server.url)) as client:
        await client.assistants.list()
        redis_server.ask("SCRIPT", "FLUSH")
        await client.assistants.list()
    assert permits(redis_server, "{lisn}:permits:1000/60") == 2
    assert warnings_of(caplog.records) == []


async def test_a_connection_that_redis_has_closed_is_opened_again(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(sandbox, RateLimit(1000, 60, redis=redis_server.url)) as client:
        for _ in range(5):
            await client.assistants.list()
            redis_server.ask("CLIENT", "KILL", "TYPE", "normal")
    assert permits(redis_server, "{lisn}:permits:1000/60") == 5
    assert warnings_of(caplog.records) == []


async def test_a_key_that_is_something_else_stops_no_call(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.ask("SET", "{lisn}:permits:10/1", "not a window")
    async with client_of(sandbox, RateLimit(10, 1, redis=redis_server.url)) as client:
        await client.assistants.list()
    assert len(warnings_of(caplog.records)) == 1


async def test_a_password_is_used_and_a_wrong_one_is_not_shown(
    sandbox: async_sandbox.Sandbox, redis_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(redis_folder, password="hunter2")
    server.start()
    try:
        async with client_of(sandbox, RateLimit(10, 60, redis=server.url)) as client:
            await client.assistants.list()
        assert permits(server, "{lisn}:permits:10/60") == 1
        assert warnings_of(caplog.records) == []
        wrong = server.url.replace("hunter2", "hunter3")
        async with client_of(sandbox, RateLimit(10, 60, redis=wrong)) as client:
            await client.assistants.list()
        assert len(warnings_of(caplog.records)) == 1
        assert "hunter" not in caplog.text
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("options", "user", "database", "says"),
    [
        ([], "", "?db=16", "DB index is out of range"),
        ([], ":hunter2@", "", "without any password configured"),
        (["--requirepass", "hunter3"], "", "", "it wants a password"),
        (["--user", "me", "on", ">hunter2", "~*", "+@read"], "me:hunter2@", "", "no permissions to run"),
        (["--replicaof", "127.0.0.1", "1"], "", "", "read only replica"),
        (["--cluster-enabled", "yes", "--port", "0"], "", "", "Hash slot not served"),
    ],
)
async def test_a_redis_that_cannot_be_used_is_told_of_once_and_stops_no_call(
    sandbox: async_sandbox.Sandbox,
    redis_folder: Path,
    caplog: pytest.LogCaptureFixture,
    options: list[str],
    user: str,
    database: str,
    says: str,
) -> None:
    server = RedisServer(redis_folder, options=options)
    server.start()
    try:
        limit = RateLimit(10, 0.3, redis=f"unix://{user}{redis_folder}/redis.sock{database}")
        since = time.time()
        async with client_of(sandbox, limit) as client:
            await asyncio.gather(*(client.assistants.list() for _ in range(25)))
    finally:
        server.stop()
    (said,) = warnings_of(caplog.records)
    assert says in said
    assert "hunter" not in caplog.text
    assert_kept([request.received_at for request in sandbox.seen], limit, since)


async def test_a_redis_that_is_full_still_counts(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What is kept is small and bounded."""
    redis_server.ask("CONFIG", "SET", "maxmemory", "1")
    assert "OOM" in redis_server.ask("SET", "key", "value")
    async with client_of(sandbox, RateLimit(1000, 60, redis=redis_server.url)) as client:
        await client.assistants.list()
    assert permits(redis_server, "{lisn}:permits:1000/60") == 1
    assert warnings_of(caplog.records) == []


@pytest.mark.parametrize(
    "url", ["redis://h/?protocol=hunter2", "redis://h?db=hunter2", "redis://h?hunter2=1", "unix:///s?port=x"]
)
def test_an_option_that_redis_does_not_know_is_refused_when_the_client_is_made(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AsyncLisn("t", rate_limit=RateLimit(1, 1, redis=url))
    assert "redis" in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_without_the_packages_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["redis"] = None  # as if it were not installed
from lisn_async import AsyncLisn, ConfigurationError, RateLimit
AsyncLisn("t", rate_limit=RateLimit(1, 1))
try:
    AsyncLisn("t", rate_limit=RateLimit(1, 1, redis="redis://localhost"))
except ConfigurationError as error:
    assert "pip install 'lisn[redis]'" in str(error), error
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


# --- clocks, loops, forks -------------------------------------------------------------------------------


async def test_permits_have_the_time_of_redis_whatever_the_clocks_here_say(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    async with client_of(sandbox, RateLimit(10, 60, redis=redis_server.url)) as client:
        before = microseconds(redis_server)
        await client.assistants.list()
        after = microseconds(redis_server)
    (stamp,) = stamps_in(redis_server, "{lisn}:permits:10/60")
    assert before <= stamp <= after


async def test_permits_of_a_time_to_come_are_not_waited_for(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer
) -> None:
    """So it looks when the clock of Redis was put back by an hour."""
    in_an_hour = microseconds(redis_server) + 3600 * 1_000_000
    for _ in range(3):
        redis_server.ask("LPUSH", "{lisn}:permits:3/0.4", str(in_an_hour))
    since = time.time()
    limit = RateLimit(3, 0.4, redis=redis_server.url)
    async with client_of(sandbox, limit, deadline=20) as client:
        for _ in range(7):
            await client.assistants.list()
    assert_kept([request.received_at for request in sandbox.seen], limit, since)


async def test_what_is_kept_in_redis_does_not_grow_and_vanishes(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer
) -> None:
    async with client_of(sandbox, RateLimit(5, 0.05, redis=redis_server.url)) as client:
        for _ in range(30):
            await client.assistants.list()
    assert permits(redis_server, "{lisn}:permits:5/0.05") == 5
    assert 0 < int(redis_server.ask("PTTL", "{lisn}:permits:5/0.05").removeprefix(":")) <= 60_050


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_each_loop_has_its_connection_and_closes_it_with_the_client_or_with_itself(
    box: Sandbox, redis_server: RedisServer, kind: str
) -> None:
    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    client = client_of(box, RateLimit(1000, 60, redis=redis_server.url))

    async def calls(*, close: bool) -> int:
        await asyncio.gather(*(client.assistants.list() for _ in range(10)))
        connected = redis_server.connections()
        if close:
            await client.aclose()
        return connected

    for close in (False, False, True):
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(calls(close=close)) == 1
        assert redis_server.connections() == 0
    gc.collect()  # a warning about what was left open would be an error here


FORKED = """
import os, sys
from lisn_async import RateLimit
from lisn_sync import Lisn

client = Lisn(rate_limit=RateLimit(1000, 60, redis=os.environ["REDIS"]))
client.assistants.list()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        assert not client._core._calls.traffic.permits._shared._links, "the parent's are not to be touched"
        client.assistants.list()
        client.assistants.list()
        client.close()
        sys.exit(0)
    children.append(child)
client.assistants.list()
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
client.assistants.list()
client.close()
print("closed")
"""


def test_forked_children_have_their_own_connection_and_leave_the_parents_alone(
    box: Sandbox, redis_server: RedisServer, start: Start
) -> None:
    program = start("-c", FORKED, box=box, REDIS=redis_server.url, LISN_LOG="info")
    assert program.wait() == 0, program.log
    assert "closed" in program.log
    assert "not shared" not in program.log
    assert permits(redis_server, "{lisn}:permits:1000/60") == len(box.seen) == 9
    assert not [line for line in program.log.splitlines() if MISHAPS.search(line) and "fork()" not in line]


def test_the_blocking_client_shares_the_window_too(box: Sandbox, redis_server: RedisServer) -> None:
    limit = RateLimit(1000, 60, redis=redis_server.url)
    with Lisn(box.token, base_url=box.base_url, rate_limit=limit) as client:
        client.assistants.list()
    assert permits(redis_server, "{lisn}:permits:1000/60") == 1
    assert redis_server.connections() == 0


async def test_calls_cancelled_while_they_ask_redis_disturb_nobody(
    sandbox: async_sandbox.Sandbox, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(sandbox, RateLimit(10_000, 60, redis=redis_server.url)) as client:
        for turn in range(60):
            calls = [asyncio.create_task(client.assistants.list()) for _ in range(4)]
            for _ in range(turn % 12):
                await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert await client.assistants.list() == []
        assert redis_server.connections() <= 2
    assert warnings_of(caplog.records) == []
