"""The words of the API: assistants and what they are made of.

Generated from lisn_async/models/__init__.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

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

__all__ = [
    "UNSET",
    "Assistant",
    "AssistantCreate",
    "AssistantType",
    "AssistantUpdate",
    "LLMProvider",
    "STTProvider",
    "Unset",
]
