"""What an item is, for comparing: with itself in an earlier run, and with rows that the service lists.

The webhook secret takes no part in either: a service may not show it, and a journal must not hold it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import attrs

from .._wire import dumps
from ..models import UNSET, Assistant, AssistantCreate
from ..models._rules import FIELDS

_COMPARED = tuple(name for name in FIELDS if name != "webhook_secret")
_MARKER = re.compile(r"lisn-[0-9a-f]{32}")
MARKED = ("(marker)",)
"""In the place of fields: recognised by the marker in its name alone."""


@attrs.frozen
class Content:
    """The fields that an item sends, and a 64-bit hash of their values. Equal items have equal content."""

    fields: tuple[str, ...]
    digest: int


def content_of(spec: AssistantCreate) -> Content:
    """What a row must show to be this item."""
    extra = spec.extra_body or {}
    documented = (name for name in _COMPARED if getattr(spec, name) is not UNSET and name not in extra)
    fields = (*documented, *sorted(name for name in extra if name != "webhook_secret"))
    return Content(fields, _digest(extra[name] if name in extra else getattr(spec, name) for name in fields))


def copy_content(original: Assistant) -> Content:
    """What a row must show to be a copy of this assistant: all but its name, which the service may change."""
    fields = tuple(name for name in _COMPARED if name != "name")
    return row_content(original, fields)


def marker_of(key: bytes, index: int) -> str:
    """The name under which an item is created first: nobody without the run's key can guess it."""
    return f"lisn-{blake2b(index.to_bytes(8), key=key, digest_size=16).hexdigest()}"


def marker_content(marker: str) -> Content:
    """What a row must show to be the item with this marker."""
    return Content(MARKED, _digest([marker]))


def row_content(row: Assistant, fields: tuple[str, ...]) -> Content:
    """What a row shows in these fields. A field that is not there counts as null."""
    if fields == MARKED:
        found = _MARKER.search((row.name or "").casefold())
        return Content(fields, _digest([found.group() if found else None]))
    return Content(
        fields, _digest(getattr(row, name) if name in FIELDS else row.extra.get(name) for name in fields)
    )


def fingerprint(content: Content) -> str:
    """The item's name in a journal: the same in every process."""
    return f"{_digest_of_names(content.fields) & (2**64 - 1):016x}{content.digest & (2**64 - 1):016x}"


def secret_of(spec: AssistantCreate) -> object:
    """The webhook secret that an item sends, None without one."""
    secret = (spec.extra_body or {}).get("webhook_secret", spec.webhook_secret)
    return secret if isinstance(secret, str) else None


def shown(spec: AssistantCreate, assistant_id: str) -> Assistant:
    """The assistant that this item became, as far as the item tells."""
    extra = spec.extra_body or {}
    sent = {name: getattr(spec, name) for name in FIELDS if getattr(spec, name) is not UNSET}
    return Assistant(id=assistant_id, **sent, extra={k: v for k, v in extra.items() if k not in FIELDS})


@lru_cache(maxsize=64)
def _digest_of_names(fields: tuple[str, ...]) -> int:
    return _digest(fields)


def _digest(values: Iterable[Any]) -> int:
    # 1 and 1.0 are one number. Beyond 2**53 neighbours would become one: ids of customers, say.
    plain = [float(value) if type(value) is int and abs(value) <= 2**53 else value for value in values]
    try:
        encoded = dumps(plain, sort_keys=True)
    except TypeError:  # a lone surrogate, which only a row of another client can hold
        encoded = repr(plain).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(encoded, digest_size=8).digest(), signed=True)
