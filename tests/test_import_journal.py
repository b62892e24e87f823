"""The journal that an import keeps by itself: when it is there, when it goes, and what is said where it does not fit."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lisn_async.cli._import_journal import journal_of
from lisn_async.cli._stop import UsageError
from lisn_async.sandbox import Sandbox
from tests.fix_cli import LISN, PLAN, environment, lisn, table

THREE = "name,system_prompt\na,1\nb,2\nc,3\n"
ONE_AT_A_TIME = ["--max-concurrency", "1"]
SECOND_FAILS = [{"status": 403, "operation": "create", "skip": 1}]


def names(box: Sandbox) -> list[str]:
    return sorted(one["name"] for one in box.assistants())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_import_that_created_everything_leaves_only_the_input(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    file = table(tmp_path, THREE)
    for _ in range(2):  # the second is a new import, not the first one continued
        assert here("import", file, *PLAN).returncode == 0
        assert files(tmp_path) == ["in.csv"]
    assert names(lisn_sandbox) == ["a", "a", "b", "b", "c", "c"]


def test_the_same_command_tries_only_the_failed_rows_again(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, THREE)
    lisn_sandbox.faults = SECOND_FAILS
    first = here("import", file, *PLAN, *ONE_AT_A_TIME)
    assert first.returncode == 1
    assert files(tmp_path) == ["in.csv", "in.csv.journal", "in.failed.csv"]
    assert f"run the same command: lisn import {file} --set type=text" in first.stderr
    assert "in.csv.journal remembers what was created" in first.stderr
    again = here("import", file, *PLAN)
    assert "created 1 assistant of 3" in again.stderr
    assert names(lisn_sandbox) == ["a", "b", "c"]
    assert files(tmp_path) == ["in.csv"]


def test_a_journal_stays_while_a_row_is_unknown(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, THREE)
    lisn_sandbox.faults = [
        {"do": "close", "operation": "create", "when": "after", "skip": 1},
        {"status": 403, "operation": "list", "skip": 1},
    ]
    assert here("import", file, *PLAN, "--settle", "0", *ONE_AT_A_TIME).returncode == 1
    assert files(tmp_path) == ["in.csv", "in.csv.journal"], "and no file of failed rows: it may exist"
    assert here("import", file, *PLAN, "--settle", "0").returncode == 0
    assert names(lisn_sandbox) == ["a", "b", "c"]
    assert files(tmp_path) == ["in.csv"]


def test_a_journal_that_was_asked_for_stays(here: Any, tmp_path: Path):
    file = table(tmp_path, THREE)
    assert here("import", file, *PLAN, "--journal").returncode == 0
    assert here("import", file, *PLAN, "--journal", str(tmp_path / "other")).returncode == 0
    assert files(tmp_path) == ["in.csv", "in.csv.journal", "other"]


def test_without_a_journal_there_is_none(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    lisn_sandbox.faults = SECOND_FAILS
    done = here("import", table(tmp_path, THREE), *PLAN, "--no-journal")
    assert done.returncode == 1
    assert files(tmp_path) == ["in.csv", "in.failed.csv"]
    assert "same command" not in done.stderr


def test_a_folder_of_markdown_has_its_journal_beside_it(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "md").mkdir()
    (tmp_path / "md" / "a.md").write_text("---\nname: a\n---\nbody")
    lisn_sandbox.faults = [{"status": 403, "operation": "create"}]
    assert here("import", f"{tmp_path}/md/", *PLAN).returncode == 1
    assert files(tmp_path) == ["md", "md.failed", "md.journal"]
    assert here("import", f"{tmp_path}/md/", *PLAN).returncode == 0
    assert files(tmp_path) == ["md"]


def test_the_folder_where_one_stands_has_its_journal_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "md").mkdir()
    monkeypatch.chdir(tmp_path / "md")
    found = journal_of(".", None, off=False, fresh=False, dry_run=False)
    assert found.path == str(tmp_path / "md.journal")


def test_a_dry_run_touches_no_journal(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, THREE)
    for more in ([], ["--journal"], ["--fresh"]):
        assert here("import", file, *PLAN, "--dry-run", *more).returncode == 0
    assert files(tmp_path) == ["in.csv"]
    lisn_sandbox.faults = SECOND_FAILS
    here("import", file, *PLAN)
    before = (tmp_path / "in.csv.journal").read_bytes()
    assert here("import", file, *PLAN, "--dry-run", "--fresh").returncode == 0
    assert (tmp_path / "in.csv.journal").read_bytes() == before


def test_fresh_starts_over_and_says_what_that_costs(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, THREE)
    lisn_sandbox.faults = SECOND_FAILS
    here("import", file, *PLAN, *ONE_AT_A_TIME)
    done = here("import", file, *PLAN, "--fresh")
    assert "an earlier run created 2 assistants; these will be created again" in done.stderr
    assert names(lisn_sandbox) == ["a", "a", "b", "c", "c"]
    assert files(tmp_path) == ["in.csv"]
    assert "starting over" not in here("import", file, *PLAN, "--fresh").stderr


@pytest.mark.parametrize("content", ["precious\n", '{"precious": 1}\n', THREE, "\n"])
@pytest.mark.parametrize("more", [[], ["--fresh"], ["--journal"]])
def test_a_file_that_is_no_journal_is_left_as_it_is(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path, content: str, more: list[str]
):
    file = table(tmp_path, THREE)
    (tmp_path / "in.csv.journal").write_text(content)
    done = here("import", file, *PLAN, *more)
    assert done.returncode == 2
    assert "--journal" in done.stderr
    assert (tmp_path / "in.csv.journal").read_text() == content
    assert lisn_sandbox.commits() == []


def test_a_changed_input_is_told_what_it_can_do(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, THREE)
    lisn_sandbox.faults = SECOND_FAILS
    here("import", file, *PLAN, *ONE_AT_A_TIME)
    table(tmp_path, THREE.replace("a,1", "other,1"))
    done = here("import", file, *PLAN, *ONE_AT_A_TIME)
    assert done.returncode == 2
    assert "mended in " in done.stderr
    assert "in.failed.csv, not in the input. --fresh forgets the earlier run, --journal OTHER" in done.stderr
    assert "also the 2 that it created" in done.stderr
    assert "run the same command" not in done.stderr
    assert names(lisn_sandbox) == ["a", "c"]
    assert files(tmp_path) == ["in.csv", "in.csv.journal", "in.failed.csv"], (
        "what is to be mended is still there"
    )


def test_another_server_is_told_what_it_can_do(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, THREE)
    lisn_sandbox.faults = SECOND_FAILS
    here("import", file, *PLAN)
    done = here("import", file, *PLAN, "--base-url", lisn_sandbox.base_url.replace("127.0.0.1", "localhost"))
    assert done.returncode == 2
    assert "belongs to http://127.0.0.1" in done.stderr
    assert "--journal OTHER" in done.stderr


def test_a_row_that_was_left_out_and_mended_is_simply_a_new_one(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    file = table(tmp_path, THREE.replace("b,2", ",2").replace("c,3", "c,3\nragged"))
    assert here("import", file, *PLAN, "--skip-invalid").returncode == 1
    assert files(tmp_path) == ["in.csv", "in.csv.journal", "in.failed.csv"]
    table(tmp_path, THREE + "d,4\n")
    done = here("import", file, *PLAN, "--skip-invalid")
    assert done.returncode == 0, done.stderr
    assert names(lisn_sandbox) == ["a", "b", "c", "d"]
    assert files(tmp_path) == ["in.csv"]


def test_from_stdin_there_is_a_journal_only_by_name(lisn_sandbox: Sandbox, tmp_path: Path):
    arguments = ["import", "-", "--format", "csv", *PLAN, *ONE_AT_A_TIME]
    lisn_sandbox.faults = SECOND_FAILS
    assert lisn(*arguments, "--journal", str(tmp_path / "j"), box=lisn_sandbox, stdin=THREE).returncode == 1
    assert lisn(*arguments, "--journal", str(tmp_path / "j"), box=lisn_sandbox, stdin=THREE).returncode == 0
    assert names(lisn_sandbox) == ["a", "b", "c"]
    assert files(tmp_path) == ["j"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--journal", "in.csv"], "the journal cannot be the input itself"),
        (["--journal", "./link.csv"], "the journal cannot be the input itself"),
        (["--failed", "in.csv"], "cannot go to the input itself"),
        (["--failed", "hard.csv"], "cannot go to the input itself"),
        (["--failed", "x.csv", "--journal", "x.csv"], "cannot be the journal and hold the failed rows"),
        (["--failed", "in.csv.journal"], "cannot be the journal and hold the failed rows"),
        (["--failed", "x.json"], "in the format of the input, which is csv"),
        (["--failed", "no/x.csv"], "does not exist: make it first"),
        (["--failed", "."], "name a file, not a folder"),
        (["--failed", "precious.csv"], "precious.csv is there already"),
        (["--journal", "no/x"], "no/x cannot be written: No such file"),
        (["--journal", "."], "cannot be written: Is a directory"),
        (["--journal", "--no-journal"], "exclude each other"),
        (["--fresh", "--no-journal"], "--fresh starts a journal anew"),
    ],
)  # fmt: skip
def test_places_that_cannot_be_are_refused_before_anything_is_sent(
    here: Any,
    lisn_sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    table(tmp_path, THREE)
    (tmp_path / "link.csv").symlink_to("in.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "in.csv")
    (tmp_path / "precious.csv").write_text("precious")
    before = files(tmp_path)
    done = here("import", "in.csv", *PLAN, *more)
    assert done.returncode == 2
    assert message in done.stderr
    assert (files(tmp_path), lisn_sandbox.seen) == (before, [])
    assert (tmp_path / "in.csv").read_text() == THREE
    assert (tmp_path / "precious.csv").read_text() == "precious"


def test_a_folder_that_cannot_be_written_to_is_said_with_what_to_do(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    (tmp_path / "there").mkdir()
    file = table(tmp_path / "there", THREE)
    with read_only(tmp_path / "there"):
        done = here("import", file, *PLAN)
        assert done.returncode == 2
        assert f"error: the journal {file}.journal cannot be written: " in done.stderr
        assert "--journal FILE" in done.stderr
        assert "--no-journal" in done.stderr
        assert lisn_sandbox.seen == []
        assert here("import", file, *PLAN, "--no-journal").returncode == 0
        assert here("import", file, *PLAN, "--journal", str(tmp_path / "j")).returncode == 0


class read_only:
    """A folder that even root cannot write to; skipped where there is no way to have one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.immutable = False

    def __enter__(self) -> None:
        self.folder.chmod(0o500)
        if os.access(self.folder, os.W_OK):  # root
            done = subprocess.run(["chattr", "+i", str(self.folder)], capture_output=True)
            if done.returncode:
                self.folder.chmod(0o700)
                pytest.skip("root, and no chattr")
            self.immutable = True

    def __exit__(self, *_: object) -> None:
        if self.immutable:
            subprocess.run(["chattr", "-i", str(self.folder)], check=True)
        self.folder.chmod(0o700)


