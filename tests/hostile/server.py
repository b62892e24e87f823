"""The server that plays the cases, in a process of its own: what it holds in memory is not the client's.

`/c/<number>/v1/assistants…` is answered as the case says, but an id that begins with `next_` honestly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, next_id
from tests.hostile.table import CASES

LONGEST = 4.0
"""Seconds that a reply without end goes on at most."""
_TARGET = re.compile(rb"([A-Z]+) /c/([0-9]+)/v1/assistants(?:/([^ /]*))?(/duplicate)? ")
_LETTERS = {(b"GET", False): "l", (b"GET", True): "g", (b"POST", False): "c", (b"POST", True): "p"}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while await _answer(reader, writer):
            pass
    writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    if length := re.search(rb"(?i)content-length: *([0-9]+)", head):
        await reader.readexactly(int(length[1]))
    target = _TARGET.match(head)
    assert target is not None, head
    method, number, wanted = target[1], int(target[2]), target[3]
    if wanted is not None and wanted.startswith(b"next_"):
        body = json.dumps({"id": wanted.decode(), "name": "Honest"}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        return True
    operation = {b"PATCH": "u", b"DELETE": "d"}.get(method) or _LETTERS[method, wanted is not None]
    return await _play(CASES[number], operation, next_id(number, operation), reader, writer)


async def _play(
    case: Case, operation: str, follower: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    reply = case.reply(operation, follower)
    if case.then == "drip":
        for at in range(len(reply)):
            writer.write(reply[at : at + 1])
            await asyncio.sleep(0)
    writer.write(reply if case.then != "drip" else b"")
    await writer.drain()
    if case.then == "repeat tail":
        ends = time.monotonic() + LONGEST
        while time.monotonic() < ends:
            writer.write(case.end(follower))
            await writer.drain()
    elif case.then == "hang":
        await reader.read(1)
    elif case.then == "rst":
        close_with_reset(writer.transport)
    return case.then in ("keep", "drip")


def close_with_reset(transport: asyncio.WriteTransport) -> None:
    """End a connection with RST."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _push(case: Case, writer: asyncio.StreamWriter) -> None:
    writer.write(case.reply("g", ""))
    with contextlib.suppress(ConnectionError):
        await writer.drain()


async def _main() -> None:
    ports: dict[int, int] = {}
    main = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    early = []
    for number, case in enumerate(CASES):
        if case.is_early:

            async def push(_: object, writer: asyncio.StreamWriter, case: Case = case) -> None:
                await _push(case, writer)

            server = await asyncio.start_server(push, "127.0.0.1", 0)
            ports[number] = server.sockets[0].getsockname()[1]
            early.append(server)
    print(json.dumps({"port": main.sockets[0].getsockname()[1], "early": ports}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # ends with the one who started it
    for server in (main, *early):
        server.close()


@contextlib.contextmanager
def running() -> Iterator[dict[str, Any]]:
    """The ports of a server process that ends with the block."""
    command = [sys.executable, "-m", "tests.hostile.server"]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.kill()


if __name__ == "__main__":
    asyncio.run(_main())
