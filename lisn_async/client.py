"""The client: what was set up, and what it offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from ._secrets import hide
from .models import UNSET, Unset
from .resources import AsyncAssistants

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from ._calls import Calls
    from ._middleware import Middleware
    from ._tokens import TokenSource
    from .rate_limit import RateLimit


class AsyncLisn:
    """A client of Lisn's API for asyncio.

    Making one opens nothing: it may be made at import time, outside a loop, before a fork. The
    connections appear at the first call; every event loop and every process has its own. One client
    serves any number of them, and of threads.

        async with AsyncLisn() as client:
            assistants = await client.assistants.list()

    All calls are on `client.assistants`: `list`, `create`, `get`, `update`, `delete`, `duplicate`,
    `create_many`, `create_each`, and `with_raw_response`; `help(AsyncAssistants)` tells what each of them
    gives and raises.
    """

    assistants: AsyncAssistants

    def __init__(
        self,
        api_token: str | TokenSource | None = None,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        deadline: float | None = None,
        max_retries: int = 2,
        max_connections: int = 100,
        session: aiohttp.ClientSession | None = None,
        default_headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        middleware: Sequence[Middleware] | None = None,
        rate_limit: RateLimit | None = None,
        strict: bool = True,
        allow_insecure_http: bool = False,
    ) -> None:
        """A client. Raises `ConfigurationError` for whatever cannot work.

        `api_token` defaults to `$LISN_API_TOKEN`. A function, plain or a coroutine function, is asked for it before
        the first request, and again after the service refused what it gave (401); a plain one in a thread of its own,
        so it may read a file or call a server. The refused call is sent again then, within `max_retries`. If it raises,
        or takes longer than `timeout`, nothing was sent: `APIConnectionError` or `APITimeoutError`, after `max_retries`.

        `base_url` defaults to `$LISN_BASE_URL`, else
        `https://app.lisn.dev/api`. `http://` is refused except for loopback hosts, unless
        `allow_insecure_http` is set.

        `timeout` bounds one attempt, `deadline` the whole call with its waits and re-sends, both in
        seconds. `max_retries` counts re-sends that are provably safe; with 0 the server sees one
        request, literally. `max_connections` bounds what is under way at once.

        `middleware` are coroutine functions `(request, call_next) -> response` that every call passes through, the
        first one outermost: `request` is an `APIRequest`, `response` the `RawResponse` that awaiting
        `call_next(request)` gives, once. They may add headers, measure, count, or refuse by raising. They run on the
        event loop, and must not block it. An item of a bulk run is a call to them each time it is sent. What they do
        before the request takes from `deadline`; what they do after the reply is not bounded by it. What they raise is
        raised to the caller; after a reply, with a note of what the service had done.

        `rate_limit` bounds how often anything is sent: see `RateLimit`.

        `session` is borrowed: never closed, and not asked to hold the token. With it only connector
        errors and connect timeouts count as unsent. `proxy` defaults to what the environment names;
        `ssl_context` must verify the server. `strict=False` lets types and providers through that the
        documentation does not list.
        """
        api_token, proxy, base_url = hide(api_token), hide(proxy), hide(base_url)
        default_headers, middleware = hide(default_headers), hide(middleware)
        # Here and not above: they take a quarter of a second, most of it aiohttp's, which loads the system's
        # certificates. And not at the first call: that runs in a loop, which would stand still for it.
        from . import _config
        from ._calls import Calls, Traffic
        from ._log import set_up_from_environment
        from ._tokens import Tokens
        from ._transport import Transport

        settings = _config.settings(
            api_token=api_token,
            base_url=base_url,
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            max_connections=max_connections,
            default_headers=default_headers,
            proxy=proxy,
            ssl_context=ssl_context,
            middleware=middleware,
            rate_limit=rate_limit,
            strict=strict,
            allow_insecure_http=allow_insecure_http,
        )
        set_up_from_environment()
        traffic = Traffic(Tokens(settings.token), settings.rate_limit)
        self._use(Calls(settings, Transport(settings, session), traffic))

    def with_options(
        self,
        *,
        timeout: float | Unset = UNSET,
        deadline: float | Unset | None = UNSET,
        max_retries: int | Unset = UNSET,
    ) -> Self:
        """A light copy with other limits, which shares the connections; what is left out stays.

        Closing either closes both.
        """
        from . import _config  # as above; by now both are there
        from ._calls import Calls

        changed = _config.changed_limits(
            self._calls.settings, timeout=timeout, deadline=deadline, max_retries=max_retries
        )
        copy = type(self).__new__(type(self))
        copy._use(Calls(changed, self._calls.transport, self._calls.traffic))
        return copy

    @property
    def base_url(self) -> str:
        """The URL that `/v1/assistants` is appended to."""
        return self._calls.settings.base_url

    async def aclose(self) -> None:
        """Close the connections. May be called again; calls after it raise `ConfigurationError`."""
        await self._calls.aclose()

    async def __aenter__(self) -> Self:
        """The client itself, open, also if it was closed before."""
        self._calls.transport.enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._calls.transport.leave():
            await self._calls.aclose()

    async def _rest(self) -> None:
        """Close the connections at the end of a program; who calls even later gets others."""
        await self._calls.rest()

    def __repr__(self) -> str:
        # A crash reporter may show one that could not be made.
        shown = f"base_url={self.base_url!r}" if hasattr(self, "assistants") else "not set up"
        return f"{type(self).__name__}({shown})"

    def _use(self, calls: Calls) -> None:
        self._calls = calls
        self.assistants = AsyncAssistants(calls)
