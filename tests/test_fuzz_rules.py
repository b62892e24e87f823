"""What holds for any input: the retry rules, `Retry-After`, ids and what is read as JSON."""

from __future__ import annotations

import contextlib
import json
import math
import re
from datetime import UTC, datetime
from email.utils import format_datetime

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lisn_async import AsyncLisn, ValidationError
from lisn_async._endpoints import delete, duplicate, get
from lisn_async._request import COLLECTION
from lisn_async._response import Reply, read_assistant, read_assistants
from lisn_async._retry import (
    BACKOFF_CAP,
    LONGEST_WAIT,
    Attempt,
    Happened,
    Meaning,
    Pause,
    is_declined,
    may_have_acted,
    meaning_of,
    parse_retry_after,
    wait_before_next,
)
from lisn_async._unpack import unpack
from lisn_async._wire import Unreadable, decode
from lisn_async.models._rules import check_id
from tests.hostile.fuzz import up_to_64_bits

seconds = st.none() | st.floats(0, 1e9)
attempts = st.builds(
    Attempt,
    method=st.sampled_from(["POST", "PATCH", "DELETE", "GET"]),
    happened=st.sampled_from(Happened),
    status=st.integers(0, 999) | st.sampled_from([200, 201, 204, 404, 408, 425, 429, 500, 502, 503, 504]),
    retry_after=seconds,
    readable=st.booleans(),
    acted_before=st.booleans(),
)

# --- the classifier ---------------------------------------------------------------------------------------


@given(attempts)
def test_a_post_that_may_have_acted_is_never_sent_again(attempt: Attempt) -> None:
    if attempt.method == "POST" and may_have_acted(attempt):
        assert meaning_of(attempt) is Meaning.UNKNOWN


@given(attempts)
def test_a_post_is_sent_again_only_if_it_was_unsent_or_declined(attempt: Attempt) -> None:
    if attempt.method == "POST" and meaning_of(attempt) is Meaning.HARMLESS:
        assert attempt.happened is Happened.UNSENT or (
            attempt.happened is Happened.REPLIED and is_declined(attempt) and not may_have_acted(attempt)
        )


@given(attempts)
def test_only_a_post_is_unknown_and_nobody_is_left_in_between(attempt: Attempt) -> None:
    meaning = meaning_of(attempt)
    if meaning is Meaning.UNKNOWN:
        assert attempt.method == "POST"
        assert may_have_acted(attempt)
    if meaning is Meaning.DONE:
        assert attempt.happened is Happened.REPLIED
    if meaning is Meaning.DEFINITE:
        assert not may_have_acted(attempt)


@given(attempts)
def test_a_get_never_acts_and_what_was_not_written_has_not_acted(attempt: Attempt) -> None:
    if attempt.method == "GET" or attempt.happened in (Happened.UNSENT, Happened.BARRED):
        assert not may_have_acted(attempt)
    elif attempt.happened is Happened.LOST:
        assert may_have_acted(attempt)


@given(
    attempts, st.integers(0, 99), st.integers(0, 99), st.floats(-10, 1e9), st.floats(0, 1, exclude_max=True)
)
def test_a_wait_keeps_within_the_cap_the_deadline_and_the_number_of_resends(
    attempt: Attempt, resends: int, max_retries: int, left: float, chance: float
) -> None:
    wait = wait_before_next(
        attempt, resends=resends, max_retries=max_retries, seconds_left=left, chance=chance
    )
    if wait is None:
        return
    assert 0 <= wait <= LONGEST_WAIT
    assert wait < left
    assert resends < max_retries
    assert meaning_of(attempt) is Meaning.HARMLESS
    assert wait <= BACKOFF_CAP if attempt.retry_after is None else wait == attempt.retry_after


@given(st.lists(st.floats(0, 1e9)), st.floats(0, 1e9))
def test_a_pause_never_shrinks_and_is_never_negative(moments: list[float], now: float) -> None:
    pause = Pause()
    before = pause.seconds_left(now)
    for moment in moments:
        pause.extend(moment)
        assert 0 <= before <= pause.seconds_left(now)
        before = pause.seconds_left(now)


# --- Retry-After ------------------------------------------------------------------------------------------

dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Thu", "Thursday", "", "Foo"]),
    st.integers(-1, 99),
    st.sampled_from(["Jan", "Dec", "january", "Foo", "13"]),
    st.integers(-1, 10**12) | st.sampled_from([0, 1, 68, 69, 99, 1969, 1970, 9999, 10**30]),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.integers(-1, 99) | st.text("0123456789.", max_size=400),
    st.sampled_from(["GMT", "UTC", "+0000", "-9999", "+99999", "+2400", "EST", "", "X" * 50, "+1_0", "-"]),
)


