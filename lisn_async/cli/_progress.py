"""How far a bulk job is: a bar on a terminal, else a line now and then."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from lisn_async.cli import _output

if TYPE_CHECKING:
    from rich.progress import TaskID

    from lisn_async import BulkProgress

SECONDS_BETWEEN_LINES = 1.0


class Display(Protocol):
    """Something that shows the progress of a bulk job while it is entered."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, progress: "BulkProgress") -> None:
        """Takes note of where the job is."""


def display(total: int, what: str = "creating") -> Display:
    """What suits stderr."""
    return Bar(total, what) if sys.stderr.isatty() else Lines(total)


def describe(progress: "BulkProgress", total: int) -> str:
    """`512 of 1,484, 830/s, 2 failed`."""
    text = f"{progress.done:,} of {total:,}, {progress.rate:,.0f}/s"
    if progress.failed:
        text += f", {progress.failed:,} failed"
    if progress.unknown:
        text += f", {progress.unknown:,} unknown"
    return text


class Lines:
    """At most one line a second: a log file is read later, by someone in a hurry."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, progress: "BulkProgress") -> None:
        """Prints a line if the last one is old enough; the end is left to the summary."""
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES and progress.done < self._total:
            self._last = now
            _output.say(f"  {describe(progress, self._total)}")


class Bar:
    """rich's progress bar, with counts and rate."""

    def __init__(self, total: int, what: str) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        self._total = total
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=_output.console(sys.stderr),
            expand=True,
        )
        self._task: TaskID = self._bar.add_task(what, total=total, counts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, progress: "BulkProgress") -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=progress.done, counts=describe(progress, self._total))
