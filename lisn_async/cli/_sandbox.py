"""`lisn sandbox`: a Lisn on this machine, until it is stopped."""

import asyncio
import errno
import ipaddress
import json
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from lisn_async.cli import _output
from lisn_async.cli._run import Interrupted, run
from lisn_async.cli._stop import DONE, INTERRUPTED, UsageError
from lisn_async.cli.files.reading import unreadable

if TYPE_CHECKING:
    from lisn_async.sandbox import Fault, Sandbox

DATABASE_IN_MEMORY = ":memory:"
USUAL_PORT = 8765


def sandbox(
    *,
    host: Annotated[
        str, Parameter(help="Address to listen on; the default is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, Parameter(help="Port to listen on; 0 takes a free one. Default: 8765, or a free one.")
    ] = None,
    database: Annotated[
        str, Parameter(help="SQLite file that keeps the assistants; :memory: forgets them at the end.")
    ] = DATABASE_IN_MEMORY,
    token: Annotated[
        str, Parameter(help="The token it accepts. Invented for tests: give it no real one.")
    ] = "lisn-sandbox-token",
    faults: Annotated[
        str | None, Parameter(help='JSON list of what shall go wrong, such as ["cut", 503].', metavar="FILE")
    ] = None,
    seed: Annotated[int, Parameter(help="The same seed and the same calls give the same ids.")] = 0,
    json_: Annotated[
        bool, Parameter(name="--json", help="When ready, print base_url and token as one line of JSON.")
    ] = False,
) -> int:
    """Run a local server that behaves as the API's documentation says, until Ctrl-C or SIGTERM.

    Needs no account. SIGTERM is its regular end (exit status 0), Ctrl-C an interruption (130).
    """
    planned = _read_faults(faults) if faults else []
    if port is not None and not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535")
    settings = {"host": host, "database": database, "token": token, "seed": seed}
    try:
        run(_serve(settings, port, planned, as_json=json_))
    except Interrupted as end:
        _output.say("stopped")
        return DONE if end.signal == signal.SIGTERM else INTERRUPTED
    return DONE


def _read_faults(file: str) -> "list[Fault]":
    from lisn_async.sandbox import Fault

    try:
        return Fault.parse(Path(file).read_bytes())
    except OSError as error:
        raise UsageError(unreadable(file, error)) from None
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from None


async def _serve(settings: dict[str, Any], port: int | None, faults: "list[Fault]", *, as_json: bool) -> None:
    try:
        box = await _started(settings, port)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"the sandbox cannot start: {reason.rstrip('.')}") from None
    try:
        box.faults = faults
        if not _is_loopback(settings["host"]):
            _output.say(
                f"warning: {settings['host']} is not this machine alone: everyone on the network can reach this sandbox"
            )
        if as_json:
            # One line even on a terminal: a program that reads it waits for the end of a line.
            ready = {"base_url": box.base_url, "token": box.token, "database": settings["database"]}
            _output.print_json_text(json.dumps(ready))
        else:
            _introduce(box, settings["database"])
        await asyncio.Event().wait()
    finally:
        await box.stop()


async def _started(settings: dict[str, Any], port: int | None) -> "Sandbox":
    """A running sandbox. Without a wish, its port is the same each time, so that settings of a shell stay right."""
    from lisn_async.sandbox import Sandbox

    box = Sandbox(**settings, port=USUAL_PORT if port is None else port)
    try:
        await box.start()
    except OSError as error:
        if port is not None or error.errno != errno.EADDRINUSE:
            raise
        box = Sandbox(**settings, port=0)
        await box.start()
    return box


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there: it does, so the name can be resolved."""
    address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][4][0]
    return ipaddress.ip_address(str(address).partition("%")[0]).is_loopback


def _introduce(box: "Sandbox", database: str) -> None:
    kept = "in memory, gone at the end" if database == DATABASE_IN_MEMORY else f"kept in {database}"
    print(
        f"""\
Lisn sandbox

  base URL    {box.base_url}
  token       {box.token}
  assistants  {kept}

In another terminal:

  export LISN_BASE_URL={box.base_url} LISN_API_TOKEN={box.token}
  lisn assistants list
  curl "{box.base_url}/v1/assistants" -H "Authorization: Bearer {box.token}"

Ctrl-C stops it.""",
        flush=True,
    )
