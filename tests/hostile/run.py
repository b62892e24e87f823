"""A client meets every case: `python -m tests.hostile.run` prints what became of it, as JSON.

In a process of its own, with warnings as errors, so that its memory can be told and nothing else warns.
AIOHTTP_NO_EXTENSIONS=1 selects aiohttp's parser in Python.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from lisn_async import APIError, Assistant, AsyncLisn, LisnError
from tests.hostile.case import Case, id_for, next_id
from tests.hostile.server import running
from tests.hostile.table import CASES

AT_ONCE = 12
SHORT = 0.4
"""Seconds that a call may take which meets a server that does not end."""
LONG = 60.0
MOST_CPU = 2.0
"""Seconds of this process's own time that a call may take: those of the clock depend on what else the machine does."""
SLOWEST = 30.0
TRIES = 5
"""How often a call that took too long is made again, alone. A machine may have stood still, a slow client is slow each
time."""
MOST_MIB = 64.0
SPEC: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "p"}


@attrs.frozen(kw_only=True)
class Report:
    """What became of a run over the table. `outcomes` are by case and operation."""

    parser: str
    cases: int
    calls: int
    failures: list[str]
    slowest: float
    slowest_case: str
    grown_mib: float
    outcomes: dict[str, str]


@attrs.define
class Run:
    """The counts of a run while it goes on."""

    ports: dict[str, Any]
    failures: list[str] = attrs.field(factory=list)
    outcomes: dict[str, str] = attrs.field(factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    slow: list[tuple[int, str]] = attrs.field(factory=list)
    """Those that are to be met again."""

    async def meet(self, number: int, operation: str) -> None:
        """One operation of a new client meets one case, and then asks for something honest."""
        wrong, was_slow = await self._meet(number, operation)
        if was_slow:
            self.slow.append((number, operation))
        elif wrong is not None:
            self.failures.append(wrong)

    async def meet_again(self, number: int, operation: str) -> None:
        """The same, with nothing else under way."""
        for _ in range(TRIES):
            wrong, was_slow = await self._meet(number, operation)
            if wrong is None or not was_slow:
                break
        if wrong is not None:
            self.failures.append(wrong)

    async def _meet(self, number: int, operation: str) -> tuple[str | None, bool]:
        """What was wrong, and whether the time that it took may be the reason."""
        case = CASES[number]
        name = f"{case.name} / {operation}"
        port = self.ports["early"].get(str(number), self.ports["port"])
        base_url = f"http://127.0.0.1:{port}/c/{number}"
        timeout = SHORT if case.is_early or case.then in ("hang", "repeat tail") else LONG
        async with AsyncLisn("t", base_url=base_url, timeout=timeout, max_retries=0) as client:
            began, own = time.perf_counter(), time.process_time()
            [result] = await asyncio.gather(call(client, operation), return_exceptions=True)
            seconds, own = time.perf_counter() - began, time.process_time() - own
            self.slowest = max(self.slowest, (seconds, name))
            self.outcomes[name], wrong = judged(case, operation, result)
            if own > MOST_CPU or seconds > SLOWEST:
                wrong = wrong or f"took {seconds:.1f} s, {own:.1f} s of them its own"
            was_slow = wrong is not None and (own > MOST_CPU or isinstance(result, TimeoutError))
            del result
            if not case.is_early:
                # A server that hangs up just now may take the next request with it: then it is sent again.
                again = client.with_options(
                    max_retries=0 if case.then in ("keep", "drip") else 2, timeout=LONG
                )
                wrong = wrong or await self._go_on(again, next_id(number, operation))
        return None if wrong is None else f"{name}: {wrong}", was_slow

    async def _go_on(self, client: AsyncLisn, wanted: str) -> str | None:
        [found] = await asyncio.gather(client.assistants.get(wanted), return_exceptions=True)
        return None if found == Assistant(id=wanted, name="Honest") else f"the next call got {found!r}"


def call(client: AsyncLisn, operation: str) -> Awaitable[Any]:
    """The operation of a letter."""
    api = client.assistants
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "c": lambda: api.create(**SPEC),
        "g": lambda: api.get("ast_1"),
        "l": api.list,
        "u": lambda: api.update("ast_1", name="n"),
        "d": lambda: api.delete("ast_1"),
        "p": lambda: api.duplicate("ast_1"),
    }
    return calls[operation]()