@given(st.none() | st.text() | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape")) | dates)
@example("Thu, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("9" * 5000)
def test_any_retry_after_is_a_finite_number_or_nothing(text: str | None) -> None:
    found = parse_retry_after(text)
    assert found is None or (math.isfinite(found) and found >= 0)


@given(st.integers(0, 999_999_999))
def test_seconds_are_taken_as_they_are(number: int) -> None:
    assert parse_retry_after(f" {number} ") == number


@given(st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)), st.floats(0, 2e9))
def test_a_date_is_as_far_away_as_it_is(when: datetime, now: float) -> None:
    when = when.replace(microsecond=0, tzinfo=UTC)
    found = parse_retry_after(format_datetime(when, usegmt=True), now=lambda: now)
    assert found == pytest.approx(max(0.0, when.timestamp() - now))


# --- ids --------------------------------------------------------------------------------------------------

near_ids = st.text(st.sampled_from("aZ09_-./%?#\\ \n\x00é٣ａ"), max_size=6) | st.text(max_size=140)
ids = st.from_regex(re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII), fullmatch=True)


@given(near_ids | ids)
@example("a\n")
@example("..")
@example("a" * 129)
def test_an_id_is_accepted_if_it_is_one(text: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    if 1 <= len(text) <= 128 and set(text) <= allowed:
        check_id(text)
    else:
        with pytest.raises(ValidationError):
            check_id(text)


@given(st.none() | st.integers() | st.binary() | st.lists(st.text()))
def test_an_id_is_a_string(value: object) -> None:
    with pytest.raises(ValidationError):
        check_id(value)


@given(ids)
def test_the_url_of_an_accepted_id_stays_in_the_collection(assistant_id: str) -> None:
    from yarl import URL

    client = AsyncLisn("t", base_url="http://127.0.0.1:1/base")
    for request, ending in ((get, ""), (delete, ""), (duplicate, "/duplicate")):
        url = URL(client._calls.transport.url(request(assistant_id)), encoded=True)
        assert url.raw_path == f"/base{COLLECTION}/{assistant_id}{ending}"
        assert URL(str(url)) == url, "and no normalisation changes it"
        assert (url.host, url.port, url.query_string, url.fragment) == ("127.0.0.1", 1, "", "")


# --- JSON -------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
surrogates = st.text(st.characters(categories=["Cs", "Lu", "Cc"]), max_size=5)


@given(values)
def test_what_is_json_is_read_as_it_is(value: object) -> None:
    assert decode(orjson.dumps(value)) == value


@given(values, surrogates)
def test_beside_a_lone_surrogate_everything_is_read_as_it_is(value: object, text: str) -> None:
    body = json.dumps([text, value, "\ud800"]).encode()
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # two halves are a pair
    assert decode(body) == [joined, value, "\ud800"]


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text('[]{},:"\\u0ed8 -.1naINftrule', max_size=30).map(str.encode)
)
@example(b'["\\ud800",NaN]')
@example(b'["\\ud800",1e999]')
@example(b'\xef\xbb\xbf"\\ud800"')
def test_what_is_not_json_is_unreadable_and_nothing_else(body: bytes) -> None:
    try:
        found = decode(body)
    except Unreadable:
        return
    # The second witness: strict where `json` is lax, since RFC 8259 has no NaN and no infinity.
    assert found == json.loads(body.decode(), parse_constant=pytest.fail, parse_int=up_to_64_bits)
    assert "inf" not in repr(found).lower() or b"inf" in body.lower()


@given(values)
def test_any_json_is_an_assistant_and_a_list_or_unreadable(value: object) -> None:
    for wrapped in (
        value,
        [value],
        {"data": value},
        {"id": "ast_1", "name": value},
        {"data": [{"id": "a"}], "total": value},
    ):
        reply = Reply(status=200, headers={}, body=orjson.dumps(wrapped))
        for read in (read_assistant, _read_assistants):
            try:
                read(reply)
            except Unreadable as unreadable:
                assert len(str(unreadable)) < 200


def _read_assistants(reply: Reply) -> object:
    """A few need no turn of any loop."""
    try:
        read_assistants(reply).send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


@given(st.binary(), st.sampled_from(["gzip", "deflate", "x-gzip", "br", "", "identity"]) | st.text())
def test_anything_unpacks_within_bounds_or_is_unreadable(body: bytes, encoding: str) -> None:
    with contextlib.suppress(Unreadable):
        assert len(unpack(body, encoding, 1000)) <= max(1000, len(body))
