"""The socket the sandbox listens on, bound here and not by asyncio."""

import os
import socket
from typing import Any, Self

import attrs

BACKLOG = 1024


@attrs.frozen
class Address:
    """Where a socket is bound, so that another one can take its place."""

    family: int
    name: Any

    @classmethod
    def of(cls, sock: socket.socket) -> Self:
        """The address of this socket."""
        return cls(sock.family, sock.getsockname())

    def bind(self) -> socket.socket:
        """A socket bound there, not listening yet: until it does, the port refuses connections."""
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            if (
                os.name == "posix"
            ):  # elsewhere this means "share the port", not "take it again after a restart"
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            sock.bind(self.name)
        except BaseException:
            sock.close()
            raise
        return sock


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, or an `OSError` that names the address."""
    # `localhost` with port 0 would get two sockets on two different ports from asyncio.
    if not 0 <= port <= 65535:  # getaddrinfo would take 65536 for 0
        raise OSError(f"Cannot listen on {host}:{port}: a port is a number from 0 to 65535.")
    sock = None
    try:
        family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = Address(family, name).bind()
        sock.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if sock is not None:
            sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        failure = OSError(f"Cannot listen on {host}:{port}: {reason}.")
        failure.errno = getattr(error, "errno", None)
        raise failure from error
    return sock


def url(sock: socket.socket) -> str:
    """The address of a listening socket as a client needs it."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
