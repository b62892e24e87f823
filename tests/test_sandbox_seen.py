"""What the sandbox saw, and waiting for it from any loop or thread; the same over the control plane."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lisn_async.sandbox import SeenRequest
from lisn_async.sandbox._seen import SeenLog
from tests.test_sandbox import TEXT, ask

if TYPE_CHECKING:
    from lisn_async.sandbox import Sandbox


async def test_a_request_is_seen_as_it_travelled(sandbox: Sandbox) -> None:
    body = json.dumps(TEXT, indent=3).encode()
    await ask(sandbox, "POST", "/api/v1/assistants?x=%20&y=1", data=body, headers={"X-Mine": "1"})
    [seen] = sandbox.seen
    assert (seen.sequence, seen.method, seen.path) == (1, "POST", "/api/v1/assistants")
    assert (seen.query, seen.operation, seen.status) == ("x=%20&y=1", "create", 201)
    assert (seen.body, seen.json()) == (body, TEXT)
    assert seen.headers["authorization"] == seen.headers["AUTHORIZATION"] == "Bearer lisn-sandbox-token"
    assert seen.headers["x-mine"] == "1"
    assert (seen.aborted, seen.fault) == (False, None)


async def test_a_path_is_kept_undecoded_and_an_unknown_one_has_no_operation(sandbox: Sandbox) -> None:
    await ask(sandbox, "GET", "/v1/assistants/ast_%31")
    await ask(sandbox, "PUT", "/v1/assistants")
    await ask(sandbox, "GET", "/nowhere")
    assert [(one.path, one.operation, one.status) for one in sandbox.seen] == [
        ("/v1/assistants/ast_%31", "get", 404),
        ("/v1/assistants", None, 405),
        ("/nowhere", None, 404),
    ]


async def test_neither_token_nor_body_shows_in_the_repr(sandbox: Sandbox) -> None:
    await ask(sandbox, "POST", json={**TEXT, "webhook_secret": "hush-hush"})
    assert "lisn-sandbox-token" not in repr(sandbox.seen)
    assert "hush-hush" not in repr(sandbox.seen)


async def test_seen_is_a_snapshot_and_clearing_it_makes_the_sandbox_forget(sandbox: Sandbox) -> None:
    await ask(sandbox, "GET")
    before = sandbox.seen
    await ask(sandbox, "GET")
    assert (len(before), len(sandbox.seen)) == (1, 2)
    sandbox.seen.clear()
    assert sandbox.seen == []
    await ask(sandbox, "GET")
    assert [one.sequence for one in sandbox.seen] == [3]


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_seen_as_aborted(sandbox: Sandbox) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.base_url.rsplit(":", 1)[1]))
    writer.write(b"POST /v1/assistants HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{half")
    # Only a reply proves that the sandbox has read so far: the loop reads sockets in order.
    await ask(sandbox, "GET")
    writer.close()
    [seen] = await sandbox.aborted(1)
    assert (seen.operation, seen.body, seen.status) == ("create", b"{half", None)


async def test_waiting_ends_with_the_request_that_was_waited_for(sandbox: Sandbox) -> None:
    lists = asyncio.create_task(sandbox.received(2, operation="list"))
    any_one = asyncio.create_task(sandbox.answered(1))
    await ask(sandbox, "POST", json=TEXT)
    assert [one.operation for one in await any_one] == ["create"]
    await ask(sandbox, "GET")
    assert not lists.done()
    await ask(sandbox, "GET")
    assert [one.operation for one in await lists] == ["list", "list"]


async def test_what_was_there_already_counts_and_waiting_in_vain_ends_with_numbers(sandbox: Sandbox) -> None:
    await ask(sandbox, "GET")
    assert len(await sandbox.received(1)) == 1
    with pytest.raises(TimeoutError, match=r"Only 1 of 2 requests arrived within 0\.01 s\."):
        await sandbox.received(2, within=0.01)


async def test_a_wait_given_up_leaves_nothing_behind() -> None:
    log = SeenLog()
    waiting = asyncio.create_task(log.wait(lambda _: True, 1, 10, "arrived"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    log.add(SeenRequest(sequence=1, method="GET", path="/", headers={}))
    assert log._waiting == []


async def test_what_came_in_the_turn_in_which_the_time_was_up_is_no_timeout() -> None:
    """As after a machine that stood still: by its clock all of it was too late, and all of it is there."""
    log = SeenLog()
    waiting = asyncio.create_task(log.wait(lambda _: True, 1, 0.01, "arrived"))
    await asyncio.sleep(0)
    time.sleep(0.02)
    log.add(SeenRequest(sequence=1, method="GET", path="/", headers={}))
    assert len(await waiting) == 1
    assert log._waiting == []


async def test_another_thread_with_a_loop_of_its_own_can_wait(sandbox: Sandbox) -> None:
    found: list[list[SeenRequest]] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(sandbox.answered(3))))
    thread.start()
    for _ in range(3):
        await ask(sandbox, "GET")
    await asyncio.to_thread(thread.join)
    assert [[one.status for one in some] for some in found] == [[200, 200, 200]]


async def test_the_control_plane_shows_and_resets_what_is_inside(sandbox: Sandbox) -> None:
    made = (await ask(sandbox, "POST", json=TEXT)).json
    await ask(sandbox, "POST", data=b"\xff")
    seen = (await ask(sandbox, "GET", "/_sandbox/seen")).json
    assert [(one["operation"], one["status"]) for one in seen] == [("create", 201), ("create", 400)]
    assert json.loads(seen[0]["body"]) == TEXT
    assert (seen[1]["body"], seen[1]["body_base64"]) == (None, "/w==")
    assert ["Content-Type", "application/json"] in seen[0]["headers"]

    snapshot = (await ask(sandbox, "GET", "/_sandbox/snapshot")).json
    commit = {"number": 1, "operation": "create", "assistant_id": made["id"]}
    assert snapshot == {"assistants": [made], "commits": [commit], "late_commits": 0}

    sandbox.faults = [500]
    assert (await ask(sandbox, "POST", "/_sandbox/reset")).status == 204
    assert [sandbox.assistants(), sandbox.commits(), sandbox.seen, list(sandbox.faults)] == [[]] * 4


async def test_faults_can_be_set_over_http_and_a_wrong_one_changes_nothing(sandbox: Sandbox) -> None:
    answer = await ask(sandbox, "PUT", "/_sandbox/faults", json=["cut", {"do": "status", "status": 503}])
    assert answer.json == [
        {"do": "cut", "when": "after"},
        {"do": "status", "status": 503, "when": "before"},
    ]
    refused = await ask(sandbox, "PUT", "/_sandbox/faults", json=["explode"])
    assert refused.status == 422
    assert "no fault 'explode'" in refused.json["error"]["message"]
    assert (await ask(sandbox, "PUT", "/_sandbox/faults", data=b"{")).status == 400
    assert (await ask(sandbox, "GET", "/_sandbox/faults")).json == answer.json
    assert sandbox.faults == ["cut", 503]
