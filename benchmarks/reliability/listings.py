"""R5: listings that mislead, other writers, commits that come too late. Nothing may be doubled without a word.

Where a listing cannot be believed, items whose reply was lost end as "unknown"; where a commit comes after all
waiting, the surplus is reported. What the judge counts is the assistants in the sandbox's database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import attrs

from benchmarks.reliability._job import Plan
from benchmarks.reliability.rows import Profile, Row
from lisn_async import Assistant, AssistantCreate, AsyncLisn, BulkResult
from lisn_async.sandbox import Fault, Sandbox, storm

SETTLE = 0.3
LATE = 1.9
"""How many times `settle` a late commit takes: longer than the listing that settles, not than the one that audits."""
AT_ONCE = 5
"""Cases that run side by side, each with a server of its own: they mostly wait."""


@attrs.frozen(kw_only=True)
class Case:
    """One way to mislead. `foreign` says what somebody else writes meanwhile: "equal", "other" or nothing."""

    name: str
    faults: Sequence[Any] = ()
    settle: float = SETTLE
    is_late: bool = False
    exact: str = "content"
    foreign: str = ""


def _cases(count: int) -> list[Case]:
    late = round(max(1.0, count / 700), 1)  # longer than it takes to send them all
    lists = {"operation": "list", "times": None}
    creates = {"operation": "create", "times": None}
    lag, partial = {"do": "lag", **lists}, {"do": "partial", "count": count // 4, **lists}
    return [
        Case(name="listing lags 1 s", faults=[{**lag, "seconds": 1.0}]),
        Case(name="listing lags 1 h", faults=[{**lag, "seconds": 3600.0}]),
        Case(name="listing cut at a quarter", faults=[partial]),
        Case(name="listing cut at a quarter, markers", faults=[partial], exact="marker"),
        *(
            Case(name=f"names rewritten ({how}){told}", faults=[{"do": "rewrite", "how": how, **creates}], exact=exact)
            for how in ("trim", "lower", "short")
            for exact, told in (("content", ""), ("marker", ", markers"))
        ),
        Case(name="others write other assistants", foreign="other"),
        Case(name="others write equal assistants", foreign="equal"),
        Case(name="others write equal assistants, markers", foreign="equal", exact="marker"),
        *(
            Case(name=f"commits {LATE * late:g} s late, settle {late:g} s{told}", settle=late, is_late=True, exact=exact)
            for exact, told in (("content", ""), ("marker", ", markers"))
        ),
    ]  # fmt: skip


def run(profile: Profile) -> list[Row]:
    """A row for each way to mislead."""
    count = profile.pick(tiny=24, fast=120, full=2000)
    return asyncio.run(_rows(Plan(count=count)))


async def _rows(plan: Plan) -> list[Row]:
    free = asyncio.Semaphore(AT_ONCE)

    async def row(case: Case) -> Row:
        async with free:
            return await _row(plan, case)

    return await asyncio.gather(*(row(case) for case in _cases(plan.count)))


async def _row(plan: Plan, case: Case) -> Row:
    async with Sandbox() as box:
        breaking = [
            attrs.evolve(fault, delay=LATE * case.settle) if fault.when == "late" else fault
            for fault in storm(0.2, late=case.is_late)
        ]
        box.faults = [*(Fault.of(fault) for fault in case.faults), *breaking]
        # A few with outer white space: only these are changed by a service that trims.
        fields = [
            {**one, "name": f" {one['name']} "} if n % 10 == 3 else one for n, one in enumerate(plan.fields())
        ]
        async with AsyncLisn(box.token, base_url=box.base_url, timeout=plan.timeout) as client:
            writing = asyncio.create_task(_write(client, case.foreign, plan, fields))
            result = await client.assistants.create_many(
                [AssistantCreate(**one) for one in fields],
                settle=case.settle,
                exact=case.exact,  # type: ignore[arg-type]
            )
            foreign = await writing
        await box.quiet()
        return _judged(box, case, fields, result, foreign)


async def _write(
    client: AsyncLisn, what: str, plan: Plan, fields: Sequence[dict[str, Any]]
) -> list[Assistant]:
    """What somebody else writes meanwhile: one for every ten of the job's, under markers, to claim none of them."""
    made = []
    for one in fields[::10] if what else ():
        other = {**one, "name": f"foreign {one['name']}", "system_prompt": "of somebody else"}
        raw = AssistantCreate(**(one if what == "equal" else other))
        result = await client.assistants.create_many([raw], settle=0.0, max_concurrency=1, exact="marker")
        made += [outcome.assistant for outcome in result.outcomes if outcome.assistant]
    return made


def _judged(
    box: Sandbox, case: Case, fields: Sequence[dict[str, Any]], result: BulkResult, foreign: list[Assistant]
) -> Row:
    # Under a marker a row has its name only in the end: unknown ones and surplus are known by the rest.
    unnamed = case.exact == "marker"
    items: list[dict[str, Any]] = [
        {
            "fields": {name: value for name, value in one.items() if name != "name" or not unnamed},
            "outcome": outcome.status,
            "id": outcome.assistant.id if outcome.assistant and outcome.status == "created" else "",
        }
        for one, outcome in zip(fields, result.outcomes, strict=True)
    ]
    # By content nobody can tell an equal one of somebody else's from ours: one that we claimed counts as ours.
    claimed = {item["id"] for item in items} if case.exact == "content" else set()
    others = [row.id for row in foreign if row.id not in claimed]
    found = box.judge(items, before=others, surplus=[row.id for row in result.surplus])
    ours = {item["id"] for item in items}
    nameless = sum(row["id"] in ours and row["name"].startswith("lisn-") for row in box.assistants())
    figures = {
        "creates": found.items,
        "created": found.created,
        "failed": found.failed,
        "unknown": found.unknown,
        "lost": found.lost,
        "duplicated": found.duplicated,
        "of these reported": found.reported,
        "unexplained": found.unexplained,
        "wrong id or name": found.wrong_id + nameless,
    }
    is_met = found.is_clean and not found.failed and not nameless
    return Row(name="R5", what=case.name, figures=figures, is_met=is_met)
