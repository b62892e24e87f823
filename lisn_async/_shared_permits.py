"""Permits that the clients of many processes share through Redis, and the pause that holds all of them.

The window is pyrate-limiter's: a sorted set with a line for each permit of late, asked and written by one script, so
that no two clients get the same one. Two things are added to it. It is asked at the time that Redis has, whatever
the clocks of the machines say. And beside it stands a key that exists for as long as the service asked for silence.

Redis is a courtesy to the service, not a condition of the call: if it does not answer soon, this process goes by its
own window, says so once, and asks again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from math import ceil, inf
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

import attrs

from ._log import logger
from ._secrets import without_secrets
from .errors import ConfigurationError
from .rate_limit import RateLimit, without_password

try:
    from pyrate_limiter import Decision, Rate, RateItem, RedisBucket
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError
except ImportError as absent:
    raise ConfigurationError(
        f"RateLimit: redis needs the packages redis and pyrate-limiter: pip install 'lisn[redis]' ({absent})"
    ) from None

if TYPE_CHECKING:
    from ._permits import Window
    from ._retry import Pause

PATIENCE = 0.4
"""Seconds that Redis has to answer."""
GRUDGE = 5.0
"""Seconds for which it is not asked after it did not."""
TIDY = 5.0
"""Seconds between two looks at its clock, and two clearings of what has left the window, at least."""
PRECISE = 0.01
"""Seconds within which an answer about the time is good enough."""
SHORT_PAUSE = 0.5
"""Seconds that all wait when the service declines and does not say for how long."""

EXTEND = "if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '', 'PX', ARGV[1]) end"


@attrs.define
class Link:
    """The connection of one event loop."""

    redis: Redis
    keeper: AsyncGenerator[None, None]
    bucket: RedisBucket | None = None
    ahead: float = 0.0
    """Milliseconds by which the clock of Redis is ahead of our monotonic one."""
    is_tidy_until: float = 0.0

    def now(self) -> int:
        """Milliseconds, as Redis has them."""
        return int(time.monotonic() * 1000 + self.ahead)


class SharedWindow:
    """The window of all clients with the same key and numbers, beside the one of this process."""

    def __init__(self, limit: RateLimit, window: Window, pause: Pause) -> None:
        assert limit.redis is not None
        self._url = limit.redis
        self._window = window
        self._pause = pause
        self._rate = Rate(limit.most, ceil(limit.seconds * 1000))
        # Other numbers have other permits: a window that is shorter would clear away what a longer one must know.
        self._permits_key = f"{limit.key}:permits:{self._rate.limit}/{self._rate.interval}"
        self._pause_key = f"{limit.key}:pause"
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
            async with asyncio.timeout(PATIENCE):
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
        link = await self._link()
        if (left := await link.redis.pttl(self._pause_key)) > 0:
            self._pause.extend(
                time.monotonic() + left / 1000
            )  # for those who ask how long it takes, and do not queue
            return float(left / 1000)
        try:
            return await self._put(link)
        except NoScriptError:  # Redis was started anew
            link.bucket = None
            return await self._put(link)

    async def _put(self, link: Link) -> float:
        is_tidy = link.bucket is not None and time.monotonic() < link.is_tidy_until
        if not is_tidy:
            await self._learn_the_time(link)
        if link.bucket is None:
            link.bucket = await RedisBucket.init([self._rate], link.redis, self._permits_key)
        decision = await cast("Awaitable[Decision]", link.bucket.put_decision(RateItem("permit", link.now())))
        if not is_tidy:
            await self._tidy(link, link.bucket)
        if decision.allowed:
            return 0.0
        # A permit may be of a time that is yet to come, if the clock of Redis was put back: it is not waited for.
        return min(max(decision.retry_after_ms or 0, 1), self._rate.interval + 1) / 1000

    async def _learn_the_time(self, link: Link) -> None:
        """Ask for the time of Redis: again if that took long, for it is right within half of what it took."""
        least = inf
        for _ in range(3):
            began = time.monotonic()
            seconds, microseconds = await link.redis.time()
            took = time.monotonic() - began
            if took < least:
                least, link.ahead = took, (seconds - began - took / 2) * 1000 + microseconds / 1000
            if took < PRECISE:
                break

    async def _tidy(self, link: Link, bucket: RedisBucket) -> None:
        """Clear what has left the window, and have all of it vanish some time after the last client."""
        await cast("Awaitable[int]", bucket.leak(link.now()))
        await link.redis.pexpire(self._permits_key, 2 * self._rate.interval + int(3000 * TIDY))
        link.is_tidy_until = time.monotonic() + TIDY

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
            link = Link(redis, _keep(redis))
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
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
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
        for loop, link in links.items():
            if loop is asyncio.get_running_loop():
                await link.keeper.aclose()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_start_closing, loop, link.keeper)


def _start_closing(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None, None]) -> None:
    loop.create_task(keeper.aclose())


async def _keep(redis: Redis) -> AsyncGenerator[None, None]:
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
