"""Programs that use the sync package, and a server that says what became of each of their requests."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.fix_cli import without_slowness

ROOT = Path(__file__).resolve().parent.parent


def script(
    code: str, *arguments: str, loop: str = "asyncio", seconds: float = 60, silent: bool = True
) -> str:
    """What a program prints that must end with status 0 and, unless told otherwise, without a word on stderr."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    without = "import sys; sys.modules['uvloop'] = None\n" if loop == "asyncio" else ""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", without + textwrap.dedent(code), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    errors = without_slowness(done.stderr) if silent else ""
    assert (done.returncode, errors) == (0, ""), done.stderr + done.stdout
    return done.stdout


SERVER = """
import asyncio, json, ssl, sys
from aiohttp import web

seen = {"begun": 0, "cancelled": 0, "open": 0}
asked = []

async def slow(request):
    seen["begun"] += 1
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        seen["cancelled"] += 1
        raise

async def quick(request):
    asked.append((request.match_info["id"], request.transport.get_extra_info("peername")[1]))
    return web.json_response({"id": request.match_info["id"], "name": "x"})

async def tell(request):
    ports = [port for _, port in asked]
    return web.json_response({**seen, "asked": asked, "ports": ports, "open": len(server.connections) - 1})

async def forget(request):
    asked.clear()
    seen.update(dict.fromkeys(seen, 0))
    return web.Response()

app = web.Application()
app.router.add_get("/forget", forget)
app.router.add_get("/v1/assistants/slow", slow)
app.router.add_get("/v1/assistants/{id}", quick)
app.router.add_get("/seen", tell)

async def main(certificate):
    global server
    runner = web.AppRunner(app, handler_cancellation=True, keepalive_timeout=600)
    await runner.setup()
    server = runner.server
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    plain = web.TCPSite(runner, "127.0.0.1", 0)
    await plain.start()
    print(*(address[1] for address in runner.addresses), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


class Server:
    """A server in another process, so that a fork or a signal here does not reach it."""

    def __init__(self, certificate: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, certificate], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        port, self.plain = self.process.stdout.readline().split()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"

    def seen(self) -> dict[str, Any]:
        with urlopen(f"http://127.0.0.1:{self.plain}/seen", timeout=60) as reply:
            found: dict[str, Any] = json.load(reply)
            return found

    def forget(self) -> None:
        """Whatever was seen."""
        urlopen(f"http://127.0.0.1:{self.plain}/forget", timeout=60).close()

    def when(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What was seen, as soon as it is so."""
        until = time.monotonic() + 60  # only a test that fails waits so long
        while not is_so(seen := self.seen()):
            assert time.monotonic() < until, seen
        return seen

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Server]]:
    """Gives the server with a certificate, or "" for none: started once, since that takes half a second."""
    started: dict[str, Server] = {}

    def one(certificate: str = "") -> Server:
        if certificate not in started:
            started[certificate] = Server(certificate)
        started[certificate].forget()
        return started[certificate]

    yield one
    for server in started.values():
        server.stop()


@pytest.fixture
def server(servers: Callable[[str], Server]) -> Server:
    return servers("")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {file} -out {file}.crt"
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl here to make a certificate")
    with file.open("a") as both:
        both.write(Path(f"{file}.crt").read_text())
    ssl.create_default_context(cafile=str(file))
    return str(file)
