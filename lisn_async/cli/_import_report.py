"""What an import says to people, on stderr."""

from lisn_async.cli import _output
from lisn_async.cli._again import again
from lisn_async.cli._check import MOST_KEPT, Checked
from lisn_async.cli._import_job import MOST_SHOWN, Job
from lisn_async.cli._import_journal import earlier_of
from lisn_async.cli.files.row import shorten


def report_check(checked: Checked, ignored: list[str]) -> None:
    """What is ignored, and what is wrong with the rows."""
    if ignored:
        names = ", ".join(shorten(name) if name else "(a column without a name)" for name in ignored)
        _output.say(f"ignored, because they are no fields of an assistant (--map COLUMN=FIELD): {names}")
    _show_some(checked.problems, checked.bad - min(checked.bad, MOST_KEPT))
    if checked.bad:
        _output.complain(f"{_output.count(checked.bad, 'row')} of {checked.rows:,} cannot be an assistant")


def report_unsent(job: Job, *, dry_run: bool) -> None:
    """Why nothing was sent."""
    if dry_run:
        _output.say(
            f"{_output.count(job.total, 'assistant')} could be created from {job.file}; nothing was sent"
        )
    else:
        _output.say("nothing was sent: mend the file, or say --skip-invalid to leave these rows out")


def report_job(job: Job) -> None:
    """What became of the rows: the first that failed, and how many."""
    lines = [f"{item['where']}: {item['status']}: {item['error']}" for item in job.trouble[:MOST_SHOWN]]
    _show_some(lines, job.failed + job.unknown - len(lines))
    text = f"created {_output.count(job.new, 'assistant')} of {job.total:,} in {job.seconds:.1f} s ({job.rate:,.0f}/s)"
    if job.resumed:
        text += f", {job.resumed:,} had been created by an earlier run"
    if job.failed:
        text += f", {job.failed:,} failed"
    if job.unknown:
        text += f", {job.unknown:,} unknown: these may exist or not (`lisn assistants list`)"
    if job.surplus:
        text += f", {job.surplus:,} more than rows: created late, after they had been given up (see above)"
    if job.skipped:
        text += f", {_output.count(job.skipped, 'bad row')} left out"
    _output.say(text)


def report_rest(job: Job, journal: str | None, failed_file: str | None) -> None:
    """How to go on, if anything is left to do. `journal` is the one that stays."""
    if job.interrupted:
        _output.say(f"interrupted: {_under_way(job, journal)}{_how_to_finish(job, journal)}")
    elif journal and job.is_complete and job.surplus:
        _output.say(
            f"every row exists; look at the {job.surplus:,} more, delete what is too much (`lisn assistants delete ID`),"
            f" and then {journal}"
        )
    elif journal and not job.error and (job.failed or job.unknown):
        instead = " (that, or the file of failed rows: not both)" if failed_file else ""
        _output.say(
            f"to try again what was not created{instead}, run the same command: {again()}\n"
            f"{journal} remembers what was created, so that nothing is created twice"
        )


def _under_way(job: Job, journal: str | None) -> str:
    if not job.handed_out:
        return "nothing was sent"
    earlier = earlier_of(journal) if journal else None  # rows that were only read ahead may not exist
    number = earlier.unsure if earlier else job.under_way
    return f"{number:,} more were under way and may exist or not"


def _how_to_finish(job: Job, journal: str | None) -> str:
    if journal:
        given = ", with the same rows on stdin" if job.file == "-" else ""
        return f". To finish{given}, run: {again()}\n{journal} remembers what was created, so that nothing is created twice"
    if not job.handed_out:
        return ""
    return "; look (`lisn assistants list`) before you import the rest; with --journal FILE a second run just continues"


def _show_some(lines: list[str], not_kept: int) -> None:
    for line in lines[:MOST_SHOWN]:
        _output.say(f"  {line}")
    more = len(lines[MOST_SHOWN:]) + not_kept
    if more:
        _output.say(f"  … and {more:,} more")
