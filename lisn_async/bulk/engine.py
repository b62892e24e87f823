"""Bulk runs from the outside: many creates as a stream or as a result, and many copies of one assistant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from functools import partial
from typing import TypeAlias

from .._endpoints import get
from .._request import Caller
from ..errors import BulkError, JournalError, ValidationError
from ..models import AssistantCreate
from .job import copies_of, creating
from .options import Options
from .outcome import BulkOutcome, BulkResult
from .run import Run
from .source import Source

Specs: TypeAlias = (
    Iterable[AssistantCreate | Mapping[str, object]] | AsyncIterable[AssistantCreate | Mapping[str, object]]
)


async def create_each(caller: Caller, specs: Specs, chosen: Options) -> AsyncGenerator[BulkOutcome, None]:
    """The outcome of every item, as it becomes known; ambiguous ones last."""
    source = Source(specs)
    async with Run(caller, source, chosen, partial(creating, strict=caller.strict)) as run:
        while batch := await run.next_outcomes():
            for outcome in batch:
                run.report(outcome)
                yield outcome
        run.report_audit()
    if source.error is not None:
        raise source.error


async def create_many(caller: Caller, specs: Specs, chosen: Options) -> BulkResult:
    """The outcome of every item, in input order.

    Raises `BulkError`, with the outcomes so far, if the caller's own code ended the run: the input, or
    `on_progress`.
    """
    source = Source(specs)
    return await _collect(Run(caller, source, chosen, partial(creating, strict=caller.strict)), source)


async def duplicate_many(caller: Caller, assistant_id: str, count: int, chosen: Options) -> BulkResult:
    """The outcome of every copy, in order."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        reason = f"must be a whole number of at least 0, not {count!r}"
        raise ValidationError(f"copies not made: count: {reason}", {"count": reason})
    original = await caller.ask(get(assistant_id))
    source = Source(range(count))
    name = original.name or ""
    run = Run(caller, source, chosen, copies_of(original), may_be_ours=lambda row: name in (row.name or ""))
    return await _collect(run, source)


async def _collect(run: Run, source: Source) -> BulkResult:
    outcomes: list[BulkOutcome] = []
    ended_by: BaseException | None = None
    async with run:
        try:
            while batch := await run.next_outcomes():
                outcomes += batch
                for outcome in batch:
                    run.report(outcome)
                await run.told()
            run.report_audit()
            await run.told()
        except JournalError:
            raise  # what was made stands in the journal
        except Exception as error:  # noqa: BLE001 - whatever it was, what has been made must not be lost
            ended_by = error
    outcomes += run.leftover()
    outcomes += run.abandoned()
    outcomes.sort(key=lambda outcome: outcome.index)
    result = BulkResult(outcomes, list(run.audit.surplus), run.audit.doubt)
    if (ended_by := ended_by or source.error) is None:
        return result
    message = (
        f"{type(ended_by).__name__} ended the run after {len(outcomes)} items; their outcomes are in .result"
    )
    try:
        raise BulkError(f"{message}: {ended_by}", result) from ended_by
    finally:
        del ended_by
