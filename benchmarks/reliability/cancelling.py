"""H4: calls cancelled at every point, and what is left behind: sockets, slots, mixed-up replies, half-done journals."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import attrs

from benchmarks.reliability.rows import Profile, Row
from lisn_async import Assistant, AsyncLisn
from lisn_async.sandbox import Sandbox

AT_ONCE = 64
CONNECTIONS = 16
"""Fewer than tasks at once: some are cancelled while they wait for a slot."""
TARGETS = 40
LATEST = 0.02
"""Seconds after which a task is cancelled at the latest; most are over by then."""
TOGETHER = 10.0
"""Seconds in which as many calls as there are slots have to be under way."""
PATIENCE = 30.0
"""Seconds for both ends of a connection to see that it is over: nobody waits so long but for one that stays open."""
SETTLE = 0.05
SEED = 2026
SPEC: dict[str, Any] = {"type": "text", "llm_provider": "openai", "system_prompt": "p"}


def run(profile: Profile) -> list[Row]:
    """One row."""
    return [asyncio.run(measure(profile))]


async def measure(profile: Profile) -> Row:
    """Cancel calls against the sandbox, calls against a slow server, and bulk runs with a journal."""
    tasks = profile.pick(tiny=100, fast=1_500, full=10_000)
    jobs, items = profile.pick(tiny=1, fast=6, full=30), profile.pick(tiny=30, fast=100, full=200)
    counts: collections.Counter[str] = collections.Counter()
    rng = random.Random(SEED)
    twice = 0.0 if profile is Profile.TINY else 0.3
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(_in_a_line(context)))
    await _cancel_calls(tasks * 4 // 5, rng, counts)
    await _cancel_slow_calls(tasks // 5, rng, counts)
    for _ in range(jobs):
        await _cancel_a_job(items, rng, counts, twice)
    gc.collect()  # a task whose exception nobody took says so when it goes
    counts["unhandled"] += len(said)
    bad = {name: counts[name] for name in BAD}
    figures = {"tasks": tasks, **{name: counts[name] for name in GOOD}, **bad}
    return Row(
        name="H4",
        what="calls and bulk runs cancelled at random points: nothing leaks, nothing is mixed up or doubled",
        figures=figures,
        is_met=not any(bad.values()) and counts["cancelled"] > 0 and counts["finished"] > 0,
        note="; ".join(said[:2]),
    )


def _in_a_line(context: dict[str, Any]) -> str:
    return f"{context['message']}: {context.get('exception')!r}"


GOOD = ("cancelled", "finished", "jobs", "interruptions", "items")
BAD = (
    "wrong_replies",
    "errors",
    "doubled",
    "missing",
    "leaked_sockets",
    "busy_slots",
    "items_lost",
    "items_doubled",
    "unhandled",
)

# --- calls against the sandbox ----------------------------------------------------------------------------------


@attrs.define
class Calls:
    """Calls of one client, each of which knows what its reply has to say."""

    client: AsyncLisn
    box: Sandbox
    counts: collections.Counter[str]
    targets: list[Assistant] = attrs.field(factory=list)
    made: list[str] = attrs.field(factory=list)
    """Names of which the reply to a create came."""

    async def prepare(self) -> None:
        """Assistants to read and to change."""
        names = [f"target {n}" for n in range(TARGETS)]
        self.targets = [await self.client.assistants.create(name=name, **SPEC) for name in names]

    def one(self, number: int, rng: random.Random) -> Coroutine[Any, Any, None]:
        """A call of some kind, checked."""
        target = rng.choice(self.targets)
        kinds = (
            self._create,
            self._create,
            self._get,
            self._get,
            self._update,
            self._duplicate,
            self._delete,
        )
        return rng.choice(kinds)(number, target)

    async def _create(self, number: int, _: Assistant) -> None:
        name = f"made {number}"
        made = await self.client.assistants.create(name=name, **SPEC)
        self.made.append(name)
        self._check(made.name == name)

    async def _get(self, _: int, target: Assistant) -> None:
        found = await self.client.assistants.get(target.id)
        self._check((found.id, found.name) == (target.id, target.name))

    async def _update(self, number: int, target: Assistant) -> None:
        changed = await self.client.assistants.update(target.id, description=f"change {number}")
        self._check((changed.id, changed.description) == (target.id, f"change {number}"))

    async def _duplicate(self, _: int, target: Assistant) -> None:
        copy = await self.client.assistants.duplicate(target.id)
        self._check(copy.id != target.id and copy.system_prompt == "p")

    async def _delete(self, number: int, _: Assistant) -> None:
        made = await self.client.assistants.create(name=f"made {number}", **SPEC)
        await self.client.assistants.delete(made.id)

    def _check(self, is_right: bool) -> None:
        self.counts["wrong_replies"] += not is_right


async def _cancel_calls(tasks: int, rng: random.Random, counts: collections.Counter[str]) -> None:
    async with Sandbox() as box:
        files = _files()
        async with AsyncLisn(
            box.token, base_url=box.base_url, max_connections=CONNECTIONS, max_retries=0
        ) as client:
            calls = Calls(client, box, counts)
            await calls.prepare()
            await _spread(lambda number: calls.one(number, rng), tasks, rng, counts)
            await asyncio.gather(*(client.assistants.get(calls.targets[0].id) for _ in range(CONNECTIONS)))
        counts["leaked_sockets"] += await _left_open(files)
        rows = collections.Counter(row["name"] for row in box.assistants())
        counts["doubled"] += sum(rows[name] > 1 for name in rows if name.startswith("made "))
        counts["missing"] += sum(rows[name] == 0 for name in calls.made)


async def _spread(make: Any, tasks: int, rng: random.Random, counts: collections.Counter[str]) -> None:
    numbers = iter(range(tasks))

    async def work() -> None:
        for number in numbers:
            await _cancelled_somewhere(make(number), rng, counts)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _cancelled_somewhere(
    call: Coroutine[Any, Any, None], rng: random.Random, counts: collections.Counter[str]
) -> None:
    """From before its first step until after its reply."""
    task = asyncio.create_task(call)
    point = rng.random()
    if point < 0.4:
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
    elif point < 0.9:
        await asyncio.wait({task}, timeout=rng.random() * LATEST)
    else:
        await asyncio.wait({task})
    task.cancel()
    if rng.random() < 0.2:
        await asyncio.sleep(0)
        task.cancel()  # twice: what cleans up is cancelled as well
    [result] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, asyncio.CancelledError):
        counts["cancelled"] += 1
    elif result is None:
        counts["finished"] += 1
    else:
        counts["errors"] += 1


# --- calls against a slow server --------------------------------------------------------------------------------


@attrs.define
class SlowServer:
    """Answers about the id or name it was asked for, late; and about `together_<n>` once as many wait as may."""

    rng: random.Random
    port: int = 0
    open: int = 0
    waiting: int = 0
    together: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await self._answer(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if length := re.search(rb"Content-Length: ([0-9]+)", request):
            request += await reader.readexactly(int(length[1]))
        asked = self.asked_for(request)
        if asked.startswith(b"together"):
            self.waiting += 1
            if self.waiting == CONNECTIONS:
                self.together.set()
            await self.together.wait()
        else:
            await asyncio.sleep(self.rng.random() * LATEST)
        body = b'{"id":"%b","name":"%b"}' % (asked, asked)
        half = self.rng.randrange(len(body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:half]))
        await asyncio.sleep(self.rng.random() * LATEST / 4)
        writer.write(body[half:])
        await writer.drain()

    def asked_for(self, request: bytes) -> bytes:
        """The id or the name in a request."""
        found = re.search(rb"(slow|together)_[0-9]+", request)
        assert found is not None
        return found[0]


@contextlib.asynccontextmanager
async def _slow_server(rng: random.Random) -> AsyncIterator[SlowServer]:
    slow = SlowServer(rng)
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    slow.port = server.sockets[0].getsockname()[1]
    async with server:
        yield slow


async def _cancel_slow_calls(tasks: int, rng: random.Random, counts: collections.Counter[str]) -> None:
    async with _slow_server(rng) as slow:
        files = _files()
        base_url = f"http://127.0.0.1:{slow.port}"
        async with AsyncLisn("t", base_url=base_url, max_connections=CONNECTIONS, max_retries=0) as client:
            api = client.assistants

            async def call(number: int) -> None:
                name = f"slow_{number}"
                found = await (api.get(name) if number % 2 else api.create(name=name, **SPEC))
                counts["wrong_replies"] += (found.id, found.name) != (name, name)

            await _spread(call, tasks, rng, counts)
            # Answered only if all of them are under way at once: no slot is lost.
            calls = (api.get(f"together_{number}") for number in range(CONNECTIONS))
            together = asyncio.gather(*calls, return_exceptions=True)
            try:
                found = await asyncio.wait_for(together, TOGETHER)
            except TimeoutError:
                counts["busy_slots"] += CONNECTIONS - slow.waiting
                slow.together.set()  # from 3.12 on, a server's end waits for its connections
            else:
                counts["errors"] += sum(isinstance(one, Exception) for one in found)
        counts["leaked_sockets"] += await _left_open(files) + slow.open


# --- bulk runs --------------------------------------------------------------------------------------------------


async def _cancel_a_job(
    items: int, rng: random.Random, counts: collections.Counter[str], twice: float
) -> None:
    """A bulk run that is cancelled and continued until it ends: every item is there exactly once."""
    specs = [{"name": f"item {number}", **SPEC} for number in range(items)]
    async with Sandbox(seed=rng.randrange(2**31)) as box:
        files = _files()
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncLisn(box.token, base_url=box.base_url) as client:
                later = 1.0  # each time a little, so that a slow machine comes to the end as well
                while not await _interrupted(client, specs, Path(folder, "journal"), rng, twice, later):
                    counts["interruptions"] += 1
                    later *= 1.05
        counts["leaked_sockets"] += await _left_open(files)
        rows = collections.Counter(row["name"] for row in box.assistants())
    counts["jobs"] += 1
    counts["items"] += items
    counts["items_lost"] += sum(rows[spec["name"]] == 0 for spec in specs)
    counts["items_doubled"] += sum(rows[spec["name"]] > 1 for spec in specs)


async def _interrupted(
    client: AsyncLisn,
    specs: list[dict[str, Any]],
    journal: Path,
    rng: random.Random,
    twice: float,
    later: float,
) -> bool:
    """Whether the run came to its end before it was cancelled."""
    bulk = client.assistants.create_many(specs, journal=journal, settle=SETTLE, max_concurrency=8)
    task = asyncio.create_task(bulk)
    await asyncio.wait({task}, timeout=rng.random() * 0.0005 * len(specs) * later)
    task.cancel()
    if rng.random() < twice:
        await asyncio.sleep(rng.random() * LATEST)
        task.cancel()
    try:
        (await task).raise_for_failures()
    except asyncio.CancelledError:
        return False
    return True


# --- sockets ----------------------------------------------------------------------------------------------------


def _files() -> int:
    """Open file descriptors of this process: both ends of every connection are in it."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208


async def _left_open(before: int) -> int:
    """How many descriptors more than before stay open, once both ends had time to see that it is over."""
    ends = time.monotonic() + PATIENCE
    while (left := _files() - before) > 0 and time.monotonic() < ends:
        gc.collect(0)
        await asyncio.sleep(0.01)
    return max(0, left)
