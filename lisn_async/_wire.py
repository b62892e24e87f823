"""JSON to values and values to JSON: the one place where `Any` from the wire comes in and ends.

Three promises: fields that were left out are not sent, fields that we do not know are kept, and a reply of the
wrong shape is told in one sentence. cattrs writes the function that takes a spec apart. An assistant is put
together by hand: the function cattrs writes for that calls another one for each field, and takes three times as long.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.preconf.orjson import make_converter

from ._secrets import Payload
from .models import Assistant, AssistantCreate, AssistantUpdate
from .models._rules import FIELDS

Spec = TypeVar("Spec", AssistantCreate, AssistantUpdate)

_SORT = {False: 0, True: orjson.OPT_SORT_KEYS}
_KNOWN = frozenset(("id", *FIELDS))


class Unreadable(Exception):
    """A reply has a shape that no reader of ours expects; the text says which, and quotes nothing."""


_converter = make_converter()


def _as_it_is(spec: type[Spec]) -> Callable[[Spec], dict[str, Any]]:
    """A function that gives the fields which a spec sets. Their values are JSON already: none is looked at."""
    values: Any = {field: override(unstruct_hook=identity) for field in FIELDS}
    values["extra_body"] = override(omit=True)
    return make_dict_unstructure_fn(spec, _converter, _cattrs_omit_if_default=True, **values)


_unstructure_create = _as_it_is(AssistantCreate)
_unstructure_update = _as_it_is(AssistantUpdate)


def fields_of(spec: AssistantCreate | AssistantUpdate) -> dict[str, Any]:
    """The documented fields that a spec sets."""
    return _unstructure_create(spec) if isinstance(spec, AssistantCreate) else _unstructure_update(spec)


def encode(fields: dict[str, Any], extra_body: Mapping[str, object] | None) -> Payload:
    """The JSON body of validated fields, and of `extra_body` over them."""
    return Payload(dumps({**fields, **extra_body} if extra_body else fields))


def dumps(value: object, *, sort_keys: bool = False) -> bytes:
    """JSON, also of what stands for JSON: other mappings and sequences, and subclasses of float."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS | _SORT[sort_keys])


def _plain(value: object) -> object:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    raise TypeError


def decode(body: bytes | bytearray) -> object:
    """The JSON value of a body. Raises `Unreadable` for everything that is not JSON, NaN included."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if b"\\u" not in body:
            raise Unreadable("the reply is not JSON") from None
    # orjson refuses lone surrogates ("\ud800"), which other clients may have stored: one such
    # assistant must not make the whole list unreadable. In all else this reader is as strict: no other
    # charset than UTF-8, no byte order mark, no infinity however it is written.
    try:
        return json.loads(body.decode(), parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError):
        raise Unreadable("the reply is not JSON") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError
    return number


def _whole(digits: str) -> int | float:
    """As orjson reads it: an integer of up to 64 bits, else a float."""
    if len(digits) <= 20 and -(2**63) <= (number := int(digits)) < 2**64:
        return number
    return _finite(digits)


def structure_assistant(fields: dict[str, Any]) -> Assistant:
    """The assistant of a decoded JSON object, what we do not know in `extra`. Raises `Unreadable`."""
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in _KNOWN:
            extra[name] = value
        elif name == "temperature":
            known[name] = _number_or_none(value)
        elif type(value) is str or value is None:
            known[name] = value
        else:
            raise Unreadable(f"a text field holds {type(value).__name__}")
    assistant_id = known.get("id")
    if not assistant_id:
        raise Unreadable("an assistant has no id")
    if not assistant_id.isprintable():
        raise Unreadable("an assistant's id holds control characters")
    return Assistant(**known, extra=extra)


def _number_or_none(value: object) -> float | None:
    if value is None:
        return None
    # Not infinite, and no integer too large for a float.
    if isinstance(value, int | float) and type(value) is not bool and abs(value) < 1e300:
        return float(value)
    raise Unreadable(f"a number field holds {type(value).__name__}")
