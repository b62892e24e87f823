"""Blocking views under gunicorn: the recipes for Flask and Django, in real workers with real signals.

One client is made at import time. With `--preload` that is in the master, which here also uses it, all the time: its
loop runs and its connection is open whenever a worker is forked.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

import lisn_sync
from lisn_async.sandbox import Sandbox

from .conftest import MISHAPS, TRIES, WITHIN, Program, Start, needs

pytestmark = needs("gunicorn", "flask", "django", "psutil")

APPS = pytest.mark.parametrize("app", ["flask_app:app", "django_wsgi_app:app"])

PROMPTLY = 20.0
"""Seconds that an end without requests under way may take: measured are 0.4 to 1.1. What hangs takes 30, gunicorn's own."""

MASTER_CALLS = """
import importlib, os, threading
import lisn_async._transport
lisn_async._transport.KEEP_ALIVE = 300  # however late the thread below comes to call: on the same connection

def when_ready(server):
    client = importlib.import_module(os.environ["APP"]).client
    client.assistants.list()
    print("the master called", flush=True)
    def call():
        while not server.is_over.wait(0.02):
            client.assistants.list()
        print("the master called to the end", flush=True)
    server.is_over = threading.Event()  # kept there: a reload reads this file anew
    server.calling = threading.Thread(target=call)
    server.calling.start()

def on_exit(server):
    server.is_over.set()
    server.calling.join()
"""
SAY_WHO = """
import os
control_socket_disable = True  # it would be one file in the home directory for all programs; 23 knows of none
keepalive = 60  # which is also how long a caller may take to send its request

def post_worker_init(worker):
    os.write(1, b"ready is %d\\n" % worker.pid)  # before, a signal to end may go to a handler of the master's

def post_request(worker, request, environ, response):
    os.write(1, b"answered by %d\\n" % worker.pid)  # in one piece, unlike print: others write at the same time
"""


class Served:
    """An app under gunicorn, as its callers see it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        port = program.wait_for(r"Listening at: http://127.0.0.1:(\d+)")[1]
        self.port = int(port)

    def get(self, assistant_id: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)
        try:
            connection.request("GET", f"/assistants/{assistant_id}")
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read()) if reply.status == 200 else None
        finally:
            connection.close()

    def wait_for_workers(self, count: int, *, after: int = 0) -> None:
        """Nothing, once so many workers have begun to serve."""
        for _ in range(count):
            after = self.program.wait_for(r"ready is \d+$", after=after).end()

    def answers_for(self, ids: dict[str, str], count: int) -> None:
        """Asks for every one of these assistants, 16 requests at a time: each answer must be its own."""
        asked = list(ids) * (count // len(ids))
        with ThreadPoolExecutor(16) as callers:
            for wanted, answer in zip(asked, callers.map(self.get, asked), strict=True):
                assert answer == (200, {"id": wanted, "name": ids[wanted]})


def gunicorn(start: Start, box: Sandbox, folder: Path, app: str, *options: str, config: str = "") -> Served:
    file = folder / "gunicorn.conf.py"
    file.write_text(config + SAY_WHO)
    command = ["-W", "error", "-m", "gunicorn", "--config", str(file), "--bind", "127.0.0.1:0", *options, app]
    return Served(start(*command, box=box, APP=app.partition(":")[0]))


def assistants_of(box: Sandbox, count: int) -> dict[str, str]:
    with lisn_sync.Lisn(box.token, base_url=box.base_url) as client:
        specs = (
            lisn_sync.AssistantCreate(name=f"n{number}", type="text", llm_provider="grok", system_prompt="p")
            for number in range(count)
        )
        client.assistants.create_many(specs).raise_for_failures()
    return {one["id"]: one["name"] for one in box.assistants()}


def ports(pid: int, box: Sandbox) -> set[int]:
    """The near ends of a process' connections with the sandbox."""
    import psutil

    far = int(box.base_url.rpartition(":")[2])
    return {
        one.laddr.port
        for one in psutil.Process(pid).net_connections("tcp")
        if one.raddr and one.raddr.port == far
    }


def workers_of(program: Program) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(program.pid).children()]


