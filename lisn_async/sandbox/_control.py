"""The sandbox about itself: `/openapi.json`, and `/_sandbox/…` to look inside and to break things."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from lisn_async.sandbox._app import read_json
from lisn_async.sandbox._fault_queue import FaultQueue
from lisn_async.sandbox._faults import Fault
from lisn_async.sandbox._judge import judged
from lisn_async.sandbox._late import LateCommits
from lisn_async.sandbox._messages import Received, Reply, error, json_reply
from lisn_async.sandbox._routes import Control
from lisn_async.sandbox._seen import SeenLog, SeenRequest
from lisn_async.sandbox._store import Store


@attrs.frozen(kw_only=True)
class ControlPlane:
    """What the paths under `/_sandbox/` do."""

    base_url: str
    store: Store
    seen: SeenLog
    faults: FaultQueue
    late: LateCommits

    def answer(self, control: Control, request: Received) -> Reply:
        """Carry out one request about the sandbox itself."""
        match control:
            case "openapi":
                return json_reply(200, openapi(self.base_url))
            case "reset":
                return self._reset()
            case "snapshot":
                return json_reply(200, self._snapshot())
            case "seen":
                return json_reply(200, [_described(one) for one in self.seen.snapshot()])
            case "faults":
                return self._faults()
            case "set_faults":
                return self._set_faults(request)
            case "judge":
                return self._judge(request)

    def _snapshot(self) -> dict[str, Any]:
        return {
            "assistants": self.store.documents(),
            "commits": self.store.commits(),
            "late_commits": len(self.late),
        }

    def _judge(self, request: Received) -> Reply:
        body = read_json(request)
        if isinstance(body, Reply):
            return body
        if not isinstance(body, dict) or "items" not in body or body.keys() - {"items", "before", "surplus"}:
            return error(422, "invalid", "Wanted is an object with items, before and surplus.")
        known = {"before": [], "surplus": [], **body}
        if not all(isinstance(value, list) for value in known.values()):
            return error(422, "invalid", "items, before and surplus are lists.")
        try:
            verdict = judged(self.store.contents(), **known)
        except ValueError as problem:
            return error(422, "invalid", str(problem))
        return json_reply(200, {**attrs.asdict(verdict), "is_clean": verdict.is_clean})

    def _reset(self) -> Reply:
        self.late.drop()
        self.store.clear()
        self.seen.clear()
        self.faults.replace([])
        return Reply(status=204)

    def _faults(self) -> Reply:
        return json_reply(200, [fault.describe() for fault in self.faults])

    def _set_faults(self, request: Received) -> Reply:
        body = read_json(request)
        if isinstance(body, Reply):
            return body
        try:
            self.faults.replace(Fault.parse(json.dumps(body)))
        except ValueError as problem:
            return error(422, "invalid", str(problem))
        return self._faults()


def _described(request: SeenRequest) -> dict[str, Any]:
    plain = attrs.asdict(request, recurse=False)
    plain["headers"] = [list(pair) for pair in request.headers.items()]
    try:
        plain["body"] = request.body.decode()
    except UnicodeDecodeError:
        plain["body"] = None
        plain["body_base64"] = base64.b64encode(request.body).decode()
    return plain


def openapi(base_url: str) -> dict[str, Any]:
    """The sandbox described in OpenAPI 3.1, as served at `base_url`."""
    return {**_openapi(), "servers": [{"url": base_url}, {"url": base_url + "/api"}]}


@cache
def _openapi() -> dict[str, Any]:
    # Written by hand from the specification, not made from `_rules.py`: it is there to disagree.
    document: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_bytes())
    return document
