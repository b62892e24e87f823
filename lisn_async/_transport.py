"""One request over the network, and what became of it, as a value.

This module, `_outgoing` and `_broken` are the only ones that know aiohttp's client: sessions here, what leaves through
them and what its exceptions mean there.

A session belongs to the event loop it was made in. So a transport keeps one pool per running loop,
made at the first request there:

1. While the loop lives, an async generator primed in it holds the session. `asyncio.run` ends every
   such generator (`shutdown_asyncgens`), so the session is closed with its loop and none is leaked.
2. After a fork the child shares the parent's sockets. It must neither use nor free them: freeing a
   session deregisters the parent's sockets from the shared epoll set. The child parks them unused.

Requests go through `ClientSession.request`, although its connector alone would take half the CPU: tools that watch
aiohttp, and those that stand in for a server in tests, take hold there.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import platform
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import aiohttp
import attrs
from multidict import CIMultiDict
from yarl import URL

from ._broken import NEVER_WRITTEN, broken, cut_off
from ._config import Settings
from ._headers import Lines
from ._keepers import Keeper, close_all
from ._limits import Limits, is_being_cancelled
from ._outgoing import (
    JSON,
    Failed,
    Head,
    Outbox,
    Outgoing,
    Response,
    as_aiohttp_takes,
    make_final,
    request_class,
)
from ._permits import Queue
from ._request import COLLECTION, Request
from ._response import Broken, Reply, reply_of
from ._tokens import Asking
from ._unpack import ACCEPTED
from ._version import __version__
from .errors import ConfigurationError

CLOSED = "this client is closed; make another, or enter it again with `async with` (`with` for Lisn)"
CLOSING = 2.0
"""Seconds that connections have to say goodbye."""
MOST_STALE = 10
"""Kept-alive connections that one request may find stale before that counts as a failed attempt."""
LONGEST_ERROR = 2**20
"""Bytes of an error's body that are read: beyond, the error has its status and no body."""
KEEP_ALIVE = 2.0
"""Seconds. Short: a reply that a server pushes on an idle connection would answer the next request."""

LARGE_BLOCK = 2**19
"""Bytes: more than any buffer of asyncio's."""
_NOT_GUESSED = ("Content-Type",)
"""Else aiohttp calls an empty POST (duplicate) an octet stream."""
_TROUBLE = (aiohttp.ClientError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError)


class _Watch:
    """A client middleware for one request of a borrowed session: remembers it, and makes failures final for aiohttp.

    A session with middlewares of its own may send several times inside of one of ours: then nothing is
    known to be unsent.
    """

    __slots__ = ("can_tell", "request")

    def __init__(self, *, can_tell: bool) -> None:
        self.can_tell = can_tell
        self.request: aiohttp.ClientRequest | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self.request = request
        return await make_final(request, handler)

    def was_unsent(self, error: BaseException) -> bool:
        """Whether a failed request certainly sent nothing."""
        return self.request is None or (self.can_tell and isinstance(error, NEVER_WRITTEN))


@attrs.define
class Pool:
    """The session of one loop, the slots before it, and the generator that closes it with its loop."""

    session: aiohttp.ClientSession
    slots: asyncio.Semaphore
    limits: Limits
    keeper: Keeper
    asking: Asking
    """How the API token is asked for."""
    unread: set[aiohttp.StreamReader]
    """Bodies that are still coming in."""
    queue: Queue = attrs.field(factory=Queue, init=False)
    """Where a rate limit makes requests wait."""


