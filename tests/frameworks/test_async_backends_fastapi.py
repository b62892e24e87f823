"""What people write in FastAPI, with `CancelOnDisconnect` in the midst of other middleware, under real servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from .conftest import SandboxProcess, needs
from .fix_backends import Backend, Caller, Served, one_test_with, request, started

APP = "tests.frameworks.edges_fastapi:app"
SERVERS = [
    pytest.param(("uvicorn", APP, "--port", "0"), id="uvicorn", marks=needs("fastapi", "uvicorn")),
    pytest.param(
        ("hypercorn", APP, "--bind", "127.0.0.1:0", "--workers", "0", "--keep-alive", "60"),
        id="hypercorn",
        marks=needs("fastapi", "hypercorn"),
    ),
]


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with started(*request.param, box=SandboxProcess("http://127.0.0.1:9", "none")) as backend:
        yield backend


@pytest.fixture
async def server(running: Backend) -> AsyncIterator[Served]:
    async with one_test_with(running) as served:
        yield served


async def test_a_dependency_is_rolled_back_and_closed_when_the_caller_leaves(server: Served) -> None:
    caller = await server.get("/dependency")
    await server.said("dependency begins")
    caller.hang_up()
    await server.said("session is rolled back")
    await server.said("session is closed")


async def test_background_tasks_and_dependencies_outlive_a_caller_who_has_the_answer(server: Served) -> None:
    sent = request("POST", "/background-after-body", b'{"a": 1}', "Content-Type: application/json")
    assert await (await server.send(sent)).json() == (200, {"a": 1})
    await server.said("background begins")
    await server.backend.until(
        lambda report: not report["peers"]
    )  # so the server knows that the caller has left
    await (await server.get("/release")).reply()
    await server.said("background goes on")
    await server.said("session is closed")
    assert "session is rolled back" not in server.log


async def test_events_end_when_the_caller_leaves(server: Served) -> None:
    caller = await server.get("/events")
    await caller.reader.readuntil(b"data: 3")
    caller.hang_up()
    await server.said("events end")


async def test_a_task_group_ends_with_all_its_children(server: Served) -> None:
    caller = await server.get("/group")
    for number in range(2):
        await server.said(f"child {number} begins")
    caller.hang_up()
    for number in range(2):
        await server.said(f"child {number} is cancelled")


async def test_what_is_shielded_goes_on_to_its_end_and_not_beyond(server: Served) -> None:
    caller = await server.get("/shielded")
    await server.said("shielded begins")
    caller.hang_up(rudely=True)
    await server.backend.until(lambda report: not report["peers"])
    await (await server.get("/release")).reply()
    await server.said("shielded goes on")
    await server.backend.until(lambda report: report["tasks"].get("_Exchange._watch", 0) == 0)
    assert "not shielded goes on" not in server.log


async def test_an_http_exception_and_the_state_of_the_lifespan_are_as_without_it(server: Served) -> None:
    caller = await server.get("/teapot")
    assert b"x-pot: short" in (await caller.reader.readuntil(b"\r\n\r\n")).lower()
    assert json.loads(await caller.reader.read()) == {"detail": "at startup"}
    caller.hang_up()


async def test_a_large_answer_arrives_whole_and_may_be_left_in_the_middle(server: Served) -> None:
    status, body = await (await server.get("/large")).reply()
    assert (status, len(body)) == (200, 20_000_002)
    caller = await server.get("/large")
    await caller.reader.read(1000)
    caller.hang_up(rudely=True)


async def test_requests_sent_at_once_on_one_connection_are_all_answered(server: Served) -> None:
    """The watcher of the first must not swallow what belongs to the second."""
    kept = b"POST /limited HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    caller = await Caller.send(server.backend.port, kept + request("GET", "/teapot"))
    assert b" 405 " in await caller.reader.readuntil(b"\r\n")
    assert b"at startup" in await caller.reader.read()
    caller.hang_up()
