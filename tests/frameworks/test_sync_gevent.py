"""The sync shim in a program that gevent has patched."""

from __future__ import annotations

import pytest

from lisn_async.sandbox import Sandbox
from lisn_sync import _loop
from tests.fix_sync import script

from .conftest import needs

pytestmark = needs("gevent")


@pytest.mark.parametrize("patched", ["thread=True", "thread=False"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_under_gevent_a_call_works_where_threads_were_left_alone_and_else_says_so(
    lisn_sandbox: Sandbox, patched: str, loop: str
) -> None:
    printed = script(
        f"""
        from gevent import monkey
        monkey.patch_all({patched})
        import sys, lisn_sync
        client = lisn_sync.Lisn(sys.argv[2], base_url=sys.argv[1])
        try:
            print(client.assistants.list())
        except RuntimeError as error:
            print(error)
        """,
        lisn_sandbox.base_url,
        lisn_sandbox.token,
        loop=loop,
    )
    assert printed.strip() == ("[]" if patched == "thread=False" else _loop.NO_THREADS)
