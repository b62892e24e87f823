"""Which operation a method and a path ask for: a table and one pattern."""

import re
from typing import Literal, TypeAlias
from urllib.parse import unquote

import attrs

from lisn_async.sandbox._faults import Operation

# Both addresses of the documentation work: the base URL with `/v1/assistants`, and the host with `/api/v1/…`.
_ASSISTANTS = re.compile(r"(?:/api)?/v1/assistants(?:/(?P<id>[^/]+)(?P<duplicate>/duplicate)?)?")
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

_COLLECTION: dict[str, Operation] = {"GET": "list", "HEAD": "list", "POST": "create"}
_ITEM: dict[str, Operation] = {"GET": "get", "HEAD": "get", "PATCH": "update", "DELETE": "delete"}
_DUPLICATE: dict[str, Operation] = {"POST": "duplicate"}

Control: TypeAlias = Literal["openapi", "reset", "snapshot", "seen", "faults", "set_faults", "judge"]

_CONTROL: dict[str, dict[str, Control]] = {
    "/openapi.json": {"GET": "openapi", "HEAD": "openapi"},
    "/_sandbox/reset": {"POST": "reset"},
    "/_sandbox/snapshot": {"GET": "snapshot", "HEAD": "snapshot"},
    "/_sandbox/seen": {"GET": "seen", "HEAD": "seen"},
    "/_sandbox/faults": {"GET": "faults", "HEAD": "faults", "PUT": "set_faults"},
    "/_sandbox/judge": {"POST": "judge"},
}


@attrs.frozen(kw_only=True)
class Route:
    """Where a request goes: to an operation, to the control plane, or nowhere."""

    operation: Operation | None = None
    control: Control | None = None
    assistant_id: str = ""
    allow: str = ""
    """The methods this path has; empty if there is no such path."""
    is_control: bool = False
    """True for the paths that are about the sandbox itself: neither recorded nor broken by faults."""


def find(method: str, path: str) -> Route:
    """The route of a request."""
    if path in _CONTROL:
        methods = _CONTROL[path]
        return Route(control=methods.get(method), allow=_allowed(methods), is_control=True)
    if match := _ASSISTANTS.fullmatch(path):
        return _assistants(method, match)
    return Route(is_control=path.startswith("/_sandbox/"))


def _assistants(method: str, match: re.Match[str]) -> Route:
    if match["id"] is None:
        return Route(operation=_COLLECTION.get(method), allow=_allowed(_COLLECTION))
    wanted = unquote(match["id"])
    if not _ID.fullmatch(wanted):  # `.`, `..`, `a%2Fb`: never an assistant, so there is nothing there
        return Route()
    methods = _DUPLICATE if match["duplicate"] else _ITEM
    return Route(operation=methods.get(method), assistant_id=wanted, allow=_allowed(methods))


def _allowed(methods: dict[str, Operation] | dict[str, Control]) -> str:
    return ", ".join([*methods, "OPTIONS"])
