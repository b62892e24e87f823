"""Calls from odd places: the end of a program, a client that is being closed, a running loop, the client's own functions.

What involves signals or the end of a program happens in a process of its own, with a time limit.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import lisn_sync
from lisn_async.sandbox import Sandbox
from lisn_sync import _calls
from lisn_sync._bridge import run, stream
from tests.fix_sync import Server, script, without_slowness

ROOT = Path(__file__).resolve().parent.parent
SPEC: dict[str, Any] = {"name": "x", "type": "text", "llm_provider": "openai", "system_prompt": "p"}
CLOSED = "this client is closed; make another, or enter it again with `async with` (`with` for Lisn)"


# --- a client that is being closed ------------------------------------------------------------------------------


@pytest.fixture
def half_a_reply() -> Iterator[tuple[str, threading.Event]]:
    """A server that sends half a body and waits; what is set when it has sent it."""
    listening = socket.create_server(("127.0.0.1", 0))
    sent = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n["
            )
            sent.set()
            connection.recv(1)  # until the client hangs up

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", sent
    thread.join(10)
    listening.close()


def test_closing_a_client_ends_a_call_whose_reply_is_half_read(
    half_a_reply: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    # aiohttp closes the connection then, and tells nobody.
    url, sent = half_a_reply
    client = lisn_sync.Lisn("token", base_url=url, timeout=20, max_retries=0)
    caught: list[Exception] = []

    def call() -> None:
        try:
            client.assistants.list()
        except Exception as error:  # noqa: BLE001
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert sent.wait(10)
    run(asyncio.sleep, 0.05)  # what was sent has been read, as far as it goes
    client.close()
    thread.join(10)
    assert [type(error) for error in caught] == [lisn_sync.APIConnectionError]
    assert "the reply broke off before its end" in str(caught[0])


def test_a_client_keeps_nothing_of_the_replies_that_it_has_read(lisn_sandbox: Sandbox) -> None:
    with lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url) as client:
        for _ in range(30):
            client.assistants.list()
        gc.collect()
        assert sum(isinstance(one, aiohttp.StreamReader) for one in gc.get_objects()) < 10


def test_closing_a_client_that_64_threads_use_ends_each_call_with_an_error_that_says_so(
    lisn_sandbox: Sandbox,
) -> None:
    client = lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url)
    ended: Counter[str] = Counter()
    made: list[str] = []
    busy = threading.Barrier(65)

    def work() -> None:
        made.append(client.assistants.create(**SPEC).id)
        busy.wait()
        while True:
            try:
                made.append(client.assistants.create(**SPEC).id)
            except lisn_sync.ConfigurationError as error:
                ended[error.message] += 1
                return
            except lisn_sync.APIConnectionError as error:
                ended["unknown" if error.outcome_unknown else "not sent"] += 1

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    busy.wait()
    client.close()
    client.close()
    for thread in threads:
        thread.join(20)
    assert ended.pop(CLOSED) == 64
    assert set(ended) <= {"unknown", "not sent"}
    with client:
        there = {one.id for one in client.assistants.list()}
    assert set(made) <= there
    assert len(there) - len(made) <= ended["unknown"]  # nothing was sent twice


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.assistants.list(),
        lambda client: client.assistants.create_many([SPEC]),
        lambda client: list(client.assistants.create_each([SPEC])),
    ],
)
def test_a_closed_client_says_so_and_may_be_entered_again(lisn_sandbox: Sandbox, use: Any) -> None:
    client = lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url)
    client.close()
    with pytest.raises(lisn_sync.ConfigurationError, match="this client is closed"):
        use(client)
    with client:
        use(client)


# --- the very end of a program ----------------------------------------------------------------------------------


def test_a_finalizer_that_closes_is_silent_also_when_the_interpreter_runs_it_last(server: Server) -> None:
    printed = script(
        """
        import sys, lisn_sync
        class Service:
            def __init__(self):
                self.client = lisn_sync.Lisn("token", base_url=sys.argv[1])
                self.box = lisn_sync.Sandbox()
            def use(self):
                self.client.assistants.get("a1")
                self.box.start()
                return self
            def __del__(self):
                self.client.close()
                self.box.stop()
                print("closed", flush=True)
        used, unused, in_a_cycle = Service().use(), Service(), Service().use()
        in_a_cycle.me = in_a_cycle
        """,
        server.url,
    )
    assert printed.split() == ["closed"] * 3


def test_a_finalizer_that_calls_at_the_very_end_is_told_that_it_is_too_late(server: Server) -> None:
    printed = script(
        """
        import sys, lisn_sync
        class Late:
            def __init__(self):
                self.client = lisn_sync.Lisn("token", base_url=sys.argv[1])
            def __del__(self):
                try:
                    self.client.assistants.get("a1")
                except RuntimeError as error:
                    print(error, flush=True)
        kept = Late()
        """,
        server.url,
    )
    assert printed == "lisn_sync was called after the end of the program\n"
    assert server.seen()["asked"] == []


@pytest.mark.parametrize("what", ["a client", "a sandbox"])
def test_what_a_finalizer_closes_in_the_loop_s_own_thread_is_closed_without_a_wait(
    server: Server, what: str
) -> None:
    # The collector runs wherever something is allocated, and that is there more often than not.
    script(
        """
        import asyncio, gc, json, sys, time, lisn_sync
        from urllib.request import urlopen
        from lisn_sync._bridge import run
        class Service:
            def __init__(self):
                self.me = self
                if sys.argv[2] == "a client":
                    self.close = lisn_sync.Lisn("token", base_url=sys.argv[1])
                    self.close.assistants.get("a1")
                else:
                    self.close = lisn_sync.Sandbox()
                    self.close.start()
            def __del__(self):
                self.close.close() if sys.argv[2] == "a client" else self.close.stop()
        gc.disable()
        Service()
        async def collect():
            began = time.monotonic()
            gc.collect()
            return time.monotonic() - began
        assert run(collect) < 1
        until = time.monotonic() + 10
        async def others():
            return len(asyncio.all_tasks()) - 2  # itself, and what keeps the loop
        while run(others) or json.load(urlopen(sys.argv[1] + "/seen"))["open"]:
            assert time.monotonic() < until
            time.sleep(0.01)
        """,
        server.url,
        what,
    )


# --- a running loop ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_in_a_call_in_a_running_loop_ends_it_within_seconds(server: Server) -> None:
    # `asyncio.run` raises nothing there: it cancels the task, and hears of the second Ctrl-C only.
    code = """
