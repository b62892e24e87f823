"""The bridge between blocking code and the event loop: lisn_sync/_bridge.py, and what it stands on.

What involves signals, forks or the end of a program happens in a process of its own, with a time limit, run with
`-X dev -W error`. Tests wait for events, not for time to pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio.lowlevel
import pytest

import lisn_sync
from lisn_async._secrets import hide
from lisn_sync import _callers_code, _calls, _loop
from lisn_sync._bridge import callback_of, items_of, run, stream
from tests.fix_sync import Server, script, without_slowness

ROOT = Path(__file__).resolve().parent.parent
OURS = str(ROOT / "lisn_sync")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
INTERRUPTS = int(os.environ.get("LISN_TEST_INTERRUPTS", "1000"))
"""Of a storm. Ten thousand, by hand: LISN_TEST_INTERRUPTS=10000 pytest tests/test_sync_bridge.py -k storm --timeout 0"""

both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


# --- calls --------------------------------------------------------------------------------------------------


async def give(value: object, *, after: float = 0) -> object:
    await asyncio.sleep(after)
    return value


async def fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def frames_of_ours(error: BaseException) -> list[str]:
    found = traceback.extract_tb(error.__traceback__)
    return [frame.name for frame in found if frame.filename.startswith(OURS)]


def test_a_value_comes_back() -> None:
    assert run(give, 1, after=0.001) == 1


def test_an_error_comes_back_as_itself_with_one_frame_of_the_bridge() -> None:
    error = KeyError("x")
    with pytest.raises(KeyError) as caught:
        run(fail, error)
    assert caught.value is error
    assert frames_of_ours(error) == ["run"]
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "fail"


def test_an_error_of_a_client_shows_two_frames_of_the_facade() -> None:
    with lisn_sync.Lisn("token", base_url="http://127.0.0.1:9") as client:
        with pytest.raises(lisn_sync.ValidationError) as caught:
            client.assistants.get("../x")
        assert frames_of_ours(caught.value) == ["get", "run"]


@pytest.mark.parametrize("fault", ["404", "reset"])
def test_an_error_of_the_service_shows_the_caller_s_line_then_at_most_four_frames_of_ours(fault: str) -> None:
    # In a process of its own: a middleware adds frames, and so does OpenTelemetry where another test loaded it.
    script("""
        import sys, traceback, lisn_sync
        with lisn_sync.Sandbox() as box, lisn_sync.Lisn(box.token, base_url=box.base_url, max_retries=0) as client:
            box.faults = [int(sys.argv[1]) if sys.argv[1].isdigit() else sys.argv[1]]
            try:
                client.assistants.get("ast_x")
            except lisn_sync.APIError as error:
                frames = traceback.extract_tb(error.__traceback__)
                assert [frame.name for frame in frames[:4]] == ["<module>", "get", "run", "get"], frames
                assert len(frames) <= 5, frames
            else:
                raise AssertionError
    """, fault)  # fmt: skip


def test_every_file_of_the_bridge_is_known_to_what_trims_tracebacks() -> None:
    assert {str(path) for path in Path(OURS).glob("_*.py") if path.name != "__init__.py"} == _calls.BRIDGE


@pytest.mark.parametrize("way", ["run", "stream"])
def test_errors_die_at_once_without_the_collector(way: str) -> None:
    class Trouble(Exception):
        pass

    async def trouble() -> None:
        raise Trouble

    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise Trouble

    def once() -> weakref.ref[BaseException]:
        try:
            if way == "run":
                run(trouble)
            else:
                list(stream(numbers))
        except Trouble as error:
            return weakref.ref(error)
        raise AssertionError

    run(give, 1)
    gc.disable()
    try:
        left = [once() for _ in range(200)]
        run(give, 1)  # the loop lets go of a task one step after it has told its caller
        assert [error for error in left if error() is not None] == []
    finally:
        gc.enable()


def test_the_caller_s_input_and_result_die_at_once_without_the_collector() -> None:
    class Thing:
        def __iter__(self) -> Iterator[int]:
            yield from (1, 2, 3)

        def __call__(self, number: int) -> None:
            pass

    async def use(items: Any, report: Any) -> list[int]:
        report(1)
        return [item async for item in items]

    gc.disable()
    try:
        thing = Thing()
        assert run(use, items_of(thing), callback_of(thing)) == [1, 2, 3]
        run(give, 1)
        left = weakref.ref(thing)
        del thing
        assert left() is None
    finally:
        gc.enable()


def test_context_variables_of_the_caller_are_seen_and_what_the_call_sets_stays_there() -> None:
    variable = contextvars.ContextVar("variable", default="")

    async def look() -> str:
        seen = variable.get()
        variable.set("theirs")
        return seen

    variable.set("mine")
    assert run(look) == "mine"
    assert variable.get() == "mine"


@pytest.mark.parametrize("way", ["run", "stream"])
def test_a_call_in_the_loop_s_own_thread_is_refused_at_once(way: str) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def mistake() -> object:
        return run(give, 1) if way == "run" else list(stream(numbers))

    with pytest.raises(RuntimeError, match=r"its own event loop.*must use lisn_async"):
        run(mistake)


async def test_a_call_works_inside_a_running_loop() -> None:
    assert run(give, 1) == 1


def test_a_call_works_inside_trio() -> None:
    pytest.importorskip("trio")

    async def work() -> int:
        await anyio.lowlevel.checkpoint()
        return await anyio.to_thread.run_sync(lambda: 1)

    async def main() -> int:
        return run(work)

    assert anyio.run(main, backend="trio") == 1


def test_64_threads_get_each_their_own_answer() -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        wrong.extend(wanted for wanted in range(number, number + 20) if run(give, wanted) != wanted)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(0, 6400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_one_slow_call_does_not_hold_up_another() -> None:
    entered, leave = threading.Event(), threading.Event()

    def mine() -> Iterator[int]:
        entered.set()
        assert leave.wait(60)
        yield 1

    async def count(items: Any) -> int:
        return len([item async for item in items])

    thread = threading.Thread(target=run, args=(count, items_of(mine())))
    thread.start()
    assert entered.wait(60)
    assert run(give, 1) == 1  # while the other caller's own generator blocks
    leave.set()
    thread.join(60)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_error_that_would_end_a_loop_only_ends_the_call(error: BaseException) -> None:
    thread = _loop.home.background_now()._thread
    with pytest.raises(type(error)) as caught:
        run(fail, error)
    assert caught.value is error
    assert run(give, 1) == 1
    assert _loop.home.background_now()._thread is thread


@both_loops
def test_a_loop_that_dies_takes_its_calls_along_and_the_next_call_gets_another(loop: str) -> None:
    # Of SystemExit in a task that is not ours to wrap, a loop does die.
    script("""
        import asyncio
        from lisn_sync._bridge import run

        async def give(value): return value
        async def die(): raise SystemExit(3)
        async def start():
            task = asyncio.create_task(die())
            await asyncio.sleep(60)

        for _ in range(100):
            try:
                run(start)
            except BaseException as error:
                assert isinstance(error, (asyncio.CancelledError, RuntimeError)), error
            else:
                raise AssertionError
            assert run(give, 1) == 1
    """, loop=loop, silent=False)  # fmt: skip


@needs_fork
@both_loops
def test_a_loop_that_died_leaves_no_descriptor_behind(loop: str) -> None:
    script("""
        import asyncio, gc, os, threading
        from lisn_sync import _loop
        from lisn_sync._bridge import run

        async def die(): raise SystemExit(3)
        async def start():
            task = asyncio.create_task(die())
            await asyncio.sleep(60)
        def once():
            try:
                run(start)
            except BaseException:
                pass
            _loop.home.background._thread.join()
        def descriptors():
            gc.collect()
            return len(os.listdir("/proc/self/fd"))

        once()
        before = descriptors()
        for _ in range(10):
            once()
        assert descriptors() == before, (before, descriptors())
    """, loop=loop, silent=False)  # fmt: skip


@pytest.mark.skipif(not _loop._HAS_EVENTFD, reason="there is one queue here")
def test_what_was_handed_over_along_with_something_that_raises_is_still_run() -> None:
    background = _loop.home.background_now()
    entered, leave, after = threading.Event(), threading.Event(), threading.Event()
    told: list[object] = []

    def hold() -> None:
        entered.set()
        leave.wait(60)

    background.loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    try:
        background.hand_over(hold)
        assert entered.wait(60)
        background.hand_over(fail_at_once := lambda: 1 / 0)
        background.hand_over(fail_at_once)
        background.hand_over(after.set)  # its bell rings before the one that raises is met
        leave.set()
        assert after.wait(60)
    finally:
        run(asyncio.sleep, 0)
        background.loop.set_exception_handler(None)
    assert [type(error) for error in told] == [ZeroDivisionError, ZeroDivisionError]


def test_a_call_that_cannot_begin_tells_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    run(give, 1)

    def refuse(_: _calls.Call, func: Any, args: Any, kwargs: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(_calls.Call, "_carry", refuse)
        with pytest.raises(MemoryError):
            run(give, 1)
    assert run(give, 1) == 1


def test_a_call_works_while_another_thread_is_importing_sniffio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sniffio", ModuleType("sniffio"))
    assert run(give, 1) == 1


def test_a_signal_handler_may_call_while_its_thread_starts_the_loop() -> None:
    script("""
        import _thread, os, signal, threading, time
        from lisn_sync import _loop, _loop_kind
        from lisn_sync._bridge import run
        async def give(value): return value
        found = []
        signal.signal(signal.SIGUSR1, lambda *_: found.append(run(give, "handler")))
        class Interrupting:
            def start_new_thread(self, *given):
                _loop._thread = _thread
                os.kill(os.getpid(), signal.SIGUSR1)
                return _thread.start_new_thread(*given)
        _loop._thread = Interrupting()
        assert run(give, "program") == "program"
        assert found == ["handler"]
        until = time.monotonic() + 60
        while threading.active_count() > 2 and time.monotonic() < until: time.sleep(0.001)
        assert threading.active_count() == 2, threading.enumerate()  # one loop
    """)


def test_a_call_in_the_thread_of_a_loop_that_is_just_starting_is_refused_too() -> None:
    # Whatever the collector finds in that thread: a `__del__` that closes a client, say.
    script("""
        from lisn_sync import _loop, _loop_kind
        from lisn_sync._bridge import run
        async def give(value): return value
        found = []
        has_uvloop = _loop_kind._has_uvloop
        def collect():
            try:
                run(give, "too early")
            except RuntimeError as error:
                found.append(str(error))
            return has_uvloop()
        _loop_kind._has_uvloop = collect
        assert run(give, 1) == 1
        assert found == [_loop.OWN_LOOP]
    """)


def test_sixteen_threads_that_call_first_start_one_loop() -> None:
    script("""
        import threading
        from lisn_sync._bridge import run
        starts, start = [], threading.Thread.start
        def counted(self):
            starts.append(self.name)
            start(self)
        threading.Thread.start = counted

        async def me(): return threading.get_ident()
        barrier, found = threading.Barrier(16), []
        def first():
            barrier.wait()
            found.append(run(me))
        threads = [threading.Thread(target=first, name="mine") for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len(found) == 16 and len(set(found)) == 1, found
        assert starts.count("lisn-sync") == 1, starts
    """)


def test_importing_and_making_a_client_starts_nothing() -> None:
    script("""
        import threading, lisn_sync
        client = lisn_sync.Lisn("token")
        client.with_options(timeout=1)
        assert threading.active_count() == 1
    """)


@both_loops
def test_the_loop_is_uvloop_s_where_that_is_installed(loop: str) -> None:
    printed = script("""
        import asyncio
        from lisn_sync._bridge import run
        async def modules(): return [each.__module__ for each in type(asyncio.get_running_loop()).__mro__]
        print(any(each.startswith("uvloop") for each in run(modules)))
    """, loop=loop)  # fmt: skip
    assert printed == f"{loop == 'uvloop'}\n"


def test_where_there_is_no_eventfd_the_loop_is_woken_its_own_way() -> None:
    script("""
        import threading
        from lisn_sync import _loop
        from lisn_sync._bridge import run
        _loop._HAS_EVENTFD = False
        async def give(value): return value
        found = []
        threads = [threading.Thread(target=lambda: found.append(run(give, 1))) for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert found == [1] * 16, found
        assert _loop.home.background.hand_over == _loop.home.background.loop.call_soon_threadsafe
    """)


# --- interrupted calls ------------------------------------------------------------------------------------------


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean-up may take for ever: whoever waits for one that must not be waited for, hangs, however slow this is."""
    monkeypatch.setattr(_calls, "CLEAN_UP", 1e6)


def test_ctrl_c_cancels_the_call_and_waits_for_its_clean_up(patient: None) -> None:
    steps = []

    async def work() -> None:
        try:
            interrupt()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            steps.append("cancelled")
            await asyncio.sleep(0.05)
            steps.append("cleaned up")
            raise

    with pytest.raises(KeyboardInterrupt):
        run(work)
    assert steps == ["cancelled", "cleaned up"]
    assert run(give, 1) == 1


@pytest.mark.skipif(not _loop._HAS_EVENTFD, reason="there is one queue here")
def test_a_call_that_is_interrupted_while_it_is_handed_over_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = []

    async def work() -> None:
        begun.append(True)

    def interrupted(descriptor: int, value: int) -> None:
        raise KeyboardInterrupt

    run(give, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "eventfd_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(work)
    assert run(give, 1) == 1  # wakes the loop, which finds the other one there
    assert begun == []


def test_a_second_ctrl_c_ends_the_wait_for_the_clean_up(patient: None) -> None:
    finish = threading.Event()
    finished = threading.Event()

    async def work() -> None:
        try:
            interrupt()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            interrupt()
            while not finish.is_set():
                await asyncio.sleep(0.01)
            finished.set()

    with pytest.raises(KeyboardInterrupt):
        run(work)
    assert not finished.is_set()
    finish.set()
    assert finished.wait(60)


def test_a_clean_up_that_never_ends_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_calls, "CLEAN_UP", 0.05)
    finish = threading.Event()

    async def work() -> None:
        try:
            interrupt()
            await asyncio.sleep(60)
        finally:
            while not finish.is_set():
                await asyncio.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        run(work)
    finish.set()
    assert run(give, 1) == 1


def test_any_error_from_a_signal_handler_cancels_the_call_and_outlives_a_ctrl_c_after_it() -> None:
    class TooSlow(Exception):
        pass

    def ring(*_: object) -> None:
        raise TooSlow

    cancelled = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            interrupt()
            await asyncio.sleep(0.1)
            raise

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        with pytest.raises(TooSlow):
            run(work)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert cancelled == [True]


@both_loops
@pytest.mark.parametrize("again", ["once", "again and again"])
def test_a_storm_of_interrupts_at_random_moments_leaves_no_call_running(loop: str, again: str) -> None:
    script("""
        import asyncio, random, signal, sys, time
        from lisn_sync import _loop
        from lisn_sync._bridge import run, stream, items_of

        is_armed, running, entered, caught = False, set(), 0, 0
        def ring(*_):
            if is_armed:
                raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, ring)
        # An interrupt inside a weak reference's callback is lost, as ever. A function in C: no other interrupts that.
        sys.unraisablehook = id

        async def work(seconds):
            global entered
            entered += 1
            mine = object()
            running.add(mine)
            try:
                await asyncio.sleep(seconds)
            finally:
                running.discard(mine)
        async def each(items):
            async for item in items:
                await work(0)
                yield item
        async def give(value): return value

        def calls_until_interrupted():
            global is_armed
            until = time.monotonic() + 0.02
            try:
                is_armed = True
                more = random.uniform(2e-5, 2e-4) if sys.argv[1] == "again and again" else 0
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 0.001), more)
                while time.monotonic() < until:
                    run(work, 0)
                    run(work, 0.0002)
                    for item in stream(each, items_of(iter(range(20)))): pass
            finally:
                is_armed = False

        run(give, 1)
        while caught < int(sys.argv[2]):
            try:
                try:
                    calls_until_interrupted()
                finally:
                    is_armed = False
            except KeyboardInterrupt:
                caught += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert run(give, caught) == caught
        background = _loop.home.background
        until = time.monotonic() + 60
        while (running or background.calls) and time.monotonic() < until: time.sleep(0.01)
        assert not running and not background.calls, (running, background.calls)
        assert entered > 100, entered
    """, again, str(INTERRUPTS), loop=loop, seconds=60 + INTERRUPTS)  # fmt: skip


def test_ctrl_c_during_the_first_call_leaves_no_thread_behind() -> None:
    # The start itself is interrupted: whatever came of it, the next call starts one loop and works.
    script("""
        import random, signal, sys, threading, time
        rung = caught = swallowed = 0
        def swallow(_):
            global swallowed
            swallowed += 1
        sys.unraisablehook = swallow  # an interrupt inside some __del__ or weak reference's callback
        def ring(*_):
            global rung
            rung += 1
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, ring)
        from lisn_sync import _loop
        from lisn_sync._bridge import run
        async def give(value): return value

        def stop():
            _loop.home.background.stop_soon()
            _loop.home.background = None
            until = time.monotonic() + 60
            while threading.active_count() > 1 and time.monotonic() < until: time.sleep(0.001)
            assert threading.active_count() == 1, threading.enumerate()
        run(give, 1)
        stop()
        began = time.perf_counter()
        run(give, 1)
        took = time.perf_counter() - began
        stop()
        for _ in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, took))
                run(give, 1)
                time.sleep(took)
            except KeyboardInterrupt:
                caught += 1
            assert run(give, 2) == 2
            stop()
        assert caught + swallowed == rung > 20 and swallowed < 3, (caught, swallowed, rung)
    """)


def test_a_call_whose_caller_is_gone_is_cancelled_even_if_nobody_could_say_so() -> None:
    # As after a second Ctrl-C in the very moment in which the first is dealt with.
    ended = threading.Event()

    async def work() -> None:
        try:
            interrupt()
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_calls.Call, "abandon", lambda _: None)
        with contextlib.suppress(KeyboardInterrupt):
            run(work)
    assert ended.wait(60)


@both_loops
def test_the_server_sees_an_interrupted_request_as_cancelled_and_the_next_one_works(
    server: Server, loop: str
) -> None:
    code = """
        import os, signal, sys, lisn_sync
        from lisn_sync import _calls
        _calls.CLEAN_UP = 1e6  # whatever takes all of it hangs
        client = lisn_sync.Lisn("token", base_url=sys.argv[1], max_retries=0)
        assert client.assistants.get("a1").id == "a1"
        print("ready", flush=True)
        try:
            client.assistants.get("slow")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert client.assistants.get("a2").id == "a2"
        print("done")
    """
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    without = "import sys; sys.modules['uvloop'] = None\n" if loop == "asyncio" else ""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", without + textwrap.dedent(code), server.url]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            server.when(lambda seen: seen["begun"] == 1)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (out.split(), without_slowness(err), child.returncode) == (["ready", "interrupted", "done"], "", 0)
    assert server.when(lambda seen: seen["cancelled"] == 1)["begun"] == 1


@both_loops
def test_ctrl_c_during_many_creates_cancels_those_under_way_and_the_next_call_works(loop: str) -> None:
    script("""
        import os, signal, threading, lisn_sync
        with lisn_sync.Sandbox() as box, lisn_sync.Lisn(box.token, base_url=box.base_url) as client:
            box.faults = [{"operation": "create", "do": "hang", "when": "before", "skip": 4, "times": 3}]
            def interrupt():
                box.received(7, operation="create")
                os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=interrupt).start()
            spec = {"name": "x", "type": "text", "llm_provider": "openai", "system_prompt": "p"}
            reports = []
            try:
                client.assistants.create_many((spec for _ in range(7)), max_concurrency=3, on_progress=reports.append)
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError
            assert len(box.aborted(3, operation="create")) == 3
            assert len(reports) <= 4
            assert len(client.assistants.list()) == 4
    """, loop=loop)  # fmt: skip


# --- streams ----------------------------------------------------------------------------------------------------


class Numbers:
    """An async generator that tells how far it is and how it ended."""

    def __init__(self) -> None:
        self.made = 0
        self.tasks: set[object] = set()
        self.ended = ""
        self.is_closed = threading.Event()

    async def to(self, end: float) -> AsyncIterator[int]:
        try:
            while self.made < end:
                self.tasks.add(id(asyncio.current_task()))
                await asyncio.sleep(0)
                self.made += 1
                yield self.made
            self.ended = "at its end"
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        finally:
            await asyncio.sleep(0.01)
            self.ended += ", closed"
            self.is_closed.set()


def test_a_stream_gives_every_item_in_order() -> None:
    assert list(stream(Numbers().to, 1000)) == list(range(1, 1001))


def test_one_task_makes_all_items_of_a_stream() -> None:
    numbers = Numbers()
    assert len(list(stream(numbers.to, 200))) == 200
    assert len(numbers.tasks) == 1


def test_a_timeout_held_across_a_yield_fires() -> None:
    async def numbers() -> AsyncIterator[int]:
        async with asyncio.timeout(0.05):
            yield 1
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        list(stream(numbers))


def test_a_stream_begins_with_the_first_item_and_runs_only_a_little_ahead() -> None:
    numbers = Numbers()
    found = stream(numbers.to, float("inf"))
    run(give, 1, after=0.01)
    assert numbers.made == 0
    for taken in range(1, 101):
        assert next(found) == taken
        run(give, 1)
        assert numbers.made <= taken + _calls.AHEAD + 1
    found.close()


def test_leaving_a_stream_early_closes_it_before_the_next_line(patient: None) -> None:
    numbers = Numbers()
    for number in stream(numbers.to, float("inf")):
        if number == 3:
            break
    assert numbers.ended in ("CancelledError, closed", "GeneratorExit, closed")


def test_a_stream_that_is_never_asked_runs_nothing() -> None:
    numbers = Numbers()
    found = stream(numbers.to, 3)
    del found
    run(give, 1)
    assert numbers.ended == ""


def test_an_error_comes_after_the_items_before_it() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(50):
            yield number
        raise KeyError("x")

    found = []
    with pytest.raises(KeyError) as caught:
        for number in stream(numbers):
            found.append(number)  # noqa: PERF402 - what comes before the error is the point
    assert found == list(range(50))
    assert frames_of_ours(caught.value) == ["_each"]


@pytest.mark.parametrize("where", ["in the caller's own code", "in the wait"])
def test_ctrl_c_closes_a_stream(where: str) -> None:
    numbers = Numbers()

    async def then_wait() -> AsyncIterator[int]:
        async for number in numbers.to(float("inf")):
            if number == 5 and where == "in the wait":
                interrupt()
                await asyncio.sleep(60)
            yield number

    def consume() -> None:
        for number in stream(then_wait):
            if number == 4 and where == "in the caller's own code":
                interrupt()
                time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        consume()
    gc.collect()
    assert numbers.is_closed.wait(60)


def test_a_stream_collected_in_the_loop_s_own_thread_is_closed_without_a_wait(patient: None) -> None:
    numbers = Numbers()
    kept = [stream(numbers.to, float("inf"))]
    assert next(kept[0]) == 1

    async def collect() -> None:
        kept.clear()

    run(collect)
    assert numbers.is_closed.wait(60)


def test_a_stream_can_be_taken_up_in_another_thread() -> None:
    found = stream(Numbers().to, 100)
    first = [next(found) for _ in range(10)]
    rest: list[int] = []
    thread = threading.Thread(target=lambda: rest.extend(found))
    thread.start()
    thread.join(60)
    assert first + rest == list(range(1, 101))


# --- the caller's own code ----------------------------------------------------------------------------------------


async def double(items: Any, report: Any = None) -> AsyncIterator[int]:
    async for item in items:
        if report is not None:
            report(item)
        yield 2 * item


def test_the_caller_s_generator_runs_in_its_thread_lazily_and_may_call_the_client() -> None:
    threads, read = set(), 0

    def mine() -> Iterator[int]:
        nonlocal read
        while True:
            threads.add(threading.get_ident())
            read += 1
            yield run(give, read)  # type: ignore[misc]

    class Sized:
        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Iterator[int]:
            threads.add(threading.get_ident())
            yield from (1, 2, 3)

    assert list(stream(double, items_of(Sized()))) == [2, 4, 6]
    for taken, number in enumerate(stream(double, items_of(mine())), 1):
        assert number == 2 * taken
        assert read <= 2 * taken + _calls.AHEAD + _callers_code.BATCH
        if taken == 100:
            break
    assert threads == {threading.get_ident()}


def test_several_workers_may_read_one_input() -> None:
    async def gather(items: Any) -> list[int]:
        async def work() -> list[int]:
            return [await asyncio.sleep(0, item) async for item in items]

        return sorted(chain.from_iterable(await asyncio.gather(*(work() for _ in range(8)))))

    assert run(gather, items_of(iter(range(500)))) == list(range(500))


def test_a_slow_generator_s_items_go_off_one_by_one() -> None:
    arrived = threading.Event()

    def mine() -> Iterator[int]:
        yield from range(40)
        time.sleep(_callers_code.SLICE)
        yield 40
        assert arrived.wait(60)
        yield 41

    async def watch(items: Any) -> int:
        async for item in items:
            if item == 40:
                arrived.set()
        return int(item)

    assert run(watch, items_of(mine())) == 41


def test_the_error_of_the_caller_s_generator_reaches_the_core_after_the_items_before_it() -> None:
    def mine() -> Iterator[int]:
        yield from range(5)
        raise KeyError("mine")

    async def collect(items: Any) -> tuple[list[int], KeyError]:
        found = []
        try:
            async for item in items:
                found.append(item)  # noqa: PERF401
        except KeyError as error:
            return found, error
        raise AssertionError

    found, error = run(collect, items_of(mine()))
    assert found == list(range(5))
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "mine"


@pytest.mark.parametrize("way", ["run", "stream"])
def test_the_error_of_a_call_that_is_itself_the_input_shows_the_bridge_only_where_it_is_crossed(
    way: str,
) -> None:
    # Two files of the bridge, one after the other, are on the loop's side: what reads the input, and the input.
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise KeyError("x")

    async def collect(items: Any) -> list[int]:
        return [item async for item in items]

    mine = items_of(stream(numbers))
    with pytest.raises(KeyError) as caught:
        run(collect, mine) if way == "run" else list(stream(double, mine))
    assert frames_of_ours(caught.value) == ["run" if way == "run" else "_each", "__anext__"]


def test_ctrl_c_in_the_caller_s_generator_cancels_the_call_and_closes_the_generator() -> None:
    ended: list[object] = []

    def mine() -> Iterator[int]:
        try:
            yield 1
            interrupt()
            time.sleep(10)
        finally:
            ended.append(threading.get_ident())

    async def consume(items: Any) -> None:
        try:
            async for _ in items:
                pass
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        run(consume, items_of(mine()))
    assert ended == [threading.get_ident(), "cancelled"]


def test_a_callback_runs_in_the_caller_s_thread_in_order_and_may_call_the_client() -> None:
    steps: list[object] = []

    def report(item: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        steps.append(run(give, f"report {item}"))

    for number in stream(double, items_of(iter(range(40))), callback_of(report)):
        steps.append(number)  # noqa: PERF402 - the order is the point
    assert steps == [step for item in range(40) for step in (f"report {item}", 2 * item)]


def test_every_report_has_arrived_when_the_call_returns() -> None:
    async def work(report: Any) -> None:
        for number in range(5000):
            report(number)

    found: list[int] = []
    run(work, callback_of(found.append))
    assert found == list(range(5000))


def test_the_core_is_told_what_a_callback_raised_and_nothing_is_reported_after_it() -> None:
    told = []

    async def work(report: Any) -> str:
        for number in range(5):
            report(number)
        try:
            await report.told()
        except KeyError as error:
            assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "report"
            await report.told()
            return f"done so far, and {error}"
        raise AssertionError

    def report(number: int) -> None:
        told.append(number)
        if number == 2:
            raise KeyError("mine")

    assert run(work, callback_of(report)) == "done so far, and 'mine'"
    assert told == [0, 1, 2]


def test_a_callback_that_raises_ends_a_stream() -> None:
    def report(item: int) -> None:
        if item == 3:
            raise KeyError("mine")

    found = []
    with pytest.raises(KeyError, match="mine"):
        for number in stream(double, items_of(iter(range(40))), callback_of(report)):
            found.append(number)  # noqa: PERF402
    assert found == [0, 2, 4]


def test_ctrl_c_in_a_callback_cancels_the_call() -> None:
    cancelled = []

    async def work(report: Any) -> None:
        report(1)
        try:
            await report.told()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    def report(_: int) -> None:
        interrupt()
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        run(work, callback_of(report))
    assert cancelled == [True]


@pytest.mark.parametrize("given", [[1, 2], (1, 2), hide([1]), {"name": "x"}, "text", b"bytes", 5, None])
def test_what_runs_no_code_of_the_caller_s_goes_as_it_is(given: Any) -> None:
    assert items_of(given) is given


def test_the_length_of_an_input_is_known_to_the_core_where_the_caller_s_object_knows_it() -> None:
    assert len(items_of({1, 2, 3})) == 3  # type: ignore[arg-type]
    assert not hasattr(items_of(iter([1])), "__len__")


# --- the end of a program -----------------------------------------------------------------------------------------

ENDINGS = {
    "never used": "",
    "used, not closed": "client.assistants.get('a1')",
    "used and closed": "client.assistants.get('a1'); client.close()",
    "closed, never used": "client.close()",
    "a copy used": "client = client.with_options(timeout=5); client.assistants.get('a1')",
    "only its resource kept": "client = client.assistants; client.get('a1')",
    "a daemon thread in a call": """
import threading, time
def forever():
    try: client.assistants.get('slow')
    except BaseException as error: print(error, file=sys.stderr)
threading.Thread(target=forever, daemon=True).start()
client.assistants.get('a1')
""",
    "a thread in a call": """
import threading, time
threading.Thread(target=lambda: client.assistants.get('a1')).start()
""",
    "daemon threads that go on calling": """
import threading
started = threading.Barrier(9)
def forever():
    client.assistants.get('a1')
    started.wait()
    while True: client.assistants.get('a1')
for _ in range(8): threading.Thread(target=forever, daemon=True).start()
started.wait()
""",
    "sys.exit() in a thread": """
import threading
def leave():
    client.assistants.get('a1')
    sys.exit(3)
threading.Thread(target=leave).start()
""",
    "a stream half read": """
async def numbers():
    try:
        while True:
            yield 1
    finally:
        print("closed", flush=True)
half = _bridge.stream(numbers)
next(half)
""",
    "closed at exit": "import atexit; atexit.register(client.close); client.assistants.get('a1')",
    "closed at exit, never used": "import atexit; atexit.register(client.close)",
    "used at exit": "import atexit; client.assistants.get('a1'); atexit.register(client.assistants.get, 'a1')",
    "in a cycle": "client.assistants.get('a1'); client.me = client; del client",
    "a blocked loop": """
import time, threading
entered = threading.Event()
async def block():
    entered.set()
    time.sleep(600)
threading.Thread(target=_bridge.run, args=(block,), daemon=True).start()
entered.wait()
""",
    "a sandbox": "box = lisn_sync.Sandbox(); box.start()",
}


@both_loops
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_at_once_and_in_silence(server: Server, ending: str, loop: str) -> None:
    code = f"""
import sys, time, lisn_sync
from lisn_sync import _at_exit, _bridge
if {ending != "a blocked loop"}:
    _at_exit.LEAVE = 1e6  # whatever takes all of it hangs
client = lisn_sync.Lisn("token", base_url=sys.argv[1], max_retries=0)
{ENDINGS[ending]}
print("end", flush=True)
"""
    assert script(code, server.url, loop=loop, seconds=60).startswith("end")
    assert server.when(lambda seen: seen["open"] == 0)


OTHER_ENDINGS = {
    "an error": ("raise KeyError('mine')", 1, "KeyError: 'mine'"),
    "an error in a with block": ("with client: raise KeyError('mine')", 1, "KeyError: 'mine'"),
    "a status": ("sys.exit(3)", 3, ""),
    "a status, with daemon threads in calls": (
        """
import threading
for _ in range(4): threading.Thread(target=client.assistants.get, args=("slow",), daemon=True).start()
sys.exit(3)
""",
        3,
        "",
    ),
    "an error of a call": (
        "client.assistants.get('no/such')",
        1,
        "lisn_async.errors.ValidationError: ",
    ),
}


@pytest.mark.parametrize("ending", OTHER_ENDINGS)
def test_a_program_that_fails_says_so_and_nothing_else(server: Server, ending: str) -> None:
    code, status, last = OTHER_ENDINGS[ending]
    program = "import sys, lisn_sync\nclient = lisn_sync.Lisn('token', base_url=sys.argv[1], max_retries=0)\n"
    program += "client.assistants.get('a1')\n" + code
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, server.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = without_slowness(done.stderr)
    assert (done.returncode, done.stdout) == (status, ""), said
    assert said.count("Traceback") == (1 if last else 0), said
    assert (said.splitlines() or [""])[-1].startswith(last) if last else said == "", said
    server.when(lambda seen: seen["open"] == 0)


@pytest.mark.parametrize("before", ["client.assistants.get('a1')", ""])
def test_a_handler_older_than_the_import_may_call_at_exit(server: Server, before: str) -> None:
    # Handlers run in reverse: what was open is closed by then, and whatever it opens must be closed after it.
    printed = script(
        f"""
import atexit, sys
atexit.register(lambda: print(client.assistants.get("last").id, flush=True))
import lisn_sync
client = lisn_sync.Lisn("token", base_url=sys.argv[1], max_retries=0)
{before}
""",
        server.url,
    )
    assert printed == "last\n"
    server.when(lambda seen: seen["open"] == 0)


@both_loops
def test_a_name_is_looked_up_at_exit_too(server: Server, loop: str) -> None:
    # Where asyncio's own way to do that, its executor, takes nothing any more.
    printed = script("""
        import atexit, sys, lisn_sync
        client = lisn_sync.Lisn("token", base_url=sys.argv[1], max_retries=0)
        atexit.register(lambda: print(client.assistants.get("last").id, flush=True))
    """, server.url.replace("127.0.0.1", "localhost"), loop=loop)  # fmt: skip
    assert printed == "last\n"


def test_a_handler_older_than_the_import_may_wait_for_a_daemon_thread_that_calls(server: Server) -> None:
    # As loggers and queues do that are emptied by a thread.
    printed = script(
        """
import atexit, queue, sys, threading
jobs = queue.Queue()
def work():
    while True:
        print(client.assistants.get(jobs.get()).id, flush=True)
        jobs.task_done()
def flush():
    jobs.put("last")
    jobs.join()
atexit.register(flush)
import lisn_sync
client = lisn_sync.Lisn("token", base_url=sys.argv[1], max_retries=0)
threading.Thread(target=work, daemon=True).start()
jobs.put("first")
jobs.join()
""",
        server.url,
    )
    assert printed == "first\nlast\n"


def test_a_half_read_stream_is_closed_when_the_program_ends(server: Server) -> None:
    code = "import lisn_sync\nfrom lisn_sync import _bridge\n" + ENDINGS["a stream half read"]
    assert script(code).split() == ["closed"]


@both_loops
@pytest.mark.parametrize("way", ["at once", "by the collector"])
def test_a_client_that_is_dropped_closes_its_connection_in_silence(
    server: Server, way: str, loop: str
) -> None:
    script("""
        import gc, json, sys, time, lisn_sync
        from urllib.request import urlopen

        def use():
            client = lisn_sync.Lisn("token", base_url=sys.argv[1])
            client.assistants.get("a1")
            if sys.argv[2] == "by the collector":
                client.me = client
        for _ in range(3):
            use()
            gc.collect()
        until = time.monotonic() + 60
        while json.load(urlopen(sys.argv[1] + "/seen"))["open"]:
            assert time.monotonic() < until
            time.sleep(0.01)
    """, server.url, way, loop=loop)  # fmt: skip
