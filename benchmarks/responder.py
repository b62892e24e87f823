"""A server so cheap that the client is the bottleneck, in a process of its own, on a core of its own.

To a POST it answers with an assistant, always the same but for the id, in the shape that the caller's library knows. To a GET it answers with a list, empty unless told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.contestants.fields import PROMPT
from benchmarks.cores import pin, two_cores

LISTED_PROMPT = (PROMPT * 3)[:3650]
"""Of a listed assistant, which then takes 4 KB."""
MARK = "000000000000"
"""Where the number of the reply stands in its id."""

COMMON = {"id": f"ast_{MARK}", "name": "Quality of calls"}
OURS = {
    **COMMON,
    "type": "text",
    "llm_provider": "openai",
    "system_prompt": PROMPT,
    "temperature": 0.5,
    "created_at": "2026-01-01T00:00:00Z",
}
OPENAI: dict[str, object] = {
    **COMMON,
    "object": "assistant",
    "created_at": 1767225600,
    "description": None,
    "instructions": PROMPT,
    "metadata": {},
    "model": "gpt-4o-mini",
    "temperature": 0.5,
    "tools": [],
}
VAPI = {
    **COMMON,
    "orgId": "org_1",
    "firstMessage": PROMPT,
    "createdAt": "2026-01-01T00:00:00Z",
    "updatedAt": "2026-01-01T00:00:00Z",
}


def _whole(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _around_the_id(shown: object) -> tuple[bytes, bytes]:
    before, after = _whole("201 Created", _json(shown)).split(MARK.encode())
    return before, after


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def listing(count: int) -> bytes:
    """The body of a list."""
    return _json([{**OURS, "id": f"ast_{n:012}", "system_prompt": LISTED_PROMPT} for n in range(count)])


MADE = {
    b"post /openai": _around_the_id(OPENAI),
    b"post /assistant ": _around_the_id(VAPI),
    b"post ": _around_the_id(OURS),
}
"""By how a request starts, in lower case, what is before and after the number in its reply."""

_numbers = itertools.count()


class _Responder(asyncio.Protocol):
    def __init__(self, seconds: float, listed: bytes) -> None:
        self._seconds = seconds
        self._listed = listed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]
        self._read = b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            self._read = self._read[end + 4 + length :]
            if self._seconds:
                asyncio.get_running_loop().call_later(self._seconds, self._write, self._reply(head))
            else:
                self._write(self._reply(head))

    def _reply(self, head: bytes) -> bytes:
        for start, (before, after) in MADE.items():
            if head.startswith(start):
                # An id of its own: one that is given twice would be one assistant to a bulk run.
                return b"%b%012d%b" % (before, next(_numbers), after)
        return self._listed


async def _serve(seconds: float, listed: int) -> None:
    reply = _whole("200 OK", listing(listed))
    server = await asyncio.get_running_loop().create_server(lambda: _Responder(seconds, reply), "127.0.0.1")
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def responder(seconds: float = 0.0, listed: int = 0) -> Iterator[str]:
    """The base URL of a responder that takes so long for each reply, lists so many, and ends with the block."""
    command = [sys.executable, "-m", "benchmarks.responder", str(seconds), str(listed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def main() -> None:
    """Serve until the process is ended."""
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    pin(two_cores()[1])
    seconds, listed = [*sys.argv[1:], "0", "0"][:2]
    asyncio.run(_serve(float(seconds), int(listed)))


if __name__ == "__main__":
    main()
