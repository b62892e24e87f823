"""The `lisn` command. It needs the extra `lisn[cli]`, and says so where that is missing."""

import signal
import sys

from lisn_async.cli._stop import INTERRUPTED

__all__ = ["main"]

NEEDED = frozenset({"cyclopts", "rich", "yaml"})


def main() -> int:
    """Runs the command of `sys.argv`; returns the exit status."""
    try:
        from lisn_async.cli._app import run_command
    except KeyboardInterrupt:  # Ctrl-C before anything was begun
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        print(
            f"error: the lisn command needs {error.name}: run `pip install 'lisn[cli]'` (in a clone: `pip install '.[cli]'`)",
            file=sys.stderr,
        )
        return 2
    status = run_command(sys.argv[1:])
    if status == INTERRUPTED:  # all is said and closed: one Ctrl-C more shall not end in a traceback
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    return status
