"""How many requests a client may send, as a value."""

from __future__ import annotations

import attrs

from ._forks import opening
from ._secrets import Secret, hide
from .errors import ConfigurationError

__all__ = ["RateLimit"]

MOST = 1_000_000
"""Requests of a window: each of them is remembered until it has left the window."""
_SCHEMES = ("redis://", "rediss://", "unix://")


@attrs.frozen
class RateLimit:
    """A budget of requests: `AsyncLisn(rate_limit=RateLimit(600, per_seconds=60))`.

    At most `requests` leave in any `per_seconds` (seconds). A `burst`, by default all of them, is how many may leave at
    once, and changes nothing in the rate: at most `burst` leave in any `burst * per_seconds / requests` seconds. So 1 spaces them evenly, and more
    than `requests` lets those who were idle catch up. Everything that is sent counts, re-sends and the calls of bulk
    runs too, and is sent in its turn. A call that could not go out before its `deadline` raises `APITimeoutError`
    instead, with nothing sent.

    All loops and threads of a process share the budget of a client, and so do the copies that `with_options` makes.
    Another process has another: give `redis` (`redis://`, `rediss://`, `unix://`; extra `redis`), and all clients with
    the same `key` and the same numbers share one, on whatever machines. Then a pause that the service asks one of
    them for holds all with that `key`. A request asks Redis once, so keep it near. While it cannot be reached each
    process keeps to the numbers by itself, and says so once, as a warning of the logger `lisn`.

    Raises `ConfigurationError` for whatever cannot work.
    """

    requests: int
    per_seconds: float
    burst: int | None = None
    redis: str | None = attrs.field(default=None, kw_only=True)
    key: str = attrs.field(default="lisn", kw_only=True)

    def __init__(
        self,
        requests: int,
        per_seconds: float,
        burst: int | None = None,
        *,
        redis: str | None = None,
        key: str = "lisn",
    ) -> None:
        redis = hide(redis)
        with opening.lock:  # not above: a mere value need not wait for that
            from ._config import positive_seconds, whole_number

        requests = whole_number("RateLimit: requests", requests, least=1)
        per_seconds = positive_seconds("RateLimit: per_seconds", per_seconds)
        if burst is not None:
            burst = whole_number("RateLimit: burst", burst, least=1)
        if redis is not None:
            redis = _checked(redis)
        if not isinstance(key, str) or not key:
            raise ConfigurationError(f"RateLimit: key must be a string that is not empty, not {key!r}")
        most = requests if burst is None else burst
        if most > MOST:
            raise ConfigurationError(
                f"RateLimit: {most} at once are too many to keep account of: give a burst"
            )
        positive_seconds("RateLimit: burst * per_seconds / requests", most * per_seconds / requests)
        self.__attrs_init__(requests, per_seconds, burst, redis=redis, key=key)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        if not hasattr(self, "key"):  # a crash reporter may show one that could not be made
            return "RateLimit(not set up)"
        burst = "" if self.burst is None else f", burst={self.burst}"
        shared = "" if self.redis is None else f", redis={without_password(self.redis)!r}, key={self.key!r}"
        return f"RateLimit({self.requests}, per_seconds={self.per_seconds:g}{burst}{shared})"

    @property
    def most(self) -> int:
        """How many may leave within `seconds`."""
        return self.requests if self.burst is None else self.burst

    @property
    def seconds(self) -> float:
        """The window that is watched: in any, at most `most` leave."""
        return self.most * self.per_seconds / self.requests


def without_password(redis: str) -> str:
    """The address alone: a password may stand before the host, and in the query."""
    scheme, _, rest = redis.partition("://")
    # Up to the last `@`: a password that somebody forgot to quote may hold any other mark.
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _checked(redis: str) -> Secret:
    if not isinstance(redis, str):
        raise ConfigurationError(f"RateLimit: redis must be a URL, not {type(redis).__name__}")
    if not redis.startswith(_SCHEMES):
        raise ConfigurationError(f"RateLimit: redis must be a URL that begins with {', '.join(_SCHEMES)}")
    return Secret(redis)
