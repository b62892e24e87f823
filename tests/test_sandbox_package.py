"""What the package promises about itself: its names, its imports, its pytest fixture."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from lisn_async import sandbox

FOLDER = Path(sandbox.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
ROOT = FOLDER.parents[1]


def _imports(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name} imports relatively"
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def test_the_front_door_has_names_and_no_code() -> None:
    body = ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8")).body
    assert [type(node).__name__ for node in body] == ["Expr", *["ImportFrom"] * 5, "Assign"]
    assert (
        sandbox.__all__ == sorted(sandbox.__all__) == ["Fault", "Sandbox", "SeenRequest", "Verdict", "storm"]
    )


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_module_imports_anything_of_the_sdk(module: Path) -> None:
    ours = {name for name in _imports(module) if name.split(".")[0] in ("lisn_async", "lisn_sync")}
    assert all(name.startswith("lisn_async.sandbox") for name in ours)


def test_only_two_modules_know_aiohttp_and_one_knows_sqlite() -> None:
    assert {one.name for one in MODULES if "aiohttp" in _imports(one)} == {"_exchange.py", "_server.py"}
    assert {one.name for one in MODULES if "sqlite3" in _imports(one)} == {"_store.py"}


# The package's parent is replaced by an empty one, so that what the SDK itself imports does not count.
ALONE = """
import asyncio, sys, types

parent = types.ModuleType("lisn_async")
parent.__path__ = [sys.argv[1]]
sys.modules["lisn_async"] = parent

from lisn_async.sandbox import Sandbox
heavy = {"aiohttp", "sqlite3", "pytest"} & set(sys.modules)
assert not heavy, heavy
import lisn_async.sandbox.pytest_plugin
heavy = {"aiohttp", "sqlite3"} & set(sys.modules)
assert not heavy, heavy

async def main():
    async with Sandbox():
        pass

asyncio.run(main())
sdk = [name for name in sys.modules if name.startswith("lisn_async.") and ".sandbox" not in name]
assert not sdk, sdk
"""


def test_it_is_cheap_to_import_and_runs_without_a_line_of_the_sdk() -> None:
    command = [sys.executable, "-W", "error", "-c", ALONE, str(FOLDER.parent)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


USERS_TESTS = """
import asyncio, json, urllib.request
import aiohttp, pytest

BODY = {"name": "n", "type": "text", "llm_provider": "grok", "system_prompt": "p"}

def headers(box):
    return {"Authorization": f"Bearer {box.token}", "Content-Type": "application/json"}

async def post(box):
    async with aiohttp.ClientSession(headers=headers(box)) as session:
        async with session.post(box.base_url + "/v1/assistants", json=BODY) as reply:
            return reply.status

def test_blocking(lisn_sandbox):
    request = urllib.request.Request(
        lisn_sandbox.base_url + "/v1/assistants", json.dumps(BODY).encode(), headers(lisn_sandbox)
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        assert reply.status == 201
    assert len(lisn_sandbox.assistants()) == 1
    assert [one.status for one in lisn_sandbox.seen] == [201]

@pytest.mark.asyncio
async def test_with_pytest_asyncio(lisn_sandbox):
    assert lisn_sandbox.assistants() == []
    lisn_sandbox.faults = [503]
    assert [await post(lisn_sandbox), await post(lisn_sandbox)] == [503, 201]
    assert len(await lisn_sandbox.answered(2)) == 2

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_anyio(lisn_sandbox, anyio_backend):
    lisn_sandbox.faults = ["hang"]
    hung = asyncio.create_task(post(lisn_sandbox))
    await lisn_sandbox.received(1)
    hung.cancel()
    assert len(await lisn_sandbox.aborted(1)) == 1

def test_a_sandbox_that_cannot_start(lisn_sandbox):
    from lisn_async.sandbox import Sandbox
    from lisn_async.sandbox._thread import running_in_thread
    port = int(lisn_sandbox.base_url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="Address already in use"):
        with running_in_thread(Sandbox(port=port)):
            pass
"""


def test_the_fixture_serves_blocking_tests_and_those_of_any_async_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USERS_TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [
        *(sys.executable, "-X", "dev", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        # Whether or not the package is installed with its entry point `lisn`.
        *("-p", "no:lisn", "-p", "lisn_async.sandbox.pytest_plugin", str(tmp_path)),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
