"""Both packages in the same words, so that one test holds for either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import attrs
import pytest

from lisn_async import AsyncLisn
from lisn_sync import Lisn


@attrs.frozen
class Surface:
    """A client of either package. Blocking calls run in a thread of their own: the server is in the test's loop."""

    client: Any

    async def __call__(self, operation: str, *arguments: Any, raw: bool = False, **fields: Any) -> Any:
        """What one call of `client.assistants` gives; with `raw`, the response that it came in."""
        api = self.client.assistants
        return await self._run(
            getattr(api.with_raw_response if raw else api, operation), *arguments, **fields
        )

    def with_options(self, **options: Any) -> Surface:
        return Surface(self.client.with_options(**options))

    async def close(self) -> None:
        await self._run(getattr(self.client, "aclose", None) or self.client.close)

    async def __aenter__(self) -> Self:
        await self._run(getattr(self.client, "__aenter__", None) or self.client.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._run(getattr(self.client, "__aexit__", None) or self.client.__exit__, None, None, None)

    async def _run(self, function: Callable[..., Any], *arguments: Any, **fields: Any) -> Any:
        if isinstance(self.client, AsyncLisn):
            return await function(*arguments, **fields)
        return await asyncio.to_thread(function, *arguments, **fields)


Making: TypeAlias = Callable[..., Surface]


@pytest.fixture(params=[AsyncLisn, Lisn], ids=["lisn_async", "lisn_sync"])
def surface(request: pytest.FixtureRequest) -> Making:
    """Makes a client: `async with surface(token, base_url=...) as call: await call("get", "ast_1")`."""

    def make(token: str, **options: Any) -> Surface:
        return Surface(request.param(token, **options))

    return make
