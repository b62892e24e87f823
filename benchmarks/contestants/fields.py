"""What everybody sends. Standard library only."""

from __future__ import annotations

from typing import Any

PROMPT = (
    "You listen to a call between a customer and an agent of our support team.\n"
    'Answer as JSON: {"mood": "calm" | "angry", "solved": true | false, "summary": "..."}.\n'
    "Quote the customer where it matters, in their own words, and name no third person.\n\n"
) * 6
"""1.5 KB, with the line breaks and quotation marks that prompts have."""

HEADERS = {"Authorization": "Bearer token"}


def fields(number: int) -> dict[str, Any]:
    """An assistant of a usual size."""
    return {
        "name": f"Quality of calls, team {number}",
        "type": "text",
        "llm_provider": "openai",
        "system_prompt": PROMPT,
        "temperature": 0.5,
    }
