"""TLS is always verified, and a proxy never sees the token: over real sockets with real certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trustme

from lisn_async import APIConnectionError, AsyncLisn
from tests.fix_wire import reply

ONE = reply(b'{"id":"ast_1","name":"n"}', "200 OK", "Connection: close")


@attrs.define
class TLSServer:
    port: int
    trusted: ssl.SSLContext
    requests: list[bytes] = attrs.field(factory=list)


@contextlib.asynccontextmanager
async def tls_server(host: str) -> AsyncIterator[TLSServer]:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(server_side)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    state = TLSServer(0, trusted)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            state.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(ONE)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
    state.port = server.sockets[0].getsockname()[1]
    async with server:
        yield state


async def test_a_context_that_trusts_the_servers_ca_is_used() -> None:
    async with tls_server("localhost") as server:
        options: dict[str, Any] = {
            "base_url": f"https://localhost:{server.port}",
            "ssl_context": server.trusted,
        }
        async with AsyncLisn("tok-0123", **options) as client:
            assert (await client.assistants.get("ast_1")).id == "ast_1"


@pytest.mark.parametrize("known", [False, True], ids=["unknown CA", "wrong host"])
async def test_a_certificate_that_does_not_fit_ends_the_call_at_once_with_nothing_sent(known: bool) -> None:
    async with tls_server("other.example") as server:
        context = server.trusted if known else None
        client = AsyncLisn("tok-0123", base_url=f"https://localhost:{server.port}", ssl_context=context)
        async with client:
            with pytest.raises(APIConnectionError, match="certificate") as caught:
                await client.assistants.delete("ast_1")
        assert (caught.value.attempts, caught.value.outcome_unknown) == (1, False)
        assert server.requests == []


@contextlib.asynccontextmanager
async def forward_proxy(answer: bytes | None = None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A CONNECT proxy that remembers the heads it was sent."""
    heads: list[bytes] = []
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        if answer is not None:
            writer.write(answer)
            writer.close()
            return
        host, port = head.split(b" ")[1].decode().rsplit(":", 1)
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, sink in ((reader, upstream_writer), (upstream_reader, writer)):
            task = asyncio.create_task(pump(source, sink))
            pumps.add(task)
            task.add_done_callback(pumps.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
        for task in list(pumps):
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def test_the_token_goes_to_the_server_and_never_to_the_proxy() -> None:
    async with (
        tls_server("localhost") as server,
        forward_proxy() as (address, heads),
        AsyncLisn(
            "tok-0123",
            base_url=f"https://localhost:{server.port}",
            ssl_context=server.trusted,
            proxy=f"http://user:pass@{address}",
        ) as client,
    ):
        await client.assistants.get("ast_1")
    [connect] = heads
    assert connect.startswith(f"CONNECT localhost:{server.port} ".encode())
    assert b"tok-0123" not in connect
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in connect
    assert b"Authorization: Bearer tok-0123" in server.requests[0]


async def test_a_proxy_that_asks_for_a_password_is_final_and_its_url_shows_none() -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with (
        forward_proxy(refusal) as (address, heads),
        AsyncLisn(
            "tok-0123", base_url="https://example.com", proxy=f"http://user:s3cret@{address}"
        ) as client,
    ):
        with pytest.raises(APIConnectionError, match="the proxy answered 407") as caught:
            await client.assistants.create(name="n", type="text", llm_provider="openai", system_prompt="p")
    assert len(heads) == 1
    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, False)
    assert "s3cret" not in str(caught.value) + repr(caught.value) + str(caught.value.__cause__)


async def test_a_proxy_for_clear_text_gets_its_password_with_each_request() -> None:
    async with (
        forward_proxy(ONE) as (address, heads),
        AsyncLisn(
            "tok-0123",
            base_url="http://example.com",
            allow_insecure_http=True,
            proxy=f"http://user:pass@{address}",
        ) as client,
    ):
        await client.assistants.get("ast_1")
    assert heads[0].startswith(b"GET http://example.com/v1/assistants/ast_1 ")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in heads[0]
