"""Quart: one client for the life of the application. A caller who leaves cancels the view: Quart does that itself.

hypercorn quart_app:app --graceful-timeout 0
"""

from quart import Quart, request

from lisn_async import AsyncLisn

client = AsyncLisn()
app = Quart(__name__)


@app.while_serving
async def lisn():
    async with client:
        yield


@app.post("/assistants")
async def create():
    return {"id": (await client.assistants.create(await request.get_json())).id}
