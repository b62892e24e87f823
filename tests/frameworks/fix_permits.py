"""When permits were given, as Redis itself tells (`MONITOR`): no process that stands still can blur that."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lisn_async import RateLimit
from tests.fix_redis import RedisServer

from .conftest import WITHIN

END = b"that is all"


class Permits:
    """What Redis was told while somebody watched; whole once nobody watches any more."""

    def __init__(self) -> None:
        self._said = b""

    @property
    def given(self) -> list[int]:
        """The moments of permits, in microseconds."""
        return sorted(
            int(stamp) for stamp in re.findall(rb'"LPUSH" "[^"]*:permits:[^"]*" "(\d+)"', self._said)
        )

    @property
    def pauses(self) -> list[tuple[int, int]]:
        """When each pause began and when it ended, in microseconds."""
        found = re.findall(
            rb'^\+(\d+)\.(\d+) .*"SET" "[^"]*:pause" "" "PX" "(\d+)"', self._said, re.MULTILINE
        )
        begun = [(int(seconds + rest), int(length) * 1000) for seconds, rest, length in found]
        return [(when, when + length) for when, length in begun]

    def assert_kept(self, limit: RateLimit) -> None:
        """In no window were there more than the limit says."""
        given = self.given
        for most, seconds in limit.rates:
            assert len(given) > most, "too few to show anything"
            shortest = min(late - early for early, late in zip(given, given[most:], strict=False)) / 1_000_000
            assert shortest >= seconds, f"{most + 1} permits within {shortest} s"


@contextmanager
def watched(server: RedisServer) -> Iterator[Permits]:
    permits = Permits()
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(WITHIN)
        line.connect(str(server._path))
        line.sendall(b"MONITOR\r\n")
        assert line.recv(5) == b"+OK\r\n"
        line.settimeout(None)

        def listen() -> None:
            while END not in permits._said and (piece := line.recv(65536)):
                permits._said += piece

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        yield permits
        server.ask("ECHO", END.decode())
        listener.join(WITHIN)
        assert END in permits._said


def assert_none_came_early(arrived: Iterable[float], limit: RateLimit, since: float) -> None:
    """Counted from the beginning: whatever stood still, it can only have made one later."""
    times = sorted(arrived)
    for most, seconds in limit.rates:
        assert len(times) > most, "too few arrived to show anything"
        for place, when in enumerate(times):
            assert when - since >= place // most * seconds - 0.005  # of two clocks
