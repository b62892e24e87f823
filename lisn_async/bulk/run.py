"""Carrying out a bulk run: workers that pull items, create them, and hand outcomes to whoever reads them.

Send what has no outcome (`sender`). When nothing else is left, look whether those exist whose reply was lost
(`settler`, by the rules of `plan`), send again what certainly does not, and begin anew. `journal` remembers
all of it across a crash.

No item waits for another: a bad one is an outcome, not the end. The reader sets the pace: items are pulled only
while there is room for their outcomes, so memory does not grow with the input.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Self, TypeAlias

from .._request import Caller
from ..errors import JournalError, LisnError, ValidationError
from ..models import Assistant
from .ahead import Ahead
from .content import shown
from .job import Job, marked
from .journal import Journal, open_journal
from .memory import Past
from .options import Options, Progress
from .outcome import BulkOutcome, BulkProgress, Status
from .plan import Echo
from .sender import FRESH, Sender
from .settler import Audit, Settler, unsettled
from .source import Item, Source

Make: TypeAlias = Callable[[Item], Job | ValidationError]

ROUNDS = 5
"""Listings without any progress after which items that keep getting lost are reported as unknown."""
GRACE = 0.5
"""Seconds for what is in flight to come home when a run is stopped."""


class _Ended(Exception):
    """Carries a `SystemExit` or a `KeyboardInterrupt`, of a middleware say, to whoever waits for the run."""

    def __init__(self, by: BaseException) -> None:
        self.by = by


async def _ending_no_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """The same as a task: coming out of one, those two end the loop, and in `lisn_sync` that is everybody's."""
    try:
        await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise _Ended(error) from None


