"""One request from its first byte to the last of its reply: read, recorded, decided, answered or broken."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import attrs
from aiohttp import HttpVersion11, web

from lisn_async.sandbox import _wire_faults
from lisn_async.sandbox._app import App, refusal
from lisn_async.sandbox._control import ControlPlane
from lisn_async.sandbox._fault_queue import FaultQueue, Hit
from lisn_async.sandbox._faults import Fault
from lisn_async.sandbox._late import LateCommits
from lisn_async.sandbox._messages import Received, Reply, error
from lisn_async.sandbox._routes import Route, find
from lisn_async.sandbox._seen import SeenLog, SeenRequest

_MAX_CONTROL_BODY = 268_435_456  # a judge is given every item of a job


@attrs.define(kw_only=True)
class Exchanges:
    """Answers every request of one running sandbox."""

    app: App
    control: ControlPlane
    token: str
    seen: SeenLog
    faults: FaultQueue
    late: LateCommits
    max_body: int
    refuse: Callable[[float], None] = attrs.field(init=False)
    """Refuse connections for so many seconds: `Server.refuse`, which cannot exist before what it serves."""
    is_stopping: bool = False
    """Set before connections are broken off, so that nobody takes that for a client going away."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response to one request; never returns where a fault left nobody to respond to."""
        path, _, query = request.rel_url.raw_path_qs.partition("?")
        route = find(request.method, path)
        body = bytearray()
        try:
            problem = await _read(request, body, _MAX_CONTROL_BODY if route.is_control else self.max_body)
        except asyncio.CancelledError:
            if not route.is_control:
                self._record(request, path, query, route, body, aborted=not self.is_stopping)
            raise
        received = Received(
            method=request.method,
            path=path,
            authorization=request.headers.getall("Authorization", []),
            content_type=request.headers.get("Content-Type", ""),
            content_encoding=request.headers.get("Content-Encoding", ""),
            body=bytes(body),
            problem=problem,
        )
        if route.is_control:
            return to_response(self._decide(received, route))
        hit = self.faults.take(route.operation)
        seen = self._record(request, path, query, route, body, fault=hit.name)
        if hit.breakage is None:
            reply = self._decide(received, route, hit.modifiers)
        else:
            reply = await self._break(request, received, route, seen, hit, hit.breakage)
        self.seen.note(seen.sequence, status=reply.status)
        return to_response(reply, seen.request_id)

    def _record(
        self,
        request: web.BaseRequest,
        path: str,
        query: str,
        route: Route,
        body: bytearray,
        *,
        aborted: bool = False,
        fault: str | None = None,
    ) -> SeenRequest:
        sequence = self.seen.next_sequence()
        seen = SeenRequest(
            sequence=sequence,
            method=request.method,
            path=path,
            query=query,
            headers=request.headers,
            body=bytes(body),
            operation=route.operation,
            aborted=aborted,
            fault=fault,
            request_id=f"req_{sequence:06d}",
            received_at=time.time(),
        )
        self.seen.add(seen)
        return seen

    def _decide(self, received: Received, route: Route, modifiers: Sequence[Fault] = ()) -> Reply:
        if refused := refusal(received, route, self.token):
            return refused
        if route.operation is not None:
            return self.app.answer(route.operation, received, route.assistant_id, modifiers)
        assert route.control is not None  # or it would have been refused
        return self.control.answer(route.control, received)

    async def _break(
        self,
        request: web.BaseRequest,
        received: Received,
        route: Route,
        seen: SeenRequest,
        hit: Hit,
        fault: Fault,
    ) -> Reply:
        # Here lies the difference between "before", "after" and "late": whether and when these lines commit.
        true_reply = self._decide(received, route, hit.modifiers) if fault.when == "after" else None
        if fault.when == "late":
            delay = fault.delay or 0.0
            self.late.schedule(delay, lambda: self._decide(received, route, hit.modifiers))
        match fault.do:
            case "hang":
                await self._hang(seen)
            case "reset":
                _wire_faults.reset(_transport(request))
            case "refuse":
                self.refuse(fault.seconds or 0.0)
                _wire_faults.reset(_transport(request))
            case "close":
                _wire_faults.close(_transport(request))
            case "garbage":
                _wire_faults.garbage(_transport(request), fault)
            case "cut":
                half = _wire_faults.cut(_transport(request), fault, true_reply, seen.request_id)
                self.seen.note(seen.sequence, status=half.status)
            case "drip":
                await self._drip(request, fault, true_reply, seen)
            case _:
                return _wire_faults.instead(fault)
        return await _connection_lost()

    async def _drip(
        self, request: web.BaseRequest, fault: Fault, true_reply: Reply | None, seen: SeenRequest
    ) -> None:
        reply = _wire_faults.to_be_dripped(fault, true_reply)
        transport = _transport(request)
        with self._noticing_that_the_client_leaves(seen):
            await _wire_faults.drip(
                transport, fault, reply, seen.request_id, is_head=request.method == "HEAD"
            )
        self.seen.note(seen.sequence, status=reply.status)
        transport.close()

    async def _hang(self, seen: SeenRequest) -> NoReturn:
        with self._noticing_that_the_client_leaves(seen):
            await _connection_lost()

    @contextmanager
    def _noticing_that_the_client_leaves(self, seen: SeenRequest) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            if not self.is_stopping:
                self.seen.note(seen.sequence, aborted=True)
            raise


async def _connection_lost() -> NoReturn:
    """Wait for aiohttp to cancel this handler, which it does when the connection is gone."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("Nobody completes that future.")


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    if request.transport is None:
        raise asyncio.CancelledError  # the client was faster: there is nothing left to break
    return request.transport


async def _read(request: web.BaseRequest, body: bytearray, limit: int) -> Reply | None:
    """Fill `body`; the refusal if that fails."""
    if not request.can_read_body or request.method == "CONNECT":  # what follows a CONNECT is no body
        return None
    if (request.content_length or 0) > limit:
        return _too_large(limit)
    if (expected := request.headers.get("Expect")) and request.version >= HttpVersion11:
        if expected.lower() != "100-continue":
            return error(417, "expectation_failed", "Only `Expect: 100-continue` can be met.")
        # curl sends it before a body of 1 MiB and then waits a second for this line.
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > limit:
                del body[limit:]
                return _too_large(limit)
    except web.RequestPayloadError:
        return error(400, "bad_request", "The body does not keep to its framing.")
    return None


def _too_large(limit: int) -> Reply:
    return error(413, "too_large", f"The body is larger than {limit} bytes.")


def to_response(reply: Reply, request_id: str | None = None) -> web.Response:
    """The reply as aiohttp sends it, with the headers every reply has."""
    headers = {"X-Request-Id": request_id or f"req_{secrets.token_hex(6)}", **reply.headers}
    if reply.body and not any(name.lower() == "content-type" for name in reply.headers):
        headers["Content-Type"] = "application/json"
    return web.Response(status=reply.status, body=reply.body or None, headers=headers)
