"""The sandbox as its users hold it."""

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lisn_async.sandbox._fault_queue import FaultQueue
from lisn_async.sandbox._faults import FaultLike, Operation
from lisn_async.sandbox._judge import Verdict, judged
from lisn_async.sandbox._late import LateCommits
from lisn_async.sandbox._seen import SeenLog, SeenRequest

# aiohttp and SQLite are imported by making a sandbox: whoever only imports the package, as pytest does with our
# plugin, pays for neither.
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
        _load()
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
        self._late: LateCommits | None = None
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
        from lisn_async.sandbox import _sockets
        from lisn_async.sandbox._app import App
        from lisn_async.sandbox._control import ControlPlane
        from lisn_async.sandbox._exchange import Exchanges
        from lisn_async.sandbox._server import Server
        from lisn_async.sandbox._store import Store

        if self._server is not None:
            raise RuntimeError("The sandbox is running already.")
        sock = _sockets.listening(self._host, self._port)
        try:
            store = Store(self._database, self._seed)
        except BaseException:
            sock.close()
            raise
        base_url, late = _sockets.url(sock), LateCommits()
        exchanges = Exchanges(
            app=App(store),
            control=ControlPlane(
                base_url=base_url, store=store, seen=self._seen, faults=self._faults, late=late
            ),
            token=self._token,
            seen=self._seen,
            faults=self._faults,
            late=late,
            max_body=self._max_body,
        )
        server = Server(exchanges.handle)
        exchanges.refuse = server.refuse
        try:
            await server.start(sock)
        except BaseException:
            sock.close()
            store.close()
            raise
        self._store, self._server, self._exchanges, self._late = store, server, exchanges, late
        self._base_url = base_url

    async def stop(self) -> None:
        """Close every connection and the database, at once; what was seen stays readable.

        Late commits that have not happened never will.
        """
        server, store, exchanges, late = self._server, self._store, self._exchanges, self._late
        if server is None or store is None or exchanges is None or late is None:
            return
        self._server = self._store = self._exchanges = None
        exchanges.is_stopping = True
        try:
            await server.stop()
        finally:
            late.drop()
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
        """Forget assistants, commits, also those to come late, requests seen and faults; ids given out stay used."""
        store = self._running_store()
        if self._late is not None:
            self._late.drop()
        store.clear()
        self._seen.clear()
        self._faults.replace([])

    def judge(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        before: Iterable[str] = (),
        surplus: Iterable[str] = (),
    ) -> Verdict:
        """What a job of creates really did, told from the assistants that are there and not by who ran it.

        Each item is `{"fields": {...as sent}, "outcome": "created" | "failed" | "unknown", "id": "ast_..."}`, the
        id of created ones. `before` are the ids that were there before the job; `surplus` those that the client
        itself reported as made once too often. Compared are the fields that an item sent. Await `quiet` first
        where commits may come late.
        """
        return judged(self._running_store().contents(), items, before=before, surplus=surplus)

    async def quiet(self) -> None:
        """Wait until every commit that a fault made late has happened."""
        if self._late is not None:
            await self._late.quiet()

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


def _load() -> None:
    """Import what `start` needs, which runs in a loop, and would hold it up."""
    import lisn_async.sandbox._server
    import lisn_async.sandbox._store  # noqa: F401


def _is_of(request: SeenRequest, operation: Operation | None) -> bool:
    return operation is None or request.operation == operation
