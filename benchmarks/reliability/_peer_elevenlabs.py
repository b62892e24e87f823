"""ElevenLabs' library, `POST /v1/convai/agents/create`."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from typing import Any

from _peer_create import main
from elevenlabs import ConversationalConfig
from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.agents.client import (
    AgentsClient,
)  # else imported while a request's clock runs

assert AgentsClient


def create(url: str, timeout: float) -> Any:
    client = ElevenLabs(api_key="dummy", base_url=url, timeout=timeout)
    return client.conversational_ai.agents.create(conversation_config=ConversationalConfig(), name="n")


main("elevenlabs", create)
