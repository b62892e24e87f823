"""Sending one item, until it has an outcome or nobody can know whether it has one.

What was declined or never sent is tried again for as long as anything succeeds; what may have taken effect
is not. Every item shares the pace and the pause that the service asks for.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from .._log import bulk_logger as logger
from .._request import Caller
from .._retry import Happened, Meaning, backoff, is_declined, meaning_of
from ..errors import APIConnectionError, APIStatusError
from .content import fingerprint
from .job import Desk, Job
from .journal import Journal
from .pace import Pace, Sent


class Sender:
    """Sends jobs and reports what became of them. `give_up_after` is in seconds."""

    def __init__(
        self,
        caller: Caller,
        journal: Journal | None,
        desk: Desk,
        *,
        max_concurrency: int,
        give_up_after: float,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._caller = caller
        self._journal = journal
        self._desk = desk
        self._pace = Pace(max_concurrency)
        self._give_up_after = give_up_after
        self._is_stopping = is_stopping
        self._failing_since: float | None = None
        self._held_until = 0.0

    async def send(self, job: Job) -> None:
        """Send one item. A run that is being stopped may leave it without an outcome, as never sent."""
        job.error = None
        number = 0
        while not self._is_hopeless():
            await self._wait_for_quiet()
            turn = await self._pace.acquire()
            if self._seconds_of_quiet() > 0 or self._is_hopeless():  # since we began to wait for our turn
                self._pace.release(was_sent=False)
                continue
            try:
                if self._journal is not None:
                    await self._journal.sent(job.index, fingerprint(job.spec))
                number += 1
                meaning = await self._attempt(job, number, turn)
            finally:
                self._pace.release()
            if meaning is not Meaning.HARMLESS or self._is_stopping():
                return
            await asyncio.sleep(min(self._backoff(job, number), self._seconds_of_hope()))
        job.error = job.error or self._not_tried(job)
        self._desk.failed(job)

    async def _attempt(self, job: Job, number: int, turn: Sent) -> Meaning:
        began = time.monotonic()
        give_up = began + self._seconds_of_hope()
        tried = await self._caller.attempt(job.request, number=number, sent_by=give_up)
        now = time.monotonic()
        attempt, meaning = tried.attempt, meaning_of(tried.attempt)
        job.error = tried.error
        if tried.response is not None:
            self._failing_since = None
            self._pace.succeeded(turn)
            made = tried.response.parse()
            if self._journal is not None:
                self._journal.created(job.index, made.id)
            self._desk.created(job, made)
        elif meaning is Meaning.UNKNOWN:
            may_be_running = attempt.happened is Happened.LOST
            if may_be_running:
                self._pace.pushed_back(turn)
            self._desk.lost(job, may_be_running=may_be_running)
        elif meaning is Meaning.DEFINITE:
            if self._journal is not None:
                self._journal.refused(job.index, attempt.status)
            self._desk.failed(job)
        else:
            if self._failing_since is None:
                self._failing_since = began
                logger.info("%s; trying again for up to %g s", tried.error, self._give_up_after)
            if self._journal is not None:
                self._journal.unsent(job.index)
            if is_declined(attempt):
                self._pace.pushed_back(turn, attempt.retry_after or 0.0)
                self._held_until = max(self._held_until, now + (attempt.retry_after or 0.0))
        return meaning

    async def _wait_for_quiet(self) -> None:
        while not self._is_hopeless():
            wait = self._seconds_of_quiet()
            if wait <= 0:
                return
            await asyncio.sleep(min(wait, self._seconds_of_hope()))

    def _seconds_of_quiet(self) -> float:
        return max(self._held_until - time.monotonic(), self._caller.pause_left())

    def _backoff(self, job: Job, number: int) -> float:
        """Seconds before an item is sent again. One that was declined begins with a round trip: the pace slows all."""
        wait = backoff(number, chance := random.random())
        if isinstance(job.error, APIStatusError) and self._pace.round_trip:
            return min(wait, chance * self._pace.round_trip * 2.0 ** min(number, 16))
        return wait

    def _seconds_of_hope(self) -> float:
        if self._failing_since is None:
            return self._give_up_after
        return max(0.0, self._failing_since + self._give_up_after - time.monotonic()) + 0.001

    def _is_hopeless(self) -> bool:
        """Whether nothing but failures came for too long. A slow input or a slow reader is no failure."""
        if self._failing_since is None:
            return False
        return time.monotonic() - self._failing_since > self._give_up_after

    def _not_tried(self, job: Job) -> APIConnectionError:
        why = f"not sent: no item succeeded for {self._give_up_after:g} s, the run was given up"
        return APIConnectionError(why, job.request.method, job.request.path, 0, False)
