"""A real TLS server with certificates of an authority of its own, and a tap that keeps what travels to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import attrs
import pytest
import trustme

from tests.fix_surface import Making
from tests.fix_wire import reply

TOKEN = "tok-0123456789"
ONE = reply(b'{"id":"ast_1","name":"n"}', "200 OK", "Connection: close")

Calling: TypeAlias = Callable[..., Awaitable[Any]]


@pytest.fixture
def calling(surface: Making) -> Calling:
    """One call of a new client, by either package: `await calling("get", "ast_1", base_url=...)`."""

    async def call(operation: str, *arguments: Any, fields: Any = None, **options: Any) -> Any:
        async with surface(TOKEN, **options) as client:
            return await client(operation, *arguments, **(fields or {}))

    return call


@attrs.define
class Authority:
    """Issues certificates, and makes the contexts of both sides."""

    ca: trustme.CA = attrs.field(factory=trustme.CA)

    def server(self, host: str, *, expired: bool = False, asks_for_ours: bool = False) -> ssl.SSLContext:
        """Of a server under that name; it may ask for a certificate of the client's."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        dates = {"not_before": yesterday - timedelta(days=1), "not_after": yesterday} if expired else {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(host, **dates).configure_cert(context)
        if asks_for_ours:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context

    def client(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """Of a client that trusts this authority."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if with_certificate:
            self.ca.issue_cert("client@example.com").configure_cert(context)
        return context


@attrs.define
class Origin:
    """`requests` are those that arrived decrypted; `sent` are the raw bytes of each connection to it."""

    port: int = 0
    requests: list[bytes] = attrs.field(factory=list)
    sent: list[bytearray] = attrs.field(factory=list)


@contextlib.asynccontextmanager
async def listening(serve: Any, **options: Any) -> AsyncIterator[int]:
    """A server's port; its connections end with the block."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def served() -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                try:
                    await serve(reader, writer)
                finally:
                    writer.close()
                    await writer.wait_closed()

        task = asyncio.get_running_loop().create_task(served())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def origin(context: ssl.SSLContext | None) -> AsyncIterator[Origin]:
    """A server that answers every request with one assistant; in clear text without a context."""
    state = Origin()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == b"\x16":  # TLS, to a server that has none: what nginx says then
            writer.write(reply(b"", "400 Bad Request"))
            return
        head = first + await reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), b":0")
        state.requests.append(head + await reader.readexactly(int(length.split(b":")[1])))
        writer.write(ONE)
        await writer.drain()

    async def tap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        state.sent.append(sent)
        theirs, ours = await asyncio.open_connection("127.0.0.1", inner)

        async def there() -> None:
            while data := await reader.read(65536):
                sent.extend(data)
                ours.write(data)
            ours.close()

        async def back() -> None:
            while data := await theirs.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        try:
            await asyncio.gather(there(), back())
        finally:
            ours.close()
            with contextlib.suppress(ConnectionError):
                await ours.wait_closed()

    async with listening(serve, ssl=context) as inner, listening(tap) as state.port:
        yield state
