"""The journal of an import: which file it is, whether it can be used, and when it goes."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import attrs

from lisn_async.cli import _output
from lisn_async.cli._stop import UsageError
from lisn_async.cli.files.formats import STREAM

try:
    import fcntl
except ImportError:  # Windows: there an open file cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".journal"
HEAD = b'{"run":1,"base_url":"'  # how every journal begins, also one whose first line was torn
ELSEWHERE = "name another place with --journal FILE, or say --no-journal"


@attrs.define
class ImportJournal:
    """The journal that an import keeps. `was_there` is known once it was prepared: this run continues another."""

    path: str | None
    is_asked_for: bool
    was_there: bool = False

    @property
    def exists(self) -> bool:
        """Whether there is one now, which means that this import was begun before."""
        return self.path is not None and Path(self.path).exists()

    def prepare(self, *, fresh: bool) -> None:
        """Makes sure that the journal can be written, before anything is sent. Raises `UsageError`."""
        if self.path is None:
            return
        self.was_there = self.exists
        if fresh and self.was_there:
            _start_over(self.path)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise UsageError(
                f"the journal {self.path} cannot be written: {error.strerror}. Nothing was sent: {ELSEWHERE},"
                " and then an import that is interrupted cannot be continued"
                if not self.is_asked_for
                else f"the journal {self.path} cannot be written: {error.strerror}. Nothing was sent"
            ) from None
        with _opened(self.path) as (_, is_free):
            if not is_free:
                raise UsageError(in_use(self.path))

    def goes_after(self, *, everything_created: bool, anything_sent: bool) -> bool:
        """Whether nobody will need the journal any more: only one that nobody asked for is ever removed."""
        if self.path is None or self.is_asked_for:
            return False
        return everything_created or not (anything_sent or self.was_there)

    def remove(self) -> None:
        """Removes the journal, unless another run has taken it up in the meantime."""
        assert self.path is not None
        with contextlib.suppress(FileNotFoundError), _opened(self.path) as (_, is_free):
            if is_free:
                _unlink(self.path)


def journal_of(file: str, wanted: str | None, *, off: bool, fresh: bool, dry_run: bool) -> ImportJournal:
    """The journal of an import of this file. `wanted` is what follows `--journal`, empty where nothing does."""
    if wanted is not None and off:
        raise UsageError("--journal and --no-journal exclude each other")
    beside = f"{place}{SUFFIX}" if (place := place_of(file)) else None
    if wanted == "" and beside is None:
        raise UsageError(f"--journal needs a file name when the rows come from {_source(file)}")
    path = None if off or dry_run else wanted or beside
    if fresh and path is None and not dry_run:
        raise UsageError(
            "--fresh starts a journal anew, and there is none: leave it out, or name one with --journal FILE"
        )
    if path is not None and is_same(path, file):
        raise UsageError(f"the journal cannot be the input itself ({path}): it is a file of its own")
    return ImportJournal(path=path, is_asked_for=wanted is not None)


def _source(file: str) -> str:
    return "stdin" if file == STREAM else "a pipe"


def place_of(file: str) -> Path | None:
    """The input as something that has a place, where files can be put beside it; stdin and pipes have none."""
    path = Path(file)
    if file == STREAM or (path.exists() and not path.is_file() and not path.is_dir()):
        return None
    if path.name in ("", ".."):  # `.` and the like: the folder's own name is needed
        path = path.resolve()
    return path if path.name else None


def is_same(one: str, other: str) -> bool:
    """Whether two paths lead to one file, also by a link."""
    if STREAM in (one, other):
        return False
    with contextlib.suppress(OSError):
        return Path(one).samefile(other)
    return Path(one).resolve() == Path(other).resolve()


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[IO[bytes], bool]]:
    """The journal, and whether no other run is using it; nobody else can begin to before this ends."""
    with Path(path).open("rb") as file:
        if fcntl is None:
            yield file, True
            return
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield file, False
        else:
            yield file, True


def _unlink(path: str) -> None:
    try:
        Path(path).unlink()
    except OSError as error:
        _output.complain(f"{path} is of no use any more and cannot be removed: {error.strerror}")


def in_use(path: str) -> str:
    """What to say where two imports of one file meet."""
    return (
        f"the journal {path} is in use by another run: wait for its end, or name another with --journal FILE"
    )


def _start_over(path: str) -> None:
    with _opened(path) as (file, is_free):
        if not is_free:
            raise UsageError(in_use(path))
        earlier = _read(file)
        if earlier is None:
            raise UsageError(f"{path} is no journal of ours and left as it is: {ELSEWHERE}")
        try:
            Path(path).unlink()
        except OSError as error:
            raise UsageError(f"the journal {path} cannot be removed: {error.strerror}") from None
    if earlier.created or earlier.unsure:
        unsure = f", and may have created {earlier.unsure:,} more" if earlier.unsure else ""
        _output.say(
            f"starting over: an earlier run created {_output.count(earlier.created, 'assistant')}{unsure};"
            " these will be created again"
        )


@attrs.frozen(kw_only=True)
class Earlier:
    """What a journal tells of the runs before: how many rows were created, and of how many that is not known."""

    created: int
    unsure: int


def earlier_of(path: str) -> Earlier | None:
    """What the journal remembers, or None if there is none, or it is none of ours."""
    try:
        with Path(path).open("rb") as file:
            return _read(file)
    except OSError:
        return None


def _read(file: IO[bytes]) -> Earlier | None:
    # Only counted here, so this is tolerant; the bulk engine reads every line strictly.
    from lisn_async.bulk.memory import STATES

    head = file.readline()
    if not (head.startswith(HEAD) or HEAD.startswith(head)):
        return None
    state: dict[object, str] = {}
    for line in file:
        try:
            fact = json.loads(line)
        except ValueError:
            continue
        for name in STATES:
            if isinstance(fact, dict) and isinstance(fact.get(name), int):
                state[fact[name]] = name
    states = list(state.values())
    created = states.count("created") + states.count("named")
    return Earlier(created=created, unsure=states.count("sent"))


def advice(path: str, failed_file: str | None, message: str) -> str:
    """What to do about a journal that does not fit, behind what the engine says about it."""
    if "in use" in message:
        return in_use(path)
    if message.startswith("cannot write"):
        return f"{message}. What was done stands in it: make room, and run the same command again"
    earlier = earlier_of(path)
    if earlier is None:
        return f"{message}. Name another with --journal OTHER"
    mend = f". Rows that failed are to be mended in {failed_file}, not in the input" if failed_file else ""
    cost = f", also the {earlier.created:,} that it created" if earlier.created else ""
    return (
        f"{message}{mend}. --fresh forgets the earlier run, --journal OTHER leaves it alone;"
        f" both create every row{cost}"
    )
