"""A plan of many faults at once, as the experiments on reliability use it."""

from typing import Any

from lisn_async.sandbox._faults import Fault, Operation, When

_RETRY_AT_ONCE = {"retry_after": 0}


def storm(share: float, *, operation: Operation = "create", late: bool = False) -> list[Fault]:
    """Sixteen kinds of fault, equally likely, that together hit `share` of the requests of one operation, for ever.

    With `late`, a reset, a close, a 502 and a 504 come before the commit they belong to instead of after it.
    `hang` and `refuse` are not among them: they are slow, and would measure waiting. The sandbox draws from its
    seed, so the same seed and the same calls give the same hits.
    """
    kinds = _kinds("late" if late else "after")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"share must be a number from 0 to 1; not {share!r}.")
    each = share / len(kinds)
    return [
        # The queue asks one after the other, and asks this one only if none before it struck.
        Fault(**kind, operation=operation, times=None, probability=min(1.0, each / (1 - place * each)))
        for place, kind in enumerate(kinds)
    ]


def _kinds(last: When) -> list[dict[str, Any]]:
    return [
        {"do": "reset", "when": "before"},
        {"do": "reset", "when": last},
        {"do": "close", "when": "before"},
        {"do": "close", "when": last},
        {"do": "cut", "when": "after"},
        {"do": "garbage", "when": "before"},
        {"do": "garbage", "when": "after"},
        {"do": "html", "when": "after"},
        {"status": 408, "when": "after"},
        {"status": 429, "when": "before"},
        {"status": 429, "when": "before", **_RETRY_AT_ONCE},
        {"status": 500, "when": "before"},
        {"status": 502, "when": last},
        {"status": 503, "when": "after"},
        {"status": 503, "when": "before", **_RETRY_AT_ONCE},
        {"status": 504, "when": last},
    ]
