"""Permits that the clients of many processes share through Redis, and the pause that holds all of them.

One question is for all that wait in a loop then, and is sent ahead of the moment when there will be room, by the time
that the way there and back takes. So a Redis that is far away makes requests late, but not fewer. What the answer gives
is for now: those who wait take it at once, in their order, and what they leave is void soon after. The question belongs
to nobody: whoever is cancelled while it is under way leaves the answer to the next.

Redis is a courtesy to the service, not a condition of the call: if it does not answer soon, this process goes by its
own window, says so once, and asks again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from math import ceil
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import attrs
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ._keepers import Keeper, close_all
from ._limits import is_being_cancelled
from ._log import logger
from ._permits import Wait
from ._secrets import without_secrets
from ._sliding_log import Log
from .errors import ConfigurationError
from .rate_limit import RateLimit, without_password

if TYPE_CHECKING:
    from ._permits import Queue, Window
    from ._retry import Pause

PATIENCE = 1.0
"""Seconds that Redis has to answer, first of all to be connected to: 200 ms away that takes half of it."""
FRESH = 0.5
"""Seconds for which permits are good that came for those who wait, and by which the answer may be late. Redis counts
them from when it gave them: a loop that stood still would send them all while others send theirs."""
MOST_AT_ONCE = 200
"""More could not be sent before they are void."""
STALL = 0.05
"""Seconds by which a timer may be late. Beyond that the loop was kept from its work by somebody else."""
GRUDGE = 5.0
"""Seconds for which it is not asked after it did not."""
TOO_SOON = 0.001
"""Seconds by which a timer may ring too soon: uvloop's do."""
SHORT_PAUSE = 0.5
"""Seconds that all wait when the service declines and does not say for how long."""


@attrs.define
class Link:
    """The connection of one event loop, and what was said through it."""

    redis: Redis
    log: Log
    keeper: Keeper
    questions: set[asyncio.Task[float | None]]
    """The one that waits for its answer, if there is one."""
    is_closed: bool = False
    """Those who still wait in its loop open no other."""
    left: int = 0
    """Permits that were given to those who wait in this loop, and that none of them has taken yet."""
    stale_at: float = 0.0
    """When they are no longer what Redis counted: a moment of the monotonic clock, as the next."""
    opens_at: float = 0.0
    """Before that there is no room for another."""
    round_trips: deque[float] = attrs.field(factory=lambda: deque(maxlen=16))

    @property
    def lead(self) -> float:
        """Seconds by which a question may be sent ahead, and be there no sooner than it is of use.

        The way there and back, both of them: what an answer says of the time was so when it left.
        """
        return max(0.0, min(self.round_trips) - TOO_SOON) if self.round_trips else 0.0


