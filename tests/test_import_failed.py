"""The rows of an import that failed: a file that the same command line takes once it is mended."""

import csv
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lisn_async.cli._import_failed import place_of_failed
from lisn_async.cli.files import read_rows
from lisn_async.sandbox import Sandbox
from tests.fix_cli import lisn, table

PLAN = ["--map", "title=name", "--set", "type=text", "--set", "llm_provider=openai", "--max-concurrency", "1"]
SECOND_FAILS = [{"status": 422, "operation": "create", "skip": 1}]
SECRET = "s3cret-of-the-webhook"

INPUTS = {
    "in.csv": f'title,note,system_prompt,webhook_secret\r\na,x,1,\r\nb,"ä\r\n""y""",2,{SECRET}\r\nc,,3,\r\n',
    "in.jsonl": '{"title": "a", "system_prompt": "1"}\n'
    f'{{"title": "b", "note": {{"deep": [1, null]}}, "system_prompt": "2", "webhook_secret": "{SECRET}"}}\n'
    '{"title": "c", "system_prompt": "3"}\n',
    "in.json": '[{"title": "a", "system_prompt": "1"},\n'
    f'{{"title": "b", "note": [1.5], "system_prompt": "2\\ud83d\\ude00", "webhook_secret": "{SECRET}"}},\n'
    '{"title": "c", "system_prompt": "3"}]',
    "in.yaml": "- {title: a, system_prompt: 1}\n"
    f'- title: b\n  "no: te": yes\n  system_prompt: |\n    2\n    2\n  webhook_secret: {SECRET}\n'
    "- {title: c, system_prompt: 3}\n",
}


def values(path: Path, format: str) -> list[dict[str, object]]:
    return [dict(row.values) for row in read_rows(str(path), format)]


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("secrets", [False, True])
def test_a_failed_row_is_written_as_it_was_read_and_taken_by_the_same_command_line(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path, name: str, secrets: bool
):
    (tmp_path / name).write_text(INPUTS[name], newline="")
    failed = tmp_path / name.replace("in.", "in.failed.")
    lisn_sandbox.faults = SECOND_FAILS
    done = here("import", str(tmp_path / name), *PLAN, "--json", *(["--with-secrets"] if secrets else []))
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed_file"] == str(failed)
    assert f"1 row that was not created is in {failed}" in done.stderr
    assert stat.S_IMODE(failed.stat().st_mode) == 0o600
    format = failed.suffix[1:]
    _, wanted, _ = values(tmp_path / name, format)
    if not secrets:
        wanted["webhook_secret"] = None
        assert "has no webhook secrets: 1 row lost one (--with-secrets keeps them)" in done.stderr
        assert SECRET not in failed.read_text() + done.stdout + done.stderr
    assert values(failed, format) == [wanted]
    done = here("import", str(failed), *PLAN)
    assert done.returncode == 0, done.stderr
    assert sorted(one["name"] for one in lisn_sandbox.assistants()) == ["a", "b", "c"]
    (made,) = [one for one in lisn_sandbox.assistants() if one["name"] == "b"]
    assert made["webhook_secret"] == (SECRET if secrets else None)
    assert made["system_prompt"] == wanted["system_prompt"]


