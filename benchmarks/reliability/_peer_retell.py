"""Retell's library, `POST /create-retell-llm`."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from typing import Any

from _peer_create import main
from retell import Retell
from retell.resources.llm import LlmResource  # else imported while the clock of a request runs

assert LlmResource


def create(url: str, timeout: float) -> Any:
    return Retell(api_key="dummy", base_url=url, timeout=timeout).llm.create(general_prompt="p")


main("retell-sdk", create)
