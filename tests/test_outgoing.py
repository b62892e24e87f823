"""What leaves, byte for byte, and when: many requests in one turn of the loop, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import attrs
import pytest

from lisn_async import APIConnectionError, APITimeoutError, AsyncLisn
from tests.fix_tls import Authority, origin
from tests.fix_wire import HANG, Wire, reply

ONE = b'{"id":"ast_1","name":"n"}'
STRAY = reply(b'{"id":"ast_stray","name":"n"}')
SPEC: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "p"}
MANY = 6


@attrs.define
class Server:
    """Keeps every connection, answers each request with assistant `ast_1`, and `ast_slow` never."""

    port: int = 0
    requests: list[bytes] = attrs.field(factory=list)
    idle: list[asyncio.StreamWriter] = attrs.field(factory=list)
    is_slow: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.idle.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.requests.append(head + await reader.readexactly(int(length or 0)))
                if b"ast_slow" in head:
                    self.idle.remove(writer)
                    self.is_slow.set()
                    await reader.read()
                    break
                writer.write(reply(ONE))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @property
    def names(self) -> list[bytes]:
        """The names of the assistants that were created."""
        posts = [one for one in self.requests if one.startswith(b"POST")]
        return sorted(one.partition(b'"name":"')[2].partition(b'"')[0] for one in posts)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    state = Server()
    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.get_running_loop().create_task(state.serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    state.port = listening.sockets[0].getsockname()[1]
    yield state
    listening.close()
    await asyncio.gather(*tasks)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncLisn]:
    """With as many kept-alive connections as `MANY`, and one request that is under way."""
    async with AsyncLisn("tok-0123", base_url=f"http://127.0.0.1:{server.port}", max_retries=0) as client:
        slow = asyncio.create_task(client.assistants.get("ast_slow"))
        await server.is_slow.wait()
        await asyncio.gather(*(client.assistants.get("ast_1") for _ in range(MANY)))
        assert len(server.idle) == MANY
        yield client
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


def creates(client: AsyncLisn) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(client.assistants.create(**{**SPEC, "name": f"n{n}"})) for n in range(MANY)]


NAMES = [f"n{n}".encode() for n in range(MANY)]


# --- connections that are no good -----------------------------------------------------------------------


def push(writer: asyncio.StreamWriter) -> None:
    """At once: the kernel has it when this returns, and the client's loop has not."""
    os.write(writer.get_extra_info("socket").fileno(), STRAY)


def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("how", [push, hang_up, reset])
@pytest.mark.parametrize("bad", [1, 3, MANY])
async def test_creates_of_one_turn_leave_once_each_whatever_became_of_their_connections(
    server: Server, client: AsyncLisn, how: Callable[[asyncio.StreamWriter], None], bad: int, turns: int
) -> None:
    """`turns` of the loop pass before the requests are made: it has read the stray reply, or not yet."""
    for writer in server.idle[:bad]:
        how(writer)
    for _ in range(turns):
        await asyncio.sleep(0)
    made = await asyncio.gather(*creates(client))
    assert [one.id for one in made] == ["ast_1"] * MANY
    assert server.names == NAMES


async def test_a_reply_to_nothing_that_comes_while_a_request_waits_to_be_written_does_not_answer_it(
    server: Server, client: AsyncLisn
) -> None:
    tasks = creates(client)
    for writer in server.idle:
        push(writer)
    made = await asyncio.gather(*tasks)
    assert [one.id for one in made] == ["ast_1"] * MANY
    assert server.names == NAMES


