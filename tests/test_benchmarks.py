"""The benchmarks stay runnable: each on tiny numbers, for its output and never for its speed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["create", "sync_calls", "bulk"])
def test_a_benchmark_writes_its_rows(name: str, tmp_path: Path) -> None:
    assert importlib.import_module(f"benchmarks.{name}").main(["--tiny", "--results", str(tmp_path)]) == 0
    assert (tmp_path / f"{name}-tiny.json").exists()
