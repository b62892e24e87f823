"""Many at once from the command line: markers, copies, and assistants that came late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lisn_async.sandbox import Sandbox
from tests.fix_cli import PLAN, table


def names(box: Sandbox) -> list[str]:
    return sorted(one["name"] for one in box.assistants())


def test_an_import_with_markers_creates_under_another_name_first(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
) -> None:
    done = here("import", table(tmp_path, "name,system_prompt\na,1\nb,2\n"), *PLAN, "--exact", "marker")
    assert done.returncode == 0
    sent = [request.json()["name"] for request in lisn_sandbox.seen if request.operation == "create"]
    assert all(name.startswith("lisn-") for name in sent)
    assert names(lisn_sandbox) == ["a", "b"]


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_created_after_it_had_been_given_up_is_said_and_is_no_success(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path, settling: list[float], as_json: bool
) -> None:
    lisn_sandbox.faults = [{"do": "reset", "when": "late", "delay": 60, "operation": "create"}]
    file = table(tmp_path, "name,system_prompt\na,1\nb,2\n")
    done = here("import", file, *PLAN, "--settle", "40", *(["--json"] if as_json else []))
    assert names(lisn_sandbox) in (["a", "a", "b"], ["a", "b", "b"])
    assert done.returncode == 1
    assert "1 more than rows" in done.stderr
    made = {json.loads(done.stdout)["assistants"][n]["id"] for n in (0, 1)} if as_json else set()
    assert not as_json or json.loads(done.stdout)["surplus"] == 1
    [late] = {row["id"] for row in lisn_sandbox.assistants()} - made if as_json else ["ast_"]
    assert late in done.stderr


def test_with_a_surplus_the_journal_stays_so_that_the_same_command_does_not_double_everything(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path, settling: list[float]
) -> None:
    lisn_sandbox.faults = [{"do": "reset", "when": "late", "delay": 60, "operation": "create"}]
    file = table(tmp_path, "name,system_prompt\na,1\nb,2\n")
    command = ("import", file, *PLAN, "--settle", "40")
    first = here(*command)
    assert "every row exists; look at the 1 more" in first.stderr
    assert here(*command).returncode == 1
    assert len(lisn_sandbox.assistants()) == 3, "nothing was made by the second run"
    twice = [row["id"] for row in lisn_sandbox.assistants() if names(lisn_sandbox).count(row["name"]) == 2]
    [late] = [one for one in twice if one in first.stderr]
    here("assistants", "delete", late)
    assert here(*command).returncode == 0
    assert not Path(f"{file}.journal").exists()


def test_many_copies_are_listed_and_a_journal_finishes_them(
    here: Any, lisn_sandbox: Sandbox, tmp_path: Path
) -> None:
    fields = ("--name", "n", "--type", "text", "--llm-provider", "openai", "--system-prompt", "p")
    original = json.loads(here("assistants", "create", *fields, "--json").stdout)["id"]
    journal = ("--journal", str(tmp_path / "j"))
    lisn_sandbox.faults = [{"status": 403, "operation": "duplicate", "skip": 1}]
    first = here("assistants", "duplicate", original, "--count", "3", *journal)
    assert first.returncode == 1
    assert "403 Forbidden" in first.stderr
    again = here("assistants", "duplicate", original, "--count", "3", *journal, "--json")
    assert again.returncode == 0
    copies = {row["id"] for row in json.loads(again.stdout)}
    assert copies == {row["id"] for row in lisn_sandbox.assistants()} - {original}
    assert len(copies) == 3


def test_wrong_words_about_copies_are_explained(here: Any, lisn_sandbox: Sandbox) -> None:
    assert here("assistants", "duplicate", "ast_1", "--journal", "j").returncode == 2
    minus = here("assistants", "duplicate", "ast_1", "--count", "-1")
    assert (minus.returncode, "count" in minus.stderr) == (2, True)
    assert here("assistants", "duplicate", "ast_none", "--count", "2").returncode == 1
    assert [request.method for request in lisn_sandbox.seen] == ["GET"]
