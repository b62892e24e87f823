"""Sending one item, until it has an outcome or nobody can know whether it has one.

What was declined or never sent is tried again for as long as anything succeeds; what may have taken effect
is not. Every item shares the pace and the pause that the service asks for.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial

import attrs

from .._endpoints import update
from .._log import bulk_logger as logger
from .._request import Caller, Request
from .._retry import Attempt, Happened, Meaning, backoff, is_declined, meaning_of
from .._tried import Tried
from ..errors import APIConnectionError, APIResponseError, APITimeoutError, JournalError, ValidationError
from ..models import Assistant, AssistantUpdate
from .job import Desk, Job
from .journal import Journal
from .pace import Pace, Sent

FRESH = 1.0
"""Seconds within which a request goes out after its line in the journal, or the line is written once more."""
TIMED_OUT = (408, 504, 524)
"""Statuses of somebody in between who gave up waiting: the service itself may still be at work."""


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
        """Send one item. A run that is being stopped may leave it without an outcome."""
        job.error = None
        if job.made is None:
            try:
                tried = await self._decided(job, job.request, partial(self._send_off, job))
            finally:
                if not job.is_out:
                    self.forget(job)
            self._judge(job, tried)
        if job.made is None:
            return
        if job.rename is None:
            self._desk.created(job, job.made)
        else:
            await self._rename(job, job.made, job.rename)

    def forget(self, job: Job) -> None:
        """Note that an item that was to be sent had no effect, or was not sent at all."""
        if self._journal is not None and job.noted_at > -math.inf:
            with contextlib.suppress(JournalError):  # then it stays "sent", which is safe, and the run ends
                self._journal.unsent(job.index)
        job.noted_at, job.is_out = -math.inf, False

    def _judge(self, job: Job, tried: Tried[Assistant] | None) -> None:
        """Report what became of a create."""
        if tried is None:
            if not self._is_stopping():
                job.error = job.error or self._not_tried(job)
                self._desk.failed(job)
        elif tried.response is not None:
            row = tried.response.parse()
            if not self._desk.was_there(row.id):
                job.made = row
                self._desk.made(job, row)
            else:  # a reply to somebody else's request, or a service that creates only what it does not have
                why = f"the reply names an assistant that was there before it, {row.id}; its own may exist"
                job.error = APIResponseError(why, job.request.method, job.request.path, 1, True)
                self._desk.lost(job, may_be_running=False)
        elif meaning_of(tried.attempt) is Meaning.UNKNOWN:
            given_up = tried.attempt.happened is Happened.LOST or tried.attempt.status in TIMED_OUT
            self._desk.lost(job, may_be_running=given_up)
        else:
            if self._journal is not None:
                self._journal.refused(job.index, tried.attempt.status)
            self._desk.failed(job)

    async def _rename(self, job: Job, made: Assistant, to: AssistantUpdate) -> None:
        """Give an assistant that was made under a marker its name. A change may be sent any number of times."""
        try:
            request = attrs.evolve(
                update(made.id, to, strict=False),
                secrets=job.request.secrets,  # an error may echo what the service has, not only what it is sent
            )
        except ValidationError as odd:  # an id that cannot be part of a path
            job.error = odd
            self._desk.unfinished(job)
            return
        if self._journal is not None:
            # Renamed, it could not be found again: that it was made has to be on the disk first.
            await self._journal.flushed()
        tried = await self._decided(job, request)
        if tried is not None and tried.response is not None:
            if self._journal is not None:
                self._journal.named(job.index)
            self._desk.created(job, tried.response.parse())
        elif tried is not None or not self._is_stopping():
            job.error = job.error or self._not_tried(job)
            self._desk.unfinished(job)

    async def _decided(
        self,
        job: Job,
        request: Request[Assistant],
        send_off: Callable[[], Awaitable[None]] | None = None,
    ) -> Tried[Assistant] | None:
        """The first attempt that decides something; None if the run stops, or if nothing succeeds for too long.

        `send_off` is awaited right before the first byte of a create goes out.
        """
        number = 0
        while not (self._is_stopping() or self._is_hopeless()):
            if self._seconds_of_quiet() > 0:
                await self._wait_for_quiet()
                continue
            turn = self._pace.acquire_now()
            if turn is None:
                turn = await self._pace.acquire()
                # Since we began to wait for our turn, much may have happened.
                if self._is_stopping() or self._is_hopeless() or self._seconds_of_quiet() > 0:
                    self._pace.release(was_sent=False)
                    continue
            number += 1
            try:
                tried = await self._caller.attempt(
                    request,
                    number=number,
                    sent_by=turn.at + self._seconds_of_hope(),
                    about_to_send=send_off,
                )
                if tried.response is not None and not isinstance(tried.response.parse(), Assistant):
                    tried = _made_up(request)
                self._learn(tried, turn)
            finally:
                self._pace.release()
            job.error = tried.error
            if tried.response is not None or meaning_of(tried.attempt) is not Meaning.HARMLESS:
                return tried
            if send_off is not None:
                self.forget(job)
            if self._is_stopping():
                return None
            await self._caller.sleep(min(self._backoff(tried, number), self._seconds_of_hope()))
        return None

    def _learn(self, tried: Tried[Assistant], turn: Sent) -> None:
        """What an attempt says about the service: how much it can take, and whether there is hope."""
        if tried.response is not None:
            self._failing_since = None
            self._pace.succeeded(turn)
            return
        attempt = tried.attempt
        if _is_too_much(tried):
            self._pace.pushed_back(turn, attempt.retry_after or 0.0)
        if meaning_of(attempt) is Meaning.HARMLESS:
            if self._failing_since is None:
                self._failing_since = turn.at
                logger.info("%s; trying again for up to %g s", tried.error, self._give_up_after)
            if is_declined(attempt):
                self._held_until = max(self._held_until, time.monotonic() + (attempt.retry_after or 0.0))

    async def _send_off(self, job: Job) -> None:
        """What has to be done right before the first byte of a create goes out."""
        if self._journal is not None and time.monotonic() - job.noted_at > FRESH:
            # Set before the wait: if that is cancelled, the line has to be taken back.
            job.noted_at = time.monotonic()
            self._journal.sent(job.index, job.item.fingerprint)
            await self._journal.flushed()
        job.is_out = True

    async def _wait_for_quiet(self) -> None:
        while not self._is_hopeless():
            wait = self._seconds_of_quiet()
            if wait <= 0:
                return
            await self._caller.sleep(min(wait, self._seconds_of_hope()))

    def _seconds_of_quiet(self) -> float:
        return max(self._held_until - time.monotonic(), self._caller.pause_left())

    def _backoff(self, tried: Tried[Assistant], number: int) -> float:
        """Seconds before an item is sent again. One that was declined begins with a round trip: the pace slows all."""
        wait = backoff(number, chance := random.random())
        if is_declined(tried.attempt) and self._pace.round_trip:
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


def _made_up(request: Request[Assistant]) -> Tried[Assistant]:
    """What became of an item that was not sent, since a middleware has its own answer to it."""
    why = "not sent: a middleware answered it, and not with an assistant"
    attempt = Attempt(method=request.method, happened=Happened.BARRED)
    return Tried(attempt=attempt, error=APIResponseError(why, request.method, request.path, 0, False))


def _is_too_much(tried: Tried[Assistant]) -> bool:
    """Whether a failure says that more was sent than the service can take."""
    return (
        is_declined(tried.attempt) or tried.attempt.status == 503 or isinstance(tried.error, APITimeoutError)
    )
