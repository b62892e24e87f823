"""S1, S2, S3: CPU and wall time of one `create()`, 64 at a time, beside plain aiohttp and other libraries."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import results
from benchmarks.measuring import Contestant, Effort, race
from benchmarks.responder import responder
from benchmarks.results import Options
from benchmarks.rows import Figure, Row

UVLOOP = " on uvloop"
OTHERS = {
    "sockets": "raw sockets, bytes only",
    "tuned": "aiohttp tuned by hand",
    "typed": "aiohttp tuned by hand, cattrs",
    "httpx": "httpx",
    "openai_aiohttp": "openai with its aiohttp extra",
    "openai": "openai",
    "vapi": "vapi_server_sdk",
}
PEERS = {
    "httpx": ("httpx",),
    "openai": ("openai",),
    "openai_aiohttp": ("openai", "aiohttp"),
    "vapi": ("vapi_server_sdk",),
}
ON_UVLOOP = ("lisn", "plain", "tuned", "typed", "sockets")


def run(options: Options) -> list[Row]:
    """All rows."""
    at_once = options.concurrency or options.pick(tiny=4, quick=64, full=64)
    effort = Effort(
        rounds=options.rounds or options.pick(tiny=2, quick=7, full=21),
        seconds=options.pick(tiny=0, quick=15, full=30) / 100,
        calls=options.calls,
        warm_up=at_once,
    )
    with responder() as url:
        ran = race(list(_contestants(url, at_once)), effort, peers=options.peers)
    rows = [
        ran.row("S1", "CPU per create / plain aiohttp", "lisn", "plain", goal=0.80),
        ran.row("S1", "wall per create / plain aiohttp", "lisn", "plain", "wall"),
        ran.row(
            "S2",
            "CPU per create, uvloop / plain aiohttp, uvloop",
            f"lisn{UVLOOP}",
            f"plain{UVLOOP}",
            goal=0.80,
        ),
        ran.row(
            "S2", "CPU per create, uvloop / plain aiohttp, default loop", f"lisn{UVLOOP}", "plain", goal=0.65
        ),
        ran.row("S3", "CPU per create / openai", "lisn", "openai", goal=1 / 9),
        ran.row("S3", "CPU per create / vapi_server_sdk", "lisn", "vapi", goal=1 / 30),
    ]
    bars = [("lisn", "lisn"), (f"lisn{UVLOOP}", f"lisn{UVLOOP}"), (f"plain{UVLOOP}", "plain aiohttp, uvloop")]
    bars += OTHERS.items()
    bars += [(f"{name}{UVLOOP}", f"{OTHERS[name]}, uvloop") for name in ON_UVLOOP if name in OTHERS]
    rows += [
        Row(
            name="",
            what=f"CPU per create of {text} / plain aiohttp",
            figure=ran.ratio(name, "plain"),
            bar=text,
        )
        for name, text in bars
    ]
    itself = Figure.of([1.0])
    rows.append(Row(name="", what="CPU per create of plain aiohttp", figure=itself, bar="plain aiohttp"))
    return rows


def _contestants(url: str, at_once: int) -> list[Contestant]:
    def arguments(name: str, loop: str) -> tuple[str, ...]:
        return name, url, str(at_once), loop

    return [
        *(
            Contestant(name, "asynchronous", arguments(name, "default"), PEERS.get(name, ()))
            for name in ("lisn", "plain", *OTHERS)
        ),
        *(
            Contestant(f"{name}{UVLOOP}", "asynchronous", arguments(name, "uvloop"), needs="uvloop")
            for name in ON_UVLOOP
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("create", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
