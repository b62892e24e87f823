"""For ASGI applications: whatever is done for a caller ends when the caller hangs up.

Starlette, FastAPI and Litestar go on with a handler whose caller has left, and so does what it asked of Lisn: it
holds a connection and a slot of the client until it is answered, for nobody. Quart and Django stop by themselves.

    app.add_middleware(CancelOnDisconnect)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

# Starlette, Litestar and Django each have types of their own for these, of which no two fit one another.
Scope: TypeAlias = Any
Message: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Any, Any], Awaitable[None]]

_LAST = ("http.response.body", "http.response.pathsend")


class CancelOnDisconnect:
    """The same application, whose request is cancelled when its caller hangs up before the response is complete.

    The application sees an `asyncio.CancelledError`, as with a time limit around it, and runs in the task that the
    server gave it, so context variables are kept. It is never cancelled once the last piece of the response was given
    to the server: background tasks run to their end. So does a function that the framework runs in a thread, which
    nothing can cancel. WebSockets and the lifespan pass through.

    That the caller has gone is known only behind the request's body, of which one message is read ahead and no more.
    So an application is not cancelled while it leaves a body unread that came in several, or that the caller announced
    with `Expect: 100-continue`. A caller that closes its sending half and still reads has gone as well, to a server that
    says so, as Hypercorn does.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Exchange(receive, send, waits_to_be_asked=_expects_continue(scope)).run(self.app, scope)


class _Exchange:
    """One request and its response. Two rules keep its state:

    1. Only the watcher asks the server for messages; the application gets them from `_ahead`, which holds one.
    2. It is cancelled at most once, not while the beginning of its response is passed on, and not after the last piece.
    """

    def __init__(self, receive: Receive, send: Send, *, waits_to_be_asked: bool) -> None:
        self._receive = receive
        self._send = send
        self._ahead: Message | None = None
        self._end: Message | Exception | None = None
        """What every further `receive` gives: the disconnect, or what the server raised instead."""
        self._arrived = asyncio.Event()
        self._may_read = asyncio.Event()
        if not waits_to_be_asked:
            self._may_read.set()
        self._is_beginning = False
        self._has_begun = False
        self._is_answered = False
        self._is_due = False
        self._has_cancelled = False

    async def run(self, app: App, scope: Scope) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        cancelled_before = task.cancelling()
        only_by_us = False
        watcher = asyncio.create_task(self._watch(), name="lisn-cancel-on-disconnect")
        try:
            try:
                await app(scope, self._give, self._pass_on)
            finally:
                self._is_due = False  # what the application left behind may still be passing something on
                # However the application took it, the cancellation was ours and must not stay with the task.
                only_by_us = self._has_cancelled and task.uncancel() <= cancelled_before
        except asyncio.CancelledError:
            if not only_by_us:
                raise  # the server is shutting down, say
            await self._end_without_an_answer()
        finally:
            # A task that the application left behind may still listen: to it the exchange is over, as to the server.
            self._end = self._end or {"type": "http.disconnect"}
            self._arrived.set()
            watcher.cancel()
            await asyncio.wait([watcher])

    async def _watch(self) -> None:
        while self._end is None:
            await self._may_read.wait()
            try:
                message = await self._receive()
            except Exception as error:  # noqa: BLE001 -- it belongs to the application, when it asks
                self._end = error
            else:
                self._keep(message)
            self._arrived.set()

    def _keep(self, message: Message) -> None:
        if message["type"] != "http.disconnect":
            self._ahead = message
            if message.get("more_body"):
                self._may_read.clear()  # behind the last piece only the disconnect can come, which takes no room
            return
        self._end = message
        self._is_due = not self._is_answered
        if not self._is_beginning:
            self._cancel_if_due()

    def _cancel_if_due(self) -> None:
        if self._is_due:
            self._is_due = False
            self._has_cancelled = True
            self._task.cancel("the caller has hung up")

    async def _give(self) -> Message:
        while self._ahead is None and self._end is None:
            self._may_read.set()
            self._arrived.clear()
            await self._arrived.wait()
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            self._may_read.set()
            return message
        if isinstance(self._end, Exception):
            raise self._end
        assert self._end is not None
        return self._end

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        # Before it is sent: the caller may have it all, and be gone, before `send` has returned.
        self._is_answered = self._is_answered or (message["type"] in _LAST and not message.get("more_body"))
        await self._send(message)

    async def _begin(self, start: Message) -> None:
        """Pass it on whole: cut off in the middle, it may or may not have arrived, and so what is to come after it."""
        self._is_beginning = True
        try:
            await self._send(start)
            self._has_begun = True
        finally:
            self._is_beginning = False
            self._cancel_if_due()

    async def _end_without_an_answer(self) -> None:
        """What is around the application may insist on a response, as `@app.middleware` does, or log it.

        The server has nobody to send it to. nginx has the number 499 for that.
        """
        if self._has_begun:
            return
        with contextlib.suppress(OSError):  # what a server may raise where the connection is gone
            await self._send({"type": "http.response.start", "status": 499, "headers": []})
            await self._send({"type": "http.response.body", "body": b""})


def _expects_continue(scope: Scope) -> bool:
    """Whether the server will ask the caller for the body when the application asks for it, and not before."""
    return any(name == b"expect" for name, _ in scope["headers"])
