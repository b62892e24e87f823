"""Which ids there are, compactly."""

from __future__ import annotations

from array import array

_EMPTY = 0


class Ids:
    """A set of strings that only tells whether one was in it, at 8 to 24 bytes for each: a table of their hashes.

    Two ids of one hash would be taken for one: once in 10**9 runs of 100,000.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, one: str) -> bool:
        """Put one in; False if it was in already."""
        key = hash(one) & (2**64 - 1) or 1
        place = self._place(key)
        if self._slots[place] != _EMPTY:
            return False
        self._slots[place] = key
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            self._grow()
        return True

    def __len__(self) -> int:
        return self._count

    def _place(self, key: int) -> int:
        """Where a key is, or would be."""
        slots, last = self._slots, len(self._slots) - 1
        place = key & last
        while slots[place] != key and slots[place] != _EMPTY:
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        before, self._slots = self._slots, array("Q", bytes(8 * 2 * len(self._slots)))
        for key in before:
            if key != _EMPTY:
                self._slots[self._place(key)] = key
