"""What each field of a fault may hold: converters and validators, apart from what the fields mean together.

`ValueError` also where the type is wrong: faults come from files, and their readers catch one class.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

_Attribute: TypeAlias = "attrs.Attribute[Any]"


def one_of(choices: Sequence[str]) -> Any:
    """A validator: None, or one of `choices`."""

    def check(fault: object, attribute: _Attribute, value: object) -> None:
        if value is not None and value not in choices:
            raise ValueError(f"{attribute.name} must be one of {', '.join(choices)}; not {value!r}.")

    return check


def whole(lowest: int, highest: int | None = None) -> Any:
    """A validator: None, or a whole number within these limits."""

    def check(fault: object, attribute: _Attribute, value: object) -> None:
        if value is None:
            return
        limits = f"{lowest} or more" if highest is None else f"from {lowest} to {highest}"
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < lowest
            or value > (highest or value)
        ):
            raise ValueError(f"{attribute.name} must be a whole number, {limits}; not {value!r}.")

    return check


def share(fault: object, attribute: _Attribute, value: object) -> None:
    """A validator: a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be a number from 0 to 1; not {value!r}.")


def duration(fault: object, attribute: _Attribute, value: object) -> None:
    """A validator: None, or a finite number of seconds."""
    if value is None:
        return
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= 1e9  # keeps out NaN, and what an event loop cannot wait for
    ):
        raise ValueError(f"{attribute.name} must be a number of seconds, 0 or more; not {value!r}.")


def retry_after(fault: object, attribute: _Attribute, value: object) -> None:
    """A validator: None, or anything that can stand in a `Retry-After`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise ValueError(f"retry_after must be seconds or an HTTP date; not {value!r}.")
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(f"retry_after holds {value!r}, which HTTP cannot carry.")


def headers(value: object) -> Mapping[str, str]:
    """A converter: headers that HTTP can carry."""
    if not isinstance(value, Mapping):
        raise ValueError(f"headers must be a mapping of names to values; not {value!r}.")  # noqa: TRY004
    made = {str(name): str(text) for name, text in value.items()}
    for name, text in made.items():
        if not name or not (name + text).isprintable() or not name.isascii() or set(name) & set(" :"):
            raise ValueError(f"headers holds {name!r}: {text!r}, which HTTP cannot carry.")
    return made


def body(value: object) -> bytes | None:
    """A converter: the bytes that text, JSON or bytes stand for."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, Mapping | list):
        return json.dumps(value).encode()
    raise ValueError(f"body must be text, bytes or a JSON object; not {value!r}.")
