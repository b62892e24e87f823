"""Canned replies, for the few unit tests where the reply is the point and the wire is not.

aioresponses 0.7.9 builds `ClientResponse` without `stream_writer`, which aiohttp 3.14 requires
(`TypeError: ... missing 1 required keyword-only argument: 'stream_writer'`). aiohttp reads one thing
from it, the size of what was written; so the name aioresponses calls is given a subclass that fills it in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import aioresponses.core
import pytest


class _Response(aiohttp.ClientResponse):
    def __init__(self, method: str, url: Any, **given: Any) -> None:
        given.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(method, url, **given)


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses.aioresponses]:
    """aioresponses, mended: `canned.get(url, payload=...)`."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", _Response)
    with aioresponses.aioresponses() as replies:
        yield replies
