"""One item on its way, from what the caller gave to an outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from .. import _endpoints
from .._request import Request
from .._secrets import hide
from ..errors import LisnError, ValidationError
from ..models import UNSET, Assistant, AssistantCreate, AssistantUpdate
from .content import Content, Values, marker_content, marker_of, values_of, values_of_copy
from .outcome import BulkOutcome, Status
from .source import Item


@attrs.define(kw_only=True)
class Job:
    """An item that can be sent.

    `item` says what it is, `content` how a row of it is recognised; the two differ under a `marker`, and `rename`
    has to be sent once it is made, to give it its name. `noted_at` is when the journal last learnt that it is about
    to be sent, by the monotonic clock, and `is_out` says whether it may have been. `made` is set once it is there,
    `error` and `believable_at` once its fate is not known.
    """

    index: int
    given: AssistantCreate | Mapping[str, object] = attrs.field(repr=False)
    spec: AssistantCreate
    request: Request[Assistant]
    item: Values
    content: Content
    marker: str | None = None
    rename: AssistantUpdate | None = None
    noted_at: float = -math.inf
    is_out: bool = False
    made: Assistant | None = None
    error: LisnError | None = None
    believable_at: float = 0.0

    def outcome(
        self, status: Status, assistant: Assistant | None = None, error: LisnError | None = None
    ) -> BulkOutcome:
        """What became of it."""
        return BulkOutcome(index=self.index, status=status, spec=self.given, assistant=assistant, error=error)


class Desk(Protocol):
    """Where it is reported what became of a job."""

    def was_there(self, assistant_id: str) -> bool:
        """Whether an id is of an assistant that was there before the run."""

    def made(self, job: Job, row: Assistant) -> None:
        """The job's assistant exists; `row` is how the service shows it."""

    def created(self, job: Job, row: Assistant) -> None:
        """The job is done."""

    def failed(self, job: Job) -> None:
        """The job's assistant was certainly not made; `job.error` says why."""

    def unfinished(self, job: Job) -> None:
        """The job's assistant was made but could not be given its name; `job.error` says why."""

    def lost(self, job: Job, *, may_be_running: bool) -> None:
        """The job was sent and no usable reply came."""


def creating(item: Item, *, strict: bool) -> Job | ValidationError:
    """The create of an item, or what is wrong with it. An item may do anything when it is read."""
    try:
        spec = _endpoints.as_spec(hide(item.spec))
        request = _endpoints.create(spec, strict=strict)
        values = values_of(spec)
        content = values.content
    except ValidationError as wrong:
        return wrong.with_traceback(None)  # its frames hold the item, and an outcome may be kept for long
    except Exception as odd:  # noqa: BLE001 - it is the caller's object
        why = f"the item cannot be read: {type(odd).__name__}"
        return ValidationError(f"assistant not sent: {why}", {"spec": why})
    return Job(index=item.index, given=item.spec, spec=spec, request=request, item=values, content=content)


def marked(job: Job, key: bytes) -> Job:
    """The same create under a name that only this run can have given, to be renamed once it is made."""
    marker = marker_of(key, job.index)
    extra = dict(job.spec.extra_body or {})
    name = extra.pop("name", UNSET)
    spec = attrs.evolve(job.spec, name=marker, extra_body=hide(extra) or None)
    return attrs.evolve(
        job,
        request=_endpoints.create(spec, strict=False),  # the item itself has been validated
        content=marker_content(marker),
        marker=marker,
        rename=AssistantUpdate(name=job.spec.name)
        if name is UNSET
        else AssistantUpdate(extra_body={"name": name}),
    )


def copies_of(original: Assistant) -> Callable[[Item], Job]:
    """What makes an item of a bulk duplicate the copy of an assistant."""
    spec, request = original.to_create(), _endpoints.duplicate(original.id)
    values = values_of_copy(original)
    content = values.content
    identity = values._replace(fields=("copy of", original.id, *values.fields))

    def copy(item: Item) -> Job:
        return Job(index=item.index, given=spec, spec=spec, request=request, item=identity, content=content)

    return copy
