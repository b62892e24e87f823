"""The sandbox in a process of its own: it breaks all the time, and tells in the end what there is and was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.soak.child import told, wait_for
from lisn_async.sandbox import Fault, Sandbox, storm
from lisn_async.sandbox._faults import OPERATIONS

HANGS = 0.02
DRIPS = 0.02
REFUSES = 0.002
"""Shares of all faults; the rest is the storm. `refuse` takes many others with it: it breaks off what is idle."""


def plan(share: float) -> list[Fault]:
    """Faults that together hit `share` of the requests, whatever they ask for."""
    slow = [
        Fault(do="hang", when="before", times=None, probability=share * HANGS / 2),
        Fault(do="hang", when="late", delay=0.5, times=None, probability=share * HANGS / 2),
        Fault(do="drip", seconds=0.5, times=None, probability=share * DRIPS),
        Fault(do="refuse", seconds=0.3, times=None, probability=share * REFUSES),
    ]
    rest = share * (1 - HANGS - DRIPS - REFUSES)
    return slow + [fault for operation in OPERATIONS for fault in storm(rest, operation=operation, late=True)]


async def main(share: float) -> dict[str, Any]:
    """Serve until told to stop; what there is and was."""
    faults: Counter[str] = Counter()
    requests = 0

    def count() -> None:
        nonlocal requests
        seen = list(box.seen)
        box.seen.clear()  # a long run would fill the memory with them
        requests += len(seen)
        faults.update(
            f"{one.fault} {one.status}" if one.fault == "status" else one.fault for one in seen if one.fault
        )

    async with Sandbox() as box:
        box.faults = plan(share)
        told({"base_url": box.base_url, "token": box.token})
        stopping = asyncio.create_task(wait_for("stop"))
        while not stopping.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(stopping), 5)
            count()
        await box.quiet()
        count()
        rows, commits = box.assistants(), box.commits()
    return {"rows": rows, "commits": commits, "faults": faults, "requests": requests}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(main(float(sys.argv[1])))))
