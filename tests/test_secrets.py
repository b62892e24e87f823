"""One token and one webhook secret, looked for everywhere a value can show."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from typing import Any

import orjson
import pytest

from lisn_async import AssistantCreate, AsyncLisn, LisnError
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


async def fail(wire: Wire, operation: str, **options: Any) -> LisnError:
    async with AsyncLisn(TOKEN, base_url=wire.base_url, max_retries=0, **options) as client:
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
        reply(b'{"webhook_secret": "' + SECRET.encode() + b'"', length=500) + b"",
        reply(b"", f"400 {TOKEN}"),
        b"HTTP/1.1 " + TOKEN.encode() + b" nonsense\r\n\r\n",
    ],
)
async def test_no_error_shows_a_secret(wire: Wire, answer: Any, operation: str) -> None:
    wire.script.append(answer)
    error = await fail(wire, operation, timeout=0.5)
    assert_hidden(shown_by(error))
    assert TOKEN.encode() not in pickle.dumps(error)
    assert SECRET.encode() not in pickle.dumps(error)


async def test_a_validation_error_shows_no_secret() -> None:
    for wrong in ({"webhook_secret": [SECRET]}, {"webhook_url": f"ftp://u:{SECRET}@x"}, {"temperature": 7}):
        try:
            await AsyncLisn(TOKEN).assistants.create(
                **{
                    "name": "",
                    "type": "text",
                    "llm_provider": "openai",
                    "system_prompt": "p",
                    "webhook_secret": SECRET,
                    "extra_body": {"key": SECRET},
                    **wrong,
                }
            )
        except LisnError as error:
            # The test's own frame holds the plain values; ours must not.
            ours = [
                frame for frame in traceback.extract_tb(error.__traceback__) if "lisn_async" in frame.filename
            ]
            assert ours
            assert_hidden(repr(error) + str(error))


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
        objects += [*result.outcomes, client._calls.transport]
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
