"""A server that says exactly the bytes it is told to, over a real socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

RESET = object()
"""In a script: RST after the request was read."""
CLOSE = object()
"""In a script: FIN after the request was read."""
HANG = object()
"""In a script: no answer until the test ends."""


@attrs.define(repr=False)
class Wire:
    """Answers each request with the next entry of `script`: bytes, or one of RESET, CLOSE, HANG.

    Or with what a future in it will say.

    `requests` are the raw requests that were read, `connections` counts those accepted.
    """

    port: int = 0
    script: deque[Any] = attrs.field(factory=deque)
    requests: list[bytes] = attrs.field(factory=list)
    connections: int = 0
    arrived: asyncio.Event = attrs.field(factory=asyncio.Event)
    hung_up: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def methods(self) -> list[str]:
        return [request.split(b" ", 1)[0].decode() for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await self._read(reader):
                self.requests.append(request)
                self.arrived.set()
                if not await self._answer(self.script.popleft(), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return head + await reader.readexactly(length)

    async def _answer(self, what: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if isinstance(what, asyncio.Future):
            what = await what
        if what is RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if what is CLOSE:
            return False
        if what is HANG:
            if not await reader.read(1):
                self.hung_up.set()
            return False
        writer.write(what)
        await writer.drain()
        return b"connection: close" not in what.lower()


def reply(body: bytes = b"", status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A whole HTTP reply; `length` lies about the body's."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(wire.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    yield wire
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
