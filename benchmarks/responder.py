"""A server so cheap that the client is the bottleneck: always the same reply, in a process of its own.

To a GET it is an empty list, to anything else an assistant.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

BODY = (
    b'{"id":"ast_abc123","name":"n","type":"text","llm_provider":"openai","system_prompt":"'
    + b"p" * 1500
    + b'","temperature":0.7,"created_at":"2026-01-01T00:00:00Z"}'
)
REPLY = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
)
NOTHING = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


class _Responder(asyncio.Protocol):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            self._read = self._read[end + 4 + length :]
            reply = NOTHING if head.startswith(b"get ") else REPLY
            if self._seconds:
                asyncio.get_running_loop().call_later(self._seconds, self._write, reply)
            else:
                self._write(reply)

    def _write(self, reply: bytes) -> None:
        self._transport.write(reply)  # type: ignore[attr-defined]


async def _serve(seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Responder(seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def responder(seconds: float = 0.0) -> Iterator[str]:
    """The base URL of a responder that takes so long for each reply, and ends with the block."""
    command = [sys.executable, "-m", "benchmarks.responder", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
