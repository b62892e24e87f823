"""What faults bend without breaking anything: how old and how many the rows of a listing are, and what is stored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lisn_async.sandbox._faults import Fault

_SHORT = 20

_CHANGES: dict[str, dict[str, Callable[[str], str]]] = {
    "trim": {"name": str.strip, "system_prompt": str.strip},
    "lower": {"name": str.lower},
    "short": {"name": lambda name: name[:_SHORT]},
}


def least_age(modifiers: Sequence[Fault]) -> float:
    """How many seconds old an assistant must be for a listing to show it."""
    return max((fault.seconds or 0.0 for fault in modifiers if fault.do == "lag"), default=0.0)


def most_rows(modifiers: Sequence[Fault]) -> int | None:
    """How many rows a listing shows; None for all."""
    return min(
        (fault.count for fault in modifiers if fault.do == "partial" and fault.count is not None),
        default=None,
    )


def rewritten(
    fields: dict[str, Any], modifiers: Sequence[Fault], sent: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The fields as a service stores them that takes liberties with what was `sent`; None for all of them."""
    changed = dict(fields)
    for fault in modifiers:
        for name, change in _CHANGES.get(fault.how or "", {}).items():
            if isinstance(changed.get(name), str) and (sent is None or name in sent):
                changed[name] = change(changed[name])
    return changed
