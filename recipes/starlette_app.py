"""Starlette: one client for the life of the application; a caller who leaves takes its request to Lisn along.

uvicorn starlette_app:app --timeout-graceful-shutdown 0
"""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from lisn_async import AsyncLisn
from lisn_async.contrib.asgi import CancelOnDisconnect

client = AsyncLisn()


@asynccontextmanager
async def lifespan(app):
    async with client:
        yield


async def create(request):
    return JSONResponse({"id": (await client.assistants.create(await request.json())).id})


routes = [Route("/assistants", create, methods=["POST"])]
app = Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(CancelOnDisconnect)])
