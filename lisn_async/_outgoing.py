"""One request on its way out: its bytes, when they leave, and whether the first of them did.

aiohttp is told through its public `request_class` and `response_class`. Its own request builds every head anew,
header by header; ours differ in three places, so they come from a template, and leave with the body at once.
"""

from __future__ import annotations

import asyncio
import io
import select
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import TimerNoop
from multidict import CIMultiDict
from yarl import URL

from ._headers import Lines, as_lines
from ._limits import Limits
from ._secrets import Payload

AT_ONCE = 2**16
"""Bytes of a body up to which it is written together with the head."""
JSON = "application/json"
IN_PIECES = 2**20
"""Bytes above which a body is written in pieces, so that the loop is not held up."""


class Failed(Exception):
    """Carries an aiohttp error past aiohttp's own re-send of GET and DELETE, which knows only its own kind."""


class Outgoing(Payload):
    """The body of one attempt, empty for none, its own headers, and how far the attempt came.

    `written`: its first byte may have left. `is_first`: no request went over its connection before.
    """

    lines: Lines
    written = False
    is_first = True

    @property
    def found_stale(self) -> bool:
        """Whether the kept-alive connection was no good, which was seen in time: another may be."""
        return not self.written and not self.is_first

    def was_unsent(self, error: BaseException) -> bool:
        """Whether a request that failed certainly sent nothing."""
        return not self.written


