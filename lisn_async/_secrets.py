"""Values that travel but never show: their `repr` is redacted, wherever a traceback or a log prints it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

T = TypeVar("T")

REDACTED = "[redacted]"
DEEPEST = 50
"""Levels of an error's body that are kept. A reply may nest a thousand deep, our stack may not."""


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


class SecretFields(dict[str, Any]):
    """Fields that may hold a secret: shown by their names only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: ..." for name in self) + "}"


class SecretItems(list[Any]):
    """Items that may hold a secret: shown by their number only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} items>"


class SecretFunction:
    """A function that may hold a secret, as `functools.partial(fetch, key)` does: called as it is, shown as nothing."""

    __slots__ = ("__wrapped__",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function

    def __call__(self, *args: Any) -> Any:
        return self.__wrapped__(*args)

    def __repr__(self) -> str:
        return "<function>"


def kind_of(value: object) -> str:
    """The name of a value's type as its owner knows it, for messages."""
    plain: dict[type, str] = {
        Secret: "str",
        SecretFields: "dict",
        SecretItems: "list",
        SecretFunction: "function",
    }
    kind = type(value)
    return plain.get(kind, kind.__name__)


_HIDDEN: dict[type, Callable[[Any], Any]] = {
    str: Secret,
    dict: SecretFields,
    list: SecretItems,
    tuple: SecretItems,
}


def hide(value: T) -> T:
    """The same value, but with a `repr` that shows none of it: for strings, dicts, lists, tuples and functions.

    Done to an argument on the first line of a public function, it keeps a secret out of what a
    crash reporter shows of that frame.
    """
    hidden = _HIDDEN.get(type(value))
    if hidden is not None:
        return cast("T", hidden(value)) if value else value
    if callable(value) and not isinstance(value, SecretFunction | type) and not hasattr(value, "__iter__"):
        return cast("T", SecretFunction(value))
    return value


def forms_of(secret: str) -> tuple[str, ...]:
    """The secret as it may be echoed: plain, and as JSON writes it. The longest first."""
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {form.replace("/", "\\/") for form in forms}
    return tuple(sorted(forms, key=len, reverse=True))


def without_secrets(value: object, secrets: Iterable[str]) -> object:
    """A copy of decoded JSON (or text) in which every occurrence of a secret is replaced."""
    return _replaced(value, [form for secret in secrets for form in forms_of(secret)], 0)


def _replaced(value: object, forms: list[str], depth: int) -> object:
    if depth > DEEPEST:
        return REDACTED
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, REDACTED)
        return value
    if isinstance(value, dict):
        return {
            _replaced(key, forms, depth): _replaced(item, forms, depth + 1) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_replaced(item, forms, depth + 1) for item in value]
    return value
