"""Settling ambiguous items: wait until the service must have finished with them, list, and decide (`plan`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from .._endpoints import get, list_all
from .._log import bulk_logger as logger
from .._request import Caller
from ..errors import APIConnectionError, APIError, IncompleteListError, LisnError, NotFoundError
from ..models import Assistant
from . import plan
from .content import Content
from .job import Job
from .journal import Memory

SETTLE = 2.0
"""Seconds after which a listing shows what the service has finished."""
MOST_LOOKED_UP = 50
"""Missing ids that are asked for one by one, before the listing is called incomplete instead."""


class Settler:
    """Knows what was there before a run, what the run made, and which of its items are ambiguous."""

    def __init__(self, caller: Caller, settle: float | None) -> None:
        self.ambiguous: list[Job] = []
        self._caller = caller
        self._settle = settle
        self._before: set[str] = set()
        self._before_is_whole = True
        self._made = plan.Made()

    async def look_first(self) -> None:
        """List before the first create: what is there already is not ours. Raises `APIError`."""
        try:
            rows = (await self._caller.call(list_all())).parse()
        except IncompleteListError as error:
            rows, self._before_is_whole = error.partial, False
        self._before = {row.id for row in rows}

    def remember(self, memory: Memory) -> None:
        """Go on from an earlier run: what was there before *that* one is not ours."""
        if memory.before is not None:
            self._before, self._before_is_whole = set(memory.before), memory.before_is_whole

    @property
    def before(self) -> tuple[set[str], bool]:
        """The ids that were there before, and whether these are all of them."""
        return self._before, self._before_is_whole

    def made(self, assistant_id: str, content: Content) -> None:
        """Note what the run made: listings have to show it."""
        self._made.add(assistant_id, content)

    def lost(self, job: Job, *, may_be_running: bool, age: float = 0.0) -> None:
        """Keep an item until a listing can tell. It was lost `age` seconds ago."""
        settle = self._settle
        if settle is None:
            settle = SETTLE + (self._caller.timeout if may_be_running else 0.0)
        job.believable_at = time.monotonic() + max(0.0, settle - age)
        self.ambiguous.append(job)

    async def settle(self) -> tuple[list[tuple[Job, Assistant]], list[Job], str | None]:
        """Items with the assistants that are theirs, items that certainly do not exist, and why the rest is unsure.

        The unsure ones stay in `ambiguous`.
        """
        wait = max(0.0, max(job.believable_at for job in self.ambiguous) - time.monotonic())
        logger.info("replies lost: %d; looking for those assistants in %.1f s", len(self.ambiguous), wait)
        await asyncio.sleep(wait)
        findings = await self._look()
        if isinstance(findings, str):
            return [], [], findings
        jobs = {job.index: job for job in self.ambiguous}
        found = [(jobs[item.index], row) for item, row in findings.claims]
        absent = [jobs[item.index] for item in findings.open]
        doubt = findings.reason_for_doubt()
        self.ambiguous = absent if doubt else []
        return found, [] if doubt else absent, doubt

    async def surplus(self) -> list[Assistant]:
        """Look once more: a create that was committed after it had been given up shows as a surplus."""
        rows = await self._list()
        if isinstance(rows, str) or not self._before_is_whole:
            return []
        surplus = plan.surplus(rows, self._before, self._made)
        if surplus:
            ids = ", ".join(row.id for row in surplus[:20])
            logger.warning("%d more assistants than items, to be looked at: %s", len(surplus), ids)
        return surplus

    async def _look(self) -> plan.Findings | str:
        if not self._before_is_whole:
            return "the listing before the first create was not whole"
        rows = await self._list()
        if isinstance(rows, str):
            return rows
        findings = self._reconcile(rows, set())
        if not 0 < len(findings.missing) <= MOST_LOOKED_UP:
            return findings
        deleted = {assistant_id for assistant_id in findings.missing if await self._is_gone(assistant_id)}
        return self._reconcile(rows, deleted)

    def _reconcile(self, rows: Sequence[Assistant], deleted: set[str]) -> plan.Findings:
        pending = [plan.Pending(index=job.index, content=job.content) for job in self.ambiguous]
        return plan.reconcile(rows, self._before, self._made, pending, deleted)

    async def _list(self) -> list[Assistant] | str:
        try:
            return (await self._caller.call(list_all())).parse()
        except IncompleteListError:
            return "the listing is not whole"
        except APIError as error:
            return f"the listing failed: {error}"

    async def _is_gone(self, assistant_id: str) -> bool:
        try:
            await self._caller.call(get(assistant_id))
        except NotFoundError:
            return True
        except APIError:
            return False
        return False


def unsettled(job: Job, doubt: str) -> LisnError:
    """The error of an item that may or may not exist, with the reason why that cannot be told."""
    error = job.error or APIConnectionError(
        "an earlier run sent this item and ended before a reply came; it may exist",
        job.request.method,
        job.request.path,
        1,
        True,
    )
    error.add_note(f"bulk: not settled: {doubt}")
    return error
