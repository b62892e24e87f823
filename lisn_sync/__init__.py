"""Lisn's Assistants API for blocking code. Begin with `Lisn`; `lisn_async` is the same for asyncio.

Generated from lisn_async/__init__.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

from lisn_async import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lisn_async import APIRequest, CallNext, Middleware, RawResponse, TokenSource
    from lisn_async.bulk import BulkOutcome, BulkProgress, BulkResult
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
    from lisn_async.models import (
        UNSET,
        Assistant,
        AssistantCreate,
        AssistantType,
        AssistantUpdate,
        LLMProvider,
        STTProvider,
        Unset,
    )
    from lisn_async.rate_limit import RateLimit
    from lisn_sync.client import Lisn
    from lisn_sync.resources.assistants import Assistants, AssistantsWithRawResponse
    from lisn_sync.sandbox import Sandbox

__all__ = [
    "UNSET",
    "APIConnectionError",
    "APIError",
    "APIRequest",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "Assistant",
    "AssistantCreate",
    "AssistantType",
    "AssistantUpdate",
    "Assistants",
    "AssistantsWithRawResponse",
    "AuthenticationError",
    "BadRequestError",
    "BulkError",
    "BulkOutcome",
    "BulkProgress",
    "BulkResult",
    "CallNext",
    "ConfigurationError",
    "ConflictError",
    "IncompleteListError",
    "InternalServerError",
    "JournalError",
    "JournalInUseError",
    "LLMProvider",
    "Lisn",
    "LisnError",
    "Middleware",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimit",
    "RateLimitError",
    "RawResponse",
    "STTProvider",
    "Sandbox",
    "TokenSource",
    "UnprocessableEntityError",
    "Unset",
    "ValidationError",
    "WebhookError",
    "WebhookPayloadError",
    "WebhookVerificationError",
    "__version__",
]

if not TYPE_CHECKING:
    from lisn_async._front_door import opened_when_asked

    __getattr__, __dir__ = opened_when_asked(
        globals(),
        ".errors",
        ".models",
        ".rate_limit",
        ".bulk",
        ".resources",
        ".client",
        ".sandbox",
        "lisn_async",
    )
