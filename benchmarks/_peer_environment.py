"""Virtual environments for the libraries of other services, made once: `benchmarks/.peers`, and one for openai alone."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / ".peers"
ALONE = FOLDER.with_name(".peers-alone")
"""For openai, which imports more where aiohttp is installed."""
SECONDS = 90
"""For the installation of one library."""

_INSTALLED = """
import importlib.metadata, json, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def python(folder: Path = FOLDER) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def ready(packages: Iterable[str], folder: Path = FOLDER) -> Mapping[str, str]:
    """Install what is missing from the index that pip is set up with; for each that cannot be, the reason."""
    wanted = list(packages)
    try:
        if not python(folder).exists():
            venv.create(folder, with_pip=True)
        installed = versions(wanted, folder)
    except (OSError, subprocess.SubprocessError) as error:
        return dict.fromkeys(wanted, f"no environment for it ({_line(error)})")
    reasons = {}
    for name in wanted:
        if installed[name] is None:
            try:
                _run(folder, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name)
            except (OSError, subprocess.SubprocessError) as error:
                reasons[name] = f"pip could not install it ({_line(error)})"
    return reasons


def versions(packages: Iterable[str], folder: Path = FOLDER) -> Mapping[str, str | None]:
    """What is installed, by the name of the package."""
    found: dict[str, str | None] = json.loads(_run(folder, "-c", _INSTALLED, *packages))
    return found


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(python(folder)), *arguments], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return done.stdout


def _line(error: Exception) -> str:
    """The last thing that was said."""
    said = getattr(error, "stderr", None)
    said = said.decode(errors="replace") if isinstance(said, bytes) else said
    return (said or str(error) or type(error).__name__).strip().splitlines()[-1][:200]
