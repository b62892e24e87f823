"""The two values everything here turns on: a request as received, a reply to be sent."""

from collections.abc import Mapping

import attrs

from lisn_async.sandbox._json import dump

_NOTHING: Mapping[str, str] = {}


@attrs.frozen(kw_only=True)
class Received:
    """A request with its body, nothing about it judged yet."""

    method: str
    path: str
    authorization: list[str]
    content_type: str = ""
    content_encoding: str = ""
    body: bytes = b""
    problem: "Reply | None" = None
    """The refusal that is already certain, because the body could not be read to its end."""


@attrs.frozen(kw_only=True)
class Reply:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = _NOTHING


def json_reply(status: int, value: object, headers: Mapping[str, str] = _NOTHING) -> Reply:
    """A reply with `value` as its JSON body."""
    return Reply(status=status, body=dump(value).encode(), headers=headers)


def error(
    status: int,
    kind: str,
    message: str,
    *,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = _NOTHING,
) -> Reply:
    """A refusal in the one shape all refusals have."""
    about = {"type": kind, "message": message, "fields": dict(fields or {})}
    return json_reply(status, {"error": about}, headers)
