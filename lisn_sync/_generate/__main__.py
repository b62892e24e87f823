"""The command: write the files, or with `--check`, say what would change."""

from __future__ import annotations

import sys

from .files import drift, texts, write
from .source import NoRule
from .tables import COMMAND, ROOT, SYNC


def main(arguments: list[str]) -> int:
    """0 if all is written, or with `--check`, if nothing would change; 1 with the difference; 2 on wrong usage."""
    if arguments not in ([], ["--check"]):
        print(f"usage: {COMMAND} [--check]", file=sys.stderr)
        return 2
    try:
        wanted = texts(ROOT)
    except NoRule as missing:
        print(missing, file=sys.stderr)
        return 1
    if arguments:
        report = drift(ROOT, wanted)
        print(*report, f"{SYNC} is stale: run `{COMMAND}`" if report else f"{SYNC} is up to date", sep="\n")
        return 1 if report else 0
    write(ROOT, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
