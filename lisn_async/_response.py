"""What came back, as a value, and what it means: a model, or an error.

The service's documentation shows no reply at all. So every reader here is tolerant: a bare object or
one level of envelope, a bare array or one of four names (README, *What we guessed*).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

from . import errors
from ._request import Request
from ._retry import Happened, parse_retry_after
from ._secrets import Payload, without_secrets
from ._unpack import unpack
from ._wire import Unreadable, decode, structure_assistant
from .models import Assistant

T = TypeVar("T")

Kind: TypeAlias = Literal["connection", "timeout", "response"]

AT_ONCE = 200
"""Assistants of a list that are made before anybody else has a turn: one millisecond."""

_ONE = ("data", "assistant", "result")
_MANY = ("data", "assistants", "items", "results")
_ABOUT_PAGES = (
    "meta",
    "metadata",
    "pagination",
    "paging",
    "page",
    "page_info",
    "pageinfo",
    "links",
    "_links",
)
_TOTALS = ("total", "totalcount", "totalitems", "totalresults")
_PAGES = ("totalpages", "pagecount", "numpages", "lastpage")
_REQUEST_ID = ("X-Request-Id", "Request-Id", "X-Correlation-Id")


# Made for every request, like those of `_calls`: not frozen, since attrs takes more than twice as long to make
# a frozen one.
@attrs.define(kw_only=True)
class Reply:
    """A reply whose status line arrived. Without a `body` there is `broken`, which says why."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray | None = attrs.field(repr=False)
    broken: Broken | None = None

    @property
    def retry_after(self) -> float | None:
        """Seconds until the service wants to be asked again, if it said so."""
        return parse_retry_after(self.headers.get("Retry-After"), self.headers.get("Date"))


@attrs.frozen(kw_only=True)
class Broken:
    """An attempt, or the body of its reply, that ended without a usable reply.

    `kind` says which family of errors it belongs to, `why` is one line of ours: what aiohttp says
    may hold a proxy's password. `retry_after` is how many seconds it should have waited for, where the call has no
    time for that.
    """

    happened: Happened
    kind: Kind
    why: str
    retry_after: float | None = None
    cause: BaseException | None = attrs.field(default=None, repr=False)


def reply_of(status: int, headers: Mapping[str, str], body: bytes | bytearray | None, most: int) -> Reply:
    """The reply with its body, unpacked; None stands for one of more than `most` bytes."""
    broken = None
    if body is None:
        broken = _unusable(f"the reply is larger than {most // 2**20} MiB")
    elif (encoding := headers.get("Content-Encoding")) is not None:
        try:
            body = unpack(body, encoding, most)
        except Unreadable as error:
            body, broken = None, _unusable(str(error))
    return Reply(status=status, headers=headers, body=body, broken=broken)


def _unusable(why: str) -> Broken:
    return Broken(happened=Happened.REPLIED, kind="response", why=why)


@attrs.define(kw_only=True)
class RawResponse(Generic[T]):
    """A result together with the HTTP reply it came in.

    `attempts` counts the requests that were sent, re-sends included.
    """

    status_code: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    attempts: int
    _result: T = attrs.field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The service's own name for the request, if it gave one."""
        return request_id_of(self.headers)

    def parse(self) -> T:
        """The model that the call without `with_raw_response` returns."""
        return self._result

    def __getstate__(self) -> tuple[None, Mapping[str, object]]:
        slots = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        return None, {**slots, "headers": CaseInsensitive(self.headers)}  # aiohttp's do not pickle


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The service's own name for a request, if it gave one."""
    return next((headers[name] for name in _REQUEST_ID if name in headers), None)


class IncompleteList(Unreadable):
    """The reply holds a list and says that there is more of it."""

    def __init__(self, sign: str, partial: list[Assistant]) -> None:
        super().__init__(sign)
        self.partial = partial


# --- readers of successful replies ------------------------------------------------------------------


def read_nothing(reply: Reply) -> None:
    """Nothing: a 2xx without more is all that a DELETE has to say."""


def read_assistant(reply: Reply) -> Assistant:
    """The one assistant of a reply. Raises `Unreadable`."""
    return structure_assistant(_one_object(_json(reply)))


def read_this_assistant(reply: Reply, assistant_id: str) -> Assistant:
    """The assistant that was asked for; `Unreadable` for another one, which a mixed-up connection brings."""
    assistant = read_assistant(reply)
    if assistant.id != assistant_id:
        raise Unreadable("the reply is about another assistant")
    return assistant


def read_copy(reply: Reply, original_id: str) -> Assistant:
    """The copy of an assistant; `Unreadable` if it is the original."""
    assistant = read_assistant(reply)
    if assistant.id == original_id:
        raise Unreadable("the copy has the id of the original")
    return assistant


