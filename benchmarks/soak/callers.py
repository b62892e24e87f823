"""The callers of the backend: so many per second, whatever became of those before; some hang up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import aiohttp
import attrs

from benchmarks.soak.book import Call, Entry, Outcome
from benchmarks.soak.mix import Mix

HANGS_UP = 0.05
"""The share of callers who do not wait for the answer."""
PATIENCE = 0.003
"""Seconds within which they hang up; the backend usually needs a few milliseconds."""
IMPORTS_EVERY = 150
SWEEPS_EVERY = 250
"""Requests between two bulk runs, and between two requests to look for what is left over."""
AGAIN_AFTER = 0.5
"""Seconds until a bulk run whose caller hung up is asked for again."""
GIVES_UP_AFTER = 120.0
"""Seconds for the requests that are still under way when the load ends."""


@attrs.define
class Callers:
    """All of them, in one loop. `told` is what the answers said, to be held against the backend's own book."""

    session: aiohttp.ClientSession
    url: str
    mix: Mix
    told: list[Entry] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    most_at_once: int = 0
    _random: random.Random = attrs.field(factory=lambda: random.Random(2))

    async def call(self, seconds: float, rate: float) -> None:
        """Send `rate` requests per second, then wait for the last answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        under_way: set[asyncio.Task[None]] = set()
        async with asyncio.timeout(seconds + GIVES_UP_AFTER), asyncio.TaskGroup() as group:
            for number in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
                task = group.create_task(self._request(number))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                self.most_at_once = max(self.most_at_once, len(under_way))

    async def _request(self, number: int) -> None:
        if number % IMPORTS_EVERY == IMPORTS_EVERY // 2:
            await self._import(number)
        elif number % SWEEPS_EVERY == SWEEPS_EVERY - 1:
            await self._send("POST", "/sweep", None)
        else:
            await self._one()

    async def _one(self) -> None:
        call, id = self.mix.next()
        entry = Entry(call=call, id=id)
        patience = self._random.random() * PATIENCE if self._random.random() < HANGS_UP else None
        method, path, body = self._asked(entry)
        answer = await self._send(method, path, body, patience)
        self.counts["hung up" if answer is None else "answered"] += 1
        if answer is None:
            if id is not None and call in ("update", "duplicate"):
                self.mix.rest(id)
            elif id is not None and call == "get":
                self.mix.free.append(id)
            return
        status, said = answer
        entry.outcome = _outcome(status, said)
        if id is not None and call != "delete":
            self.mix.free.append(id)
        if entry.outcome == "done" and call in ("create", "duplicate"):
            entry.id = said["id"]
            self.mix.free.append(said["id"])
        if call not in ("get", "list"):
            self.told.append(entry)

    def _asked(self, entry: Entry) -> tuple[str, str, dict[str, Any] | None]:
        path = f"/assistants/{entry.id}"
        match entry.call:
            case "list":
                return "GET", "/assistants", None
            case "create":
                entry.name = self.mix.unique()
                return "POST", "/assistants", {"name": entry.name}
            case "update":
                entry.value = self.mix.unique()
                return "PATCH", path, {"value": entry.value}
            case "duplicate":
                return "POST", f"{path}/duplicate", None
            case _:
                return {"get": "GET", "delete": "DELETE"}[entry.call], path, None

    async def _import(self, number: int) -> None:
        """A bulk run, whose caller may hang up; then somebody asks for it again, until it is done."""
        names = self.mix.names()
        while True:
            patience = self._random.random() * 0.5 if self._random.random() < 0.5 else None
            answer = await self._send("POST", f"/imports/{number}", {"names": names}, patience)
            self.counts["bulk run hung up" if answer is None else f"bulk run {answer[0]}"] += 1
            if answer is not None and answer[0] == 201:
                self.mix.free.extend(answer[1]["ids"])
                return
            await asyncio.sleep(AGAIN_AFTER)

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, patience: float | None = None
    ) -> tuple[int, dict[str, Any]] | None:
        """Status and body of the answer; None if the caller hung up before it came."""
        try:
            async with (
                asyncio.timeout(patience),
                self.session.request(method, self.url + path, json=body) as answer,
            ):
                return answer.status, await answer.json()
        except TimeoutError:
            return None


def _outcome(status: int, said: dict[str, Any]) -> Outcome:
    if status < 300:
        return "done"
    if status != 502:
        raise RuntimeError(f"the backend answered {status}")
    return "unknown" if said["unknown"] else "failed"


def contradicted(told: list[Entry], noted: list[Entry]) -> list[str]:
    """What callers were told that the backend did not note."""
    book = {_key(entry) for entry in noted}
    return [
        f"a caller was told {entry}, which the backend did not note"
        for entry in told
        if _key(entry) not in book
    ]


def _key(entry: Entry) -> tuple[Call | str, Outcome, str | None, str | None]:
    by_name = entry.call == "create"
    return entry.call, entry.outcome, entry.name if by_name else entry.id, entry.value
