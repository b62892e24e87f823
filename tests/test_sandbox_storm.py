"""A storm: sixteen kinds of fault, equally likely, hitting exactly the share that was asked for, replayable."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lisn_sync.sandbox
from lisn_async.sandbox import Fault, Sandbox, storm
from lisn_async.sandbox._fault_queue import FaultQueue
from tests.test_sandbox import TEXT, ask

PLAN = [
    ("reset", None, "before", None),
    ("reset", None, "after", None),
    ("close", None, "before", None),
    ("close", None, "after", None),
    ("cut", None, "after", None),
    ("garbage", None, "before", None),
    ("garbage", None, "after", None),
    ("html", None, "after", None),
    ("status", 408, "after", None),
    ("status", 429, "before", None),
    ("status", 429, "before", 0),
    ("status", 500, "before", None),
    ("status", 502, "after", None),
    ("status", 503, "after", None),
    ("status", 503, "before", 0),
    ("status", 504, "after", None),
]


def kinds(faults: list[Fault]) -> list[tuple[Any, ...]]:
    return [(fault.do, fault.status, fault.when, fault.retry_after) for fault in faults]


def test_a_storm_is_these_sixteen_kinds_on_one_operation_for_ever() -> None:
    assert kinds(storm(0.2)) == PLAN
    late = [
        (
            do,
            status,
            "late" if when == "after" and (do in ("reset", "close") or status in (502, 504)) else when,
            at,
        )
        for do, status, when, at in PLAN
    ]
    assert kinds(storm(0.2, late=True)) == late
    assert sum(when == "late" for _, _, when, _ in late) == 4
    for operation in ("create", "duplicate"):
        faults = storm(0.2, operation=operation)
        assert {(fault.operation, fault.times, fault.skip) for fault in faults} == {(operation, None, 0)}
    assert {fault.operation for fault in storm(0.2)} == {"create"}


@given(st.floats(0, 1))
def test_asked_in_order_each_kind_has_a_sixteenth_of_the_share(share: float) -> None:
    reached = 1.0
    for fault in storm(share):
        assert math.isclose(reached * fault.probability, share / 16, rel_tol=1e-9, abs_tol=1e-300)
        reached *= 1 - fault.probability
    assert math.isclose(1 - reached, share, rel_tol=1e-9, abs_tol=1e-12)


def test_a_share_of_all_hits_all_and_a_share_of_nothing_hits_none() -> None:
    for share, hits in ((1, 5_000), (1.0, 5_000), (0, 0)):
        queue = FaultQueue(3)
        queue.replace(storm(share))
        assert sum(queue.take("create").breakage is not None for _ in range(5_000)) == hits


def test_the_same_seed_gives_the_same_hits_and_every_kind_its_part() -> None:
    def hits(seed: int) -> list[Fault | None]:
        queue = FaultQueue(seed)
        queue.replace(storm(0.32))
        return [queue.take("create").breakage for _ in range(50_000)]

    once = hits(1)
    assert once == hits(1) != hits(2)
    counts = Counter(kinds([fault for fault in once if fault is not None]))
    assert set(counts) == set(PLAN)
    # 1,000 of each are expected; five standard deviations are 156.
    assert all(abs(count - 1_000) < 156 for count in counts.values())


def test_a_storm_leaves_the_other_operations_alone() -> None:
    queue = FaultQueue(0)
    queue.replace(storm(1, operation="duplicate"))
    for operation in ("list", "create", "get", "update", "delete", None):
        assert queue.take(operation).breakage is None
    assert queue.take("duplicate").breakage is not None


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True, "0.2", None])
def test_a_share_is_a_number_from_0_to_1(share: Any) -> None:
    with pytest.raises(ValueError, match="share must be a number from 0 to 1"):
        storm(share)


def test_an_operation_that_does_not_exist_has_no_storm() -> None:
    with pytest.raises(ValueError, match="operation must be one of"):
        storm(0.2, operation="upsert")  # type: ignore[arg-type]


def test_a_storm_can_be_written_to_a_file_of_faults() -> None:
    plan = storm(0.2, late=True)
    assert Fault.parse(json.dumps([fault.describe() for fault in plan])) == plan


async def test_a_plan_set_over_http_hits_the_same_requests_as_one_set_in_python() -> None:
    async def statuses(over_http: bool) -> list[str | None]:
        async with Sandbox(seed=5) as box:
            plan = [fault for fault in storm(0.5) if fault.do == "status"]
            if over_http:
                await ask(box, "PUT", "/_sandbox/faults", json=[fault.describe() for fault in plan])
            else:
                box.faults = plan
            for _ in range(40):
                await ask(box, "POST", json=TEXT)
            return [f"{one.fault} {one.status}" for one in box.seen]

    assert await statuses(True) == await statuses(False)


def test_blocking_code_has_the_very_same_storm() -> None:
    assert lisn_sync.sandbox.storm is storm
