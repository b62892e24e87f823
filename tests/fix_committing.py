"""A server that commits, and then fails in every way we know; what counts is its own book of commits.

Raw sockets, so that it decides what is read and what is not. It stands where the API would be. A `Front` may
stand before it: what ends TLS, or a CONNECT proxy. A client of it meets a failure, then perhaps a good day:

    options = scene.set_up(failure)             # with which a client gets there
    await scene.fail(failure, fails=1)

Time passes when the server says so: the loop's clock jumps once nobody has anything left to do but to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import select
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import attrs
import pytest
import trustme

Down: TypeAlias = Literal["no name", "refused", "full", "closes at once", "resets at once"]
Place: TypeAlias = Literal["api", "down", "idle", "idle, unseen", "tls", "certificate", "proxy"]

HOST = "127.0.0.1"
NAME = "api.lisn.test"
TIMEOUT = 5.0
"""Seconds of the client, of which none is spent."""


@attrs.define(eq=False)
class Line:
    """One connection, from the side that accepted it."""

    server: Listener
    sock: socket.socket
    buffer: bytes = b""
    is_open: bool = True
    operation: str = ""
    target: str = ""

    async def arrival(self) -> bool:
        """Wait until something can be read, and leave it unread; False at the end of the connection."""
        if self.buffer:
            return True
        loop, descriptor = asyncio.get_running_loop(), self.sock.fileno()
        readable = asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(descriptor)
        return bool(self.sock.recv(1, socket.MSG_PEEK))

    async def head(self) -> bytes:
        """Read a head, as little beyond it as a body that came in the same piece."""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += await self._some()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        method, path = head.split(b" ", 2)[:2]
        self._note(method.decode(), path.decode())
        return head

    async def body(self, head: bytes, share: float = 1.0) -> None:
        """Read the body, or only a share of it."""
        fields = head.lower().split(b"\r\n")
        length = sum(int(field.split(b":")[1]) for field in fields if field.startswith(b"content-length:"))
        length = int(length * share)
        while len(self.buffer) < length:
            self.buffer += await self._some(length - len(self.buffer))
        self.buffer = self.buffer[length:]

    async def whole(self) -> None:
        """Read the whole request."""
        await self.body(await self.head())

    async def gone(self) -> None:
        """Wait until the client has hung up."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(self.sock, 65536):
                pass
        self.is_open = False

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def close(self) -> None:
        """FIN, whatever is still unread; gone for good when the client has seen it."""
        self.sock.shutdown(socket.SHUT_WR)
        await self.gone()

    def reset(self) -> None:
        """RST."""
        linger(self)
        self.sock.close()
        self.is_open = False

    def time_passes(self) -> None:
        self.server.time_passes()

    async def _some(self, most: int = 65536) -> bytes:
        data = await asyncio.get_running_loop().sock_recv(self.sock, most)
        if not data:
            raise ConnectionResetError("the client hung up in the middle of its request")
        return data

    def _note(self, method: str, path: str) -> None:
        _, _, self.target = path.removeprefix("/v1").strip("/").partition("/")
        if method == "POST":
            self.operation = "duplicate" if self.target.endswith("/duplicate") else "create"
        else:
            self.operation = {"PATCH": "update", "DELETE": "delete"}.get(
                method, "get" if self.target else "list"
            )


Behaviour: TypeAlias = Callable[[Line], Awaitable[None]]


