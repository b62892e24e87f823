"""S8: what an import takes in a fresh interpreter, and an import with the first client, beside openai."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import _peer_environment, results
from benchmarks.cores import on_the_clients_core
from benchmarks.measuring import ROOT, Race, environment
from benchmarks.results import Options
from benchmarks.rows import Row

OURS = {
    "lisn_async": "import lisn_async",
    "lisn_sync": "import lisn_sync",
    "AsyncLisn": "import lisn_async; lisn_async.AsyncLisn('token')",
    "Lisn": "import lisn_sync; lisn_sync.Lisn('token')",
    "aiohttp": "import aiohttp",
}
OPENAI = {
    "openai": "import openai",
    "AsyncOpenAI": "import openai; openai.AsyncOpenAI(api_key='token')",
    "OpenAI": "import openai; openai.OpenAI(api_key='token')",
}
WITH_AIOHTTP = " where aiohttp is installed"
"""As it is beside ours: openai then imports aiohttp as well."""

TIMED = """
import json, time
cpu, wall = time.process_time(), time.perf_counter()
{statement}
wall, whole = time.perf_counter() - wall, time.process_time()
print(json.dumps({{"cpu": whole - cpu, "wall": wall, "whole": whole}}))
"""


def run(options: Options) -> list[Row]:
    """All rows."""
    rounds = options.rounds or options.pick(tiny=1, quick=4, full=15)
    ran = _race(rounds, peers=options.peers)
    rows = []
    for one, other, text, goal in (
        ("lisn_async", "openai", "import lisn_async / import openai", 0.1),
        ("lisn_sync", "openai", "import lisn_sync / import openai", 0.1),
        ("AsyncLisn", "AsyncOpenAI", "import and AsyncLisn() / import and AsyncOpenAI()", 0.35),
        ("Lisn", "OpenAI", "import and Lisn() / import and OpenAI()", 0.35),
        ("AsyncLisn", f"AsyncOpenAI{WITH_AIOHTTP}", f"the same{WITH_AIOHTTP}: AsyncLisn()", 0.35),
        ("Lisn", f"OpenAI{WITH_AIOHTTP}", f"the same{WITH_AIOHTTP}: Lisn()", 0.35),
    ):
        rows += [ran.row("S8", text, one, other, clock, goal) for clock in ("CPU", "wall")]
        whole = ran.ratio(one, other, "whole")
        rows.append(Row(name="", what=f"{text}, with the start of Python", clock="CPU", figure=whole))
    rows.append(ran.row("", "import aiohttp / import and AsyncOpenAI()", "aiohttp", "AsyncOpenAI"))
    rows.append(ran.row("", "import lisn_async / import aiohttp", "lisn_async", "aiohttp"))
    return rows


def _race(rounds: int, *, peers: bool) -> Race:
    """In turns, each time in a fresh interpreter, after a first round that leaves compiled files behind."""
    commands = {name: (Path(sys.executable), text) for name, text in OURS.items()}
    missing = {}
    for folder, suffix in ((_peer_environment.ALONE, ""), (_peer_environment.FOLDER, WITH_AIOHTTP)):
        packages = ["openai", "aiohttp"] if suffix else ["openai"]
        why = (
            results.NO_PEERS
            if not peers
            else next(iter(_peer_environment.ready(packages, folder).values()), None)
        )
        for name, text in OPENAI.items():
            if why is None:
                commands[name + suffix] = (_peer_environment.python(folder), text)
            else:
                missing[name + suffix] = why
    with tempfile.TemporaryDirectory() as home, on_the_clients_core():
        all_rounds = [
            {name: _spent(python, text, home) for name, (python, text) in commands.items()}
            for _ in range(rounds + 1)
        ]
    return Race(all_rounds[1:], missing)


def _spent(python: Path, statement: str, home: str) -> Mapping[str, float]:
    done = subprocess.run(
        [str(python), "-c", TIMED.format(statement=statement)],
        cwd=ROOT,
        env=environment(home),
        stdout=subprocess.PIPE,
        check=True,
    )
    spent: dict[str, float] = json.loads(done.stdout)
    return spent


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("imports", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
