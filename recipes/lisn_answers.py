"""What to tell your own callers when Lisn fails: JSON, status and headers, for any framework.

Of fields that break a rule of the documentation it says which and why. Nothing of it is Lisn's own words, which go to
the log. `Retry-After` stands where asking again does no harm.
"""

from http import HTTPStatus
from logging import ERROR, INFO, getLogger
from math import ceil

from lisn_async import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    ValidationError,
)

STATUS = {ValidationError: 422, BadRequestError: 422, UnprocessableEntityError: 422, NotFoundError: 404,
          ConflictError: 409, RateLimitError: 503, APIConnectionError: 503, APITimeoutError: 504, APIStatusError: 502,
          APIResponseError: 502, AuthenticationError: 500, PermissionDeniedError: 500}  # fmt: skip


def answer(error):
    unknown = getattr(error, "outcome_unknown", False)
    status = 500 if unknown else next((STATUS[one] for one in type(error).__mro__ if one in STATUS), 500)
    phrase = "This may have been done: look first." if unknown else HTTPStatus(status).phrase
    headers = {"Retry-After": str(ceil(getattr(error, "retry_after", None) or 1))} if status > 500 else {}
    getLogger("app").log(ERROR if status >= 500 else INFO, "answered with %d", status, exc_info=error)
    return {"detail": getattr(error, "fields", phrase)}, status, headers
