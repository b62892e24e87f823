"""What belongs to an event loop and is closed with it.

A *keeper* is an async generator that was primed in the loop and closes what it keeps in its `finally`. `asyncio.run`
ends every such generator (`shutdown_asyncgens`), so nothing outlives its loop; `close_all` ends them before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import TypeAlias

Keeper: TypeAlias = AsyncGenerator[None, None]


async def close_all(keepers: Mapping[asyncio.AbstractEventLoop, Keeper]) -> None:
    """Close what is kept in the running loop, and ask every other loop to close its own.

    Where nothing is kept, no loop has to be running.
    """
    if not keepers:
        return
    here = asyncio.get_running_loop()
    for loop, keeper in keepers.items():
        if loop is here:
            await _close(keeper)
        else:
            with contextlib.suppress(RuntimeError):  # that loop is closed, and what it kept with it
                loop.call_soon_threadsafe(_start_closing, loop, keeper)


def _start_closing(loop: asyncio.AbstractEventLoop, keeper: Keeper) -> None:
    loop.create_task(_close(keeper))


async def _close(keeper: Keeper) -> None:
    with contextlib.suppress(RuntimeError):  # "already running": its loop ends, and is closing it
        await keeper.aclose()
