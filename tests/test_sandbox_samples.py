"""The recorded conversation and the specification's own commands: the sandbox against its second witnesses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from lisn_async import sandbox as package
from lisn_async.sandbox import Sandbox, _guesses, _rules
from lisn_async.sandbox._control import openapi
from lisn_async.sandbox._thread import running_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = sorted(Path(package.__file__).with_name("samples").glob("*.json"))


async def test_the_sandbox_still_says_what_was_recorded() -> None:
    async with Sandbox() as box, aiohttp.ClientSession() as session:
        for sample in SAMPLES:  # one conversation: each needs what the one before left behind
            recorded = json.loads(sample.read_text(encoding="utf-8"))
            assert (
                await _said(session, box.base_url, recorded["request"], recorded["reply"])
                == recorded["reply"]
            ), sample.name


async def _said(
    session: aiohttp.ClientSession, base_url: str, request: dict[str, Any], reply: dict[str, Any]
) -> dict[str, Any]:
    data = request.get("text", json.dumps(request["body"]) if "body" in request else None)
    async with session.request(
        request["method"],
        base_url + request["path"],
        headers=request["headers"],
        data=data,
        skip_auto_headers=["Content-Type"],
    ) as answer:
        raw = await answer.read()
        headers = {name: answer.headers.get(name) for name in reply["headers"]}
        return {"status": answer.status, "headers": headers, "body": json.loads(raw) if raw else None}


def test_every_operation_has_a_recording() -> None:
    requests = [json.loads(sample.read_text(encoding="utf-8"))["request"] for sample in SAMPLES]
    assert {one["method"] for one in requests} >= {"GET", "POST", "PATCH", "DELETE"}
    assert any(one["path"].endswith("/duplicate") for one in requests)


# The six commands of assistants-api.txt, letter for letter.
CURL = [
    """curl -X POST "https://app.lisn.dev/api/v1/assistants" \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "Sales Analyzer",
    "type": "voice",
    "stt_provider": "elevenlabs",
    "stt_language": "Auto-Detect",
    "llm_provider": "openai",
    "llm_model": "gpt-4o-mini",
    "system_prompt": "Analyze this call transcript...",
    "temperature": 0.7,
    "webhook_url": "https://your-server.com/webhook"
  }'""",
    """curl "https://app.lisn.dev/api/v1/assistants" \\
  -H "Authorization: Bearer YOUR_API_TOKEN\"""",
    """curl "https://app.lisn.dev/api/v1/assistants/ast_abc123" \\
  -H "Authorization: Bearer YOUR_API_TOKEN\"""",
    """curl -X PATCH "https://app.lisn.dev/api/v1/assistants/ast_abc123" \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"name": "Updated Analyzer Name"}'""",
    """curl -X POST "https://app.lisn.dev/api/v1/assistants/ast_abc123/duplicate" \\
  -H "Authorization: Bearer YOUR_API_TOKEN\"""",
    """curl -X DELETE "https://app.lisn.dev/api/v1/assistants/ast_abc123" \\
  -H "Authorization: Bearer YOUR_API_TOKEN\"""",
]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with running_in_thread(Sandbox()) as box:
        yield box


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("sh")), reason="needs curl and sh")
@pytest.mark.parametrize("replaced", ["https://app.lisn.dev/api", "https://app.lisn.dev"])
def test_the_six_commands_of_the_specification_work_with_base_url_token_and_id_replaced(
    box: Sandbox, replaced: str
) -> None:
    made = ""
    replies: list[str] = []
    for command in CURL:
        ours = command.replace(replaced, box.base_url).replace("YOUR_API_TOKEN", box.token)
        ours = ours.replace("ast_abc123", made) + " --silent --show-error --fail"
        done = subprocess.run(["sh", "-c", ours], check=True, capture_output=True, text=True, timeout=60)
        replies.append(done.stdout)
        made = made or json.loads(done.stdout)["id"]
    assert [one.status for one in box.seen] == [201, 200, 200, 200, 201, 204]
    assert json.loads(replies[1]) == [json.loads(replies[0])] == [json.loads(replies[2])]
    assert json.loads(replies[3])["name"] == "Updated Analyzer Name"
    assert box.assistants() == [json.loads(replies[4])]


# What an update may do depends on the assistant it meets, which a schema of the request cannot say: an stt_* value
# is fine for a voice assistant and 422 for a text assistant.
CONFIG = """
[[operations]]
include-name = "PATCH /v1/assistants/{id}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "422"]
"""


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="needs schemathesis")
def test_schemathesis_finds_no_difference_between_the_description_and_the_server(
    box: Sandbox, tmp_path: Path
) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", f"{box.base_url}/openapi.json", "--header", f"Authorization: Bearer {box.token}"),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--mode", "all"),
        *("--seed", "1", "--max-examples", "30", "--generation-database", "none", "--no-color"),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=100, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {one.operation for one in box.seen} >= {"list", "create", "get", "update", "delete", "duplicate"}
    assert {one.status for one in box.seen} >= {200, 201, 204, 401, 404, 405, 422}
    assert all(one.status is not None and one.status < 500 for one in box.seen)


def test_description_and_rules_were_written_apart_and_agree_on_the_words() -> None:
    schemas = openapi("http://x")["components"]["schemas"]
    voice = schemas["VoiceAssistantCreate"]
    assert tuple(voice["required"]) == _rules.REQUIRED
    assert set(voice["properties"]) == set(_rules._CHECKS)
    assert tuple(voice["properties"]["llm_provider"]["enum"]) == _rules.LLM_PROVIDERS
    assert tuple(voice["properties"]["stt_provider"]["enum"]) == (*_rules.STT_PROVIDERS, None)
    assert {
        schemas[f"{kind}AssistantCreate"]["properties"]["type"]["const"] for kind in ("Voice", "Text")
    } == set(_rules.TYPES)


def test_the_description_names_the_address_it_was_asked_at() -> None:
    servers = [server["url"] for server in openapi("http://127.0.0.1:1")["servers"]]
    assert servers == ["http://127.0.0.1:1", "http://127.0.0.1:1/api"]


def test_the_table_of_guesses_is_a_table() -> None:
    lines = _guesses.as_markdown().splitlines()
    assert len(lines) == len(_guesses.GUESSES) + 2
    assert all(line.count("|") == 3 for line in lines)
