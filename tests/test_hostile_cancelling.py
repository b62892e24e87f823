"""The experiments with hostile peers and cancelled calls, on small numbers, and what they would notice."""

from __future__ import annotations

import asyncio
import collections
import random
from typing import Any

import aiohttp
import pytest

from benchmarks.reliability import cancelling
from benchmarks.reliability.rows import Profile


async def test_calls_cancelled_anywhere_leave_nothing_behind() -> None:
    row = await cancelling.measure(Profile.TINY)
    assert row.is_met, row
    assert row.figures["cancelled"] > 10


async def test_a_lost_slot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Semaphore.release
    kept = iter([True])

    def forget_one(slots: asyncio.Semaphore) -> None:
        if not next(kept, False):
            release(slots)

    monkeypatch.setattr(asyncio.Semaphore, "release", forget_one)
    monkeypatch.setattr(cancelling, "TOGETHER", 0.3)
    counts: collections.Counter[str] = collections.Counter()
    await cancelling._cancel_slow_calls(20, random.Random(1), counts)
    assert counts["busy_slots"] >= 1  # more, where this machine stood still


async def test_a_socket_that_stays_open_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "PATIENCE", 0.1)
    close = aiohttp.ClientSession.close
    left: list[aiohttp.ClientSession] = []

    async def forget(session: aiohttp.ClientSession) -> None:
        left.append(session)

    monkeypatch.setattr(aiohttp.ClientSession, "close", forget)
    counts: collections.Counter[str] = collections.Counter()
    await cancelling._cancel_calls(20, random.Random(1), counts)
    for session in left:
        await close(session)
    assert counts["leaked_sockets"] > 0


async def test_a_reply_to_another_call_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(self: Any, request: bytes) -> bytes:
        return b"slow_0"

    monkeypatch.setattr(cancelling.SlowServer, "asked_for", swap)
    counts: collections.Counter[str] = collections.Counter()
    await cancelling._cancel_slow_calls(40, random.Random(1), counts)
    assert counts["wrong_replies"] + counts["errors"] > 0
