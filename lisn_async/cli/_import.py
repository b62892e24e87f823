"""`lisn import`: a file of assistants, checked as a whole, then created concurrently."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

from lisn_async.cli import _output
from lisn_async.cli._bulk import outcomes_of
from lisn_async.cli._check import MOST_KEPT, Checked, check_rows
from lisn_async.cli._client import USUAL, Connection, no_option
from lisn_async.cli._columns import parse_columns
from lisn_async.cli._progress import display
from lisn_async.cli._run import run
from lisn_async.cli._spool import Spool
from lisn_async.cli._stop import DONE, INTERRUPTED, SOME_FAILED, UsageError
from lisn_async.cli.files import FileFormat, format_of, read_rows
from lisn_async.cli.files.row import shorten

if TYPE_CHECKING:
    from lisn_async import AssistantCreate, AsyncLisn, BulkOutcome, BulkProgress

MOST_SHOWN = 20  # lines of problems or failures; the number of all is said


def import_(
    file: Annotated[
        str,
        Parameter(
            help="A file, a folder of Markdown, or - for stdin (with --format).",
            allow_leading_hyphen=True,
            validator=no_option,
        ),
    ],
    /,
    *,
    format: Annotated[FileFormat | None, Parameter(help="Format, if the suffix does not say it.")] = None,
    map: Annotated[
        list[str] | None,
        Parameter(help="Take a field from a column of another name. Repeatable.", metavar="COLUMN=FIELD"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        Parameter(
            name="--set", help="Give a field one value in every row. Repeatable.", metavar="FIELD=VALUE"
        ),
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Check every row, send nothing. Needs no token.")] = False,
    skip_invalid: Annotated[bool, Parameter(help="Leave bad rows out instead of refusing the file.")] = False,
    max_concurrency: Annotated[int, Parameter(help="Most requests at the same time.")] = 64,
    journal: Annotated[
        str | None,
        Parameter(
            help="Remember in this file what was created, so that a second run finishes the first. Without a"
            " name, or with an empty one: beside the input, as INPUT.journal.",
            metavar="[FILE]",
        ),
    ] = None,
    settle: Annotated[
        float | None,
        Parameter(
            help="Seconds to wait before rows whose reply was lost are looked for; by default 2, plus --timeout"
            " where the service may still be at work."
        ),
    ] = None,
    give_up_after: Annotated[
        float, Parameter(help="Seconds without a single success after which the rest is given up.")
    ] = 300.0,
    json: Annotated[bool, Parameter(name="--json", help="Print a summary as JSON on stdout.")] = False,
    connection: Connection = USUAL,
) -> int:
    """Create the assistants of a file: CSV, JSON Lines, JSON, YAML, or a folder of Markdown.

    Text passes through byte for byte. A column named like a field fills that field; --map takes it from another
    column instead, and --set overrides both. Other columns are ignored, with a message. An empty CSV cell, a JSON
    null and an empty YAML value leave the field out. The body of a Markdown file is its system_prompt.

    All rows are checked before the first one is sent; if any is bad, nothing is sent (but see --skip-invalid).
    """
    journal = _journal_of(file) if journal == "" else journal
    columns = parse_columns(map or [], set_ or [])
    rows = read_rows(file, format_of(file, format))
    if max_concurrency < 1:
        raise UsageError("--max-concurrency must be at least 1")
    # Made before a long file is read: a missing token is said at once. Making a client opens nothing.
    client = None if dry_run else connection.open()
    with Spool() as spool:
        checked = check_rows(rows, columns, spool, file)
        _report_check(checked, [name for name in checked.columns if columns.field_of(name) is None])
        job = Job(file=file, total=len(spool), skipped=checked.bad, keep_all=json)
        if client is None or (checked.bad and not skip_invalid):
            return _end_without_sending(job, checked, dry_run=dry_run, json=json)
        # Outside of asyncio until here, so that Ctrl-C ends the reading of a long file at once.
        options = {
            "max_concurrency": max_concurrency,
            "journal": journal,
            "settle": settle,
            "give_up_after": give_up_after,
        }
        run(_send(job, client, spool, options))
    _report_job(job, journal)
    if json:
        _output.print_json(job.summary(checked.problems))
    if job.interrupted:
        return INTERRUPTED
    return SOME_FAILED if job.failed or job.unknown or job.skipped else DONE


def _journal_of(file: str) -> str:
    if file == "-":
        raise UsageError("--journal needs a file name when the rows come from stdin")
    return f"{file.rstrip('/')}.journal"


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
    seconds: float = 0.0
    interrupted: bool = False
    assistants: list[dict[str, Any]] = attrs.field(factory=list)
    trouble: list[dict[str, Any]] = attrs.field(factory=list)
    _where: dict[int, str] = attrs.field(factory=dict)  # of the rows under way

    def specs(self, spool: Spool) -> Iterator["AssistantCreate"]:
        """The assistants to create, made one by one as they are asked for."""
        from lisn_async import AssistantCreate

        for index, (where, values) in enumerate(spool):
            self._where[index] = where
            self.handed_out += 1
            yield AssistantCreate(**values)  # type: ignore[arg-type]  # checked before it was spooled

    def note(self, outcome: "BulkOutcome") -> None:
        """Takes an outcome into account."""
        where = self._where.pop(outcome.index, f"row {outcome.index + 1}")
        if outcome.status == "created":
            self.created += 1
            if self.keep_all and (made := outcome.assistant):
                self.assistants.append({"where": where, "id": made.id, "name": made.name})
            return
        self.failed += outcome.status == "failed"
        self.unknown += outcome.status == "unknown"
        if not self.keep_all and len(self.trouble) >= MOST_SHOWN:
            return
        name = getattr(outcome.spec, "name", None)
        error = "; ".join([str(outcome.error), *getattr(outcome.error, "__notes__", ())])
        self.trouble.append({"where": where, "name": name, "status": outcome.status, "error": error})

    @property
    def under_way(self) -> int:
        """How many rows were handed out and have no outcome."""
        return self.handed_out - self.created - self.failed - self.unknown

    @property
    def rate(self) -> float:
        """How many were created a second, by this run."""
        return (self.created - self.resumed) / self.seconds if self.seconds else 0.0

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
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 1),
            "assistants": self.assistants,
            "failures": self.trouble,
            "problems": problems,
        }


async def _send(job: Job, client: "AsyncLisn", spool: Spool, options: dict[str, Any]) -> None:
    started = time.monotonic()

    def show(progress_now: "BulkProgress") -> None:
        job.resumed = progress_now.resumed
        progress.show(progress_now)

    try:
        with display(job.total) as progress, _output.messages_of("lisn.bulk"):
            async with (
                client,
                outcomes_of(client, job.specs(spool), on_progress=show, **options) as outcomes,
            ):
                async for outcome in outcomes:
                    job.note(outcome)
    except asyncio.CancelledError:
        job.interrupted = True  # the summary says how far it got, and the exit status that it was cut short
    finally:
        job.seconds = time.monotonic() - started


def _report_check(checked: Checked, ignored: list[str]) -> None:
    if ignored:
        names = ", ".join(shorten(name) if name else "(a column without a name)" for name in ignored)
        _output.say(f"ignored, because they are no fields of an assistant (--map COLUMN=FIELD): {names}")
    _show_some(checked.problems, checked.bad - min(checked.bad, MOST_KEPT))
    if checked.bad:
        _output.complain(f"{_output.count(checked.bad, 'row')} of {checked.rows:,} cannot be an assistant")


def _show_some(lines: list[str], not_kept: int) -> None:
    for line in lines[:MOST_SHOWN]:
        _output.say(f"  {line}")
    more = len(lines[MOST_SHOWN:]) + not_kept
    if more:
        _output.say(f"  … and {more:,} more")


def _end_without_sending(job: Job, checked: Checked, *, dry_run: bool, json: bool) -> int:
    if dry_run:
        _output.say(
            f"{_output.count(job.total, 'assistant')} could be created from {job.file}; nothing was sent"
        )
    else:
        _output.say("nothing was sent: mend the file, or say --skip-invalid to leave these rows out")
    if json:
        _output.print_json({"dry_run": dry_run, "valid": job.total, **job.summary(checked.problems)})
    return SOME_FAILED if checked.bad else DONE


def _report_job(job: Job, journal: str | None) -> None:
    lines = [f"{item['where']}: {item['status']}: {item['error']}" for item in job.trouble]
    _show_some(lines, job.failed + job.unknown - len(lines))
    new = _output.count(job.created - job.resumed, "assistant")
    text = f"created {new} of {job.total:,} in {job.seconds:.1f} s ({job.rate:,.0f}/s)"
    if job.resumed:
        text += f", {job.resumed:,} had been created by an earlier run"
    if job.failed:
        text += f", {job.failed:,} failed"
    if job.unknown:
        text += f", {job.unknown:,} unknown: these may exist or not (`lisn assistants list`)"
    if job.skipped:
        text += f", {_output.count(job.skipped, 'bad row')} left out"
    _output.say(text)
    if job.interrupted:
        again = (
            f"run the same command again to finish: {journal} remembers"
            if journal
            else (
                "look (`lisn assistants list`) before you import the rest; with --journal FILE a second run just continues"
            )
        )
        _output.say(f"interrupted: {job.under_way:,} more were under way and may exist or not; {again}")
