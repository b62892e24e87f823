"""What the logger `lisn` is told: method, path template, status, attempt, duration; never bodies or secrets."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._request import Request
    from ._retry import Attempt

logger = logging.getLogger("lisn")
bulk_logger = logging.getLogger("lisn.bulk")
logger.addHandler(logging.NullHandler())


def set_up_from_environment() -> None:
    """Give the logger a handler of its own if `LISN_LOG` asks for it (`debug` or `info`)."""
    wanted = os.environ.get("LISN_LOG", "").lower()
    level = {"debug": logging.DEBUG, "info": logging.INFO}.get(wanted, logging.WARNING)
    if not wanted or any(isinstance(handler, _OwnHandler) for handler in logger.handlers):
        return
    handler = _OwnHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
    if level == logging.WARNING:
        logger.warning("LISN_LOG must be debug or info; only warnings are printed")


class _OwnHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """To stderr. A class of its own, so that it is added once."""


def log_attempt(request: Request[Any], attempt: Attempt, number: int, seconds: float) -> None:
    """One DEBUG line for one request that was sent or could not be."""
    logger.debug(
        "%s %s: %s in %.1f ms (attempt %d)",
        request.method,
        request.template,
        _what_came_of(attempt),
        seconds * 1000,
        number,
    )


def log_resend(request: Request[Any], attempt: Attempt, number: int, wait: float) -> None:
    """One INFO line for one request that is sent again after so many seconds, and why."""
    logger.info(
        "%s %s: %s (attempt %d), sent again in %.2f s",
        request.method,
        request.template,
        _what_came_of(attempt),
        number,
        wait,
    )


def _what_came_of(attempt: Attempt) -> int | str:
    return attempt.status or attempt.happened.name.lower()
