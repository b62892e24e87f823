"""Refusing, dripping, garbage, pages, bombs and late commits, as a client sees them on a raw socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import io
import json
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lisn_async.sandbox import Fault, Sandbox
from lisn_async.sandbox._faults import BREAKAGES
from lisn_async.sandbox._late import LateCommits
from tests.test_sandbox import TEXT, ask
from tests.test_sandbox_faults import CREATE, raw

if TYPE_CHECKING:
    from pathlib import Path

LIST = b"GET /v1/assistants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer lisn-sandbox-token\r\n\r\n"
LAST_LIST = LIST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
A_DAY = 86_400


def port_of(box: Sandbox) -> int:
    return int(box.base_url.rsplit(":", 1)[1])


async def opened(box: Sandbox) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port_of(box))


async def one_reply(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of a reply on a connection that stays open."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


async def until_it_listens(box: Sandbox) -> bytes:
    """The reply to a listing, asked for until the port takes connections again."""
    while True:
        try:
            return await raw(box, LAST_LIST)
        except ConnectionRefusedError:
            await asyncio.sleep(0.005)


# refuse


async def test_a_port_that_refuses_really_refuses_and_listens_again_where_it_was(
    sandbox: Sandbox, time_passes: Callable[[float], None]
) -> None:
    sandbox.faults = [{"do": "refuse", "seconds": A_DAY, "when": "after"}]
    base_url = sandbox.base_url
    with pytest.raises(ConnectionResetError):
        await raw(sandbox)
    for seconds in (0, A_DAY - 1000):
        time_passes(seconds)
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await raw(sandbox)
    time_passes(1000)
    assert (await until_it_listens(sandbox)).endswith(b"}]")
    assert (sandbox.base_url, len(sandbox.assistants())) == (base_url, 1)
    assert [one.fault for one in sandbox.seen] == ["refuse", None]


async def test_idle_connections_end_with_it_and_a_request_under_way_goes_on(sandbox: Sandbox) -> None:
    idle_reader, idle_writer = await opened(sandbox)
    idle_writer.write(LIST)
    await one_reply(idle_reader)
    fresh_reader, fresh_writer = await opened(sandbox)
    busy_reader, busy_writer = await opened(sandbox)
    busy_writer.write(CREATE[:-1])
    await ask(sandbox, "GET")  # a reply proves that the sandbox has read so far

    sandbox.faults = [{"do": "refuse", "seconds": A_DAY, "operation": "list"}]
    with pytest.raises(ConnectionResetError):
        await raw(sandbox, LAST_LIST)
    assert await idle_reader.read() == b""
    assert await fresh_reader.read() == b""
    busy_writer.write(CREATE[-1:])
    assert (await one_reply(busy_reader))[0].startswith(b"HTTP/1.1 201 ")
    busy_writer.write(LIST)  # and its connection can be used on
    assert (await one_reply(busy_reader))[0].startswith(b"HTTP/1.1 200 ")
    for writer in (idle_writer, fresh_writer, busy_writer):
        writer.close()


async def test_the_longest_of_several_outages_counts(
    sandbox: Sandbox, time_passes: Callable[[float], None]
) -> None:
    opened_before = [await opened(sandbox) for _ in range(3)]
    for _, writer in opened_before:
        writer.write(CREATE[:-1])
    await ask(sandbox, "GET")
    sandbox.faults = [{"do": "refuse", "seconds": seconds} for seconds in (20, A_DAY, 0)]
    for reader, writer in opened_before:
        writer.write(CREATE[-1:])
        with pytest.raises(ConnectionResetError):
            await reader.read()
    time_passes(50)  # the first would be over
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await opened(sandbox)


async def test_an_outage_without_length_is_over_before_one_can_look(sandbox: Sandbox) -> None:
    for _ in range(3):
        sandbox.faults = [{"do": "refuse", "seconds": 0}]
        with pytest.raises(ConnectionResetError):
            await raw(sandbox)
        assert (await until_it_listens(sandbox)).endswith(b"[]")


async def test_nobody_else_gets_the_port_while_it_refuses(sandbox: Sandbox) -> None:
    sandbox.faults = [{"do": "refuse", "seconds": A_DAY}]
    with pytest.raises(ConnectionResetError):
        await raw(sandbox)
    code = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(port_of(sandbox))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert "Address already in use" in done.stderr


# drip


async def test_a_dripping_reply_is_the_true_one_in_many_pieces(sandbox: Sandbox) -> None:
    sandbox.faults = [{"do": "drip", "seconds": 0.1}]
    reader, writer = await opened(sandbox)
    writer.write(CREATE)
    begin, pieces = time.monotonic(), []
    while piece := await reader.read(65_536):
        pieces.append(piece)
    assert time.monotonic() - begin >= 0.1
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 Created\r\n")
    assert f"\r\nContent-Length: {len(body)}".encode() in head
    assert b"\r\nConnection: close" in head
    assert [json.loads(body)] == sandbox.assistants()
    assert len(pieces) > 2
    assert len(pieces[0]) < len(head)  # not even the head comes at once
    assert (sandbox.seen[0].status, sandbox.seen[0].fault) == (201, "drip")
    writer.close()


async def test_replies_without_a_body_and_replies_of_its_own_drip_as_well(sandbox: Sandbox) -> None:
    made = (await ask(sandbox, "POST", json=TEXT)).json["id"]
    sandbox.faults = [
        {"do": "drip", "seconds": 0, "operation": "delete"},
        {"do": "drip", "seconds": 0, "status": 503, "retry_after": 7, "headers": {"X-A": "b"}},
        {"do": "drip", "seconds": 0, "body": "[1]"},
        {"do": "drip", "seconds": 0},
    ]
    gone = await raw(sandbox, LIST.replace(b"GET /v1/assistants", f"DELETE /v1/assistants/{made}".encode()))
    assert gone.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert gone.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in gone
    assert sandbox.assistants() == []
    down = await ask(sandbox, "GET")
    assert (down.status, down.headers["Retry-After"], down.headers["X-A"]) == (503, "7", "b")
    assert (await ask(sandbox, "GET")).json == [1]
    head = await ask(sandbox, "HEAD")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "2", b"")


async def test_a_client_that_leaves_a_dripping_reply_is_seen_as_aborted(sandbox: Sandbox) -> None:
    sandbox.faults = [{"do": "drip", "seconds": A_DAY}]
    reader, writer = await opened(sandbox)
    writer.write(CREATE)
    await reader.read(1)
    writer.close()
    [aborted] = await sandbox.aborted(1)
    assert (aborted.fault, aborted.status, len(sandbox.assistants())) == ("drip", None, 1)


# garbage, html, bomb


async def test_garbage_is_no_http_and_can_be_anything(sandbox: Sandbox) -> None:
    sandbox.faults = ["garbage", {"do": "garbage", "body": b"\xff\x00", "when": "after"}]
    first = await raw(sandbox)
    assert first
    assert not first.startswith(b"HTTP/")
    assert sandbox.assistants() == []
    assert await raw(sandbox) == b"\xff\x00"
    assert len(sandbox.assistants()) == 1
    assert [one.status for one in sandbox.seen] == [None, None]


async def test_a_page_says_200_and_is_html_unless_it_is_told_otherwise(sandbox: Sandbox) -> None:
    page = {"do": "html", "status": 502, "body": "<b>x</b>", "headers": {"Content-Type": "text/x"}}
    sandbox.faults = ["html", page, {"do": "html", "when": "after"}]
    plain, own = await ask(sandbox, "POST", json=TEXT), await ask(sandbox, "POST", json=TEXT)
    assert (plain.status, plain.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert plain.body.startswith(b"<!doctype html>")
    assert (own.status, own.headers["Content-Type"], own.body) == (502, "text/x", b"<b>x</b>")
    assert sandbox.assistants() == []
    assert (await ask(sandbox, "POST", json=TEXT)).status == 200
    assert len(sandbox.assistants()) == 1


async def test_a_bomb_is_small_and_unpacks_to_200_mb_of_json(sandbox: Sandbox) -> None:
    sandbox.faults = ["bomb", {"do": "bomb", "status": 500}]
    head, _, packed = (await raw(sandbox, LAST_LIST)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Encoding: gzip\r\n" in head
    assert len(packed) < 250_000
    size, first, last = 0, b"", b""
    with gzip.open(io.BytesIO(packed)) as unpacked:  # reads to the end, and compares length and checksum
        while piece := unpacked.read(1 << 20):
            size, first, last = size + len(piece), first or piece[:40], piece[-3:]
    assert size > 200_000_000
    assert first.startswith(b'{"id":"ast_000000000000","name":"aaa')
    assert last == b'a"}'
    assert (await raw(sandbox, LAST_LIST)).startswith(b"HTTP/1.1 500 ")


# late


@pytest.mark.parametrize("do", BREAKAGES)
async def test_a_late_commit_comes_after_the_fault_and_whoever_has_gone(
    do: Any, time_passes: Callable[[float], None]
) -> None:
    async with Sandbox() as box:
        seconds = {"seconds": 0} if do in ("refuse", "drip") else {}
        box.faults = [Fault(do=do, status=500, when="late", delay=A_DAY, **seconds)]
        attempt = asyncio.create_task(raw(box, CREATE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
        await box.received(1)
        if do == "hang":
            attempt.cancel()
        await asyncio.wait([attempt])
        assert box.assistants() == []
        time_passes(A_DAY)
        await box.quiet()
        assert [one["name"] for one in box.assistants()] == [TEXT["name"]]
        attempt.cancelled() or attempt.exception()  # looked at, whatever it is


async def test_quiet_waits_for_all_late_commits_and_for_nothing_else(
    sandbox: Sandbox, time_passes: Callable[[float], None]
) -> None:
    await sandbox.quiet()
    late = {"status": 502, "when": "late"}
    sandbox.faults = [{**late, "delay": 2 * A_DAY}, {**late, "delay": A_DAY}, "hang"]
    for _ in range(2):
        assert (await ask(sandbox, "POST", json=TEXT)).status == 502
    hung = asyncio.create_task(raw(sandbox))
    await sandbox.received(3)
    assert (await ask(sandbox, "GET", "/_sandbox/snapshot")).json["late_commits"] == 2
    quiet = asyncio.gather(sandbox.quiet(), sandbox.quiet())
    time_passes(A_DAY)
    while len(sandbox.assistants()) < 1:
        await asyncio.sleep(0)
    assert not quiet.done()
    time_passes(A_DAY)
    await quiet
    assert len(sandbox.assistants()) == 2
    assert (await ask(sandbox, "GET", "/_sandbox/snapshot")).json["late_commits"] == 0
    hung.cancel()


async def test_a_wait_for_quiet_can_be_given_up_and_ends_with_a_reset(sandbox: Sandbox) -> None:
    sandbox.faults = [{"status": 502, "when": "late", "delay": A_DAY, "times": 2}]
    await ask(sandbox, "POST", json=TEXT)
    given_up = asyncio.create_task(sandbox.quiet())
    waiting = asyncio.create_task(sandbox.quiet())
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert not waiting.done()
    assert (await ask(sandbox, "POST", "/_sandbox/reset")).status == 204
    await waiting
    await ask(sandbox, "POST", json=TEXT)
    sandbox.faults = [{"status": 502, "when": "late", "delay": A_DAY}]
    await ask(sandbox, "POST", json=TEXT)
    sandbox.clear()
    await sandbox.quiet()
    assert sandbox.assistants() == []


async def test_quiet_can_be_awaited_in_another_loop(sandbox: Sandbox) -> None:
    sandbox.faults = [{"status": 502, "when": "late", "delay": 0.02}]
    await ask(sandbox, "POST", json=TEXT)
    await asyncio.to_thread(lambda: asyncio.run(sandbox.quiet()))
    assert len(sandbox.assistants()) == 1


async def test_a_dropped_commit_is_let_go_of_at_once() -> None:
    class Commit:
        def __call__(self) -> None:
            raise AssertionError("It was dropped.")

    late, commit = LateCommits(), Commit()
    gone = weakref.ref(commit)
    late.schedule(A_DAY, commit)
    late.drop()
    del commit
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None


async def test_a_late_commit_is_the_request_as_it_was_refused_or_not(
    sandbox: Sandbox, time_passes: Callable[[float], None]
) -> None:
    made = (await ask(sandbox, "POST", json=TEXT)).json["id"]
    sandbox.faults = [{"status": 502, "when": "late", "delay": A_DAY, "times": None}]
    await ask(sandbox, "POST", json={**TEXT, "type": "smell"})
    await ask(sandbox, "POST", json=TEXT, token="wrong")
    await ask(sandbox, "PATCH", f"/v1/assistants/{made}", json={"name": "later"})
    assert [one["name"] for one in sandbox.assistants()] == [TEXT["name"]]
    time_passes(A_DAY)
    await sandbox.quiet()
    assert [one["name"] for one in sandbox.assistants()] == ["later"]


# stopping


async def test_what_was_still_to_come_ends_with_the_sandbox_at_once(tmp_path: Path) -> None:
    file = tmp_path / "box.db"
    async with Sandbox(database=file) as box:
        box.faults = [
            {"do": "drip", "seconds": A_DAY},
            "hang",
            {"do": "close", "when": "late", "delay": A_DAY},
            {"do": "refuse", "seconds": A_DAY, "when": "late", "delay": A_DAY},
        ]
        slow = [asyncio.create_task(raw(box)) for _ in range(2)]
        await box.received(2)
        assert await raw(box) == b""
        with pytest.raises(ConnectionResetError):
            await raw(box)
        quiet = asyncio.create_task(box.quiet())
        await asyncio.sleep(0)
        begin = time.perf_counter()
    assert time.perf_counter() - begin < 60  # not a day
    await quiet
    await asyncio.gather(*slow, return_exceptions=True)
    await box.quiet()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    async with Sandbox(database=file) as box:
        assert len(box.assistants()) == 1  # of the reply that dripped; late ones were dropped


def test_a_loop_closed_in_the_middle_of_an_outage_warns_of_nothing() -> None:
    code = """
