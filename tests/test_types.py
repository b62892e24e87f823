"""The types users see: both packages and a file of user code under `mypy --strict`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(600)
def test_both_packages_and_a_users_code_pass_mypy_strict() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "lisn_async", "lisn_sync", "tests/typing_tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
