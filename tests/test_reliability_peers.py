"""R6 without the peers: they need an index to be installed from."""

from __future__ import annotations

from benchmarks.reliability.peers import MODES, run
from benchmarks.reliability.rows import Profile


def test_one_create_leaves_one_assistant_in_each_of_ten_ways_to_fail() -> None:
    [row] = run(Profile.TINY)
    assert len(MODES) == 10
    assert row.figures == {**dict.fromkeys(MODES, 1), "most": 1, "surplus": 0}
    assert (row.is_met, row.note) == (True, "")
