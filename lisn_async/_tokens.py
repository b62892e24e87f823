"""The API token: given once, or asked for of a function, and asked for anew when the service refuses it."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from ._async_functions import is_async
from ._headers import Lines
from ._secrets import Secret, hide, kind_of
from .errors import ConfigurationError

TokenSource: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
"""A function that returns the token, plain or asynchronous."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


class Bearer:
    """A token as it travels. `is_trusted` while the service may be believed to know it."""

    def __init__(self, token: Secret, *, is_trusted: bool) -> None:
        self.token = token
        self.lines = Lines({"Authorization": Secret(f"Bearer {token}")})
        self.is_trusted = is_trusted


class Tokens:
    """The token of a client, shared by its copies."""

    def __init__(self, given: Secret | TokenSource) -> None:
        self._source = None if isinstance(given, Secret) else given
        self._was_asked = False
        self.now = Bearer(given, is_trusted=True) if isinstance(given, Secret) else None
        """None while the function has to be asked."""

    async def get(self, asking: asyncio.Lock) -> Bearer:
        """The token to be sent; `asking` sees to it that a loop asks once. Raises `ConfigurationError` if it is none.

        Whatever the function raises, it raises.
        """
        async with asking:
            if self.now is None:
                token = checked_token(await self._ask(), "what the function api_token returned")
                # The first may be an old one. Of those that came after a refusal each has to prove itself, else a
                # function that always has another one would make calls go round for ever.
                self.now = Bearer(token, is_trusted=not self._was_asked)
                self._was_asked = True
            return self.now

    def refused(self, bearer: Bearer) -> bool:
        """Note a 401. Whether the function may have a better token; then it is asked before the next request."""
        if self._source is None:
            return False
        if self.now is bearer:
            self.now = None
        return bearer.is_trusted

    async def _ask(self) -> str:
        assert self._source is not None
        if is_async(self._source):
            return await cast("Callable[[], Awaitable[str]]", self._source)()
        # It may read a file or ask a server: nothing else may stand still for it.
        said = await asyncio.to_thread(self._source)
        return await said if inspect.isawaitable(said) else cast("str", said)


def checked_token(token: object, source: str) -> Secret:
    """The token itself. Raises `ConfigurationError`, which shows none of it."""
    token = hide(token)  # a local of this frame, if this fails
    if not isinstance(token, str):
        kind = kind_of(token)
        del token  # bytes, say: it shows all the same
        raise ConfigurationError(f"{source} must be a string, not {kind}")
    if not _TOKEN.fullmatch(token):
        if not token:
            what = "is empty"
        elif token.strip() != token:
            what = "begins or ends with white space (a newline from a file?)"
        elif not token.isascii():
            what = "holds a character outside ASCII"
        else:
            what = "holds a space or a control character"
        raise ConfigurationError(f"{source} {what}; a token is made of visible ASCII characters only")
    return Secret(token)
