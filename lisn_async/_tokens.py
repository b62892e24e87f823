"""The API token: given once, or asked for of a function, and asked for anew when the service refuses it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import re
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ._async_functions import is_async
from ._headers import Lines
from ._secrets import Secret, hide, kind_of
from .errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

TokenSource: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
"""A function that returns the token, plain or asynchronous."""

LONGEST_ASKING = 60.0
"""Seconds after which a function that has not answered is asked anew."""
_OURS = {__file__, __file__.replace("_tokens", "_calls")}
_OR_A_FUNCTION = {"api_token": ", or a function that returns one"}
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Bearer:
    """A token as it travels. `is_trusted` while the service may be believed to know it."""

    def __init__(self, token: Secret, *, is_trusted: bool) -> None:
        self.token = token
        self.lines = Lines({"Authorization": Secret(f"Bearer {token}")})
        self.is_trusted = is_trusted


_asks: contextvars.ContextVar[tuple[object, ...]] = contextvars.ContextVar("_asks", default=())
"""The calls of such functions that the current code is part of. One that used its own client would wait for itself."""


class Tokens:
    """The token of a client, shared by its copies."""

    def __init__(self, given: Secret | TokenSource) -> None:
        self._source = None if isinstance(given, Secret) else given
        self._was_asked = False
        self._asks: set[object] = set()
        self.now = Bearer(given, is_trusted=True) if isinstance(given, Secret) else None
        """None while the function has to be asked."""

    async def get(self, asking: Asking) -> Bearer:
        """The token to be sent; `asking` sees to it that a loop asks once. Raises `ConfigurationError` if it is none.

        Whatever the function raises, it raises.
        """
        if self.now is not None:
            return self.now
        if not self._asks.isdisjoint(_asks.get()):
            raise ConfigurationError("the function api_token called the client that is asking it for a token")
        return await asking.answer_of(self._renew)

    def refused(self, bearer: Bearer) -> bool:
        """Note a 401. Whether the function may have a better token; then it is asked before the next request."""
        if self._source is None:
            return False
        if self.now is bearer:
            self.now = None
        return bearer.is_trusted

    async def _renew(self) -> Bearer:
        # The first may be an old one. Of those that came after a refusal each has to prove itself, else a
        # function that always has another one would make calls go round for ever.
        is_first = not self._was_asked
        token = checked_token(await self._ask(), "what the function api_token returned")
        self.now = Bearer(token, is_trusted=is_first)
        self._was_asked = True
        return self.now

    async def _ask(self) -> str:
        assert self._source is not None
        this = object()
        self._asks.add(this)
        _asks.set((*_asks.get(), this))
        try:
            if is_async(self._source):
                return await cast("Callable[[], Awaitable[str]]", self._source)()
            # It may read a file or ask a server: nothing else may stand still for it.
            said = await _in_a_thread(self._source)
            return await said if inspect.isawaitable(said) else cast("str", said)
        finally:
            self._asks.discard(this)


class Asking:
    """How an event loop asks: once for all calls that wait. It goes on without those that leave, for the next.

    Else a function that takes longer than the calls may would be asked again and again, and never heard.
    """

    def __init__(self) -> None:
        self._answer: asyncio.Future[Bearer] | None = None
        self._task: asyncio.Task[None] | None = None

    async def answer_of(self, ask: Callable[[], Awaitable[Bearer]]) -> Bearer:
        """What the one that is under way gives or raises; begins one if there is none."""
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(_settle(ask, self._answer), name="lisn-api-token")
            self._task.add_done_callback(self._end)
        return await asyncio.shield(self._answer)

    def stop(self) -> None:
        """Nobody needs the answer any more."""
        if self._task is not None:
            self._task.cancel()

    def _end(self, _: object) -> None:
        assert self._answer is not None
        self._answer.cancel()  # in case the task was, perhaps before its first step
        self._answer = self._task = None


async def _settle(ask: Callable[[], Awaitable[Bearer]], answer: asyncio.Future[Bearer]) -> None:
    try:
        async with asyncio.timeout(LONGEST_ASKING):
            answer.set_result(await ask())
    except asyncio.CancelledError:
        answer.cancel()
    except BaseException as error:  # noqa: BLE001 - it belongs to those who wait, and a loop would die of some
        answer.set_exception(error)
        answer.exception()  # they may all have left
    finally:
        del answer  # else an error keeps itself alive through this frame


async def _in_a_thread(function: Callable[[], Any]) -> Any:
    """What a function gives or raises.

    The thread is its own, and a daemon: a function that never returns takes none from a pool, in which names are
    looked up, and the program can end.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    has_ended = asyncio.Event()
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(context.run(function))
        except BaseException as error:  # noqa: BLE001
            outcome.extend((None, error))
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(has_ended.set)

    threading.Thread(target=run, name="lisn-api-token", daemon=True).start()
    await has_ended.wait()
    if len(outcome) == 2:
        raise outcome.pop()
    return outcome.pop()


def from_the_function(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback of an error of the function, without our frames before it: one of them holds the error, in a cycle."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename in _OURS:
        traceback = traceback.tb_next
    return traceback


def checked_token(token: object, source: str) -> Secret:
    """The token itself. Raises `ConfigurationError`, which shows none of it."""
    token = hide(token)  # a local of this frame, if this fails
    if not isinstance(token, str):
        kind = kind_of(token)
        del token  # bytes, say: it shows all the same
        raise ConfigurationError(f"{source} must be a string{_OR_A_FUNCTION.get(source, '')}, not {kind}")
    if not _TOKEN.fullmatch(token):
        if not token:
            what = "is empty"
        elif token.strip() != token:
            what = "begins or ends with white space (a newline from a file?)"
        elif not token.isascii():
            what = "holds a character outside ASCII"
        elif token.lower().startswith("bearer "):
            what = "begins with Bearer, which the client adds itself"
        else:
            what = "holds a space or a control character"
        raise ConfigurationError(f"{source} {what}; a token is made of visible ASCII characters only")
    return Secret(token)
