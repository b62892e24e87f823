"""The README keeps its word: every Python block runs against a sandbox, and the two commands are where CI looks."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lisn_async.sandbox import Sandbox
from lisn_async.sandbox._guesses import as_markdown

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def first_block_under(heading: str) -> str:
    return re.split(r"^```\w*\n", README.split(f"\n## {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[
        1
    ].split("```")[0]


PROGRAMS = [block for block in BLOCKS if not block.startswith("def test_")]
TESTS = [block for block in BLOCKS if block.startswith("def test_")]


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.splitlines()[1])
async def test_a_python_block_of_the_readme_runs(sandbox: Sandbox, block: str) -> None:
    environment = {**os.environ, "LISN_API_TOKEN": sandbox.token, "LISN_BASE_URL": sandbox.base_url}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", block],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", TESTS, ids=lambda block: block.splitlines()[0])
def test_a_test_in_the_readme_passes(block: str, tmp_path: Path) -> None:
    (tmp_path / "test_block.py").write_text(block)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_there_are_blocks_for_each_style() -> None:
    assert len(BLOCKS) >= 4
    assert any("AsyncLisn" in block for block in BLOCKS)
    assert any("lisn_sync" in block for block in BLOCKS)


def test_the_two_commands_are_one_line_each_and_need_only_python() -> None:
    for heading in ("Run it", "Test it"):
        [command] = first_block_under(heading).strip().splitlines()
        assert command.startswith("python3 -m venv .venv && .venv/bin/python -m pip install ")


def test_every_error_class_is_in_the_readme() -> None:
    from lisn_async import errors

    leaves = [
        name
        for name in errors.__all__
        if not re.search(r"^(LisnError|APIError|APIStatusError|Webhook\w+)$", name)
    ]
    assert [
        name
        for name in leaves
        if f"`{name}`" not in README and f"`{name} " not in README and name not in README
    ] == []


def test_the_readme_lists_every_choice_of_the_sandbox() -> None:
    assert as_markdown().strip() in README