def judged(case: Case, operation: str, result: object) -> tuple[str, str | None]:
    """What happened, in a word, and what is wrong with it."""
    may_succeed, may_fail = case.allows(operation)
    if isinstance(result, LisnError):
        assert isinstance(result, APIError)
        told = (
            f"{type(result).__name__} {getattr(result, 'status_code', '')} unknown={result.outcome_unknown}"
        )
        unknown = case.unknown if operation in "cupd" else False
        if not may_fail:
            return told, f"failed: {result}"
        if unknown is not None and result.outcome_unknown is not unknown:
            return told, f"outcome_unknown is {result.outcome_unknown}: {result}"
        return told, None if len(str(result)) < 2000 else "the message is endless"
    if isinstance(result, BaseException):
        return repr(result)[:100], f"raised {result!r}"[:500]
    if not may_succeed:
        return "done", f"was believed: {result!r}"[:500]
    expected = _expected(case, operation)
    if case.expect == {} and isinstance(result, Assistant) and "more" in result.extra:
        result = attrs.evolve(result, extra={})  # too deep or too large to be written down here
    if case.expect == {} and isinstance(result, list) and result and "more" in result[0].extra:
        result = [attrs.evolve(result[0], extra={})]
    return "done", None if result == expected else f"got {result!r}"[:500]


def _expected(case: Case, operation: str) -> object:
    if operation == "d":
        return None
    fields = {"id": id_for(operation), "name": "Right", "temperature": 0.5, **case.expect}
    one = Assistant(**fields)
    return [one] if operation == "l" else one


def _start_peak() -> float:
    """MiB in use now; the peak is counted from here on.

    Not `ru_maxrss`: a child inherits it from the process that started it.
    """
    Path("/proc/self/clear_refs").write_text("5")
    return _mib("VmRSS")


def _mib(name: str = "VmHWM") -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _files() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208


async def _run(ports: dict[str, Any], every: int) -> Report:
    run = Run(ports)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: run.failures.append(f"unhandled in the loop: {context}"))
    sys.unraisablehook = lambda what: run.failures.append(
        f"unraisable: {what.exc_value!r} in {what.object!r}"
    )
    honest = next(number for number, case in enumerate(CASES) if case.name == "100 and then the reply")
    for operation in "cgludp":
        await run.meet(honest, operation)  # imports and caches are no growth
    gc.collect()
    before, files = _start_peak(), _files()
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, operation: str) -> None:
        async with slots:
            await run.meet(number, operation)

    chosen = list(enumerate(CASES))[::every]
    table = [(number, case, letter) for number, case in chosen for letter in case.operations]
    await asyncio.gather(*(one(number, letter) for number, case, letter in table if not case.is_heavy))
    for number, case, letter in table:
        if case.is_heavy:
            await one(number, letter)
    for number, letter in run.slow:
        await run.meet_again(number, letter)
    gc.collect()
    await asyncio.sleep(0)
    if _files() > files:
        run.failures.append(f"{_files() - files} sockets leaked")
    grown = _mib() - before
    if grown > MOST_MIB:
        run.failures.append(f"memory grew by {grown:.0f} MiB")
    from aiohttp import http_parser

    return Report(
        parser="C" if "_http_parser" in http_parser.HttpResponseParser.__module__ else "Python",
        cases=len(chosen),
        calls=len(table),
        failures=run.failures,
        slowest=round(run.slowest[0], 2),
        slowest_case=run.slowest[1],
        grown_mib=round(grown, 1),
        outcomes=run.outcomes,
    )


def in_a_process(
    arguments: Sequence[str] = (), *, parser: str, module: str = "tests.hostile.run"
) -> dict[str, Any]:
    """What such a run prints, in a process with one of aiohttp's two parsers: "C" or "Python"."""
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1" if parser == "Python" else ""}
    command = [sys.executable, "-W", "error", "-m", module, *arguments]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["parser"] != parser:
        raise RuntimeError(f"aiohttp has no parser in {parser} here")
    return found


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every n-th case")
    every = parser.parse_args().every
    with running() as ports:
        report = asyncio.run(_run(ports, every))
    print(json.dumps(attrs.asdict(report)))


if __name__ == "__main__":
    main()
