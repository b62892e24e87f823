"""Carrying out a call: attempt, judge, wait, attempt again. The only place that sleeps.

Every decision is made elsewhere: `_retry` says what an attempt means, `_response` what a reply means.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import attrs

from . import errors
from ._config import Settings
from ._headers import NO_HEADERS
from ._limits import is_being_cancelled
from ._log import log_attempt, log_resend, logger
from ._middleware import APIRequest, CallNext, Way, answered, chain, failed, passed_on, with_tracing
from ._passage import Passage, Question
from ._permits import Permits
from ._request import Request
from ._response import Broken, IncompleteList, RawResponse, Reply, status_error
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
from ._tokens import from_the_function
from ._tried import KINDS, Tried, broken, error_of, succeeded, unsent
from ._wire import Unreadable

if TYPE_CHECKING:
    from ._tokens import Bearer, Tokens
    from ._transport import Pool, Transport
    from .rate_limit import RateLimit

T = TypeVar("T")


@attrs.define
class Traffic:
    """What all calls of a client share: the token, the permits to send, the retry budget, and the pause that a server
    asked for.
    """

    tokens: Tokens
    rate_limit: RateLimit | None = None
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    pause: Pause = attrs.field(factory=Pause)
    permits: Permits | None = attrs.field(init=False)

    @permits.default
    def _permits(self) -> Permits | None:
        return None if self.rate_limit is None else Permits(self.rate_limit, self.pause)


class Calls:
    """Carries out requests: the `Caller` that the resources know."""

    def __init__(self, settings: Settings, transport: Transport, traffic: Traffic) -> None:
        self.settings = settings
        self.transport = transport
        self.traffic = traffic
        self._chain = chain(settings.middleware) if settings.middleware else None
        self._may_trace = True

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

    def call(self, request: Request[T]) -> Coroutine[Any, Any, RawResponse[T]]:
        """The result, after as many attempts as are provably safe. Raises `APIError`, and what a middleware raises."""
        ends = self._ends()
        if (through := self._middleware()) is None:
            return self._call(request, ends)
        return through(self._shown(request, partial(self._call, request, ends)))

    async def ask(self, request: Request[T]) -> T:
        """As `call`, but what the service itself said, whatever a middleware makes of it."""
        ends = self._ends()
        if (through := self._middleware()) is None:
            return (await self._call(request, ends)).parse()
        question = Question(partial(self._call, request, ends))
        return await question.go_through(through, self._shown(request, question.carry_out), request)

    def _ends(self) -> float:
        """When the deadline of a call that begins now is over."""
        deadline = self.settings.deadline
        return math.inf if deadline is None else time.monotonic() + deadline

    async def _call(
        self, request: Request[T], ends: float, shown: APIRequest | None = None
    ) -> RawResponse[T]:
        """As `call`, once it has passed through what saw it as `shown`."""
        settings = self.settings
        headers = NO_HEADERS if shown is None else passed_on(shown)
        acted = False
        for number in itertools.count(1):
            tried = await self._attempt(request, headers, number=number, ends=ends, acted=acted)
            if tried.response is not None:
                if shown is not None:
                    answered(shown, tried.response)
                return tried.response
            acted = acted or may_have_acted(tried.attempt)
            wait = wait_before_next(
                tried.attempt,
                resends=number - 1,
                max_retries=settings.max_retries,
                seconds_left=ends - time.monotonic(),
                chance=random.random(),
            )
            # A new token is no storm: it is sent once, and all that were under way with the old one need it.
            if wait is None or not (tried.attempt.token_renewed or self.traffic.budget.take()):
                assert tried.error is not None
                if shown is not None:
                    failed(shown, tried.error)
                try:
                    raise tried.error from tried.cause
                finally:
                    del tried  # else the error keeps itself alive through the frame it was raised in
            log_resend(request, tried.attempt, number, wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def attempt(
        self,
        request: Request[T],
        *,
        number: int = 1,
        sent_by: float = math.inf,
        about_to_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Tried[T]:
        """What became of one single request, the `number`th of its call. Never raises `APIError`.

        `sent_by` is the moment of the monotonic clock by which a pause has to be over. `about_to_send` is awaited
        when nothing is left to wait for, right before the request goes out.

        To a middleware it is a call of its own.
        """
        if (through := self._middleware()) is None:
            return await self._attempt(
                request, NO_HEADERS, number=number, sent_by=sent_by, about_to_send=about_to_send
            )
        send = partial(self._attempt, request, number=number, sent_by=sent_by)
        passage = Passage(send, about_to_send)
        return await passage.go_through(through, self._shown(request, passage.carry_out, number), request)

    def _middleware(self) -> CallNext | None:
        """What a call passes through. Our own tracing joins it once something has loaded OpenTelemetry."""
        if self._may_trace and "opentelemetry.trace" in sys.modules:
            self._may_trace = False
            self._chain = chain(given) if (given := with_tracing(self.settings.middleware)) else None
        return self._chain

    def _shown(
        self,
        request: Request[T],
        carry_out: Callable[[APIRequest], Coroutine[Any, Any, RawResponse[T]]],
        number: int = 1,
    ) -> APIRequest:
        url = self.transport.url(request)
        return APIRequest(
            operation=request.operation,
            method=request.method,
            url=url,
            url_template=request.template,
            attempt=number,
            way=Way(carry_out, url),
        )

    async def _attempt(
        self,
        request: Request[T],
        headers: Mapping[str, str],
        *,
        number: int,
        ends: float = math.inf,
        sent_by: float = math.inf,
        acted: bool = False,
        about_to_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Tried[T]:
        """As `attempt`, with the headers of a middleware. By `ends` it has to be over.

        `acted` says whether an earlier attempt may have taken effect.
        """
        is_logged = logger.isEnabledFor(logging.DEBUG)
        began = time.monotonic() if is_logged else 0.0
        try:
            what, bearer = await self._send(request, headers, ends, sent_by, about_to_send)
        except errors.ConfigurationError as not_sent:  # closed, or no token
            if not acted:
                raise
            # what an earlier attempt may have done is not forgotten
            what, bearer = unsent("connection", str(not_sent)), None
        if isinstance(what, Reply):
            assert bearer is not None
            tried = await self._judge_reply(request, what, bearer, number, acted=acted)
        else:
            tried = broken(request, self.transport.url(request), number, what, acted=acted)
        if is_logged:
            log_attempt(request, tried.attempt, number, time.monotonic() - began)
        return tried

    async def aclose(self) -> None:
        """Close the connections, and refuse requests from now on."""
        await self.transport.aclose()
        await self._rest_permits()

    async def rest(self) -> None:
        """Close the connections; whoever calls later gets others."""
        await self.transport.rest()
        await self._rest_permits()

    async def _rest_permits(self) -> None:
        if self.traffic.permits is not None:
            await self.traffic.permits.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a client cannot be pickled or deep-copied: it holds the API token and open connections; every process"
            " makes its own, best when the module is imported, and is passed specs and ids"
        )

    async def sleep(self, seconds: float) -> None:
        """Sleep. Raises `ConfigurationError` at once when the client is closed."""
        await self.transport.sleep(seconds)

    def pause_left(self) -> float:
        """Seconds for which the service asked this client to be silent."""
        return self.traffic.pause.seconds_left(time.monotonic())

    async def _send(
        self,
        request: Request[Any],
        headers: Mapping[str, str],
        ends: float,
        sent_by: float,
        about_to_send: Callable[[], Awaitable[None]] | None,
    ) -> tuple[Reply | Broken, Bearer | None]:
        """Wait for a free slot, for the end of a pause, for the token and for a permit, in this order, then send.

        What came of it, and the token it was sent with. Raises `ConfigurationError`, and then nothing was sent.
        """
        pool = await self.transport.acquire(ends)
        if pool is None:
            return unsent("timeout", "no free connection before the deadline"), None
        try:
            while wait := self.pause_left():
                if time.monotonic() + wait >= min(ends, sent_by):
                    why = f"the service asks for a pause of {wait:.1f} s, which is too long"
                    return unsent("timeout", why, wait if ends <= sent_by else None), None
                await asyncio.sleep(wait)
            bearer = self.traffic.tokens.now or await self._new_token(pool, ends)
            if isinstance(bearer, Broken):
                return bearer, None
            if self.traffic.permits is not None:
                permits = self.traffic.permits
                by = min(ends, sent_by)
                if (too_long := await permits.take(pool.queue, by, self.transport.sleep)) is not None:
                    why = permits.why(too_long)
                    return unsent("timeout", why, too_long if ends <= sent_by else None), None
                if self.traffic.tokens.now is not bearer:  # refused, while this one waited
                    bearer = self.traffic.tokens.now or await self._new_token(pool, ends)
                    if isinstance(bearer, Broken):
                        return bearer, None
            if about_to_send is not None:
                await about_to_send()
            seconds = self.settings.timeout
            if ends != math.inf:
                seconds = min(seconds, ends - time.monotonic())
                if seconds <= 0:
                    return unsent("timeout", "the deadline has passed"), None
            lines = bearer.lines.and_also(headers) if headers else bearer.lines
            return await self.transport.exchange(pool, request, lines, seconds), bearer
        finally:
            pool.slots.release()

    async def _new_token(self, pool: Pool, ends: float) -> Bearer | Broken:
        """The token that the function gives, or what it did instead. Raises `ConfigurationError` if that is none."""
        seconds = min(self.settings.timeout, ends - time.monotonic())
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self.traffic.tokens.get(pool.asking)
        except errors.ConfigurationError:
            raise
        except (Exception, asyncio.CancelledError) as error:  # so does the function
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            if limit.expired():
                return unsent("timeout", f"the function api_token took longer than {seconds:.3g} s")
            why = f"nothing was sent: the function api_token raised {type(error).__name__}"
            cause = error.with_traceback(from_the_function(error.__traceback__))
            return Broken(happened=Happened.UNSENT, kind="connection", why=why, cause=cause)

    async def _judge_reply(
        self, request: Request[T], reply: Reply, bearer: Bearer, number: int, *, acted: bool
    ) -> Tried[T]:
        if 200 <= reply.status < 300:
            attempt = succeeded(request.method, reply.status)
        else:
            attempt = Attempt(
                method=request.method,
                happened=Happened.REPLIED,
                status=reply.status,
                retry_after=reply.retry_after,
                token_renewed=reply.status == 401 and self.traffic.tokens.refused(bearer),
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
                bearer.is_trusted = True
                response = RawResponse(
                    status_code=reply.status,
                    headers=reply.headers,
                    attempts=number,
                    result=cast("T", result),
                )
                return Tried(attempt=attempt, response=response)
        except IncompleteList as more:
            why = f"the reply is not the whole list: {more}"
            url = self.transport.url(request)
            error = error_of(errors.IncompleteListError, request, url, why, number, unknown=False)
            error.partial = more.partial
            return Tried(attempt=attempt, error=error)
        except Unreadable as unreadable:
            attempt = attrs.evolve(attempt, readable=False)
            kind = errors.APIResponseError if reply.broken is None else KINDS[reply.broken.kind]
            why = str(unreadable) if reply.broken is None else reply.broken.why
            unknown = acted or may_have_acted(attempt)
            url = self.transport.url(request)
            error = error_of(kind, request, url, f"{reply.status}, but {why}", number, unknown=unknown)
        else:
            if is_declined(attempt):
                await self._pause(attempt)
            unknown = acted or may_have_acted(attempt)
            secrets = (bearer.token, *request.secrets)
            url = self.transport.url(request)
            error = status_error(request, url, reply, secrets, number, unknown=unknown)
        return Tried(attempt=attempt, error=error, cause=reply.broken.cause if reply.broken else None)

    async def _pause(self, attempt: Attempt) -> None:
        """Hold back every call of this client, and of those it shares a rate limit with, for as long as the service
        asked.
        """
        seconds = attempt.retry_after
        if seconds is not None and seconds > LONGEST_WAIT:
            return
        if seconds is not None:
            self.traffic.pause.extend(time.monotonic() + seconds)
        if self.traffic.permits is not None:
            await self.traffic.permits.declined(seconds)
