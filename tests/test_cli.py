"""The `lisn` command as people and programs run it: a process of its own, over real HTTP."""

import asyncio
import csv
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lisn_async import AsyncLisn
from lisn_async.cli.files import FORMATS, read_rows
from lisn_async.sandbox import Sandbox
from tests.fix_cli import LISN, PLAN, environment, lisn, started, table

PROMPTS = Path(__file__).parents[2] / "shared" / "data" / "prompts.csv"
SPEC = ["--name", "A", "--type", "text", "--llm-provider", "openai", "--system-prompt", "P"]
SECRET = "s3cret-of-the-webhook"

# Help, and what it costs


def test_help_answers_without_aiohttp():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lisn_async.cli", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "import" in done.stdout
    assert "aiohttp" not in done.stderr


@pytest.mark.parametrize(
    "command", ["demo", "sandbox", "import", "export", "assistants", "assistants create"]
)
def test_every_command_explains_itself(here: Any, command: str):
    done = here(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage: lisn " + command in done.stdout


@pytest.mark.parametrize("module", ["cyclopts", "yaml"])
def test_without_the_cli_extra_one_line_says_how_to_install_it(module: str):
    code = f"import sys; sys.modules[{module!r}] = None; from lisn_async.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"error: the lisn command needs {module}: run `pip install 'lisn[cli]'` (in a clone: `pip install '.[cli]'`)\n"
    )


# The main job


@pytest.mark.skipif(not PROMPTS.exists(), reason=f"{PROMPTS} is not there")
def test_1484_real_prompts_survive_import_restart_and_export_byte_for_byte(tmp_path: Path):
    database = str(tmp_path / "file.db")
    maps = ["--map", "act=name", "--map", "prompt=system_prompt"]
    prompts = tmp_path / PROMPTS.name
    prompts.write_bytes(PROMPTS.read_bytes())
    with served(database) as place:
        done = lisn("import", str(prompts), *maps, *PLAN, "--json", **place)
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert (summary["created"], summary["failed"], summary["unknown"]) == (1484, 0, 0)
        assert len({item["id"] for item in summary["assistants"]}) == 1484
    with served(database) as place:
        exported = {name: tmp_path / f"out.{name}" for name in ("csv", "jsonl", "yaml")}
        for path in exported.values():
            assert lisn("export", str(path), **place).returncode == 0
    with PROMPTS.open(newline="", encoding="utf-8") as stream:  # a second witness: not our reader
        wanted = sorted((row["act"], row["prompt"]) for row in csv.DictReader(stream))
    for name, path in exported.items():
        found = [(row.values["name"], row.values["system_prompt"]) for row in read_rows(str(path), name)]
        assert sorted(found) == wanted, name


@contextmanager
def served(database: str) -> Iterator[dict[str, str]]:
    """`lisn sandbox` on a file, as another program would start and stop it."""
    command = [*LISN, "sandbox", "--database", database, "--port", "0", "--json"]
    quick = {"PYTHONDEVMODE": ""}  # 1,484 assistants take a while in Python's development mode
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(None, **quick)) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield {"LISN_BASE_URL": ready["base_url"], "LISN_API_TOKEN": ready["token"], **quick}
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0


TRICKY = [
    {"name": " outer ", "system_prompt": "\r\n---\r\nyes\r  \n"},
    {"name": "yes", "system_prompt": "=1+1\t\u2028 \x85 \x00\x1f\x0b"},
    {"name": "日本 😀 \ufeff", "system_prompt": "---\nname: x\n---\n", "temperature": 0.1},
    {"name": "yes", "system_prompt": '"{{x}}" ${name} %s \\n', "description": "", "webhook_secret": SECRET},
]


