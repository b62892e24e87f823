import lisn_sync

from .conftest import Awaited, again

globals().update(again("assistants"))


def test_the_client_of_these_tests_is_the_sync_one(client: Awaited) -> None:
    assert type(client._what) is lisn_sync.Lisn
