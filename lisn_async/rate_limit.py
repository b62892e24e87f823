"""How many requests a client may send, as a value."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import attrs

from ._secrets import Secret, hide
from .errors import ConfigurationError

__all__ = ["RateLimit"]

MOST = 1_000_000
"""Requests of a window: each of them is remembered until it has left the window."""
_DATABASE = re.compile(r"/?[0-9]{0,9}/?")
_SCHEMES = ("redis://", "rediss://", "unix://")


class Rate(NamedTuple):
    """At most `most` in any `seconds`."""

    most: int
    seconds: float


@attrs.frozen
class RateLimit:
    """A budget of requests: `AsyncLisn(rate_limit=RateLimit(600, per_seconds=60))`.

    At most `requests` leave in any `per_seconds` (seconds). A `burst`, by default all of them, is how many may leave at
    once, and changes nothing in the rate: at most `burst` leave in any `burst * per_seconds / requests` seconds. So 1
    spaces them evenly; more than `requests` lets those who were idle catch up, and only the second bound holds then.

    Everything that is sent counts, re-sends and the calls of bulk runs too, and is sent in its turn. A call that could
    not go out before its `deadline` raises `APITimeoutError` instead, with nothing sent. Requests arrive later than
    they leave, and not all by the same: a service that counts to the very same numbers declines some, unless you ask
    for a little less or a small `burst`.

    All loops and threads of a process share the budget of a client, and so do the copies that `with_options` makes.
    Another client has another, also if it was given the same `RateLimit`, which is only numbers. So has another
    process: give `redis` (`redis://`, `rediss://`, `unix://`; extra `redis`), and all clients with the same `key` and
    the same numbers share one, on whatever machines; give each account of the service its own `key`. Then a pause that
    the service asks one of them for, of up to 60 s, holds all with that `key`.

    Redis is asked for all that wait in a loop at once, so a round trip to it lets out as many as a `burst` has, and as
    the client has `max_connections`: keep it near. While it cannot be used each process keeps to the numbers by itself,
    and says so once, as a warning of the logger `lisn`. No `repr`, log or error shows its password; a pickle holds it,
    since workers need it.

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
        from ._config import positive_seconds, whole_number  # not above: a mere value need not wait for that

        requests = whole_number("RateLimit: requests", requests, least=1)
        per_seconds = positive_seconds("RateLimit: per_seconds", per_seconds)
        if burst is not None:
            burst = whole_number("RateLimit: burst", burst, least=1)
        if redis is not None:
            redis = _checked(redis)
        if not isinstance(key, str) or not key:
            raise ConfigurationError(f"RateLimit: key must be a string that is not empty, not {key!r}")
        self.__attrs_init__(requests, per_seconds, burst, redis=redis, key=key)  # type: ignore[attr-defined]
        for most, seconds in self.rates:
            if most > MOST:
                raise ConfigurationError(
                    f"RateLimit: {most} are too many to keep account of: give a burst, of which requests is a multiple"
                )
            positive_seconds("RateLimit: burst * per_seconds / requests", seconds)

    def __repr__(self) -> str:
        if not hasattr(self, "key"):  # a crash reporter may show one that could not be made
            return "RateLimit(not set up)"
        burst = "" if self.burst is None else f", burst={self.burst}"
        shared = "" if self.redis is None else f", redis={without_password(self.redis)!r}, key={self.key!r}"
        return f"RateLimit({self.requests}, per_seconds={self.per_seconds:.12g}{burst}{shared})"

    @property
    def rates(self) -> tuple[Rate, ...]:
        """What is watched: in any `seconds` of each, at most `most` leave."""
        whole = Rate(self.requests, self.per_seconds)
        if self.burst is None:
            return (whole,)
        at_once = Rate(self.burst, self.burst * self.per_seconds / self.requests)
        # Where they go into `requests` without a rest they keep the whole by themselves. 3 of 10 do not: 3, 3, 3 and 3
        # in a second. More than the whole are wanted so.
        is_enough = self.burst > self.requests or self.requests % self.burst == 0
        return (at_once,) if is_enough else (at_once, whole)


def without_password(redis: str) -> str:
    """The address alone: a password may stand before the host, and in the query."""
    scheme, _, rest = redis.partition("://")
    # Up to the last `@`: a password that somebody forgot to quote may hold any other mark.
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _checked(redis: str) -> Secret:
    if not isinstance(redis, str):
        raise ConfigurationError(f"RateLimit: redis must be a URL, not {type(redis).__name__}")
    if (wrong := _wrong_with(Secret(redis))) is not None:
        raise ConfigurationError(f"RateLimit: redis must be a URL {wrong}")
    return Secret(redis)


def _wrong_with(url: str) -> str | None:
    """What it lacks. Raises nothing, and quotes nothing: any part may be one of a password that was not quoted."""
    if not url.startswith(_SCHEMES):
        return f"that begins with {', '.join(_SCHEMES)}"
    unreadable = "with a host, a port and options that can be read (percent-encode what a password holds)"
    try:
        parts = urlsplit(url)
        parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        if parts.port == 0 or parts.fragment or "@" in parts.path:
            return unreadable
    except ValueError:
        return unreadable
    if parts.scheme == "unix":
        return None if parts.path.strip("/") else "with the path of a socket, as unix:///run/redis.sock"
    if not _DATABASE.fullmatch(parts.path):
        return "that ends with the number of a database, if with any, as redis://host:6379/0"
    return None
