"""A bulk job in a process of its own, which can be killed: at a moment of the parent's choice, or at a journal line.

The processes are forked from a server that has imported everything already: a run costs milliseconds, not the
import of the SDK.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from lisn_async import AssistantCreate, AsyncLisn
from lisn_async.bulk.journal import Journal
from lisn_async.sandbox import Sandbox, Verdict

PROMPT = "Analyze this call transcript and answer as JSON. " * 30

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["benchmarks.reliability._job"])


@attrs.frozen(kw_only=True)
class Plan:
    """What a job creates and how. `twins` is the share of items that are equal to others."""

    count: int
    twins: float = 0.2
    settle: float = 0.5
    timeout: float = 5.0
    concurrency: int = 64
    exact: str = "content"

    def fields(self) -> Iterator[dict[str, Any]]:
        """The fields of every item, in order."""
        every = round(1 / self.twins) if self.twins else 0
        for n in range(self.count):
            twin = every and n % every == 0
            name = f"Quality of calls, twin {n // every % 20}" if twin else f"Quality of calls, team {n}"
            yield {
                "name": name,
                "type": "text",
                "llm_provider": "openai",
                "system_prompt": f"{PROMPT}{name}",
                "temperature": 0.5,
            }


@attrs.frozen(kw_only=True)
class Where:
    """The server, and the files of one job."""

    base_url: str
    token: str
    journal: Path
    result: Path


def start(plan: Plan, where: Where, kill_at: tuple[int, float] | None = None) -> Any:
    """The running process of a job. `kill_at` names a journal line and the share of it that is still written."""
    process = _processes.Process(target=_main, args=(plan, where, kill_at))
    process.start()
    return process


async def finish(process: Any) -> int:
    """The exit status of a process, negative for a signal."""
    await asyncio.to_thread(process.join)
    status: int = process.exitcode
    process.close()
    return status


def verdict(box: Sandbox, plan: Plan, where: Where) -> Verdict:
    """The judge's word on a job that has ended."""
    told = json.loads(where.result.read_text())
    items = [
        {"fields": fields, "outcome": outcome, "id": made}
        for fields, (outcome, made) in zip(plan.fields(), told["outcomes"], strict=True)
    ]
    return box.judge(items, surplus=told["surplus"])


def _main(plan: Plan, where: Where, kill_at: tuple[int, float] | None) -> None:
    if kill_at is not None:
        _die_at(*kill_at)
    asyncio.run(_create(plan, where))


async def _create(plan: Plan, where: Where) -> None:
    async with AsyncLisn(where.token, base_url=where.base_url, timeout=plan.timeout) as client:
        result = await client.assistants.create_many(
            (AssistantCreate(**fields) for fields in plan.fields()),
            journal=where.journal,
            settle=plan.settle,
            max_concurrency=plan.concurrency,
            exact=plan.exact,  # type: ignore[arg-type]
        )
    outcomes = [(one.status, one.assistant.id if one.assistant else "") for one in result.outcomes]
    told = {"outcomes": outcomes, "surplus": [row.id for row in result.surplus], "doubt": result.doubt}
    where.result.write_text(json.dumps(told))


def _die_at(line: int, share: float) -> None:
    """Have this process kill itself while it writes a line of its journal, as kill -9 or a power cut would."""
    write, written = Journal._write, 0

    def write_and_die(journal: Journal, data: bytes) -> None:
        nonlocal written
        for one in data.splitlines(keepends=True):
            if written == line:
                write(journal, one[: int(len(one) * share)])
                os.kill(os.getpid(), signal.SIGKILL)
            write(journal, one)
            written += 1

    Journal._write = write_and_die  # type: ignore[method-assign, assignment]
