"""The retry table of `RELIABILITY.md`, section 1, read row by row; and what a client shares between calls."""

from __future__ import annotations

import math

import pytest

from lisn_async._retry import (
    LONGEST_WAIT,
    Attempt,
    Happened,
    Meaning,
    Pause,
    RetryBudget,
    backoff,
    meaning_of,
    parse_retry_after,
    wait_before_next,
)

A, U, R, D = Meaning.HARMLESS, Meaning.UNKNOWN, Meaning.DEFINITE, Meaning.DONE


def replied(status: int, retry_after: float | None = None, *, readable: bool = True) -> dict[str, object]:
    return {
        "happened": Happened.REPLIED,
        "status": status,
        "retry_after": retry_after,
        "readable": readable,
    }


UNSENT = {"happened": Happened.UNSENT}
BARRED = {"happened": Happened.BARRED}
LOST = {"happened": Happened.LOST}

TABLE = [
    # what happened                       POST PATCH DELETE GET
    (UNSENT, "AAAA"),
    (BARRED, "RRRR"),
    (LOST, "UAAA"),
    (replied(200), "DDDD"),
    (replied(201), "DDDD"),
    (replied(204), "DDDD"),
    (replied(200, readable=False), "UADA"),
    *((replied(status), "RRRR") for status in (400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 418, 451)),
    *((replied(status), "UAAA") for status in (408, 500, 502, 503, 504, 520)),
    *((replied(status), "AAAA") for status in (425, 429)),
    *((replied(status, 1.0), "AAAA") for status in (425, 429, 503)),
    *((replied(status, 1.0), "UAAA") for status in (500, 502, 504)),
    *((replied(status), "UAAA") for status in (0, 99, 101, 199)),
    *((replied(status), "RRRR") for status in (300, 301, 302, 303, 307, 308)),
]


@pytest.mark.parametrize(("what", "row"), TABLE)
def test_the_table(what: dict[str, object], row: str) -> None:
    for method, letter in zip(("POST", "PATCH", "DELETE", "GET"), row, strict=True):
        expected = {"A": A, "U": U, "R": R, "D": D}[letter]
        assert meaning_of(Attempt(method=method, **what)) is expected, method


def test_a_404_for_a_delete_means_deleted_only_after_an_attempt_that_may_have_deleted_it() -> None:
    first = Attempt(method="DELETE", happened=Happened.REPLIED, status=404)
    again = Attempt(method="DELETE", happened=Happened.REPLIED, status=404, acted_before=True)
    assert meaning_of(first) is R
    assert meaning_of(again) is D


def wait(attempt: Attempt, resends: int = 0, left: float = math.inf, max_retries: int = 2) -> float | None:
    return wait_before_next(attempt, resends=resends, max_retries=max_retries, seconds_left=left, chance=1.0)


def test_waiting_doubles_up_to_a_ceiling_and_ends_with_max_retries() -> None:
    lost = Attempt(method="GET", happened=Happened.LOST)
    assert [wait(lost, resends=n, max_retries=9) for n in range(7)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert wait(lost, resends=2) is None
    assert wait(lost, max_retries=0) is None
    assert backoff(10**9, 1.0) == 8


def test_a_call_whose_token_is_renewed_is_sent_again_at_once_and_only_so_often() -> None:
    refused = Attempt(method="POST", happened=Happened.REPLIED, status=401)
    renewed = Attempt(method="POST", happened=Happened.REPLIED, status=401, token_renewed=True)
    assert meaning_of(refused) is R
    assert wait(refused) is None
    assert [wait(renewed), wait(renewed, resends=1), wait(renewed, resends=2)] == [0.0, 0.0, None]


def test_retry_after_is_obeyed_and_beyond_the_cap_or_the_deadline_the_call_stops() -> None:
    def declined(seconds: float) -> Attempt:
        return Attempt(method="POST", happened=Happened.REPLIED, status=429, retry_after=seconds)

    assert wait(declined(3.0)) == 3.0
    assert wait(declined(0.0)) == 0.0
    assert wait(declined(LONGEST_WAIT + 1)) is None
    assert wait(declined(3.0), left=2.0) is None


def test_a_post_that_may_have_acted_has_no_next_attempt() -> None:
    assert wait(Attempt(method="POST", happened=Happened.LOST), max_retries=99) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1e3", None),
        ("1_0", None),
        ("٣", None),
        ("nan", None),
        ("inf", None),
        ("9" * 400, None),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thursday, 01-Jan-70 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:50", 10.0),
        ("Thu, 99 Jan 1970 00:16:50 GMT", None),
        ("Thu, 01 Jan 99999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_garbage_is_nothing(
    text: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(text, now=lambda: 1000.0) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:16:00 GMT", 50.0),
        ("Thu, 01 Jan 1970 00:17:00 GMT", 0.0),
        (None, 10.0),
        ("yesterday", 10.0),
    ],
)
def test_a_date_is_counted_from_when_the_service_says_it_is(date: str | None, seconds: float) -> None:
    assert parse_retry_after("Thu, 01 Jan 1970 00:16:50 GMT", date, now=lambda: 1000.0) == seconds


def test_the_budget_ends_a_storm_and_successes_refill_it() -> None:
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(1000)) == 100
    for _ in range(5):
        budget.refill()
    assert budget.take()
    assert not budget.take()


def test_a_pause_only_grows_and_passes() -> None:
    pause = Pause()
    assert pause.seconds_left(100.0) == 0.0
    pause.extend(110.0)
    pause.extend(105.0)
    assert pause.seconds_left(104.0) == 6.0
    assert pause.seconds_left(111.0) == 0.0
