"""What becomes of the rows of an import, and sending them."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from lisn_async.cli import _output
from lisn_async.cli._bulk import outcomes_of
from lisn_async.cli._columns import Columns, item_of
from lisn_async.cli._progress import display
from lisn_async.cli._spool import Spool

if TYPE_CHECKING:
    from lisn_async import AssistantCreate, AsyncLisn, BulkOutcome, BulkProgress, LisnError

MOST_SHOWN = 20  # lines of problems or failures; the number of all is said


@attrs.define
class Job:
    """What has become of the rows so far."""

    file: str
    total: int
    skipped: int
    keep_all: bool  # for the JSON summary; without it memory does not grow with the file
    handed_out: int = 0
    created: int = 0
    resumed: int = 0  # of these, by an earlier run with the same journal
    failed: int = 0
    unknown: int = 0
    surplus: int = 0  # assistants beyond the rows, which look like them
    seconds: float = 0.0
    interrupted: bool = False
    error: "LisnError | None" = None  # what ended the run before its time
    assistants: list[dict[str, Any]] = attrs.field(factory=list)
    trouble: list[dict[str, Any]] = attrs.field(factory=list)
    failures: bytearray = attrs.field(
        factory=bytearray, repr=False
    )  # for each row handed out, 1 if it failed
    _bad: int = 0
    _where: dict[int, str] = attrs.field(factory=dict)  # of the rows under way

    def specs(self, spool: Spool, columns: Columns) -> Iterator["AssistantCreate"]:
        """The assistants to create, made one by one as they are asked for.

        A bad row that is to be left out goes along as an assistant of nothing, which the engine refuses unsent:
        so every row has its own number in the journal, and one that was mended since is simply a new one.
        """
        from lisn_async import AssistantCreate

        for index, row in enumerate(spool):
            self.failures.append(0)
            if row.is_good:
                self.handed_out += 1
                self._where[index] = row.where
                assert row.values is not None
                yield AssistantCreate(**item_of(row.values, columns).values)  # type: ignore[arg-type]  # checked
            else:
                yield AssistantCreate()

    def note(self, outcome: "BulkOutcome") -> None:
        """Takes an outcome into account."""
        where = self._where.pop(outcome.index, None)
        if where is None:
            return  # a bad row
        if outcome.status == "created":
            self.created += 1
            if self.keep_all and (made := outcome.assistant):
                self.assistants.append({"where": where, "id": made.id, "name": made.name})
            return
        if outcome.status == "failed":
            self.failed += 1
            self.failures[outcome.index] = 1
        else:
            self.unknown += 1
        if not self.keep_all and len(self.trouble) >= MOST_SHOWN:
            return
        name = getattr(outcome.spec, "name", None)
        error = str(outcome.error)
        self.trouble.append({"where": where, "name": name, "status": outcome.status, "error": error})

    def progress(self, seconds: float) -> "BulkProgress":
        """How far it is, bad rows not counted."""
        from lisn_async import BulkProgress

        return BulkProgress(
            done=self.created + self.failed + self.unknown,
            created=self.created,
            failed=self.failed,
            unknown=self.unknown,
            total=self.total,
            elapsed=seconds,
            resumed=self.resumed,
        )

    @property
    def under_way(self) -> int:
        """How many rows were handed out and have no outcome."""
        return self.handed_out - self.created - self.failed - self.unknown

    @property
    def new(self) -> int:
        """How many this run created. Of an interrupted one, more may have been resumed than were counted."""
        return max(0, self.created - self.resumed)

    @property
    def rate(self) -> float:
        """How many were created a second, by this run."""
        return self.new / self.seconds if self.seconds else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every row of the file was created."""
        return not (self.interrupted or self.error or self.skipped) and self.created == self.total

    def summary(self, problems: list[str]) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "file": self.file,
            "rows": self.total + self.skipped,
            "invalid": self.skipped,
            "created": self.created,
            "resumed": self.resumed,
            "failed": self.failed,
            "unknown": self.unknown,
            "surplus": self.surplus,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 1),
            "assistants": self.assistants,
            "failures": self.trouble,
            "problems": problems,
        }


async def send(
    job: Job, client: "AsyncLisn", spool: Spool, columns: Columns, options: dict[str, Any]
) -> None:
    """Creates what is good in the spool; the job knows how far that came, however it ended."""
    from lisn_async import LisnError

    started = time.monotonic()

    def take(progress: "BulkProgress") -> None:
        job.resumed, job.surplus = progress.resumed, progress.surplus

    try:
        with display(job.total) as shown, _output.messages_of("lisn.bulk"):
            async with (
                client,
                outcomes_of(client, job.specs(spool, columns), on_progress=take, **options) as outcomes,
            ):
                async for outcome in outcomes:
                    job.note(outcome)
                    shown.show(job.progress(time.monotonic() - started))
    except asyncio.CancelledError:
        job.interrupted = True  # the summary says how far it got, and the exit status that it was cut short
    except LisnError as error:
        job.error = error
    finally:
        job.seconds = time.monotonic() - started