@pytest.mark.parametrize("format", FORMATS)
async def test_an_export_imported_again_gives_the_same_assistants(
    format: str, tmp_path: Path, lisn_sandbox: Sandbox
):
    async with AsyncLisn(lisn_sandbox.token, base_url=lisn_sandbox.base_url) as client:
        specs = [{"type": "text", "llm_provider": "grok", **spec} for spec in TRICKY]
        (await client.assistants.create_many(specs)).raise_for_failures()
        before = await client.assistants.list()
        path = str(tmp_path / "out")
        done = await asyncio.to_thread(
            lisn, "export", path, "--format", format, "--with-secrets", box=lisn_sandbox
        )
        assert done.returncode == 0, done.stderr
        lisn_sandbox.clear()
        done = await asyncio.to_thread(lisn, "import", path, "--format", format, box=lisn_sandbox)
        assert done.returncode == 0, done.stderr
        after = await client.assistants.list()

    def content(found: list[Any]) -> list[tuple[Any, ...]]:
        # CSV has no way to say that a text is there but empty.
        return sorted(
            (a.name, a.system_prompt, a.temperature, a.webhook_secret, a.description or None) for a in found
        ) if format == "csv" else sorted(
            (a.name, a.system_prompt, a.temperature, a.webhook_secret or "", a.description) for a in found
        )  # fmt: skip

    assert [str(item) for item in content(before)] == [str(item) for item in content(after)]


# One by one


