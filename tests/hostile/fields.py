"""Assistants, lists and envelopes of the wrong shape."""

from __future__ import annotations

import json
from typing import Any

from lisn_async.models._rules import FIELDS
from tests.hostile.case import ALL, RIGHT, Case

WRONG_FOR_TEXT: dict[str, Any] = {"number": 7, "boolean": True, "array": ["x"], "object": {"x": 1}}
WRONG_FOR_NUMBER: dict[str, Any] = {"text": "0.5", "boolean": False, "array": [0.5], "object": {}}


def _body(**fields: Any) -> bytes:
    return json.dumps({"id": "$ID", "name": "Right", "temperature": 0.5, **fields}).encode()


def _case(name: str, body: bytes, **more: object) -> Case:
    return Case(name=name, body=body, **{"operations": ALL, "right": "d", **more})  # type: ignore[arg-type]


def _wrong_values() -> list[Case]:
    cases = []
    for field in FIELDS:
        wrong = WRONG_FOR_NUMBER if field == "temperature" else WRONG_FOR_TEXT
        for kind, value in wrong.items():
            cases.append(_case(f"{field} is {kind}", _body(**{field: value})))
        null = {field: None}
        cases.append(_case(f"{field} is null", _body(**null), right=ALL, expect=null))
    return cases


def _id(name: str, value: Any, **more: object) -> Case:
    return _case(f"id is {name}", _body(id=value), **more)


def _page(name: str, value: Any, **more: object) -> Case:
    """A list in an envelope that also says something about pages."""
    body = json.dumps({"data": [json.loads(RIGHT)], **value}).encode()
    return _case(f"a list with {name}", body, is_whole=True, operations="l", **more)


CASES = (
    *_wrong_values(),
    _case("temperature is 1e300", _body(temperature=1e300)),
    _case("temperature is -1", _body(temperature=-1), right=ALL, expect={"temperature": -1.0}),
    _case(
        "temperature is an integer of 40 digits",
        _body(temperature=10**39),
        right=ALL,
        expect={"temperature": 1e39},
    ),
    _case("name is 1 MiB", _body(name="x" * 2**20), right=ALL, expect={"name": "x" * 2**20}),
    _case(
        "name holds control characters",
        _body(name="\x00\x1b[31m"),
        right=ALL,
        expect={"name": "\x00\x1b[31m"},
    ),
    _case("a type nobody knows", _body(type="smell"), right=ALL, expect={"type": "smell"}),
    _case(
        "fields named like our own",
        _body(extra=1, to_create=2, __class__=3),
        right=ALL,
        expect={"extra": {"extra": 1, "to_create": 2, "__class__": 3}},
    ),
    _case(
        "fields named like methods",
        _body(__init__=None, __proto__={}),
        right=ALL,
        expect={"extra": {"__init__": None, "__proto__": {}}},
    ),
    _case("an empty field name", _body(**{"": 1}), right=ALL, expect={"extra": {"": 1}}),
    _case("no id", b'{"name":"Right"}'),
    *(
        _id(name, value)
        for name, value in {
            "null": None,
            "0": 0,
            "a number": 7,
            "true": True,
            "empty": "",
            "an array": ["$ID"],
            "an object": {"id": "$ID"},
            "1.5": 1.5,
        }.items()
    ),
    *(
        _id(f"text with {name}", value)
        for name, value in {
            "NUL": "$ID\x00",
            "a newline": "$ID\n",
            "an escape": "\x1b[2J",
            "RLO": "$ID\u202e",
            "a lone surrogate": "$ID\ud800",
        }.items()
    ),
    *(
        # Read as it is: no id that the rules refuse ever reaches a URL.
        _id(f"text with {name}", value, right="cldp", expect={"id": value})
        for name, value in {
            "traversal": "../../admin",
            "a slash": "a/b",
            "a question": "a?b=c",
            "5,000 characters": "a" * 5000,
            "a space": " a ",
            "percent": "%2e%2e",
            "a dot": ".",
        }.items()
    ),
    _case("id of somebody else", _body(id="ast_other"), operations="gud"),
    _case("the original instead of a copy", _body(id="ast_1"), operations="p", right=""),
    _case("an envelope", b'{"data":' + RIGHT + b"}", is_whole=True, right="cgudp"),
    _case("an envelope in an envelope", b'{"data":{"data":' + RIGHT + b"}}", is_whole=True),
    _case("an envelope 500 deep", b'{"data":' * 500 + RIGHT + b"}" * 500, is_whole=True),
    _case(
        "three envelopes that differ",
        b'{"data":{"id":"a"},"assistant":{"id":"b"},"result":{"id":"c"}}',
        is_whole=True,
        operations="gudl",
    ),
    _case("an envelope with null", b'{"data":null}', is_whole=True),
    _case("an envelope with a text", b'{"data":"$ID"}', is_whole=True),
    _case("a success that is an error", b'{"error":"no","success":false}', is_whole=True),
    _case("an error list", b'{"errors":[{"message":"no"}]}', is_whole=True),
    _case("GraphQL", b'{"data":{"assistant":' + RIGHT + b"}}", is_whole=True),
    _case("a list for one", b"[" + RIGHT + b"]", is_whole=True, operations="cgup", right=""),
    _case("one for a list", RIGHT, is_whole=True, operations="l"),
    *(
        _case(f"a list of {name}", value, is_whole=True, operations="l")
        for name, value in {
            "nulls": b"[null]",
            "numbers": b"[1,2]",
            "texts": b'["ast_1"]',
            "lists": b"[[]]",
            "one and null": b"[" + RIGHT + b",null]",
            "one without id": b"[" + RIGHT + b',{"name":"x"}]',
            "objects under a number": b'{"data":{"0":' + RIGHT + b"}}",
            "text": b'{"data":"[]"}',
        }.items()
    ),
    *(
        _page(name, value)
        for name, value in {
            "has_more": {"has_more": True},
            "has_more as text": {"has_more": "false"},
            "has_more as an object": {"hasMore": {"x": 1}},
            "next as a number": {"next": 7},
            "next as a list": {"next_page": [1]},
            "a next name of 100 KB": {"next" + "x" * 100_000: 1},
            "a next name of control characters": {"next\x1b[31m\n": 1},
            "total 2": {"total": 2},
            "total as text": {"total": "2"},
            "total of 40 digits": {"total": 10**39},
            "total of 5,000 digits": {"total": "9" * 5000},
            "total 1e300": {"totalCount": 1e300},
            "pages of 5,000 digits": {"meta": {"total_pages": "9" * 5000}},
            "links": {"links": [{"rel": "next"}, None, 7, "x"]},
        }.items()
    ),
    *(
        _page(name, value, right="l")
        for name, value in {
            "total as an object": {"total": {"value": 9}},
            "total as other digits": {"total": "٩٩"},
            "total true": {"total": True},
            "total negative": {"total": -5},
            "total null": {"total": None},
            "meta as a list": {"meta": [1, None, {"total": 9}]},
            "links of odd kinds": {"links": [None, 7, "next", {"rel": ["next"]}]},
            "pages of odd kinds": {"pages": "9", "page": {"total_pages": []}},
        }.items()
    ),
    Case(
        name="5,000 digits of total beside a lone surrogate",
        body=b'{"data":[' + RIGHT + b'],"x":"\\ud800","total":' + b"9" * 4000 + b"}",
        is_whole=True,
        operations="l",
    ),
)