import asyncio
import contextlib
from lisn_async.sandbox import Sandbox
from tests.test_sandbox_faults import CREATE

async def main():
    for seconds in (0, 0, 0.001, 86400):
        async with Sandbox() as box:
            port = int(box.base_url.rsplit(":", 1)[1])
            box.faults = [
                {"do": "refuse", "seconds": seconds, "when": "late", "delay": 86400},
                {"do": "refuse", "seconds": seconds},
                {"do": "drip", "seconds": 86400},
            ]
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for _, writer in opened:
                writer.write(CREATE)
            await box.received(3)
        for reader, writer in opened:
            try:
                await reader.read()
            except ConnectionResetError:
                pass
            writer.close()

asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_is_just_being_accepted_ends_with_the_sandbox(loop: str, turns: int) -> None:
    """asyncio accepts in several turns of the loop. Left open, it would be a warning about a socket in some test."""

    async def main() -> bytes:
        async with Sandbox() as box:
            peer = socket.create_connection(("127.0.0.1", port_of(box)))
            for _ in range(turns):
                await asyncio.sleep(0)
        with peer:
            peer.settimeout(10)
            return peer.recv(1)

    factory = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner, contextlib.suppress(ConnectionResetError):
        assert runner.run(main()) == b""


@pytest.mark.parametrize("turns", range(10))
async def test_a_connection_that_is_just_being_accepted_ends_with_an_outage(
    sandbox: Sandbox, turns: int
) -> None:
    reader, writer = await opened(sandbox)
    sandbox.faults = [{"do": "refuse", "seconds": A_DAY}]
    writer.write(LIST)
    for _ in range(turns):
        await asyncio.sleep(0)
    with (
        contextlib.suppress(ConnectionRefusedError, ConnectionResetError),  # it is too late; or it is told so
        socket.create_connection(("127.0.0.1", port_of(sandbox))) as peer,
    ):
        peer.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
    with pytest.raises(ConnectionResetError):
        await reader.read()
