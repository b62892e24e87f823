"""Replies that no honest server sends: each ends in an error of ours or in the right result, and the next call is right."""

from __future__ import annotations

import gzip
import json
import random
import sys
import zlib

import aiohttp
import pytest

from lisn_async import APIResponseError, APIStatusError, AsyncLisn, IncompleteListError
from lisn_async._unpack import ALWAYS_ALLOWED, MOST_MEMBERS, unpack
from lisn_async._wire import Unreadable, decode
from tests.fix_wire import Wire, reply
from tests.hostile import encodings
from tests.hostile.run import in_a_process
from tests.hostile.table import CASES

ONE = b'{"id":"ast_1","name":"n"}'
NO_LIMIT = 2**40


def client_of(wire: Wire, **options: object) -> AsyncLisn:
    return AsyncLisn("tok-0123", base_url=wire.base_url, max_retries=0, **options)  # type: ignore[arg-type]


def test_the_table_has_no_two_cases_of_one_name() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) > 400


@pytest.mark.skipif(sys.platform != "linux", reason="memory and sockets are counted in /proc")
@pytest.mark.parametrize("parser", ["C", "Python"])
def test_every_hostile_reply_ends_in_our_error_or_the_right_result(parser: str) -> None:
    report = in_a_process(parser=parser)
    assert report["failures"] == []
    assert report["cases"] == len(CASES)


@pytest.mark.parametrize("operation", ["create", "list"])
@pytest.mark.parametrize(("status", "unknown"), [("422 No", False), ("500 Oops", True)])
async def test_the_status_of_an_endless_error_is_kept_and_its_body_is_not(
    wire: Wire, status: str, unknown: bool, operation: str
) -> None:
    wire.script.append(reply(b"x" * (2**20 + 1), status))
    async with client_of(wire) as client:
        api = client.assistants
        with pytest.raises(APIStatusError) as caught:
            await (
                api.list()
                if operation == "list"
                else api.create(name="n", type="text", llm_provider="openai", system_prompt="p")
            )
    assert (caught.value.status_code, caught.value.body) == (int(status[:3]), None)
    assert caught.value.outcome_unknown is (unknown and operation == "create")


async def test_the_body_of_an_error_is_read_up_to_1_mib(wire: Wire) -> None:
    wire.script.append(reply(b"x" * 2**20, "422 No"))
    async with client_of(wire) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.assistants.list()
    assert len(str(caught.value.body)) == 2**20


async def test_only_what_we_can_unpack_is_asked_for(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        aiohttp.ClientRequest, "DEFAULT_HEADERS", {"Accept-Encoding": "gzip, deflate, br, zstd"}
    )
    wire.script.append(reply(b"[]"))
    async with client_of(wire) as client:
        await client.assistants.list()
    assert b"\r\nAccept-Encoding: gzip, deflate\r\n" in wire.requests[0]


async def test_a_compressed_error_says_what_it_says(wire: Wire) -> None:
    wire.script.append(reply(gzip.compress(b'{"message":"too bad"}'), "422 No", "Content-Encoding: gzip"))
    async with client_of(wire) as client:
        with pytest.raises(APIStatusError, match="too bad"):
            await client.assistants.list()


# --- unpacking --------------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    return gzip.compress(b" " * size)


def test_a_bomb_ends_when_it_explodes_and_not_when_it_is_over() -> None:
    with pytest.raises(Unreadable, match="larger than 2 MiB"):
        unpack(encodings.bomb(200 * 2**20)(b""), "gzip", NO_LIMIT)
    assert len(unpack(bomb(ALWAYS_ALLOWED), "gzip", NO_LIMIT)) == ALWAYS_ALLOWED
    with pytest.raises(Unreadable, match="larger than 1 MiB"):
        unpack(bomb(2**20 + 1), "gzip", 2**20)


def test_a_bomb_behind_honest_bytes_is_refused_by_what_came_so_far() -> None:
    honest = random.Random(1).randbytes(20_000)
    packed = gzip.compress(honest) + bomb(50 * 2**20)
    with pytest.raises(Unreadable, match=r"larger than 1\d MiB"):
        unpack(packed, "gzip", NO_LIMIT)


