"""R6: what one create leaves behind on a server that commits it and then fails, in ten ways.

Ours beside the current releases of other services' libraries, all with their default number of retries. What is
counted are whole POST requests that reached the server: it has no idempotency key to go by (none of these clients
sends one; the note says so if one does).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import attrs

from benchmarks import _peer_environment
from benchmarks.reliability.rows import Profile, Row
from lisn_async import APIError, AsyncLisn
from lisn_async._version import __version__

HERE = Path(__file__).parent
PEERS = {
    "openai": "_peer_openai.py",
    "vapi_server_sdk": "_peer_vapi.py",
    "retell-sdk": "_peer_retell.py",
    "elevenlabs": "_peer_elevenlabs.py",
}
"""By the name of the package, the script that creates one thing with it."""

BODY = b'{"id":"ast_1","name":"n"}'
STATUSES = {
    "408": "Request Timeout",
    "500": "Internal Server Error",
    "502": "Bad Gateway",
    "503": "Service Unavailable",
    "504": "Gateway Timeout",
}
MODES = ("reset", "close", "cut body", "garbage head", *STATUSES, "hang")
PATIENCE = {"hang": 1.0}
"""Seconds that a client is told to wait for a reply; 20 in every other mode, where none is needed."""
LIMIT = 100.0
"""Seconds for one library: ten creates at once with the waits between attempts, and the import, which takes Vapi's
15 s of a core that it does not share."""


def run(profile: Profile) -> list[Row]:
    """One row per client."""
    return asyncio.run(_run(profile))


async def _run(profile: Profile) -> list[Row]:
    if profile is Profile.TINY:
        return [await _ours()]
    missing = await asyncio.to_thread(_peer_environment.ready, PEERS)
    rows = await asyncio.gather(_ours(), *(_peer(name) for name in PEERS if name not in missing))
    return [*rows, *(_skipped(name, why) for name, why in missing.items())]


# --- clients -----------------------------------------------------------------------------------------


async def _ours() -> Row:
    async with _failing() as servers:
        unknown = dict(zip(servers, await asyncio.gather(*map(_is_unknown, servers.values())), strict=True))
    commits = {mode: server.commits for mode, server in servers.items()}
    silent = [mode for mode, said in unknown.items() if not said]
    return _row(
        f"lisn {__version__}",
        servers,
        is_met=set(commits.values()) == {1} and not silent,
        note=f"outcome_unknown was not set: {', '.join(silent)}" if silent else "",
    )


async def _is_unknown(server: _Failing) -> bool:
    """Whether our client says that it does not know."""
    url = f"http://127.0.0.1:{server.port}"
    async with AsyncLisn("dummy", base_url=url, timeout=server.patience) as client:
        try:
            await client.assistants.create(name="n", type="text", llm_provider="openai", system_prompt="p")
        except APIError as error:
            return error.outcome_unknown
    return False


async def _peer(name: str) -> Row:
    async with _failing() as servers:
        try:
            version, said = await _in_its_environment(name, servers)
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            return _skipped(name, f"it did not run ({str(error) or type(error).__name__})")
    idle = {mode: said[mode] for mode, server in servers.items() if not server.commits}
    return _row(f"{name} {version}", servers, note=f"sent nothing: {idle}" if idle else "")


async def _in_its_environment(name: str, servers: Mapping[str, _Failing]) -> tuple[str, dict[str, str]]:
    """Have the library create one thing in every mode; its version, and what it said in each."""
    ports = {mode: (server.port, server.patience) for mode, server in servers.items()}
    with tempfile.TemporaryDirectory() as home:
        process = await asyncio.create_subprocess_exec(
            str(_peer_environment.python()),
            str(HERE / PEERS[name]),
            json.dumps(ports),
            # Nothing of ours: no keys, no proxy, no other address of a service.
            env={"PATH": os.environ.get("PATH", ""), "HOME": home, "NO_PROXY": "*"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LIMIT):
                printed, complaint = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise ValueError(complaint.decode(errors="replace").strip().splitlines()[-1][:200])
    report = json.loads(printed)
    return report["version"], report["said"]


def _skipped(name: str, why: str) -> Row:
    return Row(name="R6", what=name, figures={}, note=f"skipped: {why}")


def _row(client: str, servers: Mapping[str, _Failing], *, is_met: bool | None = None, note: str = "") -> Row:
    commits = {mode: server.commits for mode, server in servers.items()}
    keys = [mode for mode, server in servers.items() if server.has_key]
    if keys:
        note = f"sent an idempotency key: {', '.join(keys)}"
    return Row(
        name="R6",
        what=f"commits left by one create, {client}",
        figures={
            **commits,
            "most": max(commits.values()),
            "surplus": sum(max(0, n - 1) for n in commits.values()),
        },
        is_met=is_met,
        note=note,
    )


# --- the server --------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Failing:
    """Commits every POST that it has read to its end, and then fails in its one way."""

    mode: str
    port: int = 0
    commits: int = 0
    has_key: bool = False
    _open: set[asyncio.StreamWriter] = attrs.field(factory=set)

    @property
    def patience(self) -> float:
        return PATIENCE.get(self.mode, 20.0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._read(reader) and await self._fail(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    def abort(self) -> None:
        """Let go of the connections that a client left open."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> bool:
        """Read one request and count it; False for anything that is no POST."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        fields = dict(line.partition(b":")[::2] for line in head.split(b"\r\n")[1:])
        await reader.readexactly(int(fields.get(b"content-length", b"0")))
        if not head.startswith(b"post "):
            return False
        self.commits += 1
        self.has_key = self.has_key or any(b"idempotency" in name for name in fields)
        return True

    async def _fail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays."""
        if self.mode in STATUSES:
            status = f"{self.mode} {STATUSES[self.mode]}".encode()
            writer.write(
                b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )
            return True
        if self.mode == "reset":
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            writer.transport.abort()
        elif self.mode == "cut body":
            head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(BODY) + BODY[:9])
        elif self.mode == "garbage head":
            writer.write(b"\x00\xff not http at all\r\n\r\n")
        elif self.mode == "hang":
            await reader.read(1)
        return False


@contextlib.asynccontextmanager
async def _failing() -> AsyncIterator[dict[str, _Failing]]:
    """A server for each mode."""
    async with contextlib.AsyncExitStack() as stack:
        servers = {}
        for mode in MODES:
            servers[mode] = server = _Failing(mode)
            listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
            await stack.enter_async_context(listening)
            stack.callback(server.abort)
            server.port = listening.sockets[0].getsockname()[1]
        yield servers
