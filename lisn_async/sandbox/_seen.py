"""What travelled: every request the sandbox received, kept as values, readable from any thread."""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class SeenRequest:
    """One request as it arrived, and what became of it."""

    sequence: int
    """1 for the first request this sandbox received, 2 for the next, in order of arrival."""
    method: str
    path: str
    """As sent: not decoded, without the query."""
    query: str = ""
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Looked up without regard to case."""
    body: bytes = attrs.field(default=b"", repr=False)
    operation: str | None = None
    """`list`, `create`, `get`, `update`, `delete`, `duplicate`; None where the path or method is none of these."""
    status: int | None = None
    """The status that was sent back; None while there is none and where there was never one to be."""
    aborted: bool = False
    """True if the client went away before the reply."""
    fault: str | None = None
    """What the sandbox did on purpose (`Fault.do`); None for an honest reply."""
    request_id: str = ""
    received_at: float = attrs.field(default=0.0, eq=False, repr=False)
    """Seconds since 1970."""

    def json(self) -> Any:
        """The body as JSON; raises `ValueError` where it is none."""
        return json.loads(self.body)


Wanted = Callable[[SeenRequest], bool]


class SeenList(list[SeenRequest]):
    """A snapshot of the requests seen so far; `clear()` makes the sandbox forget them as well."""

    def __init__(self, log: "SeenLog", requests: list[SeenRequest]) -> None:
        super().__init__(requests)
        self._log = log

    def clear(self) -> None:
        """Forget the requests, here and in the sandbox."""
        super().clear()
        self._log.clear()


class SeenLog:
    """The growing record behind `Sandbox.seen`.

    A lock and `concurrent.futures`, not an `asyncio.Condition`: the server's loop writes, and whoever reads
    or waits may be in another thread or loop (the sync facade, the pytest fixture).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[int, SeenRequest] = {}
        self._sequence = itertools.count(1)
        self._waiting: list[tuple[Wanted, int, Future[None]]] = []

    def next_sequence(self) -> int:
        """The number of the next request."""
        return next(self._sequence)

    def add(self, request: SeenRequest) -> None:
        """Record a request that arrived."""
        with self._lock:
            self._requests[request.sequence] = request
            ready = self._take_ready()
        _wake(ready)

    def note(self, sequence: int, **what: Any) -> None:
        """Record what became of a request (unless it was forgotten meanwhile)."""
        with self._lock:
            if sequence in self._requests:
                self._requests[sequence] = attrs.evolve(self._requests[sequence], **what)
            ready = self._take_ready()
        _wake(ready)

    def snapshot(self) -> SeenList:
        """The requests so far, in order of arrival."""
        with self._lock:
            return SeenList(self, list(self._requests.values()))

    def clear(self) -> None:
        """Forget every request."""
        with self._lock:
            self._requests.clear()

    async def wait(self, wanted: Wanted, count: int, within: float, what: str) -> list[SeenRequest]:
        """The requests that are `wanted`, as soon as there are `count` of them."""
        future: Future[None] = Future()
        entry = (wanted, count, future)
        with self._lock:
            self._waiting.append(entry)
            ready = self._take_ready()
        _wake(ready)
        try:
            async with asyncio.timeout(within):
                await asyncio.wrap_future(future)
        except TimeoutError:
            found = len(self._matching(wanted))
            if found < count:  # else they came in the very turn in which the time was up
                raise TimeoutError(f"Only {found} of {count} requests {what} within {within:g} s.") from None
        finally:
            with self._lock:
                self._waiting = [other for other in self._waiting if other is not entry]
        return self._matching(wanted)

    def _matching(self, wanted: Wanted) -> list[SeenRequest]:
        return [request for request in self.snapshot() if wanted(request)]

    def _take_ready(self) -> list["Future[None]"]:
        if not self._waiting:  # the common case: nobody waits, nothing is counted
            return []
        requests = self._requests.values()
        ready = [entry for entry in self._waiting if sum(map(entry[0], requests)) >= entry[1]]
        self._waiting = [entry for entry in self._waiting if entry not in ready]
        return [future for _, _, future in ready]


def _wake(futures: list["Future[None]"]) -> None:
    for future in futures:
        # False if the waiter gave up in the same moment.
        if future.set_running_or_notify_cancel():
            future.set_result(None)
