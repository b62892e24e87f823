"""A clock that jumps, for tests of time: see `benchmarks/reliability/_virtual.py`.

    def test_...(clock):                    # not async: the clock runs the coroutine
        assert clock.run(main()) == ...

Nothing real may be waited for on it, so such a test talks to a model of a server, not to the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.reliability._virtual import Clock, virtual_time


@pytest.fixture
def clock() -> Iterator[Clock]:
    with virtual_time() as clock:
        yield clock
