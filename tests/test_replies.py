"""Reading replies whose shape the documentation does not give: canned, since the shape is the point."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from aioresponses import aioresponses

from lisn_async import APIResponseError, Assistant, AsyncLisn, IncompleteListError, _response

URL = "https://app.lisn.dev/api/v1/assistants"
ONE = {"id": "ast_1", "name": "n", "temperature": 1, "type": "video", "llm_provider": "new", "more": [1]}
READ = Assistant(id="ast_1", name="n", temperature=1.0, type="video", llm_provider="new", extra={"more": [1]})


@pytest.fixture
async def client() -> AsyncLisn:
    return AsyncLisn("tok-0123", max_retries=0)


@pytest.mark.parametrize(
    "payload",
    [
        ONE,
        {"data": ONE},
        {"assistant": ONE},
        {"result": ONE},
        {"id": "req_9", "data": ONE},
        {"id": "evt_1", "type": "ok", "assistant": ONE},
        {"data": ONE, "ok": 1},
    ],
)
async def test_one_assistant_comes_bare_or_in_one_envelope(
    canned: aioresponses, client: AsyncLisn, payload: Any
) -> None:
    canned.get(f"{URL}/ast_1", payload=payload)
    assert await client.assistants.get("ast_1") == READ


async def test_a_bare_assistant_with_a_field_named_like_an_envelope_is_itself(
    canned: aioresponses, client: AsyncLisn
) -> None:
    canned.get(f"{URL}/ast_1", payload={**ONE, "data": {"id": "other", "name": "x"}})
    assert (await client.assistants.get("ast_1")).id == "ast_1"


async def test_missing_and_null_fields_read_as_none(canned: aioresponses, client: AsyncLisn) -> None:
    canned.get(f"{URL}/ast_1", payload={"id": "ast_1", "name": None})
    assert await client.assistants.get("ast_1") == Assistant(id="ast_1")


async def test_a_field_named_extra_lands_in_extra(canned: aioresponses, client: AsyncLisn) -> None:
    canned.get(f"{URL}/ast_1", payload={"id": "ast_1", "extra": {"a": 1}})
    assert (await client.assistants.get("ast_1")).extra == {"extra": {"a": 1}}


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"x"', b"{}", b'{"id":null}', b'{"id":7}', b'{"id":""}', b"<html>", b"{", b"\xff"]
    + [b'{"id":"ast_1","name":7}', b'{"id":"ast_1","temperature":"hot"}', b'{"id":"ast_1","temperature":NaN}']
    + [
        b'{"id":"ast_1","name":"\\ud800","temperature":1' + b"0" * 400 + b"}",
        b'{"id":"ast_1","x":"\\ud800","temperature":1e999}',
    ]
    + [b'{"id":"ast_2"}', b'{"data":[{"id":"ast_1"}]}', b"[" * 20_000, b'{"a":' * 20_000],
)
async def test_what_is_no_assistant_is_an_error_and_never_half_an_assistant(
    canned: aioresponses, client: AsyncLisn, body: bytes
) -> None:
    canned.get(f"{URL}/ast_1", body=body)
    with pytest.raises(APIResponseError) as caught:
        await client.assistants.get("ast_1")
    assert caught.value.outcome_unknown is False


@pytest.mark.parametrize(
    "payload", [[ONE], {"data": [ONE]}, {"assistants": [ONE]}, {"items": [ONE]}, {"results": [ONE]}]
)
async def test_a_list_comes_bare_or_under_one_of_four_names(
    canned: aioresponses, client: AsyncLisn, payload: Any
) -> None:
    canned.get(URL, payload=payload)
    assert await client.assistants.list() == [READ]


@pytest.mark.parametrize(
    "more",
    [
        {"has_more": True},
        {"hasMore": True},
        {"next": "https://x"},
        {"next_cursor": "c"},
        {"nextPageToken": "c"},
        {"total": 2},
        {"total_count": 2},
        {"meta": {"total": 2}},
        {"pagination": {"next_page": 2}},
        {"links": {"next": "https://x"}},
        {"links": [{"rel": "next", "href": "https://x"}]},
        {"total": "2"},
        {"total": 2.0},
        {"total_pages": 3},
        {"last_page": 3},
    ],
)
async def test_a_list_that_says_there_is_more_is_never_silently_cut(
    canned: aioresponses, client: AsyncLisn, more: Any
) -> None:
    canned.get(URL, payload={"data": [ONE], **more})
    with pytest.raises(IncompleteListError) as caught:
        await client.assistants.list()
    assert caught.value.partial == [READ]


async def test_a_next_link_in_a_header_counts_as_well(canned: aioresponses, client: AsyncLisn) -> None:
    canned.get(URL, payload=[ONE], headers={"Link": '<https://x?page=2>; rel="next"'})
    with pytest.raises(IncompleteListError):
        await client.assistants.list()


@pytest.mark.parametrize("same", [{"has_more": False}, {"next": None}, {"total": 1}, {"meta": {"total": 1}}])
async def test_a_list_that_says_it_is_whole_is_believed(
    canned: aioresponses, client: AsyncLisn, same: Any
) -> None:
    canned.get(URL, payload={"data": [ONE], **same})
    assert await client.assistants.list() == [READ]


@pytest.mark.parametrize(
    "payload", [{}, {"data": {}}, None, [1], [[]], [{"name": "no id"}], {"data": [ONE, None]}]
)
async def test_what_is_no_list_of_assistants_is_an_error(
    canned: aioresponses, client: AsyncLisn, payload: Any
) -> None:
    canned.get(URL, payload=payload) if payload is not None else canned.get(URL, body="null")
    with pytest.raises(APIResponseError):
        await client.assistants.list()


async def test_a_lone_surrogate_in_one_assistant_does_not_hide_the_others(
    canned: aioresponses, client: AsyncLisn
) -> None:
    canned.get(URL, body=rb'[{"id":"ast_1","name":"\ud800"},{"id":"ast_2"}]')
    assert [found.name for found in await client.assistants.list()] == ["\ud800", None]


async def test_a_create_whose_reply_has_no_id_may_have_happened(
    canned: aioresponses, client: AsyncLisn
) -> None:
    canned.post(URL, status=201, payload={"ok": True})
    with pytest.raises(APIResponseError) as caught:
        await client.assistants.create(name="n", type="text", llm_provider="openai", system_prompt="p")
    assert caught.value.outcome_unknown is True


async def test_a_copy_with_the_originals_id_is_not_believed(canned: aioresponses, client: AsyncLisn) -> None:
    canned.post(f"{URL}/ast_1/duplicate", payload=ONE)
    with pytest.raises(APIResponseError) as caught:
        await client.assistants.duplicate("ast_1")
    assert caught.value.outcome_unknown is True


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message":"too bad"}', "too bad"),
        (b'{"error":{"message":"too bad"}}', "too bad"),
        (b'{"detail":[{"message":"too bad"}]}', "too bad"),
        (b'{"errors":["too bad"]}', "too bad"),
        (b"too\x1b[31m bad\n", "too [31m bad"),
    ],
)
async def test_an_error_says_what_the_service_said_in_one_printable_line(
    canned: aioresponses, client: AsyncLisn, body: bytes, said: str
) -> None:
    canned.get(URL, status=400, body=body)
    with pytest.raises(Exception, match="400 Bad Request") as caught:
        await client.assistants.list()
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_long_list_is_read_in_turns_with_the_loop(
    canned: aioresponses, client: AsyncLisn, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    decode, structure = _response.decode, _response.structure_assistant

    def decoding(body: bytes) -> object:
        events.append("decoded")
        return decode(body)

    def structuring(row: dict[str, Any]) -> Assistant:
        events.append("made")
        return structure(row)

    async def others() -> None:
        while True:
            events.append("turn")
            await asyncio.sleep(0)

    monkeypatch.setattr(_response, "decode", decoding)
    monkeypatch.setattr(_response, "structure_assistant", structuring)
    count = 3 * _response.AT_ONCE + 1
    canned.get(URL, payload=[{"id": f"ast_{n}"} for n in range(count)])
    task = asyncio.create_task(others())
    found = await client.assistants.list()
    task.cancel()
    assert [one.id for one in found] == [f"ast_{n}" for n in range(count)]
    after = events[events.index("decoded") + 1 :]
    stretches = [list(same) for kind, same in itertools.groupby(after) if kind == "made"]
    assert after[0] == "turn"
    assert [len(stretch) for stretch in stretches] == [_response.AT_ONCE] * 3 + [1]
