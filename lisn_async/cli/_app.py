"""The commands of `lisn`, and how each of them ends.

Nothing here, nor in a module imported here, imports the client at the top: `lisn --help` answers without it.
"""

import asyncio
import contextlib
import inspect
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from cyclopts import App, CycloptsError, Parameter

from lisn_async.cli import _output
from lisn_async.cli._again import remember
from lisn_async.cli._assistants import assistants
from lisn_async.cli._client import explain, status_of
from lisn_async.cli._demo import demo
from lisn_async.cli._export import export
from lisn_async.cli._import import import_
from lisn_async.cli._run import Interrupted, run, sigterm_interrupts
from lisn_async.cli._sandbox import sandbox
from lisn_async.cli._stop import DONE, INTERRUPTED, SOME_FAILED, WRONG_USE, UsageError
from lisn_async.cli.files import FileError

HELP = """\
Lisn assistants from the command line: one by one, or a whole file at once.

Start with `lisn demo`: it needs no account.

The API token is $LISN_API_TOKEN and has no option, because a command line is visible to every user of a
machine. $LISN_BASE_URL (or --base-url) is the address, https://app.lisn.dev/api if it is not set.

Results go to stdout, as JSON with --json, an object with "error" where there is no result; progress and messages
go to stderr. The exit status is 0 when all is done, 1 when a call or some items failed or may have failed, 2 for wrong usage or configuration or an
unreadable file, 130 when interrupted.
"""


def _version() -> str:
    return f"lisn {metadata.version('lisn')}"


def _shown_default(value: object) -> str | None:
    return None if value in (None, False) else str(value)


# No --no-json and the like: a flag is there or it is not.
app = App(
    name="lisn",
    help=HELP,
    version=_version,
    default_parameter=Parameter(negative=(), show_default=_shown_default),
)
for command, name in ((demo, "demo"), (sandbox, "sandbox"), (import_, "import"), (export, "export")):
    app.command(command, name=name)
app.command(assistants)


def run_command(tokens: Sequence[str]) -> int:
    """Runs one command line; returns the exit status. No expected error ends in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding shows escapes
    try:
        status = _run_parsed(tokens)
        sys.stdout.flush()
    except BrokenPipeError:
        # `lisn assistants list | head`: the reader has gone, so there is nobody to tell. The flush at exit
        # would complain again, hence a stdout that takes everything.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except (
        OSError
    ) as error:  # of the commands' own files, FileError has told more: this is stdout, on a full disk say
        _output.complain(f"cannot write the output: {error.strerror or error}")
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    return status


def _completed(tokens: Sequence[str]) -> list[str]:
    """The command line with `--journal=` for a `--journal` that no value follows: the name is optional."""
    following = [*tokens[1:], "--"]
    return [
        "--journal=" if token == "--journal" and after.startswith("-") else token
        for token, after in zip(tokens, following, strict=True)
    ]


def _run_parsed(tokens: Sequence[str]) -> int:
    from lisn_async.errors import LisnError

    remember(tokens)
    try:
        with sigterm_interrupts():
            command, bound, _ = app.parse_args(_completed(tokens), exit_on_error=False, print_error=False)
            result = command(*bound.args, **bound.kwargs)
            if inspect.iscoroutine(result):
                result = run(result)
    except CycloptsError as error:
        message, status = (
            f"{str(error).rstrip('.?')}. See `lisn --help`, or --help after a command",
            WRONG_USE,
        )
    except (UsageError, FileError) as error:
        message, status = str(error), WRONG_USE
    except LisnError as error:
        message, status = explain(error), status_of(error)
    except (Interrupted, KeyboardInterrupt, asyncio.CancelledError):
        message, status = "interrupted", INTERRUPTED
    else:
        return result if isinstance(result, int) else DONE
    _tell(message, status, as_json="--json" in tokens)
    return status


def _tell(message: str, status: int, *, as_json: bool) -> None:
    """Says why a command ended early. A program that asked for JSON finds it on stdout as well."""
    if status == INTERRUPTED:
        _output.say(message)
    else:
        _output.complain(message)
    if as_json:
        _output.print_json({"error": message})
