"""`CancelOnDisconnect` at its edges: under real servers, and, where one step must be seen by itself, without."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lisn_async.contrib.asgi import CancelOnDisconnect, Message, Receive, Scope, Send

from .conftest import SandboxProcess, needs
from .fix_backends import Backend, Served, one_test_with, request, started

UVICORN = ("--port", "0", "--timeout-graceful-shutdown", "0")
HYPERCORN = ("--bind", "127.0.0.1:0", "--graceful-timeout", "0", "--workers", "0", "--keep-alive", "60")
WATCH = "_Exchange._watch"
WATCHER = "lisn-cancel-on-disconnect"
APP, DECORATED = "tests.frameworks.edges_app:app", "tests.frameworks.edges_app:among_decorators"

SERVERS = [
    pytest.param(
        ("uvicorn", APP, *UVICORN, "--http", "httptools"),
        id="uvicorn-httptools",
        marks=needs("starlette", "uvicorn"),
    ),
    pytest.param(
        ("uvicorn", DECORATED, *UVICORN, "--http", "h11"),
        id="uvicorn-h11",
        marks=needs("starlette", "uvicorn"),
    ),
    pytest.param(("hypercorn", APP, *HYPERCORN), id="hypercorn", marks=needs("starlette", "hypercorn")),
]


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """One process for all tests: it talks to no sandbox."""
    with started(*request.param, box=SandboxProcess("http://127.0.0.1:9", "none")) as backend:
        yield backend


@pytest.fixture
async def server(running: Backend) -> AsyncIterator[Served]:
    async with one_test_with(running) as served:
        yield served


def request_of(path: str) -> bytes:
    return request("GET", path)


async def said(server: Served, what: str) -> None:
    await server.said(rf"{what}\.")


async def test_a_caller_who_hangs_up_cancels_the_handler_in_its_own_context(server: Served) -> None:
    caller = await server.send(request_of("/hanging"))
    await said(server, "hanging begins, tag of the caller")
    caller.hang_up()
    await said(server, "hanging is cancelled, tag of the caller")


async def test_a_small_body_that_nobody_read_does_not_hide_that_the_caller_left(server: Served) -> None:
    if server.backend.is_hypercorn:
        pytest.skip("Hypercorn gives every body in two messages, of which one is read ahead")
    caller = await server.send(request("POST", "/hanging", b"{}"))
    await said(server, "hanging begins, tag of the caller")
    caller.hang_up(rudely=True)
    await said(server, "hanging is cancelled, tag of the caller")


async def test_callers_who_leave_as_soon_as_they_have_asked_leave_nothing_in_the_log(server: Served) -> None:
    for path in ["/limited", "/background", "/stream", "/nowhere"] * 5:
        caller = await server.send(request_of(path))
        caller.hang_up()
    await (await server.send(request_of("/limited"))).reply()


async def test_a_caller_who_stays_is_answered(server: Served) -> None:
    caller = await server.send(request_of("/hanging"))
    await said(server, "hanging begins, tag of the caller")
    await (await server.send(request_of("/release"))).reply()
    assert await caller.json() == (200, "answered")


async def test_a_large_upload_arrives_whole(server: Served) -> None:
    body = bytes(range(256)) * 20_000
    status, seen = await (await server.send(request("POST", "/upload", body))).json()
    assert (status, seen) == (200, {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()})


async def test_a_caller_who_leaves_in_the_middle_of_an_upload_cancels_it(server: Served) -> None:
    whole = request("POST", "/upload", bytes(200_000))
    caller = await server.send(whole[: whole.index(b"\r\n\r\n") + 4 + 65536])
    await said(server, "has 65536")
    caller.hang_up()  # the fixture sees that nothing stays behind


async def test_asking_whether_the_caller_is_there_loses_nothing_of_the_body(server: Served) -> None:
    caller = await server.send(request("POST", "/still-there", b"all of it"))
    assert await caller.json() == (200, [False, "all of it"])


async def test_a_caller_who_leaves_in_the_middle_of_a_stream_ends_it_and_it_cleans_up(
    server: Served,
) -> None:
    caller = await server.send(request_of("/stream"))
    await caller.reader.readuntil(b"first")
    await said(server, "stream begins, tag of the caller")
    caller.hang_up()
    await said(server, "stream is cleaned up")


async def test_a_background_task_is_not_cancelled_when_the_caller_has_its_answer_and_leaves(
    server: Served,
) -> None:
    caller = await server.send(request_of("/background"))
    assert await caller.json() == (200, "answered")
    await said(server, "background begins, tag of the caller")
    await server.backend.until(
        lambda report: not report["peers"]
    )  # so the server knows that the caller has left
    await (await server.send(request_of("/release"))).reply()
    await said(server, "background goes on")
    assert "background is cancelled" not in server.log


async def test_an_error_of_the_application_is_answered_and_logged_as_ever(server: Served) -> None:
    status, _ = await (await server.send(request_of("/failing"))).reply()
    assert status == 500
    await server.said("LookupError: of the application itself")


async def test_a_function_in_a_thread_goes_on_for_nobody_and_nothing_is_logged(server: Served) -> None:
    caller = await server.send(request_of("/blocking"))
    await said(server, "thread begins")
    caller.hang_up()
    await server.backend.until(lambda report: not report["peers"] and WATCH not in report["tasks"])
    await (await server.send(request_of("/release"))).reply()
    await said(server, "thread ends")


async def test_a_time_limit_of_the_application_still_works(server: Served) -> None:
    assert await (await server.send(request_of("/limited"))).json() == (200, {"cancelling": 0})


async def test_a_body_that_nobody_asks_for_is_not_invited(server: Served) -> None:
    if server.backend.is_hypercorn:
        pytest.skip("Hypercorn invites every body by itself")
    head = request("POST", "/refusing", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 1000")
    caller = await server.send(head)
    line = await caller.reader.readuntil(b"\r\n")
    caller.hang_up()
    assert b" 413 " in line


async def test_websockets_pass_through(server: Served) -> None:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{server.backend.port}/echo") as socket,
    ):
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"


# --- step by step: the middleware alone, with a server's two callables in the test's hands -----------------


PIECE: Message = {"type": "http.request", "body": b"piece", "more_body": True}
LAST: Message = {"type": "http.request", "body": b"last", "more_body": False}
GONE: Message = {"type": "http.disconnect"}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
ALL: Message = {"type": "http.response.body", "body": b"all"}


class Wire:
    """A server's end: what it will give to `receive`, how often it was asked, and what it was sent."""

    def __init__(self, *messages: Message) -> None:
        self.coming: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.coming.put_nowait(message)
        self.taken = 0
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        message = await self.coming.get()
        self.taken += 1
        return message

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def serve(self, app: Any, *headers: tuple[bytes, bytes]) -> None:
        await CancelOnDisconnect(app)({"type": "http", "headers": headers}, self.receive, self.send)


