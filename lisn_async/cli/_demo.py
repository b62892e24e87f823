"""`lisn demo`: every call of the SDK, on a server of its own or on the real service, each result verified."""

import contextlib
import secrets
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from lisn_async.cli import _demo_steps as steps
from lisn_async.cli import _output
from lisn_async.cli._client import USUAL, Connection, explain
from lisn_async.cli._columns import item_of, parse_columns
from lisn_async.cli._demo_stage import Stage
from lisn_async.cli._run import Interrupted, run
from lisn_async.cli._stop import DONE, INTERRUPTED, SOME_FAILED, UsageError
from lisn_async.cli.files import read_rows

if TYPE_CHECKING:
    from lisn_async import AssistantCreate, AsyncLisn


def demo(
    *,
    live: Annotated[
        bool, Parameter(help="Use the real service ($LISN_API_TOKEN) and delete everything again.")
    ] = False,
    json: Annotated[bool, Parameter(name="--json", help="Print what was done as JSON on stdout.")] = False,
    connection: Connection = USUAL,
) -> int:
    """Create a few dozen assistants concurrently, then get, update, duplicate, delete and list.

    Needs no account: it starts a server on this machine and talks to it over real HTTP. The exit status is 0 only
    if every result was what it should be. With --live, whatever the demo created is deleted at the end, also when
    it fails or is interrupted.
    """
    if connection.base_url is not None and not live:
        raise UsageError("the demo has a server of its own: say --live to use the one of --base-url")
    stage = Stage(quiet=json)
    # In a real account, names say where they come from, and the mark is how leftovers are found again.
    mark = f"[lisn demo {secrets.token_hex(4)}] " if live else ""
    made = steps.Made(mark=mark)
    status = _play(stage, made, connection, live)
    if made.began and live and not _clean_up(stage, made, connection) and status == DONE:
        status = SOME_FAILED
    if json:
        _output.print_json({"ok": status == DONE, "live": live, "steps": stage.log})
    elif status == DONE:
        stage.end(resources.files(__package__).joinpath("demo/ten_lines.txt").read_text("utf-8"), live=live)
    return status


def _play(stage: Stage, made: steps.Made, connection: Connection, live: bool) -> int:
    from lisn_async import LisnError

    specs = demo_specs(made.mark)
    if live:
        client = connection.open()  # without a token this ends here, with its own message and status
        place = f"the real service, names begin with {made.mark.strip()}"
    try:
        if live:
            stage.begin(place)
            run(_perform(client, stage, made, specs, alone=False))
        else:
            run(_on_sandbox(stage, made, specs, connection))
    except steps.StepFailed as failure:
        stage.failed(failure.step, str(failure))
        return SOME_FAILED
    except LisnError as error:
        stage.failed(made.step, explain(error))
        return SOME_FAILED
    except Interrupted:
        stage.failed(made.step, "interrupted")
        return INTERRUPTED
    return DONE


async def _on_sandbox(
    stage: Stage, made: steps.Made, specs: "list[AssistantCreate]", connection: Connection
) -> None:
    from lisn_async import AsyncLisn
    from lisn_async.sandbox import Sandbox

    async with Sandbox() as box:
        stage.begin(f"a sandbox of its own, real HTTP on {box.base_url}")
        client = AsyncLisn(
            box.token,
            base_url=box.base_url,
            timeout=connection.timeout,
            max_retries=connection.max_retries,
        )
        await _perform(client, stage, made, specs, alone=True)


async def _perform(
    client: "AsyncLisn", stage: Stage, made: steps.Made, specs: "list[AssistantCreate]", *, alone: bool
) -> None:
    async with client:
        await steps.perform(client, stage, made, specs, alone=alone)


def demo_specs(mark: str = "") -> "list[AssistantCreate]":
    """The assistants that ship with the package, their names behind a mark."""
    from lisn_async import AssistantCreate

    plain = parse_columns([], [])
    with resources.as_file(resources.files(__package__).joinpath("demo/assistants.yaml")) as path:
        rows = [dict(item_of(row.values, plain).values) for row in read_rows(str(path), "yaml")]
    made: list[Any] = [AssistantCreate(**{**row, "name": f"{mark}{row['name']}"}) for row in rows]  # type: ignore[arg-type]
    return made


def _clean_up(stage: Stage, made: steps.Made, connection: Connection) -> bool:
    """Deletes what the demo created; says what is left. True if nothing is."""
    from lisn_async import LisnError

    try:
        left = run(_delete_everything(made, connection))
    except (LisnError, Interrupted) as error:
        reason = explain(error) if isinstance(error, LisnError) else "interrupted"
        left = dict.fromkeys(made.ids, reason)
        stage.failed(
            "clean up", f"{reason}; an assistant whose name begins with {made.mark.strip()} may be left"
        )
    if left:
        stage.failed("clean up", f"{_output.count(len(left), 'assistant')} could not be deleted:")
        for assistant_id, reason in left.items():
            _output.say(f"    {assistant_id}: {reason}")
        return False
    stage.done("clean up", "everything the demo created is deleted", made.cleaned)
    return True


async def _delete_everything(made: steps.Made, connection: Connection) -> dict[str, str]:
    # A client of its own, in a loop of its own: this runs after an interruption as well.
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(connection.open())
        return await steps.delete_everything(client, made)
