"""What the sandbox accepts and refuses: the specification's table, and JSON at its edges, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lisn_async.sandbox import _json, _rules
from tests.test_sandbox import TEXT, VOICE, ask

if TYPE_CHECKING:
    from lisn_async.sandbox import Sandbox

ALL_FIELDS = {
    **VOICE,
    "description": "",
    "stt_model": "scribe_v1",
    "stt_language": "Auto-Detect",
    "llm_model": "gpt-4o-mini",
    "temperature": 0.25,
    "webhook_url": "https://your-server.com/webhook",
    "webhook_secret": "hush",
}


async def test_every_documented_field_comes_back_as_it_was_sent(sandbox: Sandbox) -> None:
    reply = await ask(sandbox, "POST", json=ALL_FIELDS)
    assert reply.status == 201
    assert {**reply.json, **ALL_FIELDS} == reply.json


async def test_fields_left_out_are_null_and_temperature_is_the_documented_default(sandbox: Sandbox) -> None:
    made = (await ask(sandbox, "POST", json=TEXT)).json
    assert made["temperature"] == 0.7
    assert [made[name] for name in ALL_FIELDS if name not in (*TEXT, "temperature")] == [None] * 7


WRONG: list[tuple[dict[str, Any], set[str]]] = [
    ({"name": ""}, {"name"}),
    ({"name": None}, {"name"}),
    ({"name": 7}, {"name"}),
    ({"system_prompt": ""}, {"system_prompt"}),
    ({"system_prompt": ["x"]}, {"system_prompt"}),
    ({"type": "video"}, {"type"}),
    ({"type": "Voice"}, {"type"}),
    ({"type": None}, {"type"}),
    ({"type": {}}, {"type"}),
    ({"llm_provider": "llama"}, {"llm_provider"}),
    ({"llm_provider": None}, {"llm_provider"}),
    ({"stt_provider": "siri"}, {"stt_provider"}),
    ({"stt_provider": ""}, {"stt_provider"}),
    ({"stt_model": 1}, {"stt_model"}),
    ({"stt_language": False}, {"stt_language"}),
    ({"description": []}, {"description"}),
    ({"llm_model": {}}, {"llm_model"}),
    ({"webhook_secret": 1.5}, {"webhook_secret"}),
    ({"temperature": 1.0000001}, {"temperature"}),
    ({"temperature": -0.1}, {"temperature"}),
    ({"temperature": 10**400}, {"temperature"}),
    ({"temperature": "0.5"}, {"temperature"}),
    ({"temperature": True}, {"temperature"}),
    ({"webhook_url": ""}, {"webhook_url"}),
    ({"webhook_url": "ftp://x"}, {"webhook_url"}),
    ({"webhook_url": "https://"}, {"webhook_url"}),
    ({"webhook_url": "//x/y"}, {"webhook_url"}),
    ({"webhook_url": "https://x y"}, {"webhook_url"}),
    ({"webhook_url": "https://x/\n"}, {"webhook_url"}),
    ({"webhook_url": "javascript:alert(1)"}, {"webhook_url"}),
    ({"type": "text"}, {"stt_provider"}),
    ({"type": "text", "stt_provider": None, "stt_model": "m", "stt_language": ""}, {"stt_model", "stt_language"}),
    ({"name": 1, "type": 1, "llm_provider": 1, "system_prompt": 1, "temperature": "x", "webhook_url": 1},
     {"name", "type", "llm_provider", "system_prompt", "temperature", "webhook_url"}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "wrong"), WRONG)
async def test_a_wrong_field_is_422_on_create_and_update_and_every_one_is_named(
    sandbox: Sandbox, change: dict[str, Any], wrong: set[str]
) -> None:
    refused = await ask(sandbox, "POST", json={**VOICE, **change})
    assert (refused.status, refused.wrong) == (422, wrong)
    assert all(name in refused.json["error"]["message"] for name in wrong)

    made = await ask(sandbox, "POST", json=VOICE)
    path = f"/v1/assistants/{made.json['id']}"
    refused = await ask(sandbox, "PATCH", path, json=change)
    assert (refused.status, refused.wrong) == (422, wrong)
    assert sandbox.assistants() == [made.json]


async def test_an_empty_create_names_the_four_required_fields(sandbox: Sandbox) -> None:
    refused = await ask(sandbox, "POST", json={})
    assert (refused.status, refused.wrong) == (422, {"name", "type", "llm_provider", "system_prompt"})


RIGHT: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1},
    {"temperature": 0.1 + 0.2},
    {"temperature": 5e-324},
    {"temperature": None},
    {"webhook_url": "HTTP://localhost:8000"},
    {"webhook_url": "https://[::1]:8000/hook?x=1#y"},
    {"webhook_url": "https://пример.рф/хук"},
    {"webhook_url": None},
    {"name": " \t\n"},
    {"system_prompt": "\u0000\u2028\ud800"},
    {"stt_provider": "whisper", "stt_model": "", "stt_language": "uz"},
    {"stt_provider": "aisha"},
    {"type": "text", "stt_provider": None},
    {"future_field": {"deep": [1, 2.5, None, True, "x"]}, "": "no name"},
    *({"llm_provider": provider} for provider in ("openai", "anthropic", "gemini", "grok")),
]


@pytest.mark.parametrize("change", RIGHT)
async def test_a_right_field_is_kept_as_it_is_on_create_and_on_update(
    sandbox: Sandbox, change: dict[str, Any]
) -> None:
    made = await ask(sandbox, "POST", json={**VOICE, **change})
    assert made.status == 201
    assert {**made.json, **change} == made.json
    other = await ask(sandbox, "POST", json=VOICE)
    changed = await ask(sandbox, "PATCH", f"/v1/assistants/{other.json['id']}", json=change)
    assert changed.status == 200
    assert {**changed.json, **change} == changed.json


async def test_the_rules_of_an_update_hold_for_the_result_not_for_the_change(sandbox: Sandbox) -> None:
    voice = f"/v1/assistants/{(await ask(sandbox, 'POST', json=VOICE)).json['id']}"
    text = f"/v1/assistants/{(await ask(sandbox, 'POST', json=TEXT)).json['id']}"
    assert (await ask(sandbox, "PATCH", voice, json={"type": "text"})).wrong == {"stt_provider"}
    assert (await ask(sandbox, "PATCH", text, json={"stt_model": "m"})).wrong == {"stt_model"}
    assert (await ask(sandbox, "PATCH", voice, json={"type": "text", "stt_provider": None})).status == 200
    assert (await ask(sandbox, "PATCH", text, json={"type": "voice", "stt_model": "m"})).status == 200


async def test_an_empty_update_is_fine_and_changes_no_field(sandbox: Sandbox) -> None:
    made = (await ask(sandbox, "POST", json=ALL_FIELDS)).json
    same = await ask(sandbox, "PATCH", f"/v1/assistants/{made['id']}", json={})
    assert same.status == 200
    assert same.json == {**made, "updated_at": same.json["updated_at"]}


async def test_what_the_server_owns_cannot_be_sent(sandbox: Sandbox) -> None:
    mine = {"id": "ast_mine", "created_at": "never", "updated_at": "never"}
    made = (await ask(sandbox, "POST", json={**TEXT, **mine})).json
    assert not set(mine.values()) & set(made.values())
    changed = (await ask(sandbox, "PATCH", f"/v1/assistants/{made['id']}", json=mine)).json
    assert (changed["id"], changed["created_at"]) == (made["id"], made["created_at"])


async def test_an_update_of_nothing_is_404_even_if_it_would_be_refused(sandbox: Sandbox) -> None:
    assert (await ask(sandbox, "PATCH", "/v1/assistants/ast_none", json={"name": ""})).status == 404
    assert (await ask(sandbox, "POST", "/v1/assistants/ast_none/duplicate")).status == 404


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{}{}", "not JSON"),
        (b"{'name': 1}", "not JSON"),
        (b'{"name": NaN}', "NaN"),
        (b'{"temperature": Infinity}', "Infinity"),
        (b'{"temperature": -Infinity}', "-Infinity"),
        (b'{"temperature": 1e999}', "too large"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"name": "a", "name": "b"}', "'name' is given twice"),
        (b'{"x": {"y": 1, "y": 1}}', "'y' is given twice"),
        (b'{"name": "a\nb"}', "control character"),
        (b'{"name": "\xff"}', "UTF-8"),
        (b'{"name": "\xed\xa0\x80"}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"name": "x"}'.encode("utf-16"), "UTF-8"),
        (b"[" * 65 + b"]" * 65, "deep"),
        (b'{"x":' * 100 + b"1" + b"}" * 100, "deep"),
        (b"[" * 500_000, "deep"),
    ],
)
async def test_a_body_that_is_no_json_is_400_and_says_why(sandbox: Sandbox, body: bytes, reason: str) -> None:
    reply = await ask(sandbox, "POST", data=body)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_json")
    assert reason in reply.json["error"]["message"]


@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"1", b"true", b"[" * 64 + b"]" * 64])
async def test_json_that_is_no_object_is_422(sandbox: Sandbox, body: bytes) -> None:
    assert (await ask(sandbox, "POST", data=body)).status == 422


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 201),
        ("Application/JSON ; charset=UTF-8", 201),
        ('application/json; charset="utf-8"', 201),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        (";", 415),
    ],
)
async def test_the_content_type_decides_between_201_and_415(sandbox: Sandbox, kind: str, status: int) -> None:
    body = json.dumps(TEXT).encode()
    assert (await ask(sandbox, "POST", data=body, headers={"Content-Type": kind})).status == status


async def test_a_compressed_body_is_refused_and_not_unpacked(sandbox: Sandbox) -> None:
    reply = await ask(sandbox, "POST", data=b"\x1f\x8b garbage", headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.json["error"]["type"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_above_the_limit_is_413_and_one_at_the_limit_is_read(
    sandbox: Sandbox, chunked: bool
) -> None:
    body = json.dumps(TEXT).encode()
    full = body + b" " * (1_048_576 - len(body))
    assert (await ask(sandbox, "POST", data=full, chunked=chunked)).status == 201
    assert (await ask(sandbox, "POST", data=full + b" ", chunked=chunked)).status == 413


async def test_a_refused_body_that_is_still_on_its_way_does_not_reset_the_reply(sandbox: Sandbox) -> None:
    assert (await ask(sandbox, "POST", data=b"x" * 8_000_000)).status == 413


HEADS = {
    "garbage": b"GARBAGE\r\n\r\n",
    "host": b"GET http://[::1 HTTP/1.1\r\n\r\n",
    "length": b"POST /v1/assistants HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n",
    "both": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "long": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "many": b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(300)) + b"\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
async def test_a_head_that_is_no_http_is_400_in_the_usual_shape(sandbox: Sandbox, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.base_url.rsplit(":", 1)[1]))
    writer.write(head)
    first = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(first.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    writer.close()
    assert first.split(b" ")[1] == b"400"
    assert b"x-request-id" in first.lower()
    assert json.loads(body)["error"]["type"] == "bad_request"


# aiohttp's two parsers differ about these; what matters is that each gets an answer, and none is a 500.
ODD = {
    "version": b"GET /v1/assistants HTTP/9.9\r\nHost: x\r\n\r\n",
    "bytes": b"GET /v1/assistants/\xff\xfe?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "no slash": b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    "nul": b"GET /v1/assistants/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute": b"GET http://elsewhere/v1/assistants HTTP/1.1\r\nHost: x\r\n\r\n",
    "foreign scheme": b"GET ftp://x/v1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "port": b"GET http://x:99999999/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect to a path": b"CONNECT /v1/assistants HTTP/1.1\r\nHost: x\r\n\r\n",
    "upgrade": b"POST /v1/assistants HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
    b"Content-Length: 2\r\n\r\n{}",
    "chunk": b"POST /v1/assistants HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "expectation": b"POST / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\n{}",
    "token": b"GET /v1/assistants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    "two tokens": b"GET /v1/assistants HTTP/1.1\r\nHost: x\r\n" + b"Authorization: Bearer lisn-sandbox-token\r\n" * 2
    + b"\r\n",
    "old": b"GET /v1/assistants HTTP/1.0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("head", ODD.values(), ids=ODD.keys())
async def test_an_odd_request_is_refused_and_the_next_one_answered(sandbox: Sandbox, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.base_url.rsplit(":", 1)[1]))
    writer.write(head)
    first = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert first.split(b" ")[1] in (b"400", b"401", b"404", b"405")
    assert (await ask(sandbox, "GET")).status == 200


async def test_expect_100_continue_is_met(sandbox: Sandbox) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.base_url.rsplit(":", 1)[1]))
    body = json.dumps(TEXT).encode()
    writer.write(
        b"POST /v1/assistants HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer lisn-sandbox-token\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@given(json_values)
def test_any_json_is_the_same_after_a_round_trip(value: Any) -> None:
    assert _json.parse(_json.dump(value).encode()) == value
    assert _json.parse(json.dumps(value).encode()) == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_break_the_parser(body: bytes) -> None:
    try:
        _json.parse(body)
    except _json.NotJSON as problem:
        _json.dump(str(problem)).encode()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*ALL_FIELDS, "extra"], json_values)))
def test_no_values_break_the_rules(body: dict[str, Any]) -> None:
    try:
        document = _rules.created(body)
    except _rules.Refused as refused:
        assert refused.fields
    else:
        assert _rules.changed(document, {}) == document
