"""Faults as data, and as what a client really sees on the wire: raw sockets, no client library in between."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lisn_async.sandbox import Fault, Sandbox
from lisn_async.sandbox._fault_queue import FaultQueue
from lisn_async.sandbox._faults import BREAKAGES, DO, HOW, OPERATIONS, WHEN
from tests.test_sandbox import TEXT, ask

BODY = json.dumps(TEXT).encode()
CREATE = (
    b"POST /v1/assistants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer lisn-sandbox-token\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


async def raw(box: Sandbox, request: bytes = CREATE) -> bytes:
    """All bytes the sandbox sends until it closes; an error if it resets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(box.base_url.rsplit(":", 1)[1]))
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def test_a_reset_is_a_reset_and_a_close_is_a_clean_end(sandbox: Sandbox) -> None:
    sandbox.faults = ["reset", "close"]
    with pytest.raises(ConnectionResetError):
        await raw(sandbox)
    assert await raw(sandbox) == b""
    assert [(one.fault, one.status, one.aborted) for one in sandbox.seen] == [
        ("reset", None, False),
        ("close", None, False),
    ]
    assert sandbox.assistants() == []


async def test_a_cut_promises_the_whole_body_and_sends_half_of_it(sandbox: Sandbox) -> None:
    sandbox.faults = ["cut"]
    head, _, half = (await raw(sandbox)).partition(b"\r\n\r\n")
    [made] = sandbox.assistants()  # half of a true reply: it did happen
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert head.startswith(b"HTTP/1.1 201 ")
    assert len(half) == length // 2
    assert json.dumps(made, separators=(",", ":")).encode().startswith(half)
    assert sandbox.seen[0].status == 201


async def test_a_cut_of_a_reply_without_a_body_is_a_cut_all_the_same(sandbox: Sandbox) -> None:
    made = (await ask(sandbox, "POST", json=TEXT)).json
    sandbox.faults = ["cut", {"do": "cut", "when": "before"}]
    for _ in range(2):
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(sandbox, "DELETE", f"/v1/assistants/{made['id']}")
    assert sandbox.assistants() == []


async def test_a_hanging_request_is_never_answered_and_does_not_block_the_others(sandbox: Sandbox) -> None:
    sandbox.faults = ["hang"]
    hung = asyncio.create_task(raw(sandbox))
    await sandbox.received(1)
    assert (await ask(sandbox, "GET")).status == 200
    assert not hung.done()
    assert sandbox.seen[0].status is None
    hung.cancel()
    [aborted] = await sandbox.aborted(1)
    assert (aborted.operation, aborted.aborted, sandbox.assistants()) == ("create", True, [])


async def test_a_request_that_hangs_until_the_sandbox_stops_was_not_aborted_by_the_client() -> None:
    async with Sandbox() as box:
        box.faults = ["hang"]
        hung = asyncio.create_task(raw(box))
        await box.received(1)
    assert await hung == b""
    assert [one.aborted for one in box.seen] == [False]


