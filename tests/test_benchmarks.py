"""The benchmarks stay runnable: each on tiny numbers, for what it writes and never for its speed."""

from __future__ import annotations

import importlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as together
from benchmarks import _peer_environment, measuring
from benchmarks.measuring import Contestant, Effort, race
from benchmarks.responder import responder
from benchmarks.results import NO_PEERS

FIGURES = {
    "create": {"S1", "S2", "S3"},
    "sync_calls": {"S4"},
    "bulk": {"S5", "S6"},
    "memory": {"S7"},
    "imports": {"S8"},
    "listing": {"S9"},
    "sandbox": {"S10"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a tiny run of all of them leaves. It must not install anything."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_peer_environment, "_run", lambda *arguments: pytest.fail("it touched the peers"))
        assert together.main(["--tiny", "--results", str(results)]) == 0
    return results


def read(folder: Path, name: str) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / f"{name}-tiny.json").read_text())
    return about


@pytest.mark.parametrize("name", together.BENCHMARKS)
def test_a_benchmark_writes_each_of_its_figures(folder: Path, name: str) -> None:
    rows = read(folder, name)["rows"]
    assert {row["name"] for row in rows if row["goal"]} == FIGURES[name]
    table = (folder / f"{name}-tiny.md").read_text()
    for row in rows:
        assert f"| {row['what']}" in table
        if isinstance(row["figure"], str):
            assert row["figure"].endswith((NO_PEERS, "does not tell", "is not installed"))
            continue
        low, middle, high = (row["figure"][part] for part in ("low", "median", "high"))
        assert 0 <= low <= middle <= high < math.inf
        assert middle > 0 or row["unit"] == "MB"  # tiny runs may need no more memory


def test_the_summary_has_them_all_and_says_where_they_are_from(folder: Path) -> None:
    about = read(folder, "speed")
    assert about["rows"] == [row for name in together.BENCHMARKS for row in read(folder, name)["rows"]]
    assert about["profile"] == "tiny"
    assert about["versions"]["aiohttp"]
    assert about["date"] in (folder / "headline-tiny.md").read_text()
    assert about["machine"] in (folder / "headline-tiny.md").read_text()


@pytest.mark.parametrize("name", together.BENCHMARKS)
def test_a_benchmark_is_a_command_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out


def test_only_a_full_run_as_it_is_meant_replaces_what_the_readme_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox = importlib.import_module("benchmarks.sandbox")
    sandbox.main(["--calls", "5", "--repeats", "1", "--results", str(tmp_path)])
    assert {file.name.partition(".")[0] for file in tmp_path.iterdir()} == {"sandbox-custom"}
    assert "S10  creates per second" in capsys.readouterr().out


def test_another_library_that_cannot_run_is_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_peer_environment, "ready", lambda packages: {"nowhere": "pip could not install it"})
    monkeypatch.setattr(_peer_environment, "python", lambda: measuring.sys.executable)  # type: ignore[attr-defined]
    with responder() as url:
        contestants = [
            Contestant("plain", "asynchronous", ("plain", url, "1", "default")),
            Contestant("absent", "asynchronous", ("plain", url, "1", "default"), ("nowhere",)),
            Contestant("broken", "asynchronous", ("no such name", url, "1", "default"), ("somewhere",)),
        ]
        ran = race(contestants, Effort(rounds=1, calls=2, warm_up=1))
    assert ran.ratio("absent", "plain") == "absent: pip could not install it"
    assert ran.ratio("broken", "plain") == "broken: it did not run (KeyError: 'no such name')"
    assert ran.row("", "itself", "plain", "plain").figure.median == 1  # type: ignore[union-attr]


def test_what_breaks_of_ours_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = Contestant("lisn", "asynchronous", ("lisn", "http://127.0.0.1:1", "1", "default"))
    with pytest.raises(measuring.EndedError, match="APIConnectionError"):
        race([nobody], Effort(rounds=1, calls=1))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="nothing can be pinned here")
def test_a_run_leaves_this_process_on_the_cores_it_had() -> None:
    before = os.sched_getaffinity(0)
    with responder() as url:
        race([Contestant("plain", "asynchronous", ("plain", url, "1", "default"))], Effort(rounds=1, calls=1))
    assert os.sched_getaffinity(0) == before
