"""One request over the network, and what became of it, as a value. The only module that imports aiohttp's client.

A session belongs to the event loop it was made in. So a transport keeps one pool per running loop,
made at the first request there:

1. While the loop lives, an async generator primed in it holds the session. `asyncio.run` ends every
   such generator (`shutdown_asyncgens`), so the session is closed with its loop and none is leaked.
2. After a fork the child shares the parent's sockets. It must neither use nor free them: freeing a
   session deregisters the parent's sockets from the shared epoll set. The child parks them unused.

Whether a request was written at all decides if a POST may be sent again. `_Request.send` is called by
aiohttp once a connection is there and before the first byte: it sets the flag.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import os
import platform
import select
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from weakref import WeakSet

import aiohttp
import attrs
from multidict import CIMultiDict
from yarl import URL

from ._config import Settings
from ._request import Request
from ._response import Answer, Broken, Kind, Reply, answer
from ._retry import Happened
from ._secrets import Secret
from ._unpack import ACCEPTED
from ._version import __version__
from .errors import ConfigurationError

CLOSING = 2.0
"""Seconds that connections have to say goodbye."""
MOST_STALE = 10
"""Kept-alive connections that one request may find stale before that counts as a failed attempt."""
LARGE = 2**20
"""Bytes above which a body is written in pieces, so that the loop is not held up."""
LONGEST_ERROR = 2**20
"""Bytes of an error's body that are read: beyond, the error has its status and no body."""
KEEP_ALIVE = 2.0
"""Seconds. Short: a reply that a server pushes on an idle connection would answer the next request."""

_NEVER_WRITTEN = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_TROUBLE = (aiohttp.ClientError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError)


class _StaleConnection(aiohttp.ClientConnectionError):
    """The kept-alive connection is closed, or holds bytes nobody asked for: they would answer our request."""


class _Failed(Exception):
    """Carries an aiohttp error past aiohttp's own re-send of GET and DELETE, which knows only its own kind."""


class _Request(aiohttp.ClientRequest):
    """A request that knows whether its first byte was handed to a connection."""

    written = False

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        if conn.protocol is None or conn.protocol.should_close or _has_news(conn):
            if conn.protocol is not None and conn.protocol not in _used:
                raise aiohttp.ServerDisconnectedError  # a new one, closed before our first byte
            raise _StaleConnection("the kept-alive connection is not clean")
        _used.add(conn.protocol)
        self.written = True
        return await super().send(conn)


_used: WeakSet[Any] = WeakSet()
"""The protocols of connections that have carried a request."""


def _has_news(conn: Any) -> bool:
    """Whether something arrived on a connection before we said anything: a stray reply, or its end.

    Asked of the kernel, since the loop may not have read it yet. A new TLS connection is not asked: the
    server's session tickets are no news.
    """
    transport = conn.transport
    if transport is None:
        return True
    if transport.get_extra_info("ssl_object") is not None and conn.protocol not in _used:
        return False
    return _is_readable(transport.get_extra_info("socket").fileno())


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class _Watch:
    """A client middleware for one request: remembers it, and makes every failure final for aiohttp.

    A session with middlewares of its own may send several times inside of one of ours: then nothing is
    known to be unsent.
    """

    __slots__ = ("can_tell", "is_borrowed", "request")

    def __init__(self, *, can_tell: bool, is_borrowed: bool) -> None:
        self.can_tell = can_tell
        self.is_borrowed = is_borrowed
        self.request: aiohttp.ClientRequest | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self.request = request
        try:
            for _ in range(MOST_STALE):
                with contextlib.suppress(
                    _StaleConnection
                ):  # closed by now, and nothing was sent: take another
                    return await handler(request)
            return await handler(request)
        except (aiohttp.ClientError, OSError) as error:
            raise _Failed from error

    def was_unsent(self, error: BaseException) -> bool:
        """Whether a failed request certainly sent nothing."""
        if self.request is None:
            return True
        if not self.can_tell:
            return False
        return isinstance(error, _NEVER_WRITTEN) or getattr(self.request, "written", None) is False


