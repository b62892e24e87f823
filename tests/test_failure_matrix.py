"""The retry table, cell by cell, over raw sockets: README, *Never twice, never lost*.

What is counted are commits on the server, never what the client says of itself.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeAlias

import aiohttp
import attrs
import pytest

import lisn_sync
from lisn_async import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AsyncLisn,
    InternalServerError,
    RateLimitError,
)
from tests.fix_committing import (
    Failure,
    Scene,
    after_commit,
    answer,
    before_commit,
    close,
    continue_and_close,
    cut_body,
    dripping_body,
    half_the_body,
    hang,
    late_commit,
    linger,
    push_408,
    read_and_close,
    redirect,
    reset,
    say,
    scene,
    too_large,
)

__all__ = ["scene"]

Word: TypeAlias = Literal["yes", "unknown", "refused", "done", "-"]
"""What the table says of a call that met the failure:

yes      sent again, up to `max_retries`
unknown  not sent again; it may have taken effect
refused  not sent again; it certainly had no effect
done     it succeeded, with this one request
-        it cannot meet this failure
"""

OPERATIONS = ("create", "duplicate", "update", "delete", "get")
SPEC: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai"}
SHORT, LONG = "p", "p" * 6_000_000


@attrs.frozen
class Row:
    """One failure: where and how, the word for each call, the error, commits left by one attempt that fails."""

    name: str
    failure: Failure
    create: Word
    duplicate: Word
    update: Word
    delete: Word
    get: Word
    error: type[APIError]
    commits: int = 0
    prompt: str = attrs.field(default=SHORT, kw_only=True)
    needs_hook: bool = attrs.field(default=False, kw_only=True)
    """Whether it can only be arranged in the loop of the test, by its clock or its way to connect."""

    @property
    def may_act(self) -> bool:
        """Whether the server may have had the whole request."""
        return self.create == "unknown" or self.duplicate == "unknown"

    @property
    def arrives(self) -> bool:
        """Whether the API sees the request at all."""
        return self.failure.place == "api" or self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether it happens to a connection that nobody is using."""
        return self.failure.place.startswith("idle")


def at_api(serve: Any) -> Failure:
    return Failure("api", serve)


def replies(status: str, *fields: str) -> Any:
    return say(answer(b"<html>gateway</html>", status, *fields))


def declined(status: str, *fields: str) -> Failure:
    return at_api(before_commit(replies(status, *fields)))


def committed(then: Any) -> Failure:
    return at_api(after_commit(then))


ANOTHER = say(answer(b'{"id":"ast_0","name":"n"}'))
GARBAGE = b"\x00\xff not http at all\r\n\r\n"
UNAVAILABLE = "503 Service Unavailable"
CONNECTION, TIMED_OUT, RESPONSE, STATUS = (
    APIConnectionError,
    APITimeoutError,
    APIResponseError,
    APIStatusError,
)
SERVER = InternalServerError

