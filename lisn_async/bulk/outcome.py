"""What became of the items of a bulk run, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from ..errors import BulkError, LisnError
from ..models import Assistant, AssistantCreate

Status: TypeAlias = Literal["created", "failed", "unknown"]
Exact: TypeAlias = Literal["content", "marker"]
"""How an assistant whose reply was lost is recognised: by its content, or by a name that only this run knows."""


def _without_values(spec: object) -> str:
    """A spec given as a plain mapping may hold a webhook secret, which only our own classes hide."""
    if isinstance(spec, Mapping):
        return "{" + ", ".join(f"{key!r}: ..." for key in spec) + "}"
    return repr(spec)


@attrs.frozen(kw_only=True)
class BulkOutcome:
    """What became of one item.

    `index` is its place in the input, counted from 0, and `spec` the item as it was given. "created"
    comes with `assistant`; "failed" means that it was certainly not made and comes with `error`;
    "unknown" means that it may have been made, and why stands in `error`: look before you send it again.
    With `exact="marker"` an unknown one has an `assistant` if it was made but could not be given its name.
    """

    index: int
    status: Status
    spec: AssistantCreate | Mapping[str, object] = attrs.field(repr=_without_values)
    assistant: Assistant | None = None
    error: LisnError | None = None


@attrs.frozen(kw_only=True)
class BulkProgress:
    """How far a run is. `total` is None where the input does not know its length; `elapsed` is in
    seconds and `rate` in items per second. `resumed` of the created ones were made by an earlier run.
    `surplus` counts what `BulkResult.surplus` holds, told at the very end.
    """

    done: int
    created: int
    failed: int
    unknown: int
    total: int | None
    elapsed: float
    resumed: int = 0
    surplus: int = 0

    @property
    def rate(self) -> float:
        """Items per second since the run began, without those of an earlier run."""
        return (self.done - self.resumed) / self.elapsed if self.elapsed > 0 else 0.0


def _counts(outcomes: list[BulkOutcome]) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    return "<" + ", ".join(f"{count} {status}" for status, count in counts.items()) + ">"


@attrs.frozen
class BulkResult:
    """What became of every item of a run, in input order.

    `surplus` are assistants that appeared during the run, are not in it, and look like one that is: a create
    that was committed after it had been given up, or somebody else's. `doubt` says why there may be others than
    these and those of the outcomes; None where that was not to be feared, or could be seen.
    """

    outcomes: list[BulkOutcome] = attrs.field(repr=_counts)
    surplus: list[Assistant] = attrs.field(factory=list, repr=lambda found: f"<{len(found)}>")
    doubt: str | None = None

    @property
    def created(self) -> list[BulkOutcome]:
        """The items that were made."""
        return self._with("created")

    @property
    def failed(self) -> list[BulkOutcome]:
        """The items that were certainly not made."""
        return self._with("failed")

    @property
    def unknown(self) -> list[BulkOutcome]:
        """The items that may have been made."""
        return self._with("unknown")

    def raise_for_failures(self) -> None:
        """Nothing if every item was created. Raises `BulkError`, which carries this result."""
        failed, unknown = self.failed, self.unknown
        if failed or unknown:
            first = (failed or unknown)[0]
            raise BulkError(
                f"{len(failed)} of {len(self.outcomes)} items failed and {len(unknown)} are unknown;"
                f" the first is item {first.index}: {first.error}",
                self,
            )

    def _with(self, status: Status) -> list[BulkOutcome]:
        return [outcome for outcome in self.outcomes if outcome.status == status]
