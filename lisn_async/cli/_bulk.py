"""Outcomes of a bulk run, closed as soon as the reader leaves."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lisn_async import AssistantCreate, AsyncLisn, BulkOutcome, BulkProgress


@contextlib.asynccontextmanager
async def outcomes_of(
    client: "AsyncLisn",
    specs: "Iterable[AssistantCreate]",
    *,
    on_progress: "Callable[[BulkProgress], None]",
    **options: Any,
) -> "AsyncIterator[AsyncIterator[BulkOutcome]]":
    """What `create_each` yields; leaving the block cancels what is under way, at once."""
    stream = client.assistants.create_each(specs, on_progress=on_progress, **options)
    async with contextlib.aclosing(stream):
        yield stream
