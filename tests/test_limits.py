"""Time limits on one timer: they end what they should, when they should, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from benchmarks.reliability._virtual import Clock
from lisn_async import Assistant, AsyncLisn
from lisn_async._limits import MOMENT, STALL, Limits
from lisn_async.sandbox import Sandbox
from tests.conftest import SALES


async def ended_at(limits: Limits, seconds: float, work: float = 1e6) -> tuple[str, float]:
    """What became of so many seconds of work within a limit, and when."""
    loop = asyncio.get_running_loop()
    try:
        with limits.within(seconds):
            await asyncio.sleep(work)
    except TimeoutError:
        return "late", loop.time()
    return "done", loop.time()


def timers() -> list[float]:
    """When the loop's timers ring that nobody cancelled."""
    loop: Any = asyncio.get_running_loop()
    return sorted(timer.when() for timer in loop._scheduled if not timer.cancelled())


def test_each_limit_ends_at_its_own_time_in_whatever_order_they_began(clock: Clock) -> None:
    async def main() -> list[tuple[str, float]]:
        limits = Limits(asyncio.get_running_loop())
        return await asyncio.gather(*(ended_at(limits, seconds) for seconds in (5, 60, 1, 30, 1, 0.25, 60)))

    found = clock.run(main())
    assert {what for what, _ in found} == {"late"}
    assert [when - 1000 for _, when in found] == pytest.approx([5, 60, 1, 30, 1, 0.25, 60])


def test_a_limit_that_begins_while_a_longer_one_runs_is_not_kept_waiting(clock: Clock) -> None:
    async def main() -> tuple[str, float]:
        limits = Limits(asyncio.get_running_loop())
        long = asyncio.create_task(ended_at(limits, 60))
        await asyncio.sleep(1)
        found = await ended_at(limits, 2)
        long.cancel()
        return found

    assert clock.run(main()) == ("late", 1003.0)


def test_a_limit_that_begins_late_is_not_ended_with_those_before_it(clock: Clock) -> None:
    async def main() -> list[Any]:
        limits = Limits(asyncio.get_running_loop())
        first = asyncio.create_task(ended_at(limits, 60))
        await asyncio.sleep(59)
        return [await ended_at(limits, 60), await first]

    assert clock.run(main()) == [("late", pytest.approx(1119)), ("late", pytest.approx(1060))]


def test_many_limits_need_one_timer_and_leave_none_behind_when_it_rang(clock: Clock) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits = Limits(loop)
        at_work = [asyncio.create_task(ended_at(limits, 10, work=3)) for _ in range(100)]
        await asyncio.sleep(1)
        assert len(limits) == 100
        assert len([when for when in timers() if when != 1003]) == 1
        assert {what for what, _ in await asyncio.gather(*at_work)} == {"done"}
        assert len(limits) == 0
        await asyncio.sleep(10)
        assert timers() == []

    clock.run(main())


def test_what_ends_in_time_stays_as_it_ended(clock: Clock) -> None:
    async def main() -> None:
        limits = Limits(asyncio.get_running_loop())
        assert (await ended_at(limits, 2, work=1))[0] == "done"
        with pytest.raises(KeyError), limits.within(2):
            raise KeyError
        await asyncio.sleep(100)  # the timer rings
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    clock.run(main())


