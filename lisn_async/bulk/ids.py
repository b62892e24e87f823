"""Which ids there are, compactly."""

from __future__ import annotations

from array import array


class Ids:
    """A set of strings that only tells whether one was in it, at 10 to 20 bytes for each: a table of their hashes.

    Two ids of one hash would be taken for one: once in 10**9 runs of 100,000.
    """

    def __init__(self) -> None:
        self._slots = array("q", [0]) * 1024
        self._count = 0

    def add(self, one: str) -> bool:
        """Put one in; False if it was in already."""
        key = hash(one) or 1
        slots, last = self._slots, len(self._slots) - 1
        place = key & last
        while there := slots[place]:
            if there == key:
                return False
            place = (place + 1) & last
        slots[place] = key
        self._count += 1
        if 5 * self._count > 4 * last:
            self._grow()
        return True

    def __len__(self) -> int:
        return self._count

    def _grow(self) -> None:
        before, self._slots = self._slots, array("q", [0]) * (2 * len(self._slots))
        slots, last = self._slots, len(self._slots) - 1
        for key in filter(None, before):
            place = key & last
            while slots[place]:
                place = (place + 1) & last
            slots[place] = key
