"""What a fork leaves the child, and the parent: lisn_sync/_loop.py and lisn_async/_forks.py.

Each in a process of its own, with a time limit, run with `-X dev -W error`.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lisn_async
import lisn_sync
from lisn_async.sandbox import Sandbox
from tests.fix_sync import Server, script, without_slowness

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])

FORK = """
import gc, os, ssl, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork while there are threads
import lisn_async._transport, lisn_sync
lisn_async._transport.KEEP_ALIVE = 600  # seconds for which a parent may wait for its child
context = ssl.create_default_context(cafile=sys.argv[2]) if sys.argv[2] else None
client = lisn_sync.Lisn("token", base_url=sys.argv[1], ssl_context=context, max_retries=0)
other = lisn_sync.Lisn("token", base_url=sys.argv[1], ssl_context=context, max_retries=0)

def child(way):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        if not way.startswith("only ends"):
            assert client.assistants.get("child").id == "child"
            gc.collect()
            assert client.assistants.get("child").id == "child"
            client.close()
        status = 0
    finally:
        if way.endswith("as a program"):
            sys.exit(status)
        os._exit(status)

client.assistants.get("before")
if sys.argv[3] == "in the middle of a call":
    busy = threading.Thread(target=lambda: other.assistants.get("slow"), daemon=True)
    busy.start()
    sys.stdin.readline()
for _ in range(3):
    assert child(sys.argv[3]) == 0
    client.assistants.get("parent")
print("done", flush=True)
"""


@both_loops
@pytest.mark.parametrize("transport", ["http", "https"])
@pytest.mark.parametrize(
    "way",
    ["calls", "only ends", "ends as a program", "only ends, as a program", "in the middle of a call"],
)
def test_after_a_fork_the_child_works_and_the_parent_keeps_its_connection(
    request: pytest.FixtureRequest,
    servers: Callable[[str], Server],
    transport: str,
    way: str,
    loop: str,
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    certificate = request.getfixturevalue("certificate") if transport == "https" else ""
    server = servers(certificate)
    without = "import sys; sys.modules['uvloop'] = None\n" if loop == "asyncio" else ""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", without + FORK, server.url, certificate, way]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        try:
            if way == "in the middle of a call":
                server.when(lambda seen: seen["begun"] == 1)
            out, err = program.communicate("go\n", timeout=60)
        finally:
            program.kill()
        seen = server.seen()
    assert (out, without_slowness(err), program.returncode) == ("done\n", "", 0)
    ports = seen["ports"]
    children = 0 if way.startswith("only ends") else 2
    assert len(ports) == 1 + 3 * (children + 1)
    own = [ports[0], *ports[1 + children :: children + 1]]
    assert len(set(own)) == 1, ports  # the parent's requests all came over one connection
    assert set(own).isdisjoint(set(ports) - set(own))


def test_what_a_child_inherits_of_a_call_or_stream_leaves_the_parent_alone() -> None:
    script("""
        import gc, os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from lisn_sync import _loop
        from lisn_sync._bridge import run, stream
        async def numbers():
            for number in range(1000): yield number
        async def give(value): return value
        half = stream(numbers)
        assert next(half) == 0
        loop = _loop.home.background.loop
        pid = os.fork()
        if not pid:
            status = 1
            loop.call_soon_threadsafe = None  # or it is an error on stderr
            try:
                try:
                    for _ in half: pass
                except RuntimeError as error:
                    assert "is gone" in str(error), error
                    status = 0
                del half
                gc.collect()
                assert run(give, 1) == 1
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert list(half) == list(range(1, 1000))
    """)


def test_a_child_can_call_although_another_thread_was_just_starting_the_loop() -> None:
    script("""
        import os, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from lisn_async import _forks
        from lisn_sync import _loop
        from lisn_sync._bridge import run
        async def give(value): return value
        _forks.PATIENCE = 0.05
        holding, release = threading.Event(), threading.Event()
        def hold():
            with _loop.home._starting.lock:
                holding.set()
                release.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        holding.wait()
        pid = os.fork()
        if not pid:
            os._exit(0 if run(give, 1) == 1 else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        release.set()
        thread.join()
        assert status == 0 and run(give, 1) == 1
    """)


def test_a_fork_waits_for_a_loop_that_is_half_started(tmp_path: Path) -> None:
    # Its thread imports uvloop, here something slower. A module that nobody goes on importing hangs the child.
    (tmp_path / "slow.py").write_text("import time, __main__; __main__.entered.set(); time.sleep(0.3)")
    script("""
        import os, signal, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from lisn_sync import _loop_kind
        from lisn_sync._bridge import run
        async def give(value): return value
        entered = threading.Event()
        sys.path.insert(0, sys.argv[1])
        def has_uvloop():
            import slow
            return False
        _loop_kind._has_uvloop = has_uvloop
        thread = threading.Thread(target=run, args=(give, 1))
        thread.start()
        entered.wait()
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            os._exit(0 if run(give, 1) == 1 else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        thread.join()
        assert status == 0 and run(give, 1) == 1, status
    """, str(tmp_path))  # fmt: skip


def test_a_child_that_a_signal_handler_forks_while_the_loop_starts_does_not_wait_for_it() -> None:
    script("""
        import _thread, os, signal, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from lisn_sync import _loop
        from lisn_sync._bridge import run
        async def give(value): return value
        forked = []
        signal.signal(signal.SIGUSR1, lambda *_: forked.append(os.fork()))
        class Interrupting:
            def start_new_thread(self, *given):
                _loop._thread = _thread
                started = _thread.start_new_thread(*given)
                os.kill(os.getpid(), signal.SIGUSR1)
                return started
        _loop._thread = Interrupting()
        try:
            assert run(give, 1) == 1
            was_gone = False
        except RuntimeError as error:
            assert _loop.GONE in str(error), error
            was_gone = True
        assert run(give, 1) == 1
        if forked == [0]:
            assert was_gone
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]) == 0
    """)


# --- imports ------------------------------------------------------------------------------------------------------

IMPORTING = """
import asyncio, os, signal, sys, threading, warnings
import concurrent.futures.thread  # or it has half of its own hooks run at the fork that waits for it, and says so
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork while there are threads
entered, forking = threading.Event(), threading.Event()