def test_a_mapped_column_that_a_failed_row_does_not_have_is_there_for_map(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    (tmp_path / "in.jsonl").write_text(
        '{"title": "a", "system_prompt": "1", "about": "x"}\n{"title": "b", "system_prompt": "2"}\n'
    )
    lisn_sandbox.faults = SECOND_FAILS
    here("import", str(tmp_path / "in.jsonl"), *PLAN, "--map", "about=description")
    done = here("import", str(tmp_path / "in.failed.jsonl"), *PLAN, "--map", "about=description")
    assert done.returncode == 0, done.stderr


def test_a_folder_of_markdown_keeps_its_file_names(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "md").mkdir()
    for name in ("x", "Y y", "z"):
        (tmp_path / "md" / f"{name}.md").write_text(f"---\ntitle: {name}\n'a: b': c\n---\n--- body\r\n{name}")
    (tmp_path / "md" / "bad.md").write_text("no front matter")
    lisn_sandbox.faults = [{"status": 422, "operation": "create", "times": 2}]
    done = here("import", str(tmp_path / "md"), *PLAN, "--skip-invalid")
    assert done.returncode == 1
    failed = tmp_path / "md.failed"
    assert sorted(path.name for path in failed.iterdir()) == ["Y y.md", "x.md"]
    assert stat.S_IMODE(failed.stat().st_mode) == 0o700
    assert "1 bad row could not be read as a record" in done.stderr
    for path in failed.iterdir():
        assert values(failed, "markdown")
        original = [row for row in values(tmp_path / "md", "markdown") if row.get("title") == path.stem]
        assert [row for row in values(failed, "markdown") if row["title"] == path.stem] == original
    lisn_sandbox.faults = [{"status": 422, "operation": "create"}]
    here("import", str(tmp_path / "md"), *PLAN, "--skip-invalid")
    assert [path.name for path in failed.iterdir()] == ["Y y.md"], (
        "x.md is made: it must not be there any more"
    )
    (failed / "notes.txt").write_text("mine")
    (tmp_path / "md" / "bad.md").unlink()


def test_rows_left_out_are_written_too_as_far_as_the_format_can_hold_them(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    file = table(tmp_path, "title,system_prompt,temperature\na,1,\n,2,\nb,3,warm\nragged\nc,4,\n")
    done = here("import", file, *PLAN, "--skip-invalid", "--json")
    assert done.returncode == 1
    with (tmp_path / "in.failed.csv").open(newline="") as stream:  # a second witness
        assert list(csv.reader(stream)) == [
            ["title", "system_prompt", "temperature"],
            ["", "2", ""],
            ["b", "3", "warm"],
        ]
    assert "1 bad row could not be read as a record" in done.stderr
    assert [one["name"] for one in lisn_sandbox.assistants()] == ["a", "c"]


def test_a_row_of_unknown_fate_is_never_called_failed(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    lisn_sandbox.faults = [
        {"do": "close", "operation": "create", "when": "after"},
        {"status": 422, "operation": "create"},
        {"status": 403, "operation": "list", "skip": 1},
    ]
    done = here(
        "import", table(tmp_path, "title,system_prompt\na,1\nb,2\n"), *PLAN, "--settle", "0", "--json"
    )
    assert (json.loads(done.stdout)["unknown"], json.loads(done.stdout)["failed"]) == (1, 1)
    assert (tmp_path / "in.failed.csv").read_text() == "title,system_prompt\nb,2\n"


def test_the_next_run_replaces_it_and_the_last_removes_it(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    file = table(tmp_path, "title,system_prompt\na,1\nb,2\nc,3\n")
    failed = tmp_path / "in.failed.csv"
    lisn_sandbox.faults = [{"status": 422, "operation": "create", "skip": 1, "times": 2}]
    here("import", file, *PLAN)
    assert failed.read_text() == "title,system_prompt\nb,2\nc,3\n"
    lisn_sandbox.faults = SECOND_FAILS
    here("import", file, *PLAN)
    assert failed.read_text() == "title,system_prompt\nc,3\n"
    done = here("import", file, *PLAN, "--json")
    assert json.loads(done.stdout)["failed_file"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_what_fails_of_failed_rows_is_a_file_of_its_own(here: Any, lisn_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "in.failed.csv").write_text("title,system_prompt\na,1\nb,2\n")
    lisn_sandbox.faults = SECOND_FAILS
    here("import", str(tmp_path / "in.failed.csv"), *PLAN)
    assert (tmp_path / "in.failed.csv").read_text() == "title,system_prompt\na,1\nb,2\n"
    assert (tmp_path / "in.failed-2.csv").read_text() == "title,system_prompt\nb,2\n"


@pytest.mark.parametrize(
    ("file", "format", "place"),
    [
        ("x.csv", "csv", "x.failed.csv"),
        ("a/x.y.csv", "csv", "a/x.y.failed.csv"),
        ("x.failed.csv", "csv", "x.failed-2.csv"),
        ("x.failed-9.csv", "csv", "x.failed-10.csv"),
        ("x", "csv", "x.failed"),
        ("x.failed", "csv", "x.failed-2"),
        ("md.v2/", "markdown", "md.v2.failed"),
        ("md.failed", "markdown", "md.failed-2"),
        ("-", "csv", None),
    ],
)
def test_the_place_of_failed_rows_is_beside_the_input(file: str, format: Any, place: str | None):
    assert place_of_failed(file, None, format, None).path == place


def test_somebody_elses_file_of_that_name_is_not_overwritten(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
):
    file = table(tmp_path, "title,system_prompt\na,1\n")
    (tmp_path / "in.failed.csv").write_text("precious")
    done = here("import", file, *PLAN)
    assert done.returncode == 2
    assert "in.failed.csv is there already" in done.stderr
    assert (lisn_sandbox.seen, (tmp_path / "in.failed.csv").read_text()) == ([], "precious")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "in.failed.csv"]


def test_from_stdin_failed_rows_need_a_name(lisn_sandbox: Sandbox, tmp_path: Path):
    rows = "title,system_prompt\na,1\nb,2\n"
    for more, wanted in (([], None), (["--failed", str(tmp_path / "f.csv")], str(tmp_path / "f.csv"))):
        lisn_sandbox.faults = SECOND_FAILS
        done = lisn("import", "-", "--format", "csv", *PLAN, "--json", *more, box=lisn_sandbox, stdin=rows)
        assert json.loads(done.stdout)["failed_file"] == wanted
    assert (tmp_path / "f.csv").read_text() == "title,system_prompt\nb,2\n"


def test_failed_rows_that_cannot_be_written_hide_nothing_else(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lisn_async.cli.files.writing.os.fsync", full)
    lisn_sandbox.faults = SECOND_FAILS
    file = table(tmp_path, "title,system_prompt\na,1\nb,2\n")
    done = here("import", file, *PLAN, "--no-journal", "--json")
    assert done.returncode == 1
    assert "the failed rows could not be written: " in done.stderr
    assert (json.loads(done.stdout)["created"], json.loads(done.stdout)["failed_file"]) == (1, None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


TEXT = ["--set", "type=text", "--set", "llm_provider=openai"]


def test_failed_rows_that_were_mended_are_never_overwritten(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
) -> None:
    file = table(tmp_path, "name,system_prompt\na,1\nb,2\nc,3\n")
    failed = tmp_path / "in.failed.csv"
    lisn_sandbox.faults = [{"status": 403, "operation": "create", "times": None}]
    for _ in range(2):  # as it was written, it is written again
        assert here("import", file, *TEXT).returncode == 1
    failed.write_text(failed.read_text().replace("a,1", "a-mended,1"))
    sent = len(lisn_sandbox.seen)
    again = here("import", file, *TEXT)
    assert (again.returncode, len(lisn_sandbox.seen)) == (2, sent)
    assert "in.failed.csv was changed since the last run wrote it" in again.stderr
    assert "a-mended" in failed.read_text()
