"""FastAPI: one client for the life of the application; a caller who leaves takes its request to Lisn along.

uvicorn fastapi_app:app --timeout-graceful-shutdown 0
"""

from contextlib import asynccontextmanager

from fastapi import FastAPI

from lisn_async import AsyncLisn
from lisn_async.contrib.asgi import CancelOnDisconnect

client = AsyncLisn()


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with client:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(CancelOnDisconnect)


@app.post("/assistants")
async def create(spec: dict):
    return {"id": (await client.assistants.create(spec)).id}
