"""What FastAPI adds to `edges_app`, as people write it, between two of the decorators that make middleware."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from starlette.middleware.gzip import GZipMiddleware

from lisn_async.contrib.asgi import CancelOnDisconnect

from .edges_app import ROUTES, hang, released, say


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"made": "at startup"}
    say("lifespan ends")


CallNext = Callable[[Request], Awaitable[Response]]
app = FastAPI(routes=ROUTES, lifespan=lifespan)


@app.middleware("http")
async def inside(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


app.add_middleware(GZipMiddleware, minimum_size=100)
app.add_middleware(CancelOnDisconnect)


@app.middleware("http")
async def around(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


async def session() -> AsyncIterator[str]:
    try:
        yield "session"
    except asyncio.CancelledError:
        say("session is rolled back")
        raise
    finally:
        await asyncio.sleep(0.01)  # as closing a connection takes
        say("session is closed")


Session = Annotated[str, Depends(session)]


@app.get("/dependency")
async def dependency(session: Session) -> None:
    await hang("dependency")


@app.post("/background-after-body")
async def background_after_body(spec: dict[str, Any], session: Session, tasks: BackgroundTasks) -> Any:
    tasks.add_task(hang, "background")
    return spec


@app.get("/events")
async def events(request: Request) -> Response:
    async def told() -> AsyncIterator[str]:
        try:
            for number in range(1_000_000):
                if await request.is_disconnected():
                    break
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.001)
        finally:
            say("events end")

    return StreamingResponse(told(), media_type="text/event-stream")


@app.get("/group")
async def group() -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(2):
            tasks.create_task(hang(f"child {number}"))


@app.get("/shielded")
async def shielded() -> None:
    with anyio.CancelScope(shield=True):
        say("shielded begins")
        await released.wait()
        say("shielded goes on")
    await asyncio.sleep(0.01)
    say("not shielded goes on")


@app.get("/teapot")
async def teapot(request: Request) -> None:
    raise HTTPException(418, request.state.made, {"X-Pot": "short"})


@app.get("/large")
async def large() -> str:
    return "x" * 20_000_000
