"""What the demo does, one function for each step; every step looks at what came of it."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from lisn_async.cli._bulk import outcomes_of
from lisn_async.cli._demo_stage import Stage
from lisn_async.cli._fields import FIELDS
from lisn_async.cli._progress import display

if TYPE_CHECKING:
    from lisn_async import Assistant, AssistantCreate, AsyncLisn, BulkProgress

MAX_CONCURRENCY = 16
DELETES_AT_ONCE = 8
ROWS_SHOWN = 10
SHOWN = ("name", "type", "llm_provider", "stt_language")


class StepFailed(Exception):
    """A step whose result is not what it should be."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step


@attrs.define(kw_only=True)
class Made:
    """What the demo has created and not deleted, and where it is: for cleaning up whatever happens."""

    mark: str
    ids: set[str] = attrs.field(factory=set)
    step: str = "connect"
    began: bool = False  # with creating: before that there is nothing to clean up
    cleaned: float = 0.0


async def perform(
    client: "AsyncLisn", stage: Stage, made: Made, specs: "list[AssistantCreate]", *, alone: bool
) -> None:
    """All steps in order. `alone`: nothing but the demo writes to this server, so its list is known exactly."""
    first = await _create(client, stage, made, specs)
    await _get(client, stage, made, first)
    await _update(client, stage, made, first)
    copy = await _duplicate(client, stage, made, first)
    await _delete(client, stage, made, copy)
    await _list(client, stage, made, alone)


@contextlib.contextmanager
def _timed(made: Made, step: str) -> Iterator["Clock"]:
    made.step = step
    clock = Clock(time.monotonic())
    yield clock


