"""A sandbox in a thread of its own, for callers who have no loop or one that they share with others."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from lisn_async.sandbox.box import Sandbox


@contextmanager
def running_in_thread(box: Sandbox) -> Iterator[Sandbox]:
    """The sandbox, running until the block ends."""
    started: Future[_Running] = Future()
    thread = threading.Thread(target=_run, args=(box, started), name="lisn-sandbox", daemon=True)
    thread.start()
    try:
        loop, end = started.result()
    except Exception:
        thread.join()
        raise
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


_Running = tuple[asyncio.AbstractEventLoop, asyncio.Event]


def _run(box: Sandbox, started: "Future[_Running]") -> None:
    asyncio.run(_serve(box, started))


async def _serve(box: Sandbox, started: "Future[_Running]") -> None:
    end = asyncio.Event()
    try:
        await box.start()
    except BaseException as error:  # noqa: BLE001 -- it belongs to whoever waits for the start
        started.set_exception(error)
        return
    started.set_result((asyncio.get_running_loop(), end))
    try:
        await end.wait()
    finally:
        await box.stop()
