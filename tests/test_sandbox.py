"""The sandbox from outside: started, asked over real HTTP with a plain client, stopped. Never the SDK."""

from __future__ import annotations

import asyncio
import io
import json
import math
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest
from yarl import URL

from lisn_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

VOICE = {
    "name": "Sales Analyzer",
    "type": "voice",
    "stt_provider": "elevenlabs",
    "llm_provider": "openai",
    "system_prompt": "Analyze this call transcript...",
}
TEXT = {"name": "Sorter", "type": "text", "llm_provider": "grok", "system_prompt": "Sort."}


@attrs.frozen
class Answer:
    """A reply, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def wrong(self) -> set[str]:
        """The fields that a 422 names."""
        return set(self.json["error"]["fields"])


async def ask(
    box: Sandbox,
    method: str,
    path: str = "/v1/assistants",
    *,
    json: object = None,
    data: bytes | None = None,
    chunked: bool = False,
    headers: Mapping[str, str] | None = None,
    token: str | None = "lisn-sandbox-token",
) -> Answer:
    """One request on a connection of its own."""
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    if data is not None:
        sent["Content-Type"] = "application/json"
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method,
            URL(box.base_url + path, encoded=True),  # or aiohttp would tidy up `..` and `%2e` first
            json=json,
            data=_in_pieces(data) if chunked else data and io.BytesIO(data),
            headers={**sent, **(headers or {})},
        ) as reply,
    ):
        return Answer(reply.status, reply.headers, await reply.read())


async def _in_pieces(data: bytes | None) -> AsyncIterator[bytes]:
    for start in range(0, len(data or b""), 65536):
        yield (data or b"")[start : start + 65536]


async def test_an_assistant_can_be_created_read_changed_duplicated_listed_and_deleted(
    sandbox: Sandbox,
) -> None:
    made = await ask(sandbox, "POST", json=VOICE)
    assert made.status == 201
    path = f"/v1/assistants/{made.json['id']}"
    assert (await ask(sandbox, "GET", path)).json == made.json

    changed = await ask(sandbox, "PATCH", path, json={"name": "Updated Analyzer Name"})
    assert changed.status == 200
    assert changed.json == {
        **made.json,
        "name": "Updated Analyzer Name",
        "updated_at": changed.json["updated_at"],
    }

    copy = await ask(sandbox, "POST", f"{path}/duplicate")
    assert copy.status == 201
    assert copy.json["id"] != made.json["id"]
    own = ("id", "created_at", "updated_at")
    assert {k: v for k, v in copy.json.items() if k not in own} == {
        k: v for k, v in changed.json.items() if k not in own
    }
    assert (await ask(sandbox, "GET")).json == [changed.json, copy.json] == sandbox.assistants()

    gone = await ask(sandbox, "DELETE", path)
    assert (gone.status, gone.body) == (204, b"")
    assert (await ask(sandbox, "GET", path)).status == 404
    assert (await ask(sandbox, "DELETE", path)).status == 404
    assert sandbox.assistants() == [copy.json]


async def test_both_addresses_of_the_documentation_lead_to_the_same_assistants(sandbox: Sandbox) -> None:
    made = await ask(sandbox, "POST", "/api/v1/assistants", json=TEXT)
    assert (await ask(sandbox, "GET", f"/v1/assistants/{made.json['id']}")).json == made.json
    assert (await ask(sandbox, "GET", "/api/v1/assistants")).json == (await ask(sandbox, "GET")).json


async def test_a_listing_is_in_order_of_creation_whatever_was_changed_since(sandbox: Sandbox) -> None:
    ids = [(await ask(sandbox, "POST", json={**TEXT, "name": name})).json["id"] for name in "zbya"]
    await ask(sandbox, "PATCH", f"/v1/assistants/{ids[2]}", json={"name": "A"})
    assert [one["id"] for one in (await ask(sandbox, "GET")).json] == ids


async def test_the_same_seed_and_calls_give_the_same_replies_and_another_seed_other_ids() -> None:
    async def replies(seed: int) -> list[bytes]:
        async with Sandbox(seed=seed) as box:
            made = await ask(box, "POST", json=TEXT)
            copy = await ask(box, "POST", f"/v1/assistants/{made.json['id']}/duplicate")
            return [made.body, copy.body]

    assert await replies(1) == await replies(1) != await replies(2)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic lisn-sandbox-token", "lisn-sandbox-token",
     "Bearer lisn-sandbox-token x", "Bearer lisn-sandbox-tokenä"],
)  # fmt: skip
async def test_without_the_right_bearer_there_is_401_and_nothing_happens(
    sandbox: Sandbox, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in [("POST", "/v1/assistants"), ("GET", "/v1/assistants"), ("POST", "/_sandbox/reset")]:
        reply = await ask(sandbox, method, path, json=TEXT, headers=headers, token=None)
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert sandbox.assistants() == []


async def test_the_scheme_of_the_bearer_is_read_without_regard_to_case(sandbox: Sandbox) -> None:
    reply = await ask(sandbox, "GET", headers={"Authorization": "bearer lisn-sandbox-token"}, token=None)
    assert reply.status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/assistants/", "/v1/assistants/x/y", "/v1/assistants/a/duplicate/", "/v2/assistants",
     "/v1/assistants/a%2Fb", "/v1/assistants/%2e%2e", "/v1/assistants/" + "a" * 129, "/api/api/v1/assistants",
     "/_sandbox/", "/_sandbox/nothing", "/v1/assistants/%ff", "/v1/assistants/ast_%C3%A9"],
)  # fmt: skip
async def test_an_unknown_path_is_404_for_every_method(sandbox: Sandbox, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        reply = await ask(sandbox, method, path, json={})
        assert (reply.status, reply.json["error"]["type"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/assistants", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/v1/assistants", "GET, HEAD, POST, OPTIONS"),
        ("PUT", "/v1/assistants/ast_x", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("POST", "/v1/assistants/ast_x", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("GET", "/v1/assistants/ast_x/duplicate", "POST, OPTIONS"),
        ("REPORT", "/v1/assistants", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_405_and_told_which_it_has(
    sandbox: Sandbox, method: str, path: str, allow: str
) -> None:
    reply = await ask(sandbox, method, path)
    assert (reply.status, reply.headers["Allow"]) == (405, allow)
    options = await ask(sandbox, "OPTIONS", path, token=None)
    assert (options.status, options.headers["Allow"], options.body) == (204, allow, b"")


async def test_head_has_the_head_of_get_and_no_body(sandbox: Sandbox) -> None:
    await ask(sandbox, "POST", json=TEXT)
    head, full = await ask(sandbox, "HEAD"), await ask(sandbox, "GET")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == full.headers["Content-Length"] == str(len(full.body))


async def test_every_reply_has_a_request_id_of_its_own(sandbox: Sandbox) -> None:
    asked = [
        ("GET", "/v1/assistants"),
        ("GET", "/nowhere"),
        ("PUT", "/v1/assistants"),
        ("GET", "/openapi.json"),
    ]
    ids = [(await ask(sandbox, *one)).headers["X-Request-Id"] for one in asked]
    assert len(set(ids)) == len(asked)
    assert [one.request_id for one in sandbox.seen] == ids[:3]


async def test_making_a_sandbox_opens_nothing_and_using_it_too_early_says_so() -> None:
    box = Sandbox(database="/nowhere/at/all.db", port=1)
    for use in (lambda: box.base_url, box.assistants, box.commits, box.clear):
        with pytest.raises(RuntimeError, match="not"):
            use()
    await box.stop()


async def test_a_sandbox_can_be_started_again_after_it_was_stopped_but_not_twice() -> None:
    box = Sandbox()
    for _ in range(2):
        await box.start()
        assert (await ask(box, "GET")).json == []
        with pytest.raises(RuntimeError, match="running"):
            await box.start()
        await box.stop()
        await box.stop()
    assert [one.sequence for one in box.seen] == [1, 2]


async def test_a_port_in_use_is_named_in_the_error(sandbox: Sandbox) -> None:
    port = int(sandbox.base_url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=rf"^Cannot listen on 127\.0\.0\.1:{port}: Address already in use\.$"):
        await Sandbox(port=port).start()


@pytest.mark.parametrize("port", [-1, 65536, 10**20])
async def test_a_port_that_cannot_be_is_an_error_of_the_same_kind(port: int) -> None:
    with pytest.raises(OSError, match="Cannot listen on"):
        await Sandbox(port=port).start()


@pytest.mark.parametrize("token", ["", " ", "a b", "tökén", "a\n", "a\x00"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        Sandbox(token=token)


async def test_another_token_and_another_limit_hold() -> None:
    async with Sandbox(token="other", max_body=100) as box:
        assert (await ask(box, "GET")).status == 401
        assert (await ask(box, "GET", token=box.token)).status == 200
        assert (await ask(box, "POST", json={"name": "x" * 100}, token="other")).status == 413


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_an_ipv6_address_is_written_in_brackets() -> None:
    box = Sandbox(host="::1")
    try:
        await box.start()
    except OSError as error:  # containers often have the family but no loopback address in it
        pytest.skip(str(error))
    assert box.base_url.startswith("http://[::1]:")
    assert (await ask(box, "GET")).status == 200
    await box.stop()


async def test_starting_and_stopping_take_milliseconds_and_leave_no_task_behind() -> None:
    async with Sandbox():
        pass  # the first start also imports aiohttp
    times = [math.inf]
    while min(times) >= 0.02 and len(times) < 200:  # again, where this machine was busy with something else
        async with Sandbox() as box:
            box.faults = ["hang"]
            hung = asyncio.create_task(ask(box, "GET"))
            await box.received(1)
            middle = time.perf_counter()
        times.append(time.perf_counter() - middle)
        with pytest.raises(aiohttp.ClientError):
            await hung
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert min(times) < 0.02


def test_a_loop_closed_right_after_the_sandbox_warns_of_nothing() -> None:
    code = """
import asyncio
from lisn_async.sandbox import Sandbox

async def main():
    async with Sandbox() as box:
        port = int(box.base_url.rsplit(":", 1)[1])
        box.faults = ["hang"]
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for _, writer in opened[:2]:
            writer.write(b"GET /v1/assistants HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        opened[2][1].write(b"POST /v1/assistants HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\n{")
        await box.answered(1)
    for reader, writer in opened:
        await reader.read()
        writer.close()
    print([one.aborted for one in box.seen])

asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    # asyncio's debug mode also reports that importing aiohttp took a tenth of a second.
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, complaints) == (0, [])
    assert "True" not in done.stdout