async def test_a_request_that_is_cancelled_before_it_is_written_never_is(
    server: Server, client: AsyncLisn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lisn_async._outgoing import Outbox

    first, *others = tasks = creates(client)
    write_all = Outbox._write_all

    def cancel_then_write(outbox: Outbox) -> None:
        if outbox._waiting and not first.cancelling():
            first.cancel()
            outbox._loop.call_soon(outbox._loop.call_soon, write_all, outbox)  # after its cancellation
        else:
            write_all(outbox)

    monkeypatch.setattr(Outbox, "_write_all", cancel_then_write)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert [one.id for one in done[1:] if not isinstance(one, BaseException)] == ["ast_1"] * len(others)
    assert server.names == NAMES[1:]


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("how", [None, push, hang_up, reset])
async def test_calls_that_are_cancelled_in_any_turn_leave_the_others_theirs_and_nothing_behind(
    server: Server, client: AsyncLisn, how: Callable[[asyncio.StreamWriter], None] | None, turns: int
) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    pool = await client._calls.transport.acquire()
    assert pool is not None
    free = pool.slots._value
    tasks = creates(client)
    if how is not None:
        for writer in server.idle[::2]:
            how(writer)
    for _ in range(turns):
        await asyncio.sleep(0)
    was_over = [task.done() for task in tasks[::2]]
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one.id for one in done[1::2]] == ["ast_1"] * (MANY // 2)  # type: ignore[union-attr]
    assert [not isinstance(one, asyncio.CancelledError) for one in done[::2]] == was_over
    await client.assistants.create(**{**SPEC, "name": "last"})
    assert len(set(server.names)) == len(server.names), "none left twice"
    assert {*NAMES[1::2], b"last"} <= set(server.names)
    assert (pool.slots._value, len(pool.limits)) == (free, 1)
    assert told == []
    pool.slots.release()


async def test_a_client_that_is_closed_before_requests_are_written_tells_them_as_unsent(
    server: Server, client: AsyncLisn
) -> None:
    tasks = creates(client)
    await asyncio.sleep(0)  # they wait in the outbox
    await client.aclose()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, APIConnectionError)
        assert not error.outcome_unknown
    assert server.names == []


