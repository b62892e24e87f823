"""The benchmarks stay runnable: each on tiny numbers, for its output and never for its speed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_create_benchmark_prints_a_ratio_with_quartiles() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.create",
        "--calls",
        "20",
        "--repeats",
        "2",
        "--concurrency",
        "4",
    ]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=60, check=True
    )
    assert re.search(r"plain aiohttp: \d+\.\d\d \(quartiles \d+\.\d\d-\d+\.\d\d\)", done.stdout)