@pytest.mark.parametrize("do", ["reset", "close", "hang", "cut"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_before_and_after_say_whether_it_happened(sandbox: Sandbox, do: Any, when: Any) -> None:
    sandbox.faults = [Fault(do=do, when=when)]
    attempt = asyncio.create_task(raw(sandbox))
    await sandbox.received(1)
    if do == "hang":
        attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    assert len(sandbox.assistants()) == (1 if when == "after" else 0)


async def test_a_status_can_come_before_or_after_the_commit(sandbox: Sandbox) -> None:
    sandbox.faults = [502, Fault(do="status", status=502, when="after")]
    for committed in (0, 1):
        reply = await ask(sandbox, "POST", json=TEXT)
        assert (reply.status, reply.json["error"]["type"]) == (502, "fault")
        assert len(sandbox.assistants()) == committed
    assert (await ask(sandbox, "POST", json=TEXT)).status == 201


async def test_a_status_carries_the_headers_and_the_body_it_was_given(sandbox: Sandbox) -> None:
    page = Fault(do="status", status=503, headers={"Content-Type": "text/html"}, body="<h1>Жок</h1>")
    sandbox.faults = [
        Fault(do="status", status=429, retry_after=2),
        {"do": "status", "status": 503, "retry_after": "Fri, 31 Dec 1999 23:59:59 GMT", "body": {"a": 1}},
        page,
        {"do": "status", "status": 302, "headers": {"Location": "https://example.org/"}},
        {"do": "status", "status": 200, "body": ""},
        {"do": "status", "status": 204},
    ]
    async with aiohttp.ClientSession() as session:
        replies = []
        for _ in range(6):
            async with session.get(sandbox.base_url + "/v1/assistants", allow_redirects=False) as reply:
                replies.append((reply.status, reply.headers.copy(), await reply.read()))
    statuses = [status for status, _, _ in replies]
    assert statuses == [429, 503, 503, 302, 200, 204]
    assert replies[0][1]["Retry-After"] == "2"
    assert replies[1][1]["Retry-After"].endswith("GMT")
    assert json.loads(replies[1][2]) == {"a": 1}
    assert (replies[2][1]["Content-Type"], replies[2][2].decode()) == ("text/html", "<h1>Жок</h1>")
    assert replies[3][1]["Location"] == "https://example.org/"
    assert [body for _, _, body in replies[4:]] == [b"", b""]


async def test_a_list_is_used_up_in_order_and_mixes_names_statuses_mappings_and_faults(
    sandbox: Sandbox,
) -> None:
    sandbox.faults = [500, {"do": "status", "status": 501}, Fault(do="status", status=502)]
    sandbox.faults.append(503)
    assert [(await ask(sandbox, "GET")).status for _ in range(6)] == [500, 501, 502, 503, 200, 200]
    assert sandbox.faults == []


async def test_a_fault_for_one_operation_waits_for_it_and_lets_the_others_pass(sandbox: Sandbox) -> None:
    made = (await ask(sandbox, "POST", json=TEXT)).json
    path = f"/v1/assistants/{made['id']}"
    requests = [
        ("list", "GET", "/v1/assistants"),
        ("create", "POST", "/v1/assistants"),
        ("get", "GET", path),
        ("update", "PATCH", path),
        ("duplicate", "POST", f"{path}/duplicate"),
        ("delete", "DELETE", path),
    ]
    sandbox.faults = [
        {"do": "status", "status": 590 + n, "operation": name} for n, (name, *_) in enumerate(requests)
    ]
    for n, (_, method, target) in reversed(list(enumerate(requests))):
        assert (await ask(sandbox, method, target, json=TEXT)).status == 590 + n


async def test_skip_and_times_count_only_requests_that_fit(sandbox: Sandbox) -> None:
    sandbox.faults = [Fault(do="status", status=500, operation="list", skip=2, times=2), 404]
    assert (await ask(sandbox, "POST", json=TEXT)).status == 404
    assert [(await ask(sandbox, "GET")).status for _ in range(5)] == [200, 200, 500, 500, 200]


async def test_a_fault_for_ever_stays_until_it_is_taken_away(sandbox: Sandbox) -> None:
    sandbox.faults = [Fault(do="status", status=500, times=None)]
    assert [(await ask(sandbox, "GET")).status for _ in range(3)] == [500] * 3
    sandbox.faults.clear()
    assert (await ask(sandbox, "GET")).status == 200


def test_chance_is_drawn_from_the_seed() -> None:
    def hits(seed: int) -> list[bool]:
        queue = FaultQueue(seed)
        queue.replace([Fault(do="hang", probability=0.2, times=None)])
        return [queue.take("create").breakage is not None for _ in range(1_000)]

    assert hits(1) == hits(1) != hits(2)
    assert 150 < sum(hits(1)) < 250


async def test_faults_strike_before_the_token_is_checked_but_never_the_control_plane(
    sandbox: Sandbox,
) -> None:
    sandbox.faults = [503]
    assert (await ask(sandbox, "GET", "/_sandbox/seen")).status == 200
    assert (await ask(sandbox, "GET", "/openapi.json")).status == 200
    assert (await ask(sandbox, "GET", token="wrong")).status == 503


WRONG: list[tuple[Any, str]] = [
    ("explode", "no fault 'explode'; there are reset, close, hang, cut"),
    ("status", "no fault 'status'"),
    ("", "no fault ''"),
    (True, "not True"),
    (None, "not None"),
    (1.5, "not 1.5"),
    (99, "status must be a whole number, from 200 to 599; not 99"),
    (600, "from 200 to 599"),
    ({"do": "explode"}, "do must be one of"),
    ({"do": None}, "do"),
    ({}, "needs a status"),
    ({"do": "status"}, "needs a status"),
    ({"do": "status", "status": True}, "status must be a whole number"),
    ({"do": "status", "status": "503"}, "status must be a whole number"),
    ({"do": "hang", "who": 1, "why": 2}, "A fault has no who, why; it has do, status"),
    ({"do": "hang", "when": "later"}, "when must be one of before, after, late; not 'later'"),
    ({"do": "hang", "operation": "upsert"}, "operation must be one of list, create"),
    ({"do": "hang", "times": 0}, "times must be a whole number, 1 or more"),
    ({"do": "hang", "skip": -1}, "skip must be a whole number, 0 or more"),
    ({"do": "hang", "skip": None}, "skip cannot be null"),
    ({"do": "hang", "probability": 1.5}, "probability must be a number from 0 to 1"),
    ({"do": "hang", "probability": float("nan")}, "probability must be"),
    ({"do": 500, "headers": []}, "headers must be a mapping"),
    ({"do": "cut", "headers": {"A": "b\r\nC: d"}}, "HTTP cannot carry"),
    ({"do": "cut", "headers": {"A b": "c"}}, "HTTP cannot carry"),
    ({"do": "cut", "body": 1}, "body must be text"),
    ({"do": "cut", "retry_after": []}, "retry_after must be"),
    ({"do": "cut", "retry_after": "1\n"}, "HTTP cannot carry"),
    ({1: 2}, "A fault has no 1"),
    ("partial", "do='partial' needs a count"),
    ({"do": "partial", "count": -1}, "count must be a whole number, 0 or more"),
    ({"do": "partial", "count": 1, "operation": "get"}, "never meets operation='get', only list"),
    ({"do": "lag", "operation": "create"}, "never meets operation='create', only list"),
    ({"do": "rewrite", "operation": "list"}, "only create, update, duplicate"),
    ({"do": "rewrite", "how": "upper"}, "how must be one of trim, lower, short; not 'upper'"),
    ({"do": "hang", "how": "trim"}, "how means nothing to do='hang'; it is for rewrite"),
    ({"do": "hang", "seconds": 1}, "seconds means nothing to do='hang'; it is for refuse, drip, lag"),
    ({"do": "lag", "count": 1}, "count means nothing to do='lag'; it is for partial"),
    ({"do": "lag", "when": "after"}, "when means nothing to do='lag'"),
    ({"do": "rewrite", "status": 500}, "status means nothing to do='rewrite'"),
    ({"do": "lag", "seconds": -1}, "seconds must be a number of seconds, 0 or more"),
    ({"do": "lag", "seconds": float("inf")}, "seconds must be a number of seconds"),
    ({"do": "lag", "seconds": float("nan")}, "seconds must be a number of seconds"),
    ({"do": "lag", "seconds": True}, "seconds must be a number of seconds"),
    ({"do": "reset", "delay": 1}, "delay means nothing without when='late'"),
    ({"do": "reset", "when": "late", "delay": "1"}, "delay must be a number of seconds"),
    ({"do": "garbage", "body_base64": "?"}, "body_base64 must be base64"),
    ({"do": "garbage", "body_base64": 1}, "body_base64 must be base64"),
]


@pytest.mark.parametrize(("item", "reason"), WRONG)
def test_a_fault_that_does_not_exist_is_refused_and_changes_nothing(item: Any, reason: str) -> None:
    box = Sandbox()
    box.faults = [500]

    def assign() -> None:
        box.faults = ["hang", item]

    def put_at_the_start() -> None:
        box.faults[0] = item

    for change in (assign, put_at_the_start, lambda: box.faults.append(item)):
        with pytest.raises(ValueError) as caught:
            change()
        assert reason in str(caught.value)
    assert box.faults == [500]


@pytest.mark.parametrize("faults", ["cut", b"cut", {"do": "cut"}])
def test_one_fault_without_a_list_around_it_is_refused(faults: Any) -> None:
    with pytest.raises(ValueError, match="must be a list"):
        Sandbox().faults = faults


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "not JSON"), ("{", "not JSON"), ('{"do": "cut"}', "must be a JSON list"), ("[1]", "from 200 to 599"),
     ("[" * 100_000, "nested"), (b"\xff", "not JSON")],
)  # fmt: skip
def test_a_file_of_faults_that_cannot_be_read_says_why(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Fault.parse(text)


def test_faults_are_read_from_json() -> None:
    assert Fault.parse('["cut", 503, {"do": "hang", "operation": "list", "times": null}]') == [
        Fault(do="cut", when="after"),
        Fault(do="status", status=503, when="before"),
        Fault(do="hang", operation="list", times=None),
    ]


COUNTED: dict[str, Any] = {
    "times": st.none() | st.integers(1),
    "skip": st.integers(0),
    "probability": st.floats(0, 1),
}
DURATIONS = st.none() | st.integers(0, 10) | st.floats(0, 10)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    """Any fault there can be."""
    do = draw(st.sampled_from(DO))
    met = {"lag": ("list",), "partial": ("list",), "rewrite": ("create", "update", "duplicate")}
    fields = {**COUNTED, "operation": st.sampled_from([None, *met.get(do, OPERATIONS)])}
    if do in BREAKAGES:
        fields |= {
            "status": st.integers(200, 599),
            "headers": st.dictionaries(st.sampled_from(["A", "X-B"]), st.sampled_from(["", "c d"])),
            "retry_after": st.none() | st.integers(0) | st.just("soon"),
            "body": st.none() | st.text() | st.binary(),
            "when": st.sampled_from([None, *WHEN]),
        }
    if do in ("refuse", "drip", "lag"):
        fields["seconds"] = DURATIONS
    if do == "partial":
        fields["count"] = st.integers(0)
    if do == "rewrite":
        fields["how"] = st.sampled_from([None, *HOW])
    values = {name: draw(values) for name, values in fields.items()}
    delay = draw(DURATIONS) if values.get("when") == "late" else None
    return Fault(do=do, delay=delay, **values)


@given(faults())
def test_a_fault_described_in_json_reads_back_as_the_same_fault(fault: Fault) -> None:
    assert Fault.parse(json.dumps([fault.describe()])) == [fault]


def test_what_is_left_out_of_a_fault_means_what_the_documentation_says() -> None:
    when = {do: Fault(do=do, status=500).when for do in BREAKAGES}
    assert {do for do, meant in when.items() if meant == "after"} == {"cut", "drip"}
    assert [Fault(do="reset", when=when).delay for when in WHEN] == [None, None, 0.2]
    assert [Fault(do=do).seconds for do in ("refuse", "drip", "lag", "hang")] == [1, 1, 1, None]
    assert (Fault(do="rewrite").how, Fault(do="lag").how) == ("trim", None)


def test_the_queue_behaves_like_the_list_it_looks_like() -> None:
    box, model = Sandbox(), list[int]()
    source = random.Random(7)
    for _ in range(300):
        status = source.randrange(400, 600)
        match source.randrange(6):
            case 0:
                box.faults.append(status)
                model.append(status)
            case 1:
                box.faults.insert(1, status)
                model.insert(1, status)
            case 2 if model:
                del box.faults[0], model[0]
            case 3:
                box.faults.extend([status, status])
                model.extend([status, status])
            case 4 if model:
                box.faults[-1] = status
                model[-1] = status
            case 5:
                box.faults[1:3] = [status]
                model[1:3] = [status]
        assert box.faults == model
        assert [fault.status for fault in box.faults] == model
        assert [fault.status for fault in box.faults[::-1]] == model[::-1]