class Slow:
    # The import of one module, which goes on only when somebody forks, and a little longer.
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[2]:
            entered.set()
            forking.wait()
            threading.Event().wait(0.2)

sys.meta_path.insert(0, Slow())
spec = {"name": "x", "type": "text", "llm_provider": "openai", "system_prompt": "p"}

def a_name():
    import lisn_sync
    lisn_sync.Sandbox
def a_client():
    from lisn_async import AsyncLisn
    AsyncLisn("token")
def a_client_in_blocking_code():
    from lisn_sync import Lisn
    Lisn("token")
def a_limit():
    from lisn_async import RateLimit
    RateLimit(1, 1)
def many():
    async def main():
        async with lisn_async.AsyncLisn(token, base_url=base_url) as client:
            assert len((await client.assistants.create_many([spec])).created) == 1
            assert [made async for made in client.assistants.create_each([spec])]
    import lisn_async
    asyncio.run(main())
def many_in_blocking_code():
    import lisn_sync
    with lisn_sync.Lisn(token, base_url=base_url) as client:
        assert len(client.assistants.create_many([spec]).created) == 1

def fork():
    os.register_at_fork(before=forking.set)  # the last to be registered runs first
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

def after(event, func):
    event.wait()
    func()

# The sandbox is another process's: SQLite has locks of its own, which a fork in the middle of it leaves locked.
base_url, token = sys.argv[4:]
work, statuses = globals()[sys.argv[1]], []
here, elsewhere = (work, lambda: after(entered, fork)) if sys.argv[3] == "here" else (lambda: after(entered, fork), work)
thread = threading.Thread(target=elsewhere)
thread.start()
here()
thread.join()
assert statuses == [0], statuses
"""


@pytest.mark.parametrize("where", ["here", "in another thread"])
@pytest.mark.parametrize(
    ("work", "module"),
    [
        ("a_name", "lisn_sync.sandbox"),
        ("a_client", "lisn_async.client"),
        ("a_client", "aiohttp.client"),
        ("a_client_in_blocking_code", "lisn_sync._loop"),
        ("a_client_in_blocking_code", "lisn_async._transport"),
        ("a_limit", "lisn_async._config"),
        ("many", "lisn_async.bulk.engine"),
        ("many_in_blocking_code", "lisn_async.bulk.engine"),
        ("many_in_blocking_code", "lisn_async.bulk.sender"),
        ("many_in_blocking_code", "uvloop"),
    ],
)
def test_a_child_that_was_forked_while_another_thread_imports_can_import_the_same(
    lisn_sandbox: Sandbox, work: str, module: str, where: str
) -> None:
    loop = "uvloop" if module == "uvloop" else "asyncio"
    script(IMPORTING, work, module, where, lisn_sandbox.base_url, lisn_sandbox.token, loop=loop)


def test_a_fork_waits_no_longer_than_a_while_for_an_import() -> None:
    script("""
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import lisn_sync
        from lisn_async import _forks
        _forks.PATIENCE = 0.05
        holding, release = threading.Event(), threading.Event()
        def hold():
            with _forks.opening.lock:
                holding.set()
                release.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        holding.wait()
        pid = os.fork()
        if not pid:
            lisn_sync.Lisn("token")
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        release.set()
        thread.join()
        assert status == 0
        threads = [threading.Thread(target=lisn_sync.Lisn, args=("token",)) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """)


def test_ctrl_c_while_a_fork_waits_leaves_the_lock_as_it_was() -> None:
    script("""
        import os, signal, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import lisn_sync
        from lisn_async import _forks
        holding, release, forking, lost = threading.Event(), threading.Event(), threading.Event(), []
        sys.unraisablehook = lambda what: lost.append(what.exc_type)  # Python drops what is raised before a fork
        os.register_at_fork(before=forking.set)
        def hold():
            with _forks.opening.lock:
                holding.set()
                forking.wait()
                os.kill(os.getpid(), signal.SIGINT)
                release.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        holding.wait()
        pid = os.fork()
        if not pid:
            lisn_sync.Lisn("token")
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        release.set()
        thread.join()
        assert status == 0 and lost == [KeyboardInterrupt], (status, lost)
        thread = threading.Thread(target=lisn_sync.Lisn, args=("token",))
        thread.start()
        thread.join()
    """)


def modules_of(package: str) -> list[Path]:
    files = (ROOT / package).rglob("*.py")
    return [file for file in files if not {"cli", "_generate"} & set(file.parts)]


def imports_of(
    node: ast.AST, late: bool = False, told: bool = False
) -> Iterator[tuple[ast.stmt, bool, bool]]:
    """Every import below, whether it stands in a function, and whether `with opening.lock`."""
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.Import | ast.ImportFrom):
            yield below, late, told
        elif isinstance(below, ast.If) and ast.unparse(below.test) == "TYPE_CHECKING":
            continue
        else:
            opens = isinstance(below, ast.With) and ast.unparse(below.items[0]) == "opening.lock"
            yield from imports_of(
                below, late or isinstance(below, ast.FunctionDef | ast.AsyncFunctionDef), told or opens
            )


THERE_BY_THEN = {
    "from . import _config",  # in with_options(): a client has been made
    "from ._calls import Calls",
    "import asyncio",
    "import ssl",
    "import encodings.idna",  # these two while the loop starts, which holds a lock of its own
    "import uvloop",
}


@pytest.mark.parametrize("package", ["lisn_async", "lisn_sync"])
def test_whatever_is_imported_late_is_what_a_fork_waits_for(package: str) -> None:
    found = {
        f"{file.relative_to(ROOT)}: {ast.unparse(node)}"
        for file in modules_of(package)
        for node, late, told in imports_of(ast.parse(file.read_text()))
        if late and not told and ast.unparse(node) not in THERE_BY_THEN
    }
    # The sandbox, which nobody forks around, knows nothing of the SDK.
    assert {one for one in found if "/sandbox/" not in one} == set()


@pytest.mark.parametrize("package", ["lisn_async", "lisn_sync"])
def test_no_module_asks_the_front_door_while_it_is_imported(package: str) -> None:
    # Imported by its own name it would wait for the door's lock, whose owner may be waiting for that module.
    names = {name for name in (*lisn_async.__all__, *lisn_sync.__all__) if name != "__version__"}
    found = [
        f"{file.relative_to(ROOT)}: {ast.unparse(node)}"
        for file in modules_of(package)
        for node, late, _ in imports_of(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and not late
        if node.module in ("lisn_async", "lisn_sync", None)
        if names & {alias.name for alias in node.names}
    ]
    assert found == []


def test_one_thread_may_ask_the_front_door_for_a_module_that_another_imports_by_name(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").write_text("""
from lisn_async._front_door import opened_when_asked
__all__ = ["thing"]
__getattr__, __dir__ = opened_when_asked(globals(), ".living", ".cellar")
""")
    (package / "cellar.py").touch()
    (package / "living.py").write_text("""
import __main__
__main__.entered.set()
while __main__.opening.lock.acquire(blocking=False):  # until the other thread has it, and waits for this module
    __main__.opening.lock.release()
from . import cellar
thing = 1
""")
    script("""
        import sys, threading
        from lisn_async._forks import opening
        sys.path.insert(0, sys.argv[1])
        import house
        entered = threading.Event()
        def by_name():
            import house.living
        thread = threading.Thread(target=by_name, daemon=True)
        thread.start()
        entered.wait()
        assert house.thing == 1
        thread.join()
    """, str(tmp_path))  # fmt: skip
