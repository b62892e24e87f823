"""Time that costs nothing: an event loop whose clock jumps to the next timer as soon as nothing is left to do.

    with virtual_time(seed=1) as clock:
        clock.run(main())       # a minute of Retry-After takes a millisecond

1. `asyncio.sleep`, timeouts and `call_later` follow the virtual clock, and so do `time.monotonic` and `time.time`
   in those modules of `lisn_async` that say `import time`. Everything else keeps the real time.
2. What goes to a thread (the journal's fsync) is done on the spot: it takes no virtual time, and no run
   depends on the scheduler. Sockets to somebody who lives in real time must not be used: the clock would jump
   over their replies.
3. `random` is seeded and put back afterwards. The same seed gives the same run, to the last digit.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

NOON = 1_800_000_000.0
"""What `time.time` says when the virtual clock starts."""


class Clock:
    """Stands in for the module `time` inside `lisn_async`; `now` is in seconds and starts at 1,000."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return NOON + self.now - 1000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """The result of `main`, which runs on this clock."""
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(self)) as runner:
            return runner.run(main)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that sleeps by moving its clock forward."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(_Jump(clock))

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits
            done.set_exception(error)
        return done


class _Jump(selectors.DefaultSelector):
    """Instead of waiting for sockets for so many seconds, lets them pass."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everybody waits, and no timer is set: on a virtual clock that is for ever")
        if timeout > 0:
            self._clock.now += timeout
        return super().select(0)


@contextlib.contextmanager
def virtual_time(seed: int = 0) -> Iterator[Clock]:
    """A clock that `lisn_async` goes by until the block ends."""
    clock = Clock()
    state = random.getstate()
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "lisn_async" and getattr(module, "time", None) is time
    ]
    random.seed(seed)
    for module in modules:
        vars(module)["time"] = clock
    try:
        yield clock
    finally:
        for module in modules:
            vars(module)["time"] = time
        random.setstate(state)