@pytest.mark.parametrize("failure", [RuntimeError, AttributeError, OSError, AssertionError])
async def test_a_write_that_fails_is_unknown_for_that_request_alone_and_shows_no_token(
    server: Server, client: AsyncLisn, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    shown: list[str] = []

    write: Any = asyncio.selector_events._SelectorSocketTransport.write  # type: ignore[attr-defined]

    def break_off(transport: Any, data: bytes) -> None:
        if b'"n2"' in data:
            shown.append(repr(data))
            raise failure("unable to write")
        write(transport, data)

    monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.write", break_off)
    done = await asyncio.gather(*creates(client), return_exceptions=True)
    error = done.pop(2)
    assert isinstance(error, APIConnectionError)
    assert (error.outcome_unknown, error.attempts) == (True, 1)
    assert len(shown) == 1
    assert "tok-0123" not in shown[0]
    assert [one.id for one in done if not isinstance(one, BaseException)] == ["ast_1"] * (MANY - 1)
    assert server.names == [name for name in NAMES if name != b"n2"]


# --- bytes ----------------------------------------------------------------------------------------------

SIX: dict[str, Callable[[AsyncLisn], Awaitable[Any]]] = {
    "POST /v1/assistants": lambda client: client.assistants.create(**SPEC),
    "GET /v1/assistants": lambda client: client.assistants.list(),
    "GET /v1/assistants/ast_9": lambda client: client.assistants.get("ast_9"),
    "PATCH /v1/assistants/ast_9": lambda client: client.assistants.update("ast_9", name="ä"),
    "POST /v1/assistants/ast_9/duplicate": lambda client: client.assistants.duplicate("ast_9"),
    "DELETE /v1/assistants/ast_9": lambda client: client.assistants.delete("ast_9"),
}


async def traffic_of(wire: Wire, **options: Any) -> list[bytes]:
    """What the six calls send."""
    async with AsyncLisn("tok-0123", base_url=wire.base_url, max_retries=0, **options) as client:
        for line, call in SIX.items():
            body = b'{"id":"ast_9","name":"n"}' if "POST" not in line else b'{"id":"x","name":"n"}'
            wire.script.append(reply(b"[]" if line == "GET /v1/assistants" else body))
            await call(client)
    return wire.requests


async def test_the_head_of_each_call_is_known_to_the_byte(wire: Wire) -> None:
    sent = await traffic_of(wire, default_headers={"X-Tenant": "t1"})
    for request, line in zip(sent, SIX, strict=True):
        head, _, body = request.partition(b"\r\n\r\n")
        first, *headers = head.decode().split("\r\n")
        assert first == f"{line} HTTP/1.1"
        names = ["Host", "Accept", "Accept-Encoding", "User-Agent", "X-Tenant"]
        if body:
            names.append("Content-Type")
        names.append("Authorization")
        if not first.startswith("GET"):
            names.append("Content-Length")
        assert [header.partition(": ")[0] for header in headers] == names
        assert headers[0] == f"Host: 127.0.0.1:{wire.port}"
        assert headers[1] == "Accept: application/json"
        assert headers[3].startswith("User-Agent: lisn-python/")
        assert headers[4:] == [
            "X-Tenant: t1",
            *(["Content-Type: application/json"] if body else []),
            "Authorization: Bearer tok-0123",
            *([] if first.startswith("GET") else [f"Content-Length: {len(body)}"]),
        ]


async def test_a_head_from_the_template_is_the_one_that_aiohttp_would_make(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = list(await traffic_of(wire, default_headers={"X-Tenant": "t1"}))
    wire.requests.clear()
    trace_all(monkeypatch)
    theirs = await traffic_of(wire, default_headers={"X-Tenant": "t1"})
    assert ours == theirs


@pytest.mark.parametrize("size", [2**16 - 1, 2**16, 2**16 + 1, 2**20, 2**20 + 1])
async def test_a_body_of_any_size_arrives_whole(wire: Wire, size: int) -> None:
    wire.script.append(reply(ONE))
    bare = len(b'{"name":"n","type":"text","llm_provider":"openai","system_prompt":""}')
    async with AsyncLisn("t", base_url=wire.base_url) as client:
        await client.assistants.create(**{**SPEC, "system_prompt": "x" * (size - bare)})
    [request] = wire.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {size}\r\n".encode() in head + b"\r\n"
    assert json.loads(body) == {**SPEC, "system_prompt": "x" * (size - bare)}


# --- tools that watch -----------------------------------------------------------------------------------


def trace_all(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What OpenTelemetry and Sentry do: each new session gets a trace. The signals it sees."""
    seen: list[str] = []
    config = aiohttp.TraceConfig()

    def note(name: str) -> Any:
        async def signal(*_: Any) -> None:
            seen.append(name)

        return signal

    for name in ("start", "headers_sent", "chunk_sent", "end", "exception"):
        getattr(config, f"on_request_{name}").append(note(name))
    init = aiohttp.ClientSession.__init__

    def traced(session: aiohttp.ClientSession, *args: Any, **given: Any) -> None:
        init(session, *args, trace_configs=[config], **given)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)
    return seen


async def test_a_tool_that_traces_sees_every_request(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = trace_all(monkeypatch)
    wire.script.extend([reply(ONE), reply(ONE)])
    async with AsyncLisn("t", base_url=wire.base_url) as client:
        await client.assistants.create(**SPEC)
        await client.assistants.get("ast_1")
    assert seen.count("start") == seen.count("headers_sent") == seen.count("end") == 2
    assert "chunk_sent" in seen


@pytest.mark.parametrize(
    "added",
    [{"traceparent": "00-1-2-01"}, {"User-Agent": "mine"}, {"X-Tenant": "t2"}],
    ids=lambda one: next(iter(one)),
)
async def test_a_header_that_a_tool_adds_or_replaces_travels(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, added: dict[str, str]
) -> None:
    """What ddtrace does: it wraps the session's one way in."""
    request = aiohttp.ClientSession._request

    async def wrapped(session: aiohttp.ClientSession, *args: Any, headers: Any = None, **given: Any) -> Any:
        return await request(session, *args, headers={**(headers or {}), **added}, **given)

    wire.script.extend([reply(ONE)] * 3)
    async with AsyncLisn("t", base_url=wire.base_url, default_headers={"X-Tenant": "t1"}) as client:
        await client.assistants.get("ast_1")
        with monkeypatch.context() as patch:
            patch.setattr(aiohttp.ClientSession, "_request", wrapped)
            await client.assistants.create(**SPEC)
        await client.assistants.get("ast_1")
    [(name, value)] = added.items()
    line = f"{name}: {value}\r\n".encode()
    assert [line in one for one in wire.requests] == [False, True, False]
    assert wire.requests[1].count(f"{name}:".encode()) == 1
    assert b"Content-Type: application/json\r\n" in wire.requests[1]
    assert b"Authorization: Bearer t\r\n" in wire.requests[1]


@pytest.mark.parametrize("size", [1, 2**17])
async def test_the_trace_context_of_a_tool_below_a_middleware_is_the_one_that_travels(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """What OpenTelemetry's instrumentation of aiohttp does: its span is a child of ours, and the server's of its."""
    config = aiohttp.TraceConfig()

    async def inject(_: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
        params.headers["traceparent"] = "of-the-tool"

    config.on_request_start.append(inject)
    init = aiohttp.ClientSession.__init__
    monkeypatch.setattr(
        aiohttp.ClientSession,
        "__init__",
        lambda session, *args, **given: init(session, *args, trace_configs=[config], **given),
    )

    async def add(request: Any, call_next: Any) -> Any:
        request.headers |= {"traceparent": "of-ours", "X-Tenant": "t2"}
        return await call_next(request)

    wire.script.append(reply(ONE))
    options: dict[str, Any] = {"middleware": [add], "default_headers": {"X-Tenant": "t1"}}
    async with AsyncLisn("t", base_url=wire.base_url, **options) as client:
        await client.assistants.create(**{**SPEC, "system_prompt": "x" * size})
    lines = wire.requests[0].split(b"\r\n")
    assert [line for line in lines if line.startswith((b"traceparent", b"X-Tenant", b"Authorization"))] == [
        b"X-Tenant: t2",
        b"traceparent: of-the-tool",
        b"Authorization: Bearer t",
    ]


class Tool:
    """Wraps the session's one way in, as a tool does, and adds arguments while it `adds` some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.adds: dict[str, Any] = {}
        request = aiohttp.ClientSession._request

        async def wrapped(session: aiohttp.ClientSession, *args: Any, **given: Any) -> Any:
            return await request(session, *args, **{**given, **self.adds})

        monkeypatch.setattr(aiohttp.ClientSession, "_request", wrapped)


@pytest.mark.parametrize("place", [0, 1], ids=["in the first", "in a later one"])
@pytest.mark.parametrize(
    ("added", "shown"),
    [
        ({"params": {"from": "tool"}}, b"?from=tool HTTP/1.1\r\n"),
        ({"cookies": {"from": "tool"}}, b"Cookie: from=tool\r\n"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
async def test_what_a_tool_adds_to_one_request_is_in_that_one_alone(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, added: dict[str, Any], shown: bytes, place: int
) -> None:
    tool = Tool(monkeypatch)
    wire.script.extend([reply(ONE, "200 OK", "Connection: close")] * 3)
    async with AsyncLisn("t", base_url=wire.base_url) as client:
        for number in range(3):
            tool.adds = added if number == place else {}
            await client.assistants.create(**SPEC)
    assert [shown in one for one in wire.requests] == [number == place for number in range(3)]


async def test_a_time_limit_that_a_tool_adds_ends_that_request_alone(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, time_passes: Callable[[float], None]
) -> None:
    tool = Tool(monkeypatch)
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    wire.script.extend([HANG, answer, HANG])
    async with AsyncLisn("t", base_url=wire.base_url, timeout=600) as client:
        for adds in (True, False, True):
            tool.adds = {"timeout": aiohttp.ClientTimeout(total=50)} if adds else {}
            wire.arrived.clear()
            call = asyncio.create_task(client.assistants.create(**SPEC))
            await wire.arrived.wait()
            time_passes(55)
            if not adds:
                answer.set_result(reply(ONE))
            with pytest.raises(APITimeoutError) if adds else contextlib.nullcontext():
                await call
    assert len(wire.requests) == 3


async def test_a_tool_that_trusts_a_server_once_does_not_make_us_trust_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tool = Tool(monkeypatch)
    async with (
        origin(Authority().server("localhost")) as server,
        AsyncLisn("t", base_url=f"https://localhost:{server.port}") as client,
    ):
        tool.adds = {"ssl": False}
        await client.assistants.get("ast_1")
        tool.adds = {}
        with pytest.raises(APIConnectionError, match="certificate"):
            await client.assistants.get("ast_1")
    assert len(server.requests) == 1
