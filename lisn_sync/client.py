"""The client: what was set up, and what it offers.

Generated from lisn_async/client.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from lisn_async._secrets import hide
from lisn_async.client import AsyncLisn
from lisn_async.models import UNSET, Unset
from lisn_sync._bridge import adopt, run
from lisn_sync.resources.assistants import Assistants

if TYPE_CHECKING:
    import ssl

    from lisn_async._middleware import Middleware
    from lisn_async._tokens import TokenSource
    from lisn_async.rate_limit import RateLimit


class Lisn:
    """A client of Lisn's API for blocking code.

    Making one opens nothing: it may be made at import time, outside a loop, before a fork. The
    connections appear at the first call; every event loop and every process has its own. One client
    serves any number of them, and of threads.

        with Lisn() as client:
            assistants = client.assistants.list()

    All calls are on `client.assistants`: `list`, `create`, `get`, `update`, `delete`, `duplicate`,
    `create_many`, `create_each`, and `with_raw_response`; `help(Assistants)` tells what each of them
    gives and raises.
    """

    assistants: Assistants

    def __init__(
        self,
        api_token: str | TokenSource | None = None,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        deadline: float | None = None,
        max_retries: int = 2,
        max_connections: int = 100,
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

        `proxy` defaults to what the environment names; `ssl_context` must verify the server. `strict=False`
        lets types and providers through that the documentation does not list.
        """
        api_token = hide(api_token)
        base_url = hide(base_url)
        default_headers = hide(default_headers)
        proxy = hide(proxy)
        middleware = hide(middleware)
        self._use(
            AsyncLisn(
                api_token,
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
        )

    def _use(self, core: AsyncLisn) -> Self:
        self._core = adopt(core, AsyncLisn._rest)
        self.assistants = Assistants(core.assistants)
        return self

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
        return self.__class__.__new__(self.__class__)._use(
            self._core.with_options(timeout=timeout, deadline=deadline, max_retries=max_retries)
        )

    @property
    def base_url(self) -> str:
        """The URL that `/v1/assistants` is appended to."""
        return self._core.base_url

    def close(self) -> None:
        """Close the connections. May be called again; calls after it raise `ConfigurationError`."""
        run(self._core.aclose)

    def __enter__(self) -> Self:
        """The client itself, open, also if it was closed before."""
        run(self._core.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        run(self._core.__aexit__, *_)

    def __repr__(self) -> str:
        shown = f"base_url={self.base_url!r}" if hasattr(self, "assistants") else "not set up"
        return f"{type(self).__name__}({shown})"
