"""What an exception of aiohttp means for an attempt, as a value."""

from __future__ import annotations

import os

import aiohttp

from ._response import Broken, Kind
from ._retry import Happened

NEVER_WRITTEN = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What aiohttp raises before there is a connection."""


def broken(
    error: BaseException, seconds: float, *, unsent: bool, is_borrowed: bool, is_proxied: bool
) -> Broken:
    """An attempt that ended without a reply, within a limit of so many seconds."""
    happened = Happened.UNSENT if unsent else Happened.LOST
    kind: Kind = "connection"
    why = f"the connection broke before a reply came ({_name(error)})"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = f"the server's certificate was refused: {_verdict(error)}"
        happened = Happened.BARRED
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        happened = Happened.BARRED if error.status == 407 else Happened.UNSENT
        why = f"the proxy answered {error.status}"
    elif isinstance(error, TimeoutError):
        kind, why = "timeout", f"no {'connection' if unsent else 'reply'} within {seconds:g} s"
    elif unsent and is_borrowed and not isinstance(error, aiohttp.ClientError | OSError):
        happened = Happened.BARRED
        why = f"the borrowed session cannot be used for it, or not in this loop ({_name(error)}: {error})"
    elif isinstance(error, aiohttp.ClientProxyConnectionError) or (
        is_proxied and isinstance(error, aiohttp.ClientConnectorDNSError)
    ):
        why = f"could not connect to the proxy ({_name(error)})"
    elif unsent:
        why = f"could not connect ({_name(error)})"
    elif isinstance(error, aiohttp.ClientResponseError):
        kind, why = "response", "what came back is not HTTP"
    return Broken(happened=happened, kind=kind, why=why, cause=_cause(error))


def cut_off(error: BaseException) -> Broken:
    """A reply whose body ended early."""
    kind: Kind = "timeout" if isinstance(error, TimeoutError) else "connection"
    why = f"the reply broke off before its end ({_name(error)})"
    return Broken(happened=Happened.REPLIED, kind=kind, why=why, cause=_cause(error))


def _cause(error: BaseException) -> BaseException | None:
    """What our error is chained to, without its traceback.

    aiohttp's frames hold the request's body and, in a cycle, the error itself. A parser's error is no
    cause at all: it quotes the reply, which may echo a secret.
    """
    if not isinstance(error, OSError):
        return None
    links: list[BaseException] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        seen.add(id(link))
        link.__traceback__ = None
        links += [one for one in (link.__cause__, link.__context__) if one and id(one) not in seen]
    return error


def _verdict(error: aiohttp.ClientConnectorCertificateError) -> str:
    """What OpenSSL has against it, in one of its fixed texts, perhaps with the name of the host."""
    return getattr(error.certificate_error, "verify_message", "").rstrip(".") or "it does not say why"


def _name(error: BaseException) -> str:
    """The operating system's word for it where there is one, else the kind: never free text."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "the TLS handshake failed"  # its errno is OpenSSL's, and means something else
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name is not known"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return type(error).__name__.lstrip("_")
