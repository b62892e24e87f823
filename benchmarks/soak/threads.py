"""Eight threads, or so, on one `lisn_sync.Lisn`, in a process of their own: together as many calls as the backend has."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import random
import sys
import threading
import time
from pathlib import Path

import attrs

from benchmarks.soak.backend import QUIET, SETTLE, TIMEOUT
from benchmarks.soak.book import Book
from benchmarks.soak.child import told
from benchmarks.soak.mix import Mix, spec
from benchmarks.soak.sampling import (
    EVERY,
    Sample,
    Samples,
    Watched,
    taken_slots,
)
from lisn_sync import APIError, Lisn
from lisn_sync._loop import home

MOST = 6
"""Assistants of one thread."""
IMPORTS_EVERY = 150
"""Calls of a thread after which it makes a few assistants at once; each thread at another time."""
SWEEPS_EVERY = 30
"""Calls of the first thread after which it looks for what is left over."""


@attrs.define
class Worker:
    """What one thread does: calls at a steady pace, each when its time has come."""

    client: Lisn
    book: Book
    mix: Mix
    folder: Path
    number: int

    def work(self, seconds: float, rate: float) -> None:
        """`rate` calls per second. Whoever is late catches up."""
        began = time.monotonic()
        for number in range(int(seconds * rate)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            if time.monotonic() - began > seconds:
                break
            with contextlib.suppress(APIError):
                self._call(number)

    def _call(self, number: int) -> None:
        if (number + 20 * self.number) % IMPORTS_EVERY == IMPORTS_EVERY - 1:
            self._import(number)
        elif self.number == 0 and number % SWEEPS_EVERY == SWEEPS_EVERY - 1:
            self._sweep()
        else:
            self._one()

    def _one(self) -> None:
        api, book, (call, id) = self.client.assistants, self.book, self.mix.next()
        match call:
            case "list":
                with book.noting("list"):
                    certain = book.certain()
                    book.saw_all(certain, api.list())
            case "create":
                name = self.mix.unique()
                with book.noting("create", name=name) as note:
                    made = api.create(spec(name))
                    book.made(note, made)
                self.mix.free.append(made.id)
            case "delete":
                assert id is not None
                with book.noting("delete", id=id):
                    api.delete(id)
            case _:
                assert id is not None
                try:
                    self._one_that_stays(call, id)
                finally:
                    self.mix.free.append(id)

    def _one_that_stays(self, call: str, id: str) -> None:
        api, book = self.client.assistants, self.book
        if call == "get":
            with book.noting("get", id=id) as note:
                book.saw(note, api.get(id))
        elif call == "update":
            value = self.mix.unique()
            with book.noting("update", id=id, value=value) as note:
                reply = api.with_raw_response.update(id, description=value)
                note.attempts = reply.attempts
                book.saw(note, reply.parse())
        else:
            with book.noting("duplicate", id=id) as note:
                copy = api.duplicate(id)
                book.made(note, copy)
            self.mix.free.append(copy.id)

    def _import(self, number: int) -> None:
        names = self.mix.names()
        journal = self.folder / f"{self.mix.owner}-{number}.journal"
        result = None
        while result is None:
            with contextlib.suppress(APIError):  # its first listing failed: run it again
                result = self.client.assistants.create_many(map(spec, names), journal=journal, settle=SETTLE)
            made = self.book.imported(names, result)
        self.mix.free.extend(made)
        journal.unlink()

    def _sweep(self) -> None:
        for id in self.book.to_sweep(self.client.assistants.list()):
            with contextlib.suppress(APIError), self.book.noting("delete", id=id):
                self.client.assistants.delete(id)


def sample() -> Sample:
    """This process; the tasks are those of the loop that all calls share."""
    assert home.background is not None
    loop = home.background.loop
    counted: concurrent.futures.Future[int] = concurrent.futures.Future()
    loop.call_soon_threadsafe(lambda: counted.set_result(len(asyncio.all_tasks(loop))))
    return Sample.now(counted.result())


def quiet(before: Sample) -> Sample:
    """This process when nothing is under way: as it was before, or as it is when time is up."""
    for _ in range(int(QUIET / 0.1)):
        time.sleep(0.1)
        if sample().is_back_at(before):
            break
    return sample()


def main(base_url: str, token: str, folder: Path, seconds: float, rate: float, count: int) -> None:
    """Work for that long; then tell what was sampled and counted."""
    with contextlib.suppress(APIError), Lisn(token, base_url=base_url) as first:
        first.assistants.list()  # the loop has files of its own from now on, one of them for its first connection
    time.sleep(0.1)
    client = Lisn(token, base_url=base_url, timeout=TIMEOUT)
    with client, (folder / "threads.jsonl").open("w", buffering=1) as file:
        book = Book(file)
        before = sample()
        told({})
        workers = [
            Worker(client, book, Mix(f"t{n}", MOST, random=random.Random(n)), folder, n) for n in range(count)
        ]
        threads = [
            threading.Thread(target=worker.work, args=(seconds, rate / count), daemon=True)
            for worker in workers
        ]
        for thread in threads:
            thread.start()
        during = Samples()
        while any(thread.is_alive() for thread in threads):
            during.append(sample())
            time.sleep(EVERY)
        after, slots = quiet(before), taken_slots(client._core)
    told({"watched": attrs.asdict(Watched.of_this(before, during, after, slots)), **book.in_short()})


if __name__ == "__main__":
    main(
        sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
    )
