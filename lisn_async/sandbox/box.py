"""The sandbox as its users hold it."""

import os
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lisn_async.sandbox._faults import FaultLike, FaultQueue, Operation
from lisn_async.sandbox._seen import SeenLog, SeenRequest

# aiohttp and SQLite are imported by `start`: whoever only imports the package, as pytest does with our plugin,
# pays for neither.
if TYPE_CHECKING:
    from lisn_async.sandbox._exchange import Exchanges
    from lisn_async.sandbox._server import Server
    from lisn_async.sandbox._store import Store


class Sandbox:
    """A Lisn of your own, on this machine, over real HTTP.

    It keeps assistants as the documentation says the service does, records what it was sent, and breaks
    on request. Making one opens nothing; `async with` or `start` does.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        database: str | os.PathLike[str] = ":memory:",
        token: str = "lisn-sandbox-token",
        seed: int = 0,
        max_body: int = 1_048_576,
    ) -> None:
        """Settings only.

        `port=0` takes a free one. `database` may be a file; it survives the sandbox. The same `seed` and the same
        calls give the same ids. A body of more than `max_body` bytes is answered with 413.
        """
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("token must be printable ASCII without spaces: no header carries anything else.")
        self._host = host
        self._port = port
        self._database = database
        self._token = token
        self._seed = seed
        self._max_body = max_body
        self._seen = SeenLog()
        self._faults = FaultQueue(seed)
        self._store: Store | None = None
        self._server: Server | None = None
        self._exchanges: Exchanges | None = None
        self._base_url: str | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; `OSError` if the port is taken or the database cannot be opened."""
        from lisn_async.sandbox._app import App
        from lisn_async.sandbox._control import ControlPlane
        from lisn_async.sandbox._exchange import Exchanges
        from lisn_async.sandbox._server import Server
        from lisn_async.sandbox._store import Store

        if self._server is not None:
            raise RuntimeError("The sandbox is running already.")
        sock = _bound_socket(self._host, self._port)
        try:
            store = Store(self._database, self._seed)
        except BaseException:
            sock.close()
            raise
        base_url = _url(sock)
        exchanges = Exchanges(
            app=App(store),
            control=ControlPlane(base_url=base_url, store=store, seen=self._seen, faults=self._faults),
            token=self._token,
            seen=self._seen,
            faults=self._faults,
            max_body=self._max_body,
        )
        server = Server(exchanges.handle)
        try:
            await server.start(sock)
        except BaseException:
            sock.close()
            store.close()
            raise
        self._store, self._server, self._exchanges, self._base_url = store, server, exchanges, base_url

    async def stop(self) -> None:
        """Close every connection and the database, at once; what was seen stays readable."""
        server, store, exchanges = self._server, self._store, self._exchanges
        if server is None or store is None or exchanges is None:
            return
        self._server = self._store = self._exchanges = None
        exchanges.is_stopping = True
        try:
            await server.stop()
        finally:
            store.close()

    @property
    def base_url(self) -> str:
        """What to give to a client: `<base_url>/v1/assistants` is the collection."""
        if self._base_url is None:
            raise RuntimeError("The sandbox was not started yet: it has no address.")
        return self._base_url

    @property
    def token(self) -> str:
        """The bearer token it accepts."""
        return self._token

    @property
    def seen(self) -> list[SeenRequest]:
        """The requests received so far, oldest first: a snapshot. Its `clear()` makes the sandbox forget them."""
        return self._seen.snapshot()

    @property
    def faults(self) -> FaultQueue:
        """What will go wrong, used up in order; assign or append statuses, names, mappings or `Fault`s."""
        return self._faults

    @faults.setter
    def faults(self, items: Iterable[FaultLike]) -> None:
        self._faults.replace(items)

    def assistants(self) -> list[dict[str, Any]]:
        """Every assistant there is, oldest first, as the API would answer it."""
        return self._running_store().documents()

    def commits(self) -> list[dict[str, Any]]:
        """Every change that was committed, oldest first: number, operation, assistant_id."""
        return self._running_store().commits()

    def clear(self) -> None:
        """Forget assistants, commits, requests seen and faults; ids given out stay used."""
        self._running_store().clear()
        self._seen.clear()
        self._faults.replace([])

    async def received(
        self, count: int, *, operation: Operation | None = None, within: float = 10.0
    ) -> list[SeenRequest]:
        """The requests received, as soon as there are `count`; `TimeoutError` after `within` seconds."""
        return await self._seen.wait(lambda one: _is_of(one, operation), count, within, "arrived")

    async def answered(
        self, count: int, *, operation: Operation | None = None, within: float = 10.0
    ) -> list[SeenRequest]:
        """The requests answered, as soon as there are `count`; `TimeoutError` after `within` seconds."""

        def is_answered(one: SeenRequest) -> bool:
            return one.status is not None and _is_of(one, operation)

        return await self._seen.wait(is_answered, count, within, "were answered")

    async def aborted(
        self, count: int, *, operation: Operation | None = None, within: float = 10.0
    ) -> list[SeenRequest]:
        """The requests whose client went away before the reply, as soon as there are `count`."""

        def is_aborted(one: SeenRequest) -> bool:
            return one.aborted and _is_of(one, operation)

        return await self._seen.wait(is_aborted, count, within, "were aborted")

    def _running_store(self) -> "Store":
        if self._store is None:
            raise RuntimeError("The sandbox is not running.")
        return self._store


def _is_of(request: SeenRequest, operation: Operation | None) -> bool:
    return operation is None or request.operation == operation


def _bound_socket(host: str, port: int) -> socket.socket:
    # Bound here and not by asyncio: `localhost` with port 0 would get two sockets on two different ports.
    if not 0 <= port <= 65535:  # getaddrinfo would take 65536 for 0
        raise OSError(f"Cannot listen on {host}:{port}: a port is a number from 0 to 65535.")
    sock = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere this means "share the port", not "take it again after a restart"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(1024)
    except (OSError, UnicodeError) as error:
        if sock is not None:
            sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        failure = OSError(f"Cannot listen on {host}:{port}: {reason}.")
        failure.errno = getattr(error, "errno", None)
        raise failure from error
    return sock


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
