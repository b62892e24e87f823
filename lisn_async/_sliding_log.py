"""What Redis is asked: a sliding log of the permits that it gave, kept by a script that pyrate-limiter runs.

It is one of pyrate-limiter's algorithms but for two things that many machines need. The time is that of Redis, read
where it decides: whatever clock a client has, and however late it asks, none is let out too early. And beside the
permits stands a key that exists for as long as the service asked for silence. (Its own log takes the time from the
client, and does not count what has a later one: a client that was held up for 50 ms got permits that the others had
used. Its GCRA lets `requests` and a burst of as many out in one window.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast
from uuid import uuid4

import attrs
from pyrate_limiter import Decision, Rate, RateItem, RedisStateStore, StateAlgorithm, StateBucket

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from .rate_limit import RateLimit

EXTEND = "if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '', 'PX', ARGV[1]) end"

TAKE = """
local permits, waiting = KEYS[1], KEYS[2]
local wanted, whoever_asks, shift = tonumber(ARGV[2]), ARGV[5], tonumber(ARGV[6])
local pause = redis.call('PTTL', KEYS[3])
if pause > 0 then
    return {1, pause * 1000}
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local given, wait, longest = wanted, 0, 0
for i = 7, #ARGV, 2 do
    local most, window = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
    local up_to = math.min(wanted, most)
    local last = redis.call('LRANGE', permits, most - up_to, most - 1)
    local room, next_in = up_to - #last, 0
    for place = #last, 1, -1 do
        local left = last[place] + window - now
        if left > 0 and left <= window then
            next_in = left
            break
        end
        room = room + 1
    end
    if room < given then
        given, wait = room, next_in
    elseif room == given then
        wait = math.max(wait, next_in)
    end
    longest = math.max(longest, most)
end
redis.call('ZREM', waiting, whoever_asks)
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', now)
local share = math.ceil(given / (redis.call('ZCARD', waiting) + 1))
if share < given then
    given, wait = share, 5000
end
if given == 0 then
    redis.call('ZADD', waiting, string.format('%.0f', now + wait + 500000), whoever_asks)
    redis.call('PEXPIRE', waiting, ARGV[3])
else
    local stamp = string.format('%.0f', now)
    for _ = 1, given do
        redis.call('LPUSH', permits, stamp)
    end
    redis.call('LTRIM', permits, 0, longest - 1)
    redis.call('PEXPIRE', permits, ARGV[3])
end
return {0, given * shift + math.min(wait, shift - 1)}
"""
"""The last permits, the newest first, in microseconds. As many are given as there is room for, up to `wanted`: then the
one that has to leave the window first is by so much a newer one. One of more than a window to come is of a clock that
was put back since: it is not waited for.

Where others were told to wait, and will ask half a second after that at the latest, whoever asks gets its share of the
room and may ask for more 5 ms later, when they had their chance: the one that is nearest would leave them nothing.

The reply is one of pyrate-limiter's, {index of a rate, n}: of `WINDOW`, and n is `SHIFT` times how many are given and
the microseconds until there is room for more, if that is known; or of `PAUSE`, and n is how long that will be.
"""
SHIFT = 10**10
"""Hours, in microseconds: who has to wait longer asks again then. A number of Lua holds it 900,000 times."""
WINDOW, PAUSE = Rate(1, 1), Rate(2, 2)
"""What an answer is about. Their numbers mean nothing: those of the limit go straight to the script."""


class _SlidingLog(StateAlgorithm):  # type: ignore[misc, unused-ignore]  # Any, where it is not installed
    """At most so many in any window, and none while there is a pause."""

    def __init__(self, limit: RateLimit) -> None:
        self._arguments: list[Any] = [uuid4().hex, SHIFT]  # the first is a name of whoever asks
        for most, seconds in limit.rates:
            self._arguments += [most, ceil(seconds * 1_000_000)]

    def redis_script(self) -> str:
        return TAKE

    def redis_args(self, rates: list[Rate]) -> list[Any]:
        return self._arguments

    def initial(self, rates: list[Rate]) -> tuple[float, ...]:
        raise NotImplementedError  # as the next: it runs in Redis only

    def step(self, *_: object) -> NoReturn:
        raise NotImplementedError


class Answer(NamedTuple):
    """What Redis says to whoever wants to send."""

    permits: int
    """As many may be sent now."""
    seconds: float
    """Until it is worth asking for more, as far as that is known."""
    is_pause: bool
    """Whether that is because the service asked for one."""


class Log:
    """The permits and the pause of all who share a key, as Redis keeps them."""

    def __init__(self, redis: Redis, limit: RateLimit) -> None:
        self._redis = redis
        # Others have other numbers, and so another list: a shorter one would not tell what a longer one must know.
        numbers = "+".join(f"{most}/{seconds:.12g}" for most, seconds in limit.rates)
        key = f"{{{limit.key}}}"  # braces: a cluster keeps all of them in one place
        self._pause_key = f"{key}:pause"
        speaker = _Speaker(redis, (f"{key}:waiting:{numbers}", self._pause_key))
        lifetime = ceil(max(seconds for _, seconds in limit.rates) * 1000) + 60_000
        store = RedisStateStore(cast("Redis", speaker), f"{key}:permits:{numbers}", lifetime)
        self._bucket = StateBucket([WINDOW, PAUSE], _SlidingLog(limit), store)

    async def take(self, wanted: int) -> Answer:
        """Permits for so many, or fewer."""
        decision = await cast("Awaitable[Decision]", self._bucket.put_decision(RateItem("permit", 0, wanted)))
        number = decision.retry_after_ms or 0
        if decision.failing_rate is PAUSE:
            return Answer(0, number / 1_000_000, True)
        permits, microseconds = divmod(number, SHIFT)
        return Answer(permits, microseconds / 1_000_000, False)

    async def pause(self, milliseconds: int) -> None:
        """Let nobody send for so long; a longer pause stays."""
        await self._redis.eval(EXTEND, 1, self._pause_key, milliseconds)


@attrs.frozen
class _Speaker:
    """What pyrate-limiter's store takes for Redis. The script goes with every question: one that asks for it by its
    hash, and is told that there is none, needs three answers, and far from here, or after a restart, that is long.
    """

    redis: Redis
    keys: tuple[str, ...]
    """That the script needs besides."""

    def register_script(self, script: str) -> Callable[..., Awaitable[Any]]:
        async def run(keys: list[str], args: list[Any], client: object) -> Any:
            every = (*keys, *self.keys)
            return await self.redis.eval(script, len(every), *every, *args)

        return run
