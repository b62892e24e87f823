"""`lisn assistants …`: one command for each endpoint."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from lisn_async.cli import _output
from lisn_async.cli._client import USUAL, Connection, explain, no_option
from lisn_async.cli._fields import FIELDS, SECRET
from lisn_async.cli._stop import DONE, SOME_FAILED, UsageError
from lisn_async.cli.files.reading import unreadable
from lisn_async.cli.files.text import utf8

if TYPE_CHECKING:
    from lisn_async import Assistant

assistants = App(name="assistants", help="List, get, create, update, delete and duplicate assistants.")

Json = Annotated[bool, Parameter(name="--json", help="Print JSON on stdout, for programs.")]
WithSecrets = Annotated[bool, Parameter(help="Show webhook secrets; without it they are left out.")]
Id = Annotated[str, Parameter(help="Id of the assistant, such as ast_abc123.")]


def _field(help: str) -> Parameter:
    # A prompt may begin with a hyphen: what follows the option is its value, whatever it looks like.
    return Parameter(help=help, allow_leading_hyphen=True)


@Parameter(name="*", group="Fields")
@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of an assistant as options; what is not given is not sent."""

    name: Annotated[str | None, _field("Name of the assistant.")] = None
    type: Annotated[str | None, _field("voice or text.")] = None
    llm_provider: Annotated[str | None, _field("openai, anthropic, gemini or grok.")] = None
    system_prompt: Annotated[str | None, _field("What the LLM is told to do with a conversation.")] = None
    system_prompt_file: Annotated[
        str | None,
        Parameter(
            help="The same from a UTF-8 file, byte for byte; - is stdin.",
            allow_leading_hyphen=True,
            validator=no_option,
        ),
    ] = None
    description: Annotated[str | None, _field("Description, for people.")] = None
    stt_provider: Annotated[str | None, _field("elevenlabs, whisper or aisha (voice only).")] = None
    stt_model: Annotated[str | None, _field("Model of the STT provider (voice only).")] = None
    stt_language: Annotated[str | None, _field("Language code, or Auto-Detect (voice only).")] = None
    llm_model: Annotated[str | None, _field("Model of the LLM provider.")] = None
    temperature: Annotated[float | None, _field("0.0 to 1.0.")] = None
    webhook_url: Annotated[str | None, _field("Where results are sent.")] = None
    webhook_secret_env: Annotated[
        str | None, Parameter(help="Environment variable that holds the webhook's secret.", metavar="NAME")
    ] = None
    webhook_secret_file: Annotated[
        str | None, Parameter(help="File that holds it; one line break at its end is not part of it.")
    ] = None

    def given(self) -> dict[str, Any]:
        """The fields that were given, by their names in the API."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name in FIELDS}
        chosen = {**plain, "system_prompt": self._prompt(), SECRET: self._secret()}
        return {name: value for name, value in chosen.items() if value is not None}

    def _prompt(self) -> str | None:
        if self.system_prompt_file is None:
            return self.system_prompt
        if self.system_prompt is not None:
            raise UsageError("--system-prompt and --system-prompt-file exclude each other")
        return _read_text(self.system_prompt_file)

    def _secret(self) -> str | None:
        if self.webhook_secret_env is not None and self.webhook_secret_file is not None:
            raise UsageError("--webhook-secret-env and --webhook-secret-file exclude each other")
        if self.webhook_secret_env is not None:
            secret = os.environ.get(self.webhook_secret_env)
            if not secret:
                raise UsageError(f"--webhook-secret-env: {self.webhook_secret_env} is not set, or empty")
            return secret
        if self.webhook_secret_file is not None:
            return _read_text(self.webhook_secret_file).removesuffix("\n").removesuffix("\r")
        return None


def _read_text(file: str) -> str:
    try:
        return utf8(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes(), file)
    except OSError as error:
        raise UsageError(unreadable(file, error)) from None


def as_mapping(assistant: "Assistant", *, with_secrets: bool) -> dict[str, Any]:
    """All we know of an assistant as JSON has it: the documented fields, then whatever else the reply held."""
    known = {name: getattr(assistant, name) for name in ("id", *FIELDS) if with_secrets or name != SECRET}
    return {
        **known,
        **{name: value for name, value in assistant.extra.items() if name not in (*FIELDS, "id")},
    }


def _show(assistant: "Assistant", json: bool, with_secrets: bool) -> int:
    values = as_mapping(assistant, with_secrets=with_secrets)
    if json:
        _output.print_json(values)
    else:
        _output.print_details({name: value for name, value in values.items() if value is not None})
    return DONE


@assistants.command(name="list")
async def list_(
    *, json: Json = False, with_secrets: WithSecrets = False, connection: Connection = USUAL
) -> int:
    """List all assistants: a table for people, an array with --json."""
    async with connection.open() as client:
        found = await client.assistants.list()
    _show_all(found, json, with_secrets)
    return DONE


def _show_all(found: Sequence["Assistant"], json: bool, with_secrets: bool) -> None:
    if json:
        _output.print_json([as_mapping(assistant, with_secrets=with_secrets) for assistant in found])
        return
    columns = ("id", "name", "type", "llm_provider", "llm_model")
    _output.print_table(columns, [[str(getattr(a, c) or "") for c in columns] for a in found])
    _output.say(_output.count(len(found), "assistant"))


@assistants.command
async def get(
    assistant_id: Id,
    /,
    *,
    json: Json = False,
    with_secrets: WithSecrets = False,
    connection: Connection = USUAL,
) -> int:
    """Show one assistant."""
    async with connection.open() as client:
        return _show(await client.assistants.get(assistant_id), json, with_secrets)


@assistants.command
async def create(
    *,
    fields: Fields = Fields(),
    json: Json = False,
    with_secrets: WithSecrets = False,
    connection: Connection = USUAL,
) -> int:
    """Create an assistant. Needed: --name, --type, --llm-provider and a system prompt."""
    given = fields.given()
    async with connection.open() as client:
        return _show(await client.assistants.create(**given), json, with_secrets)


@assistants.command
async def update(
    assistant_id: Id,
    /,
    *,
    null: Annotated[
        list[str] | None, Parameter(help="Set a field to null; may be given more than once.", metavar="FIELD")
    ] = None,
    fields: Fields = Fields(),
    json: Json = False,
    with_secrets: WithSecrets = False,
    connection: Connection = USUAL,
) -> int:
    """Change the fields that are given; the others stay as they are."""
    changes = with_nulls(fields.given(), null or [])
    async with connection.open() as client:
        return _show(await client.assistants.update(assistant_id, **changes), json, with_secrets)


def with_nulls(given: Mapping[str, Any], nulls: list[str]) -> dict[str, Any]:
    """The changes to send: what was given, and None for each field to be set to null."""
    wanted = [name.replace("-", "_") for name in nulls]
    for name in wanted:
        if name not in FIELDS:
            raise UsageError(f"--null {name}: there is no such field; there are {', '.join(FIELDS)}")
        if name in given:
            raise UsageError(f"--null {name}: the field is given a value as well")
    if not given and not wanted:
        raise UsageError("nothing to change: give at least one field, such as --name, or --null FIELD")
    return {**given, **dict.fromkeys(wanted)}


@assistants.command
async def delete(
    *assistant_ids: Annotated[str, Parameter(help="Ids of the assistants.")],
    json: Json = False,
    connection: Connection = USUAL,
) -> int:
    """Delete one or more assistants, for good and without asking."""
    from lisn_async import APIError
    from lisn_async.models._rules import check_id

    if not assistant_ids:
        raise UsageError("which one? Give at least one id (`lisn assistants list` shows them)")
    for assistant_id in assistant_ids:
        check_id(assistant_id)  # all of them first, so that a slip in the second leaves the first alone
    deleted: list[str] = []
    failed: list[dict[str, str]] = []
    async with connection.open() as client:
        for assistant_id in assistant_ids:
            try:
                await client.assistants.delete(assistant_id)
            except APIError as error:
                failed.append({"id": assistant_id, "error": str(error)})
                _output.complain(explain(error))
            else:
                deleted.append(assistant_id)
                _output.say(f"deleted {assistant_id}")
    if json:
        _output.print_json({"deleted": deleted, "failed": failed})
    return SOME_FAILED if failed else DONE


@assistants.command
async def duplicate(
    assistant_id: Id,
    /,
    *,
    count: Annotated[int | None, Parameter(help="Make so many copies, and list them.")] = None,
    journal: Annotated[
        str | None,
        Parameter(
            help="With --count: remember the copies in this file, so that a second run finishes the first."
        ),
    ] = None,
    json: Json = False,
    with_secrets: WithSecrets = False,
    connection: Connection = USUAL,
) -> int:
    """Make a copy of an assistant, or many, and show what was made."""
    if count is None and journal is not None:
        raise UsageError("--journal goes with --count: one copy needs none")
    async with connection.open() as client:
        if count is None:
            return _show(await client.assistants.duplicate(assistant_id), json, with_secrets)
        with _output.messages_of("lisn.bulk"):
            result = await client.assistants.duplicate_many(assistant_id, count, journal=journal)
    _show_all([outcome.assistant for outcome in result.created if outcome.assistant], json, with_secrets)
    for outcome in result.failed + result.unknown:
        _output.say(f"copy {outcome.index + 1}: {outcome.status}: {outcome.error}")
    return DONE if len(result.created) == count and not result.surplus else SOME_FAILED
