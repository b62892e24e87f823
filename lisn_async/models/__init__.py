"""The words of the API: assistants and what they are made of."""

from ._unset import UNSET, Unset
from .assistant import (
    Assistant,
    AssistantCreate,
    AssistantType,
    AssistantUpdate,
    LLMProvider,
    STTProvider,
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
