"""The tests of the asyncio package once more, against the sync package: the same calls, bytes, rows and errors.

Nothing is written twice. Each file here names a suite, and each of its tests that uses a client is run again with one
whose every call blocks a thread of its own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest

import lisn_sync
from lisn_async.sandbox import Sandbox
from tests.test_sync_generated import SYNC_NAMES

ASYNC_ONLY = re.compile(r"\.cancel\(|\._calls\b|session|\btime_passes\(")
"""What a test says that has no blocking counterpart: a blocking call is ended by signals (test_sync_bridge.py), and
its time limits go by the clock of uvloop."""

NOT_HERE = {
    "test_a_coroutine_function_is_awaited_in_the_loop": "it looks at the loop, which is not the test's here",
    "test_a_function_that_takes_longer_than_the_calls_may_is_heard_all_the_same": "it waits in the test's loop",
    "test_two_loops_that_ask_at_the_same_time_both_get_a_second_try": "there is one loop here",
    "test_errors_of_items_die_at_once_without_the_collector": "the thread that waits here holds on to them",
    "test_an_error_that_many_got_dies_at_once_without_the_collector": "so it does with those",
}

_END = object()


class Awaited:
    """Something of `lisn_sync`, used as its counterpart in `lisn_async` is."""

    def __init__(self, what: Any) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._what, SYNC_NAMES.get(name, name))
        if name == "with_options":
            return lambda **options: Awaited(found(**options))
        if name == "create_each":
            return lambda *args, **kwargs: _each(found(*args, **kwargs))
        if inspect.ismethod(found):
            return lambda *args, **kwargs: asyncio.to_thread(found, *args, **kwargs)
        return Awaited(found) if type(found).__module__.startswith("lisn_sync") else found

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._what.__enter__)
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._what.__exit__, *error)

    def __repr__(self) -> str:
        return repr(self._what)


async def _each(items: Any) -> AsyncIterator[Any]:
    try:
        while (item := await asyncio.to_thread(next, items, _END)) is not _END:
            yield item
    finally:
        await asyncio.to_thread(items.close)


def new_client(*args: Any, **kwargs: Any) -> Awaited:
    return Awaited(lisn_sync.Lisn(*args, **kwargs))


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Awaited]:
    async with new_client(sandbox.token, base_url=sandbox.base_url) as client:
        yield client


def again(suite: str) -> dict[str, Any]:
    """The tests and fixtures of a suite, in a copy of its module in which the asyncio client is the sync one."""
    module = _load(suite)
    module.AsyncLisn = new_client  # type: ignore[attr-defined]
    found: dict[str, Any] = {}
    for name, what in vars(module).items():
        if type(what).__name__ == "FixtureFunctionDefinition":
            found[name] = what
        elif name.startswith("test_") and name not in NOT_HERE:
            source = inspect.getsource(what)
            if re.search("client|AsyncLisn", source) and not ASYNC_ONLY.search(source):
                found[name] = what
    assert sum(name.startswith("test_") for name in found) >= 4, found
    return found


def _load(suite: str) -> ModuleType:
    path = Path(__file__).parent.parent / f"test_{suite}.py"
    spec = importlib.util.spec_from_file_location(f"tests.sync_again.copy_of_{suite}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
