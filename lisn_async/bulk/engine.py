"""Carrying out a bulk run: workers that pull items, create them, and hand outcomes to whoever reads them.

No item waits for another: a bad one is an outcome, not the end. The reader sets the pace: items are
pulled only while there is room for their outcomes, so memory does not grow with the input.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from os import PathLike
from typing import Any, Self, TypeAlias

import attrs

from .._config import positive_seconds, whole_number
from .._endpoints import list_all
from .._request import Caller, Request
from .._retry import Meaning, backoff, meaning_of
from ..errors import (
    APIConnectionError,
    BulkError,
    IncompleteListError,
    JournalError,
    LisnError,
    ValidationError,
)
from ..models import Assistant, AssistantCreate
from .outcome import BulkOutcome, BulkProgress, BulkResult, Status
from .source import Item, Source

Specs: TypeAlias = (
    Iterable[AssistantCreate | Mapping[str, object]] | AsyncIterable[AssistantCreate | Mapping[str, object]]
)
Progress: TypeAlias = Callable[[BulkProgress], None]
RequestFor: TypeAlias = Callable[[object], Request[Assistant]]


@attrs.frozen(kw_only=True)
class Options:
    """How a run is to be carried out, checked."""

    max_concurrency: int
    give_up_after: float
    on_progress: Progress | None


def options(
    *,
    max_concurrency: int,
    journal: str | PathLike[str] | None,
    on_progress: Progress | None,
    settle: float | None,
    give_up_after: float,
) -> Options:
    """The arguments of a run, checked. Raises `ConfigurationError`."""
    if journal is not None:
        raise JournalError(
            "journals are not part of this version: nothing was sent. Leave journal= out, and the run"
            " reports items whose fate it does not know as `unknown`"
        )
    if settle is not None:
        positive_seconds("settle", settle)
    return Options(
        max_concurrency=whole_number("max_concurrency", max_concurrency, least=1),
        give_up_after=positive_seconds("give_up_after", give_up_after),
        on_progress=on_progress,
    )


async def create_each(
    caller: Caller, specs: Specs, request_for: RequestFor, chosen: Options
) -> AsyncIterator[BulkOutcome]:
    """The outcome of every item, as it becomes known; those that stay unknown come last."""
    source = Source(specs)
    async with _Run(caller, source, request_for, chosen) as run:
        while batch := await run.next_outcomes():
            for outcome in batch:
                run.report(outcome)
                yield outcome
    if source.error is not None:
        raise source.error


async def create_many(caller: Caller, specs: Specs, request_for: RequestFor, chosen: Options) -> BulkResult:
    """The outcome of every item, in input order. Raises `BulkError` if the input itself raised."""
    source = Source(specs)
    outcomes: list[BulkOutcome] = []
    async with _Run(caller, source, request_for, chosen) as run:
        while batch := await run.next_outcomes():
            for outcome in batch:
                run.report(outcome)
            outcomes += batch
    outcomes.sort(key=lambda outcome: outcome.index)
    result = BulkResult(outcomes)
    if source.error is not None:
        name = type(source.error).__name__
        message = f"the input raised {name} after {len(outcomes)} items; their outcomes are in .result"
        raise BulkError(message, result) from source.error
    return result


class _Run:
    """One run: its workers, the outcomes that wait for the reader, and the counts."""

    def __init__(self, caller: Caller, source: Source, request_for: RequestFor, chosen: Options) -> None:
        self._caller = caller
        self._source = source
        self._request_for = request_for
        self._options = chosen
        self._began = self._last_success = time.monotonic()
        self._workers: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._ready: deque[BulkOutcome] = deque()
        self._unknown: list[BulkOutcome] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._counts: dict[Status, int] = {"created": 0, "failed": 0, "unknown": 0}

    async def __aenter__(self) -> Self:
        """List once before the first create, so that a wrong token ends the run before it began; then start."""
        with suppress(IncompleteListError):  # a service that pages its list can still create
            await self._caller.call(list_all())
        most, total = self._options.max_concurrency, self._source.total
        for _ in range(most if total is None else min(most, total)):
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what is still under way, and wait until it has let go of its connections."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def next_outcomes(self) -> list[BulkOutcome]:
        """The outcomes that became known since the last call, at least one; none at the end."""
        while not self._ready and self._workers:
            self._news.clear()
            await self._news.wait()
        if self._failure is not None:
            raise self._failure
        batch = list(self._ready)
        self._ready.clear()
        self._room.set()
        if not batch:
            batch, self._unknown = self._unknown, []
        return batch

    def report(self, outcome: BulkOutcome) -> None:
        """Count an outcome that is being handed over, and tell how far the run is."""
        self._counts[outcome.status] += 1
        if self._options.on_progress is not None:
            self._options.on_progress(
                BulkProgress(
                    done=sum(self._counts.values()),
                    created=self._counts["created"],
                    failed=self._counts["failed"],
                    unknown=self._counts["unknown"],
                    total=self._source.total,
                    elapsed=time.monotonic() - self._began,
                )
            )

    async def _work(self) -> None:
        while True:
            await self._room.wait()
            item = await self._source.take()
            if item is None:
                return
            outcome = await self._create(item)
            if outcome.status == "unknown":
                self._unknown.append(outcome)
            else:
                self._ready.append(outcome)
            if len(self._ready) >= self._options.max_concurrency:
                self._room.clear()
            self._news.set()

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (failure := worker.exception()) is not None:
            self._failure = failure  # no item's failure but the run's: a client that was closed, say
        self._news.set()

    async def _create(self, item: Item) -> BulkOutcome:
        try:
            request = self._request_for(item.spec)
        except ValidationError as wrong:
            return BulkOutcome(index=item.index, status="failed", spec=item.spec, error=wrong)
        error: LisnError | None = None
        number = 0
        while not self._is_hopeless():
            await self._caller.wait_for_pause()
            number += 1
            tried = await self._caller.attempt(request, number=number)
            if tried.response is not None:
                self._last_success = time.monotonic()
                made = tried.response.parse()
                return BulkOutcome(index=item.index, status="created", spec=item.spec, assistant=made)
            error = tried.error
            meaning = meaning_of(tried.attempt)
            if meaning is not Meaning.HARMLESS:
                status: Status = "unknown" if meaning is Meaning.UNKNOWN else "failed"
                return BulkOutcome(index=item.index, status=status, spec=item.spec, error=error)
            # Never sent, or declined: such an item is tried until the whole run has no success left.
            await asyncio.sleep(tried.attempt.retry_after or backoff(number, random.random()))
        return BulkOutcome(
            index=item.index, status="failed", spec=item.spec, error=error or self._not_tried(request)
        )

    def _is_hopeless(self) -> bool:
        return time.monotonic() - self._last_success > self._options.give_up_after

    def _not_tried(self, request: Request[Any]) -> LisnError:
        why = f"not sent: no item succeeded for {self._options.give_up_after:g} s, the run was given up"
        return APIConnectionError(why, request.method, request.path, 0, False)
