"""A Redis of one's own: a real server in a process of its own, reached through a socket in a temporary folder.

Celery wants a port as well: then it has a free one. Skips where the program is not installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

WITHIN = 30.0
"""Seconds that it has to start or to end: only a test that fails waits so long."""


class RedisServer:
    """A server that can be stopped, started again and held still."""

    def __init__(
        self,
        folder: Path,
        password: str | None = None,
        *,
        has_port: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.port = 0
        self._options = options
        self._has_port = has_port
        self._folder = folder
        self._path = folder / "redis.sock"
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What to give to a client."""
        if self._has_port:
            return f"redis://127.0.0.1:{self.port}/0"
        password = "" if self._password is None else f":{self._password}@"
        return f"unix://{password}{self._path}"

    def start(self) -> None:
        """Listen; what an earlier one kept is gone."""
        while not self._started():  # somebody else may take the port before it does
            assert self._has_port, "redis-server ended"

    def _started(self) -> bool:
        if self._has_port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            str(self._path),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        options += ["--dir", str(self._folder), "--daemonize", "no"]
        if self._password is not None:
            options += ["--requirepass", self._password]
        options += self._options
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        until = time.monotonic() + WITHIN
        while not self._answers():
            if self._process.poll() is not None:
                return False
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """End it, at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(WITHIN)
            self._process = None
            self._path.unlink(missing_ok=True)

    def hold_still(self) -> None:
        """It keeps its connections, takes new ones, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """The end of that."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """What it replies to a command, as it comes over the wire."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(WITHIN)
            line.connect(str(self._path))
            if self._password is not None:
                line.sendall(f"AUTH {self._password}\r\n".encode())
                line.recv(100)
            line.sendall(f"*{len(words)}\r\n".encode())
            line.sendall(b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))
            line.shutdown(socket.SHUT_WR)
            said = b""
            while piece := line.recv(65536):
                said += piece
        return said.decode().removesuffix("\r\n")

    @contextlib.contextmanager
    def watched(self, key: str) -> Iterator[list[int]]:
        """All permits that are given under a key in the block, by the clock of Redis in microseconds; read it after."""
        given: list[int] = []
        pushed = re.compile(rf'\[\d+ lua\] "LPUSH" "{re.escape(key)}" "(\d+)"'.encode())
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._path))
            line.sendall(b"MONITOR\r\n")
            assert line.recv(5) == b"+OK\r\n"

            def read() -> None:
                with line.makefile("rb") as said:
                    given.extend(int(found[1]) for found in map(pushed.search, said) if found)

            reader = threading.Thread(target=read)
            reader.start()
            yield given
            self.ask(
                "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
            )  # the one who looks on is one of them
            reader.join(WITHIN)

    @contextlib.contextmanager
    def far_away(self, seconds: float) -> Iterator[str]:
        """The URL of this server behind a line on which everything takes so long, each way."""
        ends: set[asyncio.StreamWriter] = set()
        began: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            later = asyncio.get_running_loop().call_later
            with contextlib.suppress(OSError):
                while piece := await reader.read(65536):
                    later(seconds, writer.write, piece)
            later(seconds, writer.close)

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            from_redis, to_redis = await asyncio.open_unix_connection(self._path)
            ends.update((writer, to_redis))
            await asyncio.gather(pump(reader, to_redis), pump(from_redis, writer))

        async def serve() -> None:
            is_over = asyncio.Event()
            server = await asyncio.start_server(carry, "127.0.0.1")
            began.set_result((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), is_over))
            await is_over.wait()
            server.close()
            for end in ends:
                end.transport.abort()
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

        line = threading.Thread(target=lambda: asyncio.run(serve()))
        line.start()
        port, loop, is_over = began.result(WITHIN)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            loop.call_soon_threadsafe(is_over.set)
            line.join(WITHIN)

    def calls(self, command: str) -> int:
        """How often a command was run."""
        found = re.search(rf"^cmdstat_{command}:calls=(\d+)", self.ask("INFO", "commandstats"), re.MULTILINE)
        return int(found[1]) if found else 0

    def opened(self) -> int:
        """How many connections there were, the one that asks among them."""
        found = re.search(r"total_connections_received:(\d+)", self.ask("INFO", "stats"))
        assert found is not None
        return int(found[1])

    def connections(self) -> int:
        """How many clients are connected, without whoever asks."""
        listed = self.ask("CLIENT", "LIST")
        return listed.count("cmd=") - 1

    def _answers(self) -> bool:
        try:
            return self.ask("PING").endswith(("PONG", "Authentication required."))
        except OSError:
            return False


@pytest.fixture
def redis_folder() -> Iterator[Path]:
    """Not `tmp_path`: the path of a socket must be short."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="lisn-") as folder:
        yield Path(folder)


@pytest.fixture
def redis_server(redis_folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(redis_folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_port(redis_folder: Path) -> Iterator[RedisServer]:
    """The same with a port."""
    server = RedisServer(redis_folder, has_port=True)
    server.start()
    yield server
    server.stop()
