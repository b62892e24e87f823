"""Telling functions whose result is to be awaited from plain ones."""

from __future__ import annotations

import functools
import inspect


def is_async(function: object) -> bool:
    """Whether calling it gives a coroutine: an `async def`, one that is wrapped, or an object that is called as one."""
    function = inspect.unwrap(function) if callable(function) else function
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - it is this very method that is asked about
    )