class Transport:
    """Sends requests. Making one opens nothing."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession | None = None) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigurationError(
                f"session must be an aiohttp.ClientSession, not {type(session).__name__}"
            )
        self._settings = settings
        self._borrowed = session
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._asleep: set[asyncio.Future[None]] = set()
        self._closed = False
        self._users = 0
        self._headers, self._json_headers = _headers(settings)
        self._options = _options(settings, session, self._headers)
        self._collection = URL(settings.base_url + COLLECTION, encoded=True)
        _live.add(self)

    async def acquire(self, ends: float = math.inf) -> Pool | None:
        """A slot of the running loop's pool, to be released; None if there is none before `ends`.

        Waiting here and not in aiohttp keeps the wait out of what the server is given. Raises
        `ConfigurationError` if the client is closed.
        """
        pool = self._pools.get(asyncio.get_running_loop())
        if pool is None or pool.session.closed:
            pool = await self._new_pool()
        if ends == math.inf:
            await pool.slots.acquire()
            return pool
        try:
            async with asyncio.timeout(ends - time.monotonic()):
                await pool.slots.acquire()
        except TimeoutError:
            return None
        return pool

    async def exchange(
        self,
        pool: Pool,
        request: Request[Any],
        lines: Lines,
        seconds: float,
        most_stale: int = MOST_STALE,
    ) -> Reply | Broken:
        """What became of one request, sent with these headers too, in `seconds`; the caller holds a slot of the pool."""
        sending: Outgoing | _Watch
        if self._borrowed is None:
            sending = Outgoing(request.body or b"")
            sending.lines = lines
        else:
            # A list of middlewares given with a request replaces the session's own.
            own = getattr(pool.session, "_middlewares", ())
            sending = _Watch(can_tell=not own)
        response: aiohttp.ClientResponse | None = None
        try:
            with pool.limits.within(seconds):
                if isinstance(sending, Outgoing):
                    response = await pool.session.request(
                        request.method, self._url(request), data=sending, **self._options
                    )
                else:
                    response = await self._request_borrowed(pool, request, lines, (sending, *own))
                most = request.max_reply if 200 <= response.status < 300 else LONGEST_ERROR
                body = await _read(response, most, pool.unread)
            return reply_of(response.status, response.headers, body, most)
            # No exception is kept in a local beyond its handler: it would hold itself through this frame.
        except Failed as failed:
            if not (most_stale and isinstance(sending, Outgoing) and sending.found_stale):
                return self._ended(sending, response, failed.__cause__ or failed, seconds)
        except _TROUBLE as error:
            return self._ended(sending, response, error, seconds)
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            # Nobody cancelled this task: aiohttp cancels look-ups that are under way when a session is closed.
            return self._ended(sending, response, error, seconds)
        return await self.exchange(pool, request, lines, seconds, most_stale - 1)

    async def _request_borrowed(
        self,
        pool: Pool,
        request: Request[Any],
        lines: Lines,
        middlewares: tuple[aiohttp.ClientMiddlewareType, ...],
    ) -> aiohttp.ClientResponse:
        headers = (self._headers if request.body is None else self._json_headers).copy()
        headers.update(lines.headers)
        return await pool.session.request(
            request.method,
            self._url(request),
            data=None if request.body is None else as_aiohttp_takes(request.body),
            middlewares=middlewares,
            raise_for_status=False,
            auto_decompress=False,
            skip_auto_headers=_NOT_GUESSED,
            **{**self._options, "headers": headers},
        )

    def _ended(
        self,
        sending: Outgoing | _Watch,
        response: aiohttp.ClientResponse | None,
        error: BaseException,
        seconds: float,
    ) -> Reply | Broken:
        if response is not None:
            return Reply(status=response.status, headers=response.headers, body=None, broken=cut_off(error))
        unsent = sending.was_unsent(error)
        return broken(
            error,
            seconds,
            unsent=unsent,
            is_borrowed=self._borrowed is not None,
            is_proxied=self._settings.proxy is not None,
        )

    async def sleep(self, seconds: float) -> None:
        """Sleep. Raises `ConfigurationError` at once when the client is closed: it never ends too soon."""
        asleep: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asleep.add(asleep)  # before the look at `_closed`: another thread closes in the other order
        try:
            if self._closed or (await asyncio.wait({asleep}, timeout=seconds))[0]:
                raise ConfigurationError(CLOSED)
        finally:
            self._asleep.discard(asleep)

    def enter(self) -> None:
        """Count one more `with` block, and allow requests again after a close."""
        self._users += 1
        self._closed = False

    def leave(self) -> bool:
        """Whether that was the last `with` block: another, of another thread, say, may still use this client."""
        self._users -= 1
        return self._users <= 0

    async def aclose(self) -> None:
        """Close, and refuse requests from now on."""
        self._closed = True
        self._users = 0
        for asleep in list(self._asleep):
            with contextlib.suppress(RuntimeError):  # its loop has been closed
                asleep.get_loop().call_soon_threadsafe(_wake, asleep)
        await self.rest()

    async def rest(self) -> None:
        """Close the session of the running loop, and ask every other loop to close its own."""
        pools, self._pools = self._pools, {}
        await close_all({loop: pool.keeper for loop, pool in pools.items()})

    def url(self, request: Request[Any]) -> str:
        """The URL that a request goes to."""
        return self._settings.base_url + request.path

    def _url(self, request: Request[Any]) -> URL:
        return self._collection if request.path == COLLECTION else URL(self.url(request), encoded=True)

    async def _new_pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ConfigurationError(CLOSED)
        _keep_buffers_on_the_heap()
        if self._borrowed is not None and self._borrowed.closed:
            raise ConfigurationError("the session that was lent to this client is closed")
        limits, asking, unread = Limits(loop), Asking(), set[aiohttp.StreamReader]()
        session = self._borrowed or self._session(Outbox(loop, limits))
        keeper = _keep(None if session is self._borrowed else session, limits, asking, unread)
        await anext(keeper)  # does not suspend: no second pool can be made meanwhile
        slots = asyncio.Semaphore(self._settings.max_connections)
        pool = Pool(session, slots, limits, keeper, asking, unread)
        for ended in [other for other in list(self._pools) if other.is_closed()]:
            self._pools.pop(ended, None)  # its session was closed with it
        self._pools[loop] = pool
        return pool

    def _session(self, outbox: Outbox) -> aiohttp.ClientSession:
        settings = self._settings
        bare = Head(settings.base_url, self._headers)
        with_body = Head(settings.base_url, self._json_headers)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.max_connections,
                keepalive_timeout=KEEP_ALIVE,
                ssl=True if settings.ssl_context is None else settings.ssl_context,
            ),
            headers=self._headers if settings.proxy is None else None,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            request_class=request_class(bare, with_body, outbox),
            response_class=Response,
            middlewares=() if settings.proxy is None else (make_final,),
            auto_decompress=False,
            skip_auto_headers=_NOT_GUESSED,
        )


def _keep_buffers_on_the_heap() -> None:
    """Allocate a large block and free it, which tells glibc to take such blocks from the heap from now on.

    asyncio receives into 256 KiB, cut to what came. Until glibc has seen so large a block freed, it maps and unmaps
    each of them (mallopt(3), M_MMAP_THRESHOLD, "dynamic"), which takes a fifth of the CPU of a small call. Other
    allocators see a block come and go.
    """
    bytes(LARGE_BLOCK)


def _wake(asleep: asyncio.Future[None]) -> None:
    if not asleep.done():  # closed twice
        asleep.set_result(None)


_open: set[aiohttp.ClientSession] = set()
"""Until their keepers have closed them. When the collector finds a dropped client in a cycle it ends the keeper, which
closes the session; it would also end the session itself, which then complains on stderr."""


async def _keep(
    own: aiohttp.ClientSession | None, limits: Limits, asking: Asking, unread: set[aiohttp.StreamReader]
) -> Keeper:
    if own is not None:
        _open.add(own)
    try:
        yield
    finally:
        asking.stop()
        if own is not None:
            # aiohttp closes their connections and tells nobody: they would wait for their limit.
            for content in unread:
                content.set_exception(aiohttp.ClientPayloadError("the client was closed"))
            with contextlib.suppress(TimeoutError):  # a peer that stopped reading would hold it up for ever
                async with asyncio.timeout(CLOSING):
                    await own.close()
            _open.discard(own)
        limits.rest()


def _headers(settings: Settings) -> tuple[CIMultiDict[str], CIMultiDict[str]]:
    """The headers of every request without and with a JSON body. The token is in neither: see `Lines`."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    headers = CIMultiDict(
        {
            "Accept": "application/json",
            "Accept-Encoding": ACCEPTED,
            "User-Agent": f"lisn-python/{__version__} ({python}; aiohttp {aiohttp.__version__})",
        }
    )
    headers.update(settings.headers)
    if settings.proxy is not None and settings.proxy.authorization and settings.base_url.startswith("http:"):
        headers["Proxy-Authorization"] = settings.proxy.authorization  # there is no CONNECT to carry it
    with_json = headers.copy()
    with_json["Content-Type"] = JSON
    return headers, with_json