def is_running(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_ended_well(served: Served, workers: list[int], *, may_be_killed: bool = False) -> None:
    # What gunicorn itself leaves open: the socket that a blocking worker listens on, a killed worker's sign of life.
    own = rf"(<socket.* laddr=\('127.0.0.1', {served.port}\)|(file )?<_io.FileIO .* mode='rb\+' closefd=True)>\n"
    log = re.sub(
        rf"^(Exception ignored in: |ResourceWarning: unclosed ){own}",
        "",
        served.program.log,
        flags=re.MULTILINE,
    )
    assert not MISHAPS.search(log), log
    if may_be_killed:  # so gunicorn does it when there is no time left
        log = re.sub(r"^.*\[ERROR\] Worker \(pid:\d+\) was sent SIGKILL!.*\n", "", log, flags=re.MULTILINE)
    assert not re.search(r"\[(WARNING|ERROR|CRITICAL)\]", log), log
    until = time.monotonic() + WITHIN
    while any(map(is_running, workers)):  # the master does not wait for those that it kills
        assert time.monotonic() < until, workers
        time.sleep(0.01)


@APPS
def test_workers_forked_from_a_master_that_uses_the_client_answer_and_leave_its_connection_alone(
    start: Start, lisn_sandbox: Sandbox, tmp_path: Path, app: str
) -> None:
    ids = assistants_of(lisn_sandbox, 20)
    options = ["--preload", "--worker-class", "gthread", "--threads", "8", "--workers", "2"]
    served = gunicorn(start, lisn_sandbox, tmp_path, app, *options, config=MASTER_CALLS)
    served.program.wait_for("the master called")
    served.wait_for_workers(2)
    master = served.program.pid
    own = ports(master, lisn_sandbox)
    assert len(own) == 1

    first = workers_of(served.program)
    until = time.monotonic() + WITHIN
    while {int(pid) for pid in re.findall(r"answered by (\d+)", served.program.log)} != set(first):
        assert time.monotonic() < until, "one of two workers never answered"
        served.answers_for(ids, 200)
    theirs = [ports(pid, lisn_sandbox) - own for pid in first]
    assert len(theirs) == 2
    assert all(theirs)
    assert theirs[0].isdisjoint(theirs[1])

    so_far = len(served.program.log)
    served.program.process.send_signal(signal.SIGHUP)
    served.wait_for_workers(2, after=so_far)
    served.answers_for(ids, 200)
    assert ports(master, lisn_sandbox) == own

    workers = workers_of(served.program)
    status, seconds = served.program.stop()
    assert (status, seconds < PROMPTLY) == (0, True), seconds
    assert "the master called to the end" in served.program.log
    assert_ended_well(served, [*first, *workers])


@APPS
def test_workers_that_import_the_app_themselves_answer(
    start: Start, lisn_sandbox: Sandbox, tmp_path: Path, app: str
) -> None:
    ids = assistants_of(lisn_sandbox, 20)
    served = gunicorn(start, lisn_sandbox, tmp_path, app, "--workers", "2")
    served.wait_for_workers(2)
    served.answers_for(ids, 100)
    workers = workers_of(served.program)
    status, seconds = served.program.stop()
    assert (status, seconds < PROMPTLY) == (0, True), seconds
    assert_ended_well(served, workers)


def test_workers_told_to_end_with_requests_under_way_end_within_a_second_and_so_do_the_requests(
    start: Start, lisn_sandbox: Sandbox, tmp_path: Path
) -> None:
    lisn_sandbox.faults = [{"operation": "get", "do": "hang", "times": None}]
    options = ["--preload", "--worker-class", "gthread", "--threads", "4", "--graceful-timeout", "0"]
    took: list[float] = []
    while len(took) < TRIES and min(took, default=1) >= 1:
        served = gunicorn(start, lisn_sandbox, tmp_path, "flask_app:app", *options)
        served.wait_for_workers(1)
        sent = 4 * (len(took) + 1)
        with ThreadPoolExecutor(4) as callers:
            asked = [callers.submit(served.get, "ast_x") for _ in range(4)]
            asyncio.run(lisn_sandbox.received(sent, operation="get"))
            workers = workers_of(served.program)
            status, seconds = served.program.stop()
            took.append(seconds)
            assert status == 0
            assert {type(one.exception()) for one in asked} <= {RemoteDisconnected, ConnectionResetError}
        assert len(asyncio.run(lisn_sandbox.aborted(sent, operation="get"))) == sent
        assert_ended_well(served, workers, may_be_killed=True)
    assert min(took) < 1, took
