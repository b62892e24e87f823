"""FastAPI: what its callers are told when Lisn fails.

uvicorn fastapi_errors:app --timeout-graceful-shutdown 0
"""

from fastapi.responses import JSONResponse
from fastapi_app import app
from lisn_answers import answer

from lisn_async import LisnError


@app.exception_handler(LisnError)
async def lisn_failed(request, error):
    return JSONResponse(*answer(error))
