"""A token that a function gives: asked for before the first request, and anew after a 401."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lisn_sync
from lisn_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncLisn,
    AuthenticationError,
    ConfigurationError,
)
from lisn_async.sandbox import Sandbox
from tests.conftest import SALES

OLD, NEW = "tok-old-0123456789", "tok-new-0123456789"
SPEC = {"name": "n", "type": "text", "llm_provider": "grok", "system_prompt": "p"}


class Source:
    """Gives these tokens, the last one for ever; notes how often and in which thread."""

    def __init__(self, *tokens: Any) -> None:
        self.tokens = list(tokens)
        self.threads: list[int] = []

    def __call__(self) -> str:
        self.threads.append(threading.get_ident())
        token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        if isinstance(token, Exception):
            raise token
        return token


@pytest.fixture
async def box() -> Any:
    async with Sandbox(token=NEW) as box:
        yield box


def tokens_seen(box: Any) -> list[str]:
    return [one.headers["Authorization"].removeprefix("Bearer ") for one in box.seen]


async def test_it_is_not_asked_before_the_first_request_and_then_once(box: Sandbox) -> None:
    source = Source(NEW)
    async with AsyncLisn(source, base_url=box.base_url) as client:
        assert source.threads == []
        await asyncio.gather(*(client.assistants.list() for _ in range(20)))
        await client.with_options(timeout=5).assistants.list()
    assert len(source.threads) == 1
    assert source.threads[0] != threading.get_ident(), "a plain function may block: not the loop"
    assert set(tokens_seen(box)) == {NEW}


async def test_a_coroutine_function_is_awaited_in_the_loop(box: Sandbox) -> None:
    threads: list[int] = []

    async def source() -> str:
        await asyncio.sleep(0)
        threads.append(threading.get_ident())
        return NEW

    async with AsyncLisn(source, base_url=box.base_url) as client:
        await client.assistants.list()
    assert threads == [threading.get_ident()]


async def test_after_a_401_it_is_asked_again_and_a_create_is_sent_once_more(box: Sandbox) -> None:
    source = Source(OLD, NEW)
    async with AsyncLisn(source, base_url=box.base_url) as client:
        response = await client.assistants.with_raw_response.create(**SALES)
    assert response.attempts == 2
    assert tokens_seen(box) == [OLD, NEW]
    assert len(box.assistants()) == 1


async def test_many_that_are_refused_at_once_ask_once(box: Sandbox) -> None:
    source = Source(OLD, NEW)
    async with AsyncLisn(source, base_url=box.base_url) as client:
        await asyncio.gather(*(client.assistants.create(**SALES) for _ in range(30)))
    assert len(source.threads) == 2
    assert len(box.assistants()) == 30


async def test_a_token_that_worked_and_expired_is_renewed_again_and_again(wire: Any) -> None:
    ok, no = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
    )
    wire.script += [ok, no, ok, no, ok]
    async with AsyncLisn(Source("t1", "t2", "t3"), base_url=wire.base_url) as client:
        for _ in range(3):
            await client.assistants.list()
    used = [request.split(b"Bearer ")[1].split(b"\r\n")[0] for request in wire.requests]
    assert used == [b"t1", b"t1", b"t2", b"t2", b"t3"]


async def test_a_service_that_refuses_every_token_is_not_asked_for_ever(box: Sandbox) -> None:
    source = Source(*(f"tok-{number}" for number in range(100)))
    async with AsyncLisn(source, base_url=box.base_url, max_retries=50) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.assistants.create(**SALES)
        assert caught.value.attempts == 2
        with pytest.raises(AuthenticationError) as caught:
            await client.assistants.list()
        assert caught.value.attempts == 1, "a fresh one, and it did no better"
    assert tokens_seen(box) == ["tok-0", "tok-1", "tok-2"]


async def test_without_retries_the_server_sees_one_request_and_the_next_call_has_the_new_token(
    box: Sandbox,
) -> None:
    async with AsyncLisn(Source(OLD, NEW), base_url=box.base_url, max_retries=0) as client:
        with pytest.raises(AuthenticationError):
            await client.assistants.list()
        await client.assistants.list()
    assert tokens_seen(box) == [OLD, NEW]


async def test_a_fixed_token_that_is_refused_is_final(box: Sandbox) -> None:
    async with AsyncLisn(OLD, base_url=box.base_url) as client:
        with pytest.raises(AuthenticationError):
            await client.assistants.list()
    assert len(box.seen) == 1


async def test_a_bulk_run_goes_on_with_the_new_token_and_makes_nothing_twice(
    box: Sandbox, tmp_path: Path
) -> None:
    box.faults = [{"status": 401, "operation": "create", "skip": 5}]
    source = Source(NEW)
    async with AsyncLisn(source, base_url=box.base_url) as client:
        result = await client.assistants.create_many([SPEC] * 20, journal=tmp_path / "j", max_concurrency=4)
    assert len(result.created) == 20
    assert len(box.assistants()) == 20
    assert len(source.threads) == 2
    assert len(box.seen) == 22, "a listing, twenty creates and the one that was refused"


async def test_what_the_function_raises_is_the_cause_of_an_error_that_says_nothing_was_sent(
    box: Sandbox, no_wait: None
) -> None:
    async with AsyncLisn(Source(KeyError("vault")), base_url=box.base_url) as client:
        with pytest.raises(
            APIConnectionError, match="nothing was sent: the function api_token raised KeyError"
        ) as caught:
            await client.assistants.create(**SALES)
    assert isinstance(caught.value.__cause__, KeyError)
    assert not caught.value.outcome_unknown
    assert box.seen == []


async def test_a_failure_of_the_function_that_passes_is_tried_again(box: Sandbox, no_wait: None) -> None:
    async with AsyncLisn(Source(OSError("busy"), NEW), base_url=box.base_url) as client:
        await client.assistants.create(**SALES)
    assert tokens_seen(box) == [NEW]


async def test_a_function_that_hangs_is_given_up_after_the_time_of_an_attempt(box: Sandbox) -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        return NEW

    async with AsyncLisn(never, base_url=box.base_url, timeout=0.05, max_retries=0) as client:
        with pytest.raises(APITimeoutError, match="took longer than"):
            await client.assistants.list()
    assert box.seen == []


async def test_a_caller_that_leaves_while_the_token_is_asked_for_leaves_the_others_theirs(
    box: Sandbox,
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        asked.set()
        await go.wait()
        return NEW

    async with AsyncLisn(slow, base_url=box.base_url) as client:
        first, second = (asyncio.ensure_future(client.assistants.list()) for _ in range(2))
        await asked.wait()
        first.cancel()
        go.set()
        assert await second == []
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize("is_plain", [True, False])
async def test_a_function_that_takes_longer_than_the_calls_may_is_heard_all_the_same(
    box: Sandbox, is_plain: bool
) -> None:
    asked, go, may_end = asyncio.Event(), asyncio.Event(), threading.Event()
    times = 0

    async def slow() -> str:
        nonlocal times
        times += 1
        asked.set()
        await go.wait()
        return NEW

    loop = asyncio.get_running_loop()

    def slow_in_a_thread() -> str:
        nonlocal times
        times += 1
        loop.call_soon_threadsafe(asked.set)
        may_end.wait()
        return NEW

    source: Any = slow_in_a_thread if is_plain else slow
    async with AsyncLisn(source, base_url=box.base_url, deadline=0.05) as client:
        for _ in range(3):
            with pytest.raises(APITimeoutError):
                await client.assistants.list()
        await asked.wait()
        patient = asyncio.ensure_future(client.with_options(deadline=None).assistants.list())
        await asyncio.sleep(0)
        go.set()
        may_end.set()
        await patient
    assert times == 1
    assert tokens_seen(box) == [NEW]


async def test_of_many_that_wait_those_who_leave_change_nothing(box: Sandbox) -> None:
    may_end = threading.Event()
    source = Source(NEW)

    def slow() -> str:
        may_end.wait()
        return source()

    async with AsyncLisn(slow, base_url=box.base_url) as client:
        calls = [asyncio.ensure_future(client.assistants.list()) for _ in range(40)]
        for call in calls[:10]:
            await asyncio.sleep(0)
            call.cancel()
        may_end.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 10 + [list] * 30
    assert len(source.threads) == 1


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("error", [StopIteration, asyncio.CancelledError, concurrent.futures.CancelledError])
async def test_what_it_raises_that_means_something_to_a_loop_is_an_error_like_any_other(
    box: Sandbox, error: type[BaseException], is_plain: bool
) -> None:
    def plain() -> str:
        raise error

    async def coroutine() -> str:
        raise error

    source = plain if is_plain else coroutine
    async with AsyncLisn(source, base_url=box.base_url, max_retries=0, timeout=5) as client:
        with pytest.raises(APIConnectionError, match=r"the function api_token raised (Canc|Runtime)"):
            await client.assistants.list()


@pytest.mark.parametrize("is_plain", [True, False])
async def test_an_error_that_many_got_dies_at_once_without_the_collector(
    box: Sandbox, is_plain: bool
) -> None:
    class Sealed(Exception):
        pass

    seen: list[weakref.ref[Any]] = []

    def plain() -> str:
        error = Sealed()
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    async def coroutine() -> str:
        return plain()

    gc.disable()
    try:
        source = plain if is_plain else coroutine
        async with AsyncLisn(source, base_url=box.base_url, max_retries=0) as client:
            calls = (client.assistants.list() for _ in range(9))
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(error) for error in errors} == {APIConnectionError}
            del errors
            await asyncio.sleep(0)
            assert [one() for one in seen] == [None]
    finally:
        gc.enable()


def test_a_timer_that_rings_early_is_a_time_limit_all_the_same() -> None:
    # Those of uvloop count whole milliseconds: they may ring before the moment that a clock says.
    uvloop = pytest.importorskip("uvloop")

    async def never() -> str:
        return await asyncio.Event().wait() or NEW

    async def ask(client: AsyncLisn) -> None:
        with pytest.raises(APITimeoutError, match="longer than"):
            await client.assistants.list()

    async def at_odd_moments() -> None:
        for _ in range(60):
            client = AsyncLisn(never, base_url="http://127.0.0.1:9", timeout=0.005, max_retries=0)
            calls = []
            for _ in range(8):
                calls.append(asyncio.create_task(ask(client)))
                await asyncio.sleep(0.0003)
            await asyncio.gather(*calls)
            await client.aclose()

    uvloop.run(at_odd_moments())


async def test_a_closed_client_no_longer_waits_for_it(box: Sandbox) -> None:
    was_stopped = asyncio.Event()

    async def never() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            was_stopped.set()
        return NEW

    client = AsyncLisn(never, base_url=box.base_url, timeout=0.05, max_retries=0)
    with pytest.raises(APITimeoutError):
        await client.assistants.list()
    assert not was_stopped.is_set()
    await client.aclose()
    await was_stopped.wait()


async def test_a_renewal_takes_nothing_from_the_budget_of_resends(box: Sandbox) -> None:
    async with AsyncLisn(Source(OLD, NEW), base_url=box.base_url) as client:
        client._calls.traffic.budget.tokens = 0.0  # as after an outage, or when very many were under way
        await client.assistants.create(**SALES)
    assert tokens_seen(box) == [OLD, NEW]


@pytest.mark.parametrize("given", ["whisper-9\n", "", "whisper-ö", "a b", None, 7, b"whisper-bytes"])
async def test_what_is_no_token_is_named_and_never_shown(box: Sandbox, given: Any) -> None:
    async with AsyncLisn(Source(given), base_url=box.base_url) as client:
        with pytest.raises(ConfigurationError, match="what the function api_token returned") as caught:
            await client.assistants.list()
    shown = "".join(traceback.format_exception(caught.value))
    assert "whisper" not in shown
    assert box.seen == []


async def test_an_echo_of_the_token_that_was_used_is_replaced(wire: Any) -> None:
    said = b'{"error": "what is tok-1234567 to us"}'
    wire.script.append(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
    async with AsyncLisn(Source("tok-1234567"), base_url=wire.base_url) as client:
        with pytest.raises(Exception, match="redacted") as caught:
            await client.assistants.list()
    assert "tok-1234567" not in repr(caught.value) + str(caught.value.body)  # type: ignore[attr-defined]


def test_the_sync_client_asks_in_a_thread_that_may_call_it(lisn_sandbox: Any) -> None:
    other = lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url)

    def source() -> str:
        other.assistants.list()  # a function that uses the shim itself
        return str(lisn_sandbox.token)

    with other, lisn_sync.Lisn(source, base_url=lisn_sandbox.base_url) as client:
        client.assistants.create(**SALES)
    assert [one.method for one in lisn_sandbox.seen] == ["GET", "POST"]


def test_a_client_may_be_used_in_several_loops_after_another(lisn_sandbox: Any) -> None:
    source = Source(lisn_sandbox.token)
    client = AsyncLisn(source, base_url=lisn_sandbox.base_url)
    call: Callable[[], Any] = client.assistants.list
    assert asyncio.run(call()) == asyncio.run(call()) == []
    assert len(source.threads) == 1


def test_two_loops_that_ask_at_the_same_time_both_get_a_second_try(lisn_sandbox: Any) -> None:
    both_ask, times = threading.Barrier(2, timeout=60), iter(range(9))

    def source() -> str:
        if next(times) < 2:
            both_ask.wait()
            return OLD
        return str(lisn_sandbox.token)

    client = AsyncLisn(source, base_url=lisn_sandbox.base_url)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(lambda: asyncio.run(client.assistants.list())) for _ in range(2)]  # type: ignore[arg-type]
        assert [call.result() for call in calls] == [[], []]


NEVER = """
import threading, lisn_{package}
def never():
    threading.Event().wait()
client = lisn_{package}.{kind}(never, base_url="http://127.0.0.1:1", timeout=0.05, max_retries=0)
try:
    {call}
except lisn_{package}.APITimeoutError:
    print("given up")
"""


@pytest.mark.parametrize(
    ("package", "kind", "call"),
    [
        ("sync", "Lisn", "client.assistants.list()"),
        ("async", "AsyncLisn", "import asyncio; asyncio.run(client.assistants.list())"),
    ],
)
def test_one_that_never_returns_does_not_hold_up_the_end_of_the_program(
    package: str, kind: str, call: str
) -> None:
    program = NEVER.format(package=package, kind=kind, call=call)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "given up\n", "")


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lisn_async._retry.BACKOFF_BASE", 0.0)
