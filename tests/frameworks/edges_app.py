"""An application for the edges of `CancelOnDisconnect`; it prints what became of each request.

Beside `/hold` and `/release`, which lets things go on, each path is one way in which an application can be when its caller leaves.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import threading
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from lisn_async.contrib.asgi import App, CancelOnDisconnect, Receive, Scope, Send

tag: contextvars.ContextVar[str] = contextvars.ContextVar("tag", default="none")
released = asyncio.Event()
released_thread = threading.Event()


def say(what: str) -> None:
    print(f"{what}.", flush=True)


async def hang(what: str) -> None:
    say(f"{what} begins, tag {tag.get()}")
    try:
        await released.wait()
        say(f"{what} goes on")
    except asyncio.CancelledError:
        say(f"{what} is cancelled, tag {tag.get()}")
        raise


async def hanging(request: Request) -> Response:
    await hang("hanging")
    return JSONResponse("answered")


async def upload(request: Request) -> Response:
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
        say(f"has {size}") if size == 65536 else None
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


async def refusing(request: Request) -> Response:
    return Response(status_code=413)


async def still_there(request: Request) -> Response:
    """Asks between reading and answering, as an endpoint does that polls."""
    body = await request.body()
    return JSONResponse([await request.is_disconnected(), body.decode()])


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        try:
            await hang("stream")
        finally:
            say("stream is cleaned up")
        yield b"last"

    return StreamingResponse(pieces())


async def background(request: Request) -> Response:
    return JSONResponse("answered", background=BackgroundTask(hang, "background"))


async def failing(request: Request) -> Response:
    raise LookupError("of the application itself")


def blocking(request: Request) -> Response:
    """A plain function: the framework runs it in a thread, which nothing can cancel."""
    say("thread begins")
    released_thread.wait()
    say("thread ends")
    return JSONResponse("answered")


async def limited(request: Request) -> Response:
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        task = asyncio.current_task()
        assert task is not None
        return JSONResponse({"cancelling": task.cancelling()})
    raise AssertionError("the limit is over")


async def hold(request: Request) -> Response:
    released.clear()
    released_thread.clear()
    return JSONResponse("held")


async def release(request: Request) -> Response:
    released.set()
    released_thread.set()
    return JSONResponse("released")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


async def pass_through(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


class Tagging:
    """Outermost: sets a context variable in the task that the server gave to the application."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tag.set("of the caller")
        await self.app(scope, receive, send)


ROUTES = [
    Route("/hanging", hanging, methods=["GET", "POST"]),
    Route("/upload", upload, methods=["POST"]),
    Route("/refusing", refusing, methods=["POST"]),
    Route("/still-there", still_there, methods=["POST"]),
    Route("/stream", stream),
    Route("/background", background),
    Route("/failing", failing),
    Route("/blocking", blocking),
    Route("/limited", limited),
    Route("/hold", hold),
    Route("/release", release),
    WebSocketRoute("/echo", echo),
]
OURS = [Middleware(Tagging), Middleware(CancelOnDisconnect)]
app = Starlette(routes=ROUTES, middleware=OURS)
DECORATOR = Middleware(BaseHTTPMiddleware, dispatch=pass_through)
among_decorators = Starlette(routes=ROUTES, middleware=[DECORATOR, *OURS, DECORATOR])
"""Between middlewares of the kind that `@app.middleware("http")` makes: they run what is inside in a task of its own."""
