"""The six endpoints as six functions from arguments to a `Request`.

Source: `assistants-api`, tables *Endpoints* and *Create Assistant*. They validate before anything is
sent and raise `ValidationError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TypeVar

import attrs

from . import _response
from ._request import COLLECTION, Request
from ._secrets import kind_of
from ._wire import encode, fields_of
from .errors import ValidationError
from .models import Assistant, AssistantCreate, AssistantUpdate
from .models._rules import check_create, check_id, check_update

ONE = COLLECTION + "/{id}"
DUPLICATE = ONE + "/duplicate"
LONGEST_LIST = 256 * 2**20

G = TypeVar("G", AssistantCreate, AssistantUpdate)


def list_all() -> Request[list[Assistant]]:
    return Request(
        operation="assistants.list",
        method="GET",
        path=COLLECTION,
        template=COLLECTION,
        read=_response.read_assistants,
        max_reply=LONGEST_LIST,
    )


def create(spec: AssistantCreate, *, strict: bool) -> Request[Assistant]:
    fields = fields_of(spec)
    check_create(fields, spec.extra_body, strict=strict)
    return Request(
        operation="assistants.create",
        method="POST",
        path=COLLECTION,
        template=COLLECTION,
        read=_response.read_assistant,
        body=encode(fields, spec.extra_body),
        secrets=_secrets(fields, spec.extra_body),
    )


def get(assistant_id: str) -> Request[Assistant]:
    check_id(assistant_id)
    return Request(
        operation="assistants.get",
        method="GET",
        path=f"{COLLECTION}/{assistant_id}",
        template=ONE,
        read=partial(_response.read_this_assistant, assistant_id=assistant_id),
    )


def update(assistant_id: str, change: AssistantUpdate, *, strict: bool) -> Request[Assistant]:
    check_id(assistant_id)
    fields = fields_of(change)
    check_update(fields, change.extra_body, strict=strict)
    return Request(
        operation="assistants.update",
        method="PATCH",
        path=f"{COLLECTION}/{assistant_id}",
        template=ONE,
        read=partial(_response.read_this_assistant, assistant_id=assistant_id),
        body=encode(fields, change.extra_body),
        secrets=_secrets(fields, change.extra_body),
    )


def delete(assistant_id: str) -> Request[None]:
    check_id(assistant_id)
    return Request(
        operation="assistants.delete",
        method="DELETE",
        path=f"{COLLECTION}/{assistant_id}",
        template=ONE,
        read=_response.read_nothing,
    )


def duplicate(assistant_id: str) -> Request[Assistant]:
    check_id(assistant_id)
    return Request(
        operation="assistants.duplicate",
        method="POST",
        path=f"{COLLECTION}/{assistant_id}/duplicate",
        template=DUPLICATE,
        read=partial(_response.read_copy, original_id=assistant_id),
    )


def one_change(change: AssistantUpdate | None, fields: AssistantUpdate) -> AssistantUpdate:
    """What `update` was given: a change, or the fields of one. Both at once is a `TypeError`, save for `extra_body`."""
    if change is None:
        return fields
    if fields != AssistantUpdate(extra_body=fields.extra_body):
        raise TypeError("update() takes a change or its fields, not both")
    if not isinstance(change, AssistantUpdate):
        what = f"must be an AssistantUpdate, not {kind_of(change)}"
        raise ValidationError(f"update not sent: the change {what}", {"change": what})
    return _with_more(change, fields.extra_body)


def one_spec(spec: AssistantCreate | None, fields: AssistantCreate) -> AssistantCreate:
    """What `create` was given: a spec, or the fields of one. Both at once is a `TypeError`, save for `extra_body`."""
    if spec is None:
        return fields
    if fields != AssistantCreate(extra_body=fields.extra_body):
        raise TypeError("create() takes a spec or its fields, not both")
    return _with_more(as_spec(spec), fields.extra_body)


def _with_more(given: G, extra_body: Mapping[str, object] | None) -> G:
    """The same, with these fields in its body too; they count before its own. A wrong one is left to be refused."""
    if extra_body is None:
        return given
    if given.extra_body is None or not isinstance(extra_body, Mapping):
        return attrs.evolve(given, extra_body=extra_body)
    if not isinstance(given.extra_body, Mapping):
        return given
    return attrs.evolve(given, extra_body={**given.extra_body, **extra_body})


def as_spec(given: object) -> AssistantCreate:
    """The spec that a caller means: one of ours, or a mapping of its documented fields. Raises `ValidationError`.

    A mapping may be what somebody sent to a web server: its `extra_body` would be theirs to choose, unvalidated.
    """
    if isinstance(given, AssistantCreate):
        return given
    if not isinstance(given, Mapping):
        what = f"must be an AssistantCreate or a mapping of its fields, not {kind_of(given)}"
        if isinstance(given, Assistant):
            what += "; an assistant's .to_create() gives one"
        raise ValidationError(f"assistant not sent: the spec {what}", {"spec": what})
    allowed = AssistantCreate.__attrs_attrs__
    unknown = [key for key in given if key not in {field.name for field in allowed}]
    if unknown:
        reason = "is not a documented field; if you mean it, give it by name, as extra_body={...}"
        names = ", ".join(repr(key) for key in unknown)
        raise ValidationError(f"assistant not sent: {names} {reason}", {str(key): reason for key in unknown})
    spec = AssistantCreate(**given)
    if spec.extra_body is not None:
        reason = "is not taken from a mapping; give it by its name: AssistantCreate(**fields, extra_body=...)"
        raise ValidationError(f"assistant not sent: extra_body {reason}", {"extra_body": reason})
    return spec


def _secrets(fields: Mapping[str, object], extra: Mapping[str, object] | None) -> tuple[str, ...]:
    if extra is None and "webhook_secret" not in fields:
        return ()
    given = (fields.get("webhook_secret"), (extra or {}).get("webhook_secret"))
    return tuple(secret for secret in given if isinstance(secret, str) and secret)
