"""The faults still to come, and which of them strike a request."""

import random
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from typing import Any, NamedTuple, overload

import attrs

from lisn_async.sandbox._faults import Fault, FaultLike


class Hit(NamedTuple):
    """What strikes one request."""

    breakage: Fault | None
    modifiers: tuple[Fault, ...]

    @property
    def name(self) -> str | None:
        """What was done on purpose, in one word; None if nothing was."""
        if self.breakage is not None:
            return self.breakage.do
        return self.modifiers[0].do if self.modifiers else None


NO_HIT = Hit(None, ())


class FaultQueue(MutableSequence[Fault]):
    """The faults still to come, in order; takes statuses, names and mappings wherever it takes a `Fault`."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(f"faults of {seed}")
        self._faults: list[Fault] = []

    def take(self, operation: str | None) -> Hit:
        """The faults for this request, counted off."""
        if not self._faults:  # the common case, without the lock
            return NO_HIT
        with self._lock:
            found: dict[str, Fault] = {}
            for place, fault in enumerate(self._faults):
                # Whoever comes second to a request waits for the next one: not asked, nothing drawn or counted.
                if fault.sort in found or not fault.fits(operation):
                    continue
                if fault.skip:
                    self._faults[place] = attrs.evolve(fault, skip=fault.skip - 1)
                elif fault.probability == 1 or self._random.random() < fault.probability:
                    found[fault.sort] = fault
            self._count_off(list(found.values()))
        breakage = found.pop("breakage", None)
        return Hit(breakage, tuple(found.values()))

    def _count_off(self, found: list[Fault]) -> None:
        for fault in found:
            place = self._faults.index(fault)
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
