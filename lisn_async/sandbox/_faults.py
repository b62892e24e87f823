"""What shall go wrong, as data: read and checked here, counted off in `_fault_queue.py`.

Breakages spoil the exchange (`_wire_faults.py`), at most one strikes a request. Modifiers bend what the service
does (`_modifiers.py`) and let the exchange be; a request can meet both.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Literal, Self, TypeAlias

import attrs

from lisn_async.sandbox import _fault_fields as fields

Breakage: TypeAlias = Literal[
    "status", "reset", "close", "hang", "cut", "refuse", "drip", "garbage", "html", "bomb"
]
Modifier: TypeAlias = Literal["lag", "partial", "rewrite"]
Do: TypeAlias = Breakage | Modifier
When: TypeAlias = Literal["before", "after", "late"]
How: TypeAlias = Literal["trim", "lower", "short"]
Operation: TypeAlias = Literal["list", "create", "get", "update", "delete", "duplicate"]

BREAKAGES: tuple[Breakage, ...] = (
    "status", "reset", "close", "hang", "cut", "refuse", "drip", "garbage", "html", "bomb",
)  # fmt: skip
MODIFIERS: tuple[Modifier, ...] = ("lag", "partial", "rewrite")
DO: tuple[Do, ...] = (*BREAKAGES, *MODIFIERS)
WHEN: tuple[When, ...] = ("before", "after", "late")
HOW: tuple[How, ...] = ("trim", "lower", "short")
OPERATIONS: tuple[Operation, ...] = ("list", "create", "get", "update", "delete", "duplicate")

# The operations there is something to bend in; the breakages can strike any.
_CAN_MEET: dict[Do, tuple[Operation, ...]] = {
    "lag": ("list",),
    "partial": ("list",),
    "rewrite": ("create", "update", "duplicate"),
}

# Fields that mean something to these kinds only: elsewhere they are a misunderstanding, better found at once.
_ONLY_FOR: dict[str, tuple[Do, ...]] = {
    "seconds": ("refuse", "drip", "lag"),
    "count": ("partial",),
    "how": ("rewrite",),
    **dict.fromkeys(("status", "headers", "retry_after", "body", "when", "delay"), BREAKAGES),
}


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, for the first request it fits.

    Breakages:
    `status` answers with that status; `reset` breaks the connection with RST; `close` closes it with FIN and
    no reply; `hang` never answers; `cut` promises a body by its Content-Length and closes half way through;
    `refuse` resets and then refuses every connection for `seconds`, the control plane's too, and breaks off idle
    ones; `drip` sends the true reply in small pieces over `seconds`, then closes; `garbage` sends bytes that are
    no HTTP (`body`, if given) and closes; `html` answers with a page and status 200, or `status`; `bomb` answers
    with a little gzip that unpacks to 200 MB.

    Modifiers, which a request can meet besides a breakage, one of each sort:
    `lag` hides assistants younger than `seconds` from a listing; `partial` cuts a listing to `count` rows and does
    not say so; `rewrite` stores and shows something else than was sent (`how`: trim, lower, short).

    `when` is "before" or "after" the request is carried out, or "late": it is carried out `delay` seconds after
    the fault has struck. `operation` narrows it to list, create, get, update, delete or duplicate; `skip` lets so
    many pass first; `times` is how many it hits (None: for ever); `probability` is the chance to hit each.
    """

    do: Do = attrs.field(default="status", validator=fields.one_of(DO))
    status: int | None = attrs.field(default=None, validator=fields.whole(200, 599))
    """What to answer with: needed by `status`; `cut` and `drip` use that of the true reply unless told otherwise."""
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=fields.headers)
    retry_after: float | str | None = attrs.field(default=None, validator=fields.retry_after)
    """Sent as `Retry-After`, as it stands: seconds, an HTTP date, or nonsense."""
    body: bytes | None = attrs.field(default=None, converter=fields.body)
    """Text and JSON objects are accepted as well. None: an error body like the sandbox's others."""
    when: When | None = attrs.field(default=None, validator=fields.one_of(WHEN))
    """`before`: nothing is done. `after`: the request is carried out, committed, and then the fault strikes.
    `late`: the fault strikes, and the request is carried out `delay` seconds later, whoever is still there.

    None means `before`, but `after` for `cut` and `drip`: half of a reply to something that never happened is a lie.
    """
    delay: float | None = attrs.field(default=None, validator=fields.duration)
    """Seconds between the fault and the late commit; None means 0.2 where `when` is `late`."""
    seconds: float | None = attrs.field(default=None, validator=fields.duration)
    """How long `refuse` and `drip` take, how old `lag` wants an assistant to be; None means 1 there."""
    count: int | None = attrs.field(default=None, validator=fields.whole(0))
    """How many rows `partial` leaves."""
    how: How | None = attrs.field(default=None, validator=fields.one_of(HOW))
    """What `rewrite` does: `trim` takes outer white space off name and system prompt, `lower` writes the name in
    lower case, `short` cuts it after 20 characters. None means `trim` there."""
    operation: Operation | None = attrs.field(default=None, validator=fields.one_of(OPERATIONS))
    """Only requests of this kind; None for any that the fault can meet."""
    times: int | None = attrs.field(default=1, validator=fields.whole(1))
    """How many requests it hits before it is used up; None for ever."""
    skip: int = attrs.field(default=0, validator=fields.whole(0))
    """How many requests that fit are let through first."""
    probability: float = attrs.field(default=1.0, validator=fields.share)
    """The chance to hit a request that fits, drawn from the sandbox's seed."""

    def __attrs_post_init__(self) -> None:
        if self.do is None or self.skip is None:
            raise ValueError("do and skip cannot be null.")
        if self.do == "status" and self.status is None:
            raise ValueError("do='status' needs a status, such as 503.")
        if self.do == "partial" and self.count is None:
            raise ValueError("do='partial' needs a count: how many rows the listing shows.")
        self._refuse_what_means_nothing()
        for name, value in self._meant().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def _refuse_what_means_nothing(self) -> None:
        for name, kinds in _ONLY_FOR.items():
            if self.do not in kinds and getattr(self, name) not in (None, {}):
                raise ValueError(f"{name} means nothing to do={self.do!r}; it is for {', '.join(kinds)}.")
        if self.delay is not None and self.when != "late":
            raise ValueError("delay means nothing without when='late'.")
        can_meet = _CAN_MEET.get(self.do, OPERATIONS)
        if self.operation is not None and self.operation not in can_meet:
            raise ValueError(
                f"do={self.do!r} never meets operation={self.operation!r}, only {', '.join(can_meet)}."
            )

    def _meant(self) -> dict[str, Any]:
        """What a field means that was left out."""
        meant: dict[str, Any] = {}
        if self.do in BREAKAGES:
            meant["when"] = "after" if self.do in ("cut", "drip") else "before"
        if self.when == "late":
            meant["delay"] = 0.2
        if self.do in _ONLY_FOR["seconds"]:
            meant["seconds"] = 1.0
        if self.do == "rewrite":
            meant["how"] = "trim"
        return meant

    @property
    def sort(self) -> str:
        """What only one of can strike a request: a breakage, or one modifier."""
        return "breakage" if self.do in BREAKAGES else f"{self.do} {self.how}"

    def fits(self, operation: str | None) -> bool:
        """Whether a request of that kind is one for this fault."""
        if self.operation is not None:
            return self.operation == operation
        return self.do not in _CAN_MEET or operation in _CAN_MEET[self.do]

    @classmethod
    def parse(cls, text: str | bytes) -> list[Self]:
        """The faults of a JSON list: names, statuses and objects, mixed; `ValueError` says what is wrong."""
        try:
            items = json.loads(text)
        except RecursionError:
            raise ValueError("The faults are nested too deeply.") from None
        except ValueError as error:
            raise ValueError(f"The faults are not JSON: {error}.") from None
        if not isinstance(items, list):
            raise ValueError('The faults must be a JSON list, such as ["cut", 503].')  # noqa: TRY004
        return [cls.of(item) for item in items]

    @classmethod
    def of(cls, item: "Fault | Mapping[str, Any] | int | str") -> Self:
        """The fault that a status, a name or a mapping of the fields stands for."""
        if isinstance(item, cls):
            return item
        if isinstance(item, str):
            return cls._named(item)
        if isinstance(item, int) and not isinstance(item, bool):
            return cls(do="status", status=item)
        if isinstance(item, Mapping):
            return cls._described(item)
        raise ValueError(f"A fault is a status, a name or a mapping; not {item!r}.")

    @classmethod
    def _named(cls, name: str) -> Self:
        names = [do for do in DO if do != "status"]
        if name not in names:
            raise ValueError(
                f"There is no fault {name!r}; there are {', '.join(names)}, and statuses as numbers."
            )
        return cls(do=name)

    @classmethod
    def _described(cls, item: Mapping[str, Any]) -> Self:
        item = dict(item)
        if (packed := item.pop("body_base64", None)) is not None:
            item["body"] = _unpacked(packed)
        known = [field.name for field in attrs.fields(cls)]
        if unknown := [str(name) for name in item if name not in known]:
            raise ValueError(f"A fault has no {', '.join(unknown)}; it has {', '.join(known)}.")
        return cls(**item)

    def describe(self) -> dict[str, Any]:
        """The fault as a mapping that JSON can carry and `of` reads back; a body that is no text in base64."""
        plain = attrs.asdict(
            self, filter=lambda field, value: value != field.default and value not in (None, {})
        )
        if self.body is not None:
            plain |= _packed(plain.pop("body"))
        if self.times is None:
            plain["times"] = None
        return {"do": self.do, **plain}


FaultLike: TypeAlias = Fault | Mapping[str, Any] | int | str


def _packed(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _unpacked(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]  # what it is not, it refuses
    except (TypeError, ValueError):
        raise ValueError(f"body_base64 must be base64; not {text!r}.") from None
