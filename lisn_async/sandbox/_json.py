"""Strict JSON both ways: what arrives is kept to the last code unit, what leaves any parser can read.

Not orjson, on purpose. It refuses lone surrogates (`"\\ud800"`), which JSON allows and which real exports
contain, and it takes the last of two equal keys in silence. The standard library lets us decide both.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

MAX_DEPTH = 64


class NotJSON(ValueError):
    """The body is not JSON that a careful server accepts; the text says why."""


def parse(body: bytes) -> Any:
    """The value that `body` spells, or `NotJSON`."""
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotJSON(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None
    except RecursionError:
        raise NotJSON(_TOO_DEEP) from None
    except NotJSON:
        raise
    except ValueError as error:  # JSONDecodeError, and int() refusing more than 4,300 digits
        raise NotJSON(f"The body is not JSON: {error}.") from None
    if _is_deeper_than(MAX_DEPTH, value):
        raise NotJSON(_TOO_DEEP)
    return value


def dump(value: object) -> str:
    """JSON text that encodes to UTF-8 whatever the strings hold.

    Control characters, NUL among them, are always escaped by JSON, so SQLite and C strings never see one.
    A lone surrogate has no UTF-8 form: only such a text is written in ASCII with escapes.
    """
    text = _readable.encode(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _escaped.encode(value)
    return text


def _refuse_constant(name: str) -> NoReturn:
    raise NotJSON(f"The body is not JSON: {name} is no JSON number.")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # 1e999 is grammatical, but would have to be answered as Infinity
        raise NotJSON(f"The number {digits[:40]} is too large.")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotJSON(f"The key {twice[:100]!r} is given twice.")
    return made


def _is_deeper_than(limit: int, value: object) -> bool:
    # Not recursive: the point is to be safe where recursion is not, here and later in json's encoder.
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(parent: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return parent.values() if isinstance(parent, dict) else parent


_TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."
_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
_readable = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_escaped = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
