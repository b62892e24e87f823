"""The requests of a bulk run while a middleware has them: what the service said counts, whatever becomes of it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from . import errors
from ._limits import is_being_cancelled
from ._log import logger
from ._middleware import answered, failed, passed_on
from ._tried import Tried, error_of, given_up, refused, succeeded

if TYPE_CHECKING:
    from ._middleware import APIRequest, CallNext
    from ._request import Request
    from ._response import RawResponse

T = TypeVar("T")

Step: TypeAlias = Callable[[], Awaitable[None]]


class _Send(Protocol[T]):
    async def __call__(self, headers: Mapping[str, str], /, *, about_to_send: Step) -> Tried[T]: ...


class Passage(Generic[T]):
    """What the innermost end of a chain of middleware does, and remembers, whatever becomes of it further out."""

    def __init__(self, send: _Send[T], about_to_send: Step | None) -> None:
        self._send = send
        self._about_to_send = about_to_send
        self._tried: Tried[T] | None = None
        self._is_out = False  # its first byte may have left
        self._ended: Exception | None = None  # as when the client was closed: then all of the run ends
        self._is_left = False

    async def carry_out(self, shown: APIRequest) -> RawResponse[T]:
        """Send it. Raises the error it came to."""
        headers = passed_on(shown)
        try:
            self._tried = await self._send(headers, about_to_send=self._go_out)
        except Exception as error:
            self._ended = error
            raise
        if self._tried.response is None:
            assert self._tried.error is not None
            failed(shown, self._tried.error)
            raise self._tried.error from self._tried.cause
        answered(shown, self._tried.response)
        return self._tried.response

    async def go_through(self, middleware: CallNext, shown: APIRequest, request: Request[T]) -> Tried[T]:
        """What became of it. Raises only what ends all of the run.

        What the service said counts, whatever a middleware makes of it. Where one refused the request, that is the
        outcome; where one gave it up under way, it is lost.
        """
        response: RawResponse[T] | None = None
        failure: BaseException | None = None
        try:
            response = await middleware(shown)
        except (Exception, asyncio.CancelledError) as error:  # a middleware raises what it likes
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            failure = error
        finally:
            self._is_left = True  # from now on nothing is sent
        try:
            return self._outcome(request, shown, response, failure)
        finally:
            del failure  # else an error keeps itself alive through this frame

    def _outcome(
        self,
        request: Request[T],
        shown: APIRequest,
        response: RawResponse[T] | None,
        failure: BaseException | None,
    ) -> Tried[T]:
        """`response` or `failure` is what the middleware say."""
        if self._ended is not None:
            raise self._ended
        tried = self._tried
        if tried is not None:
            if failure is not None and failure is not tried.error:
                logger.warning("%s: a middleware failed after it was sent: %r", request.operation, failure)
            if tried.error is not None:
                tried.error.__traceback__ = None  # its frames hold it
            return tried
        if self._is_out:
            return given_up(request, shown.url, shown.attempt, failure)
        if response is None:
            assert failure is not None
            return refused(request, shown.url, shown.attempt, failure)
        return Tried(attempt=succeeded(request.method, response.status_code), response=response)

    async def _go_out(self) -> None:
        if self._about_to_send is not None:
            await self._about_to_send()
        if self._is_left:  # a middleware has this done in a task of its own: it was told as not sent
            raise asyncio.CancelledError
        self._is_out = True


class Question(Generic[T]):
    """A question to the service that nobody else may answer: a middleware that keeps replies, or has one of its own
    when the service fails, would let a run believe that an assistant is not there, and create it again.
    """

    def __init__(self, call: Callable[[APIRequest], Awaitable[RawResponse[T]]]) -> None:
        self._call = call
        self._answers: list[T] = []
        self._error: errors.APIError | None = None

    async def carry_out(self, shown: APIRequest) -> RawResponse[T]:
        """Ask it."""
        try:
            response = await self._call(shown)
        except errors.APIError as error:
            self._error = error
            raise
        self._answers.append(copy.copy(response.parse()))  # a list may be changed where it is
        return response

    async def go_through(self, middleware: CallNext, shown: APIRequest, request: Request[T]) -> T:
        """What the service said. Raises `APIError`, also if it was not asked, and what else a middleware raises."""
        cause: errors.APIError | None = None
        why = "a middleware answered it, and the service was not asked"
        try:
            await middleware(shown)
        except errors.APIError as error:
            cause, why = error, f"a middleware refused it: {error!r}"
        try:
            if self._error is not None:
                raise self._error
            if not self._answers:
                url = shown.url
                raise error_of(errors.APIConnectionError, request, url, why, 1, unknown=False) from cause
            return self._answers.pop()
        finally:
            self._error = None
            del cause  # else an error keeps itself alive through this frame
