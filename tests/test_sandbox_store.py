"""What the sandbox keeps: text to the last code unit, and everything it acknowledged, through stop and kill -9."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lisn_async.sandbox import Sandbox, _ids
from lisn_async.sandbox._store import Store
from tests.test_sandbox import TEXT, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ODD_TEXT = {
    "nul": "a\x00b\x00",
    "controls": "".join(map(chr, range(32))) + "\x7f\x85",
    "separators": "line\u2028paragraph\u2029end",
    "white space": " \t\r\n text \u00a0\u3000\n",
    "lone surrogates": "\ud800 x \udfff",
    "swapped pair": "\udc00\ud800",
    "beyond the plane": "😀\U0010ffff",
    "bom and specials": "\ufeff\ufffe\uffff\ufffd",
    "not normalised": "e\u0301 é ﬁ K",
    "markup": "{{name}} ${x} %s \\n \\u0041 <script>'\"`; DROP TABLE assistants; --",
    "60 kB": "Ўзбек тили — " * 4_000,
    "900 kB": "x" * 900_000,
}


@pytest.mark.parametrize("text", ODD_TEXT.values(), ids=ODD_TEXT.keys())
async def test_text_comes_back_unchanged_from_create_get_list_update_and_duplicate(
    sandbox: Sandbox, text: str
) -> None:
    made = (await ask(sandbox, "POST", json={**TEXT, "system_prompt": text})).json
    path = f"/v1/assistants/{made['id']}"
    changed = (await ask(sandbox, "PATCH", path, json={"llm_model": text})).json
    copied = (await ask(sandbox, "POST", f"{path}/duplicate")).json
    listed = (await ask(sandbox, "GET")).json
    assert [one["system_prompt"] for one in (made, changed, copied, *listed)] == [text] * 5
    assert (await ask(sandbox, "GET", path)).json["llm_model"] == text
    assert sandbox.assistants() == listed


async def test_text_sent_as_plain_utf8_comes_back_unchanged(sandbox: Sandbox) -> None:
    text = "".join(ODD_TEXT[key] for key in ("separators", "beyond the plane", "bom and specials", "60 kB"))
    body = json.dumps({**TEXT, "name": text}, ensure_ascii=False).encode()
    reply = await ask(sandbox, "POST", data=body)
    assert reply.json["name"] == text
    assert text[:20].encode() in reply.body  # readable in a terminal, not a row of escapes


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    store = Store(":memory:", 0)
    yield store
    store.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec=None)))
def test_the_store_gives_any_text_back(store: Store, text: str) -> None:
    made = json.loads(store.create("create", {"name": text, f"key {text}": text}))
    assert made["name"] == text
    found = store.get(made["id"])
    assert found is not None
    assert json.loads(found) == made
    store.clear()


async def test_a_file_database_survives_a_restart_and_goes_on_with_new_ids(tmp_path: Path) -> None:
    file = tmp_path / "box.db"
    async with Sandbox(database=file) as box:
        for _ in range(3):
            await ask(box, "POST", json=TEXT)
        kept = box.assistants()
        await ask(box, "DELETE", f"/v1/assistants/{kept[2]['id']}")
    async with Sandbox(database=str(file)) as box:
        assert box.assistants() == (await ask(box, "GET")).json == kept[:2]
        assert [one["operation"] for one in box.commits()] == ["create"] * 3 + ["delete"]
        again = (await ask(box, "POST", json=TEXT)).json
        assert again["id"] not in {one["id"] for one in kept}
        assert [one["id"] for one in box.assistants()] == [kept[0]["id"], kept[1]["id"], again["id"]]
    assert os.listdir(tmp_path) == ["box.db"]  # noqa: PTH208 -- no log is left lying beside it


async def test_no_id_is_given_out_twice_whatever_is_deleted_cleared_or_reseeded(tmp_path: Path) -> None:
    ids: list[str] = []
    for seed in (0, 1, 0):
        async with Sandbox(database=tmp_path / "box.db", seed=seed) as box:
            for _ in range(5):
                ids.append((await ask(box, "POST", json=TEXT)).json["id"])
                await ask(box, "DELETE", f"/v1/assistants/{ids[-1]}")
            box.clear()
            assert box.assistants() == box.commits() == []
    assert len(set(ids)) == len(ids) == 15


@given(st.integers(), st.sets(st.integers(1, 2**60), min_size=2, max_size=50))
def test_different_numbers_give_different_ids(seed: int, numbers: set[int]) -> None:
    ids = {_ids.assistant_id(seed, number) for number in numbers}
    assert len(ids) == len(numbers)
    assert all(len(one) == 16 and one.startswith("ast_") and one.isascii() for one in ids)


def test_the_first_hundred_thousand_ids_are_all_different() -> None:
    assert len({_ids.assistant_id(0, number) for number in range(100_000)}) == 100_000


SERVE = """
import asyncio, sys
from lisn_async.sandbox import Sandbox

