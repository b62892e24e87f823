"""The recipes of async backends as they stand, each under its real server in a process of its own.

Callers are sockets, and hang up by closing them, with FIN and with RST. What became of it is told by the sandbox,
by a relay in between, which sees the backend's connections from outside, and by the backend's process itself.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from lisn_async.sandbox import Sandbox

from .conftest import MISHAPS, TRIES, Program, Start, needs
from .fix_backends import Backend, Caller, Relay, backend, is_at_rest, to_create

UVICORN = ("--port", "0", "--timeout-graceful-shutdown", "0")
# In this process, not in one of its own; a connection on which nothing was sent yet may wait longer than five seconds.
HYPERCORN = ("--bind", "127.0.0.1:0", "--graceful-timeout", "0", "--workers", "0", "--keep-alive", "60")
LEFT_OPEN = re.compile("Unclosed|ResourceWarning|never awaited|was destroyed")


@attrs.frozen
class Case:
    """A recipe and the server it runs under."""

    command: tuple[str, ...]
    status: int
    """The exit status after SIGTERM: uvicorn raises the signal again once it is done, the others end with 0."""
    keeps_connections: bool = False
    """Whether idle connections to Lisn stay open as long as the application's own session pleases."""


def case(*command: str, status: int, packages: tuple[str, ...], **more: Any) -> Any:
    recipe = re.search(r"(\w+)_app", " ".join(command))
    assert recipe is not None
    server = "aiohttp" if command[0].endswith(".py") else command[0]
    return pytest.param(
        Case(command, status, **more),
        id=f"{recipe[1]}-{server}",
        marks=[needs(*packages), pytest.mark.timeout(180)],
    )


CASES = [
    case("uvicorn", "fastapi_app:app", *UVICORN, status=-signal.SIGTERM, packages=("fastapi", "uvicorn")),
    case("hypercorn", "fastapi_app:app", *HYPERCORN, status=0, packages=("fastapi", "hypercorn")),
    case(
        "uvicorn", "starlette_app:app", *UVICORN, "--loop", "asyncio", "--http", "h11",
        status=-signal.SIGTERM, packages=("starlette", "uvicorn"),
    ),
    case("uvicorn", "litestar_app:app", *UVICORN, status=-signal.SIGTERM, packages=("litestar", "uvicorn")),
    case("hypercorn", "quart_app:app", *HYPERCORN, status=0, packages=("quart", "hypercorn")),
    case("uvicorn", "quart_app:app", *UVICORN, status=-signal.SIGTERM, packages=("quart", "uvicorn")),
    case("uvicorn", "django_asgi_app:app", *UVICORN, status=-signal.SIGTERM, packages=("django", "uvicorn")),
    case("hypercorn", "django_asgi_app:app", *HYPERCORN, status=0, packages=("django", "hypercorn")),
    case("recipes/aiohttp_web_app.py", status=0, packages=("aiohttp",)),
    case("recipes/aiohttp_web_shared_session_app.py", status=0, packages=("aiohttp",), keeps_connections=True),
]  # fmt: skip


@pytest.fixture
async def relay(lisn_sandbox: Sandbox) -> AsyncIterator[Relay]:
    async with Relay(lisn_sandbox).listening() as relay:
        yield relay


