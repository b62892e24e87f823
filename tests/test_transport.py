"""What happens on the wire: over real sockets, counted on the server's side."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from lisn_async import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AsyncLisn,
    ConfigurationError,
    RateLimitError,
)
from lisn_async.sandbox import Fault, Sandbox
from tests.fix_wire import CLOSE, HANG, RESET, Wire, reply

ONE = b'{"id":"ast_1","name":"n"}'
SPEC: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "p"}


def call(client: AsyncLisn, operation: str) -> Any:
    api = client.assistants
    return {
        "create": lambda: api.create(**SPEC),
        "duplicate": lambda: api.duplicate("ast_0"),
        "get": lambda: api.get("ast_1"),
        "update": lambda: api.update("ast_1", name="n"),
        "delete": lambda: api.delete("ast_1"),
    }[operation]()


def client_of(wire: Wire, **options: Any) -> AsyncLisn:
    return AsyncLisn("tok-0123", base_url=wire.base_url, **options)


AMBIGUOUS = {
    "reset": RESET,
    "close": CLOSE,
    "garbage head": b"\x00\xff not http at all\r\n\r\n",
    "cut head": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Le",
    "cut body": reply(ONE[:9], "200 OK", "Connection: close", length=len(ONE)),
    "html": reply(b"<html>gateway</html>"),
    "no id": reply(b"{}"),
    "408": reply(b"", "408 Request Timeout"),
    "500": reply(b"", "500 Internal Server Error"),
    "502": reply(b"<html>bad gateway</html>", "502 Bad Gateway"),
    "503": reply(b"", "503 Service Unavailable"),
    "503 with a date nobody can read": reply(b"", "503 Service Unavailable", "Retry-After: soon"),
    "504": reply(b"", "504 Gateway Timeout"),
}


@pytest.mark.parametrize("kept_alive", [False, True], ids=["fresh", "kept alive"])
@pytest.mark.parametrize("failure", AMBIGUOUS)
@pytest.mark.parametrize("operation", ["create", "duplicate"])
async def test_a_post_that_may_have_acted_is_sent_once_and_says_so(
    wire: Wire, no_waiting: list[float], operation: str, failure: str, kept_alive: bool
) -> None:
    if kept_alive:
        wire.script.append(reply(b"[]"))
    wire.script.extend([AMBIGUOUS[failure], *[reply(ONE)] * 3])
    async with client_of(wire) as client:
        if kept_alive:
            await client.assistants.list()
        with pytest.raises(APIError) as caught:
            await call(client, operation)
    assert wire.methods.count("POST") == 1
    assert (caught.value.outcome_unknown, caught.value.attempts) == (True, 1)
    assert "may have taken effect" in str(caught.value)


@pytest.mark.parametrize("failure", AMBIGUOUS)
@pytest.mark.parametrize("operation", ["get", "update", "delete"])
async def test_what_may_be_repeated_is_repeated_after_the_same_failures(
    wire: Wire, no_waiting: list[float], operation: str, failure: str
) -> None:
    wire.script.extend([AMBIGUOUS[failure], reply(ONE)])
    async with client_of(wire) as client:
        await call(client, operation)
    done_at_once = operation == "delete" and failure in ("cut body", "html", "no id")
    assert len(wire.requests) == (1 if done_at_once else 2)


@pytest.mark.parametrize("operation", ["create", "duplicate", "get", "update", "delete"])
@pytest.mark.parametrize(
    "declined",
    [
        reply(b"", "425 Too Early"),
        reply(b"", "429 Too Many Requests"),
        reply(b"", "429 Too Many Requests", "Retry-After: 0"),
        reply(b"", "503 Service Unavailable", "Retry-After: 0"),
    ],
)
async def test_what_the_service_declined_is_sent_again(
    wire: Wire, no_waiting: list[float], operation: str, declined: bytes
) -> None:
    wire.script.extend([declined, declined, reply(ONE)])
    async with client_of(wire) as client:
        await call(client, operation)
    assert len(wire.requests) == 3


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
@pytest.mark.parametrize("operation", ["create", "delete"])
async def test_a_redirect_is_an_error_and_never_followed(wire: Wire, operation: str, status: str) -> None:
    wire.script.append(reply(b"", status, f"Location: {wire.base_url}/elsewhere"))
    async with client_of(wire) as client:
        with pytest.raises(APIStatusError) as caught:
            await call(client, operation)
    assert len(wire.requests) == 1
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("operation", ["get", "delete", "update", "create"])
@pytest.mark.parametrize("failure", [RESET, CLOSE])
async def test_max_retries_0_is_one_request_literally(wire: Wire, operation: str, failure: object) -> None:
    wire.script.extend([reply(b"[]"), failure, reply(ONE), reply(ONE)])
    async with client_of(wire, max_retries=0) as client:
        await client.assistants.list()  # aiohttp re-sends GET and DELETE on a kept-alive connection
        with pytest.raises(APIConnectionError) as caught:
            await call(client, operation)
    assert len(wire.requests) == 2
    assert caught.value.outcome_unknown is (operation != "get")


async def test_deleted_then_lost_then_404_is_deleted(wire: Wire, no_waiting: list[float]) -> None:
    wire.script.extend([RESET, reply(b"", "404 Not Found")])
    async with client_of(wire) as client:
        assert await client.assistants.delete("ast_1") is None


async def test_declined_then_404_is_not_found(wire: Wire, no_waiting: list[float]) -> None:
    wire.script.extend([reply(b"", "429 Too Many Requests"), reply(b"", "404 Not Found")])
    async with client_of(wire) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.assistants.delete("ast_1")
    assert (caught.value.status_code, caught.value.attempts) == (404, 2)
    assert not caught.value.outcome_unknown


async def test_a_lost_update_stays_unknown_whatever_comes_after_it(
    wire: Wire, no_waiting: list[float]
) -> None:
    wire.script.extend([RESET, reply(b"", "401 Unauthorized")])
    async with client_of(wire) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.assistants.update("ast_1", name="n")
    assert caught.value.outcome_unknown


async def test_what_was_never_sent_is_tried_again_and_says_that_nothing_happened(
    no_waiting: list[float],
) -> None:
    async with AsyncLisn("t", base_url="http://127.0.0.1:1") as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.assistants.create(**SPEC)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (3, False)
    assert len(no_waiting) == 2
    assert "Connection refused" in str(caught.value) or "ConnectorError" in str(caught.value)


async def test_a_timeout_is_a_timeout_error_and_for_a_post_final(
    wire: Wire, time_passes: Callable[[float], None]
) -> None:
    wire.script.append(HANG)
    async with client_of(wire, timeout=50) as client:
        task = asyncio.create_task(client.assistants.create(**SPEC))
        await wire.arrived.wait()
        time_passes(55)
        with pytest.raises(APITimeoutError) as caught:
            await task
        await wire.hung_up.wait()
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.outcome_unknown, caught.value.attempts) == (True, 1)


async def test_a_deadline_bounds_the_whole_call(wire: Wire, time_passes: Callable[[float], None]) -> None:
    wire.script.extend([HANG] * 3)
    async with client_of(wire, timeout=600, deadline=50) as client:
        task = asyncio.create_task(client.assistants.get("ast_1"))
        await wire.arrived.wait()
        time_passes(55)
        with pytest.raises(APITimeoutError) as caught:
            await task
    assert caught.value.attempts == 1
    assert len(wire.requests) == 1


async def test_a_deadline_covers_the_wait_for_a_free_connection(wire: Wire) -> None:
    wire.script.append(HANG)
    async with client_of(wire, max_connections=1) as client:
        blocking = asyncio.create_task(client.assistants.get("ast_1"))
        await wire.arrived.wait()
        with pytest.raises(APITimeoutError) as caught:
            await client.with_options(deadline=0.02).assistants.create(**SPEC)
        assert not caught.value.outcome_unknown, "it never left the queue"
        blocking.cancel()
        await asyncio.gather(blocking, return_exceptions=True)
    assert len(wire.requests) == 1


async def test_waiting_for_a_free_connection_is_not_counted_as_the_servers_time(
    wire: Wire, time_passes: Callable[[float], None]
) -> None:
    answers = [asyncio.get_running_loop().create_future() for _ in range(2)]
    wire.script.extend(answers)
    async with client_of(wire, max_connections=1, timeout=50, max_retries=0) as client:
        calls = [asyncio.create_task(client.assistants.create(**SPEC)) for _ in answers]
        for answer in answers:
            await wire.arrived.wait()
            wire.arrived.clear()
            time_passes(40)  # 80 in all, for the second
            for _ in range(5):
                await asyncio.sleep(0)
            answer.set_result(reply(ONE))
        await asyncio.gather(*calls)
    assert wire.methods == ["POST", "POST"]


async def test_retry_after_beyond_the_cap_ends_the_call_and_says_when_to_come_back(wire: Wire) -> None:
    wire.script.append(reply(b"", "429 Too Many Requests", "Retry-After: 3600"))
    async with client_of(wire) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.assistants.get("ast_1")
    assert (caught.value.retry_after, caught.value.attempts) == (3600.0, 1)


async def test_a_date_to_come_back_at_is_counted_by_the_services_own_clock(wire: Wire) -> None:
    its_time = "Date: Fri, 01 Jan 2100 00:00:00 GMT", "Retry-After: Fri, 01 Jan 2100 01:00:00 GMT"
    wire.script.append(reply(b"", "429 Too Many Requests", *its_time))
    async with client_of(wire) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.assistants.get("ast_1")
    assert caught.value.retry_after == 3600.0


async def test_one_decline_with_retry_after_holds_back_every_call_of_the_client(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("lisn_async._calls.time.monotonic", lambda: now[0])
    monkeypatch.setattr("lisn_async._calls.asyncio.sleep", sleep)
    wire.script.extend([reply(b"", "429 Too Many Requests", "Retry-After: 7"), reply(ONE)])
    async with client_of(wire, max_retries=0) as client:
        with pytest.raises(RateLimitError):
            await client.assistants.get("ast_1")
        await client.with_options(timeout=9).assistants.get("ast_1")
    assert waits == [7.0]


async def test_a_reply_pushed_on_an_idle_connection_does_not_answer_the_next_request(wire: Wire) -> None:
    stray = reply(b'{"id":"ast_stray","name":"n"}')
    wire.script.extend([reply(b"[]") + stray, reply(ONE), reply(ONE)])
    async with client_of(wire) as client:
        await client.assistants.list()
        made = await client.assistants.create(**SPEC)
    assert made.id == "ast_1"
    assert wire.connections == 2
    assert wire.methods == ["GET", "POST"]


async def test_a_gzip_bomb_is_refused_without_being_unpacked(wire: Wire) -> None:
    bomb = gzip.compress(b" " * (64 * 2**20))
    wire.script.append(reply(bomb, "200 OK", "Content-Encoding: gzip"))
    async with client_of(wire, max_retries=0) as client:
        with pytest.raises(APIResponseError, match="larger than 2 MiB when unpacked"):
            await client.assistants.get("ast_1")


async def test_a_compressed_reply_is_read(wire: Wire) -> None:
    wire.script.append(reply(gzip.compress(ONE), "200 OK", "Content-Encoding: gzip"))
    async with client_of(wire) as client:
        assert (await client.assistants.get("ast_1")).name == "n"


async def test_cookies_are_neither_kept_nor_sent(wire: Wire) -> None:
    wire.script.extend([reply(ONE, "200 OK", "Set-Cookie: a=b"), reply(ONE)])
    by_name = wire.base_url.replace("127.0.0.1", "localhost")  # aiohttp's own jar takes none from an address
    async with AsyncLisn("t", base_url=by_name) as client:
        await client.assistants.get("ast_1")
        await client.assistants.get("ast_1")
    assert b"cookie" not in wire.requests[1].lower()


async def test_netrc_is_never_read(wire: Wire, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wire.script.append(reply(ONE))
    async with client_of(wire) as client:
        await client.assistants.get("ast_1")
    assert b"Authorization: Bearer tok-0123\r\n" in wire.requests[0]


async def test_cancelling_a_call_closes_its_connection_and_frees_its_slot(wire: Wire) -> None:
    wire.script.extend([HANG, reply(ONE)])
    async with client_of(wire, max_connections=1) as client:
        task = asyncio.create_task(client.assistants.create(**SPEC))
        await wire.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wire.hung_up.wait()
        await client.assistants.get("ast_1")
    assert wire.methods == ["POST", "GET"]


async def test_the_retry_budget_is_shared_by_all_calls(wire: Wire, no_waiting: list[float]) -> None:
    wire.script.extend([reply(b"", "500 Internal Server Error")] * 500)
    async with client_of(wire, max_retries=5) as client:
        for _ in range(40):
            with pytest.raises(APIStatusError):
                await client.assistants.get("ast_1")
    assert len(wire.requests) == 40 + 100


async def test_with_options_shares_connections_and_changes_only_what_it_is_told(sandbox: Sandbox) -> None:
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, timeout=9, max_retries=1) as client:
        copy = client.with_options(timeout=3)
        await client.assistants.list()
        await copy.assistants.list()
        assert (copy._calls.settings.timeout, copy._calls.settings.max_retries) == (3.0, 1)
        assert len(client._calls.transport._pools) == 1
        assert copy._calls.transport is client._calls.transport


async def test_a_closed_client_says_so_and_entering_it_opens_it_again(sandbox: Sandbox) -> None:
    client = AsyncLisn(sandbox.token, base_url=sandbox.base_url)
    await client.assistants.list()
    await client.aclose()
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.assistants.list()
    async with client:
        assert await client.assistants.list() == []


async def test_a_borrowed_session_is_used_and_left_open_with_its_own_headers(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, session=session) as client:
            made = await client.assistants.create(**SPEC)
            await client.assistants.duplicate(made.id)
        assert not session.closed
        assert "Authorization" not in session.headers
    assert sandbox.seen[0].headers["X-Mine"] == "1"
    with pytest.raises(ConfigurationError, match="closed"):
        await AsyncLisn("t", base_url=sandbox.base_url, session=session).assistants.list()


async def test_with_a_borrowed_session_a_lost_get_is_one_request_and_a_lost_post_unknown(wire: Wire) -> None:
    wire.script.extend([reply(b"[]"), RESET, RESET])
    async with aiohttp.ClientSession() as session:
        client = client_of(wire, session=session, max_retries=0)
        await client.assistants.list()
        with pytest.raises(APIConnectionError):
            await client.assistants.get("ast_1")
        with pytest.raises(APIConnectionError) as caught:
            await client.assistants.create(**SPEC)
    assert caught.value.outcome_unknown
    assert len(wire.requests) == 3


async def test_a_borrowed_session_still_knows_a_refused_connection_as_unsent(no_waiting: list[float]) -> None:
    async with aiohttp.ClientSession() as session:
        client = AsyncLisn("t", base_url="http://127.0.0.1:1", session=session)
        with pytest.raises(APIConnectionError) as caught:
            await client.assistants.create(**SPEC)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (3, False)


async def test_commit_then_fail_leaves_one_assistant_per_create(sandbox: Sandbox, client: AsyncLisn) -> None:
    for do in ("reset", "close", "cut"):
        sandbox.faults = [Fault(do=do, when="after")]
        with pytest.raises(APIError) as caught:
            await client.assistants.create(**SPEC)
        assert caught.value.outcome_unknown
    assert len(await client.assistants.list()) == 3


@pytest.mark.parametrize("status", ["101 Switching Protocols", "099 Odd", "000 Odd"])
async def test_a_status_that_is_none_refuses_nothing(wire: Wire, status: str) -> None:
    wire.script.append(reply(b"", status))
    async with client_of(wire) as client:
        with pytest.raises(APIResponseError) as caught:
            await client.assistants.create(**SPEC)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("news", [reply(b'{"id":"ast_stray","name":"other"}'), b""], ids=["reply", "FIN"])
async def test_what_waits_in_the_kernel_is_seen_before_the_next_request(news: bytes) -> None:
    """The loop has had no chance to read it: the server's thread sends while the loop's is held."""
    posts: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answers in ([reply(b"[]")], [reply(ONE)]):
            connection, _ = listening.accept()
            with connection:
                for answer in answers:
                    posts.append(connection.recv(65536))
                    connection.sendall(answer)
                if not news:
                    connection.shutdown(socket.SHUT_WR)
                elif len(posts) == 1:
                    may_push.wait(10)
                    connection.sendall(news)
                pushed.set()
                connection.settimeout(10)
                with contextlib.suppress(ConnectionResetError):  # closed with our news unread
                    while rest := connection.recv(65536):
                        posts.append(rest)

    may_push, pushed = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        async with AsyncLisn(
            "t", base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", max_retries=0
        ) as client:
            await client.assistants.list()
            may_push.set()
            pushed.wait(10)  # blocks the loop, on purpose
            made = await client.assistants.create(**SPEC)
    finally:
        await asyncio.to_thread(thread.join, 10)
        listening.close()
    assert made.id == "ast_1"
    assert sum(b"POST" in one for one in posts) == 1


async def test_a_cancellation_that_nobody_asked_for_is_a_connection_error(
    client: AsyncLisn, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]
) -> None:
    """aiohttp cancels look-ups that are under way when a session is closed."""

    async def cancelled(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(aiohttp.ClientSession, "_request", cancelled)
    with pytest.raises(APIConnectionError) as caught:
        await client.assistants.create(**SPEC)
    assert not caught.value.outcome_unknown


async def test_calls_that_wait_for_a_slot_respect_a_pause_that_began_meanwhile(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    sent: list[float] = []

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("lisn_async._calls.time.monotonic", lambda: now[0])
    monkeypatch.setattr("lisn_async._calls.asyncio.sleep", sleep)
    wire.script.extend(
        [reply(b"", "429 Too Many Requests", "Retry-After: 7"), reply(ONE), reply(ONE), reply(ONE)]
    )
    async with client_of(wire, max_connections=1) as client:
        exchange = client._calls.transport.exchange

        async def timed(*arguments: Any) -> Any:
            sent.append(now[0])
            return await exchange(*arguments)

        monkeypatch.setattr(client._calls.transport, "exchange", timed)
        await asyncio.gather(*(client.assistants.get("ast_1") for _ in range(3)))
    assert sent[0] == 1000.0
    assert min(sent[1:]) >= 1007.0


async def test_a_pause_beyond_the_deadline_ends_the_call_at_once(wire: Wire) -> None:
    wire.script.append(reply(b"", "429 Too Many Requests", "Retry-After: 30"))
    async with client_of(wire, max_retries=0) as client:
        with pytest.raises(RateLimitError):
            await client.assistants.get("ast_1")
        with pytest.raises(APITimeoutError, match="pause") as caught:
            await client.with_options(deadline=5).assistants.create(**SPEC)
    assert not caught.value.outcome_unknown
    assert len(wire.requests) == 1


async def test_a_borrowed_session_that_repeats_by_itself_is_never_believed_to_have_sent_nothing(
    wire: Wire,
) -> None:
    async def insisting(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            return await handler(request)
        except aiohttp.ClientError:
            raise aiohttp.ConnectionTimeoutError from None

    wire.script.append(RESET)
    async with aiohttp.ClientSession(middlewares=(insisting,)) as session:
        with pytest.raises(APIConnectionError) as caught:
            await client_of(wire, session=session).assistants.create(**SPEC)
    assert (caught.value.outcome_unknown, len(wire.requests)) == (True, 1)


async def test_a_session_of_another_loop_is_refused_with_the_reason(sandbox: Sandbox) -> None:
    is_idle = threading.Event()  # aiohttp asks which task this loop is in, and must be told: in none

    def from_another_loop() -> None:
        is_idle.wait(10)
        asyncio.run(client.assistants.list())

    async with aiohttp.ClientSession() as session:
        client = AsyncLisn(sandbox.token, base_url=sandbox.base_url, session=session)
        asyncio.get_running_loop().call_soon(is_idle.set)
        with pytest.raises(APIConnectionError, match="loop") as caught:
            await asyncio.to_thread(from_another_loop)
    assert caught.value.attempts == 1


async def test_an_error_while_writing_counts_as_written(
    client: AsyncLisn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: Any) -> Any:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.write", break_off)
    with pytest.raises(APIConnectionError) as caught:
        await client.assistants.create(**SPEC)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, True)


async def test_an_early_reply_to_a_large_body_does_not_hold_up_the_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lisn_async._transport.CLOSING", 1000.0)  # what it falls back on

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(ONE, "201 Created"))  # and never reads the body
        await writer.drain()
        await over.wait()
        writer.close()

    over = asyncio.Event()
    server = await asyncio.start_server(early, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        async with AsyncLisn("t", base_url=f"http://127.0.0.1:{port}") as client:
            made = await client.assistants.create(**{**SPEC, "system_prompt": "x" * 8_000_000})
        over.set()
    assert made.id == "ast_1"


async def test_what_an_update_may_have_done_is_not_forgotten_when_the_client_is_closed(wire: Wire) -> None:
    wire.script.append(RESET)
    client = client_of(wire)
    call_ = asyncio.create_task(client.assistants.update("ast_1", name="n"))
    await wire.arrived.wait()
    await client.aclose()
    with pytest.raises(APIConnectionError) as caught:
        await call_
    assert caught.value.outcome_unknown


async def test_the_first_of_two_with_blocks_to_end_leaves_the_other_its_client(sandbox: Sandbox) -> None:
    client = AsyncLisn(sandbox.token, base_url=sandbox.base_url)
    async with client:
        async with client:
            await client.assistants.list()
        assert await client.assistants.list() == []
    with pytest.raises(ConfigurationError, match="closed"):
        await client.assistants.list()


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Oops"])
async def test_an_error_body_of_any_depth_is_an_error_like_any_other(wire: Wire, status: str) -> None:
    wire.script.append(reply(b'{"error":' * 900 + b"1" + b"}" * 900, status))
    async with client_of(wire, max_retries=0) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.assistants.create(**SPEC)
    assert caught.value.outcome_unknown is (status[0] == "5")
    pickle.loads(pickle.dumps(caught.value))


# --- loops and processes ----------------------------------------------------------------------------------


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_one_client_works_under_successive_loops_and_leaves_nothing_open(sandbox: Sandbox) -> None:
    done = await asyncio.to_thread(
        run,
        """
        import asyncio, gc, os, sys
        from lisn_async import AsyncLisn
        client = AsyncLisn(sys.argv[2], base_url=sys.argv[1])
        other = AsyncLisn(sys.argv[2], base_url=sys.argv[1])
        async def use():
            return len(await client.assistants.list())
        async def use_and_close():
            async with other:
                return len(await other.assistants.list())
        before = None
        for n in range(6):
            assert asyncio.run(use()) == 0
            assert asyncio.run(use_and_close()) == 0
            gc.collect()
            files = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
            before = files if before is None else before
            assert files == before, (files, before)
        assert len(client._calls.transport._pools) == 1, "ended loops are forgotten"
        """,
        sandbox.base_url,
        sandbox.token,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_one_client_works_in_several_loops_at_once(sandbox: Sandbox) -> None:
    client = AsyncLisn(sandbox.token, base_url=sandbox.base_url)

    async def use() -> list[str]:
        made = await asyncio.gather(*(client.assistants.create(**SPEC) for _ in range(10)))
        return [one.id for one in made]

    here, *others = await asyncio.gather(use(), *(asyncio.to_thread(asyncio.run, use()) for _ in range(3)))
    ids = {one for many in (here, *others) for one in many}
    await client.aclose()
    assert len(ids) == 40


async def test_a_client_that_is_dropped_unclosed_leaves_its_loop_clean(sandbox: Sandbox) -> None:
    done = await asyncio.to_thread(
        run,
        """
        import asyncio, sys
        from lisn_async import AsyncLisn
        async def main():
            client = AsyncLisn(sys.argv[2], base_url=sys.argv[1])
            await client.assistants.list()
        asyncio.run(main())
        """,
        sandbox.base_url,
        sandbox.token,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_after_a_fork_parent_and_child_both_work_and_the_parent_keeps_its_connection(
    sandbox: Sandbox,
) -> None:
    done = await asyncio.to_thread(
        run,
        """
        import asyncio, gc, os, sys, warnings
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # fork with threads, 3.12
        from lisn_async import AsyncLisn, _transport
        _transport.KEEP_ALIVE = 600  # seconds for which the parent may wait for a child
        client = AsyncLisn(sys.argv[2], base_url=sys.argv[1])
        loop = asyncio.new_event_loop()
        def port():
            [pool] = client._calls.transport._pools.values()
            [connections] = pool.session.connector._conns.values()
            return [c[0].transport.get_extra_info("sockname") for c in connections]
        loop.run_until_complete(client.assistants.list())
        before = port()
        for _ in range(3):
            child = os.fork()
            if child == 0:
                code = asyncio.run(client.assistants.list())
                gc.collect()
                os._exit(0 if code == [] else 1)
            assert os.waitpid(child, 0)[1] == 0
            loop.run_until_complete(client.assistants.list())
        assert port() == before, (port(), before)
        loop.run_until_complete(client.aclose())
        loop.close()
        """,
        sandbox.base_url,
        sandbox.token,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_package_does_not_import_aiohttp() -> None:
    done = run("import sys, lisn_async, lisn_async.sandbox; sys.exit('aiohttp' in sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")


async def test_an_error_does_not_keep_itself_alive(sandbox: Sandbox) -> None:
    done = await asyncio.to_thread(
        run,
        """
        import asyncio, gc, sys
        from lisn_async import AsyncLisn, LisnError
        async def main():
            async with AsyncLisn(sys.argv[2], base_url=sys.argv[1], max_retries=0) as client, \\
                       AsyncLisn("t", base_url="http://127.0.0.1:1", max_retries=0) as refused:
                await client.assistants.list()
                gc.collect()
                gc.disable()
                for n in range(50):
                    for call in (client.assistants.get("ast_none"), refused.assistants.list()):
                        try:
                            await call
                        except LisnError:
                            pass
                alive = [o for o in gc.get_objects() if isinstance(o, LisnError)]
                assert not alive, len(alive)
        asyncio.run(main())
        """,
        sandbox.base_url,
        sandbox.token,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_cancellation_that_is_on_its_way_when_a_call_begins_ends_it(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    """Asked for before the call, it is delivered at the call's first wait: whose it is must not be mistaken."""

    async def begin(call_: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await call_

    for made in (client.assistants.create(**SPEC), client.assistants.list()):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(begin(made))
    assert sandbox.assistants() == []
