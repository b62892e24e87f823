"""One client in many processes and threads at once: `multiprocessing` in its three ways, and forks amid 64 callers.

While children come and go the parent's threads go on calling, so forks also happen in the middle of calls. The server
tells which connection each request came over.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lisn_async
import lisn_sync
from lisn_async.sandbox import Sandbox
from tests.fix_sync import ROOT, Server, script, without_slowness

from .conftest import WITHIN

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

POOL = """
import multiprocessing, os, ssl, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork while there are threads
import lisn_async._transport, lisn_sync
lisn_async._transport.KEEP_ALIVE = 300  # a thread that is late does not find its connection closed

context = ssl.create_default_context(cafile=os.environ["CERTIFICATE"]) if os.environ["CERTIFICATE"] else None
client = lisn_sync.Lisn("token", base_url=os.environ["URL"], ssl_context=context, max_retries=0)

def ask(number):
    assert client.assistants.get(f"child{number}").id == f"child{number}"
    return number, os.getpid()

def call_until(is_over, started):
    while not is_over.is_set():
        assert client.assistants.get("parent").id == "parent"
        started.set()
        is_over.wait(0.02)
    print("parent done", flush=True)

if __name__ == "__main__":
    is_over, started = threading.Event(), threading.Event()
    thread = threading.Thread(target=call_until, args=(is_over, started))
    thread.start()
    started.wait()
    way = multiprocessing.get_context(sys.argv[1])
    with way.Pool(3, maxtasksperchild=5) as pool:
        found = pool.map(ask, range(20), chunksize=1)
        pool.close()
        pool.join()
    assert [number for number, _ in found] == list(range(20))
    assert len({pid for _, pid in found} - {os.getpid()}) >= 3
    one = way.Process(target=ask, args=(99,))
    one.start()
    one.join()
    assert one.exitcode == 0
    is_over.set()
    thread.join()
"""


@needs_fork
@pytest.mark.parametrize(
    ("way", "transport"), [("fork", "http"), ("fork", "https"), ("spawn", "http"), ("forkserver", "https")]
)
def test_a_client_of_the_module_works_in_every_process_of_a_pool_while_the_parent_keeps_its_connection(
    request: pytest.FixtureRequest, tmp_path: Path, way: str, transport: str
) -> None:
    certificate = request.getfixturevalue("certificate") if transport == "https" else ""
    program = tmp_path / "program.py"
    program.write_text(POOL)
    server = Server(certificate)
    try:
        environment = {**os.environ, "URL": server.url, "CERTIFICATE": certificate, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-X", "dev", "-W", "error", str(program), way]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=WITHIN, check=False
        )
        asked = server.seen()["asked"]
    finally:
        server.stop()
    assert (done.returncode, done.stdout, without_slowness(done.stderr)) == (0, "parent done\n", "")
    own = {port for who, port in asked if who == "parent"}
    theirs = {port for who, port in asked if who != "parent"}
    assert len(own) == 1, own
    assert len(theirs) >= 4
    assert own.isdisjoint(theirs)


def test_no_client_can_be_given_to_a_process_which_would_show_its_token(lisn_sandbox: Sandbox) -> None:
    used = lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url)
    used.assistants.list()
    for client in (
        used,
        used.with_options(timeout=1),
        lisn_sync.Lisn("token"),
        lisn_async.AsyncLisn("token"),
    ):
        with pytest.raises(TypeError, match="a client cannot be pickled"):
            pickle.dumps(client)


FORKS = """
import gc, os, ssl, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import lisn_async._transport, lisn_sync
lisn_async._transport.KEEP_ALIVE = 300

context = ssl.create_default_context(cafile=sys.argv[2]) if sys.argv[2] else None
def new_client():
    return lisn_sync.Lisn("token", base_url=sys.argv[1], ssl_context=context, max_retries=0)
client, mine, wrong = new_client(), threading.local(), []
is_over, all_call = threading.Event(), threading.Barrier(65)

def call(number):
    # Every eighth thread has a client that nobody else knows: a child lets go of it before any hook of ours runs.
    mine.client = client if number % 8 else new_client()
    mine.client.assistants.get("first")
    all_call.wait()
    count = 0
    while not is_over.wait(0.02):  # so some are always in calls, and the children get a share of the processor
        count += 1
        wanted = f"parent{number}x{count}"
        try:
            if mine.client.assistants.get(wanted).id != wanted:
                wrong.append(wanted)
        except BaseException as error:
            wrong.append(error)

threads = [threading.Thread(target=call, args=(number,)) for number in range(64)]
for thread in threads: thread.start()
all_call.wait()
for number in range(12):
    pid = os.fork()
    if not pid:
        status = 1
        try:
            for count in range(3):
                assert client.assistants.get(f"child{number}").id == f"child{number}"
                gc.collect()
            if number % 3 == 0:
                client.close()
            status = 0
        finally:
            if number % 2:
                sys.exit(status)
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
is_over.set()
for thread in threads: thread.join()
assert wrong == [], wrong[:5]
print("done")
"""


@needs_fork
@pytest.mark.parametrize(
    ("transport", "loop"), [("http", "asyncio"), ("https", "asyncio"), ("https", "uvloop")]
)
@pytest.mark.timeout(240)
def test_forks_while_64_threads_are_in_calls_disturb_none_of_them(
    request: pytest.FixtureRequest, transport: str, loop: str
) -> None:
    certificate = request.getfixturevalue("certificate") if transport == "https" else ""
    server = Server(certificate)
    try:
        assert script(FORKS, server.url, certificate, loop=loop, seconds=200) == "done\n"
        asked = server.seen()["asked"]
    finally:
        server.stop()
    theirs = [port for who, port in asked if who.startswith("child")]
    own = {port for who, port in asked if not who.startswith("child")}
    assert len(theirs) == 12 * 3
    assert own.isdisjoint(theirs)
    assert len(own) <= 64, "some connection of the parent had to be opened anew"


def test_64_threads_of_one_client_get_each_their_own_answers(lisn_sandbox: Sandbox) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for count in range(10):
                name = f"n{number}x{count}"
                made = client.assistants.create(
                    name=name, type="text", llm_provider="grok", system_prompt="p"
                )
                found = client.assistants.get(made.id)
                changed = client.assistants.update(made.id, system_prompt=f"for {name}")
                if (made.name, found, changed.name) != (name, made, name):
                    wrong.append((name, made, found, changed))
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    with lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url) as client:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WITHIN)
    assert wrong == []
    rows = lisn_sandbox.assistants()
    assert {one["system_prompt"] for one in rows} == {f"for {one['name']}" for one in rows}
    assert len({one["name"] for one in rows}) == len(rows) == 640
    assert len(lisn_sandbox.seen) == 3 * 640