import asyncio, sys, lisn_sync
client = lisn_sync.Lisn("token", base_url=sys.argv[1], max_retries=0)
async def main():
    client.assistants.get("slow")
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print(client.assistants.get("a1").id)
"""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, server.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            server.when(lambda seen: seen["begun"] == 1)
            began = time.monotonic()
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=20)
        finally:
            program.kill()
    assert (out, without_slowness(err), program.returncode) == ("a1\n", "", 0)
    assert time.monotonic() - began < 5  # measured: 1
    server.when(lambda seen: seen["cancelled"] == 1)


@pytest.mark.parametrize("way", ["run", "stream"])
async def test_a_task_that_is_cancelled_while_it_calls_hears_of_it(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_calls, "PULSE", 0.05)
    cancelled, cancel = threading.Event(), threading.Event()

    async def wait() -> None:
        cancel.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def each() -> Any:
        await wait()
        yield 1

    async def call() -> None:
        here = asyncio.current_task()
        assert here is not None
        thread = threading.Thread(target=lambda: cancel.wait(10) and here.cancel())
        thread.start()
        if way == "run":
            run(wait)
        else:
            next(stream(each))

    task = asyncio.create_task(call())
    await asyncio.wait([task])
    assert task.cancelled()
    assert cancelled.is_set()


@pytest.mark.parametrize("way", ["run", "stream"])
async def test_a_task_that_was_cancelled_before_may_call_to_clean_up(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_calls, "PULSE", 0.01)
    cleaned_up = []

    async def clean_up() -> int:
        await asyncio.sleep(0.1)
        return 1

    async def each() -> Any:
        yield await clean_up()

    async def work() -> None:
        try:
            await asyncio.sleep(20)
        finally:
            cleaned_up.append(run(clean_up) if way == "run" else next(stream(each)))

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert cleaned_up == [1]


# --- a loop that cannot start -------------------------------------------------------------------------------------


def test_what_the_loop_cannot_import_ends_the_first_call_and_not_in_a_wait() -> None:
    script("""
        import sys
        sys.modules["encodings.idna"] = None  # as in a program that was frozen without it
        from lisn_sync._bridge import run
        async def give(value): return value
        for _ in range(2):
            try:
                run(give, 1)
            except RuntimeError as error:
                assert "could not start" in str(error) and isinstance(error.__cause__, ImportError), error
            else:
                raise AssertionError
        del sys.modules["encodings.idna"]
        assert run(give, 1) == 1
    """)


def test_a_thread_that_does_not_start_for_want_of_memory_ends_the_first_call_too() -> None:
    script("""
        import threading
        from lisn_sync._bridge import run
        async def give(value): return value
        def refuse(self): raise MemoryError
        start, threading.Thread.start = threading.Thread.start, refuse
        try:
            run(give, 1)
        except RuntimeError as error:
            assert "could not start" in str(error) and isinstance(error.__cause__, MemoryError), error
        else:
            raise AssertionError
        threading.Thread.start = start
        assert run(give, 1) == 1
    """)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_first_call_that_finds_no_file_descriptor_left_says_so_and_a_later_one_works(
    lisn_sandbox: Sandbox, loop: str
) -> None:
    # uvloop aborts the process if it finds fewer than it opens.
    script(
        """
        import os, resource, sys, lisn_sync
        client = lisn_sync.Lisn(sys.argv[2], base_url=sys.argv[1], max_retries=0)
        there = len(os.listdir("/dev/fd")) - 1
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        for left in range(12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (there + left, limit[1]))
            try:
                client.assistants.list()
                break
            except lisn_sync.APIConnectionError as error:
                assert "Too many open files" in str(error), error
            except RuntimeError as error:
                assert "could not start" in str(error) and isinstance(error.__cause__, OSError), error
        assert left > 5, left
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        assert client.assistants.list() == []
        """,
        lisn_sandbox.base_url,
        lisn_sandbox.token,
        loop=loop,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such numbers")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_program_without_standard_streams_can_call(lisn_sandbox: Sandbox, loop: str) -> None:
    # uvloop aborts the process when it closes one of the first three descriptors.
    script(
        """
        import os, sys
        for number in range(3): os.close(number)
        import lisn_sync
        with lisn_sync.Lisn(sys.argv[2], base_url=sys.argv[1]) as client:
            assert client.assistants.list() == []
        """,
        lisn_sandbox.base_url,
        lisn_sandbox.token,
        loop=loop,
    )


# --- the client's own functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["itself", "through another"])
def test_a_token_function_that_calls_its_own_client_is_an_error_at_once(
    lisn_sandbox: Sandbox, way: str
) -> None:
    def token() -> str:
        (client if way == "itself" else other).assistants.list()
        return lisn_sandbox.token

    def other_token() -> str:
        client.with_options(timeout=20).assistants.list()
        return lisn_sandbox.token

    client = lisn_sync.Lisn(token, base_url=lisn_sandbox.base_url)
    other = lisn_sync.Lisn(other_token, base_url=lisn_sandbox.base_url)
    with (
        client,
        other,
        pytest.raises(lisn_sync.ConfigurationError, match=r"called the client that is asking"),
    ):
        client.assistants.list()
    assert lisn_sandbox.seen == []


def test_a_token_function_may_use_another_client_and_start_what_uses_its_own_later(
    lisn_sandbox: Sandbox,
) -> None:
    later: list[asyncio.Task[Any]] = []

    async def token() -> str:
        if not later:
            later.append(asyncio.create_task(use_later()))
        return lisn_sandbox.token

    async def use_later() -> None:
        await asyncio.sleep(0)
        client._core._calls.traffic.tokens.now = None  # as after a 401
        await client._core.assistants.list()

    def token_of_another() -> str:
        client.assistants.list()
        return lisn_sandbox.token

    client = lisn_sync.Lisn(token, base_url=lisn_sandbox.base_url)
    with client, lisn_sync.Lisn(token_of_another, base_url=lisn_sandbox.base_url) as other:
        assert other.assistants.list() == []
        run(asyncio.wait_for, later[0], 10)


def test_a_middleware_that_calls_the_blocking_client_is_told_to_await(lisn_sandbox: Sandbox) -> None:
    async def middleware(request: Any, call_next: Any) -> Any:
        client.assistants.list()
        return await call_next(request)

    with (
        lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url, middleware=[middleware]) as client,
        pytest.raises(RuntimeError, match=r"must use lisn_async"),
    ):
        client.assistants.list()
    assert lisn_sandbox.seen == []
