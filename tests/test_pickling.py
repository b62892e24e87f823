"""What goes to a worker and comes back: specs, results and every error are the same there; a client stays at home."""

from __future__ import annotations

import copy
import inspect
import io
import multiprocessing
import pickle
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import attrs
import pytest

import lisn_async
from lisn_async import (
    UNSET,
    APIStatusError,
    Assistant,
    AssistantCreate,
    AssistantUpdate,
    AsyncLisn,
    BulkError,
    BulkOutcome,
    BulkProgress,
    BulkResult,
    LisnError,
    RateLimit,
    RawResponse,
    errors,
)
from lisn_async._response import CaseInsensitive
from lisn_async.sandbox import Sandbox
from lisn_sync import Lisn

TOKEN = "a-token-nobody-may-see"
SPEC = AssistantCreate(
    name="Ünï",
    type="text",
    llm_provider="grok",
    system_prompt="p",
    temperature=None,
    webhook_secret="whsec",
    extra_body={"plan": {"a": [1, None]}},
)
ROW = Assistant(id="ast_1", name="Ünï", webhook_secret="whsec", extra={"created_at": "2026-01-01"})
RESULT = BulkResult(
    [
        BulkOutcome(index=0, status="created", spec=SPEC, assistant=ROW),
        BulkOutcome(index=1, status="failed", spec={"name": "n", "webhook_secret": "whsec"}),
    ],
    surplus=[ROW],
    doubt="the listing was cut",
)
VALUES = [
    SPEC,
    AssistantUpdate(name="m", webhook_secret=None),
    ROW,
    *RESULT.outcomes,
    RESULT,
    BulkProgress(done=3, created=1, failed=1, unknown=1, total=None, elapsed=1.5, resumed=1),
    RateLimit(10, 1.5, burst=2, redis="redis://:pw@cache:6379/1", key="k"),
    RawResponse(status_code=201, headers=CaseInsensitive({"X-Request-Id": "r"}), attempts=2, result=ROW),
]
SAMPLES: dict[str, Any] = {
    "message": "what went wrong",
    "fields": {"name": "is required"},
    "method": "POST",
    "url": "https://app.lisn.dev/api/v1/assistants",
    "attempts": 2,
    "outcome_unknown": True,
    "partial": [ROW],
    "status_code": 429,
    "body": {"error": ["x", None]},
    "headers": {"x-request-id": "req_1"},
    "request_id": "req_1",
    "retry_after": 1.5,
    "result": RESULT,
}


def pickled(protocol: int, thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {number}": partial(pickled, number) for number in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
START_METHODS = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])


def families(kind: type[LisnError] = LisnError) -> Iterator[type[LisnError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from families(below)


ERRORS = [kind for kind in families() if kind.__module__.startswith("lisn_async")]


def made(kind: type[LisnError]) -> LisnError:
    """One of them, with something in every field that it has."""
    error = kind(*(SAMPLES[field.name] for field in attrs.fields(kind)))
    error.__cause__ = OSError("underneath")
    return error


def fields_of(error: LisnError) -> dict[str, Any]:
    return {field.name: getattr(error, field.name) for field in attrs.fields(type(error))}


# --- the values, by every way ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_the_same_on_the_other_side(value: Any, way: str) -> None:
    again = WAYS[way](value)
    assert type(again) is type(value)
    assert again == value
    assert repr(again) == repr(value)
    assert "whsec" not in repr(again)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_left_out_is_still_left_out(way: str) -> None:
    assert WAYS[way](UNSET) is UNSET
    assert WAYS[way](SPEC).description is UNSET
    assert WAYS[way](SPEC).temperature is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_has_all_that_it_had(kind: type[LisnError], way: str) -> None:
    error = made(kind)
    again = WAYS[way](error)
    assert type(again) is kind
    assert str(again) == str(error) == "what went wrong"
    assert fields_of(again) == fields_of(error)
    assert again.args == error.args


def test_no_public_error_was_forgotten() -> None:
    public = {kind for _, kind in inspect.getmembers(lisn_async) if inspect.isclass(kind)}
    assert {kind for kind in public if issubclass(kind, BaseException)} <= set(ERRORS)
    assert set(SAMPLES) >= {field.name for kind in ERRORS for field in attrs.fields(kind)}


async def test_what_a_real_reply_became_pickles_too(sandbox: Sandbox) -> None:
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, max_retries=0) as client:
        raw = await client.assistants.with_raw_response.create(SPEC)
        again = pickle.loads(pickle.dumps(raw))
        assert again == raw
        assert again.parse() == raw.parse()
        assert again.request_id == raw.request_id is not None
        assert again.headers["CONTENT-TYPE"] == raw.headers["content-type"]
        sandbox.faults = [{"status": 429, "retry_after": 3}]
        with pytest.raises(APIStatusError) as caught:
            await client.assistants.list()
    error = pickle.loads(pickle.dumps(caught.value))
    assert fields_of(error) == fields_of(caught.value)
    assert error.headers["RETRY-AFTER"] == "3"


# --- through real processes -----------------------------------------------------------------------------


def same(value: Any) -> Any:
    """In a worker: what arrived, to be sent back."""
    return value


def is_unset(spec: AssistantCreate) -> bool:
    return spec.description is UNSET


def fail(kind: type[LisnError]) -> None:
    raise made(kind) from OSError("underneath")


@START_METHODS
def test_a_process_pool_takes_and_gives_all_of_them(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(same, VALUES)) == VALUES
        assert pool.submit(is_unset, SPEC).result()
        failed = [(kind, pool.submit(fail, kind)) for kind in ERRORS]
        for kind, future in failed:
            error = future.exception()
            assert type(error) is kind
            assert fields_of(error) == fields_of(made(kind))


def test_an_error_from_a_worker_is_caught_as_what_it_is() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        with pytest.raises(TimeoutError):
            pool.submit(fail, errors.APITimeoutError).result()
        with pytest.raises(ValueError, match="what went wrong"):
            pool.submit(fail, errors.ValidationError).result()
        with pytest.raises(BulkError) as caught:
            pool.submit(fail, BulkError).result()
    assert caught.value.result.failed[0].index == 1


# --- a client does not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AsyncLisn, Lisn])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "copy"])
def test_a_client_says_that_it_belongs_into_the_worker_and_shows_no_token(kind: Any, way: str) -> None:
    client = kind(TOKEN)
    for thing in (client, client.assistants, client.assistants.create, client.with_options(timeout=1)):
        with pytest.raises(TypeError, match="every process makes its own") as caught:
            WAYS[way](thing)
        assert TOKEN not in "".join(traceback.format_exception(caught.value))
        frames = [frame for frame, _ in traceback.walk_tb(caught.tb) if "lisn" in frame.f_code.co_filename]
        assert TOKEN not in repr([frame.f_locals for frame in frames if frame.f_code.co_name != way])


@pytest.mark.parametrize("kind", [AsyncLisn, Lisn])
def test_what_was_pickled_of_a_client_before_it_failed_holds_no_token(kind: Any) -> None:
    written = io.BytesIO()
    with pytest.raises(TypeError):
        pickle.Pickler(written).dump(kind(TOKEN))
    assert TOKEN.encode() not in written.getvalue()


def test_a_pool_that_is_given_a_method_of_a_client_says_what_is_wrong() -> None:
    client = Lisn(TOKEN)
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(TypeError, match="every process makes its own"),
    ):
        pool.submit(client.assistants.create, SPEC).result()
