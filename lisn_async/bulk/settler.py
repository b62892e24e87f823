"""Settling ambiguous items: wait until the service must have finished with them, list, and decide (`plan`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

import attrs

from .._endpoints import get, list_all
from .._log import bulk_logger as logger
from .._request import Caller
from ..errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    IncompleteListError,
    LisnError,
    NotFoundError,
    ValidationError,
)
from ..models import Assistant
from . import plan
from .content import secret_of
from .ids import Ids
from .job import Job
from .likeness import Likeness, likeness_of, likeness_of_marker
from .memory import Memory

SETTLE = 2.0
"""Seconds after which a listing shows what the service has finished."""
EARLIER = "an earlier run sent this item and ended before a reply came; it may exist"
LOOKS = 4
"""Listings that are asked for what they lack, at twice the distance each time, before they are not believed."""
NOT_WHOLE = "the listing before the first create was not whole"
MOST_LOOKED_UP = 50
"""Missing ids that are asked for one by one, before the listing is called incomplete instead."""


@attrs.frozen(kw_only=True)
class Settled:
    """What a listing decided: items and their rows, items that certainly do not exist, why the rest is unsure."""

    found: Sequence[tuple[Job, Assistant]] = ()
    absent: Sequence[Job] = ()
    doubt: str | None = None


@attrs.frozen(kw_only=True)
class Audit:
    """What the last look showed: assistants beyond the items, or why that cannot be told."""

    surplus: Sequence[Assistant] = ()
    doubt: str | None = None


@attrs.frozen
class _NoList:
    """Why there is no listing, and whether asking again is of no use."""

    why: str
    is_final: bool


class Settler:
    """Knows what was there before a run, what the run made, and which of its items are ambiguous.

    `may_be_ours` tells rows that are worth a comparison. With `echo`, items are recognised by markers.
    """

    def __init__(
        self,
        caller: Caller,
        settle: float | None,
        may_be_ours: Callable[[Assistant], bool] = lambda row: True,
        echo: plan.Echo | None = None,
    ) -> None:
        self.ambiguous: list[Job] = []
        self._caller = caller
        self._settle = settle
        self._may_be_ours = may_be_ours
        self._echo = echo
        self._before: set[str] = set()
        self._before_is_whole = True
        self._made = plan.Made()
        self._known = Ids()
        self._repeated = 0
        self._gone: set[str] = set()
        self._sent_again: set[Likeness] = set()
        self._sent_again_at = 0.0

    async def look_first(self) -> None:
        """List before the first create: what is there already is not ours. Raises `APIError`."""
        try:
            rows = await self._caller.ask(list_all())
        except IncompleteListError as error:
            rows, self._before_is_whole = error.partial, False
        self._before = {row.id for row in rows}

    async def knows_any(self, ids: AbstractSet[str], newest: str) -> bool:
        """Whether the first listing shows one of these ids, or a direct look one that a listing may still lack."""
        return not self._before.isdisjoint(ids) or not await self._is_gone(newest)

    def remember(self, memory: Memory) -> None:
        """Go on from an earlier run: what was there before *that* one is not ours."""
        if memory.before is not None:
            self._before, self._before_is_whole = set(memory.before), memory.before_is_whole
        if self._echo is not None:
            self._echo.kept, self._echo.changed = memory.kept, memory.changed

    def belong_to_others(self, ids: Iterable[str]) -> None:
        """These are of items that this run never came to: not to be claimed, and no surplus."""
        self._before.update(ids)

    @property
    def before(self) -> tuple[set[str], bool]:
        """The ids that were there before, and whether these are all of them."""
        return self._before, self._before_is_whole

    @property
    def needs_audit(self) -> bool:
        """Whether an item was sent again after a listing had shown that it does not exist."""
        return bool(self._sent_again)

    def was_there(self, assistant_id: str) -> bool:
        """Whether an id is of an assistant that was there before the run: then it is of nothing that was just made."""
        return assistant_id in self._before

    def made(self, job: Job, assistant_id: str) -> None:
        """Note what the run made: listings have to show it."""
        self._made.add(assistant_id, job.content)
        if not self._known.add(assistant_id):
            self._repeated += 1

    def shown(self, job: Job, row: Assistant) -> bool | None:
        """Whether the reply to a create keeps what was sent; None where nobody needs to know it from there."""
        if self._echo is None or row.name is None:
            return None
        kept = self._echo.kept
        self._echo.note(row, job.content)
        return self._echo.kept > kept

    def lost(self, job: Job, *, may_be_running: bool, age: float = 0.0) -> None:
        """Keep an item until a listing can tell. It was lost `age` seconds ago."""
        job.believable_at = time.monotonic() + max(0.0, self._seconds(may_be_running=may_be_running) - age)
        self.ambiguous.append(job)

    def sent_again(self, job: Job, *, age: float = 0.0) -> None:
        """Note that a listing has shown that a lost item does not exist, and that it is sent once more."""
        like = likeness_of(job.spec) if job.marker is None else likeness_of_marker(job.marker)
        self._sent_again.add(like)
        self._sent_again_at = max(self._sent_again_at, time.monotonic() - age)

    async def settle(self) -> Settled:
        """What becomes of the ambiguous items. The unsure ones stay in `ambiguous`."""
        believable_at = max(job.believable_at for job in self.ambiguous)
        wait = max(0.0, believable_at - time.monotonic())
        logger.info("replies lost: %d; looking for those assistants in %.1f s", len(self.ambiguous), wait)
        await _sleep_until(believable_at, self._caller)
        findings = await self._look()
        if self._sent_again:
            # Some of these, perhaps: what was lost a second time may come as late as the first.
            self._sent_again_at = time.monotonic()
        if isinstance(findings, str):
            return Settled(doubt=findings)
        jobs = {job.index: job for job in self.ambiguous}
        found = [(jobs[item.index], row) for item, row in findings.claims]
        absent = [jobs[item.index] for item in findings.open]
        doubt = findings.reason_for_doubt()
        if doubt is not None:
            self.ambiguous = absent
            return Settled(found=found, doubt=doubt)
        self.ambiguous = []
        return Settled(found=found, absent=absent)

    async def audit(self, *, look: bool) -> Audit:
        """What is left to be said of the run, after a last look if that is asked for.

        It looks as long after the last re-send as a listing takes to be believed: a create that was committed
        after it had been given up shows here as a surplus.
        """
        audit = await self._look_again() if look else Audit()
        if self._repeated:
            why = f"{self._repeated} replies to creates named an assistant that another one had named already"
            audit = attrs.evolve(audit, doubt="; ".join(filter(None, (why, audit.doubt))))
        if audit.doubt:
            logger.warning("there may be more assistants than are known of: %s", audit.doubt)
        return audit

    async def _look_again(self) -> Audit:
        if not self._before_is_whole:
            return Audit(doubt=NOT_WHOLE)
        await _sleep_until(self._sent_again_at + self._seconds(), self._caller)
        rows = await self._listing()
        if isinstance(rows, str):
            return Audit(doubt=rows)
        if missing := plan.missing(rows, self._made, self._gone):
            return Audit(doubt=f"the listing lacks {len(missing)} assistants that this run made")
        surplus = plan.surplus(rows, self._before, self._made, self._sent_again)
        if surplus:
            ids = ", ".join(row.id for row in surplus[:20])
            logger.warning("%d more assistants than items, to be looked at: %s", len(surplus), ids)
        return Audit(surplus=surplus)

    def _seconds(self, *, may_be_running: bool = False) -> float:
        if self._settle is not None:
            return self._settle
        return SETTLE + (self._caller.timeout if may_be_running else 0.0)

    async def _look(self) -> plan.Findings | str:
        if not self._before_is_whole:
            return NOT_WHOLE
        rows = await self._listing()
        if isinstance(rows, str):
            return rows
        pending = [
            plan.Pending(
                index=job.index,
                content=job.content,
                likeness=likeness_of(job.spec),
                secret=secret_of(job.spec),
            )
            for job in self.ambiguous
        ]
        return plan.reconcile(
            rows, self._before, self._made, pending, self._gone, self._echo, self._may_be_ours
        )

    async def _listing(self) -> list[Assistant] | str:
        """All rows, asked for again while it fails or some are lacking that are there; or why there are none."""
        for look in range(LOOKS):
            if look:  # it lags, perhaps
                await self._caller.sleep(self._seconds() * 2.0 ** (look - 1))
            rows = await self._list()
            if isinstance(rows, _NoList):
                if rows.is_final:
                    break
                continue  # what took the replies may take a listing as well, for a while
            missing = plan.missing(rows, self._made, self._gone)
            # What lags in a listing may lag in a direct look as well, so only the last word counts.
            if look == LOOKS - 1 and len(missing) <= MOST_LOOKED_UP:
                self._gone |= {one for one in missing if await self._is_gone(one)}
            if self._gone.issuperset(missing):
                break
        return rows.why if isinstance(rows, _NoList) else rows

    async def _list(self) -> list[Assistant] | _NoList:
        try:
            return await self._caller.ask(list_all())
        except IncompleteListError:
            return _NoList("the listing is not whole", True)
        except APIError as error:
            refused = isinstance(error, APIStatusError) and error.status_code < 500
            declined = isinstance(error, APIStatusError) and error.status_code in (408, 425, 429)
            return _NoList(f"the listing failed: {error}", refused and not declined)

    async def _is_gone(self, assistant_id: str) -> bool:
        try:
            await self._caller.ask(get(assistant_id))
        except NotFoundError:
            return True
        except (APIError, ValidationError):  # an id that is odd cannot be asked for
            return False
        return False


async def _sleep_until(moment: float, caller: Caller) -> None:
    """Sleep until a moment of the monotonic clock. A timer of uvloop may ring a millisecond before its time, and a
    listing that is looked at too soon lacks what is there."""
    while (left := moment - time.monotonic()) > 0:
        await caller.sleep(left)


def unsettled(job: Job, doubt: str, what: str = EARLIER) -> LisnError:
    """The error of an item that may or may not exist, with the reason why that cannot be told."""
    error = job.error or APIConnectionError(
        what,
        job.request.method,
        job.request.path,
        1,
        True,
    )
    error.message += f"; it could not be told whether it exists: {doubt}"
    if job.marker is not None:
        error.message += f"; if it does, its name is {job.marker}, or what the service made of that"
    return error
