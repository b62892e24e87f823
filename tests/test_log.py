"""What the logger `lisn` is told, row by row of API.md, and what switches its own handler on."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from lisn_async import APIConnectionError, AsyncLisn, NotFoundError
from lisn_async.sandbox import Sandbox
from tests.conftest import SALES


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Level and text of each record of ours, with a number where one was measured or drawn."""
    ours = [record for record in caplog.records if record.name == "lisn"]
    return [
        f"{record.levelname} " + re.sub(r"[0-9.]+ (m?s)\b", r"N \1", record.getMessage()) for record in ours
    ]


async def test_each_request_is_one_line_at_debug_and_each_resend_one_at_info(
    sandbox: Sandbox, client: AsyncLisn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lisn")
    sandbox.faults = [{"status": 429, "retry_after": 0}]
    made = await client.assistants.create(**SALES)
    with pytest.raises(NotFoundError):
        await client.assistants.get("ast_none")
    sandbox.faults = [{"do": "reset", "when": "before"}]
    await client.assistants.delete(made.id)
    assert said(caplog) == [
        "DEBUG POST /v1/assistants: 429 in N ms (attempt 1)",
        "INFO POST /v1/assistants: 429 (attempt 1), sent again in N s",
        "DEBUG POST /v1/assistants: 201 in N ms (attempt 2)",
        "DEBUG GET /v1/assistants/{id}: 404 in N ms (attempt 1)",
        "DEBUG DELETE /v1/assistants/{id}: lost in N ms (attempt 1)",
        "INFO DELETE /v1/assistants/{id}: lost (attempt 1), sent again in N s",
        "DEBUG DELETE /v1/assistants/{id}: 204 in N ms (attempt 2)",
    ]


async def test_what_could_not_be_sent_is_told_as_that(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lisn")
    async with AsyncLisn("t", base_url="http://127.0.0.1:1", max_retries=0) as client:
        with pytest.raises(APIConnectionError):
            await client.assistants.list()
    assert said(caplog) == ["DEBUG GET /v1/assistants: unsent in N ms (attempt 1)"]


async def test_no_part_of_a_record_holds_token_id_or_body(
    sandbox: Sandbox, client: AsyncLisn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lisn")
    sandbox.faults = [{"status": 429, "retry_after": 0}]
    made = await client.assistants.create(**{**SALES, "webhook_secret": "whsec-canary"})
    await client.assistants.update(made.id, name="a-new-name")
    everything = repr([vars(record) for record in caplog.records if record.name == "lisn"])
    assert "PATCH" in everything
    for secret in (sandbox.token, made.id, "whsec-canary", "a-new-name", SALES["system_prompt"]):
        assert secret not in everything


PROGRAM = """
    import asyncio, logging, lisn_async, lisn_sync

    async def main():
        for _ in range(2):  # two clients: each line is there once
            async with lisn_async.AsyncLisn() as client:
                await client.assistants.list()

    asyncio.run(main())
    with lisn_sync.Lisn() as client:
        client.assistants.list()
    logging.getLogger("lisn").warning("a warning")
"""


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        ("debug", ["DEBUG", "INFO", "DEBUG", "DEBUG", "DEBUG", "WARNING"]),
        ("INFO", ["INFO", "WARNING"]),
        ("debgu", ["WARNING", "WARNING"]),
        ("", []),
        (None, []),
    ],
)
def test_the_environment_switches_a_handler_on_stderr_on_and_nothing_else_does(
    lisn_sandbox: Any, value: str | None, levels: list[str]
) -> None:
    lisn_sandbox.faults = [{"status": 429, "retry_after": 0}]
    ours = {"LISN_BASE_URL": lisn_sandbox.base_url, "LISN_API_TOKEN": lisn_sandbox.token}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, **ours, **({} if value is None else {"LISN_LOG": value})},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert [line.split()[2] for line in done.stderr.splitlines()] == levels
    assert lisn_sandbox.token not in done.stderr
