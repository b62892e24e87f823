"""One token and one webhook secret, looked for everywhere a value can show."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from lisn_async import APIRequest, AssistantCreate, AsyncLisn, CallNext, LisnError, RawResponse
from lisn_async.sandbox import Fault, Sandbox
from tests.fix_wire import RESET, Wire, reply

TOKEN = "canary-token-0123456789"
SECRET = "canary-webhook-9876543210"


def shown_by(error: BaseException) -> str:
    """All that a crash reporter would send: the chain, every frame's locals, and the error's own values."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(whole.format()) + repr(error) + str(vars(error)) + repr(error.args)


def assert_hidden(text: str) -> None:
    assert TOKEN not in text
    assert SECRET not in text


async def with_a_key(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
    request.headers["X-Key"] = str(SECRET)
    return await call_next(request)


async def sign_with(key: str, request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
    del key  # else it shows in this frame, which is the user's
    return await call_next(request)


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "token from a function": {"api_token": lambda: str(TOKEN)},
    "key from a middleware": {"middleware": [with_a_key]},
    "functions that hold them": {
        "api_token": partial(lambda token: token, TOKEN),
        "middleware": [partial(sign_with, SECRET)],
    },
}


async def fail(wire: Wire, operation: str, **options: Any) -> LisnError:
    async with AsyncLisn(
        **{"api_token": TOKEN, "base_url": wire.base_url, "max_retries": 0, **options}
    ) as client:
        options.clear()  # they show in this frame, which is the user's
        try:
            if operation == "create":
                await client.assistants.create(
                    name="n",
                    type="text",
                    llm_provider="openai",
                    system_prompt="p",
                    webhook_secret=SECRET,
                )
            else:
                await client.assistants.update("ast_1", webhook_secret=SECRET)
        except LisnError as error:
            return error
    raise AssertionError("it did not fail")


echo = orjson.dumps({"message": f"bad {TOKEN} {SECRET}", SECRET: [{"deep": f"x{SECRET}x"}], TOKEN: 1})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operation", ["create", "update"])
@pytest.mark.parametrize(
    "answer",
    [
        RESET,
        reply(echo, "422 Unprocessable", f"X-Echo: {TOKEN} {SECRET}", f"X-Request-Id: {TOKEN}"),
        reply(b"plain " + TOKEN.encode() + SECRET.encode(), "500 Oops"),
        reply(b'{"id": 7, "webhook_secret": "' + SECRET.encode() + b'"}'),
        reply(b'{"id": "ast_1", "name": 7, "webhook_secret": "' + SECRET.encode() + b'"}'),
        reply(b'not json "' + SECRET.encode() + b'"'),
        reply(b'{"webhook_secret": "' + SECRET.encode() + b'"', "200 OK", "Connection: close", length=500),
        reply(b"", f"400 {TOKEN}"),
        b"HTTP/1.1 " + TOKEN.encode() + b" nonsense\r\n\r\n",
    ],
)
async def test_no_error_shows_a_secret(wire: Wire, answer: Any, operation: str, way: str) -> None:
    wire.script.append(answer)
    error = await fail(wire, operation, **WAYS[way])
    assert_hidden(shown_by(error))
    assert TOKEN.encode() not in pickle.dumps(error)
    assert SECRET.encode() not in pickle.dumps(error)


def ours_in(error: BaseException) -> str:
    """What the frames of the SDK show of their locals; the test's own hold the plain values, as a user's do."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if "lisn_async" in frame.filename]
    assert frames
    return "".join(str(frame.locals) for frame in frames) + str(error) + repr(error)


CREATE = {"name": "", "type": "text", "llm_provider": "openai", "system_prompt": "p"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook_secret": [SECRET]},
        {"webhook_secret": SECRET, "webhook_url": "ftp://x"},
        {"webhook_secret": SECRET, "extra_body": {"key": SECRET}},
    ],
)
async def test_a_validation_error_shows_no_secret(wrong: dict[str, Any]) -> None:
    for call in (
        lambda: AsyncLisn(TOKEN).assistants.create(**{**CREATE, **wrong}),
        lambda: AsyncLisn(TOKEN).assistants.create({**CREATE, **wrong}),
        lambda: AsyncLisn(TOKEN).assistants.update("", **wrong),
    ):
        with pytest.raises(LisnError) as caught:
            await call()
        assert_hidden(ours_in(caught.value))


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_token": TOKEN + "\n"},
        {"timeout": -1},
        {"proxy": f"socks5://user:{SECRET}@proxy:1"},
        {"proxy": f"http://user:{SECRET}@proxy:0"},
        {"base_url": f"https://user:{SECRET}@example.com"},
        {"base_url": f"https://example.com?key={SECRET}"},
        {"base_url": f"http://example.com/{SECRET}"},
        {"default_headers": {"X-Key": SECRET + "\n"}},
        {"default_headers": {"X-Key": SECRET}, "max_retries": -1},
        {"api_token": partial(str, TOKEN), "max_retries": -1},
        {"middleware": [partial(sign_with, SECRET)], "max_retries": -1},
        {"middleware": [partial(print, SECRET)]},
    ],
)
def test_a_configuration_error_shows_no_secret(wrong: dict[str, Any]) -> None:
    with pytest.raises(LisnError) as caught:
        AsyncLisn(**{"api_token": TOKEN, **wrong})
    assert_hidden(ours_in(caught.value))


@pytest.mark.parametrize("given", [TOKEN + "\n", TOKEN.encode(), [TOKEN]])
async def test_what_a_function_gives_that_is_no_token_shows_in_no_frame(given: Any) -> None:
    async with AsyncLisn(partial(lambda given: given, given), base_url="http://127.0.0.1:1") as client:
        with pytest.raises(LisnError, match="what the function api_token returned") as caught:
            await client.assistants.list()
    assert_hidden(ours_in(caught.value))


def test_a_bad_environment_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://user:{SECRET}@proxy:1")
    with pytest.raises(LisnError, match="HTTPS_PROXY") as caught:
        AsyncLisn(TOKEN)
    assert_hidden(ours_in(caught.value))
    monkeypatch.setenv("LISN_API_TOKEN", TOKEN + "\n")
    with pytest.raises(LisnError, match="LISN_API_TOKEN") as caught:
        AsyncLisn()
    assert_hidden(ours_in(caught.value))


async def test_a_bulk_run_that_cannot_start_shows_no_secret(sandbox: Sandbox) -> None:
    specs = [{**CREATE, "webhook_secret": SECRET}]
    async with AsyncLisn("wrong", base_url=sandbox.base_url) as client:
        with pytest.raises(LisnError) as caught:
            await client.assistants.create_many(specs)
        assert_hidden(ours_in(caught.value))
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url) as client:
        result = await client.assistants.create_many(specs)
    assert result.failed[0].error is not None
    assert result.failed[0].error.__traceback__ is None


@pytest.mark.parametrize(
    ("secret", "echo"),
    [
        ("plain", b"x" * 290 + b"plain-and-more"),
        ("two\nlines", b'{"message": "bad two\\nlines"}'),
        ('quo"te-\u00e9', b'you sent {"webhook_secret":"quo\\"te-\xc3\xa9"}'),
        ('quo"te-\u00e9', b'you sent {"webhook_secret":"quo\\"te-\\u00e9"}'),
        ("sla/sh", b'you sent {"webhook_secret":"sla\\/sh"}'),
    ],
)
async def test_an_echoed_secret_is_replaced_in_every_form(wire: Wire, secret: str, echo: bytes) -> None:
    wire.script.append(reply(echo, "422 Unprocessable Entity"))
    async with AsyncLisn(TOKEN, base_url=wire.base_url) as client:
        with pytest.raises(LisnError) as caught:
            await client.assistants.update("ast_1", webhook_secret=secret)
    shown = str(caught.value) + str(caught.value.body)  # type: ignore[attr-defined]
    for form in ("plain", "lines", "quo", "te-", "sla", "/sh"):
        assert form not in shown


async def test_a_secret_in_extra_body_is_replaced_as_well(wire: Wire) -> None:
    wire.script.append(reply(b'{"message": "no ' + SECRET.encode() + b'"}', "422 Unprocessable Entity"))
    async with AsyncLisn(TOKEN, base_url=wire.base_url) as client:
        with pytest.raises(LisnError) as caught:
            await client.assistants.update("ast_1", extra_body={"webhook_secret": SECRET})
    assert_hidden(str(caught.value))


async def test_objects_show_no_secret(sandbox: Sandbox) -> None:
    box = Sandbox(token=TOKEN)
    async with box, AsyncLisn(TOKEN, base_url=box.base_url) as client:
        spec = AssistantCreate(
            name="n",
            type="text",
            llm_provider="openai",
            system_prompt="p",
            webhook_secret=SECRET,
        )
        raw = await client.assistants.with_raw_response.create(spec)
        made = raw.parse()
        assert made.webhook_secret == SECRET, "readable for the program"
        result = await client.assistants.create_many([spec, {"name": "", "webhook_secret": SECRET}])
        objects = [client, client.assistants, client._calls, client._calls.settings, spec, raw, made, result]
        objects += [*result.outcomes, client._calls.transport, client._calls.transport._json_headers]
    for thing in objects:
        assert_hidden(repr(thing) + str(thing))


async def test_logs_at_debug_show_no_secret_and_no_body(
    caplog: pytest.LogCaptureFixture, no_waiting: list[float]
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with Sandbox(token=TOKEN) as box, AsyncLisn(TOKEN, base_url=box.base_url) as client:
        made = await client.assistants.create(
            name="n", type="text", llm_provider="openai", system_prompt="a-prompt", webhook_secret=SECRET
        )
        box.faults = ["reset", Fault(do="status", status=503)]
        await client.assistants.update(made.id, webhook_secret=SECRET)
    assert_hidden(caplog.text)
    ours = [record.getMessage() for record in caplog.records if record.name == "lisn"]
    assert any("PATCH /v1/assistants/{id}: 503" in line for line in ours)
    assert not any("a-prompt" in line or made.id in line for line in ours)


async def test_the_environment_switches_the_log_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sandbox: Sandbox
) -> None:
    logger = logging.getLogger("lisn")
    before, level = list(logger.handlers), logger.level
    monkeypatch.setenv("LISN_LOG", "debug")
    try:
        async with AsyncLisn(sandbox.token, base_url=sandbox.base_url) as client:
            AsyncLisn(sandbox.token, base_url=sandbox.base_url)
            await client.assistants.list()
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)
    lines = [line for line in capsys.readouterr().err.splitlines() if "/v1/assistants" in line]
    assert len(lines) == 1, "two clients, one handler"
    assert "GET /v1/assistants: 200 in " in lines[0]


@pytest.mark.parametrize("exact", ["content", "marker"])
async def test_a_bulk_run_shows_no_secret_anywhere(
    exact: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path, no_waiting: list[float]
) -> None:
    """Journal, logs, outcomes, errors with their notes and frames: with a service that echoes what it was sent."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    echo = {"message": f"no {SECRET} for {TOKEN}", "you sent": [SECRET, {TOKEN: SECRET}]}
    specs: list[Any] = [
        AssistantCreate(**{**CREATE, "name": f"n{n}"}, webhook_secret=SECRET) for n in range(8)
    ]
    specs += [{**CREATE, "webhook_secret": SECRET}, {"webhook_secret": [SECRET]}, {"nmae": SECRET}]
    async with Sandbox(token=TOKEN) as box, AsyncLisn(TOKEN, base_url=box.base_url, max_retries=0) as client:
        operations = ("create", "update") if exact == "marker" else ("create",)
        box.faults = [
            {"do": "status", "status": status, "body": echo, "operation": operation, "when": when}
            for operation in operations
            for status, when in ((422, "before"), (500, "before"), (502, "after"), (429, "before"))
        ]
        box.faults.append(
            {"do": "status", "status": 500, "body": {"message": TOKEN}, "operation": "list", "skip": 1}
        )
        for _ in range(2):  # what the first run cannot settle, the second does
            result = await client.assistants.create_many(specs, journal=tmp_path / "j", settle=0, exact=exact)
            with pytest.raises(LisnError) as caught:
                result.raise_for_failures()
            things = [result, caught.value, *result.outcomes, *(one.error for one in result.outcomes)]
            for thing in things:
                notes = getattr(thing, "__notes__", ())
                assert_hidden(repr(thing) + str(thing) + str(notes))
            for outcome in result.outcomes:
                if outcome.error is not None:
                    assert_hidden(ours_if_any(outcome.error))
                    assert SECRET.encode() not in pickle.dumps(outcome.error.args[:1])
        (tmp_path / "other").write_text("{}\n")
        with pytest.raises(LisnError) as caught:
            await client.assistants.create_many(specs, journal=tmp_path / "other", exact=exact)
        assert_hidden(ours_in(caught.value))
    assert_hidden(caplog.text)
    journal = (tmp_path / "j").read_text()
    assert_hidden(journal)
    assert '"created"' in journal


def ours_if_any(error: BaseException) -> str:
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(str(frame.locals) for frame in shown.stack if "lisn_async" in frame.filename) + repr(error)
