"""When, where and with what a run was made."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import _peer_environment
from benchmarks.cores import two_cores

OURS = ("lisn", "aiohttp", "attrs", "cattrs", "orjson", "uvloop")
PEERS = ("aiohttp", "httpx", "httpx2", "openai", "requests", "urllib3", "vapi_server_sdk")


def surroundings(profile: str, *, peers: bool) -> dict[str, Any]:
    """The head of a file of results."""
    return {
        "profile": profile,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": _machine(),
        "pinned": bool(two_cores()[0]),
        "versions": {name: version for name in OURS if (version := _version(name))},
        "peers": _peer_versions() if peers else {},
    }


def in_a_line(about: Mapping[str, Any]) -> str:
    """The same for a reader."""
    versions = {**about["peers"], **about["versions"]}
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{about['date']}, {about['profile']} run, {about['python']}, {about['machine']}; {libraries}."


def _machine() -> str:
    """Its class: nothing that would name one machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {_processor()}, {platform.system()} {platform.machine()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _peer_versions() -> dict[str, str]:
    try:
        found = _peer_environment.versions(PEERS)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {name: version for name, version in found.items() if version}
