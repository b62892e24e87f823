"""A forward proxy in a process of its own, as companies have them: CONNECT for https, whole URLs for http.

    python -m tests.forward_proxy SEEN --to PORT [--password user:pass] [--tls CERT] [--dies WHEN]

It prints its port, writes every byte that it can read to the file SEEN, and takes every host for the one on this
machine's PORT, so that names need not be known here.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import ssl
import sys
from pathlib import Path
from typing import IO

import attrs

ASKS = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"


@attrs.define
class ForwardProxy:
    seen: IO[bytes]
    to: int
    password: bytes | None
    dies: str | None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await self._head(reader)
        if self.dies == "in CONNECT":
            os._exit(1)  # as kill -9 does: nothing is said, the kernel closes what was open
        if self.dies == "hangs":
            await asyncio.sleep(60)
        if self.dies == "in the middle of its answer":
            writer.write(b"HTTP/1.1 200 Connec")
            await writer.drain()
            os._exit(1)
        if self.password is not None and self._credentials() not in head:
            writer.write(ASKS)
            return
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.to)
        if head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            to_upstream.write(self._to_origin(head))
        there = asyncio.create_task(self._pump(reader, to_upstream, note=True))
        if self.dies == "before it passes the answer on":
            await upstream.read(1)
            os._exit(1)
        await asyncio.gather(there, self._pump(upstream, writer))

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self._note(head)
        return head

    def _note(self, data: bytes) -> None:
        self.seen.write(data)
        self.seen.flush()

    def _credentials(self) -> bytes:
        return b"Proxy-Authorization: Basic " + base64.b64encode(self.password or b"") + b"\r\n"

    @staticmethod
    def _to_origin(head: bytes) -> bytes:
        """The request as the origin gets it: a path, and nothing that was meant for the proxy."""
        line, *headers = head.split(b"\r\n")
        method, url, version = line.split(b" ")
        path = b"/" + url.split(b"/", 3)[3]
        kept = [header for header in headers if not header.lower().startswith(b"proxy-")]
        return b"\r\n".join([b" ".join([method, path, version]), *kept])

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool = False
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if note:
                    self._note(data)
                writer.write(data)
                await writer.drain()
        writer.close()


async def main(arguments: argparse.Namespace) -> None:
    context = None
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.tls)
    password = arguments.password.encode() if arguments.password else None
    with arguments.seen.open("ab") as seen:
        proxy = ForwardProxy(seen, arguments.to, password, arguments.dies)
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", arguments.port, ssl=context)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)  # whatever hangs: from 3.12 on, a server that is closed waits for it


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seen", type=Path)
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--password")
    parser.add_argument("--tls")
    parser.add_argument("--dies")
    asyncio.run(main(parser.parse_args()))
