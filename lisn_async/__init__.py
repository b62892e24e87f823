"""Lisn's Assistants API for asyncio. Begin with `AsyncLisn`; `lisn_sync` is the same for blocking code."""

from ._version import __version__

TYPE_CHECKING = False  # `typing` would be most of this import
if TYPE_CHECKING:
    from ._middleware import APIRequest, CallNext, Middleware
    from ._response import RawResponse
    from ._tokens import TokenSource
    from .bulk import BulkOutcome, BulkProgress, BulkResult
    from .client import AsyncLisn
    from .errors import (
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
    from .models import (
        UNSET,
        Assistant,
        AssistantCreate,
        AssistantType,
        AssistantUpdate,
        LLMProvider,
        STTProvider,
        Unset,
    )
    from .rate_limit import RateLimit
    from .resources import AsyncAssistants, AsyncAssistantsWithRawResponse

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
    "AsyncAssistants",
    "AsyncAssistantsWithRawResponse",
    "AsyncLisn",
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
    "LisnError",
    "Middleware",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimit",
    "RateLimitError",
    "RawResponse",
    "STTProvider",
    "TokenSource",
    "UnprocessableEntityError",
    "Unset",
    "ValidationError",
    "WebhookError",
    "WebhookPayloadError",
    "WebhookVerificationError",
    "__version__",
]

if (
    not TYPE_CHECKING
):  # a module with `__getattr__` has every name, for a type checker: misspelled ones as well
    from ._front_door import opened_when_asked

    __getattr__, __dir__ = opened_when_asked(
        globals(),
        ".errors",
        ".models",
        ".rate_limit",
        ".bulk",
        "._response",
        "._middleware",
        ".resources",
        ".client",
        "._tokens",
    )
