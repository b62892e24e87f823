"""aiohttp.web: one client for the life of the application; a caller who leaves takes its request to Lisn along.

python aiohttp_web_app.py
"""

import os

from aiohttp import web

from lisn_async import AsyncLisn

LISN = web.AppKey("lisn", AsyncLisn)


async def lisn(app: web.Application):
    async with AsyncLisn() as app[LISN]:
        yield


async def create(request: web.Request) -> web.Response:
    made = await request.app[LISN].assistants.create(await request.json())
    return web.json_response({"id": made.id})


app = web.Application()
app.cleanup_ctx.append(lisn)
app.router.add_post("/assistants", create)

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, handler_cancellation=True, shutdown_timeout=0.2)
