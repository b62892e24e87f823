"""A web backend on one `AsyncLisn`, as people write it with aiohttp.web, in a process of its own.

Its callers hang up now and then, and aiohttp.web then cancels the handler: the call that was under way is of unknown
fate, and so it is noted.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import attrs
from aiohttp import web

from benchmarks.soak.book import Book
from benchmarks.soak.child import told, wait_for
from benchmarks.soak.mix import spec
from benchmarks.soak.sampling import (
    EVERY,
    Sample,
    Samples,
    Watched,
    taken_slots,
)
from lisn_async import APIError, AsyncLisn, JournalError

TIMEOUT = 1.0
"""Seconds, for a sandbox that answers in milliseconds or never."""
SETTLE = 1.0
"""Seconds: longer than anything that comes late."""
QUIET = 20.0
"""Seconds until everything has to be over: far more than a timeout with its re-sends, and than idle connections live."""

CLIENT = web.AppKey("client", AsyncLisn)
BOOK = web.AppKey("book", Book)
FOLDER = web.AppKey("folder", Path)
routes = web.RouteTableDef()


@routes.get("/assistants")
async def list_all(request: web.Request) -> web.Response:
    client, book = request.app[CLIENT], request.app[BOOK]
    with book.noting("list"):
        certain = book.certain()
        listed = await client.assistants.list()
        book.saw_all(certain, listed)
    return web.json_response({"count": len(listed)})


@routes.post("/assistants")
async def create(request: web.Request) -> web.Response:
    client, book = request.app[CLIENT], request.app[BOOK]
    name = (await request.json())["name"]
    with book.noting("create", name=name) as note:
        made = await client.assistants.create(spec(name))
        book.made(note, made)
    return web.json_response({"id": made.id}, status=201)


@routes.get("/assistants/{id}")
async def get(request: web.Request) -> web.Response:
    client, book, id = request.app[CLIENT], request.app[BOOK], request.match_info["id"]
    with book.noting("get", id=id) as note:
        found = await client.assistants.get(id)
        book.saw(note, found)
    return web.json_response({"id": found.id})


@routes.patch("/assistants/{id}")
async def update(request: web.Request) -> web.Response:
    client, book, id = request.app[CLIENT], request.app[BOOK], request.match_info["id"]
    value = (await request.json())["value"]
    with book.noting("update", id=id, value=value) as note:
        reply = await client.assistants.with_raw_response.update(id, description=value)
        note.attempts = reply.attempts
        book.saw(note, reply.parse())
    return web.json_response({"id": id})


@routes.delete("/assistants/{id}")
async def delete(request: web.Request) -> web.Response:
    client, book, id = request.app[CLIENT], request.app[BOOK], request.match_info["id"]
    with book.noting("delete", id=id):
        await client.assistants.delete(id)
    return web.json_response({"id": id})


@routes.post("/assistants/{id}/duplicate")
async def duplicate(request: web.Request) -> web.Response:
    client, book, id = request.app[CLIENT], request.app[BOOK], request.match_info["id"]
    with book.noting("duplicate", id=id) as note:
        copy = await client.assistants.duplicate(id)
        book.made(note, copy)
    return web.json_response({"id": copy.id}, status=201)


@routes.post("/imports/{key}")
async def create_many(request: web.Request) -> web.Response:
    """The same key and names again go on where the last run was cut off."""
    client, book = request.app[CLIENT], request.app[BOOK]
    names = (await request.json())["names"]
    journal = request.app[FOLDER] / f"{request.match_info['key']}.journal"
    try:
        result = await client.assistants.create_many(map(spec, names), journal=journal, settle=SETTLE)
    except BaseException:
        book.imported(names, None)
        raise
    made = book.imported(names, result)
    journal.unlink()
    return web.json_response({"ids": made}, status=201)


@routes.post("/sweep")
async def sweep(request: web.Request) -> web.Response:
    """Look for what calls of unknown fate have left, and delete it."""
    client, book = request.app[CLIENT], request.app[BOOK]
    useless = book.to_sweep(await client.assistants.list())
    for id in useless:
        with contextlib.suppress(APIError), book.noting("delete", id=id):
            await client.assistants.delete(id)
    return web.json_response({"swept": len(useless)})


@web.middleware
async def tell_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What our callers are told of an error: whether the call may have had an effect."""
    try:
        return await handler(request)
    except APIError as error:
        return web.json_response({"unknown": error.outcome_unknown}, status=502)
    except JournalError:  # the run before this one, whose caller hung up, is still busy ending
        return web.json_response({}, status=409)


def application(client: AsyncLisn, book: Book, folder: Path) -> web.Application:
    """The application, with a client for its whole life."""

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with client:
            yield

    app = web.Application(middlewares=[tell_errors])
    app[CLIENT], app[BOOK], app[FOLDER] = client, book, folder
    app.cleanup_ctx.append(connected)
    app.add_routes(routes)
    return app


def sample() -> Sample:
    return Sample.now(len(asyncio.all_tasks()))


async def quiet(before: Sample) -> Sample:
    """This process when nothing is under way: as it was before, or as it is when time is up."""
    for _ in range(int(QUIET / 0.1)):
        await asyncio.sleep(0.1)
        if sample().is_back_at(before):
            break
    return sample()


async def main(base_url: str, token: str, folder: Path) -> None:
    """Serve until told to stop; then tell what was sampled and counted."""
    client = AsyncLisn(token, base_url=base_url, timeout=TIMEOUT)
    with (folder / "backend.jsonl").open("w", buffering=1) as file:
        book = Book(file)
        runner = web.AppRunner(
            application(client, book, folder), handler_cancellation=True, shutdown_timeout=1.0
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        before = sample()
        told({"url": "http://{}:{}".format(*runner.addresses[0])})
        during = Samples()
        stopping = asyncio.create_task(wait_for("stop"))
        while not stopping.done():
            during.append(sample())
            await asyncio.wait([stopping], timeout=EVERY)
        after, slots = await quiet(before), taken_slots(client)
        await runner.cleanup()
    told({"watched": attrs.asdict(Watched.of_this(before, during, after, slots)), **book.in_short()})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
