"""Right replies, damaged: `python -m tests.hostile.fuzz --replies 20000 --seed 1` prints what became of them, as JSON.

Reply n of a seed is always the same; `--only n` shows its bytes and what a client makes of them. The second
witness of what the bytes say is `http.client` with `json`.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import gc
import gzip
import http.client
import io
import json
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs

from lisn_async import APIStatusError, Assistant, AsyncLisn, LisnError
from lisn_async.models._rules import FIELDS
from tests.hostile.case import chunk
from tests.hostile.run import LONG, SPEC, _files
from tests.hostile.server import close_with_reset

AT_ONCE = 32
TIMEOUT = 0.25
"""Seconds: what announces more than it sends and stays open is given up."""

Mutator = Callable[[random.Random, bytes], bytes]

# --- right replies -----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Damaged:
    """Reply `number` of a seed: the operation that it answers, its bytes, and how the connection ends."""

    number: int
    operation: str
    reply: bytes
    then: str
    mutations: tuple[str, ...]


def damaged(seed: int, number: int) -> Damaged:
    """The reply, the same each time."""
    rng = random.Random(f"{seed}:{number}")
    reply = _right(rng, f"fz_{number}")
    names = rng.choices(sorted(MUTATORS), k=rng.choice((0, 1, 1, 1, 2, 2, 3, 5)))
    for name in names:
        reply = MUTATORS[name](rng, reply)
    return Damaged(
        number=number,
        operation=rng.choice("ggc"),
        reply=reply,
        then=rng.choice(("keep", "keep", "fin", "fin", "fin", "fin", "rst")),
        mutations=tuple(names),
    )


def _right(rng: random.Random, assistant_id: str) -> bytes:
    body = json.dumps(_fields(rng, assistant_id), ensure_ascii=rng.random() < 0.5).encode()
    if rng.random() < 0.1:
        body = b'{"data":' + body + b"}"
    lines = [
        rng.choice(
            (
                *["HTTP/1.1 200 OK", "HTTP/1.1 201 Created"] * 4,
                "HTTP/1.1 422 No",
                "HTTP/1.1 500 Oops",
            )
        )
    ]
    lines += rng.sample(
        (
            "Server: x",
            "Date: Thu, 01 Jan 1970 00:00:00 GMT",
            "Content-Type: application/json",
            "Vary: *",
            "X-Request-Id: r-1",
        ),
        3,
    )
    if rng.random() < 0.2:
        body = gzip.compress(body, mtime=0)
        lines.append("Content-Encoding: gzip")
    if rng.random() < 0.35:
        body = (
            chunk(body, rng.choice((1, 5, 40, 4096)))
            + b"0\r\n"
            + rng.choice((b"", b"", b"X-Trailer: t\r\n"))
            + b"\r\n"
        )
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _fields(rng: random.Random, assistant_id: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": assistant_id,
        "name": rng.choice(("Sales", "Ünïcode \U0001f600", 'quo"te\n')),
        "type": "voice",
    }
    if rng.random() < 0.7:
        values["temperature"] = rng.choice((0, 0.5, 1, None))
    for field in rng.sample([name for name in FIELDS if name != "temperature"], 3):
        values.setdefault(field, rng.choice(("text", None, "x" * 300)))
    if rng.random() < 0.5:
        values["created_at"] = rng.choice(("2026-01-01", {"a": [1, 2.5, True]}, 12345678901234567890))
    return values


# --- damage ------------------------------------------------------------------------------------------------

_ODD = (
    b"\x00",
    b"\xff",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b":",
    b" ",
    b"\t",
    b'"',
    b"{",
    b"}",
    b"\\",
    b"0",
    b"9",
    b"-",
    b";",
    b",",
)
_TOKENS = (
    b"null",
    b"true",
    b"NaN",
    b"1e999",
    b"-1",
    b"[]",
    b"{}",
    b'""',
    b'"\\ud800"',
    b"[[[[",
    b'"' + b"y" * 2000 + b'"',
    b"1" * 40,
)
_HEADERS = (
    b"Content-Length: 5",
    b"Content-Length: 99999",
    b"Content-Length: -1",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Content-Encoding: gzip",
    b"Content-Encoding: br",
    b"Connection: close",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"Content-Type: text/html; charset=bogus",
    b"Retry-After: 0",
    b"Set-Cookie: a=b; ;;=",
    b"Location: file:///x",
    b" folded",
    b"X-Long: " + b"z" * 9000,
    b"no colon",
)


def _flip(rng: random.Random, reply: bytes) -> bytes:
    damaged = bytearray(reply)
    for _ in range(rng.choice((1, 1, 1, 3, 8)) if damaged else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _cut(rng: random.Random, reply: bytes) -> bytes:
    return reply[: rng.randrange(len(reply) + 1)]


def _insert(rng: random.Random, reply: bytes) -> bytes:
    at = rng.randrange(len(reply) + 1)
    return reply[:at] + rng.choice(_ODD) * rng.choice((1, 1, 2, 50)) + reply[at:]


def _remove(rng: random.Random, reply: bytes) -> bytes:
    at = rng.randrange(len(reply) + 1)
    return reply[:at] + reply[at + rng.choice((1, 1, 2, 20)) :]


def _splice(rng: random.Random, reply: bytes) -> bytes:
    other = _right(rng, "fz_other")
    return reply[: rng.randrange(len(reply) + 1)] + other[rng.randrange(len(other)) :]


def _follow(rng: random.Random, reply: bytes) -> bytes:
    return reply + rng.choice((_right(rng, "fz_other"), b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"))


def _lead(rng: random.Random, reply: bytes) -> bytes:
    return (
        rng.choice(
            (
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n",
                b"\r\n",
                b"HTTP/1.1 204 No\r\n\r\n",
            )
        )
        + reply
    )


def _lines(rng: random.Random, reply: bytes) -> bytes:
    lines = reply.split(b"\r\n")
    at = rng.randrange(len(lines))
    what = rng.choice(("twice", "gone", "swapped", "elsewhere"))
    if what == "twice":
        lines.insert(at, lines[at])
    elif what == "gone":
        del lines[at]
    elif what == "swapped":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines.insert(rng.randrange(len(lines)), lines.pop(at))
    return b"\r\n".join(lines)


def _lie(rng: random.Random, reply: bytes) -> bytes:
    """Another number where the reply says how long something is."""

    def other(found: re.Match[bytes]) -> bytes:
        number = int(found[2], 16 if not found[1].lower().startswith(b"content") else 10)
        lie = rng.choice((number + 1, max(0, number - 1), 0, number * 10, 2**31, 2**64, 10**30))
        return found[1] + (b"%d" % lie if found[1].lower().startswith(b"content") else b"%x" % lie)

    return re.sub(
        rb"(?i)(content-length: |\r\n)([0-9a-f]{1,6})(?=\r\n)", other, reply, count=rng.choice((1, 1, 2))
    )


def _inject(rng: random.Random, reply: bytes) -> bytes:
    head, ends, rest = reply.partition(b"\r\n")
    return head + ends + rng.choice(_HEADERS) + b"\r\n" + rest


def _status(rng: random.Random, reply: bytes) -> bytes:
    code = rng.choice(
        (b"204", b"304", b"101", b"302", b"401", b"404", b"429", b"503", b"099", b"600", b"2xx", b"0200")
    )
    return re.sub(rb"(?<=HTTP/1.1 )\S+", code, reply, count=1)


def _token(rng: random.Random, reply: bytes) -> bytes:
    """Another JSON token; the length is made right, so that the JSON is what matters."""
    head, ends, body = reply.partition(b"\r\n\r\n")
    spots = [found.span() for found in re.finditer(rb'"[^"]*"|[0-9.]+|null|true|[{}\[\],:]', body)]
    if not spots or b"chunked" in head or b"gzip" in head:
        return _insert(rng, reply)
    start, stop = rng.choice(spots)
    body = body[:start] + rng.choice((*_TOKENS, *_ODD, b"", body[start:stop] * 2)) + body[stop:]
    return re.sub(rb"(?i)(?<=content-length: )[0-9]+", b"%d" % len(body), head) + ends + body


MUTATORS: dict[str, Mutator] = {
    "flip": _flip,
    "cut": _cut,
    "insert": _insert,
    "remove": _remove,
    "splice": _splice,
    "follow": _follow,
    "lead": _lead,
    "lines": _lines,
    "lie": _lie,
    "inject": _inject,
    "status": _status,
    "token": _token,
}

# --- a server for them -------------------------------------------------------------------------------------


class _Server(asyncio.Protocol):
    """Answers a request about `fz_<n>` with reply n, and any other honestly."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, ends, body = self._read.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: ([0-9]+)", head)
        if not ends or (length and len(body) < int(length[1])):
            return
        wanted = re.search(rb"(ok|fz)_([0-9]+)", self._read)
        assert wanted is not None
        self._read = b""
        if wanted[1] == b"ok":
            honest = b'{"id":"%b"}' % wanted[0]
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(honest), honest))
            return
        reply = damaged(self._seed, int(wanted[2]))
        self._transport.write(reply.reply)
        if reply.then == "fin":
            self._transport.close()
        elif reply.then == "rst":
            close_with_reset(self._transport)


