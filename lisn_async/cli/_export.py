"""`lisn export`: all assistants as a file that `lisn import` takes."""

import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lisn_async.cli import _output
from lisn_async.cli._client import USUAL, Connection, no_option
from lisn_async.cli._fields import FIELDS, SECRET
from lisn_async.cli._run import run
from lisn_async.cli._stop import DONE, UsageError
from lisn_async.cli.files import FileFormat, format_of, save_records, write_records
from lisn_async.cli.files.formats import STREAM

if TYPE_CHECKING:
    from lisn_async import Assistant


def export(
    file: Annotated[
        str,
        Parameter(
            help="Where to: a file, a folder/ for Markdown, or - for stdout (JSON Lines).",
            allow_leading_hyphen=True,
            validator=no_option,
        ),
    ] = STREAM,
    /,
    *,
    format: Annotated[FileFormat | None, Parameter(help="Format, if the suffix does not say it.")] = None,
    force: Annotated[bool, Parameter(help="Overwrite the file if it is there already.")] = False,
    with_secrets: Annotated[
        bool, Parameter(help="Write webhook secrets too; only you can read the file then.")
    ] = False,
    json: Annotated[
        bool,
        Parameter(name="--json", help="With a FILE: a summary as JSON. Without: the same as --format json."),
    ] = False,
    connection: Connection = USUAL,
) -> int:
    """Write all assistants as CSV, JSON Lines, JSON, YAML, or a folder of Markdown.

    `lisn import` makes the same assistants of it again: names and prompts are kept byte for byte. Fields that an
    assistant does not have are left out, and so are ids. CSV cannot tell an empty text from none.
    """
    to_stream = file == STREAM
    chosen = _stream_format(format, json) if to_stream else format_of(file, format)
    if not to_stream and chosen != "markdown" and file.endswith(os.sep):
        raise UsageError(f"{file}: a folder holds Markdown; name a file for {chosen}")
    found = run(_list(connection))
    records = [as_record(assistant, with_secrets=with_secrets) for assistant in found]
    columns = [name for name in FIELDS if with_secrets or name != SECRET]
    if to_stream:
        stream = io.BytesIO()
        write_records(records, stream, chosen, columns)
        _output.print_bytes(stream.getvalue())
        return DONE
    others = save_records(records, file, chosen, columns, force=force, private=with_secrets)
    if others:
        _output.say(
            f"{file} holds {_output.count(others, 'other .md file')}, which an import would read as well"
        )
    _output.say(f"wrote {_output.count(len(records), 'assistant')} to {file}")
    if json:
        _output.print_json({"file": file, "format": chosen, "assistants": len(records)})
    return DONE


def _stream_format(wanted: FileFormat | None, json: bool) -> FileFormat:
    if wanted == "markdown":
        raise UsageError("Markdown is written to a folder: name one, such as assistants/")
    if json and wanted not in (None, "json"):
        raise UsageError(f"without a FILE, --json means --format json, not {wanted}")
    return "json" if json else wanted or "jsonl"


async def _list(connection: Connection) -> "list[Assistant]":
    async with connection.open() as client:
        return await client.assistants.list()


def as_record(assistant: "Assistant", *, with_secrets: bool) -> Mapping[str, str | float]:
    """The documented fields that an assistant has, in the order of the documentation."""
    values = {name: getattr(assistant, name) for name in FIELDS if with_secrets or name != SECRET}
    return {name: value for name, value in values.items() if value is not None}