def test_a_summary_that_nobody_got_leaves_the_journal(lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, THREE)
    command = ["import", file, *PLAN, "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*LISN, *command], env=environment(lisn_sandbox), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert "cannot write the output" in done.stderr
    assert files(tmp_path) == ["in.csv", "in.csv.journal"]
    again = lisn(*command, box=lisn_sandbox)
    assert len(json.loads(again.stdout)["assistants"]) == 3
    assert names(lisn_sandbox) == ["a", "b", "c"]
    assert files(tmp_path) == ["in.csv"]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"LISN_API_TOKEN": "wrong"}, 1),
        ({"LISN_BASE_URL": "http://127.0.0.1:1"}, 1),
        ({"LISN_API_TOKEN": ""}, 2),
    ],
)
def test_an_import_that_fails_before_it_sends_leaves_nothing_but_tells_programs_why(
    lisn_sandbox: Sandbox, tmp_path: Path, more: dict[str, str], status: int
):
    file = table(tmp_path, THREE)
    done = lisn("import", file, *PLAN, "--json", "--max-retries", "0", box=lisn_sandbox, **more)
    assert done.returncode == status
    assert f"error: {json.loads(done.stdout)['error']}\n" == done.stderr
    assert files(tmp_path) == ["in.csv"]


def test_a_place_is_wrong_also_by_another_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        journal_of("in.csv", f"../{tmp_path.name}/in.csv", off=False, fresh=False, dry_run=False)
