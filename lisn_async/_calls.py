"""Carrying out a call: attempt, judge, wait, attempt again. The only place that sleeps.

Every decision is made elsewhere: `_retry` says what an attempt means, `_response` what a reply means.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs

from . import errors
from ._config import Settings
from ._log import log_attempt, logger
from ._request import Request
from ._response import Broken, IncompleteList, Kind, RawResponse, Reply, hint, status_error
from ._retry import (
    LONGEST_WAIT,
    Attempt,
    Happened,
    Meaning,
    Pause,
    RetryBudget,
    is_declined,
    may_have_acted,
    meaning_of,
    wait_before_next,
)
from ._wire import Unreadable

if TYPE_CHECKING:
    from ._transport import Transport

T = TypeVar("T")

E = TypeVar("E", bound=errors.APIError)

_KINDS: Mapping[Kind, type[errors.APIError]] = {
    "connection": errors.APIConnectionError,
    "timeout": errors.APITimeoutError,
    "response": errors.APIResponseError,
}


@attrs.define(kw_only=True)
class Tried(Generic[T]):
    """One attempt and what it means: a result, or an error."""

    attempt: Attempt
    response: RawResponse[T] | None = None
    error: errors.APIError | None = None
    cause: BaseException | None = attrs.field(default=None, repr=False)


@attrs.define
class Traffic:
    """What all calls of a client share: the retry budget and the pause that a server asked for."""

    budget: RetryBudget = attrs.field(factory=RetryBudget)
    pause: Pause = attrs.field(factory=Pause)


class Calls:
    """Carries out requests: the `Caller` that the resources know."""

    def __init__(self, settings: Settings, transport: Transport, traffic: Traffic) -> None:
        self.settings = settings
        self.transport = transport
        self.traffic = traffic

    @property
    def strict(self) -> bool:
        """Whether undocumented types and providers are refused."""
        return self.settings.strict

    @property
    def base_url(self) -> str:
        """The API that is called."""
        return self.settings.base_url

    @property
    def timeout(self) -> float:
        """Seconds that one attempt may take."""
        return self.settings.timeout

    async def call(self, request: Request[T]) -> RawResponse[T]:
        """The result, after as many attempts as are provably safe. Raises `APIError`."""
        settings = self.settings
        ends = math.inf if settings.deadline is None else time.monotonic() + settings.deadline
        acted = False
        for number in itertools.count(1):
            tried = await self.attempt(request, number=number, ends=ends, acted=acted)
            if tried.response is not None:
                return tried.response
            acted = acted or may_have_acted(tried.attempt)
            wait = wait_before_next(
                tried.attempt,
                resends=number - 1,
                max_retries=settings.max_retries,
                seconds_left=ends - time.monotonic(),
                chance=random.random(),
            )
            if wait is None or not self.traffic.budget.take():
                assert tried.error is not None
                try:
                    raise tried.error from tried.cause
                finally:
                    del tried  # else the error keeps itself alive through the frame it was raised in
            logger.info("%s %s: sent again in %.2f s", request.method, request.template, wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def attempt(
        self,
        request: Request[T],
        *,
        number: int = 1,
        ends: float = math.inf,
        sent_by: float = math.inf,
        acted: bool = False,
        about_to_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Tried[T]:
        """What became of one single request, the `number`th of its call. Never raises `APIError`.

        `ends` and `sent_by` are moments of the monotonic clock: by the one it has to be over, by the
        other a pause has to be. `acted` says whether an earlier attempt may have taken effect.
        `about_to_send` is awaited when nothing is left to wait for, right before the request goes out.
        """
        is_logged = logger.isEnabledFor(logging.DEBUG)
        began = time.monotonic() if is_logged else 0.0
        what = await self._send(request, ends, sent_by, about_to_send, acted)
        if isinstance(what, Reply):
            tried = await self._judge_reply(request, what, number, acted=acted)
        else:
            tried = self._judge_broken(request, what, number, acted=acted)
        if is_logged:
            log_attempt(request, tried.attempt, number, time.monotonic() - began)
        return tried

    def pause_left(self) -> float:
        """Seconds for which the service asked this client to be silent."""
        return self.traffic.pause.seconds_left(time.monotonic())

    async def _send(
        self,
        request: Request[Any],
        ends: float,
        sent_by: float,
        about_to_send: Callable[[], Awaitable[None]] | None,
        acted: bool,
    ) -> Reply | Broken:
        """Wait for a free slot and for the end of a pause, in this order, then send."""
        try:
            pool = await self.transport.acquire(ends)
        except errors.ConfigurationError as closed:
            if not acted:
                raise
            return _unsent(
                "connection", str(closed)
            )  # what an earlier attempt may have done is not forgotten
        if pool is None:
            return _unsent("timeout", "no free connection before the deadline")
        try:
            while wait := self.pause_left():
                if time.monotonic() + wait >= min(ends, sent_by):
                    return _unsent(
                        "timeout", f"the service asks for a pause of {wait:.1f} s, which is too long"
                    )
                await asyncio.sleep(wait)
            if about_to_send is not None:
                await about_to_send()
            seconds = self.settings.timeout
            if ends != math.inf:
                seconds = min(seconds, ends - time.monotonic())
                if seconds <= 0:
                    return _unsent("timeout", "the deadline has passed")
            return await self.transport.exchange(pool, request, seconds)
        finally:
            pool.slots.release()

    def _judge_broken(self, request: Request[T], what: Broken, number: int, *, acted: bool) -> Tried[T]:
        attempt = Attempt(method=request.method, happened=what.happened, acted_before=acted)
        unknown = acted or may_have_acted(attempt)
        error = self._error(_KINDS[what.kind], request, what.why, number, unknown=unknown)
        return Tried(attempt=attempt, error=error, cause=what.cause)

    async def _judge_reply(self, request: Request[T], reply: Reply, number: int, *, acted: bool) -> Tried[T]:
        if 200 <= reply.status < 300:
            attempt = _succeeded(request.method, reply.status)
        else:
            attempt = Attempt(
                method=request.method,
                happened=Happened.REPLIED,
                status=reply.status,
                retry_after=reply.retry_after,
                acted_before=acted,
            )
        error: errors.APIError
        try:
            if reply.status < 200:
                raise Unreadable("that is no final status")
            if meaning_of(attempt) is Meaning.DONE:
                result = request.read(reply)
                if isinstance(result, CoroutineType):
                    result = await result
                self.traffic.budget.refill()
                response = RawResponse(
                    status_code=reply.status,
                    headers=reply.headers,
                    attempts=number,
                    result=cast("T", result),
                )
                return Tried(attempt=attempt, response=response)
        except IncompleteList as more:
            why = f"the reply is not the whole list: {more}"
            error = self._error(errors.IncompleteListError, request, why, number, unknown=False)
            error.partial = more.partial
            return Tried(attempt=attempt, error=error)
        except Unreadable as unreadable:
            attempt = attrs.evolve(attempt, readable=False)
            kind = errors.APIResponseError if reply.broken is None else _KINDS[reply.broken.kind]
            why = str(unreadable) if reply.broken is None else reply.broken.why
            unknown = acted or may_have_acted(attempt)
            error = self._error(kind, request, f"{reply.status}, but {why}", number, unknown=unknown)
        else:
            if is_declined(attempt):
                self._pause(attempt)
            unknown = acted or may_have_acted(attempt)
            secrets = (self.settings.token, *request.secrets)
            error = status_error(
                request, self.transport.url(request), reply, secrets, number, unknown=unknown
            )
        return Tried(attempt=attempt, error=error, cause=reply.broken.cause if reply.broken else None)

    def _pause(self, attempt: Attempt) -> None:
        """Hold back every call of this client for as long as the service asked."""
        if attempt.retry_after is not None and attempt.retry_after <= LONGEST_WAIT:
            self.traffic.pause.extend(time.monotonic() + attempt.retry_after)

    def _error(self, kind: type[E], request: Request[Any], why: str, attempts: int, *, unknown: bool) -> E:
        url = self.transport.url(request)
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        message = f"{request.method} {url} failed{tries}: {why}{hint(unknown=unknown)}"
        return kind(message, request.method, url, attempts, unknown)


@lru_cache(maxsize=64)
def _succeeded(method: str, status: int) -> Attempt:
    """What is known after a 2xx. Nearly all attempts end so, and nobody changes one: they share it."""
    return Attempt(method=method, happened=Happened.REPLIED, status=status)


def _unsent(kind: Kind, why: str) -> Broken:
    return Broken(happened=Happened.UNSENT, kind=kind, why=why)
