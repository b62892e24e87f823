"""One item on its way, from the caller's spec to an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs

from .._endpoints import as_spec, create
from .._request import Request
from .._secrets import hide
from ..errors import LisnError, ValidationError
from ..models import Assistant, AssistantCreate
from .content import Content, content_of
from .outcome import BulkOutcome, Status
from .source import Item


@attrs.define(kw_only=True)
class Job:
    """An item that can be sent. `error` and `believable_at` are set once its fate is not known."""

    index: int
    given: AssistantCreate | Mapping[str, object] = attrs.field(repr=False)
    spec: AssistantCreate
    request: Request[Assistant]
    content: Content
    error: LisnError | None = None
    believable_at: float = 0.0

    def outcome(
        self, status: Status, assistant: Assistant | None = None, error: LisnError | None = None
    ) -> BulkOutcome:
        """What became of it."""
        return BulkOutcome(index=self.index, status=status, spec=self.given, assistant=assistant, error=error)


class Desk(Protocol):
    """Where it is reported what became of a job."""

    def created(self, job: Job, made: Assistant) -> None:
        """The job's assistant is known."""

    def failed(self, job: Job) -> None:
        """The job's assistant was certainly not made; `job.error` says why."""

    def lost(self, job: Job, *, may_be_running: bool) -> None:
        """The job was sent and no usable reply came."""


def job_of(item: Item, *, strict: bool) -> Job | ValidationError:
    """The item, ready to be sent, or what is wrong with it. An item may do anything when it is read."""
    try:
        spec = as_spec(hide(item.spec))
        request = create(spec, strict=strict)
        content = content_of(spec)
    except ValidationError as wrong:
        return wrong.with_traceback(None)  # its frames hold the item, and an outcome may be kept for long
    except Exception as odd:  # noqa: BLE001 - it is the caller's object
        why = f"the item cannot be read: {type(odd).__name__}"
        return ValidationError(f"assistant not sent: {why}", {"spec": why})
    return Job(index=item.index, given=item.spec, spec=spec, request=request, content=content)
