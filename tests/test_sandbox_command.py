"""`lisn sandbox`: faults from a file, and who can reach it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lisn_async.cli._sandbox import _is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running(*arguments: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The command while it runs: its line of JSON; what it said on stderr is there at the end."""
    command = [sys.executable, "-m", "lisn_async.cli", "sandbox", "--port", "0", "--json", *arguments]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), said
        finally:
            process.send_signal(signal.SIGTERM)
            said.append(process.communicate(timeout=60)[1])
    assert process.returncode == 0, said


def listing(ready: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{ready['base_url']}/v1/assistants", headers={"Authorization": f"Bearer {ready['token']}"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def test_a_file_can_hold_every_kind_of_fault_and_loopback_is_no_warning(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text(
        '["garbage", {"do": "drip", "seconds": 0}, {"do": "partial", "count": 0}, {"do": "html", "when": "late"},'
        ' {"do": "refuse", "seconds": 0.01}, {"do": "rewrite", "how": "short"}]'
    )
    with running("--faults", str(tmp_path / "faults.json")) as (ready, said):
        with pytest.raises(http.client.BadStatusLine, match="This is no HTTP"):
            listing(ready)
        assert listing(ready) == []
    assert said == ["stopped\n"]


def test_a_sandbox_for_the_whole_network_says_that_it_is_one() -> None:
    with running("--host", "0.0.0.0") as (ready, said):
        assert ready["base_url"].startswith("http://127.0.0.1:")
        assert listing(ready) == []
    [message] = said
    assert "warning: 0.0.0.0 is not this machine alone: everyone on the network can reach" in message


@pytest.mark.parametrize(
    ("host", "is_alone"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_only_loopback_is_this_machine_alone(host: str, is_alone: bool) -> None:
    assert _is_loopback(host) is is_alone
