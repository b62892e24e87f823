"""All benchmarks, and one table and one plot of all that they found."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence

from benchmarks import results
from benchmarks.rows import Row

BENCHMARKS = ("create", "sync_calls", "bulk", "memory", "imports", "listing", "sandbox")
"""Modules of this package, each with `run(options) -> list[Row]`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them one after the other."""
    parser = results.parser("python -m benchmarks", __doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, help="some of them")
    chosen = parser.parse_args(arguments)
    options = results.options(chosen)
    rows: list[Row] = []
    for name in chosen.only:
        began = time.monotonic()
        rows += results.report(name, importlib.import_module(f"benchmarks.{name}").run(options), options)
        print(f"   ({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    if set(chosen.only) == set(BENCHMARKS):
        results.write_summary(rows, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