def _options(
    settings: Settings, session: aiohttp.ClientSession | None, headers: CIMultiDict[str]
) -> Mapping[str, Any]:
    """What is the same for every request of a transport."""
    options: dict[str, Any] = {"allow_redirects": False}
    if settings.proxy is not None:
        options["proxy"] = settings.proxy.url
        # Not as those of the session, which the proxy is sent in clear text.
        options["headers"] = headers
        if settings.proxy.authorization is not None:
            options["proxy_headers"] = {"Proxy-Authorization": settings.proxy.authorization}
    if session is not None and settings.ssl_context is not None:
        options["ssl"] = settings.ssl_context
    return options


async def _read(
    response: aiohttp.ClientResponse, most: int, unread: set[aiohttp.StreamReader]
) -> bytes | bytearray | None:
    """The body as it travelled: None, and the connection closed, if it exceeds `most` bytes."""
    content = response.content
    body: bytes | bytearray
    try:
        if content.is_eof():
            body = content.read_nowait()
        else:
            unread.add(content)
            body = await content.readany()
        while len(body) <= most and not content.at_eof():
            if type(body) is bytes:
                body = bytearray(body)  # grows in place: joining pieces would hold everything twice
            body += await content.readany()
    except BaseException:
        response.close()
        raise
    finally:
        unread.discard(content)
    if len(body) > most:
        response.close()
        return None
    if not response.closed:  # it closed itself when its last byte came
        response.release()
    return body


# --- fork -----------------------------------------------------------------------------------------------

_live: WeakSet[Transport] = WeakSet()


def _park_after_fork(parked: list[object]) -> None:
    """In the child: give every transport a fresh start and keep what it had, untouched, for ever."""
    for transport in list(_live):
        parked.append((transport._pools, transport._asleep))
        transport._pools, transport._asleep = {}, set()
    parked.append(set(_open))
    _open.clear()


if hasattr(os, "register_at_fork"):
    # The list lives in the hook's own arguments: module globals are cleared at exit, and that would free it.
    os.register_at_fork(after_in_child=lambda parked=[]: _park_after_fork(parked))
