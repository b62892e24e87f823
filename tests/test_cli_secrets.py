"""One token and one webhook secret, walked through every command: neither shows, unless --with-secrets asks."""

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lisn_async.cli import _app
from lisn_async.sandbox import Sandbox
from lisn_async.sandbox._thread import running_in_thread
from tests.fix_cli import PLAN, Done, lisn, started

TOKEN = "canary-token-0123456789"
SECRET = "canary-webhook/9876543210"
SPEC = ["--name", "A", "--type", "text", "--llm-provider", "openai", "--system-prompt", "P"]
ECHO = {"message": f"Bearer {TOKEN} with {SECRET}", "webhook_secret": SECRET, "token": TOKEN}


@pytest.fixture
def box() -> Any:
    with running_in_thread(Sandbox(token=TOKEN)) as box:
        yield box


def assert_hidden(*texts: str) -> None:
    for text in texts:
        for form in (TOKEN, SECRET, SECRET.replace("/", "\\/"), "canary"):
            assert form not in text


def run(box: Sandbox, *arguments: str, **more: str) -> Done:
    """The command with the log at its most talkative; nothing it says shows a secret."""
    done = lisn(*arguments, box=box, LISN_LOG="debug", THE_SECRET=SECRET, **more)
    assert_hidden(done.stdout, done.stderr)
    return done