def test_the_six_calls_from_the_command_line(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_bytes(b" --- \r\nScore {{this}}.\n")
    made = json.loads(
        here("assistants", "create", *SPEC[:6], "--system-prompt-file", str(prompt), "--json").stdout
    )
    assert made["system_prompt"] == " --- \r\nScore {{this}}.\n"
    sent = json.loads(lisn_sandbox.seen[-1].body)
    assert sent.keys() == {"name", "type", "llm_provider", "system_prompt"}
    assert json.loads(here("assistants", "get", made["id"], "--json").stdout) == made
    changed = here("assistants", "update", made["id"], "--name", "-B", "--null", "description", "--json")
    assert json.loads(lisn_sandbox.seen[-1].body) == {"name": "-B", "description": None}
    assert json.loads(changed.stdout)["name"] == "-B"
    copy = json.loads(here("assistants", "duplicate", made["id"], "--json").stdout)
    assert copy["id"] != made["id"]
    listed = json.loads(here("assistants", "list", "--json").stdout)
    assert [item["id"] for item in listed] == [made["id"], copy["id"]]
    gone = here("assistants", "delete", copy["id"], made["id"], "--json")
    assert json.loads(gone.stdout) == {"deleted": [copy["id"], made["id"]], "failed": []}
    assert here("assistants", "list", "--json").stdout == "[]\n"


def test_a_prompt_can_come_from_stdin(lisn_sandbox: Sandbox):
    done = lisn(
        "assistants", "create", *SPEC[:6], "--system-prompt-file", "-", box=lisn_sandbox, stdin="a\r\nb\n"
    )
    assert done.returncode == 0
    assert lisn_sandbox.assistants()[0]["system_prompt"] == "a\r\nb\n"


def test_deleting_goes_on_after_a_failure_and_says_so(here: Any, lisn_sandbox: Sandbox):
    made = json.loads(here("assistants", "create", *SPEC, "--json").stdout)
    done = here("assistants", "delete", "ast_unknown", made["id"], "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert (result["deleted"], result["failed"][0]["id"]) == ([made["id"]], "ast_unknown")
    assert lisn_sandbox.assistants() == []


def test_what_people_see_is_a_table_that_no_terminal_obeys(here: Any):
    here("assistants", "create", "--name", "evil\x1b[2J\u202e\nname", *SPEC[2:])
    done = here("assistants", "list")
    assert "evil\\x1b[2J\\u202e\\nname" in done.stdout
    assert done.stdout.split()[:2] == ["id", "name"]
    assert "1 assistant\n" in done.stderr


def test_a_webhook_secret_is_taken_from_the_environment_or_a_file_and_not_shown(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_SECRET", SECRET)
    (tmp_path / "secret").write_text(SECRET + "\n")
    for option in (
        ["--webhook-secret-env", "MY_SECRET"],
        ["--webhook-secret-file", str(tmp_path / "secret")],
    ):
        for shown in ([], ["--json"]):
            done = here("assistants", "create", *SPEC, *option, *shown)
            assert json.loads(lisn_sandbox.seen[-1].body)["webhook_secret"] == SECRET
            assert SECRET not in done.stdout + done.stderr
    found = lisn_sandbox.assistants()[0]["id"]
    assert (
        json.loads(here("assistants", "get", found, "--json", "--with-secrets").stdout)["webhook_secret"]
        == SECRET
    )
    for arguments in (
        ["assistants", "get", found],
        ["assistants", "list", "--json"],
        ["export"],
        ["export", "--json"],
    ):
        assert SECRET not in here(*arguments).stdout
    target = tmp_path / "all.csv"
    assert here("export", str(target), "--with-secrets").returncode == 0
    assert SECRET in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["bogus"], 2, 'Unknown command "bogus"'),
        (["assistants", "list", "--bogus"], 2, "Unknown option: --bogus"),
        (["assistants", "list", "--base-url", "http://example.com"], 2, "--allow-insecure-http"),
        (["assistants", "list", "--base-url", "ftp://x"], 2, "base_url must begin with http"),
        (["assistants", "list", "--timeout", "0"], 2, "timeout must be"),
        (["assistants", "get", ""], 2, "assistant_id: must be"),
        (["assistants", "get", "."], 2, "assistant_id: must be"),
        (["assistants", "delete", "../x"], 2, "assistant_id: must be"),
        (["assistants", "delete", "ast_1", "a/b"], 2, "assistant_id: must be"),
        (["assistants", "delete"], 2, "which one?"),
        (["assistants", "get", "ast_none"], 1, "404"),
        (["assistants", "create", *SPEC, "--stt-provider", "whisper"], 2, "stt_provider: is for voice"),
        (["assistants", "create", *SPEC, "--temperature", "1.5"], 2, "temperature: must be between"),
        (["assistants", "create", *SPEC, "--temperature", "nan"], 2, "temperature: must be between"),
        (["assistants", "create", *SPEC, "--temperature", "warm"], 2, "unable to convert"),
        (["assistants", "create"], 2, "name: is required; type: is required"),
        (["assistants", "create", *SPEC, "--system-prompt-file", "x"], 2, "exclude each other"),
        (["assistants", "create", *SPEC[:6], "--system-prompt-file", "/no/such"], 2, "/no/such: No such file"),
        (["assistants", "create", *SPEC, "--webhook-secret-env", "NOT_SET"], 2, "NOT_SET is not set"),
        (["assistants", "update", "ast_1"], 2, "nothing to change"),
        (["assistants", "update", "ast_1", "--null", "x"], 2, "no such field"),
        (["assistants", "update", "ast_1", "--null", "name"], 2, "name: must not be null"),
        (["import"], 2, "FILE requires an argument"),
        (["import", "no-such.csv"], 2, "no-such.csv: No such file"),
        (["import", "no-such.csv", "--json"], 2, "no-such.csv: No such file"),
        (["import", "--dryrun"], 2, "there is no such option"),
        (["import", "-"], 2, "stdin has no suffix"),
        (["import", "x.csv", "--format", "xml"], 2, "Choose from"),
        (["import", "x.csv", "--max-concurrency", "0"], 2, "at least 1"),
        (["export", "x.docx"], 2, "the suffix says nothing"),
        (["export", "--format", "markdown"], 2, "Markdown is written to a folder"),
        (["export", "--json", "--format", "csv"], 2, "--json means --format json"),
        (["sandbox", "--port", "70000"], 2, "0 to 65535"),
        (["sandbox", "--token", "a b"], 2, "token must be printable ASCII"),
        (["sandbox", "--faults", "/no/such"], 2, "/no/such: No such file"),
        (["sandbox", "--database", "/no/such/x.db", "--port", "0"], 2, "Cannot open the database"),
    ],
)  # fmt: skip
def test_wrong_use_gets_one_clear_message_and_changes_nothing(
    here: Any, lisn_sandbox: Sandbox, arguments: list[str], status: int, message: str
):
    done = here(*arguments)
    assert done.returncode == status
    assert done.stderr.startswith("error: ")
    told = json.dumps({"error": done.stderr[len("error: ") : -1]}, ensure_ascii=False)
    assert done.stdout == (f"{told}\n" if "--json" in arguments else "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert lisn_sandbox.commits() == []


@pytest.mark.parametrize("token", [None, "", "abc\n", "tökén", "a b"])
def test_a_token_that_cannot_work_is_refused_at_once_and_not_shown(token: str | None):
    done = lisn("assistants", "list", **({} if token is None else {"LISN_API_TOKEN": token}))
    assert done.returncode == 2
    assert "LISN_API_TOKEN" in done.stderr
    assert not token or token not in done.stderr


def test_a_wrong_token_is_told_apart_and_not_shown(lisn_sandbox: Sandbox):
    done = lisn("export", box=lisn_sandbox, LISN_API_TOKEN="wrong-token")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is LISN_API_TOKEN the right token" in done.stderr
    assert "wrong-token" not in done.stderr


def test_an_import_whose_server_is_down_says_so(tmp_path: Path):
    (tmp_path / "a.csv").write_text("name,system_prompt\r\na,b\r\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    done = lisn("import", str(tmp_path / "a.csv"), *PLAN, LISN_BASE_URL=url, LISN_API_TOKEN="x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is the server up" in done.stderr


# Import


def test_one_bad_row_keeps_the_whole_file_from_being_sent(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, "name,system_prompt,temperature,note\na,b,,x\n,c,,\nd,e,2,\nf\n")
    done = here("import", file, *PLAN)
    assert (done.returncode, lisn_sandbox.seen) == (1, [])
    for problem in (
        "in.csv:3: name: is required",
        "in.csv:4: temperature: must be between",
        "in.csv:5: 1 cell",
    ):
        assert problem in done.stderr
    assert "3 rows of 4" in done.stderr
    assert "--map COLUMN=FIELD): 'note'" in done.stderr
    done = here("import", file, *PLAN, "--skip-invalid", "--json")
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["invalid"], summary["created"]) == (4, 3, 1)
    assert [item["name"] for item in lisn_sandbox.assistants()] == ["a"]
    assert len(summary["problems"]) == 3


def test_a_dry_run_needs_no_token_and_sends_nothing(tmp_path: Path):
    file = table(tmp_path, "name,system_prompt\na,b\n")
    done = lisn("import", file, *PLAN, "--dry-run", "--json")
    assert done.returncode == 0
    assert "1 assistant could be created" in done.stderr
    assert json.loads(done.stdout)["valid"] == 1
    assert lisn("import", file, "--dry-run").returncode == 1


def test_an_import_from_stdin(lisn_sandbox: Sandbox):
    lines = '{"act": "a\u2028b", "system_prompt": " p "}\n'
    done = lisn("import", "-", "--format", "jsonl", "--map", "act=name", *PLAN, box=lisn_sandbox, stdin=lines)
    assert done.returncode == 0
    assert [(a["name"], a["system_prompt"]) for a in lisn_sandbox.assistants()] == [("a\u2028b", " p ")]


def test_a_header_without_rows_is_nothing_to_do(here: Any, tmp_path: Path):
    done = here("import", table(tmp_path, "name,system_prompt\r\n"), *PLAN)
    assert done.returncode == 0
    assert "created 0 assistants of 0" in done.stderr


def test_items_the_server_refuses_are_listed_with_their_line(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    lisn_sandbox.faults = [{"status": 422, "operation": "create", "skip": 1}]
    done = here(
        "import", table(tmp_path, "name,system_prompt\na,b\nc,d\n"), *PLAN, "--max-concurrency", "1", "--json"
    )
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["created"], summary["failed"]) == (1, 1)
    assert summary["failures"][0]["where"].endswith("in.csv:3")
    assert "in.csv:3: failed: " in done.stderr


def test_an_item_whose_reply_was_lost_is_looked_for_and_said_to_be(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    lisn_sandbox.faults = [{"do": "close", "operation": "create", "when": "after"}]
    done = here("import", table(tmp_path, "name,system_prompt\na,b\n"), *PLAN, "--settle", "0")
    assert done.returncode == 0
    assert "replies lost: 1; looking for those assistants" in done.stderr
    assert "created 1 assistant of 1" in done.stderr
    assert len(lisn_sandbox.assistants()) == 1


def test_an_item_of_unknown_fate_is_not_called_done(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    lisn_sandbox.faults = [
        {"do": "close", "operation": "create", "when": "after"},
        {"status": 403, "operation": "list", "skip": 1},
    ]
    done = here("import", table(tmp_path, "name,system_prompt\na,b\n"), *PLAN, "--settle", "0")
    assert done.returncode == 1
    assert "1 unknown" in done.stderr
    assert len(lisn_sandbox.assistants()) == 1


@pytest.mark.parametrize("named", [True, False])
def test_an_import_with_a_journal_run_again_creates_only_what_is_missing(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path, named: bool
):
    name = [str(tmp_path / "j")] if named else []
    lisn_sandbox.faults = [{"status": 403, "operation": "create", "skip": 1}]
    file = table(tmp_path, "name,system_prompt\na,1\nb,2\nc,3\n")
    plan = [*PLAN, "--journal", *name, "--max-concurrency", "1"]
    assert here("import", file, *plan).returncode == 1
    assert here("import", file, *plan).returncode == 0
    assert sorted(row["name"] for row in lisn_sandbox.assistants()) == ["a", "b", "c"]
    assert Path(name[0] if name else f"{file}.journal").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_import_says_what_was_done_and_what_may_have_been(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
):
    sandbox.faults = [{"do": "hang", "operation": "create", "skip": 5, "times": 3}]
    file = table(tmp_path, "name,system_prompt\n" + "a,b\n" * 8)
    async with started("import", file, *PLAN, "--max-concurrency", "8", "--json", box=sandbox) as process:
        await sandbox.received(8, operation="create")
        await sandbox.answered(5, operation="create")
        process.send_signal(number)
        out, err = await process.communicate()
    assert process.returncode == 130
    summary = json.loads(out)
    assert summary["interrupted"] is True
    assert summary["created"] <= 5
    assert b"were under way and may exist or not" in err
    assert b"Traceback" not in err


# Export


def test_an_export_to_stdout_is_json_lines(here: Any):
    here("assistants", "create", *SPEC, "--description", "\u2028")
    line = '{"name": "A", "type": "text", "description": "\u2028", "llm_provider": "openai", "system_prompt": "P"'
    done = here("export")
    assert done.stdout.startswith(line)
    assert done.stdout.endswith("}\n")
    assert "id" not in json.loads(done.stdout)
    assert json.loads(here("export", "--json").stdout) == [json.loads(done.stdout)]
    assert here("export", "-", "--format", "csv").stdout.startswith("name,type,description,")


def test_an_export_refuses_to_overwrite(here: Any, tmp_path: Path):
    here("assistants", "create", *SPEC)
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    assert here("export", str(path)).returncode == 2
    assert path.read_text() == "precious"
    done = here("export", str(path), "--force", "--json")
    assert json.loads(done.stdout) == {"file": str(path), "format": "jsonl", "assistants": 1}


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_stops_early_is_no_error_worth_a_message(
    lisn_sandbox: Sandbox, tmp_path: Path, unbuffered: str
):
    rows = "\n".join(json.dumps({"name": f"n{n}", "system_prompt": "x" * 9000}) for n in range(50))
    assert lisn("import", "-", "--format", "jsonl", *PLAN, box=lisn_sandbox, stdin=rows).returncode == 0
    surroundings = environment(lisn_sandbox, PYTHONDEVMODE="", PYTHONUNBUFFERED=unbuffered)
    for arguments in (["export"], ["assistants", "list", "--json"]):
        with subprocess.Popen(
            [*LISN, *arguments], env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 1


# Sandbox


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_sandbox_runs_until_it_is_told_to_stop(number: signal.Signals, status: int):
    command = [*LISN, "sandbox", "--port", "0", "--token", "my-token"]
    with subprocess.Popen(
        command, env=environment(None), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = iter(process.stdout.readline, b"")
        text = ""
        while "Ctrl-C" not in text:
            text += next(lines).decode()
        url = next(line.split()[-1] for line in text.splitlines() if "base URL" in line)
        assert f"export LISN_BASE_URL={url} LISN_API_TOKEN=my-token" in text
        curl = next(line for line in text.splitlines() if "curl" in line)
        assert curl.strip() == f'curl "{url}/v1/assistants" -H "Authorization: Bearer my-token"'
        assert (
            lisn("assistants", "list", "--json", LISN_BASE_URL=url, LISN_API_TOKEN="my-token").stdout
            == "[]\n"
        )
        process.send_signal(number)
        assert process.wait(timeout=60) == status
        assert b"Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_an_error_and_without_a_wish_there_is_another(lisn_sandbox: Sandbox):
    port = lisn_sandbox.base_url.rpartition(":")[2]
    done = lisn("sandbox", "--port", port)
    assert done.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr


def test_faults_come_from_a_file(tmp_path: Path):
    (tmp_path / "faults.json").write_text('[{"status": 418, "operation": "list"}]')
    command = [*LISN, "sandbox", "--port", "0", "--json", "--faults", str(tmp_path / "faults.json")]
    with subprocess.Popen(command, env=environment(None), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        place = {"LISN_BASE_URL": ready["base_url"], "LISN_API_TOKEN": ready["token"]}
        assert "418" in lisn("assistants", "list", **place).stderr
        assert lisn("assistants", "list", **place).returncode == 0
        process.terminate()


# Demo


def test_the_demo_needs_no_account_and_verifies_every_step():
    done = lisn("demo")
    assert done.returncode == 0, done.stderr
    steps = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ok ")]
    assert steps == ["create", "get", "update", "duplicate", "delete", "list"]
    assert (
        resources.files("lisn_async.cli").joinpath("demo/ten_lines.txt").read_text().splitlines()[3]
        in done.stdout
    )
    done = lisn("demo", "--json")
    assert json.loads(done.stdout)["ok"] is True
    assert all(step["ok"] for step in json.loads(done.stdout)["steps"])


def test_the_demo_on_a_terminal_shows_a_bar_and_colours():
    """A pseudo-terminal stands in for the person."""
    main, terminal = pty.openpty()
    shown = bytearray()
    try:
        with subprocess.Popen(
            [*LISN, "demo"], env=environment(None, TERM="xterm-256color", COLUMNS="100"),
            stdout=terminal, stderr=terminal, stdin=terminal,
        ) as process:  # fmt: skip
            os.close(terminal)
            try:
                while part := os.read(main, 65536):
                    shown += part
            except OSError:  # how Linux says that nobody holds the terminal any more
                pass
            assert process.wait(timeout=60) == 0
    finally:
        os.close(main)
    text = shown.decode()
    assert "42 of 42" in text
    assert "\x1b[" in text
    assert text.count("✓") == 6


def test_the_ten_lines_of_the_demo_are_ten_and_work(lisn_sandbox: Sandbox):
    code = resources.files("lisn_async.cli").joinpath("demo/ten_lines.txt").read_text()
    lines = [line for line in code.splitlines() if line]
    assert len(lines) == 10
    assert max(map(len, lines)) <= 76, "indented by four, it fits a terminal of 80 columns"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(lisn_sandbox), capture_output=True, text=True
    )
    assert done.stdout.startswith("100 created, and a copy: ast_"), done.stderr
    assert len(lisn_sandbox.assistants()) == 101


async def test_the_demo_on_the_real_service_leaves_nothing_behind(sandbox: Sandbox, client: AsyncLisn):
    mine = await client.assistants.create(name="Mine", type="text", llm_provider="openai", system_prompt="p")
    done = await asyncio.to_thread(lisn, "demo", "--live", box=sandbox)
    assert done.returncode == 0, done.stdout + done.stderr
    assert await client.assistants.list() == [mine]
    names = [json.loads(one.body)["name"] for one in sandbox.seen if one.operation == "create"][1:]
    assert len(names) == 42
    assert all(name.startswith("[lisn demo ") for name in names)


@pytest.mark.parametrize("operation", ["create", "get", "update", "duplicate", "delete", "list"])
async def test_a_demo_that_fails_midway_says_so_and_cleans_up(
    sandbox: Sandbox, client: AsyncLisn, operation: str
):
    mine = await client.assistants.create(name="Mine", type="text", llm_provider="openai", system_prompt="p")
    # After the commit: this leaves an assistant whose id the demo never learns.
    when = "after" if operation == "duplicate" else "before"
    skip = 1 if operation == "list" else 0
    sandbox.faults = [
        {"status": 403 if when == "before" else 500, "operation": operation, "when": when, "skip": skip}
    ]
    done = await asyncio.to_thread(lisn, "demo", "--live", "--max-retries", "0", box=sandbox)
    assert done.returncode == 1, done.stdout
    assert f"FAILED {operation}" in done.stdout
    assert await client.assistants.list() == [mine]


async def test_a_demo_that_cannot_clean_up_says_what_is_left(sandbox: Sandbox, client: AsyncLisn):
    sandbox.faults = [{"status": 403, "operation": "delete", "skip": 1, "times": 2}]
    done = await asyncio.to_thread(lisn, "demo", "--live", box=sandbox)
    assert done.returncode == 1
    left = await client.assistants.list()
    assert len(left) == 2
    assert "2 assistants could not be deleted" in done.stdout
    assert all(assistant.id in done.stderr for assistant in left)


async def test_an_interrupted_demo_cleans_up(sandbox: Sandbox, client: AsyncLisn):
    sandbox.faults = [{"do": "hang", "operation": "create", "when": "after", "skip": 20}]
    async with started("demo", "--live", box=sandbox) as process:
        await sandbox.answered(41, operation="create")
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130, err
    assert b"everything the demo created is deleted" in out
    assert await client.assistants.list() == []


def test_the_demo_on_the_real_service_needs_a_token():
    done = lisn("demo", "--live")
    assert done.returncode == 2
    assert "no API token" in done.stderr


def test_a_full_disk_is_one_message_and_no_traceback(lisn_sandbox: Sandbox):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*LISN, "assistants", "list", "--json"],
            env=environment(lisn_sandbox),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "error: cannot write the output: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_run_with_a_journal_does_not_boast_of_the_first(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    file = table(tmp_path, "name,system_prompt\na,1\nb,2\n")
    here("import", file, *PLAN, "--journal")
    again = here("import", file, *PLAN, "--journal", "--json")
    assert "created 0 assistants of 2" in again.stderr
    assert "2 had been created by an earlier run" in again.stderr
    assert (json.loads(again.stdout)["created"], json.loads(again.stdout)["resumed"]) == (2, 2)


def test_a_service_that_stops_taking_creates_is_said_at_once(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    lisn_sandbox.faults = [{"status": 429, "operation": "create", "times": None}]
    file = table(tmp_path, "name,system_prompt\na,1\n")
    done = here("import", file, *PLAN, "--give-up-after", "0.2")
    assert "429 Too Many Requests" in done.stderr
    assert "trying again for up to 0.2 s" in done.stderr


def test_the_demo_has_no_use_for_a_base_url_of_yours(here: Any):
    done = here("demo", "--base-url", "http://127.0.0.1:1")
    assert done.returncode == 2
    assert "--live" in done.stderr


def test_a_file_name_that_the_locale_cannot_hold_is_said_before_anything_is_written(
    lisn_sandbox: Sandbox, tmp_path: Path, here: Any
):
    here(
        "assistants",
        "create",
        "--name",
        "Über",
        "--type",
        "text",
        "--llm-provider",
        "openai",
        "--system-prompt",
        "p",
    )
    locale = {**environment(lisn_sandbox), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [*LISN, "export", str(tmp_path / "md") + "/"], env=locale, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "PYTHONUTF8=1" in done.stderr
    assert not (tmp_path / "md").exists()
