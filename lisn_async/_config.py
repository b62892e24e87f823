"""What a client is told when it is made, checked once, as a value.

Everything that cannot work is a `ConfigurationError` here and not at the first call.
"""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import attrs

from ._headers import wrong_with_headers
from ._middleware import Middleware, checked, name_of
from ._secrets import Secret, hide
from ._tokens import TokenSource, checked_token
from .errors import ConfigurationError
from .models import UNSET, Unset
from .rate_limit import RateLimit

if TYPE_CHECKING:
    import ssl

DOCUMENTED_BASE_URL = "https://app.lisn.dev/api"
LONGEST = 1e9
"""Seconds: more than any wait, less than what clocks and timers overflow at."""


@attrs.frozen(kw_only=True)
class Proxy:
    """A forward proxy; its credentials are kept apart from its URL, which shows up in errors."""

    url: str
    authorization: Secret | None = None


@attrs.frozen(kw_only=True)
class Settings:
    """Everything a client was told. Times are in seconds."""

    token: Secret | TokenSource
    base_url: str
    timeout: float
    deadline: float | None
    max_retries: int
    max_connections: int
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: str(list(headers)))
    proxy: Proxy | None
    ssl_context: ssl.SSLContext | None
    middleware: tuple[Middleware, ...] = attrs.field(repr=lambda given: str([name_of(one) for one in given]))
    rate_limit: RateLimit | None
    strict: bool


def settings(
    *,
    api_token: str | TokenSource | None,
    base_url: str | None,
    timeout: float,
    deadline: float | None,
    max_retries: int,
    max_connections: int,
    default_headers: Mapping[str, str] | None,
    proxy: str | None,
    ssl_context: ssl.SSLContext | None,
    middleware: Sequence[Middleware] | None,
    rate_limit: RateLimit | None,
    strict: bool,
    allow_insecure_http: bool,
) -> Settings:
    """The arguments of a client and its environment, checked. Raises `ConfigurationError`."""
    source = "base_url" if base_url is not None else "LISN_BASE_URL"
    if base_url is None:
        base_url = hide(os.environ.get("LISN_BASE_URL")) or DOCUMENTED_BASE_URL
    url = normal_base_url(base_url, source, allow_insecure_http=allow_insecure_http)
    return Settings(
        token=_token(api_token),
        base_url=url,
        timeout=positive_seconds("timeout", timeout),
        deadline=_optional_seconds("deadline", deadline),
        max_retries=whole_number("max_retries", max_retries, least=0),
        max_connections=whole_number("max_connections", max_connections, least=1),
        headers=_extra_headers({} if default_headers is None else default_headers),
        proxy=_environment_proxy(url) if proxy is None else _proxy(proxy, "proxy"),
        ssl_context=_verifying(ssl_context),
        middleware=checked(middleware),
        rate_limit=_rate_limit(rate_limit),
        strict=bool(strict),
    )


def changed_limits(
    now: Settings, *, timeout: float | Unset, deadline: float | Unset | None, max_retries: int | Unset
) -> Settings:
    """The settings with other limits; `UNSET` leaves one as it is. Raises `ConfigurationError`."""
    return attrs.evolve(
        now,
        timeout=now.timeout if timeout is UNSET else positive_seconds("timeout", timeout),
        deadline=now.deadline if deadline is UNSET else _optional_seconds("deadline", deadline),
        max_retries=(
            now.max_retries if max_retries is UNSET else whole_number("max_retries", max_retries, least=0)
        ),
    )


def _rate_limit(given: RateLimit | None) -> RateLimit | None:
    if given is not None and not isinstance(given, RateLimit):
        raise ConfigurationError(
            f"rate_limit must be a RateLimit, such as RateLimit(600, per_seconds=60), not {type(given).__name__}"
        )
    return given


def _optional_seconds(name: str, value: float | None) -> float | None:
    return None if value is None else positive_seconds(name, value)