class Head:
    """What all requests with a body, or all without, begin with: their headers, also as bytes."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self.headers = CIMultiDict({"Host": URL(base_url).host_port_subcomponent or "", **headers})
        self._lines = as_lines(self.headers)

    def has_any(self, lines: Lines) -> bool:
        """Whether a header is among these already, under whatever case."""
        return any(name in self.headers for name in lines.headers)

    def with_body(self, method: str, path: str, body: Outgoing) -> Payload:
        """The whole request as it travels."""
        line = f"{method} {path} HTTP/1.1\r\n".encode()
        length = b"Content-Length: %d\r\n\r\n" % len(body) if body or method != "GET" else b"\r\n"
        return Payload(
            b"".join((line, self._lines, body.lines.raw, length, body))
        )  # it is a local of asyncio's frames


class Outbox:
    """Requests that are complete, kept until the loop's turn ends: then all are written, one after the other.

    Every write wakes the peer. One that is asleep again before the next comes has to be woken again, and on one
    machine that costs as much as it took to make the request. (uvloop gains even more by it.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._waiting: list[tuple[_TemplateRequest, Any]] = []

    def put(self, request: _TemplateRequest, protocol: Any) -> None:
        """Have a request written, soon; at once if there is no other that it could wait for."""
        if len(self._limits) == 1:
            request.write(protocol)
            return
        if protocol.should_close:  # a stray reply was read: it would answer before the request is written
            note_connection(protocol, request.outgoing)  # raises
        if not self._waiting:
            self._loop.call_soon(self._write_all)
        self._waiting.append((request, protocol))

    def _write_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for request, protocol in waiting:
            try:
                request.write(protocol)
            except Exception as error:  # noqa: BLE001 - it belongs to this request, the others have to go out
                protocol.set_exception(error)


def request_class(bare: Head, with_body: Head, outbox: Outbox) -> type[aiohttp.ClientRequest]:
    """The `request_class` of a session whose requests have these heads, and an `Outgoing` as their data.

    aiohttp makes the first request of each kind from its arguments, which are always the same but for URL and
    data; the others are copies of it. A tool that traces the session, or adds to what we ask for, gets aiohttp's
    own way: else what it added would be in no copy, or, from the first, in all.
    """
    first: dict[tuple[str, bool], _TemplateRequest] = {}
    usual = bare.headers.copy()
    del usual["Host"]

    # Named one by one: as `**given` they would take most of the time that is spent here.
    def request(
        method: str, url: URL, *, data: Outgoing, headers: CIMultiDict[str], params: Any, cookies: Any, auth: Any,
        skip_auto_headers: Any, version: Any, compress: Any, chunked: Any, expect100: Any, loop: Any,
        response_class: Any, proxy: Any, proxy_auth: Any, proxy_headers: Any, timer: Any, session: Any, ssl: Any,
        server_hostname: Any, traces: Any, trust_env: Any, **more: Any,
    ) -> _Request:  # fmt: skip
        lines = data.lines
        if (
            (headers != usual or (lines.may_replace and bare.has_any(lines)) or len(data) > AT_ONCE)
            or (proxy is not None or traces or params or cookies or auth or compress or chunked or expect100)
            or (ssl is not True or server_hostname or type(timer) is not TimerNoop or more)
        ):  # fmt: skip
            if data:
                headers["Content-Type"] = JSON
            for name, value in lines.headers.items():
                # A tool that writes a header of a middleware's knows it: the context of its own span, say.
                if name == "Authorization" or headers.get(name) == usual.get(name):
                    headers[name] = value
            return _Request(
                method, url, data=data, headers=headers, params=params, cookies=cookies, auth=auth,
                skip_auto_headers=skip_auto_headers, version=version, compress=compress, chunked=chunked,
                expect100=expect100, loop=loop, response_class=response_class, proxy=proxy, proxy_auth=proxy_auth,
                proxy_headers=proxy_headers, timer=timer, session=session, ssl=ssl, server_hostname=server_hostname,
                traces=traces, trust_env=trust_env, **more,
            )  # fmt: skip
        kind = (method, bool(data))
        if kind not in first:
            head = with_body if data else bare
            first[kind] = _TemplateRequest(
                method, url, data=data, loop=loop, response_class=response_class, session=session, timer=timer,
                traces=traces, head=head, outbox=outbox,
            )  # fmt: skip
        return first[kind].copy(url, data)

    return cast("type[aiohttp.ClientRequest]", request)


async def make_final(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A client middleware that makes every failure final for aiohttp, also that of a proxy's tunnel."""
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise Failed from error


class Response(aiohttp.ClientResponse):
    """A response whose failures are final for aiohttp, at less cost than with a middleware."""

    outgoing: Outgoing | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        try:
            await super().start(connection)
            if self.outgoing is not None and not self.outgoing.written:
                raise aiohttp.ServerDisconnectedError  # a stray reply came while the request was waiting
            return self
        except (aiohttp.ClientError, OSError) as error:
            raise Failed from error


class _Request(aiohttp.ClientRequest):
    """A request that goes out only on a clean connection, and notes when it does."""

    def __init__(self, method: str, url: URL, *, data: Outgoing, **given: Any) -> None:
        self.outgoing = data
        super().__init__(method, url, data=as_aiohttp_takes(data), **given)

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        try:
            note_connection(conn.protocol, self.outgoing)
            self.outgoing.written = True
            return await super().send(conn)
        except (aiohttp.ClientError, OSError) as error:
            raise Failed from error


class _TemplateRequest(_Request):
    """A request to the host itself that is small enough to be written at once."""

    def __init__(self, method: str, url: URL, *, head: Head, outbox: Outbox, **given: Any) -> None:
        self._head = head
        self._outbox = outbox
        super().__init__(method, url, **given)
        self._info = self.request_info

    def copy(self, url: URL, outgoing: Outgoing) -> _TemplateRequest:
        """The same request for another URL and with another body."""
        copy = object.__new__(_TemplateRequest)
        copy.__dict__ = self.__dict__.copy()
        copy.url = copy.original_url = url
        copy.outgoing = outgoing
        return copy

    def write(self, protocol: Any) -> None:
        """Write all of it. Raises what says that the connection is no good."""
        note_connection(protocol, self.outgoing)
        self.outgoing.written = True
        try:
            protocol.transport.write(self._head.with_body(self.method, self.url.raw_path_qs, self.outgoing))
        except OSError:
            raise
        except Exception as error:
            raise aiohttp.ClientConnectionError from error  # as aiohttp does: it may have left

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        try:
            self._outbox.put(self, conn.protocol)
        except (aiohttp.ClientError, OSError) as error:
            raise Failed from error
        response = self.response_class(
            self.method,
            self.url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self._info,  # of the first of its kind: it shows in aiohttp's own errors alone
            traces=self._traces,
            loop=self.loop,
            session=self._session,
            stream_writer=_WRITTEN,
        )
        response.outgoing = self.outgoing  # type: ignore[attr-defined]
        return response

    # What the template has done already.

    def update_headers(self, headers: Any) -> None:
        self.headers = self._head.headers

    def update_auto_headers(self, skip_auto_headers: Any) -> None: ...
    def update_cookies(self, cookies: Any) -> None: ...
    def update_content_encoding(self, data: Any) -> None: ...
    def update_auth(self, auth: Any, trust_env: bool = False) -> None: ...
    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None: ...
    def update_transfer_encoding(self) -> None: ...
    def update_expect_continue(self, expect: bool = False) -> None: ...


class _Written(AbstractStreamWriter):
    """The writer of a request that is written as a whole."""

    async def write(self, chunk: Any) -> None: ...
    async def write_eof(self, chunk: bytes = b"") -> None: ...
    async def drain(self) -> None: ...
    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None: ...
    def enable_chunking(self) -> None: ...
    async def write_headers(self, status_line: str, headers: Any) -> None: ...


_WRITTEN = _Written()


def as_aiohttp_takes(body: bytes) -> bytes | io.BytesIO | None:
    """A body as aiohttp's own requests want it: a large one as a file, which is sent in pieces, else it warns."""
    return io.BytesIO(body) if len(body) > IN_PIECES else body or None


# --- is the connection clean? ---------------------------------------------------------------------------

_news: WeakKeyDictionary[Any, Callable[[], object]] = WeakKeyDictionary()
"""How the kernel is asked for what waits on a connection; by the protocols of those that have carried a request."""


def note_connection(protocol: Any, outgoing: Outgoing) -> None:
    """Take a connection for a request. Raises `ServerDisconnectedError` if something arrived on it before we
    said anything: a stray reply, which would answer our request, or its end.

    The kernel is asked, since the loop may not have read it yet. A new TLS connection is not asked: the
    server's session tickets are no news.
    """
    has_news = _news.get(protocol)
    outgoing.is_first = has_news is None
    transport = protocol.transport
    if transport is None or transport.is_closing() or protocol.should_close:
        raise aiohttp.ServerDisconnectedError
    if has_news is None:
        has_news = _news[protocol] = _asking(transport.get_extra_info("socket").fileno())
        if transport.get_extra_info("ssl_object"):
            return
    if has_news():
        raise aiohttp.ServerDisconnectedError


def _asking(descriptor: int) -> Callable[[], object]:
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([descriptor], [], [], 0)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return partial(poll.poll, 0)
