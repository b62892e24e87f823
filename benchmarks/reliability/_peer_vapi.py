"""Vapi's library, `POST /assistant`."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from typing import Any

from _peer_create import main
from vapi import Vapi
from vapi.assistants.client import AssistantsClient  # else imported while the clock of a request runs

assert AssistantsClient


def create(url: str, timeout: float) -> Any:
    return Vapi(token="dummy", base_url=url, timeout=timeout).assistants.create(name="n")


main("vapi_server_sdk", create)