@attrs.define
class Pool:
    """The session of one loop, the slots before it, and the generator that closes it with its loop."""

    session: aiohttp.ClientSession
    slots: asyncio.Semaphore
    keeper: AsyncGenerator[None, None] | None = None


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
        self._closed = False
        self._users = 0
        self._headers, self._json_headers = _headers(settings)
        self._options = _options(settings, session)
        _live.add(self)

    async def acquire(self, ends: float = math.inf) -> Pool | None:
        """A slot of the running loop's pool, to be released; None if there is none before `ends`.

        Waiting here and not in aiohttp keeps the wait out of what the server is given. Raises
        `ConfigurationError` if the client is closed.
        """
        pool = await self._pool()
        if ends == math.inf:
            await pool.slots.acquire()
            return pool
        try:
            async with asyncio.timeout(ends - time.monotonic()):
                await pool.slots.acquire()
        except TimeoutError:
            return None
        return pool

    async def exchange(self, pool: Pool, request: Request[Any], seconds: float) -> Answer | Broken:
        """What became of one request within `seconds`; the caller holds a slot of the pool."""
        own = getattr(pool.session, "_middlewares", ())  # a list given here replaces the session's own
        watch = _Watch(can_tell=not own, is_borrowed=self._borrowed is not None)
        task = asyncio.current_task()
        reply: Reply | None = None
        try:
            async with asyncio.timeout(seconds):
                response = await pool.session.request(
                    request.method,
                    URL(self.url(request), encoded=True),
                    data=_data(request.body),
                    headers=self._headers if request.body is None else self._json_headers,
                    middlewares=(watch, *own),
                    **self._options,
                )
                reply = Reply(status=response.status, headers=response.headers, body=None)
                most = request.max_reply if 200 <= response.status < 300 else LONGEST_ERROR
                body = await _read(response, most)
            # No exception is kept in a local beyond its handler: it would hold itself through this frame.
        except _Failed as failed:
            return _ended(watch, reply, failed.__cause__ or failed, seconds)
        except _TROUBLE as error:
            return _ended(watch, reply, error, seconds)
        except asyncio.CancelledError as error:
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this task: aiohttp cancels look-ups that are under way when a session is closed.
            return _ended(watch, reply, error, seconds)
        return answer(reply, body, most)

    def enter(self) -> None:
        """Count one more `with` block, and allow requests again after a close."""
        self._users += 1
        self._closed = False

    async def leave(self) -> None:
        """Close, unless another `with` block (of another thread, say) is still using this client."""
        self._users -= 1
        if self._users <= 0:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the session of the running loop, and ask every other loop to close its own."""
        self._closed = True
        self._users = 0
        here = asyncio.get_running_loop()
        pools, self._pools = self._pools, {}
        for loop, pool in pools.items():
            if pool.keeper is None:
                continue
            if loop is here:
                await pool.keeper.aclose()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_start_closing, loop, pool.keeper)

    def url(self, request: Request[Any]) -> str:
        """The URL that a request goes to."""
        return self._settings.base_url + request.path

    async def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is not None and not pool.session.closed:
            return pool
        if self._closed:
            raise ConfigurationError("this client is closed; make another, or enter it again with `with`")
        slots = asyncio.Semaphore(self._settings.max_connections)
        if self._borrowed is not None:
            if self._borrowed.closed:
                raise ConfigurationError("the session that was lent to this client is closed")
            pool = Pool(self._borrowed, slots)
        else:
            session = _session(self._settings)
            keeper = _keep(session)
            await anext(keeper)  # does not suspend: no second pool can be made meanwhile
            pool = Pool(session, slots, keeper)
        for ended in [other for other in list(self._pools) if other.is_closed()]:
            self._pools.pop(ended, None)  # its session was closed with it
        self._pools[loop] = pool
        return pool


def _start_closing(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None, None]) -> None:
    loop.create_task(keeper.aclose())


async def _keep(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with contextlib.suppress(TimeoutError):  # a peer that stopped reading would hold it up for ever
            async with asyncio.timeout(CLOSING):
                await session.close()


def _session(settings: Settings) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=settings.max_connections,
            keepalive_timeout=KEEP_ALIVE,
            ssl=True if settings.ssl_context is None else settings.ssl_context,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        request_class=_Request,
    )


def _headers(settings: Settings) -> tuple[CIMultiDict[str], CIMultiDict[str]]:
    """The headers of every request without and with a JSON body. The token is in these two only."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    headers = CIMultiDict(
        {
            "Accept": "application/json",
            "Accept-Encoding": ACCEPTED,
            "User-Agent": f"lisn-python/{__version__} ({python}; aiohttp {aiohttp.__version__})",
        }
    )
    headers.update(settings.headers)
    headers["Authorization"] = Secret(f"Bearer {settings.token}")
    if settings.proxy is not None and settings.proxy.authorization and settings.base_url.startswith("http:"):
        headers["Proxy-Authorization"] = settings.proxy.authorization  # there is no CONNECT to carry it
    with_json = headers.copy()
    with_json["Content-Type"] = "application/json"
    return headers, with_json


