"""OpenAI's library, `POST /assistants`."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import warnings
from typing import Any

from _peer_create import main
from openai import OpenAI
from openai.resources.beta.assistants import Assistants

warnings.simplefilter("ignore", DeprecationWarning)


def create(url: str, timeout: float) -> Any:
    client = OpenAI(api_key="sk-dummy", base_url=f"{url}/v1", timeout=timeout)
    return Assistants(client).create(model="gpt-4o-mini", name="n", instructions="p")


main("openai", create)
