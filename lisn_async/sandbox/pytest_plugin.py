"""The fixture `lisn_sandbox`, for the tests of applications that use Lisn.

    def test_my_importer(lisn_sandbox):
        my_importer(base_url=lisn_sandbox.base_url, token=lisn_sandbox.token)
        assert len(lisn_sandbox.assistants()) == 3

The server runs in a thread of its own, not in the loop of the test: so it serves blocking tests as well as those
of pytest-asyncio, anyio or any other plugin, and a test that blocks its loop does not block the server.

pytest imports this module in every run of everyone who has the package installed: it must stay cheap.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lisn_async.sandbox.box import Sandbox


@pytest.fixture
def lisn_sandbox() -> "Iterator[Sandbox]":
    """A running, empty sandbox of this test's own."""
    from lisn_async.sandbox._thread import running_in_thread
    from lisn_async.sandbox.box import Sandbox

    with running_in_thread(Sandbox()) as box:
        yield box
