"""How a bulk run is to be carried out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os import PathLike
from typing import TypeAlias, get_args

import attrs

from .._config import positive_seconds, whole_number
from ..errors import ConfigurationError
from .outcome import BulkProgress, Exact

Progress: TypeAlias = Callable[[BulkProgress], None]


@attrs.frozen(kw_only=True)
class Options:
    """How a run is to be carried out, checked. Times are in seconds."""

    max_concurrency: int
    journal: str | PathLike[str] | None
    settle: float | None
    give_up_after: float
    on_progress: Progress | None
    exact: Exact


def checked(
    *,
    max_concurrency: int,
    journal: str | PathLike[str] | None,
    on_progress: Progress | None,
    settle: float | None,
    give_up_after: float,
    exact: Exact = "content",
) -> Options:
    """The arguments of a run, checked. Raises `ConfigurationError`."""
    if journal is not None and not isinstance(journal, str | PathLike):
        raise ConfigurationError(f"journal must be a path, not {type(journal).__name__}")
    if settle not in (None, 0):
        positive_seconds("settle", settle)
    if on_progress is not None and not callable(on_progress):
        raise ConfigurationError(f"on_progress must be callable, not {type(on_progress).__name__}")
    if inspect.iscoroutinefunction(on_progress):
        raise ConfigurationError("on_progress must be a plain function: nobody would await its coroutine")
    if exact not in get_args(Exact):
        raise ConfigurationError(f"exact must be one of {', '.join(get_args(Exact))}, not {exact!r}")
    return Options(
        max_concurrency=whole_number("max_concurrency", max_concurrency, least=1),
        journal=journal,
        settle=settle,
        give_up_after=positive_seconds("give_up_after", give_up_after),
        on_progress=on_progress,
        exact=exact,
    )
