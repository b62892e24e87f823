"""Clocks for tests of time, so that no test depends on how fast a machine is.

`clock` jumps from timer to timer: see `benchmarks/reliability/_virtual.py`.

    def test_...(clock):                    # not async: the clock runs the coroutine
        assert clock.run(main()) == ...

Nothing real may be waited for on it, so such a test talks to a model of a server, not to the sandbox.

`time_passes` is for tests with real sockets. A time limit can be a minute, and is over as soon as it should be:

    await wire.arrived.wait()
    time_passes(61)                         # whatever is due by then rings in the next turn of the loop

It is seen by loops of asyncio, not of uvloop, and by one in another thread when something else wakes that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from benchmarks.reliability._virtual import Clock, virtual_time


@pytest.fixture
def clock() -> Iterator[Clock]:
    with virtual_time() as clock:
        yield clock


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts `time.monotonic` on by so many seconds, and with it the clock of every loop of asyncio."""
    monotonic, passed = time.monotonic, 0.0

    def put_on(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed)
    return put_on


@pytest.fixture
def settling(time_passes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Where a bulk run would wait before a listing, time passes; the list holds how many seconds."""
    waits: list[float] = []

    async def put_on(moment: float, _: object) -> None:
        waits.append(max(0.0, moment - time.monotonic()))
        time_passes(waits[-1])

    monkeypatch.setattr("lisn_async.bulk.settler._sleep_until", put_on)
    return waits


@pytest.fixture
def waiting(time_passes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Where a call would wait before its next attempt, time passes; the list holds how many seconds."""
    waits: list[float] = []

    async def put_on(seconds: float) -> None:
        waits.append(seconds)
        time_passes(seconds)

    # The name in that one module: aiohttp, too, calls asyncio.sleep, to let others run.
    monkeypatch.setattr("lisn_async._calls.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": put_on}))
    return waits
