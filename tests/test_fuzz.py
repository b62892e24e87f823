"""Right replies, damaged by chance: what a client believes is what the bytes say, by a second witness."""

from __future__ import annotations

import json

import pytest

from lisn_async import APIConnectionError, Assistant
from tests.hostile.fuzz import MUTATORS, Damaged, damaged, judged, what_it_says
from tests.hostile.run import in_a_process


@pytest.mark.parametrize("parser", ["C", "Python"])
def test_a_damaged_reply_ends_in_our_error_or_in_what_it_says(parser: str) -> None:
    report = in_a_process(["--replies", "500", "--seed", "7"], parser=parser, module="tests.hostile.fuzz")
    assert report["failures"] == []
    assert sum(report["kinds"].values()) == 500
    assert report["kinds"]["result"] > 50, "else nothing was believed, and nothing tested"


def test_a_seed_gives_the_same_replies_each_time() -> None:
    assert [damaged(3, number) for number in range(50)] == [damaged(3, number) for number in range(50)]
    assert {name for number in range(300) for name in damaged(3, number).mutations} == set(MUTATORS)


def case(reply: bytes, operation: str = "g") -> Damaged:
    return Damaged(number=7, operation=operation, reply=reply, then="keep", mutations=("flip",))


def honest(name: str = "name", **more: object) -> bytes:
    body = json.dumps({"id": "fz_7", "name": name, **more}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_the_judge_believes_what_the_bytes_say_and_nothing_else() -> None:
    right = Assistant(id="fz_7", name="name")
    assert judged(case(honest()), right) == ("result", None)
    assert judged(case(honest(x=1)), Assistant(id="fz_7", name="name", extra={"x": 1})) == ("result", None)
    for reply in (honest("other"), honest(x=1), honest().replace(b"200 OK", b"404 No")):
        assert judged(case(reply), right)[1] is not None
    assert judged(case(honest()), Assistant(id="fz_8", name="name"))[1] is not None
    assert judged(case(honest()), ValueError())[1] is not None
    assert judged(case(b"nonsense"), right)[1] is not None


@pytest.mark.parametrize(("operation", "unknown"), [("g", False), ("c", True)])
def test_the_judge_asks_whether_the_outcome_is_known(operation: str, unknown: bool) -> None:
    reply = case(b"nonsense", operation)
    assert judged(reply, APIConnectionError("m", "M", "u", 1, unknown))[1] is None
    assert judged(reply, APIConnectionError("m", "M", "u", 1, not unknown))[1] is not None


def test_the_second_witness_reads_what_http_says_and_gives_up_on_the_rest() -> None:
    assert what_it_says(honest(), "GET") == (200, {"id": "fz_7", "name": "name"})
    assert what_it_says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "GET") is None