def _options(settings: Settings, session: aiohttp.ClientSession | None) -> Mapping[str, Any]:
    """What is the same for every request of a transport."""
    options: dict[str, Any] = {
        "allow_redirects": False,
        "raise_for_status": False,
        "auto_decompress": False,
        # Else aiohttp calls an empty POST (duplicate) an octet stream.
        "skip_auto_headers": ("Content-Type",),
    }
    if settings.proxy is not None:
        options["proxy"] = settings.proxy.url
        if settings.proxy.authorization is not None:
            options["proxy_headers"] = {"Proxy-Authorization": settings.proxy.authorization}
    if session is not None and settings.ssl_context is not None:
        options["ssl"] = settings.ssl_context
    return options


def _data(body: bytes | None) -> bytes | io.BytesIO | None:
    """The body as aiohttp wants it: a large one as a file, which it sends in pieces, else it warns."""
    return io.BytesIO(body) if body is not None and len(body) > LARGE else body


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | bytearray | None:
    """The body as it travelled: None, and the connection closed, if it exceeds `most` bytes."""
    body: bytes | bytearray
    try:
        body = await response.content.readany()
        while len(body) <= most and (piece := await response.content.readany()):
            if type(body) is bytes:
                body = bytearray(body)  # grows in place: joining pieces would hold everything twice
            body += piece
    except BaseException:
        response.close()
        raise
    if len(body) > most:
        response.close()
        return None
    response.release()
    return body


# --- what an exception of aiohttp means ---------------------------------------------------------------


def _ended(watch: _Watch, reply: Reply | None, error: BaseException, seconds: float) -> Answer | Broken:
    if reply is not None:
        return Answer(reply=reply, broken=_cut(error))
    return _broken(watch, error, seconds)


def _broken(watch: _Watch, error: BaseException, seconds: float) -> Broken:
    unsent = watch.was_unsent(error)
    happened = Happened.UNSENT if unsent else Happened.LOST
    kind: Kind = "connection"
    why = f"the connection broke before a reply came ({_name(error)})"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        happened, why = Happened.BARRED, "the server's certificate was refused"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        happened = Happened.BARRED if error.status == 407 else Happened.UNSENT
        why = f"the proxy answered {error.status}"
    elif isinstance(error, TimeoutError):
        kind, why = "timeout", f"no {'connection' if unsent else 'reply'} within {seconds:g} s"
    elif unsent and watch.is_borrowed and not isinstance(error, aiohttp.ClientError | OSError):
        happened = Happened.BARRED
        why = f"the borrowed session cannot be used for it, or not in this loop ({_name(error)}: {error})"
    elif unsent:
        why = f"could not connect ({_name(error)})"
    elif isinstance(error, aiohttp.ClientResponseError):
        kind, why = "response", "what came back is not HTTP"
    return Broken(happened=happened, kind=kind, why=why, cause=_cause(error))


def _cut(error: BaseException) -> Broken:
    kind: Kind = "timeout" if isinstance(error, TimeoutError) else "connection"
    why = f"the reply broke off before its end ({_name(error)})"
    return Broken(happened=Happened.REPLIED, kind=kind, why=why, cause=_cause(error))


def _cause(error: BaseException) -> BaseException | None:
    """What our error is chained to, without its traceback.

    aiohttp's frames hold the request's body and, in a cycle, the error itself. A parser's error is no
    cause at all: it quotes the reply, which may echo a secret.
    """
    if not isinstance(error, OSError):
        return None
    links: list[BaseException] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        seen.add(id(link))
        link.__traceback__ = None
        links += [one for one in (link.__cause__, link.__context__) if one and id(one) not in seen]
    return error


def _name(error: BaseException) -> str:
    """The operating system's word for it where there is one, else the kind: never free text."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "the TLS handshake failed"  # its errno is OpenSSL's, and means something else
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name is not known"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return type(error).__name__.lstrip("_")


# --- fork -----------------------------------------------------------------------------------------------

_live: WeakSet[Transport] = WeakSet()


def _park_after_fork(parked: list[object]) -> None:
    """In the child: give every transport a fresh start and keep what it had, untouched, for ever."""
    for transport in list(_live):
        parked.append(transport._pools)
        transport._pools = {}


if hasattr(os, "register_at_fork"):
    # The list lives in the hook's own arguments: module globals are cleared at exit, and that would free it.
    os.register_at_fork(after_in_child=lambda parked=[]: _park_after_fork(parked))
