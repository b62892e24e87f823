"""Litestar: one client for the life of the application; a caller who leaves takes its request to Lisn along.

uvicorn litestar_app:app --timeout-graceful-shutdown 0
"""

from litestar import Litestar, Request, post

from lisn_async import AsyncLisn
from lisn_async.contrib.asgi import CancelOnDisconnect

client = AsyncLisn()


@post("/assistants")
async def create(request: Request) -> dict[str, str]:
    return {"id": (await client.assistants.create(await request.json())).id}


app = Litestar([create], lifespan=[client], middleware=[CancelOnDisconnect])