@pytest.fixture
def here(box: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The same inside this process, which is ten times as fast: for tables of many cases."""
    settings = {
        "LISN_BASE_URL": box.base_url,
        "LISN_API_TOKEN": TOKEN,
        "LISN_LOG": "debug",
        "THE_SECRET": SECRET,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    logger = logging.getLogger("lisn")
    handlers, level = list(logger.handlers), logger.level

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        status = _app.run_command(arguments)
        return Done(arguments, status, *capfd.readouterr())

    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize("shown", [[], ["--json"]])
def test_no_command_shows_a_secret(box: Sandbox, tmp_path: Path, shown: list[str]):
    made = run(box, "assistants", "create", *SPEC, "--webhook-secret-env", "THE_SECRET", *shown)
    assert made.returncode == 0
    assert box.assistants()[0]["webhook_secret"] == SECRET, "it did travel"
    found = box.assistants()[0]["id"]
    for arguments in (
        ["assistants", "list"],
        ["assistants", "get", found],
        ["assistants", "update", found, "--webhook-secret-env", "THE_SECRET"],
        ["assistants", "duplicate", found],
        ["export"],
        ["export", str(tmp_path / "out.csv")],
        ["assistants", "delete", found],
    ):
        done = run(box, *arguments, *shown)
        assert done.returncode == 0, done.stderr
    assert_hidden((tmp_path / "out.csv").read_text())


@pytest.mark.parametrize("command", ["list", "get", "export"])
def test_with_secrets_shows_the_webhook_secret_and_never_the_token(box: Sandbox, command: str):
    lisn("assistants", "create", *SPEC, "--webhook-secret-env", "S", box=box, S=SECRET)
    found = box.assistants()[0]["id"]
    arguments = {
        "list": ["assistants", "list", "--json"],
        "get": ["assistants", "get", found, "--json"],
        "export": ["export"],
    }
    done = lisn(*arguments[command], "--with-secrets", box=box, LISN_LOG="debug")
    assert SECRET in done.stdout
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("shown", [[], ["--json"]])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 422, "body": ECHO, "times": None},
        {"status": 401, "body": ECHO, "times": None},
        {"status": 500, "body": ECHO, "times": None},
        {"do": "close", "times": None},
    ],
)
def test_a_server_that_echoes_what_it_was_sent_shows_nothing(
    box: Sandbox, here: Any, fault: Any, shown: list[str]
):
    box.faults = [fault]
    quick = ["--max-retries", "0", *shown]
    for arguments in (
        ["assistants", "create", *SPEC, "--webhook-secret-env", "THE_SECRET"],
        ["assistants", "update", "ast_1", "--webhook-secret-env", "THE_SECRET"],
    ):
        done = here(*arguments, *quick)
        assert_hidden(done.stdout, done.stderr)
        assert "DEBUG lisn " in done.stderr
        assert done.returncode == 1
        assert bool(shown) == bool(done.stdout)
    done = here("assistants", "list", *quick)  # this one cannot know the secret
    assert TOKEN not in done.stdout + done.stderr


INPUTS = {
    "in.csv": f"title,system_prompt,hook,webhook_secret\na,1,{SECRET},{SECRET}-2\nb,2,{SECRET},\n,3,{SECRET},{SECRET}\n"
    f"c,4,unquoted,{SECRET},{SECRET}\n",
    "in.jsonl": "".join(
        json.dumps({"title": title, "system_prompt": "p", "hook": SECRET, "webhook_secret": SECRET}) + "\n"
        for title in ("a", "b", "")
    )
    + f'{{"title": "{SECRET}", oops}}\n',
    "in.yaml": "".join(
        f'- {{title: "{title}", system_prompt: p, hook: {SECRET}, webhook_secret: {SECRET}}}\n'
        for title in ("a", "b", "")
    ),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("shown", [[], ["--json"]])
def test_an_import_shows_no_secret_and_leaves_none_behind(
    box: Sandbox, tmp_path: Path, name: str, shown: list[str]
):
    (tmp_path / name).write_text(INPUTS[name])
    columns = ["--map", "title=name", "--map", "hook=webhook_secret", *PLAN, *shown]
    box.faults = [{"status": 422, "body": ECHO, "operation": "create", "skip": 1, "times": None}]
    done = run(
        box, "import", str(tmp_path / name), *columns, "--skip-invalid", "--journal", "--max-concurrency", "1"
    )
    assert done.returncode == 1
    assert [one["webhook_secret"] for one in box.assistants()] == [SECRET], "it did travel"
    others = [path for path in tmp_path.iterdir() if path.name != name]
    assert len(others) == 2, "a journal, and a file of failed rows"
    for path in others:
        assert_hidden(path.read_text())
    run(box, "import", str(tmp_path / name), *columns)
    run(box, "import", str(tmp_path / name), *columns, "--dry-run")


def test_an_import_with_secrets_writes_them_where_only_their_owner_reads(box: Sandbox, tmp_path: Path):
    (tmp_path / "in.jsonl").write_text(INPUTS["in.jsonl"])
    columns = ["--map", "title=name", "--map", "hook=webhook_secret", *PLAN, "--skip-invalid"]
    box.faults = [{"status": 422, "body": ECHO, "operation": "create", "times": None}]
    done = run(box, "import", str(tmp_path / "in.jsonl"), *columns, "--with-secrets")
    assert SECRET in (tmp_path / "in.failed.jsonl").read_text()
    assert (tmp_path / "in.failed.jsonl").stat().st_mode & 0o077 == 0
    assert "webhook secrets" not in done.stderr


async def test_an_import_that_is_killed_leaves_no_secret(tmp_path: Path):
    (tmp_path / "tmp").mkdir()
    row = json.dumps({"title": "a", "system_prompt": "x" * 100_000, "webhook_secret": SECRET}) + "\n"
    (tmp_path / "in.jsonl").write_text(row * 150)  # more than stays in memory
    async with Sandbox(token=TOKEN) as box:
        box.faults = [{"do": "hang", "operation": "create", "times": None}]
        command = ["import", str(tmp_path / "in.jsonl"), "--map", "title=name", *PLAN]
        async with started(*command, box=box, TMPDIR=str(tmp_path / "tmp")) as process:
            await box.received(1, operation="create")
            process.send_signal(signal.SIGKILL)
            await process.communicate()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert_hidden((tmp_path / "in.jsonl.journal").read_text())


def test_a_secret_on_the_command_line_is_not_repeated(box: Sandbox, tmp_path: Path):
    (tmp_path / "in.csv").write_text("name,system_prompt\na,1\n")
    for more in (["--set", f"webhook_secret={SECRET}"], [f"--set=webhook_secret={SECRET}"]):
        box.faults = [{"status": 422, "body": ECHO, "operation": "create"}]
        done = run(box, "import", str(tmp_path / "in.csv"), *PLAN, *more)
        assert "run the same command: lisn import" in done.stderr
        assert "webhook_secret=..." in done.stderr
    done = run(box, "assistants", "create", *SPEC, "--webhook-secret", SECRET)
    assert done.returncode == 2
