"""For the scripts `_peer_<name>.py`, which run in the environment of the peers: standard library only.

Each script says how its library makes one thing at a base URL. Here it is done once at every port, all at the same
time, and nothing but loopback can be reached.
"""

from __future__ import annotations

import importlib.metadata
import json
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def stay_at_home() -> None:
    """Whatever a library wants to tell the world, it cannot."""
    look_up = socket.getaddrinfo

    def only_here(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
        def connect_here(self: socket.socket, address: Any) -> Any:
            if address[0] != "127.0.0.1":
                raise PermissionError(f"only loopback, not {address[0]}")
            return connect(self, address)

        return connect_here

    def look_up_here(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "127.0.0.1":
            raise PermissionError(f"only loopback, not {host}")
        return look_up(host, *rest, **options)

    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, only_here(getattr(socket.socket, name)))
    socket.getaddrinfo = look_up_here


def main(package: str, create: Callable[[str, float], Any]) -> None:
    """Create once at each port of `sys.argv[1]`, `{mode: [port, timeout]}`; print what the library said of it."""
    stay_at_home()
    ports: dict[str, tuple[int, float]] = json.loads(sys.argv[1])
    with ThreadPoolExecutor(len(ports)) as threads:
        ends = {
            mode: threads.submit(_end_of, create, f"http://127.0.0.1:{port}", timeout)
            for mode, (port, timeout) in ports.items()
        }
    said = {mode: end.result() for mode, end in ends.items()}
    print(json.dumps({"version": importlib.metadata.version(package), "said": said}))


def _end_of(create: Callable[[str, float], Any], url: str, timeout: float) -> str:
    try:
        create(url, timeout)
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return "success"
