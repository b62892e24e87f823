"""What the recipes tell the callers of a backend when Lisn fails: each error as it really comes, in each framework."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lisn_async import AsyncLisn, ConfigurationError, LisnError
from lisn_async.sandbox import Sandbox

from .conftest import RECIPES, WITHIN, Start, needs

SPEC: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "Be brief."}
UNKNOWN = (500, "This may have been done: look first.", None)
OURS = (500, "Internal Server Error", None)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(RECIPES)
    import lisn_answers

    return lisn_answers.answer


def told(answered: tuple[dict[str, str], int, dict[str, str]]) -> tuple[int, str, str | None]:
    body, status, headers = answered
    return status, body["detail"], headers.get("Retry-After")


@pytest.mark.parametrize(
    ("fault", "get", "create"),
    [
        ({"status": 404}, (404, "Not Found", None), (404, "Not Found", None)),
        ({"status": 409}, (409, "Conflict", None), (409, "Conflict", None)),
        ({"status": 429}, (503, "Service Unavailable", "1"), (503, "Service Unavailable", "1")),
        ({"status": 429, "retry_after": 7}, (503, "Service Unavailable", "7"), (503, "Service Unavailable", "7")),
        ({"status": 503, "retry_after": 7}, (502, "Bad Gateway", "7"), (502, "Bad Gateway", "7")),
        ({"status": 401}, OURS, OURS),
        ({"status": 403}, OURS, OURS),
        ({"status": 302}, (502, "Bad Gateway", "1"), (502, "Bad Gateway", "1")),
        ({"status": 500}, (502, "Bad Gateway", "1"), UNKNOWN),
        ({"status": 503}, (502, "Bad Gateway", "1"), UNKNOWN),
        ({"do": "garbage"}, (502, "Bad Gateway", "1"), UNKNOWN),
        ({"do": "reset", "when": "after"}, (503, "Service Unavailable", "1"), UNKNOWN),
        ({"do": "hang"}, (504, "Gateway Timeout", "1"), UNKNOWN),
    ],
)  # fmt: skip
async def test_only_what_does_no_harm_is_invited_again(
    sandbox: Sandbox, answer: Any, fault: dict[str, Any], get: Any, create: Any
) -> None:
    sandbox.faults = [{**fault, "times": None}]
    timeout = 0.2 if fault.get("do") == "hang" else 60
    for name, expected in (("get", get), ("create", create)):
        # A client of its own: the pause that the service asks for holds the whole client.
        async with AsyncLisn(
            sandbox.token, base_url=sandbox.base_url, max_retries=0, timeout=timeout
        ) as client:
            with pytest.raises(LisnError) as caught:
                await getattr(client.assistants, name)("ast_x" if name == "get" else SPEC)
        assert told(answer(caught.value)) == expected


async def test_a_create_that_was_never_sent_may_be_asked_for_again(answer: Any) -> None:
    async with AsyncLisn("t", base_url="http://127.0.0.1:1", max_retries=0) as client:
        with pytest.raises(LisnError) as caught:
            await client.assistants.create(SPEC)
    assert told(answer(caught.value)) == (503, "Service Unavailable", "1")


async def test_wrong_fields_are_the_callers_and_a_wrong_set_up_is_ours(
    client: AsyncLisn, answer: Any
) -> None:
    with pytest.raises(LisnError) as caught:
        await client.assistants.create({**SPEC, "name": "", "llm_provider": "hat"})
    body, status, _ = answer(caught.value)
    assert (sorted(json.loads(json.dumps(body))["detail"]), status) == (["llm_provider", "name"], 422)
    made = await client.assistants.create(SPEC)
    with pytest.raises(LisnError) as caught:
        await client.assistants.update(
            made.id, stt_provider="elevenlabs"
        )  # which only the service can know is wrong
    assert answer(caught.value)[1] == 422
    assert told(answer(ConfigurationError("no API token"))) == OURS


DJANGO = """
from {recipe} import *
from django.conf import settings
from django.core.{kind} import get_{kind}_application
settings.MIDDLEWARE = ["django_errors.LisnFailed"]
app = get_{kind}_application()
"""
UVICORN = ("-m", "uvicorn", "--port", "0", "--timeout-graceful-shutdown", "0")
GUNICORN = (
    "-m",
    "gunicorn",
    "--bind",
    "127.0.0.1:0",
    "--graceful-timeout",
    "0",
    "--no-control-socket",
    "--threads",
    "2",
)


@pytest.mark.parametrize(
    ("server", "app"),
    [
        pytest.param(UVICORN, "fastapi_errors", marks=needs("fastapi", "uvicorn")),
        pytest.param(UVICORN, "django_asgi_app", marks=needs("django", "uvicorn")),
        pytest.param(GUNICORN, "flask_errors", marks=needs("flask", "gunicorn")),
        pytest.param(GUNICORN, "django_wsgi_app", marks=needs("django", "gunicorn")),
    ],
)
def test_callers_are_told_so_and_nothing_of_what_lisn_said(
    start: Start, lisn_sandbox: Sandbox, tmp_path: Path, server: tuple[str, ...], app: str
) -> None:
    if app.startswith("django"):
        (tmp_path / "with_errors.py").write_text(DJANGO.format(recipe=app, kind=app.split("_")[1]))
    name = "with_errors" if app.startswith("django") else app
    path = ":".join([str(tmp_path), str(Path(__file__).parent.parent.parent), str(RECIPES)])
    program = start(*server, f"{name}:app", box=lisn_sandbox, PYTHONPATH=path)
    port = int(program.wait_for(r"(?:running on|Listening at:) http://127\.0\.0\.1:(\d+)")[1])
    creates = app in ("fastapi_errors", "django_asgi_app")

    def ask(fault: dict[str, Any]) -> tuple[int, bytes, str | None]:
        lisn_sandbox.faults = [{**fault, "times": None}]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)
        if creates:
            connection.request("POST", "/assistants", json.dumps(SPEC), {"Content-Type": "application/json"})
        else:
            connection.request("GET", "/assistants/ast_x")
        reply = connection.getresponse()
        answered = reply.status, reply.read(), reply.headers["Retry-After"]
        connection.close()
        return answered

    status, body, again = ask({"status": 404})
    assert (status, json.loads(body), again) == (404, {"detail": "Not Found"}, None)
    if creates:
        status, body, again = ask({"do": "reset", "when": "after"})
        assert (status, json.loads(body), again) == (500, {"detail": UNKNOWN[1]}, None)
        assert len(lisn_sandbox.assistants()) == 1
    status, body, again = ask({"status": 429, "retry_after": 120})  # too long to be waited out
    assert (status, json.loads(body), again) == (503, {"detail": "Service Unavailable"}, "120")
    program.kill()
    assert re.search(r"answered with 503\n(.*\n)*.*RateLimitError", program.log), program.log
    assert lisn_sandbox.token not in program.log
