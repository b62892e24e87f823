"""Breaking a connection for real, on the transport itself: what a client sees is what TCP does."""

import asyncio
import os
import socket
import struct

from lisn_async.sandbox._faults import Fault
from lisn_async.sandbox._messages import Reply, error

_FILLER = b'{"id":"ast_000000000000","name":"half of this never arrives"}'


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
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id, **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Cut", *(f"{name}: {text}" for name, text in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(reply.body)}", "", ""])
    transport.write(head.encode() + reply.body[: len(reply.body) // 2])
    transport.close()
    return reply


def instead(fault: Fault) -> Reply:
    """The reply that a `status` fault gives in the place of the true one."""
    assert fault.status is not None  # `Fault` sees to that
    headers = dict(fault.headers)
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    if fault.body is not None:
        return Reply(status=fault.status, body=fault.body, headers=headers)
    return error(fault.status, "fault", f"The sandbox was told to answer {fault.status}.", headers=headers)


def _to_be_cut(fault: Fault, true_reply: Reply | None) -> Reply:
    if fault.status is not None:
        return instead(fault)
    reply = true_reply or Reply(status=200)
    # Half of nothing is nothing: a reply without a body (204) gets one, or there would be no cut.
    body = fault.body or reply.body or _FILLER
    status = 200 if reply.status == 204 else reply.status
    return Reply(status=status, body=body, headers={**reply.headers, **fault.headers})
