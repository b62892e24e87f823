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


Generated from lisn_async/errors.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

from lisn_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BulkError,
    ConfigurationError,
    ConflictError,
    IncompleteListError,
    InternalServerError,
    JournalError,
    JournalInUseError,
    LisnError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    ValidationError,
    WebhookError,
    WebhookPayloadError,
    WebhookVerificationError,
)

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