# --- the second witness ------------------------------------------------------------------------------------


class _Heard:
    """What `http.client` reads from."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._reply)


def what_it_says(reply: bytes, method: str) -> tuple[int, Any] | None:
    """Status and document of a reply, or None if the second witness cannot make sense of it."""
    response = http.client.HTTPResponse(_Heard(reply), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
        if response.headers.get("Content-Encoding", "").strip().lower() == "gzip":
            body = gzip.decompress(body)
        return response.status, json.loads(body.decode(), parse_int=up_to_64_bits)
    except (http.client.HTTPException, OSError, EOFError, ValueError, ArithmeticError, RecursionError):
        return None
    except Exception:  # noqa: BLE001  whatever else: it could not
        return None


def up_to_64_bits(digits: str) -> float:
    """An integer where 64 bits hold it, else a float: what a JSON reader of this SDK makes of digits."""
    return int(digits) if -(2**63) <= int(digits) < 2**64 else float(digits)


def _same(found: Assistant, document: object) -> bool:
    """Whether a result is what a document says."""
    if not isinstance(document, dict):
        return False
    if isinstance(document.get("data"), dict) and not ("id" in document and "name" in document):
        document = document["data"]
    known = {name: getattr(found, name) for name in ("id", *FIELDS)}
    rest = {key: value for key, value in document.items() if key not in known}
    return known == {name: document.get(name) for name in known} and found.extra == rest


def _is_in(found: Assistant, reply: bytes) -> bool:
    """Whether every text of a result stands in the bytes, where the second witness cannot read them as a whole."""
    if re.search(rb"(?i)gzip|chunked|\\\\u", reply):
        return True  # compressed, in pieces or in escapes: the id was checked
    texts = [value for name in ("id", *FIELDS) if isinstance(value := getattr(found, name), str)]
    return all(json.dumps(text)[1:-1].encode() in reply or text.encode() in reply for text in texts)


# --- a run -------------------------------------------------------------------------------------------------


@attrs.define
class Fuzz:
    """A run over replies `0 … replies - 1` of a seed."""

    seed: int
    failures: list[str] = attrs.field(factory=list)
    kinds: collections.Counter[str] = attrs.field(factory=collections.Counter)

    async def meet(self, client: AsyncLisn, number: int) -> None:
        """One call gets one reply."""
        case = damaged(self.seed, number)
        patient = client.with_options(timeout=LONG)
        for hasty in (client, client.with_options(timeout=20 * TIMEOUT), patient):
            api = (hasty if case.mutations else patient).assistants
            if case.operation == "g":
                pending = api.get(f"fz_{number}")
            else:
                pending = api.create(**{**SPEC, "name": f"fz_{number}"})
            [result] = await asyncio.gather(pending, return_exceptions=True)
            kind, wrong = judged(case, result)
            if wrong is None or not isinstance(result, TimeoutError):
                break  # else this machine stood still: nothing was sent in time
        self.kinds[kind] += 1
        if wrong is None and number % 8 == 0:
            [honest] = await asyncio.gather(patient.assistants.get(f"ok_{number}"), return_exceptions=True)
            wrong = None if honest == Assistant(id=f"ok_{number}") else f"the next call got {honest!r}"
        if wrong:
            self.failures.append(
                f"seed {self.seed}, reply {number} ({', '.join(case.mutations)}): {wrong}"[:600]
            )


def judged(case: Damaged, result: object) -> tuple[str, str | None]:
    """What became of a reply, in a word, and what is wrong with that."""
    if isinstance(result, LisnError):
        kind = type(result).__name__
        unknown = getattr(result, "outcome_unknown", None)
        expected = case.operation == "c"
        if isinstance(result, APIStatusError) and expected:
            declined = result.status_code == 503 and result.retry_after is not None
            expected = (result.status_code >= 500 or result.status_code == 408) and not declined
        if unknown is not expected:
            return kind, f"outcome_unknown is {unknown}: {result}"
        if not case.mutations and case.then != "rst" and not isinstance(result, APIStatusError):
            return kind, f"nothing is wrong with this reply: {result!r}"
        return kind, None
    if not isinstance(result, Assistant):
        return "something else", f"got {result!r}"
    if case.operation == "g" and result.id != f"fz_{case.number}":
        return "result", f"another assistant: {result!r}"
    says = what_it_says(case.reply, "GET" if case.operation == "g" else "POST")
    if says is None:
        return "result, unseen by the witness", None if _is_in(
            result, case.reply
        ) else f"it does not say {result!r}"
    if not 200 <= says[0] < 300:
        return "result", f"believed in spite of {says[0]}"
    return "result", None if _same(result, says[1]) else f"it says {says[1]!r}, we {result!r} {result.extra}"


async def fuzz(seed: int, replies: int) -> dict[str, Any]:
    """The report on a run."""
    loop = asyncio.get_running_loop()
    run = Fuzz(seed)
    loop.set_exception_handler(lambda _, context: run.failures.append(f"unhandled in the loop: {context}"))
    sys.unraisablehook = lambda what: run.failures.append(
        f"unraisable: {what.exc_value!r} in {what.object!r}"
    )
    files = _files()
    server = await loop.create_server(lambda: _Server(seed), "127.0.0.1", 0, backlog=512)
    base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    numbers = iter(range(replies))
    began = time.monotonic()
    async with AsyncLisn("t", base_url=base_url, timeout=TIMEOUT, max_retries=0) as client:

        async def work() -> None:
            for number in numbers:
                await run.meet(client, number)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    seconds = time.monotonic() - began
    server.close()
    for _ in range(100):  # until the server's side has seen the ends
        await asyncio.sleep(0.01)
        if _files() <= files:
            break
    gc.collect()
    if _files() > files:
        run.failures.append(f"{_files() - files} sockets leaked")
    from aiohttp import http_parser

    return {
        "parser": "C" if "_http_parser" in http_parser.HttpResponseParser.__module__ else "Python",
        "seed": seed,
        "replies": replies,
        "failures": run.failures,
        "kinds": dict(run.kinds.most_common()),
        "per_second": round(replies / seconds),
    }


async def _replay(seed: int, number: int) -> None:
    print(damaged(seed, number))
    print("http.client:", what_it_says(damaged(seed, number).reply, "GET"))
    server = await asyncio.get_running_loop().create_server(lambda: _Server(seed), "127.0.0.1", 0)
    run = Fuzz(seed)
    async with AsyncLisn(
        "t", base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=TIMEOUT, max_retries=0
    ) as client:
        await run.meet(client, number)
    server.close()
    print(run)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="show one reply")
    options = parser.parse_args()
    if options.only is not None:
        asyncio.run(_replay(options.seed, options.only))
    else:
        print(json.dumps(asyncio.run(fuzz(options.seed, options.replies))))


if __name__ == "__main__":
    main()
