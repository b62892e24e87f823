"""What an experiment reports: rows of a table, as values; and how much of it a profile runs."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs


class Profile(enum.Enum):
    """How much is run."""

    TINY = "a few items: keeps the experiments runnable, in the ordinary tests"
    FAST = "all rows together in under three minutes"
    FULL = "the numbers of the README"

    def pick(self, *, tiny: int, fast: int, full: int) -> int:
        """The number that this profile uses."""
        return {Profile.TINY: tiny, Profile.FAST: fast, Profile.FULL: full}[self]


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table.

    `is_met` says whether the figures are what is promised; None where nothing is promised or the experiment
    could not be run, and then `note` says why.
    """

    name: str
    what: str
    figures: Mapping[str, int | float | str]
    is_met: bool | None = None
    note: str = ""
