"""The experiments on reliability, on a few items each: what they promise in the README, they promise here."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.reliability.__main__ import EXPERIMENTS, main
from benchmarks.reliability.rows import Profile


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_short_version_keeps_its_promises(name: str) -> None:
    rows = importlib.import_module(f"benchmarks.reliability.{name}").run(Profile.TINY)
    assert rows
    assert [row for row in rows if row.is_met is False] == []


def test_the_command_prints_its_table_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tiny", "--only", "peers", "--results", str(tmp_path)]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("R6   ok       ")
    written = json.loads((tmp_path / "reliability-tiny-part.json").read_text())
    assert [row["name"] for row in written["rows"]] == ["R6"]
    assert "| R6 |" in (tmp_path / "reliability-tiny-part.md").read_text()
