"""What is imported when: next to nothing by the package, everything by making a client, nothing by a call.

Each in an interpreter of its own: in this one everything is there already.
"""

from __future__ import annotations

import ast
import importlib
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import lisn_async
import lisn_sync

HEAVY = (
    "aiohttp",
    "anyio",
    "asyncio",
    "attr",
    "cattrs",
    "http",
    "logging",
    "orjson",
    "sqlite3",
    "ssl",
    "uvloop",
)
PACKAGES = pytest.mark.parametrize("package", ["lisn_async", "lisn_sync"])
CLIENTS = pytest.mark.parametrize("client", ["lisn_async.AsyncLisn", "lisn_sync.Lisn"])


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str) -> set[str]:
    """Which of the heavy packages some code leaves loaded."""
    return set(run(f"{code}\nimport sys\nprint(*{{*{HEAVY}}} & set(sys.modules))").split())


@PACKAGES
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert loaded_by(f"import {package}") == set()


@PACKAGES
def test_errors_and_models_need_attrs_and_no_more(package: str) -> None:
    assert loaded_by(f"from {package} import AssistantCreate, NotFoundError") == {"attr"}


def test_the_class_of_the_client_needs_neither_a_loop_nor_a_network() -> None:
    assert not {"aiohttp", "asyncio", "ssl"} & loaded_by("from lisn_async import AsyncLisn")


@CLIENTS
def test_making_a_client_loads_aiohttp_and_opens_nothing(client: str) -> None:
    package = client.partition(".")[0]
    code = f"""
import asyncio, os, sys, threading
import {package}
sockets = lambda: [link for link in map(read, os.listdir("/proc/self/fd")) if "socket" in link or "epoll" in link]
def read(number):
    try:
        return os.readlink(f"/proc/self/fd/{{number}}")
    except OSError:  # that of the listing itself
        return ""
client = {client}("t")
assert "aiohttp" in sys.modules
assert threading.active_count() == 1
assert not os.path.exists("/proc/self/fd") or sockets() == []
"""
    run(code)


FIRST_CALL = """
import sys
import lisn_async, asyncio
client = lisn_async.AsyncLisn(sys.argv[2], base_url=sys.argv[1])

async def main():
    async with asyncio.timeout(None):  # what asyncio itself puts off until somebody needs it
        pass
    before = set(sys.modules)
    made = await client.assistants.create(name="n", type="voice", llm_provider="openai", system_prompt="p")
    assert await client.assistants.list() == [made]
    print(*set(sys.modules) - before)
    await client.aclose()

asyncio.run(main())
"""


def test_the_first_call_imports_nothing_inside_the_loop(lisn_sandbox: lisn_async.sandbox.Sandbox) -> None:
    assert run(FIRST_CALL, lisn_sandbox.base_url, lisn_sandbox.token).split() == []


# --- a door that opens late is a door all the same --------------------------------------------------------


@PACKAGES
def test_every_name_is_the_one_that_type_checkers_see(package: str) -> None:
    module = importlib.import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    seen = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module not in ("__future__", "_front_door"):
            origin = importlib.import_module("." * node.level + (node.module or ""), package)
            seen |= {alias.name: getattr(origin, alias.name) for alias in node.names}
    seen.pop("opened_when_asked", None)
    assert set(seen) == set(module.__all__)
    for name, thing in seen.items():
        assert getattr(module, name) is thing


@PACKAGES
def test_a_star_takes_every_name(package: str) -> None:
    run(
        f"from {package} import *\nimport {package}\nfor name in {package}.__all__: assert name in globals(), name"
    )


@PACKAGES
def test_dir_and_help_show_every_name_before_any_was_used(package: str) -> None:
    run(f"import {package}\nassert set({package}.__all__) <= set(dir({package}))")
    text = pydoc.plain(pydoc.render_doc(importlib.import_module(package)))
    assert "class NotFoundError" in text


@PACKAGES
@pytest.mark.parametrize("room", ["bulk", "client", "errors", "models", "resources"])
def test_a_room_is_there_without_an_import_of_its_own(package: str, room: str) -> None:
    run(f"import {package}\nassert {package}.{room}.__name__ == '{package}.{room}'")


@PACKAGES
def test_a_name_that_does_not_exist_is_an_attribute_error_that_says_so(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'AsyncLsin'"):
        _ = module.AsyncLsin


def test_both_doors_show_the_same_errors() -> None:
    assert lisn_sync.NotFoundError is lisn_async.NotFoundError
