"""What can go wrong, as one family: `except LisnError` is always enough.

LisnError
├── ConfigurationError               the client was set up in a way that cannot work
├── ValidationError (ValueError)     an argument is wrong; nothing was sent
├── APIError                         .method .url .attempts .outcome_unknown
│   ├── APIConnectionError           no usable reply came
│   │   └── APITimeoutError (TimeoutError)
│   ├── APIResponseError             a reply came that cannot be understood
│   │   └── IncompleteListError      .partial
│   └── APIStatusError               .status_code .body .headers .request_id .retry_after
│       ├── BadRequestError 400      ├── AuthenticationError 401   ├── PermissionDeniedError 403
│       ├── NotFoundError 404        ├── ConflictError 409         ├── UnprocessableEntityError 422
│       ├── RateLimitError 429       └── InternalServerError 5xx
├── BulkError                        .result
├── JournalError
│   └── JournalInUseError            another run has it: later it may be free
└── WebhookError
    ├── WebhookVerificationError     └── WebhookPayloadError

The fields are positional, so that every error survives `pickle`: `BaseException` rebuilds an error
from its `args`, and attrs fills those with the fields in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .bulk import BulkResult
    from .models import Assistant

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BulkError",
    "ConfigurationError",
    "ConflictError",
    "IncompleteListError",
    "InternalServerError",
    "JournalError",
    "JournalInUseError",
    "LisnError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "UnprocessableEntityError",
    "ValidationError",
    "WebhookError",
    "WebhookPayloadError",
    "WebhookVerificationError",
]


# No slots: two of the classes have a second, built-in base, and two layouts cannot be joined.
# Decorated are those with fields of their own: the others inherit all that attrs makes, which takes it half a
# millisecond for each.
@attrs.define(eq=False, slots=False)
class LisnError(Exception):
    """Every error of this SDK."""

    message: str

    def __str__(self) -> str:
        return self.message


class ConfigurationError(LisnError):
    """The client cannot work as it was set up: a missing token, a bad URL, a number out of range."""


@attrs.define(eq=False, slots=False)
class ValidationError(LisnError, ValueError):
    """Arguments that the API's documentation rules out; nothing was sent.

    `fields` names every wrong field at once, with the reason.
    """

    fields: Mapping[str, str] = attrs.field(factory=dict)


@attrs.define(eq=False, slots=False)
class APIError(LisnError):
    """A call that was tried and did not succeed.

    `outcome_unknown` is True where the request may have taken effect although no usable reply
    came: look (`list()`) before you send it again.
    """

    method: str
    url: str
    attempts: int = 1
    outcome_unknown: bool = False


class APIConnectionError(APIError):
    """No usable reply came: no connection, or it broke before the reply was whole."""


class APITimeoutError(APIConnectionError, TimeoutError):
    """The time for one attempt (`timeout`) or for the whole call (`deadline`) ran out."""


class APIResponseError(APIError):
    """A reply came that cannot be understood."""


@attrs.define(eq=False, slots=False)
class IncompleteListError(APIResponseError):
    """The reply says that there are more assistants than it holds; `partial` has those it held."""

    partial: list[Assistant] = attrs.field(factory=list, repr=lambda found: f"<{len(found)} assistants>")


@attrs.define(eq=False, slots=False)
class APIStatusError(APIError):
    """The service answered with a status that is no success.

    `body` is the decoded JSON, else the text, else None; our own secrets are replaced in it.
    `retry_after` is in seconds, where the service named a time to come back.
    """

    status_code: int = 0
    body: object = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    request_id: str | None = None
    retry_after: float | None = None


class BadRequestError(APIStatusError):
    """400: the service could not read the request."""


class AuthenticationError(APIStatusError):
    """401: the API token is missing, wrong or revoked."""


class PermissionDeniedError(APIStatusError):
    """403: the token is known but not allowed to do this."""


class NotFoundError(APIStatusError):
    """404: there is no such assistant."""


class ConflictError(APIStatusError):
    """409: the request contradicts the state of the service."""


class UnprocessableEntityError(APIStatusError):
    """422: the service refused the values."""


class RateLimitError(APIStatusError):
    """429: too many requests; nothing was done. `retry_after` says when to come back, if known."""


class InternalServerError(APIStatusError):
    """5xx: the service failed, perhaps after it had done the work."""


@attrs.define(eq=False, slots=False)
class BulkError(LisnError):
    """Some items of a bulk job were not created; `result` holds every outcome."""

    result: BulkResult = attrs.field(repr=False)


class JournalError(LisnError):
    """The journal of a bulk job cannot be used: it is damaged, of another job, or cannot be opened or written."""


class JournalInUseError(JournalError):
    """Another run has the journal now. Once that has ended the same call goes on from there."""


class WebhookError(LisnError):
    """A webhook delivery that must not be believed or cannot be read."""


class WebhookVerificationError(WebhookError):
    """The delivery does not carry the secret that was agreed on."""


class WebhookPayloadError(WebhookError):
    """The delivery is authentic but its body cannot be understood."""
