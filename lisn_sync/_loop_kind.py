"""What kind of event loop the shim runs: uvloop's where that is installed and safe, else asyncio's own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast

Factory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


def best_loop() -> Factory:
    """What makes the fastest loop. Raises `OSError` where there are fewer descriptors than it needs."""
    first = _try_descriptors()
    if _has_uvloop() and first > 2:
        import uvloop

        return _finding_addresses(uvloop.Loop)
    return plain_loop()


def plain_loop() -> Factory:
    """What makes asyncio's own."""
    if sys.platform == "win32":
        return _finding_addresses(asyncio.ProactorEventLoop)
    return _finding_addresses(asyncio.SelectorEventLoop)


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return sys.platform != "win32"


def _try_descriptors() -> int:
    """The first descriptor that a loop would get. `OSError` where there are fewer than it opens.

    uvloop aborts the process instead of raising that, and also when it closes one of the first three, which a daemon
    may have closed.
    """
    opened: list[int] = []
    try:
        for _ in range(4):
            opened += os.pipe()
        return min(opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _finding_addresses(base: type[asyncio.AbstractEventLoop]) -> Factory:
    return cast("Factory", type("Loop", (base,), {"getaddrinfo": _look_up}))


async def _look_up(
    loop: asyncio.AbstractEventLoop,
    host: str | bytes | None,
    port: str | bytes | int | None,
    *,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> Any:
    """The addresses of a host, found in a thread of Python's.

    uvloop's own looks them up, also those that are numbers already, in threads of libuv, which joins these when the
    process exits. The child of a fork does not have them: SIGSEGV, unless it had begun others by a request of its own.
    """
    ask = partial(socket.getaddrinfo, host, port, family, type, proto)
    try:
        return ask(flags | socket.AI_NUMERICHOST)  # at once
    except socket.gaierror:
        pass
    try:
        answer = loop.run_in_executor(None, ask, flags)
    except RuntimeError:  # no more threads: the program is ending
        return ask(flags)
    return await answer
