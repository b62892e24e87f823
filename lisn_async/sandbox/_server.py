"""A listening socket and its connections; what happens to a request is told in `_exchange.py`."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from lisn_async.sandbox import _sockets
from lisn_async.sandbox._exchange import to_response
from lisn_async.sandbox._messages import error

# For defects of the sandbox itself. aiohttp would also log each garbage head as an error with a traceback
# (`handle_error` below does not): here garbage is what people come for.
_logger = logging.getLogger("lisn.sandbox")

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server:
    """A server that stops in the time it takes to close its sockets."""

    def __init__(self, handle: Handle) -> None:
        # The low-level server: the routing is ours (`_routes.py`), and web.Application's machinery is not needed.
        self._web = web.Server(_noting_what_is_under_way(handle), handler_cancellation=True)
        self._listener: asyncio.Server | None = None
        self._listening: socket.socket | None = None
        self._address: _sockets.Address | None = None
        self._reserved: socket.socket | None = None  # the port's, while nobody listens
        self._outage: asyncio.Task[None] | None = None
        self._outage_ends = 0.0
        self._is_stopping = False

    async def start(self, sock: socket.socket) -> None:
        """Accept connections on `sock`, which is bound already."""
        self._address = _sockets.Address.of(sock)
        await self._listen(sock)

    async def _listen(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # In two steps, so that there is no moment in which a cancellation could lose a listener that listens.
        self._listener = await loop.create_server(
            self._connection, sock=sock, backlog=_sockets.BACKLOG, start_serving=False
        )
        self._listening = sock
        await self._listener.start_serving()

    def _stop_listening(self) -> None:
        """Take no more connections. One that is half accepted still becomes a whole one, and is ended as those are.

        asyncio leaves such a one open and complains of it, where `Server.close` comes between its two halves.
        """
        sock, self._listening = self._listening, None
        if self._listener is None or sock is None:
            return
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            loop.remove_reader(sock)
            sock.close()
        else:
            self._listener.close()

    def refuse(self, seconds: float) -> None:
        """Refuse every connection for so long, and end the idle ones; those with a request under way go on."""
        if self._listener is None or self._address is None or self._is_stopping:
            return
        loop = asyncio.get_running_loop()
        self._outage_ends = max(self._outage_ends, loop.time() + seconds)
        if self._reserved is None:
            self._stop_listening()
            # Bound and not listening: that is what refuses, and keeps the port from being given to somebody else.
            self._reserved = self._address.bind()
            self._outage = loop.create_task(self._end_outage(self._reserved))
        for connection in self._web.connections:
            if isinstance(connection, _Connection):
                connection.end_if_idle()

    async def _end_outage(self, reserved: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while (left := self._outage_ends - loop.time()) > 0:
            await asyncio.sleep(left)
        self._reserved = None
        await self._listen(reserved)

    async def stop(self) -> None:
        """Stop at once, whatever hangs, and leave nothing open.

        aiohttp's own shutdown waits for handlers first, and takes a limit of 0 s for no limit. Here every
        connection is broken off, which cancels its handler.
        """
        self._is_stopping = True
        if self._outage is not None:
            self._outage.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._outage
        if self._reserved is not None:
            self._reserved.close()
        self._stop_listening()
        for _ in range(3):  # a connection accepted in this very moment comes to light
            await asyncio.sleep(0)
        connections = [one for one in self._web.connections if isinstance(one, _Connection)]
        for connection in connections:
            connection.break_off()
        for connection in connections:
            await connection.gone()
        for _ in range(5):  # the steps a cancelled handler needs to its end
            await asyncio.sleep(0)

    def _connection(self) -> "_Connection":
        return _Connection(
            self._web,
            is_wanted=lambda: self._listening is not None,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,  # a compressed body is refused, never unpacked
            logger=_logger,
        )


class _Connection(web.RequestHandler):
    """A connection that can be ended from this side, and that refuses garbage in our own words."""

    __slots__ = ("_gone", "_is_wanted", "_wire", "is_under_way")

    def __init__(self, *args: Any, is_wanted: Callable[[], bool], **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_wanted = is_wanted
        self._gone: asyncio.Future[None] = options["loop"].create_future()
        self._wire: asyncio.Transport | None = None
        self.is_under_way = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        super().connection_made(transport)
        if not self._is_wanted():
            self.end_if_idle()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._wire = None
        if not self._gone.done():
            self._gone.set_result(None)

    def break_off(self) -> None:
        """End the connection, whoever still waits for something on it."""
        if self._wire is not None:
            self._wire.abort()

    async def gone(self) -> None:
        """Nothing, once the connection has ended."""
        if self._wire is not None:
            await self._gone

    def end_if_idle(self) -> None:
        """End the connection as a server does that goes away, unless it works on a request."""
        if self._wire is not None and not self.is_under_way:
            self._wire.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp calls this for a head it cannot read (400), and for a defect of the sandbox (500)."""
        if request.writer.output_size > 0:
            raise ConnectionError("Half of a reply is out already; there is no room for another.")
        if status == HTTPStatus.BAD_REQUEST:
            reply = error(400, "bad_request", "The request cannot be read as HTTP.")
        else:
            _logger.error("The sandbox failed on %s %s", request.method, request.path, exc_info=exc)
            reply = error(500, "internal", f"The sandbox failed: {type(exc).__name__}. Please report this.")
        response = to_response(reply)
        response.force_close()
        return response


def _noting_what_is_under_way(handle: Handle) -> Handle:
    async def handle_and_note(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, _Connection):
            return await handle(request)
        connection.is_under_way = True
        try:
            return await handle(request)
        finally:
            connection.is_under_way = False

    return handle_and_note
