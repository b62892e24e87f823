"""What an item is, for comparing: with itself in an earlier run, and with rows that the service lists.

The webhook secret takes no part in either: a service may not show it, and a journal must not hold it.
Rows are compared by the hash that Python has of strings anyway, which is another in every process; what a
journal holds is the `fingerprint`, the same in every process, and made only where there is a journal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple

from .._wire import dumps
from ..models import UNSET, Assistant, AssistantCreate
from ..models._rules import FIELDS
from ..models._unset import Unset

_COMPARED = tuple(name for name in FIELDS if name != "webhook_secret")
_values_of = attrgetter(*_COMPARED)
_TEXTS = frozenset((str,))
_MARKER = re.compile(r"lisn-[0-9a-f]{32}")
MARKED = ("(marker)",)
"""In the place of fields: recognised by the marker in its name alone."""


class Content(NamedTuple):
    """The fields that an item sends, and a 64-bit hash of their values. Equal items have equal content."""

    fields: tuple[str, ...]
    digest: int


class Values(NamedTuple):
    """The fields that an item sends, and their values: undocumented ones may be secret, so none is shown."""

    fields: tuple[str, ...]
    values: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"<values of {', '.join(self.fields)}>"

    @property
    def content(self) -> Content:
        """What a row must show to be this item."""
        return Content(self.fields, _digest(self.values))

    @property
    def fingerprint(self) -> str:
        """The item's name in a journal: the same in every process."""
        return _stable_digest_of_names(self.fields) + _stable_digest(self.values)


def values_of(spec: AssistantCreate) -> Values:
    """What an item sends."""
    extra = spec.extra_body
    if not extra:
        values = _values_of(spec)
        fields, are_sent = _layout(tuple(map(type, values)))
        return Values(fields, tuple(compress(values, are_sent)))
    documented = (name for name in _COMPARED if getattr(spec, name) is not UNSET and name not in extra)
    names = (*documented, *sorted(name for name in extra if name != "webhook_secret"))
    return Values(names, tuple([extra[name] if name in extra else getattr(spec, name) for name in names]))


def values_of_copy(original: Assistant) -> Values:
    """What a row must show to be a copy of this assistant: all but its name, which the service may change."""
    return _shown_in(original, tuple(name for name in _COMPARED if name != "name"))


def marker_of(key: bytes, index: int) -> str:
    """The name under which an item is created first: nobody without the run's key can guess it."""
    return f"lisn-{blake2b(index.to_bytes(8), key=key, digest_size=16).hexdigest()}"


def marker_content(marker: str) -> Content:
    """What a row must show to be the item with this marker."""
    return Content(MARKED, _digest((marker,)))


def row_content(row: Assistant, fields: tuple[str, ...]) -> Content:
    """What a row shows in these fields. A field that is not there counts as null."""
    if fields == MARKED:
        found = _MARKER.search((row.name or "").casefold())
        return Content(fields, _digest((found.group() if found else None,)))
    return _shown_in(row, fields).content


def secret_of(spec: AssistantCreate) -> object:
    """The webhook secret that an item sends, None without one."""
    secret = (spec.extra_body or {}).get("webhook_secret", spec.webhook_secret)
    return secret if isinstance(secret, str) else None


def shown(spec: AssistantCreate, assistant_id: str) -> Assistant:
    """The assistant that this item became, as far as the item tells."""
    extra = spec.extra_body or {}
    sent = {name: getattr(spec, name) for name in FIELDS if getattr(spec, name) is not UNSET}
    return Assistant(id=assistant_id, **sent, extra={k: v for k, v in extra.items() if k not in FIELDS})


@lru_cache(maxsize=256)
def _layout(kinds: tuple[type, ...]) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """For documented fields whose values are of these types: which of them are sent. Nearly always one of a few."""
    are_sent = tuple(kind is not Unset for kind in kinds)
    return tuple(compress(_COMPARED, are_sent)), are_sent


def _shown_in(row: Assistant, fields: tuple[str, ...]) -> Values:
    found = [getattr(row, name) if name in FIELDS else row.extra.get(name) for name in fields]
    return Values(fields, tuple(found))


def _digest(values: tuple[Any, ...]) -> int:
    return hash(values if _TEXTS.issuperset(map(type, values)) else tuple(map(_comparable, values)))


def _comparable(value: Any) -> object:
    """A string as it is, of whatever class; anything else as JSON in one spelling: to `hash`, True is 1 and "" is 0."""
    return str.__str__(value) if isinstance(value, str) else ("json", _json([_plain(value)]))


@lru_cache(maxsize=64)
def _stable_digest_of_names(fields: tuple[str, ...]) -> str:
    return _stable_digest(fields)


def _stable_digest(values: tuple[Any, ...]) -> str:
    plain = values if _TEXTS.issuperset(map(type, values)) else [_plain(value) for value in values]
    return blake2b(_json(plain), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    # 1 and 1.0 are one number. Beyond 2**53 neighbours would become one: ids of customers, say.
    return float(value) if type(value) is int and abs(value) <= 2**53 else value


def _json(values: Sequence[Any]) -> bytes:
    try:
        return dumps(values, sort_keys=True)
    except TypeError:  # a lone surrogate, which only a row of another client can hold
        return repr(list(values)).encode(errors="surrogatepass")