@pytest.fixture(params=CASES)
def run(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def running(run: Case, relay: Relay) -> AsyncIterator[Backend]:
    async with backend(*run.command, box=relay, PORT="0") as backend_:
        yield backend_


async def test_200_callers_of_whom_one_in_ten_hangs_up_midway_leave_nothing_behind(
    run: Case, running: Backend, relay: Relay, lisn_sandbox: Sandbox
) -> None:
    box = lisn_sandbox
    await (await running.create("warm-up")).reply()
    before = await running.until(lambda report: set(report["peers"]) <= {str(relay.port)})
    assert before["free"] == [100]

    # Ten hang in the sandbox, ninety wait for replies that the relay holds back, a hundred for a slot.
    box.faults = [{"do": "hang", "operation": "create", "times": 10}]
    relay.gate.clear()
    hanging = [await running.create(f"hanging {number}") for number in range(10)]
    await box.received(11)
    stayers = [await running.create(f"stayer {number}") for number in range(90)]
    await box.received(101)
    waiting = [await running.create(f"waiting {number}") for number in range(10)]
    stayers += [await running.create(f"stayer {number}") for number in range(90, 180)]
    await running.until(lambda report: report["waiting"] == [100])
    assert len(relay.open) == 100

    # First those who wait: else one of them may be given a slot that another has left, before it is seen to leave.
    for number, leaver in enumerate(waiting):
        leaver.hang_up(rudely=number % 2 == 0)
    await running.until(lambda report: report["waiting"] == [90])
    for number, leaver in enumerate(hanging):
        leaver.hang_up(rudely=number % 2 == 0)
    left = await box.aborted(10)
    assert {request.json()["name"] for request in left} == {f"hanging {number}" for number in range(10)}
    await running.until(lambda report: report["waiting"] == [80])  # ten have the slots of those who left

    relay.gate.set()
    replies = await asyncio.gather(*(stayer.json() for stayer in stayers))
    assert {status for status, _ in replies} <= {200, 201}
    made = {
        assistant["id"]: assistant["name"] for assistant in box.assistants() if assistant["name"] != "warm-up"
    }
    assert {reply["id"] for _, reply in replies} == set(made)
    assert sorted(made.values()) == sorted(f"stayer {number}" for number in range(180))
    assert len(box.seen) == 191  # those who left while they waited for a slot sent nothing

    def is_over(report: dict[str, Any]) -> bool:
        to_lisn = report["peers"].pop(str(relay.port), 0)
        is_let_go = to_lisn == len(relay.open) <= (100 if run.keeps_connections else 0)
        return is_at_rest(report, before) and not report["peers"] and is_let_go

    await running.until(is_over)
    assert (await running.stop())[0] == run.status
    await relay.deserted()
    assert not MISHAPS.search(running.program.log), running.program.log


async def test_sigterm_with_requests_in_flight_ends_the_process_within_a_second(
    run: Case, relay: Relay, lisn_sandbox: Sandbox
) -> None:
    if run.command[0] == "hypercorn" and sys.version_info >= (3, 12):
        pytest.skip(
            "Hypercorn lets requests in flight end: it awaits Server.wait_closed(), which does since 3.12.1"
        )
    lisn_sandbox.faults = [{"do": "hang", "operation": "create", "times": None}]
    took = []
    while len(took) < TRIES and min(took, default=1) >= 1:
        async with backend(*run.command, box=relay, PORT="0") as running:
            callers = [await running.create(f"in flight {number}") for number in range(20)]
            sent = 20 * (len(took) + 1)
            await lisn_sandbox.received(sent)
            status, seconds = await running.stop()
            took.append(seconds)
            assert status == run.status
            assert len(await lisn_sandbox.aborted(sent)) == sent
            # Where the signal itself ends the process, nothing is said; elsewhere the loop, and with it the client, was
            # closed.
            assert running.last_words() == ([] if status == -signal.SIGTERM else [{"open sessions": 0}])
            # Servers log the requests that they cancelled, with a traceback each. What is left open is another matter.
            assert not LEFT_OPEN.search(running.program.log), running.program.log
            for caller in callers:
                caller.hang_up()
    assert min(took) < 1, took
    assert lisn_sandbox.assistants() == []


@pytest.mark.parametrize("recipe", ["fastapi", "django_asgi"])
@needs("fastapi", "django", "uvicorn")
async def test_ctrl_c_closes_the_client_with_or_without_a_lifespan(
    recipe: str, relay: Relay, lisn_sandbox: Sandbox
) -> None:
    async with backend("uvicorn", f"{recipe}_app:app", *UVICORN, box=relay) as running:
        lisn_sandbox.faults = [{"do": "hang", "operation": "create", "times": None}]
        callers = [await running.create(f"in flight {number}") for number in range(20)]
        await lisn_sandbox.received(20)
        assert (await running.stop(signal.SIGINT))[0] == 0
        assert running.last_words() == [{"open sessions": 0}]
        assert not LEFT_OPEN.search(running.program.log), running.program.log
        for caller in callers:
            caller.hang_up()


GUNICORN = (
    *("gunicorn", "--preload", "--workers", "2", "--worker-class", "asgi", "--graceful-timeout", "0"),
    *("--bind", "127.0.0.1:0", "--no-control-socket"),
)


@pytest.mark.parametrize(
    ("command", "serving", "status"),
    [
        pytest.param(GUNICORN, "ASGI server listening", 0, id="gunicorn", marks=needs("fastapi", "gunicorn")),
        pytest.param(
            ("uvicorn", "--workers", "2", *UVICORN), "startup complete", 0, id="uvicorn",
            marks=needs("fastapi", "uvicorn"),
        ),
    ],
)  # fmt: skip
async def test_several_workers_serve_and_end_within_a_second_with_requests_in_flight(
    start: Start,
    relay: Relay,
    lisn_sandbox: Sandbox,
    command: tuple[str, ...],
    serving: str,
    status: int,
) -> None:
    took: list[float] = []
    while len(took) < TRIES and min(took, default=1) >= 1:
        program = start("-m", *command, "fastapi_app:app", box=relay)
        assert (await _serves_and_ends(program, relay, lisn_sandbox, serving, took)) == status, program.log
    assert min(took) < 1, took


async def _serves_and_ends(
    program: Program, relay: Relay, box: Sandbox, serving: str, took: list[float]
) -> int:
    """The exit status."""
    running = r"(?:Listening at:|running on) http://[\d.]+:(\d+)"
    port = int((await asyncio.to_thread(program.wait_for, running))[1])
    await asyncio.to_thread(program.wait_for, rf"(?s){serving}.*{serving}")

    async def create(name: str) -> Caller:
        return await Caller.send(port, to_create(name))

    box.faults = []
    before, aborted = len(box.seen), sum(request.aborted for request in box.seen)
    known = {assistant["id"] for assistant in box.assistants()}
    callers = [await create(f"stayer {number}") for number in range(60)]
    replies = await asyncio.gather(*(caller.json() for caller in callers))
    made = {assistant["id"] for assistant in box.assistants()} - known
    assert {reply["id"] for _, reply in replies} == made
    assert len(replies) == len(made) == 60

    box.faults = [{"do": "hang", "operation": "create", "times": None}]
    callers = [await create(f"leaver {number}") for number in range(20)]
    await box.received(before + 80)
    for caller in callers[:10]:
        caller.hang_up()
    await box.aborted(aborted + 10)
    status, seconds = await asyncio.to_thread(program.stop)
    took.append(seconds)
    await box.aborted(aborted + 20)
    await relay.deserted()
    for caller in callers:
        caller.hang_up()
    # The masters leave files and sockets of their own open, which is another matter.
    assert not re.search("Unclosed|never awaited|was destroyed", program.log), program.log
    return status