@attrs.define
class Clock:
    """The time since a step began."""

    began: float

    @property
    def seconds(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self.began


async def _create(
    client: "AsyncLisn", stage: Stage, made: Made, specs: "list[AssistantCreate]"
) -> "Assistant":
    by_index: dict[int, Assistant] = {}
    problems: list[str] = []
    seconds = 0.0
    made.step = "create"

    def show(news: "BulkProgress") -> None:
        nonlocal seconds
        seconds = news.elapsed  # the run's own clock: what the drawing of the bar takes is no part of it
        progress.show(news)

    with display(len(specs)) as progress:
        given = _begun(made, specs)
        async with outcomes_of(client, given, max_concurrency=MAX_CONCURRENCY, on_progress=show) as each:
            async for outcome in each:
                if outcome.assistant is None:
                    problems.append(f"{specs[outcome.index].name}: {outcome.status}: {outcome.error}")
                    continue
                made.ids.add(outcome.assistant.id)
                by_index[outcome.index] = outcome.assistant
                problems += differences(outcome.assistant, specs[outcome.index])
    if problems or len(made.ids) != len(specs):
        first = problems[0] if problems else f"{len(made.ids)} ids for {len(specs)} assistants"
        raise StepFailed("create", f"{len(by_index)} of {len(specs)} created; {first}")
    rate = len(specs) / seconds
    stage.done(
        "create", f"{len(specs)} assistants, up to {MAX_CONCURRENCY} at a time: {rate:,.0f} a second", seconds
    )
    return by_index[0]


def _begun(made: Made, specs: "list[AssistantCreate]") -> "Iterator[AssistantCreate]":
    made.began = True
    yield from specs


def differences(found: "Assistant", wanted: "AssistantCreate") -> list[str]:
    """The fields in which an assistant is not what was asked for. A field that a reply leaves out is no proof."""
    from lisn_async import UNSET

    pairs = ((name, getattr(found, name), getattr(wanted, name)) for name in FIELDS)
    return [
        f"{name} came back changed"
        for name, is_, should in pairs
        if should is not UNSET and is_ is not None and is_ != should
    ]


async def _get(client: "AsyncLisn", stage: Stage, made: Made, first: "Assistant") -> None:
    with _timed(made, "get") as clock:
        found = await client.assistants.get(first.id)
    if found.id != first.id or differences(found, first.to_create()):
        raise StepFailed("get", f"{first.id} is not what was created")
    stage.done("get", f"{found.id} is “{found.name}”, as it was sent", clock.seconds)


async def _update(client: "AsyncLisn", stage: Stage, made: Made, first: "Assistant") -> None:
    name = f"{first.name}, revised"
    with _timed(made, "update") as clock:
        await client.assistants.update(first.id, name=name, temperature=0.5)
        found = await client.assistants.get(first.id)
    wanted = attrs.evolve(first.to_create(), name=name, temperature=0.5)
    if found.name != name or differences(found, wanted):
        raise StepFailed("update", f"{first.id} does not show the change, or more than that changed")
    stage.done(
        "update",
        f"now “{found.name}” at temperature {found.temperature}; the prompt is untouched",
        clock.seconds,
    )


async def _duplicate(client: "AsyncLisn", stage: Stage, made: Made, first: "Assistant") -> "Assistant":
    with _timed(made, "duplicate") as clock:
        copy = await client.assistants.duplicate(first.id)
    if copy.id in made.ids:
        raise StepFailed("duplicate", f"the copy has the id of another assistant, {copy.id}")
    made.ids.add(copy.id)
    if copy.system_prompt not in (None, first.system_prompt):
        raise StepFailed("duplicate", f"{copy.id} has another prompt than {first.id}")
    stage.done("duplicate", f"{copy.id} is a copy of {first.id}", clock.seconds)
    return copy


async def _delete(client: "AsyncLisn", stage: Stage, made: Made, copy: "Assistant") -> None:
    from lisn_async import NotFoundError

    with _timed(made, "delete") as clock:
        await client.assistants.delete(copy.id)
    try:
        await client.assistants.get(copy.id)
    except NotFoundError:
        made.ids.discard(copy.id)
    else:
        raise StepFailed("delete", f"{copy.id} is still there")
    stage.done("delete", f"{copy.id} is gone: a get says 404", clock.seconds)


async def _list(client: "AsyncLisn", stage: Stage, made: Made, alone: bool) -> None:
    with _timed(made, "list") as clock:
        found = await client.assistants.list()
    ids = {assistant.id for assistant in found}
    if made.ids - ids:
        raise StepFailed("list", f"{len(made.ids - ids)} assistants are missing")
    if alone and (ids != made.ids or len(ids) != len(found)):
        raise StepFailed("list", f"{len(found)} assistants, but {len(made.ids)} were created")
    ours = [assistant for assistant in found if assistant.id in made.ids]
    stage.done("list", f"{len(found)} assistants, all {len(ours)} of the demo among them", clock.seconds)
    rows = [[str(getattr(a, name) or "").removeprefix(made.mark) for name in SHOWN] for a in spread(ours)]
    stage.table(list(SHOWN), rows, more=len(ours) - len(rows))


def spread(found: "list[Assistant]") -> "list[Assistant]":
    """A few from all over the list."""
    return found[:: -(-len(found) // ROWS_SHOWN)] if found else []


async def delete_everything(client: "AsyncLisn", made: Made) -> dict[str, str]:
    """Deletes what the demo created; returns the ids that may be left, with the reason.

    A create that was cut short has no id we know, but its name bears a mark that nobody else can have used.
    """
    from lisn_async import IncompleteListError, LisnError

    with _timed(made, "clean up") as clock:
        left = await _delete_all(client, sorted(made.ids))
        try:
            found = await client.assistants.list()
        except IncompleteListError as error:
            found = error.partial
        except LisnError as error:
            return left | {f"names that begin with {made.mark.strip()}": f"could not look for more: {error}"}
        marked = [a.id for a in found if made.mark.strip() in (a.name or "") and a.id not in left]
        left |= await _delete_all(client, marked)
    made.cleaned = clock.seconds
    return left


async def _delete_all(client: "AsyncLisn", ids: list[str]) -> dict[str, str]:
    from lisn_async import LisnError, NotFoundError

    room = asyncio.Semaphore(DELETES_AT_ONCE)
    left: dict[str, str] = {}

    async def delete(assistant_id: str) -> None:
        async with room:
            try:
                await client.assistants.delete(assistant_id)
            except NotFoundError:
                pass  # deleted by somebody else, or listed a moment too long
            except LisnError as error:
                left[assistant_id] = str(error)

    await asyncio.gather(*(delete(assistant_id) for assistant_id in ids))
    return left
