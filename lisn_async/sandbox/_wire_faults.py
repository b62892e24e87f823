"""Breaking a connection for real, on the transport itself: what a client sees is what TCP does."""

import asyncio
import os
import socket
import struct
from http import HTTPStatus

from lisn_async.sandbox._bomb import bomb
from lisn_async.sandbox._faults import Fault
from lisn_async.sandbox._messages import Reply, error

_FILLER = b'{"id":"ast_000000000000","name":"nothing of this was stored"}'
_GARBAGE = b"\x00\x16\x03\x01 This is no HTTP. \xff\xfe\r\n\r\n"
_PAGE = b"<!doctype html>\n<title>Maintenance</title>\n<h1>We will be back soon</h1>\n"
_BODYLESS = (204, 304)


def reset(transport: asyncio.Transport) -> None:
    """End the connection with RST."""
    sock: socket.socket = transport.get_extra_info("socket")
    # Lingering for 0 s is the documented way to make close() send RST instead of FIN.
    on_for_0_seconds = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on_for_0_seconds)
    transport.abort()


def close(transport: asyncio.Transport) -> None:
    """End the connection with FIN, without a word."""
    transport.close()


def cut(transport: asyncio.Transport, fault: Fault, true_reply: Reply | None, request_id: str) -> Reply:
    """Send the head and half of the body, then FIN; the whole reply is returned."""
    reply = _to_be_cut(fault, true_reply)
    transport.write(_head(reply, request_id) + reply.body[: len(reply.body) // 2])
    transport.close()
    return reply


def garbage(transport: asyncio.Transport, fault: Fault) -> None:
    """Send what is no HTTP, then FIN."""
    transport.write(_GARBAGE if fault.body is None else fault.body)
    transport.close()


async def drip(
    transport: asyncio.Transport, fault: Fault, reply: Reply, request_id: str, *, is_head: bool
) -> None:
    """Send the reply in small pieces, the last one after `fault.seconds`."""
    closing = Reply(
        status=reply.status,
        body=reply.body,
        headers={**reply.headers, **fault.headers, "Connection": "close"},
    )
    text = _head(closing, request_id) + (b"" if is_head else reply.body)
    seconds = fault.seconds or 0.0
    size = -(-len(text) // max(10, round(seconds * 20)))
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    transport.write(pieces[0])
    for piece in pieces[1:]:
        await asyncio.sleep(seconds / (len(pieces) - 1))
        transport.write(piece)


def to_be_dripped(fault: Fault, true_reply: Reply | None) -> Reply:
    """The reply that comes in pieces: the true one, unless there is none or the fault has its own."""
    if fault.status is not None:
        return instead(fault)
    reply = true_reply or Reply(status=200, body=_FILLER)
    return reply if fault.body is None else Reply(status=reply.status, body=fault.body, headers=reply.headers)


def instead(fault: Fault) -> Reply:
    """The reply that `status`, `html` and `bomb` give in the place of the true one."""
    headers = dict(fault.headers)
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    status = fault.status or 200
    match fault.do:
        case "html":
            headers = {"Content-Type": "text/html; charset=utf-8", **headers}
            return Reply(status=status, body=_PAGE if fault.body is None else fault.body, headers=headers)
        case "bomb":
            return Reply(status=status, body=bomb(), headers={"Content-Encoding": "gzip", **headers})
    if fault.body is not None:
        return Reply(status=status, body=fault.body, headers=headers)
    return error(status, "fault", f"The sandbox was told to answer {status}.", headers=headers)


def _to_be_cut(fault: Fault, true_reply: Reply | None) -> Reply:
    if fault.status is not None:
        return instead(fault)
    reply = true_reply or Reply(status=200)
    # Half of nothing is nothing: a reply without a body (204) gets one, or there would be no cut.
    body = fault.body or reply.body or _FILLER
    status = 200 if reply.status == 204 else reply.status
    return Reply(status=status, body=body, headers={**reply.headers, **fault.headers})


def _head(reply: Reply, request_id: str) -> bytes:
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id, **reply.headers}
    if reply.status not in _BODYLESS:
        headers["Content-Length"] = str(len(reply.body))
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Fault"
