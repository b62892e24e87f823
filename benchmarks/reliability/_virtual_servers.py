"""Services as far as pacing can see them: who is served, who is declined, and after how many seconds.

A server is asked once per request. Service times are jittered by up to 30 % either way; nothing is queued.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import attrs

from benchmarks.reliability._virtual import Clock, virtual_time
from lisn_async import AssistantCreate, AsyncLisn
from lisn_async._headers import Lines
from lisn_async._request import Request
from lisn_async._response import Broken, Reply
from lisn_async.bulk import sender
from lisn_async.bulk.pace import Pace

NETWORK = 0.01
"""Seconds until a request is declined, or less (a fifth) where serving one takes less than 50 ms."""
SPEC = AssistantCreate(name="n", type="text", llm_provider="openai", system_prompt="p")


@attrs.frozen
class Declined:
    """A 429; `retry_after` is in seconds."""

    retry_after: float | None = None


class Server(Protocol):
    """Decides about one create that arrives now."""

    def arrive(self, now: float, chance: random.Random) -> tuple[float, Declined | None]:
        """Seconds until the reply, and whether it is a 429."""


def _jittered(seconds: float, chance: random.Random) -> float:
    return seconds * chance.uniform(0.7, 1.3)


@attrs.define
class Slots:
    """So many at once; one more is declined. `slots` may change: pairs of (from second, how many)."""

    slots: Sequence[tuple[float, int]]
    seconds: float
    retry_after: float | None = None
    _ends: list[float] = attrs.field(factory=list, init=False)
    _began: float | None = attrs.field(default=None, init=False)

    def arrive(self, now: float, chance: random.Random) -> tuple[float, Declined | None]:
        if self._began is None:
            self._began = now
        self._ends = [end for end in self._ends if end > now]
        capacity = [many for since, many in self.slots if since <= now - self._began][-1]
        if len(self._ends) >= capacity:
            return min(NETWORK, self.seconds / 5), Declined(self.retry_after)
        seconds = _jittered(self.seconds, chance)
        self._ends.append(now + seconds)
        return seconds, None


@attrs.define
class Bucket:
    """Tokens that come in at `rate` a second and are kept up to `burst`; without one a request is declined.

    With `says_when` the reply says, in whole seconds as HTTP wants it, when there will be one.
    """

    rate: float
    burst: float
    seconds: float
    says_when: bool
    _tokens: float = attrs.field(default=-1.0, init=False)
    _at: float = attrs.field(default=0.0, init=False)

    def arrive(self, now: float, chance: random.Random) -> tuple[float, Declined | None]:
        if self._tokens < 0:
            self._tokens, self._at = self.burst, now
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            wait = float(math.ceil((1 - self._tokens) / self.rate))
            return min(NETWORK, self.seconds / 5), Declined(wait if self.says_when else None)
        self._tokens -= 1
        return _jittered(self.seconds, chance), None


@attrs.define
class Window:
    """So many per `length` seconds; the windows are fixed, and a declined one is told when the next begins."""

    many: int
    length: float
    seconds: float
    says_when: bool = True
    _used: int = attrs.field(default=0, init=False)
    _index: int = attrs.field(default=-1, init=False)

    def arrive(self, now: float, chance: random.Random) -> tuple[float, Declined | None]:
        index = int(now // self.length)
        if index != self._index:
            self._index, self._used = index, 0
        if self._used >= self.many:
            wait = float(math.ceil((index + 1) * self.length - now))
            return min(NETWORK, self.seconds / 5), Declined(wait if self.says_when else None)
        self._used += 1
        return _jittered(self.seconds, chance), None


@attrs.define
class Moody:
    """Declines one in `one_in` for no reason."""

    one_in: int
    seconds: float
    retry_after: float | None = None

    def arrive(self, now: float, chance: random.Random) -> tuple[float, Declined | None]:
        if chance.random() < 1 / self.one_in:
            return min(NETWORK, self.seconds / 5), Declined(self.retry_after)
        return _jittered(self.seconds, chance), None


@attrs.define
class Wire:
    """Takes the place of `Transport.exchange`, and counts."""

    server: Server
    clock: Clock
    chance: random.Random
    created: int = 0
    declined: int = 0
    under_way: int = 0
    most_under_way: int = 0
    sent_at: list[float] = attrs.field(factory=list)

    async def exchange(
        self, pool: Any, request: Request[Any], lines: Lines, seconds: float
    ) -> Reply | Broken:
        """The reply of the model."""
        if request.method != "POST":
            await asyncio.sleep(NETWORK)
            return _answer(200, b"[]")
        self.sent_at.append(self.clock.now)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            takes, declined = self.server.arrive(self.clock.now, self.chance)
            await asyncio.sleep(takes)
        finally:
            self.under_way -= 1
        if declined is not None:
            self.declined += 1
            return _answer(429, b"{}", declined.retry_after)
        self.created += 1
        return _answer(201, _assistant(self.created))


def _answer(status: int, body: bytes, retry_after: float | None = None) -> Reply:
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Reply(status=status, headers=headers, body=body)


def _assistant(number: int) -> bytes:
    return b'{"id":"ast_%d","name":"n","type":"text","llm_provider":"openai","system_prompt":"p"}' % number


@attrs.frozen(kw_only=True)
class Ran:
    """What a run came to: creates, seconds, declined calls, the most at once, and when each create was sent."""

    created: int
    seconds: float
    declined: int
    most_under_way: int
    sent_at: Sequence[float]

    @property
    def rate(self) -> float:
        """Creates a second."""
        return self.created / self.seconds

    @property
    def wasted(self) -> float:
        """Declined calls per create."""
        return self.declined / self.created


def run_bulk(
    server: Server,
    *,
    items: int,
    seed: int = 0,
    fixed: int | None = None,
    max_concurrency: int = 64,
    **options: Any,
) -> Ran:
    """Create so many assistants on a server: the real client, with everything above the socket, on virtual time.

    `fixed` puts a limit that never moves in the place of the pace; everything else stays as it is.
    """
    with virtual_time(seed) as clock, _limit_fixed_at(fixed):
        wire = Wire(server, clock, random.Random(seed))

        async def main() -> Ran:
            async with AsyncLisn("token", base_url="https://example.com") as client:
                client._calls.transport.exchange = wire.exchange  # type: ignore[method-assign, assignment]
                began = clock.now
                result = await client.assistants.create_many(
                    [SPEC] * items, max_concurrency=max_concurrency, **options
                )
                return Ran(
                    created=len(result.created),
                    seconds=clock.now - began,
                    declined=wire.declined,
                    most_under_way=wire.most_under_way,
                    sent_at=wire.sent_at,
                )

        return clock.run(main())


class _Fixed(Pace):
    """A limit that never moves."""

    at = 1

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.limit = float(self.at)

    def succeeded(self, *what: Any) -> None:
        super().succeeded(*what)  # the round trip is learnt, since backoff goes by it
        self.limit = float(self.at)

    def pushed_back(self, *_: Any) -> None:
        """Say nothing of it."""


@contextlib.contextmanager
def _limit_fixed_at(limit: int | None) -> Iterator[None]:
    if limit is None:
        yield
        return
    _Fixed.at = limit
    vars(sender)["Pace"] = _Fixed
    try:
        yield
    finally:
        vars(sender)["Pace"] = Pace
