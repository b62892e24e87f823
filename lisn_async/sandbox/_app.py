"""From a request to a reply: the six operations, and everything a careful server refuses.

No awaiting in here and nothing of aiohttp: a value comes in, the store is asked, a value goes out.
"""

import hmac
import json
from collections.abc import Sequence
from typing import Any

from lisn_async.sandbox import _json, _modifiers, _rules
from lisn_async.sandbox._faults import Fault, Operation
from lisn_async.sandbox._messages import Received, Reply, error
from lisn_async.sandbox._routes import Route
from lisn_async.sandbox._store import Store

_UTF8 = {"utf-8", "utf8", "us-ascii", "ascii"}


def refusal(request: Received, route: Route, token: str) -> Reply | None:
    """The reply to a request that has no business here; None if it may go on."""
    if not route.allow:
        return error(404, "not_found", f"There is nothing at {request.path[:200]}.")
    if request.method == "OPTIONS":
        return Reply(status=204, headers={"Allow": route.allow})
    if route.operation is None and route.control is None:
        message = f"{request.method[:20]} is not possible here; possible: {route.allow}."
        return error(405, "method_not_allowed", message, headers={"Allow": route.allow})
    if route.control != "openapi" and not _is_authorized(request.authorization, token):
        message = "A valid token is needed: `Authorization: Bearer <token>`."
        return error(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
    return request.problem


def _is_authorized(headers: list[str], token: str) -> bool:
    if len(headers) != 1:
        return False
    scheme, _, given = headers[0].partition(" ")
    # Bytes: compare_digest raises on str that is not ASCII. Header bytes arrive as surrogate escapes.
    right = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogateescape"), token.encode())
    return right and scheme.lower() == "bearer"


def read_json(request: Received) -> Any:
    """The JSON body, or the `Reply` that refuses it."""
    kind, _, parameters = request.content_type.partition(";")
    if kind.strip().lower() != "application/json":
        return error(
            415, "unsupported_media_type", "The body must be sent as Content-Type: application/json."
        )
    if "charset" in parameters.lower() and parameters.split("=")[-1].strip(' "').lower() not in _UTF8:
        return error(415, "unsupported_media_type", "JSON must be sent in UTF-8.")
    if request.content_encoding.strip().lower() not in ("", "identity"):
        return error(415, "unsupported_media_type", "A compressed body is not understood here.")
    try:
        return _json.parse(request.body)
    except _json.NotJSON as problem:
        return error(400, "invalid_json", str(problem))


class App:
    """The six operations on one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def answer(
        self, operation: Operation, request: Received, wanted: str, modifiers: Sequence[Fault] = ()
    ) -> Reply:
        """Carry out one operation; `wanted` is the id in the path, where there is one."""
        with self._store.lock:  # what was read stays true until it is written, whoever clears meanwhile
            match operation:
                case "list":
                    return self._list(modifiers)
                case "create":
                    return self._create(request, modifiers)
                case "get":
                    return self._get(wanted)
                case "update":
                    return self._update(request, wanted, modifiers)
                case "delete":
                    return self._delete(wanted)
                case "duplicate":
                    return self._duplicate(wanted, modifiers)

    def _list(self, modifiers: Sequence[Fault]) -> Reply:
        age = _modifiers.least_age(modifiers)
        rows = self._store.older_than(age) if age else self._store.all()
        rows = rows[: _modifiers.most_rows(modifiers)]
        return Reply(status=200, body=b"[" + b",".join(rows) + b"]")

    def _create(self, request: Received, modifiers: Sequence[Fault]) -> Reply:
        body = _json_object(request)
        if isinstance(body, Reply):
            return body
        try:
            fields = _rules.created(body)
        except _rules.Refused as refused:
            return _unprocessable(refused)
        stored = _modifiers.rewritten(fields, modifiers) if modifiers else fields
        asked = fields if stored != fields else None
        return Reply(status=201, body=self._store.create("create", stored, asked=asked))

    def _get(self, wanted: str) -> Reply:
        found = self._store.get(wanted)
        return _unknown(wanted) if found is None else Reply(status=200, body=found)

    def _update(self, request: Received, wanted: str, modifiers: Sequence[Fault]) -> Reply:
        body = _json_object(request)
        if isinstance(body, Reply):
            return body
        found = self._store.get(wanted)
        if found is None:
            return _unknown(wanted)
        before = json.loads(found)
        try:
            fields = _rules.changed(before, body)
        except _rules.Refused as refused:
            return _unprocessable(refused)
        stored = _modifiers.rewritten(fields, modifiers, body) if modifiers else fields
        asked = self._store.asked(wanted)
        if asked is not None or stored != fields:
            asked = _rules.changed(asked or before, body)
        return Reply(status=200, body=self._store.update(wanted, before, stored, asked=asked))

    def _delete(self, wanted: str) -> Reply:
        if self._store.get(wanted) is None:
            return _unknown(wanted)
        self._store.delete(wanted)
        return Reply(status=204)

    def _duplicate(self, wanted: str, modifiers: Sequence[Fault]) -> Reply:
        found = self._store.get(wanted)
        if found is None:
            return _unknown(wanted)
        fields = _rules.copied(json.loads(found))
        stored = _modifiers.rewritten(fields, modifiers)
        asked = self._store.asked(wanted)  # a copy of it was asked for, whatever became of that
        if stored != fields:
            asked = asked or fields
        return Reply(status=201, body=self._store.create("duplicate", stored, asked=asked))


def _json_object(request: Received) -> dict[str, Any] | Reply:
    body = read_json(request)
    if isinstance(body, dict | Reply):
        return body
    return error(422, "invalid", "The body must be a JSON object.")


def _unprocessable(refused: _rules.Refused) -> Reply:
    message = "; ".join(f"{name} {reason}" for name, reason in refused.fields.items()) + "."
    return error(422, "invalid", message, fields=refused.fields)


def _unknown(wanted: str) -> Reply:
    return error(404, "not_found", f"There is no assistant {wanted}.")
