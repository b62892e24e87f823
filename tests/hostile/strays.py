"""Replies that nobody asked for. `$NEXT` is the id that the same client asks for next."""

from __future__ import annotations

from tests.hostile.case import ALL, Case, next_id

_STRAY = b'{"id":"$NEXT","name":"STRAY"}'


def _stray(status: bytes = b"200 OK") -> bytes:
    length = len(_STRAY.replace(b"$NEXT", next_id(0, "c").encode()))
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, length) + _STRAY


CASES = (
    Case(name="another reply behind the right one", tail=_stray(), operations=ALL, right=ALL),
    Case(name="two more replies", tail=_stray() + _stray(), operations=ALL, right=ALL),
    Case(name="an empty reply behind it", tail=b"HTTP/1.1 204 No Content\r\n\r\n", operations=ALL, right=ALL),
    Case(name="a 404 behind it", tail=_stray(b"404 Not Found"), operations=ALL, right=ALL),
    Case(name="a 408 behind it, and FIN", tail=_stray(b"408 Timeout"), then="fin", operations=ALL, right=ALL),
    Case(name="a 100 behind it", tail=b"HTTP/1.1 100 Continue\r\n\r\n", operations=ALL, right=ALL),
    Case(
        name="a reply behind an error",
        head=b"HTTP/1.1 422 No\r\nContent-Length: $N\r\n\r\n",
        tail=_stray(),
        operations=ALL,
        unknown=False,
    ),
    Case(
        name="a reply behind a 204",
        head=b"HTTP/1.1 204 No Content\r\n\r\n",
        pack=lambda _: b"",
        tail=_stray(),
        operations=ALL,
        right="d",
    ),
    Case(
        name="a reply for another id",
        body=b'{"id":"ast_of_another_call","name":"STRAY"}',
        operations="gud",
        right="d",
    ),
    Case(
        name="the other's reply first, the right one behind it",
        head=b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n"
        b'{"id":"ast_0","name":"no"}HTTP/1.1 200 OK\r\nContent-Length: $N\r\n\r\n',
        operations="gud",
        right="d",
    ),
    Case(
        name="a reply on connecting",
        body=b'{"id":"ast_of_another_call","name":"STRAY"}',
        operations="gu",
        unknown=None,
        is_early=True,
    ),
    Case(
        name="garbage on connecting",
        head=b"220 ready\r\n",
        pack=lambda _: b"",
        operations="cgud",
        unknown=None,
        is_early=True,
    ),
)
