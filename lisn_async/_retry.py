"""When a request may be sent again: pure functions from what happened to what to do.

The rule is the table in README, *Never twice, never lost*. A POST has no idempotency key, so it is sent
again only when it provably had no effect: nothing was written, or the service declined it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from time import time

import attrs

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

BACKOFF_BASE = 0.5
BACKOFF_CAP = 8.0
LONGEST_WAIT = 60.0
"""Seconds. A `Retry-After` beyond it ends the call, and the error says when to come back."""


class Happened(enum.Enum):
    """How far one attempt came."""

    UNSENT = "nothing was written"
    BARRED = "the certificate or the proxy says no, now and next time"
    LOST = "written, and no readable status line came back"
    REPLIED = "a status line came back"


class Meaning(enum.Enum):
    """What one attempt means for the call."""

    DONE = "it succeeded"
    HARMLESS = "it had no effect, or has the same effect again: it may be sent again"
    UNKNOWN = "it may have had an effect that a repetition would double: never again"
    DEFINITE = "it was refused for good"


@attrs.define(kw_only=True)
class Attempt:
    """What is known after one attempt.

    `readable` says whether a 2xx reply held what was asked for, `token_renewed` whether the token that a 401
    refused is to be replaced. `acted_before` says whether an earlier attempt of the same call may have taken effect.
    """

    method: str
    happened: Happened
    status: int = 0
    retry_after: float | None = None
    readable: bool = True
    token_renewed: bool = False
    acted_before: bool = False


def meaning_of(attempt: Attempt) -> Meaning:
    """The retry table: one row per `if`, from the top."""
    is_2xx = attempt.happened is Happened.REPLIED and 200 <= attempt.status < 300
    if is_2xx and (attempt.readable or attempt.method == "DELETE"):
        return Meaning.DONE
    again = Meaning.UNKNOWN if attempt.method == "POST" else Meaning.HARMLESS
    if attempt.happened is Happened.UNSENT:
        return Meaning.HARMLESS
    if attempt.happened is Happened.BARRED:
        return Meaning.DEFINITE
    if attempt.happened is Happened.LOST or is_2xx or attempt.status < 200:
        return again
    if is_declined(attempt) or attempt.token_renewed:
        return Meaning.HARMLESS
    if attempt.status == 404 and attempt.method == "DELETE" and attempt.acted_before:
        return Meaning.DONE  # an earlier attempt deleted it, only its reply was lost
    if attempt.status == 408 or attempt.status >= 500:
        return again
    return Meaning.DEFINITE


def is_declined(attempt: Attempt) -> bool:
    """Whether the service said that it did not even begin: a pause for everyone, not only this call."""
    if attempt.status == 503:
        return attempt.retry_after is not None
    return attempt.status in (425, 429)


def may_have_acted(attempt: Attempt) -> bool:
    """Whether the attempt may have changed something although no usable reply came."""
    if attempt.method == "GET" or attempt.happened in (Happened.UNSENT, Happened.BARRED):
        return False
    if attempt.happened is Happened.LOST or attempt.status < 200:
        return True
    if 200 <= attempt.status < 300:
        return not attempt.readable
    return (attempt.status == 408 or attempt.status >= 500) and not is_declined(attempt)


def wait_before_next(
    attempt: Attempt, *, resends: int, max_retries: int, seconds_left: float, chance: float
) -> float | None:
    """Seconds to wait before the request is sent again, or None to stop.

    `resends` counts those already made, `seconds_left` is the rest of the deadline, and `chance`
    in [0, 1) spreads callers out (exponential backoff with full jitter).
    """
    if meaning_of(attempt) is not Meaning.HARMLESS or resends >= max_retries:
        return None
    if attempt.token_renewed:
        return 0.0
    wait = backoff(resends, chance) if attempt.retry_after is None else attempt.retry_after
    return wait if wait <= LONGEST_WAIT and wait < seconds_left else None


def backoff(resends: int, chance: float) -> float:
    """Seconds: full jitter under a ceiling that doubles."""
    return chance * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(resends, 16))


def parse_retry_after(
    value: str | None, date: str | None = None, now: Callable[[], float] = time
) -> float | None:
    """The seconds of a `Retry-After` header, given as a number or an HTTP date; None for garbage.

    `date` is what the reply says of its own time: its clock and ours may differ. Ours counts where it does not say.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if (until := _moment(text)) is None:
        return None
    said = None if date is None else _moment(date)
    return max(0.0, until - (now() if said is None else said))


def _moment(date: str) -> float | None:
    try:
        when = parsedate_to_datetime(date)
        return when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class RetryBudget:
    """A bucket of tokens, one for all calls of a client: an outage must not become a storm.

    A re-send costs more than a success gives back, as in gRPC and the AWS SDKs: while most calls
    succeed the bucket stays full, and when all fail the re-sends stop after a burst.
    """

    CAPACITY = 500.0
    COST = 5.0
    REFILL = 1.0

    def __init__(self) -> None:
        self.tokens = self.CAPACITY

    def take(self) -> bool:
        """Whether a re-send is allowed now."""
        if self.tokens < self.COST:
            return False
        self.tokens -= self.COST
        return True

    def refill(self) -> None:
        """Note a success."""
        if self.tokens < self.CAPACITY:
            self.tokens = min(self.CAPACITY, self.tokens + self.REFILL)


class Pause:
    """The shared pause: the moment before which no call of the client sends anything."""

    def __init__(self) -> None:
        self._until = 0.0

    def extend(self, until: float) -> None:
        """Ask for silence until a moment of the monotonic clock; an earlier one changes nothing."""
        self._until = max(self._until, until)

    def seconds_left(self, now: float) -> float:
        """Seconds of silence that are left, 0.0 if there is none."""
        return self._until - now if self._until > now else 0.0
