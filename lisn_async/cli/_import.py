"""`lisn import`: a file of assistants, checked as a whole, then created concurrently."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from lisn_async.cli import _output
from lisn_async.cli._check import Checked, check_rows
from lisn_async.cli._client import USUAL, Connection, explain, no_option, status_of
from lisn_async.cli._columns import Columns, parse_columns
from lisn_async.cli._import_failed import FailedPlace, FailedRows, place_of_failed, write_failed
from lisn_async.cli._import_job import Job, send
from lisn_async.cli._import_journal import ImportJournal, advice, journal_of
from lisn_async.cli._import_report import report_check, report_job, report_rest, report_unsent
from lisn_async.cli._run import Interrupted, run
from lisn_async.cli._spool import Spool
from lisn_async.cli._stop import DONE, INTERRUPTED, SOME_FAILED, UsageError
from lisn_async.cli.files import FileFormat, format_of, read_rows

if TYPE_CHECKING:
    from lisn_async import AsyncLisn, LisnError

Exact = Literal["content", "marker"]


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
            help="Keep the journal, also when all is done; with a name: in this file. Without this option it is"
            " INPUT.journal, and goes when every row is created.",
            metavar="[FILE]",
        ),
    ] = None,
    no_journal: Annotated[
        bool, Parameter(help="Keep no journal: an import that is interrupted cannot be continued then.")
    ] = False,
    fresh: Annotated[
        bool,
        Parameter(help="Forget the earlier run that the journal remembers: every row is created once more."),
    ] = False,
    failed: Annotated[
        str | None,
        Parameter(
            help="Where to write the rows that failed; by default beside the input, as NAME.failed.csv and the like.",
            metavar="FILE",
        ),
    ] = None,
    with_secrets: Annotated[
        bool, Parameter(help="Write webhook secrets too into the file of failed rows.")
    ] = False,
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
    exact: Annotated[
        Exact,
        Parameter(
            help="How a row whose reply was lost is looked for: by its content, or by a marker, a name for a moment"
            " that only this import knows. For servers that change content, or that others write to meanwhile."
        ),
    ] = "content",
    json: Annotated[bool, Parameter(name="--json", help="Print a summary as JSON on stdout.")] = False,
    connection: Connection = USUAL,
) -> int:
    """Create the assistants of a file: CSV, JSON Lines, JSON, YAML, or a folder of Markdown.

    Text passes through byte for byte. A column named like a field fills that field; --map takes it from another
    column instead, and --set overrides both. Other columns are ignored, with a message. An empty CSV cell, a JSON
    null and an empty YAML value leave the field out. The body of a Markdown file is its system_prompt.

    All rows are checked before the first one is sent; if any is bad, nothing is sent (but see --skip-invalid).

    An import that was interrupted or killed is finished by the same command: INPUT.journal remembers what was
    created, and nothing is created twice. Rows that failed are written to a file of their own, to be mended and
    imported by the same --map and --set.
    """
    columns = parse_columns(map or [], set_ or [])
    chosen = format_of(file, format)
    rows = read_rows(file, chosen)
    if max_concurrency < 1:
        raise UsageError("--max-concurrency must be at least 1")
    kept = journal_of(file, journal, off=no_journal, fresh=fresh, dry_run=dry_run)
    place = place_of_failed(file, failed, chosen, kept.path)
    # Made before a long file is read: a missing token is said at once. Making a client opens nothing.
    client = None if dry_run else connection.open()
    with Spool() as spool:
        # Outside of asyncio until all is checked, so that Ctrl-C ends the reading of a long file at once.
        try:
            checked = check_rows(rows, columns, spool, file)
        except (KeyboardInterrupt, Interrupted):
            _output.say("nothing was sent")
            raise
        report_check(checked, [name for name in checked.columns if columns.field_of(name) is None])
        job = Job(file=file, total=checked.good, skipped=checked.bad, keep_all=json)
        if client is None or (checked.bad and not skip_invalid):
            report_unsent(job, dry_run=dry_run)
            if json:
                _output.print_json({"dry_run": dry_run, "valid": job.total, **job.summary(checked.problems)})
            return SOME_FAILED if checked.bad else DONE
        place.prepare(kept.path)
        kept.prepare(fresh=fresh)
        options = {
            "max_concurrency": max_concurrency,
            "journal": kept.path,
            "settle": settle,
            "give_up_after": give_up_after,
            "exact": exact,
        }
        _carry_out(job, client, spool, columns, options)
        failed_rows = FailedRows(spool, job.failures, columns, chosen, with_secrets)
        return _end(job, checked, kept, failed_rows, place, json=json)


def _carry_out(
    job: Job, client: "AsyncLisn", spool: Spool, columns: Columns, options: dict[str, Any]
) -> None:
    try:
        run(send(job, client, spool, columns, options))
    except Interrupted:  # the second Ctrl-C: no more waiting for what is under way
        job.interrupted = True


def _end(
    job: Job, checked: Checked, journal: ImportJournal, failed: FailedRows, place: FailedPlace, *, json: bool
) -> int:
    """Says what became of the rows; the journal goes last, when nothing can get lost any more."""
    goes = journal.goes_after(
        everything_created=job.is_complete and not job.surplus, anything_sent=job.handed_out > 0
    )
    stays = None if goes else journal.path
    message = _explain(job.error, journal, place) if job.error else None
    failed_file = None
    if job.new or job.failed or job.unknown or not (job.error or job.interrupted):
        report_job(job)
    if not job.error and (job.handed_out or job.is_complete):
        failed_file = write_failed(failed, place, checked.columns, journal.path)
    if message:
        _output.complain(message)
    report_rest(job, stays, failed_file)
    if json:
        ends = {"failed_file": failed_file, "journal": stays, "error": message}
        _output.print_json({**job.summary(checked.problems), **ends})
    if goes:
        journal.remove()
    if job.interrupted:
        return INTERRUPTED
    if job.error:
        return status_of(job.error)
    return DONE if job.is_complete and not job.surplus else SOME_FAILED


def _explain(error: "LisnError", journal: ImportJournal, place: FailedPlace) -> str:
    from lisn_async import JournalError

    if isinstance(error, JournalError) and journal.path is not None:
        return advice(journal.path, place.path if place.holds_something else None, str(error))
    return explain(error)
