"""The family of errors: names, statuses, and what an error carries through pickle."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from lisn_async import (
    APIStatusError,
    Assistant,
    AsyncLisn,
    BulkError,
    BulkOutcome,
    BulkResult,
    LisnError,
    errors,
)
from lisn_async.sandbox import Sandbox

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LisnError)]
SAMPLES: dict[str, Any] = {
    "fields": {"name": "is required"},
    "method": "GET",
    "url": "http://127.0.0.1/v1/assistants",
    "attempts": 2,
    "outcome_unknown": True,
    "partial": [Assistant(id="ast_1")],
    "status_code": 429,
    "body": {"error": "x"},
    "headers": {"x": "y"},
    "request_id": "req_1",
    "retry_after": 1.5,
    "result": BulkResult([BulkOutcome(index=0, status="failed", spec={"name": "n"}, error=LisnError("no"))]),
}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_pickle_with_all_it_carries(kind: type[LisnError]) -> None:
    names = [name for name in kind.__attrs_attrs__ if name.name != "message"]
    error = kind("what went wrong", *(SAMPLES[field.name] for field in names))

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert str(again) == "what went wrong"
    for field in names:
        if field.name != "result":
            assert getattr(again, field.name) == SAMPLES[field.name]
    if isinstance(again, BulkError):
        assert str(again.result.failed[0].error) == "no"


def test_the_second_bases_are_the_builtin_ones_a_caller_expects() -> None:
    assert issubclass(errors.ValidationError, ValueError)
    assert issubclass(errors.APITimeoutError, TimeoutError)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (302, "APIStatusError"),
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (402, "APIStatusError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (405, "APIStatusError"),
        (409, "ConflictError"),
        (413, "APIStatusError"),
        (415, "APIStatusError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "InternalServerError"),
        (599, "InternalServerError"),
    ],
)
async def test_a_status_is_its_own_class(sandbox: Sandbox, status: int, name: str) -> None:
    sandbox.faults = [status]
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, max_retries=0) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.assistants.list()
    error = caught.value
    assert type(error).__name__ == name
    assert (error.status_code, error.method, error.attempts) == (status, "GET", 1)
    assert error.url == f"{sandbox.base_url}/v1/assistants"
    assert error.request_id
    assert not error.outcome_unknown, "a GET has no effect"
