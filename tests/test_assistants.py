"""The six endpoints, against the sandbox: what the caller gets, what travelled, what the store holds."""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest

from lisn_async import (
    UNSET,
    Assistant,
    AssistantCreate,
    AssistantUpdate,
    AsyncLisn,
    NotFoundError,
    UnprocessableEntityError,
    ValidationError,
)
from lisn_async.sandbox import Sandbox
from tests.conftest import SALES


async def test_the_specifications_example_is_created_and_travels_field_for_field(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    made = await client.assistants.create(**SALES)

    [seen] = sandbox.seen
    assert (seen.method, seen.path) == ("POST", "/v1/assistants")
    assert seen.headers["Authorization"] == f"Bearer {sandbox.token}"
    assert seen.headers["Content-Type"] == "application/json"
    assert orjson.loads(seen.body) == SALES
    assert made.id.startswith("ast_")
    assert {name: getattr(made, name) for name in SALES} == SALES


async def test_a_spec_travels_exactly_as_its_keywords_do(sandbox: Sandbox, client: AsyncLisn) -> None:
    await client.assistants.create(**SALES)
    await client.assistants.create(AssistantCreate(**SALES))

    by_keyword, by_spec = sandbox.seen
    assert by_keyword.body == by_spec.body


async def test_a_field_left_out_is_not_sent_and_none_is_sent_as_null(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    await client.assistants.create(
        name="n", type="text", llm_provider="grok", system_prompt="p", description=None, llm_model=UNSET
    )

    assert orjson.loads(sandbox.seen[0].body) == {
        "name": "n",
        "type": "text",
        "llm_provider": "grok",
        "system_prompt": "p",
        "description": None,
    }


async def test_get_update_and_list_show_what_the_server_holds(client: AsyncLisn) -> None:
    made = await client.assistants.create(**SALES)
    assert await client.assistants.get(made.id) == made

    changed = await client.assistants.update(made.id, name="Updated Analyzer Name")
    assert changed.name == "Updated Analyzer Name"
    assert changed.system_prompt == SALES["system_prompt"]
    assert await client.assistants.list() == [changed]


async def test_an_update_sends_only_the_fields_that_change(sandbox: Sandbox, client: AsyncLisn) -> None:
    made = await client.assistants.create(**SALES)
    await client.assistants.update(made.id, name="Updated Analyzer Name", description=None)

    seen = sandbox.seen[-1]
    assert (seen.method, seen.path) == ("PATCH", f"/v1/assistants/{made.id}")
    assert orjson.loads(seen.body) == {"name": "Updated Analyzer Name", "description": None}


async def test_a_duplicate_is_another_assistant_with_the_same_content(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    made = await client.assistants.create(**SALES)
    copy = await client.assistants.duplicate(made.id)

    assert copy.id != made.id
    assert copy.to_create() == made.to_create()
    seen = sandbox.seen[-1]
    assert (seen.method, seen.path, seen.body) == ("POST", f"/v1/assistants/{made.id}/duplicate", b"")
    assert "Content-Type" not in seen.headers, "curl sends none for an empty body"


async def test_deleting_removes_the_row_and_a_second_time_says_not_found(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    made = await client.assistants.create(**SALES)

    assert await client.assistants.delete(made.id) is None
    assert await client.assistants.list() == []
    with pytest.raises(NotFoundError) as caught:
        await client.assistants.delete(made.id)
    assert (caught.value.status_code, caught.value.outcome_unknown) == (404, False)


async def test_to_create_makes_the_same_assistant_again(client: AsyncLisn) -> None:
    made = await client.assistants.create(**SALES, webhook_secret="s3cret", description="d")
    again = await client.assistants.create(made.to_create())

    assert attrs.evolve(again, id=made.id, extra=made.extra) == made


async def test_extra_body_adds_top_level_fields(sandbox: Sandbox, client: AsyncLisn) -> None:
    with pytest.raises(UnprocessableEntityError):
        await client.assistants.create(**SALES, extra_body={"temperature": 7, "new_field": [1]})

    sent = orjson.loads(sandbox.seen[0].body)
    assert (sent["temperature"], sent["new_field"]) == (7, [1])


async def test_text_passes_unchanged_in_both_directions(client: AsyncLisn) -> None:
    text = ' \u2028{{x}} ${name}\r\n\t\x00\x85 é 你好 \U0001f600 \\ " </script> '
    made = await client.assistants.create(name=text, type="text", llm_provider="openai", system_prompt=text)

    assert (made.name, made.system_prompt) == (text, text)
    [listed] = await client.assistants.list()
    assert (listed.name, listed.system_prompt) == (text, text)


async def test_undocumented_fields_of_a_reply_are_kept_in_extra(client: AsyncLisn) -> None:
    made = await client.assistants.create(**SALES)
    assert "created_at" in made.extra


async def test_with_raw_response_gives_the_model_and_the_reply(sandbox: Sandbox, client: AsyncLisn) -> None:
    raw = await client.assistants.with_raw_response.create(**SALES)

    made = raw.parse()
    assert isinstance(made, Assistant)
    assert (raw.status_code, raw.attempts) == (201, 1)
    assert raw.request_id == raw.headers["x-request-id"] == sandbox.seen[0].request_id
    api = client.assistants.with_raw_response
    assert (await api.get(made.id)).parse() == made
    assert (await api.list()).parse() == [made]
    assert (await api.update(made.id, name="n")).parse().name == "n"
    assert (await api.duplicate(made.id)).parse().id != made.id
    assert (await api.delete(made.id)).parse() is None


async def test_a_raw_response_counts_its_attempts(
    sandbox: Sandbox, client: AsyncLisn, no_waiting: list[float]
) -> None:
    sandbox.faults = [503, "reset"]
    assert (await client.assistants.with_raw_response.list()).attempts == 3


@pytest.mark.parametrize("bad", ["", ".", "..", "../x", "a/b", "a b", "a?b", "é", "a\n", "x" * 129, None, 7])
async def test_an_id_that_would_change_the_path_is_refused_unsent(
    sandbox: Sandbox, client: AsyncLisn, bad: str
) -> None:
    api = client.assistants
    for call in (api.get, api.delete, api.duplicate, api.update):
        with pytest.raises(ValidationError) as caught:
            await call(bad)
        assert list(caught.value.fields) == ["assistant_id"]
    assert sandbox.seen == []


async def test_every_wrong_field_is_named_at_once_and_nothing_is_sent(
    sandbox: Sandbox, client: AsyncLisn
) -> None:
    with pytest.raises(ValidationError) as caught:
        await client.assistants.create(
            name="",
            type="fax",
            system_prompt=None,
            stt_provider="whisper",
            temperature=1.5,
            webhook_url="ftp://x",
        )
    assert set(caught.value.fields) == {
        "name",
        "type",
        "llm_provider",
        "system_prompt",
        "temperature",
        "webhook_url",
    }
    assert sandbox.seen == []


async def test_strict_false_lets_new_providers_through_to_the_server(sandbox: Sandbox) -> None:
    loose = AsyncLisn(sandbox.token, base_url=sandbox.base_url, strict=False)
    async with loose:
        with pytest.raises(UnprocessableEntityError):
            await loose.assistants.create(
                name="n",
                type="text",
                llm_provider="mistral",
                system_prompt="p",
            )
    assert len(sandbox.seen) == 1


async def test_a_spec_and_fields_together_are_a_type_error(sandbox: Sandbox, client: AsyncLisn) -> None:
    with pytest.raises(TypeError, match="not both"):
        await client.assistants.create(AssistantCreate(**SALES), name="n")
    assert sandbox.seen == []


async def test_a_spec_may_be_named_and_take_more_fields_with_it(sandbox: Sandbox, client: AsyncLisn) -> None:
    spec = AssistantCreate(**SALES, extra_body={"team": "north", "tier": 1})
    await client.assistants.create(spec=spec, extra_body={"tier": 2})
    raw = await client.assistants.with_raw_response.create(AssistantCreate(**SALES), extra_body={"tier": 2})
    await client.assistants.update(raw.parse().id, AssistantUpdate(name="n"), extra_body={"tier": 3})
    named, plain, change = [orjson.loads(request.body) for request in sandbox.seen]
    assert named == {**SALES, "team": "north", "tier": 2}
    assert plain == {**SALES, "tier": 2}
    assert change == {"name": "n", "tier": 3}
    assert spec.extra_body == {"team": "north", "tier": 1}


@pytest.mark.parametrize("own", [{"tier": 1}, None, ["tier"]])
async def test_a_wrong_extra_body_beside_a_spec_is_refused(
    sandbox: Sandbox, client: AsyncLisn, own: Any
) -> None:
    with pytest.raises(ValidationError, match="extra_body"):
        await client.assistants.create(AssistantCreate(**SALES, extra_body=own), extra_body=["tier"])
    assert sandbox.seen == []


async def test_a_change_travels_exactly_as_its_fields_do(sandbox: Sandbox, client: AsyncLisn) -> None:
    made = await client.assistants.create(**SALES)
    await client.assistants.update(made.id, name="n", description=None)
    await client.assistants.update(made.id, AssistantUpdate(name="n", description=None))
    by_field, by_change = sandbox.seen[-2:]
    assert by_field.body == by_change.body
    with pytest.raises(TypeError, match="not both"):
        await client.assistants.update(made.id, AssistantUpdate(name="n"), name="m")
    with pytest.raises(ValidationError, match="must be an AssistantUpdate, not dict"):
        await client.assistants.update(made.id, {"name": "n"})


@pytest.mark.parametrize(
    ("given", "said"),
    [("abc", "not str"), ([1], "not list"), (7, "not int"), (Assistant(id="ast_1"), r"\.to_create\(\)")],
)
async def test_what_is_no_spec_is_named_as_its_owner_knows_it(
    sandbox: Sandbox, client: AsyncLisn, given: object, said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        await client.assistants.create(given)
    assert sandbox.seen == []