def positive_seconds(name: str, value: object) -> float:
    """The number itself. Raises `ConfigurationError` unless it is finite and above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LONGEST:
        raise ConfigurationError(f"{name} must be a number of seconds above 0 and below 1e9, not {value!r}")
    return float(value)


def whole_number(name: str, value: object, *, least: int) -> int:
    """The number itself. Raises `ConfigurationError` unless it is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def _token(given: str | TokenSource | None) -> Secret | TokenSource:
    if callable(given):
        return given
    if given is not None:
        return checked_token(given, "api_token")
    token = hide(os.environ.get("LISN_API_TOKEN", ""))
    if not token:
        raise ConfigurationError(
            "no API token: pass api_token=... or set LISN_API_TOKEN (Lisn: Settings → API Tokens)"
        )
    return checked_token(token, "LISN_API_TOKEN")


def normal_base_url(given: object, source: str, *, allow_insecure_http: bool) -> str:
    """The URL that `/v1/assistants` is appended to. Raises `ConfigurationError`, which quotes no part of it.

    The documentation gives the base as `https://app.lisn.dev/api` and the paths from the host
    (`/api/v1/assistants`): for that host both readings end at the same place.
    """
    if not isinstance(given, str) or not given:
        raise ConfigurationError(f"{source} must be a URL such as {DOCUMENTED_BASE_URL}")
    if (wrong := _wrong_with_base_url(given, allow_insecure_http)) is not None:
        raise ConfigurationError(f"{source} {wrong}")
    parts = urlsplit(given)
    path = parts.path.rstrip("/")
    if parts.hostname == "app.lisn.dev" and path in ("", "/api/v1"):
        path = "/api"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _wrong_with_base_url(given: str, allow_insecure_http: bool) -> str | None:
    if (wrong := _wrong_with_url(given)) is not None:
        return wrong
    parts = urlsplit(given)
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password"
    if parts.query or parts.fragment or given.endswith(("?", "#")):
        return "must not hold a query or a fragment"
    if parts.scheme == "http" and not allow_insecure_http and not is_loopback(parts.hostname or ""):
        return (
            f"is http:// to {parts.hostname}, which would send the token in clear text; use https://,"
            " or pass allow_insecure_http=True if you must"
        )
    return None


def _wrong_with_url(url: str) -> str | None:
    if url.strip() != url:
        return "begins or ends with white space (a newline from a file?)"
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        return "holds a space, a backslash or a character outside ASCII"
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            return "has port 0"
    except ValueError:
        return "has a port or a host that is none"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must begin with http:// or https:// and name a host"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _extra_headers(given: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"default_headers must be a mapping, not {type(given).__name__}")
    if (wrong := wrong_with_headers(given)) is not None:
        raise ConfigurationError(f"default_headers: {wrong}")
    # A key of a gateway or a tenant is a secret as well; nobody needs to see the values.
    return {name: Secret(value) for name, value in given.items()}


def _environment_proxy(base_url: str) -> Proxy | None:
    """The proxy that the environment names for this URL, as `requests` and `httpx` read it."""
    scheme = urlsplit(base_url).scheme
    found = _named_proxy(base_url)
    return _proxy(found, f"the {scheme.upper()}_PROXY or ALL_PROXY of the environment") if found else None


def _named_proxy(base_url: str) -> Secret | None:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(parts.netloc) or proxy_bypass(host):
        return None
    proxies = getproxies()
    return Secret(proxies.get(parts.scheme) or proxies.get("all") or "") or None


def _proxy(given: str, what: str) -> Proxy:
    if not isinstance(given, str):
        raise ConfigurationError(f"{what} must be a URL, not {type(given).__name__}")
    url = Secret(given if "://" in given else f"http://{given}")
    if (wrong := _wrong_with_url(url)) is not None:
        raise ConfigurationError(f"{what} {wrong}")
    parts = urlsplit(url)
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = Secret("Basic " + b64encode(pair.encode()).decode("ascii"))
    return Proxy(url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", authorization=authorization)


def _verifying(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if context is None:
        return None
    import ssl  # only where somebody made a context, and so has paid for the import

    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(f"ssl_context must be an ssl.SSLContext, not {type(context).__name__}")
    if context.verify_mode is not ssl.CERT_REQUIRED:
        raise ConfigurationError("ssl_context must verify the server (verify_mode = ssl.CERT_REQUIRED)")
    if not context.check_hostname:
        raise ConfigurationError("ssl_context must verify the server's name (check_hostname = True)")
    return context
