"""Runs a program unchanged and tells what it has open each time it gets SIGUSR1.

    python -m tests.frameworks.watched PIPE uvicorn fastapi_app:app
    python -m tests.frameworks.watched PIPE recipes/aiohttp_web_app.py

Each report is a line of JSON in the pipe, written by the event loop between two of its turns. It names tasks by their
coroutine, sockets by the port at the other end, and of every client in the process the slots that are free and the
calls that wait for one. The last line, when the interpreter ends, is about sessions that nobody closed.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import runpy
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

import lisn_async._transport
from lisn_async._transport import _live

lisn_async._transport.KEEP_ALIVE = 0.3  # not two seconds: the tests wait until idle connections are gone


def main(pipe: str, program: str, *arguments: str) -> None:
    def tell(what: dict[str, Any]) -> None:
        os.write(int(pipe), json.dumps(what).encode() + b"\n")

    def asked(*_: object) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(lambda: tell(report(loop)))

    signal.signal(signal.SIGUSR1, asked)
    atexit.register(lambda: tell({"open sessions": open_sessions()}))
    sys.argv = [program, *arguments]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def report(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """What this process has open now."""
    pools = [pool for transport in _live for pool in transport._pools.values()]
    return {
        "tasks": Counter(name_of(task) for task in asyncio.all_tasks(loop)),
        "peers": Counter(peers()),
        "free": [pool.slots._value for pool in pools],
        "waiting": [len(pool.slots._waiters or ()) for pool in pools],
        "limits": [len(pool.limits) for pool in pools],
    }


def open_sessions() -> int:
    """How many of aiohttp's sessions somebody made and nobody closed."""
    return sum(isinstance(one, aiohttp.ClientSession) and not one.closed for one in gc.get_objects())


def name_of(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", repr(task))


def peers() -> list[int]:
    """The port at the other end of every connected TCP socket."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            looked_at = socket.socket(fileno=int(entry.name))
        except OSError:
            continue  # no socket, or the listing itself, which is gone by now
        try:
            if looked_at.family == socket.AF_INET:
                found.append(looked_at.getpeername()[1])
        except OSError:
            continue  # not connected
        finally:
            looked_at.detach()
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
