"""What a client offers, one noun each."""

from .assistants import AsyncAssistants, AsyncAssistantsWithRawResponse

__all__ = ["AsyncAssistants", "AsyncAssistantsWithRawResponse"]