@pytest.mark.parametrize("once", [True, False])
def test_a_list_of_40_mb_of_assistants_that_differ_only_in_name_and_id_is_no_bomb(once: bool) -> None:
    words = random.Random(2)
    prompt = " ".join(f"{words.getrandbits(40):x}" for _ in range(1500)) if once else "You help them. " * 1100
    rows = [{"id": f"ast_{n:x}", "name": f"Customer {n}", "system_prompt": prompt} for n in range(2500)]
    body = json.dumps(rows).encode()
    assert len(body) > 40_000_000
    assert unpack(gzip.compress(body, 9), "gzip", NO_LIMIT) == body


@pytest.mark.parametrize("cut", [1, 8, 9, 20])
def test_a_compressed_reply_that_was_cut_is_not_taken_for_a_whole_one(cut: int) -> None:
    for packed, encoding in ((gzip.compress(ONE + b" " * 50), "gzip"), (zlib.compress(ONE), "deflate")):
        with pytest.raises(Unreadable):
            unpack(packed[:-cut], encoding, NO_LIMIT)


def test_members_are_joined_but_not_without_end() -> None:
    member = gzip.compress(b"x")
    assert unpack(member * MOST_MEMBERS, "gzip", NO_LIMIT) == b"x" * MOST_MEMBERS
    with pytest.raises(Unreadable, match="too many parts"):
        unpack(member * (MOST_MEMBERS + 1), "gzip", NO_LIMIT)


# --- what the corpus found --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sign",
    [b'"total":"' + b"9" * 5000 + b'"', b'"total":1' + b"0" * 39, b'"meta":{"pages":0,"totalPages":1e300}'],
)
async def test_a_total_of_any_size_is_a_sign_of_more(wire: Wire, sign: bytes) -> None:
    wire.script.append(reply(b'{"data":[' + ONE + b"]," + sign + b"}"))
    async with client_of(wire) as client:
        with pytest.raises(IncompleteListError) as caught:
            await client.assistants.list()
    assert len(str(caught.value)) < 200


async def test_a_sign_of_more_quotes_nothing_of_the_reply(wire: Wire) -> None:
    wire.script.append(reply(b'{"data":[],"next_tok-0123":"tok-0123\\n","total":9}'))
    async with client_of(wire) as client:
        with pytest.raises(IncompleteListError) as caught:
            await client.assistants.list()
    assert "tok-0123" not in str(caught.value)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999", b"-1e999", b"1" * 400, b"1" * 5000])
def test_beside_a_lone_surrogate_numbers_are_read_as_strictly_as_elsewhere(number: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(b'["\\ud800",' + number + b"]")
    with pytest.raises(Unreadable):
        decode(b"[" + number + b"]")


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "-1",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
    ],
)
def test_beside_a_lone_surrogate_integers_are_of_the_same_kind_as_elsewhere(number: str) -> None:
    [_, beside] = decode(f'["\\ud800",{number}]'.encode())  # type: ignore[misc]
    [alone] = decode(f"[{number}]".encode())  # type: ignore[misc]
    assert (type(beside), beside) == (type(alone), alone)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_only_plain_utf_8_is_read(encoding: str) -> None:
    with pytest.raises(Unreadable):
        decode('["\\ud800"]'.encode(encoding))


async def test_a_reply_in_many_pieces_is_one_body(wire: Wire) -> None:
    name = "x" * (3 * 2**20)
    wire.script.append(reply(json.dumps({"id": "ast_1", "name": name}).encode()))
    async with client_of(wire) as client:
        assert (await client.assistants.get("ast_1")).name == name


async def test_what_cannot_be_unpacked_is_an_error_that_says_so(wire: Wire) -> None:
    wire.script.append(reply(ONE, "200 OK", "Content-Encoding: gzip"))
    async with client_of(wire) as client:
        with pytest.raises(APIResponseError, match="not compressed as it says"):
            await client.assistants.get("ast_1")


async def test_a_charset_where_an_encoding_belongs_loses_no_reply(wire: Wire) -> None:
    wire.script.append(reply(ONE, "200 OK", "Content-Encoding: UTF-8"))
    async with client_of(wire) as client:
        assert (await client.assistants.get("ast_1")).name == "n"


async def test_a_borrowed_session_leaves_unpacking_to_us(wire: Wire) -> None:
    wire.script.extend(
        [reply(gzip.compress(body), "200 OK", "Content-Encoding: gzip") for body in (ONE, b" " * 2**23)]
    )
    async with aiohttp.ClientSession() as session:
        client = client_of(wire, session=session)
        assert (await client.assistants.get("ast_1")).name == "n"
        with pytest.raises(APIResponseError, match="larger than 2 MiB"):
            await client.assistants.get("ast_1")
