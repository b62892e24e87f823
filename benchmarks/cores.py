"""One core for the client and another for the responder, where the system allows it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

_ALLOWED = "LISN_BENCHMARK_CORES"
"""Names both cores to processes that were started on one of them."""


def two_cores() -> tuple[AbstractSet[int], AbstractSet[int]]:
    """The client's and the responder's; both empty where nothing can be pinned."""
    if told := os.environ.get(_ALLOWED):
        first, last = map(int, told.split())
        return {first}, {last}
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    allowed = sorted(os.sched_getaffinity(0))
    return ({allowed[0]}, {allowed[-1]}) if len(allowed) > 1 else (set(), set())


def pin(cores: AbstractSet[int]) -> None:
    """Keep this process, and what it starts from now on, on these cores; anywhere if there are none."""
    if cores:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def on_the_clients_core() -> Iterator[None]:
    """Until the block ends, whatever this process starts is on the client's core; responders leave it."""
    mine, other = two_cores()
    if not mine or _ALLOWED in os.environ:
        yield
        return
    before = os.sched_getaffinity(0)
    os.environ[_ALLOWED] = f"{min(mine)} {min(other)}"
    pin(mine)
    try:
        yield
    finally:
        pin(before)
        del os.environ[_ALLOWED]
