"""The sandbox as its users hold it.

Generated from lisn_async/sandbox/box.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from lisn_async.sandbox import Fault, storm
from lisn_async.sandbox._fault_queue import FaultQueue
from lisn_async.sandbox._faults import FaultLike, Operation
from lisn_async.sandbox._judge import Verdict
from lisn_async.sandbox._seen import SeenRequest
from lisn_async.sandbox.box import Sandbox as CoreSandbox
from lisn_sync._bridge import adopt, close, run

__all__ = ["Fault", "Sandbox", "SeenRequest", "Verdict", "storm"]


class Sandbox:
    """A Lisn of your own, on this machine, over real HTTP.

    It keeps assistants as the documentation says the service does, records what it was sent, and breaks
    on request. Making one opens nothing; `with` or `start` does.
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
        self._use(
            CoreSandbox(host=host, port=port, database=database, token=token, seed=seed, max_body=max_body)
        )

    def _use(self, core: CoreSandbox) -> Self:
        self._core = adopt(core, CoreSandbox.stop)
        return self

    def __enter__(self) -> Self:
        run(self._core.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run(self._core.__aexit__, kind, error, traceback)

    def start(self) -> None:
        """Listen; `OSError` if the port is taken or the database cannot be opened."""
        run(self._core.start)

    def stop(self) -> None:
        """Close every connection and the database, at once; what was seen stays readable.

        Late commits that have not happened never will.
        """
        close(self._core.stop)

    @property
    def base_url(self) -> str:
        """What to give to a client: `<base_url>/v1/assistants` is the collection."""
        return self._core.base_url

    @property
    def token(self) -> str:
        """The bearer token it accepts."""
        return self._core.token

    @property
    def seen(self) -> list[SeenRequest]:
        """The requests received so far, oldest first: a snapshot. Its `clear()` makes the sandbox forget them."""
        return self._core.seen

    @property
    def faults(self) -> FaultQueue:
        """What will go wrong, used up in order; assign or append statuses, names, mappings or `Fault`s."""
        return self._core.faults

    @faults.setter
    def faults(self, items: Iterable[FaultLike]) -> None:
        self._core.faults = items

    def assistants(self) -> list[dict[str, Any]]:
        """Every assistant there is, oldest first, as the API would answer it."""
        return self._core.assistants()

    def commits(self) -> list[dict[str, Any]]:
        """Every change that was committed, oldest first: number, operation, assistant_id."""
        return self._core.commits()

    def clear(self) -> None:
        """Forget assistants, commits, also those to come late, requests seen and faults; ids given out stay used."""
        self._core.clear()

    def judge(
        self, items: Iterable[Mapping[str, Any]], *, before: Iterable[str] = (), surplus: Iterable[str] = ()
    ) -> Verdict:
        """What a job of creates really did, told from the assistants that are there and not by who ran it.

        Each item is `{"fields": {...as sent}, "outcome": "created" | "failed" | "unknown", "id": "ast_..."}`, the
        id of created ones. `before` are the ids that were there before the job; `surplus` those that the client
        itself reported as made once too often. Compared are the fields that an item sent. Await `quiet` first
        where commits may come late.
        """
        return self._core.judge(items, before=before, surplus=surplus)

    def quiet(self) -> None:
        """Wait until every commit that a fault made late has happened."""
        run(self._core.quiet)

    def received(
        self, count: int, *, operation: Operation | None = None, within: float = 10.0
    ) -> list[SeenRequest]:
        """The requests received, as soon as there are `count`; `TimeoutError` after `within` seconds."""
        return run(self._core.received, count, operation=operation, within=within)

    def answered(
        self, count: int, *, operation: Operation | None = None, within: float = 10.0
    ) -> list[SeenRequest]:
        """The requests answered, as soon as there are `count`; `TimeoutError` after `within` seconds."""
        return run(self._core.answered, count, operation=operation, within=within)

    def aborted(
        self, count: int, *, operation: Operation | None = None, within: float = 10.0
    ) -> list[SeenRequest]:
        """The requests whose client went away before the reply, as soon as there are `count`."""
        return run(self._core.aborted, count, operation=operation, within=within)