def test_a_foreign_cancellation_stays_one(clock: Clock) -> None:
    async def main() -> None:
        limits = Limits(asyncio.get_running_loop())
        task = asyncio.create_task(ended_at(limits, 10))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(limits) == 0

    clock.run(main())


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_foreign_cancellation_in_the_turn_in_which_the_time_is_up_stays_one(
    clock: Clock, cancelled_first: bool
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits = Limits(loop)
        task: asyncio.Task[Any] = loop.create_task(ended_at(limits, 10))
        if cancelled_first:
            loop.call_at(1010, task.cancel)
        await asyncio.sleep(0)
        if not cancelled_first:
            loop.call_at(1010, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.time() == pytest.approx(1010)
        assert task.cancelling() == 1

    clock.run(main())


def test_a_limit_inside_of_a_task_that_outlived_a_cancellation_still_ends(clock: Clock) -> None:
    async def stubborn(limits: Limits) -> tuple[str, float]:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return await ended_at(limits, 5)
        raise AssertionError

    async def main() -> Any:
        limits = Limits(asyncio.get_running_loop())
        task = asyncio.create_task(stubborn(limits))
        await asyncio.sleep(1)
        task.cancel()
        return await task

    assert clock.run(main()) == ("late", pytest.approx(1006))


def test_what_came_in_the_turn_in_which_the_time_is_up_is_late_and_the_task_goes_on(clock: Clock) -> None:
    """As with `asyncio.timeout`: the cancellation is delivered once, to this block and to nothing after it."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        limits = Limits(loop)
        reply: asyncio.Future[None] = loop.create_future()
        loop.call_at(1005, reply.set_result, None)
        try:
            with limits.within(5):
                await reply
        except TimeoutError:
            await asyncio.sleep(1)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            return "late"
        return "done"

    assert clock.run(main()) == "late"


def test_a_block_that_fails_when_its_time_is_up_fails_as_it_does(clock: Clock) -> None:
    async def main() -> None:
        limits = Limits(asyncio.get_running_loop())
        with pytest.raises(KeyError), limits.within(1):
            try:
                await asyncio.sleep(2)
            except asyncio.CancelledError:
                raise KeyError from None
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    clock.run(main())


def test_limits_within_limits_end_the_innermost_whose_time_is_up(clock: Clock) -> None:
    async def main() -> list[str]:
        limits = Limits(asyncio.get_running_loop())
        seen = []
        for inner, outer in ((1, 2), (2, 1), (1, 1)):
            try:
                with limits.within(outer):
                    try:
                        with limits.within(inner):
                            await asyncio.sleep(10)
                    except TimeoutError:
                        seen.append("inner")
                        await asyncio.sleep(10)
            except TimeoutError:
                seen.append("outer")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return seen

    assert clock.run(main()) == ["inner", "outer", "outer", "outer"]


def test_a_limit_and_the_timeout_of_whoever_called_do_not_take_each_other_for_their_own(
    clock: Clock,
) -> None:
    async def main() -> list[str]:
        limits = Limits(asyncio.get_running_loop())
        seen = []
        for ours, theirs in ((1, 2), (2, 1)):
            try:
                async with asyncio.timeout(theirs):
                    seen.append((await ended_at(limits, ours))[0])
            except TimeoutError:
                seen.append("theirs")
        return seen

    assert clock.run(main()) == ["late", "theirs"]


def test_a_coroutine_that_is_dropped_takes_its_limit_along(clock: Clock) -> None:
    async def main() -> None:
        limits = Limits(asyncio.get_running_loop())
        work: Coroutine[Any, Any, Any] = ended_at(limits, 10)
        work.send(None)
        assert len(limits) == 1
        del work
        gc.collect()
        assert len(limits) == 0

    clock.run(main())


def test_after_a_stall_in_which_nothing_came_a_block_ends_a_moment_later(clock: Clock) -> None:
    async def main() -> list[tuple[str, float]]:
        limits = Limits(asyncio.get_running_loop())
        found = []
        for _ in range(2):
            at_work = asyncio.create_task(ended_at(limits, 10))
            await asyncio.sleep(1)
            clock.now += 100
            found.append(await at_work)
        return found

    assert clock.run(main()) == [
        ("late", pytest.approx(1101 + MOMENT)),
        ("late", pytest.approx(1202 + 2 * MOMENT)),
    ]


def test_a_loop_that_stands_still_again_and_again_ends_its_blocks_all_the_same(clock: Clock) -> None:
    async def main() -> tuple[str, float]:
        limits = Limits(asyncio.get_running_loop())
        at_work = asyncio.create_task(ended_at(limits, 10))
        while not at_work.done():
            await asyncio.sleep(0)
            clock.now += 4
        return await at_work

    what, when = clock.run(main())
    assert what == "late"
    assert when < 1030


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_reply_that_came_while_the_loop_stood_still_is_not_thrown_away(
    monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """A create whose reply is lost may exist, and nobody knows: worth a look before the time is called up."""
    monkeypatch.setattr("lisn_async._limits.MOMENT", 30.0)
    asked, may_reply, replied = (threading.Semaphore(0) for _ in range(3))
    body = b'{"id":"ast_1","name":"n"}'

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                if not connection.recv(65536):
                    return
                asked.release()
                may_reply.acquire()
                with contextlib.suppress(ConnectionError):
                    connection.sendall(
                        b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                    )
                replied.release()
                connection.recv(1)

    async def create(seconds: float) -> Assistant | None:
        base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with AsyncLisn("t", base_url=base_url, timeout=seconds, max_retries=0) as client:
            call = asyncio.create_task(client.assistants.create(**SALES))
            await asyncio.to_thread(asked.acquire)
            is_too_slow = call.done()
            may_reply.release()
            replied.acquire()
            if is_too_slow:  # this machine
                call.exception()
                return None
            time.sleep(seconds + 2 * STALL)  # blocks the loop, on purpose
            return await call

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        factory = (
            asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
        )
        with asyncio.Runner(loop_factory=factory) as runner:
            made = next(filter(None, (runner.run(create(seconds)) for seconds in (0.2, 1, 5, 25))))
        socket.create_connection(listening.getsockname()).close()
        thread.join()
    assert made.id == "ast_1"


async def test_a_client_that_is_closed_leaves_no_timer_with_the_loop(sandbox: Sandbox) -> None:
    def rings() -> list[object]:
        loop: Any = asyncio.get_running_loop()
        return [timer for timer in loop._scheduled if not timer.cancelled() and "_ring" in repr(timer)]

    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url) as client:
        await client.assistants.list()
        assert len(rings()) == 1
    assert rings() == []
