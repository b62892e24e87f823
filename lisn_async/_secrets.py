"""Values that travel but never show: their `repr` is redacted, wherever a traceback or a log prints it."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

REDACTED = "[redacted]"


class Secret(str):
    """A string that is sent as it is and shown as `'[redacted]'`.

    Tracebacks with captured locals, debuggers and `repr` of containers go through `__repr__`;
    headers and JSON go through the characters.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(REDACTED)


class Payload(bytes):
    """A body that may hold a secret: shown by its length only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def hide(value: T) -> T | Secret:
    """The value itself, or a `Secret` of the same characters if it is a string."""
    return Secret(value) if isinstance(value, str) and value else value


def without_secrets(value: object, secrets: tuple[str, ...]) -> object:
    """A copy of decoded JSON (or text) in which every occurrence of a secret is replaced."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, dict):
        return {without_secrets(key, secrets): without_secrets(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item, secrets) for item in value]
    return value
