"""What a client is told: every wrong setting is named when the client is made, not at the first call."""

from __future__ import annotations

import math
import ssl
from typing import Any

import pytest

from lisn_async import AsyncLisn, ConfigurationError
from lisn_async.sandbox import Sandbox


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://app.lisn.dev/api", "https://app.lisn.dev/api"),
        ("https://app.lisn.dev/api/", "https://app.lisn.dev/api"),
        ("https://app.lisn.dev", "https://app.lisn.dev/api"),
        ("https://app.lisn.dev/", "https://app.lisn.dev/api"),
        ("https://APP.lisn.dev", "https://APP.lisn.dev/api"),
        ("https://example.com", "https://example.com"),
        ("https://example.com/lisn/", "https://example.com/lisn"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/api", "http://localhost:8080/api"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_base_url_is_what_paths_are_appended_to(given: str, used: str) -> None:
    assert AsyncLisn("t", base_url=given).base_url == used


@pytest.mark.parametrize(
    "given",
    ["", "app.lisn.dev", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x#y", "https://x y"]
    + ["https://x\n", "https://é", "https://x:0", "https://x:99999", "http://example.com", "http://10.0.0.1"]
    + ["http://localhost.evil.com", "http://127.0.0.1.evil.com", "https://x\\@y", 7],
)
def test_a_base_url_that_cannot_or_must_not_be_used_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        AsyncLisn("t", base_url=given)


def test_clear_text_to_another_host_needs_to_be_asked_for() -> None:
    assert AsyncLisn("t", base_url="http://example.com", allow_insecure_http=True).base_url


def test_the_environment_is_used_and_empty_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="LISN_API_TOKEN"):
        AsyncLisn()
    monkeypatch.setenv("LISN_API_TOKEN", "")
    with pytest.raises(ConfigurationError, match="LISN_API_TOKEN"):
        AsyncLisn()
    monkeypatch.setenv("LISN_API_TOKEN", "from-environment")
    monkeypatch.setenv("LISN_BASE_URL", "")
    assert AsyncLisn().base_url == "https://app.lisn.dev/api"
    monkeypatch.setenv("LISN_BASE_URL", "http://localhost:1")
    assert AsyncLisn().base_url == "http://localhost:1"


def test_a_token_with_the_word_that_goes_before_it_is_told_so() -> None:
    with pytest.raises(ConfigurationError, match="begins with Bearer, which the client adds itself"):
        AsyncLisn("Bearer s3cret")


@pytest.mark.parametrize(
    "token", ["", "s3cret\n", " s3cret", "s3 cret", "s3crét", "s3cret\x00", "s3cret\r\nX: y"]
)
def test_a_token_that_would_break_or_forge_a_header_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AsyncLisn(token)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": math.inf},
        {"timeout": math.nan},
        {"timeout": None},
        {"timeout": True},
        {"deadline": 0},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"max_connections": 0},
        {"default_headers": {"Authorization": "x"}},
        {"default_headers": {"content-length": "1"}},
        {"default_headers": {"X-A": "b\r\nX-C: d"}},
        {"default_headers": {"X A": "b"}},
        {"default_headers": {"X-A": 1}},
        {"proxy": "socks5://localhost:1"},
        {"proxy": "http://"},
        {"ssl_context": False},
        {"ssl_context": ssl._create_unverified_context()},
    ],
)
def test_a_setting_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        AsyncLisn("t", **wrong)
    if next(iter(wrong)) in ("timeout", "max_retries"):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            AsyncLisn("t").with_options(**wrong)


async def test_default_headers_travel_and_user_agent_may_be_changed(sandbox: Sandbox) -> None:
    headers = {"X-Tenant": "acme", "User-Agent": "mine/1"}
    async with AsyncLisn(sandbox.token, base_url=sandbox.base_url, default_headers=headers) as client:
        await client.assistants.list()
    assert sandbox.seen[0].headers["X-Tenant"] == "acme"
    assert sandbox.seen[0].headers["User-Agent"] == "mine/1"


async def test_our_own_user_agent_names_the_sdk(sandbox: Sandbox, client: AsyncLisn) -> None:
    await client.assistants.list()
    assert sandbox.seen[0].headers["User-Agent"].startswith("lisn-python/")


def test_making_a_client_shows_no_token() -> None:
    assert "s3cret" not in repr(AsyncLisn("s3cret"))


@pytest.mark.parametrize(
    ("environment", "base_url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://example.com", "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "https://example.com", "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128"}, "https://example.com", "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, "https://example.com", None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}, "https://example.com", None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"}, "https://a.example.com", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://localhost:1", None),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://127.0.0.1:1", None),
        ({"HTTPS_PROXY": ""}, "https://example.com", None),
    ],
)
def test_proxies_come_from_the_environment_and_loopback_never_has_one(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], base_url: str, proxy: str | None
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = AsyncLisn("t", base_url=base_url)._calls.settings.proxy
    assert (found.url if found else None) == proxy


def test_a_proxys_password_is_kept_out_of_its_url() -> None:
    found = AsyncLisn("t", proxy="http://user:p%40ss@proxy:3128")._calls.settings.proxy
    assert found is not None
    assert found.url == "http://proxy:3128"
    assert found.authorization == "Basic dXNlcjpwQHNz"
    assert "dXNlc" not in repr(found)
