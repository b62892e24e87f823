"""Both packages in the cells of a real Jupyter kernel, which runs them inside an event loop of its own."""

from __future__ import annotations

import asyncio
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lisn_async.sandbox import Sandbox

from .conftest import ROOT, TRIES, WITHIN, Stopwatch, environment_for, needs

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_client.manager import KernelManager

pytestmark = needs("ipykernel", "jupyter_client", "psutil")

PROMPTLY = 1.0
"""Seconds from an interrupt to the end of the next cell: measured are 0.15. The quickest of several counts, for one may
meet a machine that is busy."""

MISHAPS_OF_OURS = re.compile(
    "lisn|aiohttp|Unclosed|never awaited|was destroyed|never retrieved|Exception ignored"
)
"""Without `Traceback`: a kernel that is told to end while a cell runs logs one of its own."""

SPEC = '**dict(name="n", type="text", llm_provider="grok", system_prompt="p")'


class Notebook:
    """A kernel, and what a notebook does with it."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def begin(self, code: str) -> str:
        """Run a cell; do not wait for its end."""
        return self.client.execute(textwrap.dedent(code))

    def end_of(self, cell: str) -> tuple[str, str]:
        """What a cell printed, and the name of the error it ended with, if any."""
        printed, error = "", ""
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=WITHIN)
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    printed += content["text"]
                case "error":
                    error = content["ename"]
                case "status" if content["execution_state"] == "idle":
                    return printed, error

    def run(self, code: str) -> str:
        """What a cell printed that ends well."""
        printed, error = self.end_of(self.begin(code))
        assert not error, f"{error}: {printed}"
        return printed


@pytest.fixture
def notebook(lisn_sandbox: Sandbox, tmp_path: Path) -> Iterator[Notebook]:
    import psutil
    from jupyter_client.manager import KernelManager

    # Not in development mode: asyncio's finds a fault of ipykernel's own, when it shuts down.
    more = {"PYTHONDEVMODE": "", "PYTHONWARNINGS": "always::ResourceWarning,always::RuntimeWarning"}
    environment = environment_for(lisn_sandbox.base_url, lisn_sandbox.token, **more)
    manager = KernelManager(transport="ipc", connection_file=str(tmp_path / "kernel.json"))
    said = tmp_path / "said"
    with said.open("wb") as file:
        manager.start_kernel(env=environment, cwd=str(ROOT), stdout=file, stderr=file)
        notebook = Notebook(manager, manager.client())
        try:
            notebook.client.start_channels()
            notebook.client.wait_for_ready(WITHIN)
            yield notebook
        finally:
            kernel = psutil.Process(manager.provisioner.pid)
            notebook.client.stop_channels()
            manager.shutdown_kernel()
            manager.cleanup_resources()
    assert not kernel.is_running()
    assert not MISHAPS_OF_OURS.search(said.read_text()), said.read_text()


def test_a_call_works_in_a_cell_which_runs_inside_a_loop(notebook: Notebook) -> None:
    assert (
        notebook.run(f"""
            import asyncio, lisn_sync
            assert asyncio.get_running_loop().is_running()
            client = lisn_sync.Lisn()
            print(client.assistants.create({SPEC}).name, len(client.assistants.list()))
        """)
        == "n 1\n"
    )


def test_awaiting_works_in_a_cell_with_one_client_for_all_cells(
    notebook: Notebook, lisn_sandbox: Sandbox
) -> None:
    notebook.run("import lisn_async; client = lisn_async.AsyncLisn()")
    notebook.run(f"made = await client.assistants.create({SPEC})")
    notebook.run("assert await client.assistants.list() == [made]")
    notebook.run("await client.aclose()")
    assert [request.operation for request in lisn_sandbox.seen] == ["create", "list"]


def test_an_interrupted_cell_cancels_its_request_and_the_next_cell_works(
    notebook: Notebook, lisn_sandbox: Sandbox
) -> None:
    notebook.run(f"import lisn_sync; client = lisn_sync.Lisn(); made = client.assistants.create({SPEC})")
    took: list[float] = []
    while len(took) < TRIES and min(took, default=PROMPTLY) >= PROMPTLY:
        lisn_sandbox.faults = [{"operation": "get", "do": "hang"}]
        cell = notebook.begin("client.assistants.get(made.id)")
        asyncio.run(lisn_sandbox.received(1 + 2 * len(took), operation="get"))
        with Stopwatch(notebook.manager.provisioner.pid) as watch:
            notebook.manager.interrupt_kernel()
            assert notebook.end_of(cell) == ("", "KeyboardInterrupt")
            assert len(asyncio.run(lisn_sandbox.aborted(1 + len(took), operation="get"))) == 1 + len(took)
            notebook.run("assert client.assistants.get(made.id) == made")
        took.append(watch.seconds)
    assert min(took) < PROMPTLY, took


def test_an_interrupted_await_cancels_its_request_and_the_next_cell_works(
    notebook: Notebook, lisn_sandbox: Sandbox
) -> None:
    notebook.run(
        f"import lisn_async; client = lisn_async.AsyncLisn(); made = await client.assistants.create({SPEC})"
    )
    lisn_sandbox.faults = [{"operation": "get", "do": "hang"}]
    cell = notebook.begin("await client.assistants.get(made.id)")
    asyncio.run(lisn_sandbox.received(1, operation="get"))
    notebook.manager.interrupt_kernel()
    assert notebook.end_of(cell) == (
        "",
        "CancelledError",
    )  # as of any await; ipykernel takes up to 3 s for it
    assert len(asyncio.run(lisn_sandbox.aborted(1, operation="get"))) == 1
    notebook.run("assert await client.assistants.get(made.id) == made")


def test_an_interrupted_create_many_is_finished_by_running_its_cell_again(
    notebook: Notebook, lisn_sandbox: Sandbox, tmp_path: Path
) -> None:
    code = f"""
        import lisn_sync
        client = lisn_sync.Lisn()
        specs = [{{"name": f"n{{number}}", "type": "text", "llm_provider": "grok", "system_prompt": "p"}} for number in range(20)]
        result = client.assistants.create_many(specs, max_concurrency=4, journal={str(tmp_path / "jobs.journal")!r}, settle=0)
        print(len(result.created), len(result.failed), len(result.unknown), len(result.surplus))
    """
    lisn_sandbox.faults = [
        {"operation": "create", "do": "hang", "when": "before", "skip": 8, "times": 2},
        {"operation": "create", "do": "hang", "when": "after", "skip": 8, "times": 2},
    ]
    cell = notebook.begin(code)
    asyncio.run(lisn_sandbox.received(12, operation="create"))
    asyncio.run(lisn_sandbox.answered(8, operation="create"))
    notebook.manager.interrupt_kernel()
    assert notebook.end_of(cell) == ("", "KeyboardInterrupt")
    assert len(asyncio.run(lisn_sandbox.aborted(4, operation="create"))) == 4
    notebook.run("assert len(client.assistants.list()) == 10")
    assert notebook.run(code) == "20 0 0 0\n"
    assert sorted(one["name"] for one in lisn_sandbox.assistants()) == sorted(
        f"n{number}" for number in range(20)
    )


def test_a_kernel_restarted_during_a_call_leaves_no_process_and_no_request_behind(
    notebook: Notebook, lisn_sandbox: Sandbox
) -> None:
    import psutil

    code = "import lisn_sync; client = lisn_sync.Lisn(); print(len(client.assistants.list()))"
    notebook.run(code)
    first = psutil.Process(notebook.manager.provisioner.pid)
    lisn_sandbox.faults = [{"operation": "list", "do": "hang"}]
    notebook.begin("client.assistants.list()")
    asyncio.run(lisn_sandbox.received(2, operation="list"))
    notebook.manager.restart_kernel()
    assert not first.is_running()
    assert len(asyncio.run(lisn_sandbox.aborted(1, operation="list"))) == 1
    notebook.client.wait_for_ready(WITHIN)
    assert notebook.run(code) == "0\n"