async def main():
    async with Sandbox(database=sys.argv[1]) as box:
        print(box.base_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a thing of POSIX")
async def test_whatever_was_acknowledged_survives_kill_9_and_nothing_is_there_twice(tmp_path: Path) -> None:
    file = tmp_path / "box.db"
    acknowledged: list[str] = []
    for _ in range(2):
        command = [sys.executable, "-c", SERVE, str(file)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        with server, server.stdout:
            address = server.stdout.readline().strip().removeprefix("http://")
            enough = threading.Event()
            thread = threading.Thread(target=_create_until_it_dies, args=(address, acknowledged, enough))
            thread.start()
            assert enough.wait(60)
            server.send_signal(signal.SIGKILL)
            thread.join()
    async with Sandbox(database=file) as box:
        there = [one["id"] for one in box.assistants()]
        commits = [one["assistant_id"] for one in box.commits()]
    assert len(set(there)) == len(there)
    assert set(acknowledged) <= set(there)
    assert commits == there
    assert len(there) - len(acknowledged) <= 2  # at most the one in flight at each kill


def _create_until_it_dies(address: str, acknowledged: list[str], enough: threading.Event) -> None:
    body = json.dumps(TEXT)
    headers = {"Authorization": "Bearer lisn-sandbox-token", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(address, timeout=60)
    count = 0
    try:
        while True:
            connection.request("POST", "/v1/assistants", body, headers)
            reply = connection.getresponse()
            acknowledged.append(json.loads(reply.read())["id"])
            count += 1
            if count == 200:
                enough.set()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


async def test_a_database_in_use_is_refused_and_works_once_it_is_free(tmp_path: Path) -> None:
    file = tmp_path / "box.db"
    async with Sandbox(database=file):
        with pytest.raises(OSError, match=r"box\.db: another process is using it"):
            await Sandbox(database=file).start()
    async with Sandbox(database=file) as box:
        assert (await ask(box, "GET")).json == []


async def test_a_file_that_is_no_database_of_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are my notes\n" * 100)
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE mine (x)")
    database.commit()
    database.close()
    before = [text.read_bytes(), other.read_bytes()]
    with pytest.raises(OSError, match="not a database"):
        await Sandbox(database=text).start()
    with pytest.raises(OSError, match="belongs to another program"):
        await Sandbox(database=other).start()
    with pytest.raises(OSError, match="unable to open"):
        await Sandbox(database=tmp_path / "no" / "such" / "folder.db").start()
    assert before == [text.read_bytes(), other.read_bytes()]


async def test_the_rows_can_be_read_from_another_thread_while_requests_come_in(sandbox: Sandbox) -> None:
    sizes: list[int] = []
    end = threading.Event()

    def read() -> None:
        while not end.is_set():
            rows, commits = sandbox.assistants(), sandbox.commits()
            assert len(rows) <= len(commits)
            sizes.append(len(rows))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(50):
        await ask(sandbox, "POST", json=TEXT)
    end.set()
    thread.join()
    assert sizes == sorted(sizes)
    assert len(sandbox.assistants()) == 50