async def settled() -> None:
    """As many turns of the loop as anything here needs."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def nothing_stays_behind() -> AsyncIterator[None]:
    yield
    assert not [task for task in asyncio.all_tasks() if task.get_name() == WATCHER]


async def test_one_message_is_read_ahead_and_no_more() -> None:
    wire, go = Wire(*[PIECE] * 5, LAST, GONE), asyncio.Event()
    taken = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(4):
            await settled()
            taken.append(wire.taken)
            assert await receive() == PIECE
        go.set()
        await asyncio.Event().wait()

    serving = asyncio.create_task(wire.serve(app))
    await go.wait()
    await settled()
    assert taken == [1, 2, 3, 4]
    assert wire.taken == 5  # the last piece and the disconnect wait with the server
    assert not serving.done()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_messages_come_in_order_and_the_disconnect_again_and_again() -> None:
    got: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while True:
                got.append(await receive())
                await settled()
        except asyncio.CancelledError:
            got.extend([await receive() for _ in range(3)])
            raise

    await Wire(PIECE, PIECE, LAST, GONE).serve(app)
    assert got == [PIECE, PIECE, LAST, GONE, GONE]


async def test_two_who_wait_for_messages_at_once_get_one_each() -> None:
    got: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.extend(await asyncio.gather(receive(), receive()))

    await Wire(PIECE, LAST).serve(app)
    assert got == [PIECE, LAST]


async def test_a_task_that_the_application_left_behind_hears_that_the_exchange_is_over() -> None:
    left: list[asyncio.Task[Message]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        left.append(asyncio.ensure_future(receive()))
        await settled()
        await send(ALL)

    await Wire(LAST).serve(app)
    await settled()
    assert left[0].done()
    assert await left[0] == GONE


async def test_a_receive_that_was_cancelled_loses_no_message() -> None:
    wire = Wire()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await settled()
        waiting.cancel()
        wire.coming.put_nowait(LAST)
        await settled()
        assert await receive() == LAST
        await send(ALL)

    await wire.serve(app)
    assert wire.sent == [ALL]


async def test_the_cancellation_is_taken_back_however_the_application_took_it() -> None:
    task = asyncio.current_task()
    assert task is not None

    async def swallows(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(asyncio.CancelledError, match="the caller has hung up"):
            await asyncio.Event().wait()

    async def turns(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LookupError("while it cleaned up") from None

    await Wire(LAST, GONE).serve(swallows)
    assert task.cancelling() == 0
    with pytest.raises(LookupError):
        await Wire(LAST, GONE).serve(turns)
    assert task.cancelling() == 0


async def test_a_cancellation_by_the_server_goes_through_also_when_the_caller_leaves_as_well() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    alone = asyncio.create_task(Wire(LAST).serve(app))
    both_wire = Wire(LAST)
    both = asyncio.create_task(both_wire.serve(app))
    await settled()
    both_wire.coming.put_nowait(GONE)
    await asyncio.sleep(0)
    for serving in (alone, both):
        serving.cancel()
    await asyncio.wait([alone, both])
    assert alone.cancelled()
    assert both.cancelled()


async def test_after_the_last_piece_of_the_response_nobody_is_cancelled() -> None:
    wire = Wire(LAST)
    gone: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send({**ALL, "more_body": True})
        await send(ALL)
        wire.coming.put_nowait(GONE)
        await settled()
        gone.append(await receive())

    await wire.serve(app)
    assert gone == [GONE]


async def test_who_is_around_the_application_sees_that_there_was_no_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def gone(message: Message) -> None:
        raise BrokenPipeError

    wire = Wire(LAST, GONE)
    await wire.serve(app)
    assert [message.get("status") for message in wire.sent] == [499, None]
    await CancelOnDisconnect(app)({"type": "http", "headers": []}, Wire(LAST, GONE).receive, gone)


async def test_a_response_that_has_only_begun_is_no_reason_to_go_on() -> None:
    wire, done = Wire(LAST), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({**ALL, "more_body": True})
        wire.coming.put_nowait(GONE)
        await settled()
        done.append(True)

    await wire.serve(app)
    assert done == []
    assert wire.sent == [START, {**ALL, "more_body": True}]


async def test_a_beginning_that_is_being_passed_on_arrives_before_the_application_is_cancelled() -> None:
    """Else who is around it, as `@app.middleware` is, would wait for a response that is already cut off."""
    wire, went_on = Wire(LAST), []

    async def send_slowly(message: Message) -> None:
        wire.coming.put_nowait(GONE)
        await settled()
        await wire.send(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await asyncio.sleep(0)
        went_on.append(True)

    await CancelOnDisconnect(app)({"type": "http", "headers": []}, wire.receive, send_slowly)
    assert wire.sent == [START]
    assert went_on == []


async def test_a_task_left_behind_that_begins_a_response_too_late_cancels_nobody() -> None:
    wire, left, go_on = Wire(LAST), [], asyncio.Event()

    async def send_slowly(message: Message) -> None:
        wire.coming.put_nowait(GONE)
        await go_on.wait()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        left.append(asyncio.ensure_future(send(START)))
        await settled()

    await CancelOnDisconnect(app)({"type": "http", "headers": []}, wire.receive, send_slowly)
    go_on.set()
    await left[0]
    await settled()  # here it would be cancelled: a server may serve the next request in the same task


async def test_a_caller_who_has_it_all_before_send_returns_cancels_nobody() -> None:
    wire = Wire(LAST)
    done = []

    async def send_slowly(message: Message) -> None:
        wire.coming.put_nowait(GONE)
        await settled()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ALL)
        done.append(True)

    await CancelOnDisconnect(app)({"type": "http", "headers": []}, wire.receive, send_slowly)
    assert done == [True]


async def test_what_the_server_raises_is_raised_where_the_application_asks() -> None:
    async def broken() -> Message:
        raise ConnectionError("of the server")

    async def asks(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            with pytest.raises(ConnectionError, match="of the server"):
                await receive()

    async def does_not(scope: Scope, receive: Receive, send: Send) -> None:
        await settled()

    for app in (asks, does_not):
        await CancelOnDisconnect(app)({"type": "http", "headers": []}, broken, Wire().send)


async def test_a_body_that_waits_to_be_asked_for_is_not_read_ahead() -> None:
    wire = Wire(LAST)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await settled()
        assert wire.taken == 0
        assert await receive() == LAST

    await wire.serve(app, (b"expect", b"100-continue"))


async def test_other_scopes_are_passed_on_as_they_are() -> None:
    wire = Wire()
    got: list[Any] = []

    async def app(*given: Any) -> None:
        got.append(given)

    for kind in ("lifespan", "websocket"):
        scope = {"type": kind}
        await CancelOnDisconnect(app)(scope, wire.receive, wire.send)
        assert got.pop() == (scope, wire.receive, wire.send)


async def test_twice_around_an_application_is_no_more_than_once() -> None:
    task = asyncio.current_task()
    assert task is not None

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.Event().wait()

    await Wire(LAST, GONE).serve(CancelOnDisconnect(app))
    assert task.cancelling() == 0


@needs("starlette", "httpx")
@pytest.mark.filterwarnings("ignore:Using `httpx` with")
@pytest.mark.parametrize("path", ["/limited", "/upload", "/failing"])
def test_the_frameworks_own_test_client_works_with_it(path: str) -> None:
    from starlette.testclient import TestClient

    from .edges_app import app

    with TestClient(app, raise_server_exceptions=False) as client:
        reply = client.post(path, content=b"x") if path == "/upload" else client.get(path)
    assert reply.status_code == (500 if path == "/failing" else 200)
