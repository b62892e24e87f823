"""S1, S2, S3: CPU and wall time of one `create()`, 64 at a time, beside plain aiohttp and other libraries."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from benchmarks import results
from benchmarks.measuring import Contestant, Effort, race
from benchmarks.responder import responder
from benchmarks.results import Options
from benchmarks.rows import Row

UVLOOP = " on uvloop"
EXTENDED = "create with middleware, rate limit, deadline and a token function / plain aiohttp"
BY_HAND = {
    "plain": "plain aiohttp",
    "sockets": "raw sockets",
    "tuned": "aiohttp tuned by hand",
    "typed": "aiohttp tuned by hand, with cattrs",
}
OTHERS = {
    **BY_HAND,
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


def run(options: Options) -> list[Row]:
    """All rows."""
    at_once = options.concurrency or options.pick(tiny=4, quick=64, full=64)
    effort = Effort(
        rounds=options.rounds or options.pick(tiny=2, quick=5, full=17),
        seconds=options.pick(tiny=0, quick=12, full=30) / 100,
        calls=options.calls,
        warm_up=at_once,
    )
    with responder() as url:
        ran = race(list(_contestants(url, at_once)), effort, peers=options.peers)
    uvloop = f"lisn{UVLOOP}", f"plain{UVLOOP}"
    on_uvloop = "create on uvloop / plain aiohttp on"
    return [
        attrs.evolve(ran.row("S1", "create / plain aiohttp", "lisn", "plain", goal=0.80), bar="lisn"),
        ran.row("S1", "create / plain aiohttp", "lisn", "plain", "wall"),
        ran.row("S1", EXTENDED, "extended", "plain", goal=1.0),
        ran.row("S1", EXTENDED, "extended", "plain", "wall"),
        ran.row("S2", f"{on_uvloop} uvloop", *uvloop, goal=0.80),
        ran.row("S2", f"{on_uvloop} uvloop", *uvloop, "wall"),
        attrs.evolve(
            ran.row("S2", f"{on_uvloop} the default loop", uvloop[0], "plain", goal=0.65), bar=uvloop[0]
        ),
        ran.row("S2", f"{on_uvloop} the default loop", uvloop[0], "plain", "wall"),
        ran.row("S3", "create / openai", "lisn", "openai", goal=1 / 9),
        ran.row("S3", "create / openai", "lisn", "openai", "wall"),
        ran.row("S3", "create / vapi_server_sdk", "lisn", "vapi", goal=1 / 30),
        ran.row("S3", "create / vapi_server_sdk", "lisn", "vapi", "wall"),
        *(
            Row(
                name="",
                what=f"{told} / plain aiohttp",
                clock="CPU",
                figure=ran.ratio(name, "plain"),
                bar=told,
            )
            for name, told in {
                **OTHERS,
                **{f"{name}{UVLOOP}": f"{told}{UVLOOP}" for name, told in BY_HAND.items()},
            }.items()
        ),
        Row(
            name="",
            what="share of its wall time for which plain aiohttp had its core; 1: nothing else ran there",
            figure=ran.figure(lambda of: of["plain"]["cpu"] / of["plain"]["wall"], "plain"),
        ),
    ]


def _contestants(url: str, at_once: int) -> list[Contestant]:
    def arguments(name: str, loop: str) -> tuple[str, ...]:
        return name, url, str(at_once), loop

    return [
        *(
            Contestant(name, "asynchronous", arguments(name, "default"), PEERS.get(name, ()))
            for name in ("lisn", "extended", *OTHERS)
        ),
        *(
            Contestant(f"{name}{UVLOOP}", "asynchronous", arguments(name, "uvloop"), needs="uvloop")
            for name in ("lisn", *BY_HAND)
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them."""
    return results.main("create", run, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