class Run:
    """One run: reads the input, has it sent, and keeps outcomes until the reader takes them."""

    def __init__(
        self,
        caller: Caller,
        source: Source,
        chosen: Options,
        make: Make,
        may_be_ours: Callable[[Assistant], bool] = lambda row: True,
    ) -> None:
        self.audit = Audit()
        self._caller = caller
        self._source = source
        self._options = chosen
        self._make = make
        self._key = secrets.token_bytes(16) if chosen.exact == "marker" else None
        self._settler = Settler(caller, chosen.settle, may_be_ours, Echo() if self._key else None)
        self._journal: Journal | None = None
        self._past: dict[int, Past] = {}
        self._began = time.monotonic()
        self._resumed = 0
        self._is_stopping = False
        self._under_way: dict[int, Job] = {}
        self._ready: deque[BulkOutcome] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._counts: dict[Status, int] = {"created": 0, "failed": 0, "unknown": 0}

    # --- for the reader ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the journal, look what is there already, and start."""
        if self._options.journal is not None:
            self._journal = open_journal(self._options.journal, self._caller.base_url)
            self._past = self._journal.memory.items
        try:
            await self._look_first()
        except BaseException:
            await self._close_journal()
            raise
        self._main = asyncio.create_task(_ending_no_loop(self._carry_out()))
        self._main.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop sending, give what is in flight a moment, and leave a journal that can be continued."""
        self._is_stopping = True
        self._room.set()
        try:
            await asyncio.wait({self._main}, timeout=GRACE)
        finally:
            self._main.cancel()
            try:
                await asyncio.wait({self._main})
                if not self._main.cancelled():
                    self._main.exception()  # whoever read the outcomes has seen it
            finally:  # cancelled twice, perhaps
                await self._close_journal()

    async def next_outcomes(self) -> list[BulkOutcome]:
        """The outcomes that became known since the last call, at least one; none at the end."""
        while not self._ready and not self._main.done():
            self._news.clear()
            await self._news.wait()
        batch = self.leftover()
        self._ready.clear()
        self._room.set()
        if not batch:
            try:
                self._main.result()  # raises what ended the run, if it was no item
            except _Ended as ended:
                raise ended.by from None
        return batch

    def leftover(self) -> list[BulkOutcome]:
        """The outcomes that nobody has taken yet."""
        return list(self._ready)

    def abandoned(self) -> list[BulkOutcome]:
        """What became of items that a run, now over, had begun: they exist, or may exist."""
        why = "the run was ended before it could be looked for"
        what = "the run was ended before a reply came; it may exist"
        jobs = [job for job in self._under_way.values() if job.is_out or job.made is not None]
        return [
            job.outcome("created", assistant=job.made)
            if job.made is not None and job.rename is None
            else job.outcome("unknown", assistant=job.made, error=unsettled(job, why, what))
            for job in [*jobs, *self._settler.ambiguous]
        ]

    def report(self, outcome: BulkOutcome) -> None:
        """Tell how far the run is, now that an outcome is being handed over."""
        if self._options.on_progress is not None:
            self._counts[outcome.status] += 1
            self._tell_progress(self._options.on_progress)

    def report_audit(self) -> None:
        """Tell of assistants beyond the items, if the last look showed any."""
        if self.audit.surplus and self._options.on_progress is not None:
            self._tell_progress(self._options.on_progress)

    async def told(self) -> None:
        """Wait for an `on_progress` that runs elsewhere, as that of the sync package does; raise what it raised."""
        wait = getattr(self._options.on_progress, "told", None)
        if wait is not None:
            await wait()

    def _tell_progress(self, on_progress: Progress) -> None:
        on_progress(
            BulkProgress(
                done=sum(self._counts.values()),
                created=self._counts["created"],
                failed=self._counts["failed"],
                unknown=self._counts["unknown"],
                total=self._source.total,
                elapsed=time.monotonic() - self._began,
                resumed=self._resumed,
                surplus=len(self.audit.surplus),
            )
        )

    # --- the run ----------------------------------------------------------------------------------------

    async def _look_first(self) -> None:
        await self._settler.look_first()
        if self._journal is None:
            return
        memory = self._journal.memory
        if memory.before is None:
            await self._journal.before(*self._settler.before, self._key.hex() if self._key else None)
            return
        if (memory.key is None) != (self._key is None):
            begun_with = "content" if memory.key is None else "marker"
            raise JournalError(
                f"the run of this journal was begun with exact={begun_with!r}: go on with that"
            )
        self._key = bytes.fromhex(memory.key) if memory.key else None
        made = [past.assistant_id for past in memory.items.values() if past.assistant_id is not None]
        if made and not await self._settler.knows_any({*made, *(memory.before or ())}, made[-1]):
            raise JournalError(
                f"this account has none of the {len(made)} assistants that the journal knows:"
                " is it another account's token? If they were deleted, begin another journal"
            )
        self._settler.remember(memory)

    async def _carry_out(self) -> None:
        sender = Sender(
            self._caller,
            self._journal,
            self,
            max_concurrency=self._options.max_concurrency,
            give_up_after=self._options.give_up_after,
            is_stopping=lambda: self._is_stopping,
        )
        await self._send_new(sender)
        if self._is_stopping:
            return
        self._check_all_were_given()
        has_doubts = bool(self._settler.ambiguous) or self._settler.needs_audit
        if has_doubts:
            self._settler.belong_to_others(
                past.assistant_id for past in self._past.values() if past.assistant_id is not None
            )
            await self._settle_all(sender)
        self.audit = await self._settler.audit(look=has_doubts)

    async def _send_new(self, sender: Sender) -> None:
        """Read the input to its end and send what has to be sent."""
        ahead = Ahead(self._next_job, self._journal, self._options.max_concurrency)
        try:
            await self._send_all(sender, ahead.take, self._source.total, ahead.read(), ahead.note())
        finally:
            for job in ahead.left():
                sender.forget(job)

    async def _send_all(
        self,
        sender: Sender,
        take: Callable[[], Awaitable[Job | None]],
        total: int | None,
        *feeding: Coroutine[None, None, None],
    ) -> None:
        """Take jobs and send them, several at a time, until there are none. `feeding` is what they come from."""

        async def work() -> None:
            while not self._is_stopping:
                if not self._room.is_set():
                    await self._room.wait()
                job = await take()
                if job is None:
                    return
                self._under_way[job.index] = job
                await sender.send(job)

        most = self._options.max_concurrency
        try:
            async with asyncio.TaskGroup() as group:
                feeders = [group.create_task(feeder) for feeder in feeding]
                workers = [
                    group.create_task(_ending_no_loop(work()))
                    for _ in range(most if total is None else min(most, total))
                ]
                if workers:
                    await asyncio.wait(workers)
                was_cut = any(task.cancelled() for task in (*workers, *feeders))
                for feeder in feeders:
                    feeder.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        if was_cut:
            raise LisnError("a worker of the bulk run was cancelled by somebody else")

    async def _settle_all(self, sender: Sender) -> None:
        """Settle the ambiguous items, and send again what certainly does not exist, until none is left."""
        doubt: str | None = None
        fruitless = 0
        while self._settler.ambiguous and doubt is None and fruitless < ROUNDS:
            number = len(self._settler.ambiguous)
            settled = await self._settler.settle()
            doubt = settled.doubt
            for job, row in settled.found:
                job.made = row
                self._under_way[job.index] = job
                self.made(job, row)
            for job in settled.absent:
                job.noted_at, job.is_out = -math.inf, False
                self._settler.sent_again(job)
                if self._journal is not None:
                    self._journal.absent(job.index)
            again = iter([*(job for job, _ in settled.found), *settled.absent])

            async def take(again: Iterator[Job] = again) -> Job | None:
                return next(again, None)

            await self._send_all(sender, take, len(settled.found) + len(settled.absent))
            fruitless = 0 if len(self._settler.ambiguous) < number else fruitless + 1
        unsure, self._settler.ambiguous = self._settler.ambiguous, []
        for job in unsure:
            error = unsettled(job, doubt or f"its reply was lost again and again, {ROUNDS} times in a row")
            self._hand_over(job.outcome("unknown", error=error))

    async def _next_job(self) -> Job | None:
        """The next item that has to be sent; what an earlier run left of others is dealt with on the way."""
        while (item := await self._source.take()) is not None:
            made = self._make(item)
            past = self._past_of(item, made) if self._past else None
            if isinstance(made, ValidationError):
                self._hand_over(BulkOutcome(index=item.index, status="failed", spec=item.spec, error=made))
            elif (job := self._left_to_send(made, past)) is not None:
                return job
            if not self._room.is_set():
                await self._room.wait()
        return None

    def _left_to_send(self, job: Job, past: Past | None) -> Job | None:
        """The job, if there is something to send for it after what an earlier run did."""
        if self._key is not None:
            job = marked(job, self._key)
        if past is None:
            return job
        if past.was_absent:
            self._settler.sent_again(job, age=self._seconds_since_written())
        if past.state == "sent":
            # It may have been on its way for that long after the last line, until its sender died.
            age = self._seconds_since_written() - FRESH - self._caller.timeout
            self._settler.lost(job, may_be_running=True, age=max(0.0, age))
            return None
        if past.assistant_id is None:
            return job
        self._resumed += 1
        self._settler.made(job, past.assistant_id)
        job.made = shown(job.spec, past.assistant_id)
        if job.rename is not None and past.state != "named":
            return job
        self.created(job, job.made)
        return None

    def _past_of(self, item: Item, job: Job | ValidationError) -> Past | None:
        past = self._past.pop(item.index, None)
        if past is not None and past.had_no_effect:
            return past  # whatever it was
        if past is not None and (isinstance(job, ValidationError) or job.item.fingerprint != past.item):
            raise JournalError(
                f"item {item.index} is not the one that the journal remembers at this place:"
                " use the same input, or another journal"
            )
        return past

    def _check_all_were_given(self) -> None:
        left = [index for index, past in self._past.items() if not past.had_no_effect]
        if left and self._source.error is None:
            raise JournalError(
                f"the journal knows {len(left)} items that the input no longer has,"
                f" the first at index {min(left)}: it belongs to another input"
            )

    def _seconds_since_written(self) -> float:
        assert self._journal is not None
        return max(0.0, time.time() - self._journal.memory.written_at)

    async def _close_journal(self) -> None:
        if self._journal is not None:
            await self._journal.aclose()

    # --- the desk: what became of a job -----------------------------------------------------------------

    def was_there(self, assistant_id: str) -> bool:
        """Whether an id is of an assistant that was there before the run."""
        return self._settler.was_there(assistant_id)

    def made(self, job: Job, row: Assistant) -> None:
        """The job's assistant exists; `row` is how the service shows it."""
        kept = self._settler.shown(job, row)
        if self._journal is not None:
            self._journal.created(job.index, row.id, kept)
        self._settler.made(job, row.id)

    def created(self, job: Job, row: Assistant) -> None:
        """The job is done."""
        self._hand_over(job.outcome("created", assistant=row))

    def failed(self, job: Job) -> None:
        """The job's assistant was certainly not made; `job.error` says why."""
        self._hand_over(job.outcome("failed", error=job.error))

    def unfinished(self, job: Job) -> None:
        """The job's assistant was made but could not be given its name; `job.error` says why."""
        if job.error is not None:
            made = job.made.id if job.made is not None else ""
            job.error.message += (
                f"; {made} was made under the name {job.marker} and could not be given its own"
            )
        self._hand_over(job.outcome("unknown", assistant=job.made, error=job.error))

    def lost(self, job: Job, *, may_be_running: bool) -> None:
        """The job was sent and no usable reply came."""
        self._under_way.pop(job.index, None)
        self._settler.lost(job, may_be_running=may_be_running)

    def _hand_over(self, outcome: BulkOutcome) -> None:
        self._under_way.pop(outcome.index, None)
        self._ready.append(outcome)
        if len(self._ready) >= self._options.max_concurrency and not self._is_stopping:
            self._room.clear()
        self._news.set()
