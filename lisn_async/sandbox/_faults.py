"""What shall go wrong, as data: read, checked and counted off here, carried out in `_wire_faults.py`."""

import json
import random
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import Any, Literal, Self, TypeAlias, overload

import attrs

Do: TypeAlias = Literal["status", "reset", "close", "hang", "cut"]
When: TypeAlias = Literal["before", "after"]
Operation: TypeAlias = Literal["list", "create", "get", "update", "delete", "duplicate"]

DO: tuple[Do, ...] = ("status", "reset", "close", "hang", "cut")
WHEN: tuple[When, ...] = ("before", "after")
OPERATIONS: tuple[Operation, ...] = ("list", "create", "get", "update", "delete", "duplicate")


def _one_of(choices: Sequence[str]) -> Any:
    def check(fault: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value is not None and value not in choices:
            raise ValueError(f"{attribute.name} must be one of {', '.join(choices)}; not {value!r}.")

    return check


def _whole(lowest: int, highest: int | None = None) -> Any:
    def check(fault: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value is None:
            return
        limits = f"{lowest} or more" if highest is None else f"from {lowest} to {highest}"
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < lowest
            or value > (highest or value)
        ):
            raise ValueError(f"{attribute.name} must be a whole number, {limits}; not {value!r}.")

    return check


def _share(fault: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be a number from 0 to 1; not {value!r}.")


# ValueError also where the type is wrong: faults come from files, and their readers catch one class.
def _headers(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"headers must be a mapping of names to values; not {value!r}.")  # noqa: TRY004
    made = {str(name): str(text) for name, text in value.items()}
    for name, text in made.items():
        if not name or not (name + text).isprintable() or not name.isascii() or set(name) & set(" :"):
            raise ValueError(f"headers holds {name!r}: {text!r}, which HTTP cannot carry.")
    return made


def _body(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, Mapping | list):
        return json.dumps(value).encode()
    raise ValueError(f"body must be text, bytes or a JSON object; not {value!r}.")


def _retry_after(fault: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise ValueError(f"retry_after must be seconds or an HTTP date; not {value!r}.")
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(f"retry_after holds {value!r}, which HTTP cannot carry.")


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, for the first request it fits.

    `status` answers with that status; `reset` breaks the connection with RST; `close` closes it with FIN and
    no reply; `hang` never answers; `cut` promises a body by its Content-Length and closes half way through.
    """

    do: Do = attrs.field(default="status", validator=_one_of(DO))
    status: int | None = attrs.field(default=None, validator=_whole(200, 599))
    """What to answer with: needed by `status`; `cut` uses the status of the true reply unless told otherwise."""
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=_headers)
    retry_after: float | str | None = attrs.field(default=None, validator=_retry_after)
    """Sent as `Retry-After`, as it stands: seconds, an HTTP date, or nonsense."""
    body: bytes | None = attrs.field(default=None, converter=_body)
    """Text and JSON objects are accepted as well. None: an error body like the sandbox's others."""
    when: When | None = attrs.field(default=None, validator=_one_of(WHEN))
    """`before`: nothing is done. `after`: the request is carried out, committed, and then the fault strikes.

    None means `before`, but `after` for `cut`: half of a reply to something that never happened is a lie.
    """
    operation: Operation | None = attrs.field(default=None, validator=_one_of(OPERATIONS))
    """Only requests of this kind; None for any."""
    times: int | None = attrs.field(default=1, validator=_whole(1))
    """How many requests it hits before it is used up; None for ever."""
    skip: int = attrs.field(default=0, validator=_whole(0))
    """How many requests that fit are let through first."""
    probability: float = attrs.field(default=1.0, validator=_share)
    """The chance to hit a request that fits, drawn from the sandbox's seed."""

    def __attrs_post_init__(self) -> None:
        if self.do == "status" and self.status is None:
            raise ValueError("do='status' needs a status, such as 503.")
        if self.do is None or self.skip is None:
            raise ValueError("do and skip cannot be null.")
        if self.when is None:
            object.__setattr__(self, "when", "after" if self.do == "cut" else "before")

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
        known = [field.name for field in attrs.fields(cls)]
        if unknown := [str(name) for name in item if name not in known]:
            raise ValueError(f"A fault has no {', '.join(unknown)}; it has {', '.join(known)}.")
        return cls(**item)

    def describe(self) -> dict[str, Any]:
        """The fault as a mapping that JSON can carry and `of` reads back."""
        plain = attrs.asdict(
            self, filter=lambda field, value: value != field.default and value not in (None, {})
        )
        if self.body is not None:
            plain["body"] = self.body.decode("utf-8", "replace")
        if self.times is None:
            plain["times"] = None
        return {"do": self.do, **plain}


FaultLike: TypeAlias = Fault | Mapping[str, Any] | int | str


class FaultQueue(MutableSequence[Fault]):
    """The faults still to come, in order; takes statuses, names and mappings wherever it takes a `Fault`."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(f"faults of {seed}")
        self._faults: list[Fault] = []

    def take(self, operation: str | None) -> Fault | None:
        """The fault for this request, counted off; None if it goes well."""
        if not self._faults:  # the common case, without the lock
            return None
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.operation is not None and fault.operation != operation:
                    continue
                if fault.skip:
                    self._faults[place] = attrs.evolve(fault, skip=fault.skip - 1)
                elif fault.probability == 1 or self._random.random() < fault.probability:
                    self._count_off(place, fault)
                    return fault
        return None

    def _count_off(self, place: int, fault: Fault) -> None:
        if fault.times == 1:
            del self._faults[place]
        elif fault.times is not None:
            self._faults[place] = attrs.evolve(fault, times=fault.times - 1)

    def replace(self, items: Iterable[FaultLike]) -> None:
        """Put these in the place of all the others, or change nothing if one of them is wrong."""
        if isinstance(items, str | bytes | int | Mapping | Fault):
            raise ValueError(f"faults must be a list, such as [{items!r}].")  # noqa: TRY004
        faults = [Fault.of(item) for item in items]
        with self._lock:
            self._faults = faults

    def insert(self, index: int, value: FaultLike) -> None:
        """Put one before the fault at `index`."""
        fault = Fault.of(value)
        with self._lock:
            self._faults.insert(index, fault)

    def append(self, value: FaultLike) -> None:
        """Put one at the end."""
        self.insert(len(self), value)

    def extend(self, values: Iterable[FaultLike]) -> None:
        """Put several at the end."""
        faults = [Fault.of(value) for value in values]
        with self._lock:
            self._faults.extend(faults)

    def __len__(self) -> int:
        return len(self._faults)

    @overload
    def __getitem__(self, index: int) -> Fault: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fault]: ...
    def __getitem__(self, index: int | slice) -> Fault | list[Fault]:
        return self._faults[index]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        made: Any = [Fault.of(item) for item in value] if isinstance(index, slice) else Fault.of(value)
        with self._lock:
            self._faults[index] = made

    def __delitem__(self, index: int | slice) -> None:
        with self._lock:
            del self._faults[index]

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._faults))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FaultQueue):
            return self._faults == other._faults
        if isinstance(other, list | tuple):
            try:
                return self._faults == [Fault.of(item) for item in other]
            except ValueError:
                return False
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return repr(self._faults)