class Listener:
    """Accepts connections of a port of its own; `script` says what becomes of each request, in order."""

    def __init__(self, time_passes: Callable[[], None]) -> None:
        self.time_passes = time_passes
        self.script: Iterator[Behaviour] = iter(())
        self.arrived = 0
        self.connections = 0
        self.down: Down | None = None
        self.dropped: dict[int, asyncio.Event] = {}
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._fillers: list[socket.socket] = []
        self._socket = self._bound(0)
        self.port: int = self._socket.getsockname()[1]

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def up(self) -> None:
        """Accept connections from now on."""
        self.down = None
        self._socket.listen(100)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def go_down(self, how: Down) -> None:
        self.down = how
        if how in ("refused", "full"):
            await self._stop_accepting()
            self._socket.close()
            self._socket = self._bound(self.port)
        if how == "full":
            self._socket.listen(0)
            self._fill()

    async def come_back(self) -> None:
        if self.down in ("refused", "full"):
            self.up()
            for filler in self._fillers:
                filler.close()
        self.down = None

    def hang_up(self, last_words: Callable[[Line], None] | None = None) -> None:
        """End every idle connection, as a server does that keeps none for long.

        At once: the client's kernel knows it before the client's loop has had a chance to notice.
        """
        for line, task in self._lines.items():
            if last_words is not None:
                last_words(line)
            asyncio.get_running_loop().remove_reader(line.sock)
            line.sock.close()
            task.cancel()

    async def settled(self) -> None:
        """Wait until every connection has been dealt with to its end."""
        while self._tasks:
            ends = await asyncio.gather(*self._tasks, return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception):
                    raise end
            await asyncio.sleep(0)  # from 3.12 on, waiting for what has ended gives its callbacks no turn

    async def aclose(self) -> None:
        await self._stop_accepting()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in (self._socket, *self._fillers):
            sock.close()

    async def converse(self, line: Line) -> None:
        """Answer the requests of one connection."""
        while line.is_open and await line.arrival():
            self.arrived += 1
            await next(self.script, self.good)(line)

    async def good(self, line: Line) -> None:
        raise NotImplementedError

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._socket)
            line = Line(self, sock)
            task = loop.create_task(self._serve(line))
            self._lines[line] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, line: Line) -> None:
        self.connections += 1
        try:
            if self.down is not None:
                self._drop(line)
            else:
                await self.converse(line)
        except ConnectionError:
            pass
        finally:
            del self._lines[line]
            line.sock.close()

    def _drop(self, line: Line) -> None:
        port = line.sock.getpeername()[1]
        if self.down == "resets at once":
            line.reset()
        else:
            line.sock.close()
        self.dropped.setdefault(port, asyncio.Event()).set()

    async def _stop_accepting(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)

    def _fill(self) -> None:
        """Connections that nobody accepts, until the kernel takes no more: the next one hangs."""
        while True:
            filler = socket.socket()
            filler.setblocking(False)
            self._fillers.append(filler)
            filler.connect_ex((HOST, self.port))
            if not select.select([], [filler], [], 0)[1]:
                return

    @staticmethod
    def _bound(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        return sock


class Committing(Listener):
    """The API: an operation is done when it is in `commits`, whatever the client is told."""

    def __init__(self, time_passes: Callable[[], None]) -> None:
        super().__init__(time_passes)
        self.commits: list[str] = []
        self.elsewhere = ""
        self._is_deleted = False
        self._numbers = itertools.count(1)

    def commit(self, line: Line) -> None:
        """Do what was asked. A deletion of what is not there does nothing."""
        if line.operation == "delete" and self._is_deleted:
            return
        self._is_deleted = self._is_deleted or line.operation == "delete"
        if line.operation not in ("get", "list"):
            self.commits.append(line.operation)

    async def good(self, line: Line) -> None:
        await line.whole()
        was_deleted = self._is_deleted
        self.commit(line)
        if line.operation == "delete" and was_deleted:
            await line.send(answer(b"", "404 Not Found"))
        else:
            await line.send(answer(self.result_of(line)))

    def result_of(self, line: Line) -> bytes:
        """The body of a good reply."""
        if line.operation == "list":
            return b"[]"
        made = line.operation in ("create", "duplicate")
        identity = f"ast_new_{next(self._numbers)}" if made else line.target
        return json.dumps({"id": identity, "name": "n"}).encode()


class Front(Listener):
    """Stands before the API and passes bytes on: it ends TLS, or tunnels for a CONNECT proxy."""

    def __init__(
        self, time_passes: Callable[[], None], upstream: int, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(time_passes)
        self.upstream = upstream
        self.context = context

    async def good(self, line: Line) -> None:
        if self.context is None:
            await line.head()
            await line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        line.is_open = False
        sock = socket.socket(fileno=line.sock.detach())  # the transport's from now on
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=self.context)
        except (OSError, ssl.SSLError):  # the client does not like our certificate
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        theirs, ours = await asyncio.open_connection(HOST, self.upstream)
        await asyncio.gather(_pump(reader, ours), _pump(theirs, writer))
        for one in (writer, ours):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await one.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
    finally:
        writer.close()


def answer(body: bytes = b"", status: str = "200 OK", *fields: str, length: int | None = None) -> bytes:
    """A whole HTTP reply; `length` lies about the body's."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# --- what the server does with a request -------------------------------------------------------------


def after_commit(then: Behaviour) -> Behaviour:
    """Read the whole request, do it, and then fail."""

    async def serve(line: Line) -> None:
        await line.whole()
        _api(line).commit(line)
        await then(line)

    return serve


def before_commit(then: Behaviour) -> Behaviour:
    """Read the whole request, do nothing, and fail."""

    async def serve(line: Line) -> None:
        await line.whole()
        await then(line)

    return serve


async def late_commit(line: Line) -> None:
    """Do it when the client has given up."""
    await line.whole()
    line.time_passes()
    await line.gone()
    _api(line).commit(line)


def half_the_body(then: Behaviour) -> Behaviour:
    async def serve(line: Line) -> None:
        await line.body(await line.head(), share=0.5)
        await then(line)

    return serve


async def reset(line: Line) -> None:
    line.reset()


async def close(line: Line) -> None:
    await line.close()


async def hang(line: Line) -> None:
    line.time_passes()
    await line.gone()


async def read_and_close(line: Line) -> None:
    """Of a handshake or a tunnel: take what was said, say nothing, hang up."""
    await asyncio.get_running_loop().sock_recv(line.sock, 65536)
    await line.close()


def say(data: bytes, then: Behaviour | None = None) -> Behaviour:
    async def serve(line: Line) -> None:
        await line.send(data)
        if then is not None:
            await then(line)

    return serve


def redirect(status: str) -> Behaviour:
    """To another server, which must never hear of it."""

    async def serve(line: Line) -> None:
        await line.whole()
        await line.send(answer(b"", status, f"Location: {_api(line).elsewhere}"))

    return serve


async def cut_body(line: Line) -> None:
    body = _api(line).result_of(line)
    await say(answer(body[:9], length=len(body)), close)(line)


async def dripping_body(line: Line) -> None:
    body = _api(line).result_of(line)
    await say(answer(body[:9], length=len(body)), hang)(line)


async def continue_and_close(line: Line) -> None:
    """An interim reply is not a reply."""
    head = await line.head()
    await line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await line.body(head)
    _api(line).commit(line)
    await line.close()


async def too_large(line: Line) -> None:
    """Refuse after the head, and read on so that the refusal is not lost, as good servers do."""
    await line.head()
    await say(answer(b"", "413 Content Too Large", "Connection: close"), close)(line)


def linger(line: Line) -> None:
    """The end of an idle connection will be a reset."""
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def push_408(line: Line) -> None:
    """Say on an idle connection that it has been idle for too long, as HAProxy does."""
    line.sock.send(answer(b"", "408 Request Timeout", "Connection: close"))


def _api(line: Line) -> Committing:
    assert isinstance(line.server, Committing)
    return line.server


# --- the scene ---------------------------------------------------------------------------------------


@attrs.frozen
class Failure:
    """What goes wrong, and where: at the API itself, on an idle connection, on the way to it."""

    place: Place
    what: Any


class Clock:
    """The loop's clock, which jumps when asked to, as soon as the loop has nothing to do but to wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ahead = 0.0
        self._jump = 0.0
        time, select_ = loop.time, loop._selector.select  # type: ignore[attr-defined]

        def jumping(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            ready: list[tuple[selectors.SelectorKey, int]] = select_(0)
            if ready or timeout == 0:
                return ready
            if self._jump:
                self._ahead += self._jump
                self._jump = 0.0
                return []
            return list(select_(timeout))

        loop.time = lambda: time() + self._ahead  # type: ignore[method-assign]
        loop._selector.select = jumping  # type: ignore[attr-defined]

    def time_passes(self) -> None:
        self._jump = TIMEOUT + 1


@attrs.define
class Scene:
    """The API and what stands before it, for one client."""

    clock: Clock
    api: Committing
    elsewhere: Committing
    entry: Any = attrs.field(init=False)
    waits: list[float] = attrs.field(factory=list)
    is_passing: bool = False
    """Whether what went down comes back while the client waits."""
    _more: list[Front] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.entry = self.api

    def set_up(self, failure: Failure, *, is_tls: bool = False) -> dict[str, Any]:
        """Open what stands before the API; the options with which a client gets there."""
        options: dict[str, Any] = {"base_url": f"http://{self.api.address}", "timeout": TIMEOUT}
        if failure.what == "no name":
            options |= {"base_url": f"http://{NAME}:{self.api.port}", "allow_insecure_http": True}
        if failure.place in ("tls", "certificate", "proxy"):
            options |= self._behind_tls(is_proxied=failure.place == "proxy")
        elif is_tls:
            options |= self._behind_tls(is_proxied=False)
            self.entry = self.api
        return options

    def _behind_tls(self, *, is_proxied: bool) -> dict[str, Any]:
        server, _, client = contexts()
        self.entry = self._open(Front(self.clock.time_passes, self.api.port, server))
        options = {"base_url": f"https://{self.entry.address}", "ssl_context": client}
        if is_proxied:
            self.entry = self._open(Front(self.clock.time_passes, self.entry.port))
            options["proxy"] = f"http://user:pass@{self.entry.address}"
        return options

    def _open(self, front: Front) -> Front:
        front.up()
        self._more.append(front)
        return front

    async def fail(self, failure: Failure, fails: int) -> None:
        """From now on the failure happens, `fails` times, or until the client waits."""
        self.api.arrived = self.api.connections = self.entry.arrived = self.entry.connections = 0
        if failure.place == "down":
            self.is_passing = fails == 1
            await self.api.go_down(failure.what)
        elif failure.place == "idle":
            await self.end_idle_connections(failure.what)
        elif failure.place == "idle, unseen":
            self.api.hang_up(failure.what)
        elif failure.place == "certificate":
            self.entry.context = contexts()[1]
        else:
            self.entry.script = iter([failure.what] * fails)

    async def end_idle_connections(self, last_words: Callable[[Line], None] | None = None) -> None:
        """What the client kept is stale now: it has to make a new connection."""
        self.api.hang_up(last_words)
        await self.settled()

    async def wait(self, seconds: float) -> None:
        """Stands for the client's sleep."""
        self.waits.append(seconds)
        if self.is_passing:
            await self.api.come_back()

    async def settled(self) -> None:
        await self.api.settled()
        for front in self._more:
            await front.settled()

    async def aclose(self) -> None:
        for listener in (*self._more, self.api, self.elsewhere):
            await listener.aclose()


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext]:
    """A server's, another server's, and that of a client that trusts the first."""
    authority, stranger = trustme.CA(), trustme.CA()
    sides = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    for side, issuer in zip(sides, (authority, stranger), strict=True):
        issuer.issue_cert(HOST).configure_cert(side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return (*sides, trusting)


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    loop = asyncio.get_running_loop()
    here = threading.get_ident()
    clock = Clock(loop)
    api, elsewhere = Committing(clock.time_passes), Committing(clock.time_passes)
    scene = Scene(clock, api, elsewhere)
    connect, look_up = loop.sock_connect, socket.getaddrinfo

    async def wait(seconds: float) -> None:
        if threading.get_ident() == here:
            await scene.wait(seconds)
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(scene.wait(seconds), loop))

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        if api.down == "full" and address[1] == api.port:
            clock.time_passes()
        await connect(sock, address)
        if api.down in ("closes at once", "resets at once"):
            await api.dropped.setdefault(sock.getsockname()[1], asyncio.Event()).wait()

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        if host != NAME:
            return look_up(host, *rest, **options)
        if api.down == "no name":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(HOST, *rest, **options)

    # Not asyncio's own: aiohttp gives way by it while it writes a large body.
    monkeypatch.setattr("lisn_async._calls.asyncio", SimpleNamespace(sleep=wait))
    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    api.up()
    elsewhere.up()
    api.elsewhere = f"http://{elsewhere.address}/v1/assistants"
    yield scene
    await scene.aclose()
