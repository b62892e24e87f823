"""A backend in a process of its own, watched from inside (`watched.py`); its callers; and what lies between it and Lisn."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TextIO

import attrs

from lisn_async.sandbox import Sandbox

from .conftest import MISHAPS, ROOT, WITHIN, Program, environment_for

RUNNING = r"[Rr]unning on http://[\d.]+:(\d+)"
"""What uvicorn, Hypercorn and aiohttp say once they listen."""


class Relay:
    """Stands between a backend and the sandbox: passes requests on at once, and replies while the gate is open."""

    def __init__(self, box: Sandbox) -> None:
        self._to = int(box.base_url.rpartition(":")[2])
        self.token = box.token
        self.gate = asyncio.Event()
        self.gate.set()
        self.open: set[asyncio.StreamWriter] = set()
        """The connections that the backend holds."""
        self._ended = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Relay]:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=300)
        self.port: int = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def deserted(self) -> None:
        """Nothing, once the backend holds no connection."""
        async with asyncio.timeout(WITHIN):
            while self.open:
                self._ended.clear()
                await self._ended.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._to)
        always = asyncio.Event()
        always.set()
        pumps = {
            asyncio.ensure_future(_pump(reader, there, always)),
            asyncio.ensure_future(_pump(there_reader, writer, self.gate)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for one in (writer, there):
                one.close()
            self.open.discard(writer)
            self._ended.set()


async def _pump(source: asyncio.StreamReader, to: asyncio.StreamWriter, gate: asyncio.Event) -> None:
    while piece := await source.read(65536):
        await gate.wait()
        to.write(piece)
        await to.drain()


@attrs.define(eq=False)
class Caller:
    """One HTTP request to a backend on a connection of its own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def send(cls, port: int, sent: bytes) -> Caller:
        """A request that is under way."""
        caller = cls(*await asyncio.open_connection("127.0.0.1", port))
        caller.writer.write(sent)
        return caller

    async def reply(self) -> tuple[int, bytes]:
        """Status and body of the reply; closes the connection."""
        async with asyncio.timeout(WITHIN):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            if b"transfer-encoding: chunked" in head:
                body = b""
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
            else:
                body = await self.reader.readexactly(int(head.split(b"content-length:")[1].split()[0]))
        self.hang_up()
        return int(head.split()[1]), body

    async def json(self) -> tuple[int, Any]:
        status, body = await self.reply()
        return status, json.loads(body)

    def hang_up(self, *, rudely: bool = False) -> None:
        """Close the connection, with FIN or with RST."""
        if rudely:
            lingering = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        self.writer.transport.abort()


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of a request. It is the last on its connection, which Hypercorn would else keep for a while."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers]
    lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def to_create(name: str) -> bytes:
    """The bytes of a request that has the backend of a recipe create an assistant."""
    spec = {"name": name, "type": "text", "llm_provider": "openai", "system_prompt": "Be brief."}
    return request("POST", "/assistants", json.dumps(spec).encode(), "Content-Type: application/json")


@attrs.define(eq=False)
class Backend:
    """A server with an application that uses the SDK, and reports from inside of it."""

    program: Program
    port: int
    reports: TextIO
    is_hypercorn: bool

    async def send(self, sent: bytes) -> Caller:
        """A request that is under way."""
        return await Caller.send(self.port, sent)

    async def create(self, name: str) -> Caller:
        """A request that creates an assistant, under way."""
        return await self.send(to_create(name))

    async def report(self) -> dict[str, Any]:
        """What the process has open now."""
        self.program.process.send_signal(signal.SIGUSR1)
        line = await asyncio.to_thread(self.reports.readline)
        assert line, self.program.log
        return dict(json.loads(line))

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first report that is as wanted. There is no event for what a process has open: it is asked again."""
        ends = asyncio.get_running_loop().time() + WITHIN
        while not wanted(report := await self.report()):
            assert asyncio.get_running_loop().time() < ends, report
            await asyncio.sleep(0.05)
        return report

    async def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; the exit status, and the seconds until the process was gone."""
        return await asyncio.to_thread(self.program.stop, number)

    def last_words(self) -> list[dict[str, Any]]:
        """What the process reported when its interpreter ended; nothing, if the signal itself ended it."""
        return [json.loads(line) for line in self.reports]


class Served:
    """A backend that serves many tests, as one of them sees it."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._begins_at = len(backend.program.log)

    @property
    def log(self) -> str:
        """What it has said during this test."""
        return self.backend.program.log[self._begins_at :]

    async def send(self, sent: bytes) -> Caller:
        """A request that is under way."""
        return await self.backend.send(sent)

    async def get(self, path: str) -> Caller:
        """The same, without a body."""
        return await self.send(request("GET", path))

    async def said(self, what: str) -> None:
        """Nothing, once a line of its log during this test begins so."""
        await asyncio.to_thread(self.backend.program.wait_for, rf"^{what}", after=self._begins_at)


@asynccontextmanager
async def one_test_with(running: Backend) -> AsyncIterator[Served]:
    """One test with an application that has `/hold` and `/release`; nothing stays behind, and nothing bad in the log."""
    await (await running.send(request("GET", "/hold"))).reply()  # by then it has started all that it has
    before = await running.until(lambda report: not report["peers"])
    served = Served(running)
    yield served
    await (await served.get("/release")).reply()
    await running.until(lambda report: is_at_rest(report, before) and not report["peers"])
    if "of the application itself" not in served.log:
        assert not MISHAPS.search(served.log), served.log


@contextmanager
def started(*command: str, box: Any, **more: str) -> Iterator[Backend]:
    """A backend that listens: `command` is a module or a file of Python, with its arguments."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as reports:
        whole = [sys.executable, "-m", "tests.frameworks.watched", str(writing), *command]
        try:
            environment = environment_for(box.base_url, box.token, **more)
            program = Program(whole, environment, cwd=ROOT, pass_fds=(writing,))
        finally:
            os.close(writing)
        try:
            port = int(program.wait_for(RUNNING)[1])
            yield Backend(program, port, reports, is_hypercorn=command[0] == "hypercorn")
        finally:
            program.kill()


@asynccontextmanager
async def backend(*command: str, box: Any, **more: str) -> AsyncIterator[Backend]:
    """The same in a coroutine, whose loop goes on meanwhile."""
    starting = started(*command, box=box, **more)
    running = await asyncio.to_thread(starting.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)


def is_at_rest(report: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether nothing is there beside what was before, the sockets apart."""
    tasks = Counter(report["tasks"]) <= Counter(before["tasks"])  # something may just have been ending before
    return tasks and all(report[name] == before[name] for name in ("free", "waiting", "limits"))
