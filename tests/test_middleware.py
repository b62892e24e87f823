"""Middleware: every call passes through it, and nothing of it may send twice or show a token."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import logging
import weakref
from pathlib import Path
from typing import Any

import attrs
import pytest

import lisn_sync
from lisn_async import (
    APIConnectionError,
    APIError,
    APIRequest,
    AsyncLisn,
    BulkError,
    BulkOutcome,
    CallNext,
    ConfigurationError,
    InternalServerError,
    LisnError,
    NotFoundError,
    PermissionDeniedError,
    RawResponse,
)
from lisn_async.sandbox import Sandbox
from lisn_sync._loop import home
from tests.conftest import SALES
from tests.fix_sync import script

SPEC = {"name": "n", "type": "text", "llm_provider": "grok", "system_prompt": "p"}


def client_of(box: Sandbox, *middleware: Any, **options: Any) -> AsyncLisn:
    return AsyncLisn(box.token, base_url=box.base_url, middleware=middleware, **options)


async def test_every_call_passes_through_each_of_them_the_first_one_outermost(sandbox: Sandbox) -> None:
    said: list[str] = []

    def telling(name: str) -> Any:
        async def tell(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
            said.append(f"{name} {request.operation}")
            response = await call_next(request)
            said.append(f"{name} {response.status_code} {response.attempts}")
            return response

        return tell

    async with client_of(sandbox, telling("a"), telling("b")) as client:
        made = await client.assistants.create(**SALES)
        assert said == ["a assistants.create", "b assistants.create", "b 201 1", "a 201 1"]
        said.clear()
        await client.assistants.list()
        await client.assistants.get(made.id)
        await client.assistants.update(made.id, name="m")
        copy = await client.assistants.duplicate(made.id)
        await client.assistants.delete(copy.id)
    assert [line.removeprefix("a assistants.") for line in said if line.startswith("a a")] == [
        "list",
        "get",
        "update",
        "duplicate",
        "delete",
    ]


async def test_it_sees_where_a_call_goes_and_neither_token_nor_body(sandbox: Sandbox) -> None:
    seen: list[APIRequest] = []

    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        seen.append(request)
        return await call_next(request)

    async with client_of(sandbox, look, default_headers={"X-Tenant": "tenant-key"}) as client:
        made = await client.assistants.create(**{**SALES, "webhook_secret": "whsec"})
        await client.assistants.update(made.id, name="m")
    update = seen[1]
    assert (update.operation, update.method) == ("assistants.update", "PATCH")
    assert update.url == f"{sandbox.base_url}/v1/assistants/{made.id}"
    assert update.url_template == "/v1/assistants/{id}"
    public = {name: getattr(one, name) for one in seen for name in dir(one) if not name.startswith("_")}
    for shown in (repr(seen), repr(public), str(public)):
        assert sandbox.token not in shown
        assert "whsec" not in shown
        assert "tenant-key" not in shown


@pytest.mark.parametrize("borrowed", [False, True])
async def test_a_header_it_adds_travels_with_that_call_alone_and_on_every_attempt(
    sandbox: Sandbox, borrowed: bool
) -> None:
    import aiohttp

    async def sign(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        if request.method == "POST":
            request.headers["X-Signature"] = "s1"
        return await call_next(request)

    sandbox.faults = [{"status": 429, "retry_after": 0}]
    async with aiohttp.ClientSession() as session:
        options = {"session": session} if borrowed else {}
        async with client_of(sandbox, sign, **options) as client:
            await client.assistants.create(**SALES)
            await client.assistants.list()
    assert [(one.method, one.headers.get("X-Signature")) for one in sandbox.seen] == [
        ("POST", "s1"),
        ("POST", "s1"),
        ("GET", None),
    ]
    assert {one.headers["Authorization"] for one in sandbox.seen} == {f"Bearer {sandbox.token}"}


async def test_a_header_it_adds_replaces_a_default_one_whatever_its_case(wire: Any) -> None:
    async def rename(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.headers["user-agent"] = "mine"
        request.headers["x-tenant"] = "t2"
        return await call_next(request)

    wire.script += [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"] * 2
    async with AsyncLisn(
        "tok", base_url=wire.base_url, middleware=[rename], default_headers={"X-Tenant": "t1"}
    ) as client:
        await client.assistants.list()
        await client.assistants.list()
    for request in wire.requests:
        lines = request.decode().lower().split("\r\n")
        assert [line for line in lines if line.startswith(("user-agent", "x-tenant"))] == [
            "user-agent: mine",
            "x-tenant: t2",
        ]
        assert lines.count("authorization: bearer tok") == 1


@pytest.mark.parametrize("size", [1, 2**17])
async def test_of_two_that_add_one_header_in_two_cases_the_inner_one_has_the_last_word(
    sandbox: Sandbox, size: int
) -> None:
    async def outer(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.headers["X-Tenant"] = "t1"
        return await call_next(request)

    async def inner(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.headers["x-tenant"] = "t2"
        return await call_next(request)

    async with client_of(sandbox, outer, inner) as client:
        await client.assistants.create({**SPEC, "system_prompt": "p" * size})
    given = [value for name, value in sandbox.seen[0].headers.items() if name.lower() == "x-tenant"]
    assert given == ["t2"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer other"),
        ("cookie", "a=b"),
        ("Content-Length", "0"),
        ("X-A", "b\r\nX-C: d"),
        ("X A", "b"),
        ("X-A", 7),
    ],
)
async def test_a_header_that_is_ours_or_none_is_refused_before_anything_is_sent(
    sandbox: Sandbox, name: str, value: Any
) -> None:
    async def add(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.headers[name] = value
        return await call_next(request)

    async with client_of(sandbox, add) as client:
        with pytest.raises(ConfigurationError, match="a header that a middleware added"):
            await client.assistants.list()
    assert sandbox.seen == []


async def test_it_may_refuse_and_what_it_raises_is_what_the_caller_gets(sandbox: Sandbox) -> None:
    class OverQuota(Exception):
        pass

    async def refuse(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        raise OverQuota

    async with client_of(sandbox, refuse) as client:
        with pytest.raises(OverQuota):
            await client.assistants.create(**SALES)
    assert sandbox.seen == []


async def test_it_gets_the_error_of_the_call_with_all_its_attempts(sandbox: Sandbox) -> None:
    met: list[LisnError] = []

    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        try:
            return await call_next(request)
        except LisnError as error:
            met.append(error)
            raise

    sandbox.faults = [{"status": 500, "when": "before", "times": 3}]
    async with client_of(sandbox, look) as client:
        with pytest.raises(InternalServerError) as caught:
            await client.assistants.list()
        with pytest.raises(NotFoundError):
            await client.assistants.get("ast_none")
    assert met[0] is caught.value
    assert caught.value.attempts == 3
    assert len(met) == 2


async def test_it_cannot_send_a_call_twice(sandbox: Sandbox) -> None:
    async def eager(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        await call_next(request)
        return await call_next(request)

    async with client_of(sandbox, eager) as client:
        with pytest.raises(RuntimeError, match="call_next may be called once"):
            await client.assistants.create(**SALES)
    assert len(sandbox.seen) == 1


async def test_two_that_are_eager_at_the_same_time_send_once(sandbox: Sandbox) -> None:
    async def eager(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        first, second = await asyncio.gather(call_next(request), call_next(request), return_exceptions=True)
        assert isinstance(second, RuntimeError)
        assert isinstance(first, RawResponse)
        return first

    async with client_of(sandbox, eager) as client:
        await client.assistants.create(**SALES)
    assert len(sandbox.seen) == 1


COPIES: dict[str, Any] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "evolve": lambda request: attrs.evolve(request, headers={"X-Copy": "yes"}),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("bulk", [False, True])
async def test_a_copy_of_the_request_sends_nothing_a_second_time(
    sandbox: Sandbox, how: str, bulk: bool
) -> None:
    async def eager(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        response = await call_next(COPIES[how](request))
        if request.operation != "assistants.create":
            return response
        return await call_next(request)

    async with client_of(sandbox, eager) as client:
        if bulk:  # what the service said counts
            result = await client.assistants.create_many([SPEC])
            assert [outcome.status for outcome in result.outcomes] == ["created"]
        else:
            with pytest.raises(RuntimeError, match="call_next may be called once"):
                await client.assistants.create(**SALES)
    assert len(sandbox.assistants()) == 1
    assert sandbox.seen[-1].headers.get("X-Copy") == ("yes" if how == "evolve" else None)


async def test_one_that_returns_something_else_is_named(sandbox: Sandbox) -> None:
    async def forgets(request: APIRequest, call_next: CallNext) -> None:
        await call_next(request)

    async def swaps(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        return await call_next({"not": "a request"})  # type: ignore[arg-type]

    async with client_of(sandbox, forgets) as client:
        with pytest.raises(TypeError, match="forgets must return what call_next returned, not NoneType"):
            await client.assistants.list()
    async with client_of(sandbox, swaps) as client:
        with pytest.raises(TypeError, match="call_next takes the request"):
            await client.assistants.list()


async def test_a_wrapper_that_looks_like_a_coroutine_function_and_is_none_is_named(sandbox: Sandbox) -> None:
    async def good(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        return await call_next(request)

    @functools.wraps(good)
    def forgets_to_return(*args: Any) -> None: ...

    async with client_of(sandbox, forgets_to_return) as client:
        with pytest.raises(TypeError, match="good must be an `async def`, it gave NoneType"):
            await client.assistants.create(**SALES)
    assert sandbox.seen == []


@pytest.mark.parametrize("headers", [[("X-A", "hidden")], "X-A: hidden", {"X-A"}])
async def test_headers_that_are_no_dict_are_refused_before_anything_is_sent_and_not_shown(
    sandbox: Sandbox, headers: Any
) -> None:
    shown: list[str] = []

    async def replaces(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.headers = headers
        shown.append(repr(request))
        return await call_next(request)

    async with client_of(sandbox, replaces) as client:
        with pytest.raises(ConfigurationError, match=r"request\.headers must be a dict of strings"):
            await client.assistants.create(**SALES)
    assert sandbox.seen == []
    assert "hidden" not in shown[0]


def plain(request: APIRequest, call_next: CallNext) -> None: ...


async def generator(request: APIRequest, call_next: CallNext) -> Any:
    yield await call_next(request)


class Plain:
    def __call__(self, request: APIRequest, call_next: CallNext) -> Any:
        return call_next(request)


class Fine:
    async def __call__(self, request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        return await call_next(request)


@pytest.mark.parametrize(
    "given",
    [
        plain,
        [plain],
        [print],
        ["x"],
        "abc",
        {plain},
        [None],
        [generator],
        [Plain()],
        [Fine],
        [[Fine()]],
    ],
)
def test_what_is_no_list_of_coroutine_functions_is_refused_when_the_client_is_made(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="middleware"):
        AsyncLisn("t", middleware=given)


async def test_objects_and_wrapped_functions_may_be_middleware(sandbox: Sandbox) -> None:
    class Counting:
        calls = 0

        async def __call__(self, request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
            self.calls += 1
            return await call_next(request)

    counting = Counting()

    @functools.wraps(counting.__call__)
    def wrapped(*args: Any) -> Any:
        return counting(*args)

    async with client_of(sandbox, counting, wrapped, functools.partial(counting)) as client:
        await client.assistants.list()
    assert counting.calls == 3


async def test_a_cancelled_call_cancels_what_waits_in_it(sandbox: Sandbox) -> None:
    ended: list[type[BaseException]] = []

    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        try:
            return await call_next(request)
        except BaseException as error:
            ended.append(type(error))
            raise

    sandbox.faults = ["hang"]
    async with client_of(sandbox, look) as client:
        call = asyncio.ensure_future(client.assistants.list())
        while not sandbox.seen:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert ended == [asyncio.CancelledError]


async def test_one_that_keeps_a_cancellation_to_itself_answers_and_holds_nothing_up(sandbox: Sandbox) -> None:
    async def swallows(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            return RawResponse(status_code=200, headers={}, attempts=1, result=["mine"])

    sandbox.faults = ["hang"]
    async with client_of(sandbox, swallows, max_connections=1) as client:
        call = asyncio.ensure_future(client.assistants.list())
        await sandbox.received(1)
        call.cancel()
        assert await call == ["mine"]
        assert await client.assistants.list() == []


class EndOfAll(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, EndOfAll])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_ends_a_program_passes_as_it_is_and_the_next_call_works(
    sandbox: Sandbox, error: type[BaseException], when: str
) -> None:
    async def ends(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        if request.method == "POST" and when == "before":
            raise error
        response = await call_next(request)
        if request.method == "POST":
            raise error
        return response

    async with client_of(sandbox, ends, max_connections=1) as client:
        with pytest.raises(error):
            await client.assistants.create(**SALES)
        assert len(await client.assistants.list()) == (when == "after")


async def test_what_it_makes_of_a_response_is_what_the_caller_gets(sandbox: Sandbox) -> None:
    async def changes(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        response = await call_next(request)
        return attrs.evolve(response, status_code=299, result=attrs.evolve(response.parse(), name="changed"))

    async with client_of(sandbox, changes) as client:
        raw = await client.assistants.with_raw_response.create(**SALES)
    assert (raw.status_code, raw.parse().name) == (299, "changed")
    assert [row["name"] for row in sandbox.assistants()] == [SALES["name"]]


async def test_one_object_may_serve_many_clients_loops_and_threads(sandbox: Sandbox) -> None:
    class Counting:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def __call__(self, request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
            await asyncio.sleep(0)
            self.seen.append(request.operation)
            return await call_next(request)

    counting = Counting()

    def blocking() -> None:
        url = sandbox.base_url
        with lisn_sync.Lisn(sandbox.token, base_url=url, middleware=[counting]) as lisn:
            for _ in range(5):
                lisn.assistants.list()

    async def elsewhere() -> None:
        async with client_of(sandbox, counting) as client:
            await asyncio.gather(*(client.assistants.list() for _ in range(5)))

    await asyncio.gather(
        *(elsewhere() for _ in range(2)),
        *(asyncio.to_thread(blocking) for _ in range(2)),
        *(asyncio.to_thread(asyncio.run, elsewhere()) for _ in range(2)),
    )
    assert counting.seen == ["assistants.list"] * 30
    assert len(sandbox.seen) == 30


@pytest.mark.parametrize("fault", ["404", "reset"])
def test_an_error_shows_the_callers_line_its_own_and_at_most_five_of_ours(fault: str) -> None:
    # In a process of its own: OpenTelemetry adds a frame where another test loaded it.
    script("""
        import sys, traceback, lisn_sync
        async def look(request, call_next):
            return await call_next(request)
        with lisn_sync.Sandbox() as box, lisn_sync.Lisn(
            box.token, base_url=box.base_url, max_retries=0, middleware=[look]
        ) as client:
            box.faults = [int(sys.argv[1]) if sys.argv[1].isdigit() else sys.argv[1]]
            try:
                client.assistants.get("ast_x")
            except lisn_sync.APIError as error:
                names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
                assert names == ["<module>", "get", "run", "get", "pass_through", "look", "_call"], names
            else:
                raise AssertionError
    """, fault)  # fmt: skip


async def test_copies_of_a_client_have_it_too_and_it_may_use_another_client(sandbox: Sandbox) -> None:
    seen: list[str] = []

    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        seen.append(request.operation)
        async with AsyncLisn(sandbox.token, base_url=sandbox.base_url) as other:
            await other.assistants.list()
        return await call_next(request)

    async with client_of(sandbox, look) as client:
        await client.with_options(max_retries=0).assistants.create(**SALES)
    assert seen == ["assistants.create"]
    assert [one.method for one in sandbox.seen] == ["GET", "POST"]


# --- bulk -----------------------------------------------------------------------------------------------


async def test_every_item_of_a_bulk_run_passes_through_each_time_it_is_sent(sandbox: Sandbox) -> None:
    seen: list[tuple[str, int | None]] = []

    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.headers["X-Job"] = "j1"
        try:
            response = await call_next(request)
        except LisnError as error:
            seen.append((request.operation, getattr(error, "status_code", None)))
            raise
        seen.append((request.operation, response.status_code))
        return response

    sandbox.faults = [{"status": 429, "retry_after": 0, "operation": "create"}]
    async with client_of(sandbox, look) as client:
        result = await client.assistants.create_many([SPEC] * 3)
    assert len(result.created) == 3
    assert sorted(seen, key=str) == [
        ("assistants.create", 201),
        ("assistants.create", 201),
        ("assistants.create", 201),
        ("assistants.create", 429),
        ("assistants.list", 200),
    ]
    assert {one.headers.get("X-Job") for one in sandbox.seen} == {"j1"}


async def test_an_item_that_it_refuses_failed_and_was_not_sent_and_the_others_go_on(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    class TooMany(Exception):
        pass

    passed = 0

    async def refuse_the_second(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        nonlocal passed
        if request.operation == "assistants.create":
            passed += 1
            if passed == 2:
                raise TooMany("quota")
        return await call_next(request)

    journal = tmp_path / "j"
    specs = [{**SPEC, "name": str(number)} for number in range(3)]
    async with client_of(sandbox, refuse_the_second) as client:
        result = await client.assistants.create_many(specs, max_concurrency=1, journal=journal)
        assert [outcome.status for outcome in result.outcomes] == ["created", "failed", "created"]
        error = result.failed[0].error
        assert isinstance(error, APIConnectionError)
        assert isinstance(error.__cause__, TooMany)
        assert not error.outcome_unknown
        assert "TooMany('quota')" in str(error)
        again = await client.assistants.create_many(specs, max_concurrency=1, journal=journal)
    assert len(again.created) == 3
    assert sorted(row["name"] for row in sandbox.assistants()) == ["0", "1", "2"]


@pytest.mark.parametrize("error", [ConfigurationError("mine"), StopIteration(), StopAsyncIteration()])
async def test_whatever_kind_of_error_it_refuses_items_with_ends_no_run(
    sandbox: Sandbox, error: Exception
) -> None:
    async def refuse(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        if request.operation == "assistants.create" and not sandbox.assistants():
            await sandbox_with_one()
            raise error
        return await call_next(request)

    async def sandbox_with_one() -> None:
        async with AsyncLisn(sandbox.token, base_url=sandbox.base_url) as other:
            await other.assistants.create(**{**SALES, "name": "not of the run"})

    async with client_of(sandbox, refuse) as client:
        each = client.assistants.create_each([SPEC] * 3, max_concurrency=1)
        statuses = [outcome.status async for outcome in each]
    assert statuses == ["failed", "created", "created"]


async def test_what_ends_a_run_ends_it_and_is_no_item_that_was_refused(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        return await call_next(request)

    async with client_of(sandbox, look) as client:
        with pytest.raises(ConfigurationError, match="closed"):
            async for _ in client.assistants.create_each([SPEC] * 500, max_concurrency=2):
                await client.aclose()

    tokens = iter([sandbox.token, "not a token"])
    sandbox.faults = [{"status": 401, "operation": "create"}]
    async with AsyncLisn(lambda: next(tokens), base_url=sandbox.base_url, middleware=[look]) as client:
        with pytest.raises(BulkError, match="api_token returned"):
            await client.assistants.create_many([SPEC] * 5)


async def test_what_the_service_said_of_an_item_counts_whatever_a_middleware_makes_of_it(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        response = await call_next(request)
        if request.operation == "assistants.create":
            raise ValueError("a bug of mine")
        return response

    with caplog.at_level(logging.WARNING, "lisn"):
        async with client_of(sandbox, breaks) as client:
            result = await client.assistants.create_many([SPEC, SPEC])
    assert [outcome.status for outcome in result.outcomes] == ["created", "created"]
    assert len(sandbox.assistants()) == 2
    assert "a middleware failed after it was sent: ValueError('a bug of mine')" in caplog.text


async def test_an_item_whose_reply_was_lost_is_settled_although_a_middleware_made_something_up(
    sandbox: Sandbox,
) -> None:
    async def comforts(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        try:
            return await call_next(request)
        except LisnError:
            return RawResponse(status_code=200, headers={}, attempts=1, result=None)

    sandbox.faults = [{"do": "reset", "when": "after", "operation": "create"}]
    async with client_of(sandbox, comforts) as client:
        result = await client.assistants.create_many([SPEC, SPEC], settle=0.01)
    assert len(result.created) == 2
    assert len(sandbox.assistants()) == 2


def keeping() -> Any:
    kept: dict[str, RawResponse[Any]] = {}

    async def keeps(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        if request.method == "GET" and request.url in kept:
            return kept[request.url]
        response = await call_next(request)
        kept[request.url] = response
        return response

    return keeps


async def falls_back(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
    try:
        return await call_next(request)
    except LisnError:
        return RawResponse(status_code=200, headers={}, attempts=1, result=[])


async def filters(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
    response = await call_next(request)
    if request.operation == "assistants.list":
        response.parse()[:] = []
    return response


async def says_not_found(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
    response = await call_next(request)
    if request.operation == "assistants.list":
        raise NotFoundError("mine", "GET", "", 1, False, 404, None, {})
    return response


@pytest.mark.parametrize(
    ("middleware", "status"),
    [(keeping(), "unknown"), (falls_back, "unknown"), (filters, "created"), (says_not_found, "created")],
)
async def test_a_listing_that_is_not_the_services_own_lets_no_run_create_twice(
    sandbox: Sandbox, no_waiting: list[float], middleware: Any, status: str
) -> None:
    sandbox.faults = [{"do": "reset", "when": "after", "operation": "create"}]

    async def fails(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        if middleware is falls_back and request.method == "GET" and sandbox.assistants():
            raise APIConnectionError("down", "GET", "", 1, False)
        return await call_next(request)

    async with client_of(sandbox, middleware, fails) as client:
        result = await client.assistants.create_many([SPEC], settle=0.01)
    assert [outcome.status for outcome in result.outcomes] == [status]
    assert len(sandbox.assistants()) == 1


async def test_a_run_that_may_not_list_begins_nothing_although_a_middleware_comforts(
    sandbox: Sandbox,
) -> None:
    sandbox.faults = [{"status": 403, "operation": "list"}]
    async with client_of(sandbox, falls_back) as client:
        with pytest.raises(PermissionDeniedError):
            await client.assistants.create_many([SPEC])
    assert [one.method for one in sandbox.seen] == ["GET"]


@pytest.mark.parametrize("falls_back", [False, True])
async def test_an_item_that_it_gives_up_under_way_is_looked_for_and_never_made_twice(
    sandbox: Sandbox, tmp_path: Path, falls_back: bool
) -> None:
    async def gives_up(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        if request.operation != "assistants.create":
            return await call_next(request)
        passing_on = asyncio.ensure_future(call_next(request))
        await sandbox.received(1, operation="create")
        passing_on.cancel()
        if falls_back:
            return RawResponse(status_code=200, headers={}, attempts=1, result=None)
        raise TimeoutError

    sandbox.faults = [{"do": "hang", "when": "after", "operation": "create"}]
    async with client_of(sandbox, gives_up) as client:
        for _ in range(2):
            result = await client.assistants.create_many([SPEC], journal=tmp_path / "j", settle=0.01)
            assert [outcome.status for outcome in result.outcomes] == ["created"]
    assert len(sandbox.assistants()) == 1


async def test_an_item_that_it_left_waiting_is_not_sent_later(sandbox: Sandbox) -> None:
    left: list[asyncio.Future[Any]] = []

    async def leaves(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        if request.operation != "assistants.create":
            return await call_next(request)
        holding = [asyncio.ensure_future(client.assistants.get("ast_1"))]
        await sandbox.received(1, operation="get")
        left.append(asyncio.ensure_future(call_next(request)))
        await asyncio.sleep(0)  # it waits for the one connection
        holding.pop().cancel()
        raise LookupError("tired of waiting")

    sandbox.faults = [{"do": "hang", "operation": "get"}]
    async with client_of(sandbox, leaves, max_connections=1) as client:
        result = await client.assistants.create_many([SPEC])
        assert [outcome.status for outcome in result.outcomes] == ["failed"]
        await asyncio.wait(left)
    assert sandbox.assistants() == []


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_an_answer_that_it_made_up_for_an_item_fails_it_and_the_others_go_on(
    sandbox: Sandbox, method: str
) -> None:
    methods: list[str] = []

    async def makes_up(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        methods.append(request.method)
        if request.method == method and methods.count(method) == 1:
            return RawResponse(status_code=200, headers={}, attempts=1, result=None)
        return await call_next(request)

    async with client_of(sandbox, makes_up) as client:
        result = await client.assistants.create_many([SPEC] * 2, exact="marker", max_concurrency=1)
    first, second = result.outcomes
    assert (first.status, second.status) == ("failed" if method == "POST" else "unknown", "created")
    assert "a middleware answered" in str(first.error)


async def test_a_cancellation_of_its_own_fails_an_item_and_not_the_run(sandbox: Sandbox) -> None:
    begun = 0

    async def waits_for_another(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        nonlocal begun
        begun += request.operation == "assistants.create"
        if begun == 1:
            other = asyncio.ensure_future(asyncio.Event().wait())
            other.cancel()
            await other
        return await call_next(request)

    async with client_of(sandbox, waits_for_another) as client:
        result = await client.assistants.create_many([SPEC] * 2, max_concurrency=1)
    assert [outcome.status for outcome in result.outcomes] == ["failed", "created"]
    assert "CancelledError" in str(result.failed[0].error)


async def test_errors_of_items_die_at_once_without_the_collector(sandbox: Sandbox) -> None:
    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        return await call_next(request)

    sandbox.faults = [{"status": 422, "operation": "create", "times": 20}]
    async with client_of(sandbox, look) as client:
        await client.assistants.list()
        gc.collect()
        gc.disable()
        try:
            result = await client.assistants.create_many([SPEC] * 20)
            errors = [weakref.ref(outcome.error) for outcome in result.failed if outcome.error is not None]
            assert len(errors) == 20
            del result
            assert [error for error in errors if error() is not None] == []
        finally:
            gc.enable()


# --- the shim -------------------------------------------------------------------------------------------


def test_the_sync_client_takes_the_same_functions(lisn_sandbox: Any) -> None:
    seen: list[str] = []

    async def look(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.headers["X-Sync"] = "yes"
        seen.append(request.operation)
        return await call_next(request)

    with lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url, middleware=[look]) as client:
        client.assistants.create(**SALES)
        outcomes: list[BulkOutcome] = list(client.assistants.create_each([SPEC]))  # type: ignore[list-item]
    assert [outcome.status for outcome in outcomes] == ["created"]
    assert seen == ["assistants.create", "assistants.list", "assistants.create"]
    assert {one.headers["X-Sync"] for one in lisn_sandbox.seen} == {"yes"}


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["create", "settling list"])
def test_one_that_ends_the_program_during_a_bulk_run_leaves_the_loop_of_all_alone(
    lisn_sandbox: Any, error: type[BaseException], place: str, tmp_path: Path
) -> None:
    lists = 0

    async def exits(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        nonlocal lists
        lists += request.operation == "assistants.list"
        response = await call_next(request)
        if lists == 2 or (place == "create" and request.operation == "assistants.create"):
            raise error
        return response

    if place != "create":
        lisn_sandbox.faults = [{"do": "reset", "when": "after", "operation": "create"}]
    url = lisn_sandbox.base_url
    with lisn_sync.Lisn(lisn_sandbox.token, base_url=url, middleware=[exits]) as client:
        loop = home.background
        with pytest.raises(error):
            client.assistants.create_many([SPEC], settle=0.01, journal=tmp_path / "j")  # type: ignore[list-item]
    with lisn_sync.Lisn(lisn_sandbox.token, base_url=url) as other:
        result = other.assistants.create_many([SPEC], settle=0.01, journal=tmp_path / "j")  # type: ignore[list-item]
        assert len(other.assistants.list()) == 1
    assert [outcome.status for outcome in result.outcomes] == ["created"]
    assert home.background is loop


def test_one_that_calls_the_sync_client_is_told_so(lisn_sandbox: Any) -> None:
    async def recurse(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        client.assistants.list()
        return await call_next(request)

    client = lisn_sync.Lisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url, middleware=[recurse])
    with client, pytest.raises(RuntimeError, match="in the thread of its own event loop"):
        client.assistants.list()
    assert lisn_sandbox.seen == []


# --- mistakes -------------------------------------------------------------------------------------------


async def test_an_error_after_the_reply_says_what_the_service_had_done(sandbox: Sandbox) -> None:
    async def forgets(request: APIRequest, call_next: CallNext) -> None:
        await call_next(request)

    async def breaks(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        await call_next(request)
        raise ValueError("a bug of mine")

    async def repeats(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        await call_next(request)
        return await call_next(request)

    for number, wrong in enumerate((forgets, breaks, repeats)):
        async with client_of(sandbox, wrong) as client:
            with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
                await client.assistants.create(**SALES)
        made = sandbox.assistants()[number]["id"]
        [note] = caught.value.__notes__
        assert f"{wrong.__name__} failed after the service had done it" in note
        assert f"assistants.create was answered with 201, {made}" in note


@pytest.mark.parametrize("call", ["create", "list"])
@pytest.mark.parametrize("fault", ["hang", "reset", 422])
async def test_an_error_in_place_of_the_reply_says_whether_it_may_have_taken_effect(
    sandbox: Sandbox, call: str, fault: str | int
) -> None:
    async def has_errors_of_its_own(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        try:
            async with asyncio.timeout(0.2 if fault == "hang" else 60):
                return await call_next(request)
        except (APIError, TimeoutError):
            raise ValueError from None

    sandbox.faults = [{"status": 422} if fault == 422 else {"do": fault, "when": "after"}]
    async with client_of(sandbox, has_errors_of_its_own, max_retries=0) as client:
        with pytest.raises(ValueError) as caught:
            await (client.assistants.create(**SALES) if call == "create" else client.assistants.list())
    notes = " ".join(getattr(caught.value, "__notes__", []))
    assert ("it may have taken effect" in notes) == (call == "create" and fault != 422), notes


async def test_an_error_before_the_reply_says_nothing_of_one(sandbox: Sandbox) -> None:
    async def refuses(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        raise ValueError

    async with client_of(sandbox, refuses) as client:
        with pytest.raises(ValueError) as caught:
            await client.assistants.create(**SALES)
    assert not hasattr(caught.value, "__notes__")


async def test_where_a_call_goes_cannot_be_changed(sandbox: Sandbox) -> None:
    async def diverts(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        request.url = "https://elsewhere.example"
        return await call_next(request)

    async def diverts_a_copy(request: APIRequest, call_next: CallNext) -> RawResponse[Any]:
        return await call_next(attrs.evolve(request, url="https://elsewhere.example"))

    async with client_of(sandbox, diverts) as client:
        with pytest.raises(AttributeError):
            await client.assistants.list()
    async with client_of(sandbox, diverts_a_copy) as client:
        with pytest.raises(RuntimeError, match="where a call goes cannot be changed"):
            await client.assistants.list()
    assert sandbox.seen == []


def test_one_that_does_not_take_two_arguments_is_refused_when_the_client_is_made() -> None:
    async def lonely(request: APIRequest) -> None: ...

    with pytest.raises(ConfigurationError, match=r"lonely must take two arguments"):
        AsyncLisn("t", middleware=[lonely])  # type: ignore[list-item]