class SharedWindow:
    """The window of all clients with the same key and numbers, beside the one of this process."""

    def __init__(self, limit: RateLimit, window: Window, pause: Pause) -> None:
        assert limit.redis is not None
        self._url = limit.redis
        self._limit = limit
        self._window = window
        self._pause = pause
        self._links: dict[asyncio.AbstractEventLoop, Link] = {}
        self._not_before = 0.0
        self._is_lost = False
        try:
            pool: Any = self._connection().connection_pool
            pool.make_connection()  # which knows what options there are, and opens nothing
        except Exception:  # noqa: BLE001 - it may quote any part of the URL
            raise ConfigurationError(
                "RateLimit: redis must be a URL with options that the package redis knows"
            ) from None
        _live.add(self)

    async def take(self, queue: Queue) -> Wait | None:
        """None if the first of a queue may be sent, and then it counts."""
        if queue.link is None:
            queue.link = await self._link()
        link = queue.link
        while not link.is_closed:
            if link.left and time.monotonic() < link.stale_at:
                break
            wait = max(link.opens_at - time.monotonic(), self._window.seconds_until(0))
            if wait > link.lead and not self._is_shunned():
                return Wait(wait, wait - link.lead)
            if (pause := await self._answer(link, min(queue.waiting, MOST_AT_ONCE))) is None:
                link.left, link.opens_at = 0, 0.0
                break
            if pause:
                self._pause.extend(time.monotonic() + pause)
                return Wait(pause, pause)
        # Also where Redis let it out: it may have forgotten what was sent, or have answered sooner than the last time.
        if wait := self._window.take(queue):
            return Wait(wait, wait)
        link.left = max(0, link.left - 1)
        return None

    async def hold(self, seconds: float | None) -> None:
        """Have everybody wait so long; None if the service did not say how long."""
        milliseconds = ceil((SHORT_PAUSE if seconds is None else seconds) * 1000)
        if milliseconds > 0:
            await self._asked(self._extend, milliseconds)

    async def _answer(self, link: Link, wanted: int) -> float | None:
        """As `_ask`; None if Redis says nothing. Whoever asked and was cancelled leaves the answer to the next one."""
        question = next(iter(link.questions), None)
        if question is None:
            question = asyncio.create_task(self._asked(self._ask, link, wanted))
            link.questions.add(question)
            question.add_done_callback(link.questions.discard)
        try:
            return await asyncio.shield(question)
        except asyncio.CancelledError:
            if question.cancelled() and not is_being_cancelled():
                return None  # the client is being closed, which whoever asks is told where it sends
            raise

    def _is_shunned(self) -> bool:
        return time.monotonic() < self._not_before

    # --- asking Redis -----------------------------------------------------------------------------------

    async def _asked(self, ask: Callable[..., Awaitable[float]], *arguments: object) -> float | None:
        """What Redis says; None if it says nothing, which is told once and not tried again for a while."""
        if self._is_shunned():
            return None
        now = time.monotonic()
        if self._is_lost:
            self._not_before = now + GRUDGE  # one asks for all
        try:
            try:
                async with asyncio.timeout(PATIENCE):
                    answer = await ask(*arguments)
            except TimeoutError:
                if time.monotonic() - now < PATIENCE + STALL:
                    raise
                async with asyncio.timeout(PATIENCE):  # it was this loop that stood still
                    answer = await ask(*arguments)
        except Exception as error:  # noqa: BLE001 - none of it may reach a caller who wants to talk to Lisn
            self._not_before = time.monotonic() + GRUDGE
            if not self._is_lost:
                self._is_lost = True
                logger.warning(
                    "the rate limit is not shared: Redis at %s fails (%s); each process keeps to it by itself",
                    without_password(self._url),
                    self._shown(error),
                )
            return None
        if self._is_lost:
            self._is_lost, self._not_before = False, 0.0
            logger.info("the rate limit is shared again: Redis at %s answers", without_password(self._url))
        return answer

    async def _ask(self, link: Link, wanted: int) -> float:
        """The seconds of a pause; if there is none, `link` has what Redis says."""
        asked_at = time.monotonic()
        link.left = 0
        answer = await link.log.take(wanted)
        now = time.monotonic()
        link.round_trips.append(now - asked_at)
        if answer.is_pause:
            return answer.seconds
        link.left = answer.permits
        if now - asked_at > min(link.round_trips) + FRESH:
            link.left = min(link.left, 1)  # for whoever asked, so that it goes on all the same
        link.stale_at, link.opens_at = now + FRESH, now + answer.seconds
        return 0.0

    async def _extend(self, milliseconds: int) -> float:
        link = await self._link()
        await link.log.pause(milliseconds)
        return 0.0

    # --- connections ------------------------------------------------------------------------------------

    async def _link(self) -> Link:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            redis = self._connection()
            questions: set[asyncio.Task[float | None]] = set()
            link = Link(redis, Log(redis, self._limit), _keep(redis, questions), questions)
            await anext(link.keeper)  # does not suspend: no second one can be made meanwhile
            for ended in [other for other in list(self._links) if other.is_closed()]:
                self._links.pop(ended, None)  # closed with its loop
            self._links[loop] = link
        return link

    def _connection(self) -> Redis:
        """Opens nothing yet. A connection that the server has closed meanwhile is opened again at once, one time."""
        return Redis.from_url(
            self._url,
            protocol=2,
            retry=Retry(NoBackoff(), 1),
        )

    def _shown(self, error: Exception) -> str:
        given = self._connection().connection_pool.connection_kwargs.get("password") or ""
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if "unauthenticated" in text:  # it says that of the length of a command
            text = "it wants a password"
        return str(without_secrets(text, [given] if given else []))

    def begin_anew(self) -> dict[asyncio.AbstractEventLoop, Link]:
        """In a child; the parent's connections are handed out, to be kept and never touched."""
        inherited, self._links = self._links, {}
        self._not_before = 0.0
        return inherited

    async def aclose(self) -> None:
        """Close the connection of the running loop, and ask every other loop to close its own."""
        links, self._links = self._links, {}
        for link in links.values():
            link.is_closed = True
        await close_all({loop: link.keeper for loop, link in links.items()})


async def _keep(redis: Redis, questions: Collection[asyncio.Task[float | None]]) -> Keeper:
    """Primed in a loop, it closes the connection at the latest when the loop ends (`shutdown_asyncgens`)."""
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(PATIENCE):
                for question in (asked := list(questions)):
                    question.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
                await redis.aclose()


_live: WeakSet[SharedWindow] = WeakSet()


def _begin_anew(parked: list[object]) -> None:
    parked.extend([window.begin_anew() for window in list(_live)])


if hasattr(os, "register_at_fork"):
    # As in `_transport`: freeing what the parent uses would disturb it, and the list is never cleared.
    os.register_at_fork(after_in_child=lambda parked=[]: _begin_anew(parked))
