"""Fixtures every test may use: a sandbox of its own, a client of it, a clean environment."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from lisn_async import AsyncLisn
from lisn_async.sandbox import Sandbox
from lisn_sync import Sandbox as SyncSandbox

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background deaf to Ctrl-C, and every process started by a test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, however long one takes: no run may fail by chance. New ones are looked for by hand, with
# LISN_TEST_DICE=1.
settings.register_profile(
    "lisn",
    deadline=None,
    derandomize=not os.environ.get("LISN_TEST_DICE"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lisn")

for _waits in (Sandbox, SyncSandbox):
    for _name in ("received", "answered", "aborted"):
        getattr(_waits, _name).__kwdefaults__["within"] = 60.0  # only a test that fails waits so long

pytest_plugins = [
    f"tests.fix_{name}" for name in ("canned", "cli", "clock", "redis", "surface", "sync", "wire", "tls")
]

SALES: dict[str, Any] = {
    "name": "Sales Analyzer",
    "type": "voice",
    "stt_provider": "elevenlabs",
    "stt_language": "Auto-Detect",
    "llm_provider": "openai",
    "llm_model": "gpt-4o-mini",
    "system_prompt": "Analyze this call transcript...",
    "temperature": 0.7,
    "webhook_url": "https://your-server.com/webhook",
}
"""The example of the specification, field for field."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own environment says must not decide a test."""
    for name in ("LISN_API_TOKEN", "LISN_BASE_URL", "LISN_LOG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def lasting_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long this machine stands still must not decide whether a connection is still there."""
    monkeypatch.setattr("lisn_async._transport.KEEP_ALIVE", 600.0)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as box:
        yield box


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[AsyncLisn]:
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url) as client:
        yield client


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between attempts take no time; the list holds their lengths in seconds."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    # The name in that one module: aiohttp, too, calls asyncio.sleep, to let others run.
    monkeypatch.setattr("lisn_async._calls.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": note}))
    return waits