# fmt: off
TABLE = [
    # nothing was sent                                                   create     duplicate  update     delete     get        error
    Row("no such name",                Failure("down", "no name"),        "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION, needs_hook=True),
    Row("refused",                     Failure("down", "refused"),        "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("connect timeout",             Failure("down", "full"),           "yes",     "yes",     "yes",     "yes",     "yes",     TIMED_OUT, needs_hook=True),
    Row("closed before our first byte", Failure("down", "closes at once"), "yes",    "yes",     "yes",     "yes",     "yes",     CONNECTION, needs_hook=True),
    Row("reset before our first byte", Failure("down", "resets at once"), "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION, needs_hook=True),
    Row("TLS handshake closed",        Failure("tls", read_and_close),    "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("TLS handshake reset",         Failure("tls", reset),             "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("TLS handshake garbage",       Failure("tls", say(GARBAGE, close)), "yes",   "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("TLS handshake hangs",         Failure("tls", hang),              "yes",     "yes",     "yes",     "yes",     "yes",     TIMED_OUT, needs_hook=True),
    Row("TLS certificate",             Failure("certificate", None),      "refused", "refused", "refused", "refused", "refused", CONNECTION),
    Row("proxy says 407",              Failure("proxy", say(answer(b"", "407 Proxy Authentication Required"), close)),
                                                                          "refused", "refused", "refused", "refused", "refused", CONNECTION),
    Row("proxy says 502",              Failure("proxy", say(answer(b"", "502 Bad Gateway"), close)),
                                                                          "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("proxy closes the tunnel",     Failure("proxy", read_and_close),  "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("proxy resets the tunnel",     Failure("proxy", reset),           "yes",     "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("proxy talks garbage",         Failure("proxy", say(GARBAGE, close)), "yes", "yes",     "yes",     "yes",     "yes",     CONNECTION),
    Row("proxy hangs",                 Failure("proxy", hang),            "yes",     "yes",     "yes",     "yes",     "yes",     TIMED_OUT, needs_hook=True),

    # a kept-alive connection that ended while it was idle: another is taken, within the same attempt
    Row("closed while idle",           Failure("idle", None),             "done",    "done",    "done",    "done",    "done",    CONNECTION),
    Row("reset while idle",            Failure("idle", linger),           "done",    "done",    "done",    "done",    "done",    CONNECTION),
    Row("408 while idle",              Failure("idle", push_408),         "done",    "done",    "done",    "done",    "done",    CONNECTION),

    Row("closed just now",             Failure("idle, unseen", None),     "done",    "done",    "done",    "done",    "done",    CONNECTION),
    Row("reset just now",              Failure("idle, unseen", linger),   "done",    "done",    "done",    "done",    "done",    CONNECTION),
    Row("408 just now",                Failure("idle, unseen", push_408), "done",    "done",    "done",    "done",    "done",    CONNECTION),

    # something was sent, nothing was done: the client cannot know        create     duplicate  update     delete     get        error
    Row("closed, nothing read",        at_api(close),                     "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION),
    Row("reset, nothing read",         at_api(reset),                     "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION),
    Row("reset amid the body",         at_api(half_the_body(reset)),      "unknown", "-",       "yes",     "-",       "-",       CONNECTION, prompt=LONG),
    Row("closed amid the body",        at_api(half_the_body(close)),      "unknown", "-",       "yes",     "-",       "-",       CONNECTION, prompt=LONG),
    Row("reset before the commit",     at_api(before_commit(reset)),      "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION),
    Row("closed before the commit",    at_api(before_commit(close)),      "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION),

    # it was done, and then                                               create     duplicate  update     delete     get        error      commits
    Row("reset",                       committed(reset),                  "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION, 1),
    Row("closed",                      committed(close),                  "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION, 1),
    Row("100 Continue, closed",        at_api(continue_and_close),        "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION, 1),
    Row("silence",                     committed(hang),                   "unknown", "unknown", "yes",     "yes",     "yes",     TIMED_OUT,  1),
    Row("head drips",                  committed(say(b"HTTP/1.1 20", hang)), "unknown", "unknown", "yes",  "yes",     "yes",     TIMED_OUT,  1),
    Row("body drips",                  committed(dripping_body),          "unknown", "unknown", "yes",     "done",    "yes",     TIMED_OUT,  1),
    Row("done after our timeout",      at_api(late_commit),               "unknown", "unknown", "yes",     "yes",     "yes",     TIMED_OUT,  1),
    Row("cut head",                    committed(say(b"HTTP/1.1 200 OK\r\nContent-Le", close)),
                                                                          "unknown", "unknown", "yes",     "yes",     "yes",     CONNECTION, 1),
    Row("garbage head",                committed(say(GARBAGE, close)),    "unknown", "unknown", "yes",     "yes",     "yes",     RESPONSE,   1),
    Row("cut body",                    committed(cut_body),               "unknown", "unknown", "yes",     "done",    "yes",     CONNECTION, 1),
    Row("200, an HTML page",           committed(replies("200 OK")),      "unknown", "unknown", "yes",     "done",    "yes",     RESPONSE,   1),
    Row("200, no body",                committed(say(answer())),          "unknown", "unknown", "yes",     "done",    "yes",     RESPONSE,   1),
    Row("200, no id",                  committed(say(answer(b"{}"))),     "unknown", "unknown", "yes",     "done",    "yes",     RESPONSE,   1),
    Row("200, another id",             committed(ANOTHER),                "done",    "unknown", "yes",     "done",    "yes",     RESPONSE,   1),
    Row("408",                         committed(replies("408 Request Timeout")), "unknown", "unknown", "yes", "yes", "yes",     STATUS,     1),
    Row("500",                         committed(replies("500 Internal Server Error")), "unknown", "unknown", "yes", "yes", "yes", SERVER,  1),
    Row("502",                         committed(replies("502 Bad Gateway")), "unknown", "unknown", "yes", "yes",     "yes",     SERVER,     1),
    Row("503",                         committed(replies(UNAVAILABLE)),   "unknown", "unknown", "yes",     "yes",     "yes",     SERVER,     1),
    Row("503, garbage Retry-After",    committed(replies(UNAVAILABLE, "Retry-After: soon")), "unknown", "unknown", "yes", "yes", "yes", SERVER, 1),
    Row("504",                         committed(replies("504 Gateway Timeout")), "unknown", "unknown", "yes", "yes", "yes",     SERVER,     1),

    # it was declined before anything was done                            create     duplicate  update     delete     get        error
    Row("425",                         declined("425 Too Early"),         "yes",     "yes",     "yes",     "yes",     "yes",     STATUS),
    Row("429",                         declined("429 Too Many Requests"), "yes",     "yes",     "yes",     "yes",     "yes",     RateLimitError),
    Row("429, Retry-After",            declined("429 Too Many Requests", "Retry-After: 0"), "yes", "yes",  "yes",     "yes",     "yes",     RateLimitError),
    Row("503, Retry-After",            declined(UNAVAILABLE, "Retry-After: 0"), "yes", "yes",   "yes",     "yes",     "yes",     SERVER),
    Row("302",                         at_api(redirect("302 Found")), "refused", "refused", "refused", "refused", "refused", STATUS),
    Row("307",                         at_api(redirect("307 Temporary Redirect")), "refused", "refused", "refused", "refused", "refused", STATUS),
    Row("413 before the body was read", at_api(too_large),                "refused", "-",       "refused", "-",       "-",       STATUS, prompt=LONG),
]
# fmt: on


@attrs.frozen
class Story:
    """How often the failure happens and how often the call may be sent again."""

    name: str
    max_retries: int
    fails: int


STORIES = (Story("max_retries=0", 0, 1), Story("fails once", 2, 1), Story("fails always", 2, 99))


def cells() -> list[Any]:
    return [
        pytest.param(row, operation, connection, id=f"{row.name}-{operation}-{connection}")
        for row in TABLE
        for operation in OPERATIONS
        for connection in connections(row)
        if getattr(row, operation) != "-"
    ]


def told_cells() -> list[Any]:
    """Each cell with each story, over TLS with one."""
    return [
        pytest.param(*cell.values, story, id=f"{cell.id}-{story.name}")
        for cell in cells()
        for story in (STORIES if cell.values[2] != "kept TLS" else STORIES[1:2])
    ]


def connections(row: Row) -> tuple[str, ...]:
    """Those on which it can happen: what failed before the API was reached says of itself whether it is TLS."""
    if row.failure.what == "no name":
        return ("fresh",)  # an address is remembered
    if row.failure.place == "idle":
        return ("kept", "kept TLS")
    if row.is_idle:
        return ("kept",)
    return ("fresh", "kept", "kept TLS") if row.failure.place == "api" else ("fresh", "kept")


def call(client: Any, operation: str, prompt: str) -> Any:
    api = client.assistants
    return {
        "create": lambda: api.create(**SPEC, system_prompt=prompt),
        "duplicate": lambda: api.duplicate("ast_0"),
        "get": lambda: api.get("ast_1"),
        "update": lambda: api.update("ast_1", system_prompt=prompt),
        "delete": lambda: api.delete("ast_1"),
    }[operation]()


@attrs.frozen
class Expected:
    """What the table says of one call."""

    attempts: int
    failed: int
    """Attempts that met the failure; the others went well."""
    is_error: bool
    is_unknown: bool


def expected(row: Row, operation: str, story: Story) -> Expected:
    word: Word = getattr(row, operation)
    if word == "done":
        return Expected(attempts=1, failed=0 if row.is_idle else 1, is_error=False, is_unknown=False)
    if word != "yes":
        return Expected(attempts=1, failed=1, is_error=True, is_unknown=word == "unknown")
    failed = min(story.fails, 1 + story.max_retries)
    is_error = failed == 1 + story.max_retries
    return Expected(
        attempts=failed if is_error else failed + 1,
        failed=failed,
        is_error=is_error,
        is_unknown=row.may_act and operation != "get",
    )


def commits_expected(row: Row, operation: str, what: Expected) -> int:
    if operation == "get":
        return 0
    commits = what.failed * row.commits + what.attempts - what.failed
    return min(commits, 1) if operation == "delete" else commits


def check_server(scene: Scene, row: Row, operation: str, what: Expected) -> None:
    """The server's book agrees with the table."""
    assert scene.api.commits.count(operation) <= 1 or operation == "update"
    assert scene.api.commits == [operation] * commits_expected(row, operation, what)
    assert scene.api.arrived == (what.attempts if row.arrives else what.attempts - what.failed)
    if row.failure.place in ("tls", "certificate", "proxy"):
        assert scene.entry.arrived == what.attempts, "on the way to the API"
    assert scene.elsewhere.connections == 0
    assert len(scene.waits) == what.attempts - 1


def check_error(row: Row, error: APIError, what: Expected) -> None:
    assert type(error) is row.error
    assert (error.attempts, error.outcome_unknown) == (what.attempts, what.is_unknown)
    assert ("may have taken effect" in str(error)) is what.is_unknown


@pytest.mark.parametrize(("row", "operation", "connection", "story"), told_cells())
async def test_the_server_sees_what_the_table_says(
    scene: Scene, row: Row, operation: str, connection: str, story: Story
) -> None:
    what = expected(row, operation, story)
    options = scene.set_up(row.failure, is_tls=connection == "kept TLS")
    async with AsyncLisn("tok-0123", **options, max_retries=story.max_retries) as client:
        if connection != "fresh":
            await client.assistants.list()
            if not row.arrives:
                await scene.end_idle_connections()
        await scene.fail(row.failure, story.fails)
        if what.is_error:
            with pytest.raises(APIError) as caught:
                await call(client, operation, row.prompt)
            check_error(row, caught.value, what)
        else:
            await call(client, operation, row.prompt)
    await scene.settled()
    check_server(scene, row, operation, what)


@pytest.mark.parametrize(
    ("row", "operation", "connection"),
    [cell for cell in cells() if cell.values[1] in ("create", "duplicate")],
)
async def test_a_borrowed_session_knows_less_and_never_claims_more(
    scene: Scene, row: Row, operation: str, connection: str
) -> None:
    """It cannot tell what was sent: it may say "unknown" too often, never too rarely."""
    options = scene.set_up(row.failure, is_tls=connection == "kept TLS")
    async with aiohttp.ClientSession() as session:
        client = AsyncLisn("tok-0123", **options, session=session)
        if connection != "fresh":
            await client.assistants.list()
            if not row.arrives:
                await scene.end_idle_connections()
        await scene.fail(row.failure, fails=1)
        try:
            await call(client, operation, row.prompt)
        except APIError as error:
            is_told = error.outcome_unknown
        else:
            is_told = True
    await scene.settled()
    assert scene.api.commits in ([], [operation])
    assert is_told or not scene.api.commits
    assert not (is_told and row.create == "refused")
    assert scene.elsewhere.connections == 0


@pytest.mark.parametrize(
    ("row", "connection"),
    [
        pytest.param(row, connection, id=f"{row.name}-{connection}")
        for row in TABLE
        for connection in ("fresh", "kept")
        if connection in connections(row)
        if not (row.needs_hook or (row.error is TIMED_OUT and connection == "kept"))
    ],
)
async def test_blocking_code_sees_what_the_table_says(scene: Scene, row: Row, connection: str) -> None:
    """The column of `create`, through the loop of `lisn_sync`, where time takes its time."""
    story = STORIES[1]
    what = expected(row, "create", story)
    options = scene.set_up(row.failure) | ({"timeout": 0.5} if row.error is TIMED_OUT else {})

    def first() -> None:
        if connection != "fresh":
            client.assistants.list()

    with lisn_sync.Lisn("tok-0123", **options) as client:
        await asyncio.to_thread(first)
        if connection != "fresh" and not row.arrives:
            await scene.end_idle_connections()
        await scene.fail(row.failure, story.fails)
        if what.is_error:
            with pytest.raises(APIError) as caught:
                await asyncio.to_thread(call, client, "create", row.prompt)
            check_error(row, caught.value, what)
        else:
            await asyncio.to_thread(call, client, "create", row.prompt)
        await asyncio.to_thread(client.close)
    await scene.settled()
    check_server(scene, row, "create", what)


async def test_a_server_that_closes_at_once_is_asked_once_per_attempt(scene: Scene) -> None:
    failure = Failure("down", "closes at once")
    async with AsyncLisn("t", **scene.set_up(failure), max_retries=0) as client:
        await scene.fail(failure, fails=99)
        with pytest.raises(APIConnectionError):
            await client.assistants.get("ast_1")
    assert scene.api.connections == 1
