"""One create, written for asyncio, in ten ways: `python -m benchmarks.contestants.asynchronous NAME URL CONCURRENCY LOOP`.

Every library is imported where it is used, since no environment has all of them.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import asyncio
import sys
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias, cast

from benchmarks.contestants.fields import HEADERS, fields
from benchmarks.contestants.worker import serve

Create: TypeAlias = Callable[[int], Awaitable[object]]


@asynccontextmanager
async def lisn(url: str) -> AsyncIterator[Create]:
    """Ours, with its defaults."""
    from lisn_async import AsyncLisn

    async with AsyncLisn("token", base_url=url) as client:

        async def create(number: int) -> object:
            return await client.assistants.create(**fields(number))

        yield create


@asynccontextmanager
async def extended(url: str) -> AsyncIterator[Create]:
    """Ours with all that can be added to it: a middleware, a rate limit, a token that a function gives, a deadline."""
    from lisn_async import APIRequest, AsyncLisn, CallNext, RateLimit, RawResponse

    calls = 0

    async def count(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        nonlocal calls
        calls += 1
        return await call_next(request)

    async with AsyncLisn(
        lambda: "token",
        base_url=url,
        middleware=[count],
        rate_limit=RateLimit(10**6, per_seconds=1),
        deadline=60.0,
    ) as client:

        async def create(number: int) -> object:
            return await client.assistants.create(**fields(number))

        yield create


@asynccontextmanager
async def plain(url: str) -> AsyncIterator[Create]:
    """aiohttp as people write it: the measure of all others."""
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def create(number: int) -> object:
            async with session.post(f"{url}/v1/assistants", json=fields(number), headers=HEADERS) as response:
                return await response.json()

        yield create


@asynccontextmanager
async def tuned(url: str) -> AsyncIterator[Create]:
    """aiohttp with everything off that can be, orjson, and no error handling: the floor of an SDK on aiohttp."""
    import aiohttp
    import orjson
    from yarl import URL

    to = URL(f"{url}/v1/assistants")
    async with aiohttp.ClientSession(
        headers={**HEADERS, "Content-Type": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
    ) as session:

        async def create(number: int) -> object:
            response = await session.post(to, data=orjson.dumps(fields(number)), allow_redirects=False)
            return orjson.loads(await response.read())

        yield create


@asynccontextmanager
async def typed(url: str) -> AsyncIterator[Create]:
    """The same with attrs classes at both ends, by cattrs."""
    import aiohttp
    import attrs
    from cattrs.preconf.orjson import make_converter
    from yarl import URL

    @attrs.frozen
    class Spec:
        name: str
        type: str
        llm_provider: str
        system_prompt: str
        temperature: float | None = None

    made = attrs.make_class(
        "Made", {field: attrs.field(type=str) for field in ("id", "created_at")}, bases=(Spec,), kw_only=True
    )
    converter = make_converter(detailed_validation=False, omit_if_default=True)
    to = URL(f"{url}/v1/assistants")
    async with aiohttp.ClientSession(
        headers={**HEADERS, "Content-Type": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
    ) as session:

        async def create(number: int) -> object:
            body = converter.dumps(Spec(**fields(number)))
            response = await session.post(to, data=body, allow_redirects=False)
            return converter.loads(await response.read(), made)

        yield create


@asynccontextmanager
async def sockets(url: str) -> AsyncIterator[Create]:
    """Bytes that were encoded before, and a reply that nobody decodes: what the loop and the kernel take."""
    import json

    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(fields(0))
    head = [
        "POST /v1/assistants HTTP/1.1",
        f"Host: {host}:{port}",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    request = "\r\n".join([*head, "", body]).encode()
    loop = asyncio.get_running_loop()
    idle: deque[_Connection] = deque()

    async def connect() -> _Connection:
        return (await loop.create_connection(_Connection, host, int(port)))[1]

    async def create(number: int) -> object:
        connection = idle.pop() if idle else await connect()
        reply = await connection.exchange(request)
        idle.append(connection)
        return reply

    yield create
    for connection in idle:
        connection.transport.close()


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # of uvloop it is one by name only
        self._length = 0

    def exchange(self, request: bytes) -> asyncio.Future[bytes]:
        self._read = b""
        self._reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._reply

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._length and (end := self._read.find(b"\r\n\r\n")) >= 0:  # all replies have one length
            self._length = end + 4 + int(self._read.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        if self._length and len(self._read) >= self._length:
            self._reply.set_result(self._read)


@asynccontextmanager
async def httpx(url: str) -> AsyncIterator[Create]:
    """HTTPX, with its defaults."""
    import httpx

    async with httpx.AsyncClient(headers=HEADERS) as client:

        async def create(number: int) -> object:
            response = await client.post(f"{url}/v1/assistants", json=fields(number))
            return response.json()

        yield create


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Create]:
    """OpenAI's library, with its defaults: its own resource of this name, and a reply in its own shape."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="token", base_url=f"{url}/openai/v1") as client:
        yield _openai_create(client)


@asynccontextmanager
async def openai_aiohttp(url: str) -> AsyncIterator[Create]:
    """The same with its `aiohttp` extra."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async with AsyncOpenAI(
        api_key="token", base_url=f"{url}/openai/v1", http_client=DefaultAioHttpClient()
    ) as client:
        yield _openai_create(client)


def _openai_create(client: Any) -> Create:
    warnings.simplefilter("ignore", DeprecationWarning)

    async def create(number: int) -> object:
        given = fields(number)
        return await client.beta.assistants.create(
            model="gpt-4o-mini",
            name=given["name"],
            instructions=given["system_prompt"],
            temperature=given["temperature"],
        )

    return create


@asynccontextmanager
async def vapi(url: str) -> AsyncIterator[Create]:
    """Vapi's library, with its defaults, and a reply in its own shape."""
    from vapi import AsyncVapi

    client = AsyncVapi(token="token", base_url=url)

    async def create(number: int) -> object:
        given = fields(number)
        return await client.assistants.create(name=given["name"], first_message=given["system_prompt"])

    yield create


async def spread(create: Create, calls: int, concurrency: int) -> None:
    """So many calls, so many at a time."""
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await create(number)

    await asyncio.gather(*(work() for _ in range(concurrency)))


def main(name: str, url: str, concurrency: str, loop: str) -> None:
    """Serve one of them on the loop `default` or `uvloop`."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        stack = AsyncExitStack()
        create = runner.run(stack.enter_async_context(globals()[name](url)))
        serve(lambda calls: runner.run(spread(create, calls, int(concurrency))))
        runner.run(stack.aclose())


if __name__ == "__main__":
    main(*sys.argv[1:])
