"""Headers that are not those of all requests, and which ones others may add."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ._secrets import Payload, Secret

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
NO_HEADERS: Mapping[str, str] = {}
# These frame the message or carry the token; a second source for them can only do harm.
_OURS = frozenset(
    ("authorization", "connection", "content-length", "content-type", "cookie", "host", "te")
    + ("proxy-authorization", "trailer", "transfer-encoding", "upgrade", "expect", "keep-alive")
)


def wrong_with_headers(given: Mapping[str, str]) -> str | None:
    """What is wrong with headers that somebody wants to add, without a value; None if nothing is."""
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"{name!r} is no header name"
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            return f"the value of {name} must be a string of printable ASCII"
        if name.lower() in _OURS:
            return f"{name} is set by the client itself"
    return None


class Lines:
    """Headers that are not those of all requests, also as bytes: the token's, and what a middleware added."""

    def __init__(self, headers: Mapping[str, str], *, may_replace: bool = False) -> None:
        self.headers = headers
        self.may_replace = may_replace
        """Whether one of them may be among the headers of all requests too, which it then replaces."""
        self.raw = as_lines(headers)

    def and_also(self, more: Mapping[str, str]) -> Lines:
        """These and others."""
        shown = {name: Secret(value) for name, value in more.items()}
        return Lines({**self.headers, **shown}, may_replace=True) if more else self


def as_lines(headers: Mapping[str, str]) -> Payload:
    """Headers as they travel."""
    return Payload("".join(f"{name}: {headers[name]}\r\n" for name in headers).encode())
