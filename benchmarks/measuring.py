"""Contestants side by side: each waits in a process of its own, and they take turns.

Only ratios are told. Each is the median of those of single rounds, in which both sides ran right after one another, so
that whatever else the machine does hits both.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar

import attrs

from benchmarks import _peer_environment
from benchmarks.cores import on_the_clients_core
from benchmarks.results import NO_PEERS
from benchmarks.rows import Figure, Row

ROOT = Path(__file__).parent.parent
T = TypeVar("T")


@attrs.frozen
class Contestant:
    """A module of `benchmarks.contestants` and its arguments. With `packages` it runs in the environment of the peers."""

    name: str
    module: str
    arguments: Sequence[str]
    packages: Sequence[str] = ()
    needs: str = ""
    """A package of ours without which it cannot run."""


@attrs.frozen(kw_only=True)
class Effort:
    """How long a race is: rounds, and either calls for each turn or about so many seconds for each.

    A turn is preceded by `warm_up` calls that nobody times, and is of at least twice as many.
    """

    rounds: int
    seconds: float = 0.3
    calls: int | None = None
    warm_up: int = 64


@attrs.frozen
class Race:
    """What every round cost, by the name of the contestant; and of those that did not take part, why."""

    rounds: Sequence[Mapping[str, Mapping[str, Any]]]
    missing: Mapping[str, str]

    def ratio(self, one: str, other: str, what: str = "cpu") -> Figure | str:
        """What a call of one costs in terms of the other's; or why it could not be measured."""
        return self.figure(lambda of: of[one][what] / of[other][what], one, other)

    def figure(self, value: Callable[[Mapping[str, Any]], float], *of: str) -> Figure | str:
        """A value of every round, in which all of these took part."""
        for name in of:
            if name in self.missing:
                return f"{name}: {self.missing[name]}"
        return Figure.of([value(spent) for spent in self.rounds])

    def row(
        self, name: str, what: str, one: str, other: str, clock: str = "CPU", goal: float | None = None
    ) -> Row:
        """A ratio as a row."""
        return Row(name=name, what=what, clock=clock, figure=self.ratio(one, other, clock.lower()), goal=goal)


def race(contestants: Sequence[Contestant], effort: Effort, *, peers: bool = True) -> Race:
    """Let them take turns. Without `peers`, those that need the environment of the peers are left out."""
    missing = _missing(contestants, peers=peers)
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_the_clients_core())
        there = [one for one in contestants if one.name not in missing]
        processes = {one.name: stack.enter_context(started(one)) for one in there}

        def each(step: Callable[[Process], T]) -> dict[str, T]:
            """What a step gives for each of them. A peer that does not survive it is missing from then on."""
            given = {}
            for one in contestants:
                try:
                    if one.name not in missing:
                        given[one.name] = step(processes[one.name])
                except EndedError as error:
                    if not one.packages:
                        raise
                    missing[one.name] = f"it did not run ({error})"
            return given

        each(Process.wait_until_ready)  # all of them, so that nobody still imports when the first is timed
        calls = each(lambda process: _calls(process, effort))
        rounds = []
        for number in range(effort.rounds):
            order = list(calls) if number % 2 else list(reversed(calls))
            rounds.append({name: processes[name].turn(effort.warm_up, calls[name]) for name in order})
    return Race(rounds, missing)


def _missing(contestants: Iterable[Contestant], *, peers: bool) -> dict[str, str]:
    others = [one for one in contestants if one.packages]
    missing = {one.name: NO_PEERS for one in others if not peers}
    if peers and others:
        reasons = _peer_environment.ready({package for one in others for package in one.packages})
        for one in others:
            for package in one.packages:
                if package in reasons:
                    missing[one.name] = reasons[package]
    for one in contestants:
        if one.needs and find_spec(one.needs) is None:
            missing[one.name] = f"{one.needs} is not installed"
    return missing


def _calls(process: Process, effort: Effort) -> int:
    """How many make a turn: a first one, which also makes the connections, tells how long a call takes."""
    if effort.calls is not None:
        process.turn(0, max(1, effort.warm_up))
        return effort.calls
    least = max(1, 2 * effort.warm_up)
    wall: float = least * process.turn(least, least)["wall"]
    return max(1, math.ceil(effort.seconds / wall)) * least


class EndedError(Exception):
    """The process of a contestant ended; the text is the last that it said."""


@contextlib.contextmanager
def started(one: Contestant) -> Iterator[Process]:
    """The process of a contestant, until the block ends."""
    python = _peer_environment.python() if one.packages else sys.executable
    command = [str(python), "-m", f"benchmarks.contestants.{one.module}", *one.arguments]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        ) as process,
    ):
        try:
            yield Process(process, complaints)
        finally:
            process.kill()


class Process:
    """A contestant that waits for its turn."""

    def __init__(self, process: subprocess.Popen[str], complaints: IO[str]) -> None:
        self._process = process
        self._complaints = complaints

    def wait_until_ready(self) -> None:
        """Until it has imported what it needs. Raises `EndedError`."""
        if self._answer() != "ready":
            raise EndedError("it said something else than that it is ready")

    def turn(self, warm_up: int, calls: int) -> dict[str, Any]:
        """What that many calls cost, in seconds for each."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{warm_up} {calls}\n")
        self._process.stdin.flush()
        spent: dict[str, Any] = json.loads(self._answer())
        return {**spent, "cpu": spent["cpu"] / calls, "wall": spent["wall"] / calls, "calls": calls}

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline().strip():
            return line
        self._complaints.seek(0)
        raise EndedError((self._complaints.read().strip().splitlines() or ["without a word"])[-1][:200])


def environment(home: str) -> dict[str, str]:
    """Nothing of the user's: no keys, no proxy, no other address of a service."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG") if name in os.environ}
    return {**kept, "HOME": home, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
