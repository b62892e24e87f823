"""Carrying out a bulk run: workers that pull items, create them, and hand outcomes to whoever reads them.

The algorithm is the one of RELIABILITY.md, section 2: send what has no state; when nothing else is left, look
whether the ambiguous ones exist; send again only what certainly does not. `plan` decides, `journal` remembers,
this module acts.

No item waits for another: a bad one is an outcome, not the end. The reader sets the pace: items are pulled only
while there is room for their outcomes, so memory does not grow with the input.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from os import PathLike
from typing import Self, TypeAlias

import attrs

from .._config import positive_seconds, whole_number
from .._endpoints import as_spec, create, get, list_all
from .._log import bulk_logger as logger
from .._request import Caller, Request
from .._retry import Happened, Meaning, backoff, is_declined, meaning_of
from .._secrets import hide
from ..errors import (
    APIConnectionError,
    APIError,
    BulkError,
    ConfigurationError,
    IncompleteListError,
    JournalError,
    LisnError,
    NotFoundError,
    ValidationError,
)
from ..models import Assistant, AssistantCreate
from . import plan
from .content import Content, content_of, fingerprint, shown
from .journal import Journal, Past, open_journal
from .outcome import BulkOutcome, BulkProgress, BulkResult, Status
from .pace import Pace
from .source import Item, Source

Specs: TypeAlias = (
    Iterable[AssistantCreate | Mapping[str, object]] | AsyncIterable[AssistantCreate | Mapping[str, object]]
)
Progress: TypeAlias = Callable[[BulkProgress], None]

SETTLE = 2.0
"""Seconds after which a listing shows what the service has finished."""
ROUNDS = 5
"""Listings after which an item that keeps getting lost is reported as unknown."""
GRACE = 0.5
"""Seconds for what is in flight to come home when a run is stopped."""
MOST_LOOKED_UP = 50
"""Missing ids that are asked for one by one, before the listing is called incomplete instead."""


@attrs.frozen(kw_only=True)
class Options:
    """How a run is to be carried out, checked. Times are in seconds."""

    max_concurrency: int
    journal: str | PathLike[str] | None
    settle: float | None
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
    if settle not in (None, 0):
        positive_seconds("settle", settle)
    if on_progress is not None and not callable(on_progress):
        raise ConfigurationError(f"on_progress must be callable, not {type(on_progress).__name__}")
    return Options(
        max_concurrency=whole_number("max_concurrency", max_concurrency, least=1),
        journal=journal,
        settle=settle,
        give_up_after=positive_seconds("give_up_after", give_up_after),
        on_progress=on_progress,
    )


async def create_each(caller: Caller, specs: Specs, chosen: Options) -> AsyncGenerator[BulkOutcome, None]:
    """The outcome of every item, as it becomes known; ambiguous ones last."""
    source = Source(specs)
    async with _Run(caller, source, chosen) as run:
        while batch := await run.next_outcomes():
            for outcome in batch:
                run.report(outcome)
                yield outcome
    if source.error is not None:
        raise source.error


async def create_many(caller: Caller, specs: Specs, chosen: Options) -> BulkResult:
    """The outcome of every item, in input order.

    Raises `BulkError`, with the outcomes so far, if the caller's own code ended the run: the input, or
    `on_progress`.
    """
    source = Source(specs)
    outcomes: list[BulkOutcome] = []
    ended_by: BaseException | None = None
    async with _Run(caller, source, chosen) as run:
        try:
            while batch := await run.next_outcomes():
                outcomes += batch
                for outcome in batch:
                    run.report(outcome)
        except JournalError:
            raise  # what was made stands in the journal
        except Exception as error:  # noqa: BLE001 - whatever it was, what has been made must not be lost
            ended_by = error
    outcomes += run.leftover()
    outcomes.sort(key=lambda outcome: outcome.index)
    result = BulkResult(outcomes, run.surplus)
    if (ended_by := ended_by or source.error) is None:
        return result
    message = (
        f"{type(ended_by).__name__} ended the run after {len(outcomes)} items; their outcomes are in .result"
    )
    try:
        raise BulkError(f"{message}: {ended_by}", result) from ended_by
    finally:
        del ended_by


@attrs.define(kw_only=True)
class _Job:
    """An item on its way. `error` and `believable_at` are set once its fate is not known."""

    index: int
    given: AssistantCreate | Mapping[str, object]
    spec: AssistantCreate
    request: Request[Assistant]
    content: Content
    error: LisnError | None = None
    believable_at: float = 0.0

    def outcome(self, status: Status, **found: Assistant | LisnError | None) -> BulkOutcome:
        return BulkOutcome(index=self.index, status=status, spec=self.given, **found)  # type: ignore[arg-type]


class _Run:
    """One run: its workers, the outcomes that wait for the reader, and the counts."""

    def __init__(self, caller: Caller, source: Source, chosen: Options) -> None:
        self.surplus: list[Assistant] = []
        self._caller = caller
        self._source = source
        self._options = chosen
        self._began = time.monotonic()
        self._failing_since: float | None = None
        self._held_until = 0.0
        self._pace = Pace(chosen.max_concurrency)
        self._journal: Journal | None = None
        self._past: dict[int, Past] = {}
        self._before: set[str] = set()
        self._before_is_whole = True
        self._made = plan.Made()
        self._ambiguous: list[_Job] = []
        self._is_stopping = False
        self._main: asyncio.Task[None] | None = None
        self._ready: deque[BulkOutcome] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._counts: dict[Status, int] = {"created": 0, "failed": 0, "unknown": 0}

    # --- from outside -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the journal and list once before the first create: what is there already is not ours."""
        if self._options.journal is not None:
            self._journal = open_journal(self._options.journal, self._caller.base_url)
            self._past = self._journal.memory.items
        try:
            await self._look_first()
        except BaseException:
            await self._close_journal()
            raise
        self._main = asyncio.create_task(self._carry_out())
        self._main.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop sending, give what is in flight a moment, and leave a journal that can be continued."""
        assert self._main is not None
        self._is_stopping = True
        self._room.set()
        try:
            await asyncio.wait({self._main}, timeout=GRACE)
        finally:
            self._main.cancel()
            await asyncio.wait({self._main})
            if not self._main.cancelled():
                self._main.exception()  # whoever read the outcomes has seen it
            await self._close_journal()

    async def next_outcomes(self) -> list[BulkOutcome]:
        """The outcomes that became known since the last call, at least one; none at the end."""
        assert self._main is not None
        while not self._ready and not self._main.done():
            self._news.clear()
            await self._news.wait()
        batch = list(self._ready)
        self._ready.clear()
        self._room.set()
        if not batch:
            self._main.result()  # raises what ended the run, if it was no item
        return batch

    def leftover(self) -> list[BulkOutcome]:
        """The outcomes of what came home while the run was being stopped."""
        return list(self._ready)

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

    # --- the run ----------------------------------------------------------------------------------------

    async def _look_first(self) -> None:
        try:
            rows = (await self._caller.call(list_all())).parse()
        except IncompleteListError as error:
            rows, self._before_is_whole = error.partial, False
        self._before = {row.id for row in rows}
        if self._journal is None:
            return
        if self._journal.memory.before is None:
            await self._journal.before(self._before)
        else:
            self._before = set(self._journal.memory.before)

    async def _carry_out(self) -> None:
        await self._work(self._next_job, self._how_many_workers(self._source.total))
        if self._past and not self._is_stopping and self._source.error is None:
            raise JournalError(
                f"the journal knows {len(self._past)} items that the input no longer has,"
                f" the first at index {min(self._past)}: it belongs to another input"
            )
        had_doubts = bool(self._ambiguous)
        doubt: str | None = "the run was stopped"
        for _ in range(ROUNDS):
            if self._is_stopping or not self._ambiguous:
                break
            doubt = await self._reconcile()
            if doubt is not None:
                break
        for job in self._ambiguous:
            self._hand_over(job.outcome("unknown", error=_unresolved(job, doubt)))
        if had_doubts and not self._is_stopping:
            await self._audit()

    def _how_many_workers(self, total: int | None) -> int:
        most = self._options.max_concurrency
        return most if total is None else min(most, total)

    async def _work(self, take: Callable[[], Awaitable[_Job | None]], workers: int) -> None:
        """Take jobs and send them, several at a time, until there are none."""

        async def work() -> None:
            while not self._is_stopping:
                await self._room.wait()
                job = await take()
                if job is None:
                    return
                await self._send(job)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work()) for _ in range(workers)]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        if any(task.cancelled() for task in tasks):
            raise LisnError("a worker of the bulk run was cancelled by somebody else")

    async def _next_job(self) -> _Job | None:
        """The next item that has to be sent; outcomes and ambiguous items of an earlier run on the way."""
        while (item := await self._source.take()) is not None:
            job = self._job_of(item)
            past = self._past_of(item, job)
            if job is None:
                continue
            if past is None or past.state in ("unsent", "refused"):
                return job
            if past.state == "created" and past.assistant_id is not None:
                self._created(job, shown(job.spec, past.assistant_id), is_news=False)
            else:
                self._lost(job, None, written_before=True)
            await self._room.wait()
        return None

    def _job_of(self, item: Item) -> _Job | None:
        try:
            spec = as_spec(hide(item.spec))
            request = create(spec, strict=self._caller.strict)
            content = content_of(spec)
        except ValidationError as wrong:
            self._refuse(item, wrong)
        except Exception as odd:  # noqa: BLE001 - an item is the caller's, and may do anything when it is read
            why = f"the item cannot be read: {type(odd).__name__}"
            self._refuse(item, ValidationError(f"assistant not sent: {why}", {"spec": why}))
        else:
            return _Job(index=item.index, given=item.spec, spec=spec, request=request, content=content)
        return None

    def _refuse(self, item: Item, wrong: ValidationError) -> None:
        error = wrong.with_traceback(None)  # its frames hold the item, and an outcome may be kept for long
        self._hand_over(BulkOutcome(index=item.index, status="failed", spec=item.spec, error=error))

    def _past_of(self, item: Item, job: _Job | None) -> Past | None:
        past = self._past.pop(item.index, None)
        if past is not None and (job is None or fingerprint(job.spec) != past.item):
            raise JournalError(
                f"item {item.index} is not the one that the journal remembers at this place:"
                " use the same input, or another journal"
            )
        return past

    # --- one item ---------------------------------------------------------------------------------------

    async def _send(self, job: _Job) -> None:
        """Send one item until it has an outcome, or until nobody can know whether it has one."""
        job.error = None
        number = 0
        while not self._is_hopeless():
            await self._wait_for_turn()
            try:
                if self._journal is not None:
                    await self._journal.sent(job.index, fingerprint(job.spec))
                number += 1
                meaning = await self._attempt(job, number)
            finally:
                self._pace.release()
            if meaning is not Meaning.HARMLESS:
                return
            await self._wait_for_room_to_retry(number)
            if self._is_stopping:
                return
        self._hand_over(job.outcome("failed", error=job.error or self._not_sent(job)))

    async def _attempt(self, job: _Job, number: int) -> Meaning:
        began = time.monotonic()
        give_up = began + self._seconds_of_hope()
        tried = await self._caller.attempt(job.request, number=number, sent_by=give_up)
        now = time.monotonic()
        meaning = meaning_of(tried.attempt)
        job.error = tried.error
        if tried.response is not None:
            self._failing_since = None
            self._pace.succeeded(now - began)
            self._created(job, tried.response.parse())
        elif meaning is Meaning.UNKNOWN:
            if tried.attempt.happened is Happened.LOST:
                self._pace.pushed_back(now)
            self._lost(job, tried.error, may_be_running=tried.attempt.happened is Happened.LOST)
        elif meaning is Meaning.DEFINITE:
            if self._journal is not None:
                self._journal.refused(job.index, tried.attempt.status)
            self._hand_over(job.outcome("failed", error=tried.error))
        else:
            if self._failing_since is None:
                self._failing_since = began
            if self._journal is not None:
                self._journal.unsent(job.index)
            if is_declined(tried.attempt):
                self._pace.pushed_back(now)
                self._held_until = max(self._held_until, now + (tried.attempt.retry_after or 0.0))
        return meaning

    def _created(self, job: _Job, made: Assistant, *, is_news: bool = True) -> None:
        self._made.add(made.id, job.content)
        if is_news and self._journal is not None:
            self._journal.created(job.index, made.id)
        self._hand_over(job.outcome("created", assistant=made))

    def _lost(
        self,
        job: _Job,
        error: LisnError | None,
        *,
        may_be_running: bool = True,
        written_before: bool = False,
    ) -> None:
        """Keep an item until a listing can tell; that is once the service must have finished with it."""
        settle = self._options.settle
        if settle is None:
            settle = SETTLE + (self._caller.timeout if may_be_running else 0.0)
        job.error = error
        job.believable_at = time.monotonic() + settle
        if written_before and self._journal is not None:
            job.believable_at -= min(settle, max(0.0, time.time() - self._journal.memory.written_at))
        self._ambiguous.append(job)

    async def _wait_for_turn(self) -> None:
        while not self._is_hopeless():
            wait = max(self._held_until - time.monotonic(), self._caller.pause_left())
            if wait <= 0:
                break
            await asyncio.sleep(min(wait, self._seconds_of_hope()))
        await self._pace.acquire()

    async def _wait_for_room_to_retry(self, number: int) -> None:
        await asyncio.sleep(min(backoff(number, random.random()), self._seconds_of_hope()))

    def _seconds_of_hope(self) -> float:
        if self._failing_since is None:
            return self._options.give_up_after
        return max(0.0, self._failing_since + self._options.give_up_after - time.monotonic()) + 0.001

    def _is_hopeless(self) -> bool:
        """Whether nothing but failures came for too long. A slow input or a slow reader is no failure."""
        if self._failing_since is None:
            return False
        return time.monotonic() - self._failing_since > self._options.give_up_after

    def _not_sent(self, job: _Job) -> LisnError:
        why = f"not sent: no item succeeded for {self._options.give_up_after:g} s, the run was given up"
        return APIConnectionError(why, job.request.method, job.request.path, 0, False)

    def _hand_over(self, outcome: BulkOutcome) -> None:
        self._ready.append(outcome)
        if len(self._ready) >= self._options.max_concurrency and not self._is_stopping:
            self._room.clear()
        self._news.set()

    # --- ambiguous items --------------------------------------------------------------------------------

    async def _reconcile(self) -> str | None:
        """Settle the ambiguous items by a listing; the reason why that is not possible, or None."""
        jobs, self._ambiguous = self._ambiguous, []
        by_index = {job.index: job for job in jobs}
        wait = max(0.0, max(job.believable_at for job in jobs) - time.monotonic())
        logger.info("replies lost: %d; looking for those assistants in %.1f s", len(jobs), wait)
        try:
            await asyncio.sleep(wait)
            findings = await self._look(jobs)
        except BaseException:
            self._ambiguous = jobs
            raise
        if isinstance(findings, str):
            self._ambiguous = jobs
            return findings
        for item, row in findings.claims:
            self._created(by_index[item.index], row)
        open_jobs = [by_index[item.index] for item in findings.open]
        if (doubt := findings.reason_for_doubt()) is not None:
            self._ambiguous = open_jobs
            return doubt
        await self._send_again(open_jobs)
        return None

    async def _look(self, jobs: list[_Job]) -> plan.Findings | str:
        if not self._before_is_whole:
            return "the listing before the first create was not whole"
        rows = await self._list()
        if isinstance(rows, str):
            return rows
        pending = [plan.Pending(index=job.index, content=job.content) for job in jobs]
        deleted: set[str] = set()
        findings = plan.reconcile(rows, self._before, self._made, pending, deleted)
        if 0 < len(findings.missing) <= MOST_LOOKED_UP:
            for assistant_id in findings.missing:
                if await self._is_gone(assistant_id):
                    deleted.add(assistant_id)
            findings = plan.reconcile(rows, self._before, self._made, pending, deleted)
        return findings

    async def _list(self) -> list[Assistant] | str:
        try:
            return (await self._caller.call(list_all())).parse()
        except IncompleteListError:
            return "the listing is not whole"
        except APIError as error:
            return f"the listing failed: {error}"

    async def _is_gone(self, assistant_id: str) -> bool:
        try:
            await self._caller.call(get(assistant_id))
        except NotFoundError:
            return True
        except APIError:
            return False
        return False

    async def _send_again(self, jobs: list[_Job]) -> None:
        if self._journal is not None:
            for job in jobs:
                self._journal.unsent(job.index)
        waiting = iter(jobs)

        async def take() -> _Job | None:
            return next(waiting, None)

        await self._work(take, self._how_many_workers(len(jobs)))

    async def _audit(self) -> None:
        """Look once more: a create that was committed after it had been given up shows as a surplus."""
        rows = await self._list()
        if isinstance(rows, str) or not self._before_is_whole:
            return
        self.surplus = plan.surplus(rows, self._before, self._made)
        if self.surplus:
            ids = ", ".join(row.id for row in self.surplus[:20])
            logger.warning("%d more assistants than items, to be looked at: %s", len(self.surplus), ids)

    async def _close_journal(self) -> None:
        if self._journal is not None:
            await self._journal.aclose()


def _unresolved(job: _Job, doubt: str | None) -> LisnError:
    error = job.error or APIConnectionError(
        "an earlier run sent this item and ended before a reply came; it may exist",
        job.request.method,
        job.request.path,
        1,
        True,
    )
    error.add_note(f"bulk: not resolved: {doubt or f'lost {ROUNDS} times'}")
    return error
