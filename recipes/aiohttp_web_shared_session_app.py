"""aiohttp.web whose own `ClientSession` serves Lisn too: one pool of connections, and one place for its settings.

python aiohttp_web_shared_session_app.py
"""

import os

from aiohttp import ClientSession, web

from lisn_async import AsyncLisn

SESSION, LISN = web.AppKey("session", ClientSession), web.AppKey("lisn", AsyncLisn)


async def clients(app: web.Application):
    async with ClientSession() as app[SESSION]:
        app[LISN] = AsyncLisn(
            session=app[SESSION]
        )  # borrowed: it is never told the token, and not closed by us
        yield


async def create(request: web.Request) -> web.Response:
    made = await request.app[LISN].assistants.create(await request.json())
    return web.json_response({"id": made.id})


app = web.Application()
app.cleanup_ctx.append(clients)
app.router.add_post("/assistants", create)

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, handler_cancellation=True, shutdown_timeout=0.2)
