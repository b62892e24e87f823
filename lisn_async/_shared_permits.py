"""Permits that the clients of many processes share through Redis, and the pause that holds all of them.

pyrate-limiter runs what decides: `SlidingLog`, one of its algorithms but for two things that many machines need. The
time is that of Redis, read where it decides: whatever clock a client has, and however late it asks, none is let out
too early. And beside the permits stands a key that exists for as long as the service asked for silence. (Its own log
takes the time from the client, and does not count what has a later one: a client that was held up for 50 ms got
permits that the others had used. Its GCRA lets `requests` and a burst of as many out in one window.)

Redis is a courtesy to the service, not a condition of the call: if it does not answer soon, this process goes by its
own window, says so once, and asks again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from math import ceil
from typing import TYPE_CHECKING, Any, NoReturn, cast
from weakref import WeakSet

import attrs

from ._keepers import Keeper, close_all
from ._log import logger
from ._secrets import without_secrets
from .errors import ConfigurationError
from .rate_limit import RateLimit, without_password

try:
    from pyrate_limiter import Decision, Rate, RateItem, RedisStateStore, StateAlgorithm, StateBucket
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as absent:
    raise ConfigurationError(
        f"RateLimit: redis needs the packages redis and pyrate-limiter: pip install 'lisn[redis]' ({absent})"
    ) from None

if TYPE_CHECKING:
    from ._permits import Window

PATIENCE = 0.4
"""Seconds that Redis has to answer."""
STALL = 0.05
"""Seconds by which a timer may be late. Beyond that the loop was kept from its work by somebody else."""
GRUDGE = 5.0
"""Seconds for which it is not asked after it did not."""
SHORT_PAUSE = 0.5
"""Seconds that all wait when the service declines and does not say for how long."""

EXTEND = "if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '', 'PX', ARGV[1]) end"


TAKE = """
local left = redis.call('PTTL', ARGV[7])
if left > 0 then
    return {0, left}
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local most, window = tonumber(ARGV[5]), tonumber(ARGV[6])
if redis.call('LLEN', KEYS[1]) >= most then
    local wait = redis.call('LINDEX', KEYS[1], -1) + window - now
    if wait > 0 and wait <= window then
        return {0, math.ceil(wait / 1000)}
    end
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, most - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {-1, 0}
"""
"""The last permits, the newest first, in microseconds. One of more than a window to come is of a clock that was put
back since: it is not waited for. As pyrate-limiter has it, {-1, 0} is yes, and {0, n} come back in n milliseconds.
"""


class SlidingLog(StateAlgorithm):  # type: ignore[misc, unused-ignore]  # Any, where it is not installed
    """At most so many in any window, and none while there is a pause."""

    def __init__(self, most: int, seconds: float, pause_key: str) -> None:
        self._arguments = [most, ceil(seconds * 1_000_000), pause_key]

    def redis_script(self) -> str:
        return TAKE

    def redis_args(self, rates: list[Rate]) -> list[Any]:
        return self._arguments

    def initial(self, rates: list[Rate]) -> tuple[float, ...]:
        raise NotImplementedError  # as the next: it runs in Redis only

    def step(self, *_: object) -> NoReturn:
        raise NotImplementedError


@attrs.frozen
class Link:
    """The connection of one event loop."""

    redis: Redis
    bucket: StateBucket
    keeper: Keeper


class SharedWindow:
    """The window of all clients with the same key and numbers, beside the one of this process."""

    def __init__(self, limit: RateLimit, window: Window) -> None:
        assert limit.redis is not None
        self._url = limit.redis
        self._window = window
        self._pause_key = f"{{{limit.key}}}:pause"  # braces: a cluster keeps both in one place
        # Others have other numbers, and so another list: a shorter one would not tell what a longer one must know.
        self._permits_key = f"{{{limit.key}}}:permits:{limit.most}/{limit.seconds:g}"
        self._algorithm = SlidingLog(limit.most, limit.seconds, self._pause_key)
        self._lifetime = ceil(limit.seconds * 1000) + 60_000
        self._links: dict[asyncio.AbstractEventLoop, Link] = {}
        self._not_before = 0.0
        self._is_lost = False
        try:
            self._connection()
        except Exception:  # noqa: BLE001 - it may quote any part of the URL
            raise ConfigurationError(
                "RateLimit: redis is a URL with a port, a database or an option that is none"
            ) from None
        _live.add(self)

    async def take(self) -> float:
        """Seconds until a request may be sent; 0.0 if now, and then it counts."""
        if wait := self._window.seconds_until(0):
            return wait  # what this process has sent is enough to know that
        if (shared := await self._asked(self._ask)) is None:
            return self._window.take()
        if not shared:
            self._window.note()
        return shared

    async def hold(self, seconds: float | None) -> None:
        """Have everybody wait so long; None if the service did not say how long."""
        milliseconds = ceil((SHORT_PAUSE if seconds is None else seconds) * 1000)
        if milliseconds > 0:
            await self._asked(self._extend, milliseconds)

    # --- asking Redis -----------------------------------------------------------------------------------

    async def _asked(self, ask: Callable[..., Awaitable[float]], *arguments: object) -> float | None:
        """What Redis says; None if it says nothing, which is told once and not tried again for a while."""
        now = time.monotonic()
        if now < self._not_before:
            return None
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

    async def _ask(self) -> float:
        bucket = (await self._link()).bucket
        decision = await cast("Awaitable[Decision]", bucket.put_decision(RateItem("permit", 0)))
        return 0.0 if decision.allowed else max(1, decision.retry_after_ms or 0) / 1000

    async def _extend(self, milliseconds: int) -> float:
        link = await self._link()
        await link.redis.eval(EXTEND, 1, self._pause_key, milliseconds)
        return 0.0

    # --- connections ------------------------------------------------------------------------------------

    async def _link(self) -> Link:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            redis = self._connection()
            store = RedisStateStore(redis, self._permits_key, self._lifetime)
            rates = [Rate(1, 1)]  # the numbers are the algorithm's
            link = Link(redis, StateBucket(rates, self._algorithm, store), _keep(redis))
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
        return str(without_secrets(text, [given] if given else []))

    def begin_anew(self) -> dict[asyncio.AbstractEventLoop, Link]:
        """In a child; the parent's connections are handed out, to be kept and never touched."""
        inherited, self._links = self._links, {}
        self._not_before = 0.0
        return inherited

    async def aclose(self) -> None:
        """Close the connection of the running loop, and ask every other loop to close its own."""
        links, self._links = self._links, {}
        await close_all({loop: link.keeper for loop, link in links.items()})


async def _keep(redis: Redis) -> Keeper:
    """Primed in a loop, it closes the connection at the latest when the loop ends (`shutdown_asyncgens`)."""
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(PATIENCE):
                await redis.aclose()


_live: WeakSet[SharedWindow] = WeakSet()


def _begin_anew(parked: list[object]) -> None:
    parked.extend([window.begin_anew() for window in list(_live)])


if hasattr(os, "register_at_fork"):
    # As in `_transport`: freeing what the parent uses would disturb it, and the list is never cleared.
    os.register_at_fork(after_in_child=lambda parked=[]: _begin_anew(parked))
