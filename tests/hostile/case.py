"""One hostile reply as a value, and how it becomes bytes for the operation that meets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: $N\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
RIGHT = b'{"id":"$ID","name":"Right","temperature":0.5}'
ALL = "cgludp"
"""The operations by letter: create, get, list, update, delete, duplicate."""
IDS: Mapping[str, str] = {"c": "ast_made", "p": "ast_copy"}


def as_it_is(body: bytes) -> bytes:
    return body


@attrs.frozen(kw_only=True)
class Case:
    """A reply: `head`, `body` (packed by `pack`) and `tail`, sent together, and then the server does `then`.

    `$ID` stands for the id that the operation expects, `$N` and `$X` for the length of the packed body, decimal
    and hexadecimal, `$N+1` and `$N-1` for lies about it. `is_whole` bodies are not put into an array for `list`.

    `right` are the operations that must succeed, with `expect` over the usual values; `either` those that may.
    All others must end in a `LisnError`, with `outcome_unknown` as in `unknown` if something may have been
    changed; None: it depends on how far the call came.
    """

    name: str
    head: bytes = HEAD
    body: bytes = RIGHT
    is_whole: bool = False
    pack: Callable[[bytes], bytes] = as_it_is
    tail: bytes = b""
    then: Literal["keep", "fin", "rst", "hang", "drip", "repeat tail"] = "keep"
    operations: str = "cgld"
    right: str = ""
    either: str = ""
    expect: Mapping[str, Any] = attrs.field(factory=dict)
    unknown: bool | None = True
    is_heavy: bool = False
    is_early: bool = False

    def allows(self, operation: str) -> tuple[bool, bool]:
        """Whether an operation may succeed, and whether it may fail."""
        may_depend = operation in self.either or (self.then == "rst" and operation in self.right)
        return may_depend or operation in self.right, may_depend or operation not in self.right

    def reply(self, operation: str, follower: str) -> bytes:
        """The bytes for an operation, when `follower` is the id that the client will ask for next."""
        body = self.body.replace(b"$ID", id_for(operation).encode())
        if operation == "l" and not self.is_whole:
            body = b"[" + body + b"]"
        body = self.pack(body)
        head = self.head
        for mark, value in ((b"$N+1", len(body) + 1), (b"$N-1", len(body) - 1), (b"$N", len(body))):
            head = head.replace(mark, b"%d" % value)
        return head.replace(b"$X", b"%x" % len(body)) + body + self.end(follower)

    def end(self, follower: str) -> bytes:
        """What comes behind the body."""
        return self.tail.replace(b"$NEXT", follower.encode())


def id_for(operation: str) -> str:
    """The id in the right reply to an operation."""
    return IDS.get(operation, "ast_1")


def next_id(number: int, operation: str) -> str:
    """The id that is asked for after an operation has met a case: always of the same length, honestly answered."""
    return f"next_{number:04d}_{operation}"


def status(line: str, *headers: str) -> bytes:
    """A head with the right length and other words in it."""
    return "\r\n".join([f"HTTP/1.1 {line}", "Content-Length: $N", *headers, "\r\n"]).encode()


def chunk(body: bytes, size: int = 7, extension: bytes = b"") -> bytes:
    """A body in chunks, without the last, empty one."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)


def chunked(body: bytes) -> bytes:
    """A whole body in chunks."""
    return chunk(body) + b"0\r\n\r\n"