async def read_assistants(reply: Reply) -> list[Assistant]:
    """All assistants of a reply. Raises `Unreadable`, `IncompleteList` if it is only one page.

    Many of them in turns with the loop: nobody can take a turn while they are decoded, which takes long enough.
    """
    import asyncio  # here: whoever only makes requests has no loop

    data = _json(reply)
    rows = _rows(data)
    found: list[Assistant] = []
    for start in range(0, len(rows), AT_ONCE):
        if len(rows) > AT_ONCE:
            await asyncio.sleep(0)
        found += [structure_assistant(row) for row in rows[start : start + AT_ONCE] if isinstance(row, dict)]
    if len(found) < len(rows):
        raise Unreadable("the list holds something that is no object")
    if sign := _sign_of_more(data, len(found)) or _link_to_next(reply):
        raise IncompleteList(sign, found)
    return found


def _json(reply: Reply) -> object:
    if reply.body is None:
        raise Unreadable("the reply broke off before its end")
    return decode(reply.body)


def _one_object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Unreadable(f"expected an object, the reply is {_kind(data)}")
    if "id" in data and "name" in data:
        return data
    inner = (data[key] for key in _ONE if isinstance(data.get(key), dict))
    return next((item for item in inner if "id" in item), data)


def _rows(data: object) -> list[Any]:
    if isinstance(data, list):
        return data
    if isinstance(data, dict):
        for key in _MANY:
            if isinstance(data.get(key), list):
                return list(data[key])
    raise Unreadable(f"expected a list, the reply is {_kind(data)}")


def _kind(data: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", type(None): "null", bool: "a boolean"}
    return names.get(type(data), "a number")


def _sign_of_more(data: object, count: int) -> str | None:
    """The field that says this is only one page, if there is one."""
    if not isinstance(data, dict):
        return None
    for envelope in (data, *(data[key] for key in data if key.lower() in _ABOUT_PAGES)):
        if not isinstance(envelope, dict):
            continue
        for key, value in envelope.items():
            plain = key.lower().replace("_", "").replace("-", "")
            # Said in our own words: the reply's may be of any length, and echo a secret.
            if (plain == "hasmore" or plain.startswith("next")) and value:
                return "it names a next page"
            if plain in _TOTALS and _number(value) > count:
                return f"it holds {count} of {_number(value):.15g}"
            if plain in _PAGES and _number(value) > 1:
                return f"it is one of {_number(value):.15g} pages"
            if plain == "links" and isinstance(value, list) and any(_is_next(link) for link in value):
                return "it links to a next page"
    return None


def _number(value: object) -> float:
    """The number that a field holds, as JSON or as its digits; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value) if len(value) < 16 else math.inf  # thousands of digits are a ValueError
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _is_next(link: object) -> bool:
    return isinstance(link, dict) and link.get("rel") == "next"


def _link_to_next(reply: Reply) -> str | None:
    link = reply.headers.get("Link", "").replace(" ", "").replace('"', "").lower()
    return "a Link header names a next page" if ";rel=next" in link else None


# --- errors -----------------------------------------------------------------------------------------

_BY_STATUS: Mapping[int, type[errors.APIStatusError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}


def status_error(
    request: Request[Any], url: str, reply: Reply, secrets: tuple[str, ...], attempts: int, *, unknown: bool
) -> errors.APIStatusError:
    """The error that a reply without success means, our own secrets replaced in all it carries."""
    kind = _BY_STATUS.get(reply.status, errors.APIStatusError)
    if reply.status >= 500:
        kind = errors.InternalServerError
    body = _readable(reply.body)
    said = _line(without_secrets(_find_message(body), secrets))
    headers = {name: str(without_secrets(value, secrets)) for name, value in reply.headers.items()}
    tries = f" (attempt {attempts})" if attempts > 1 else ""
    message = f"{request.method} {url} answered {_status_line(reply.status)}{tries}{said}"
    return kind(
        message + hint(unknown=unknown),
        request.method,
        url,
        attempts,
        unknown,
        reply.status,
        without_secrets(body, secrets),
        CaseInsensitive(headers),
        str(without_secrets(request_id_of(reply.headers), secrets)) if request_id_of(reply.headers) else None,
        reply.retry_after,
    )


def hint(*, unknown: bool) -> str:
    """What to add to a message where the request may have taken effect."""
    return "; it may have taken effect: look before you send it again" if unknown else ""


class CaseInsensitive(dict[str, str]):
    """Headers that can be asked for in any case, and pickled."""

    def __init__(self, headers: Mapping[str, str] = {}) -> None:
        super().__init__((name.lower(), value) for name, value in headers.items())

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name.lower() if isinstance(name, str) else name)

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _readable(body: bytes | bytearray | None) -> object:
    if not body:
        return None
    try:
        return decode(body)
    except Unreadable:
        return Payload(body).decode(errors="replace")


def _line(said: object) -> str:
    """What the service said, as one line of printable characters. Secrets are gone before it is cut."""
    if not isinstance(said, str):
        return ""
    return ": " + "".join(char if char.isprintable() else " " for char in said[:300]).rstrip(". ")


def _find_message(body: object) -> str | None:
    """What the service said of the failure, wherever it put it."""
    for _ in range(5):
        if isinstance(body, dict):
            keys = ("message", "detail", "error_description", "title", "error", "errors")
            body = next((body[key] for key in keys if body.get(key)), None)
        elif isinstance(body, list):
            body = body[0] if body else None
        else:
            break
    if not isinstance(body, str) or body.lstrip().startswith("<"):  # an HTML page says nothing in one line
        return None
    return body
