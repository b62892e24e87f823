"""A forward proxy, a process of its own: what it is given, and that it cannot read the token of an https call."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from lisn_async import APIConnectionError, APIError, APITimeoutError, AsyncLisn
from tests.fix_surface import Making
from tests.fix_tls import TOKEN, Authority, Calling, Origin, origin

HOST = "api.lisn.test"
"""No name server knows it: only a proxy gets there."""
CREATE: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "p"}


@attrs.define
class Proxy:
    port: int
    seen_file: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def seen(self) -> bytes:
        """Every byte that it could read of what the client sent."""
        return self.seen_file.read_bytes()


@contextlib.asynccontextmanager
async def forward_proxy(folder: Path, to: int, *arguments: str) -> AsyncIterator[Proxy]:
    """A running proxy before the server on that port."""
    seen = folder / "seen"
    seen.touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.forward_proxy", str(seen), "--to", str(to), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Proxy(int(await process.stdout.readline()), seen)
    finally:
        process.stdin.close()
        await process.communicate()


@attrs.define
class Company:
    """A server in the world, and the proxy that is the only way to it."""

    proxy: Proxy
    origin: Origin
    options: dict[str, Any]


@contextlib.asynccontextmanager
async def company(folder: Path, scheme: str, *arguments: str) -> AsyncIterator[Company]:
    authority = Authority()
    options: dict[str, Any] = {"base_url": f"{scheme}://{HOST}", "timeout": 60}
    if scheme == "https":
        options["ssl_context"] = authority.client()
    else:
        options["allow_insecure_http"] = True
    async with (
        origin(authority.server(HOST) if scheme == "https" else None) as server,
        forward_proxy(folder, server.port, *arguments) as proxy,
    ):
        yield Company(proxy, server, options)


def set_environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


# --- the way there --------------------------------------------------------------------------------------


async def test_the_token_of_an_https_call_is_in_nothing_that_the_proxy_can_read(
    calling: Calling, tmp_path: Path
) -> None:
    async with company(tmp_path, "https", "--password", "user:p@ss") as there:
        proxy = f"http://user:p%40ss@{there.proxy.address}"
        made = await calling("create", fields=CREATE, proxy=proxy, **there.options)
    assert made.id == "ast_1"
    connect, _, tunnelled = there.proxy.seen.partition(b"\r\n\r\n")
    assert connect.startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz" in connect
    assert tunnelled.startswith(b"\x16\x03")
    for secret in (TOKEN.encode(), b"Bearer", b"system_prompt"):
        assert secret not in there.proxy.seen
    [request] = there.origin.requests
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in request
    assert b"proxy" not in request.lower()


async def test_an_http_call_goes_as_a_whole_url_with_the_proxys_password(
    calling: Calling, tmp_path: Path
) -> None:
    async with company(tmp_path, "http", "--password", "user:p@ss") as there:
        proxy = f"http://user:p%40ss@{there.proxy.address}"
        made = await calling("create", fields=CREATE, proxy=proxy, **there.options)
    assert made.id == "ast_1"
    assert there.proxy.seen.startswith(f"POST http://{HOST}/v1/assistants HTTP/1.1\r\n".encode())
    assert there.proxy.seen.count(b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n") == 1
    [request] = there.origin.requests
    assert request.startswith(b"POST /v1/assistants HTTP/1.1\r\n")
    assert request.endswith(b'"system_prompt":"p"}')


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("https", "HTTPS_PROXY"),
        ("https", "https_proxy"),
        ("https", "ALL_PROXY"),
        ("http", "HTTP_PROXY"),
        ("http", "http_proxy"),
        ("http", "all_proxy"),
    ],
)
async def test_a_proxy_of_the_environment_is_used(
    calling: Calling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, name: str
) -> None:
    async with company(tmp_path, scheme, "--password", "user:pass") as there:
        set_environment(monkeypatch, **{name: f"http://user:pass@{there.proxy.address}"})
        assert (await calling("get", "ast_1", **there.options)).id == "ast_1"
    assert len(there.origin.requests) == 1
    assert (TOKEN.encode() in there.proxy.seen) == (scheme == "http")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_PROXY", HOST),
        ("no_proxy", "lisn.test"),
        ("NO_PROXY", ".lisn.test"),
        ("no_proxy", "*"),
        ("NO_PROXY", f"elsewhere, {HOST}"),
        ("no_proxy", f"{HOST}:443"),
    ],
)
async def test_a_host_that_needs_no_proxy_is_not_asked_for_through_one(
    calling: Calling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    async with company(tmp_path, "https") as there:
        set_environment(monkeypatch, HTTPS_PROXY=f"http://{there.proxy.address}", **{name: value})
        if value == f"{HOST}:443":
            there.options["base_url"] = f"https://{value}"
        with pytest.raises(APIConnectionError, match="the host name is not known"):
            await calling("get", "ast_1", max_retries=0, **there.options)
    assert there.proxy.seen == b""


async def test_this_machine_is_reached_without_the_environments_proxy(
    calling: Calling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with origin(None) as server, forward_proxy(tmp_path, server.port) as proxy:
        set_environment(
            monkeypatch, HTTP_PROXY=f"http://{proxy.address}", ALL_PROXY=f"http://{proxy.address}"
        )
        assert (await calling("get", "ast_1", base_url=f"http://127.0.0.1:{server.port}")).id == "ast_1"
    assert proxy.seen == b""


@pytest.mark.parametrize("environment", [{"HTTPS_PROXY": "http://127.0.0.1:9"}, {"NO_PROXY": HOST}], ids=str)
async def test_what_is_given_comes_before_the_environment(
    calling: Calling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    async with company(tmp_path, "https") as there:
        set_environment(monkeypatch, **environment)
        proxy = f"http://{there.proxy.address}"
        assert (await calling("get", "ast_1", proxy=proxy, **there.options)).id == "ast_1"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_netrc_has_no_say_on_either_side_of_a_proxy(
    calling: Calling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    machines = (HOST, "127.0.0.1", "default")
    (tmp_path / "netrc").write_text("".join(f"machine {one} login user password n3trc\n" for one in machines))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with company(tmp_path, scheme) as there:
        set_environment(monkeypatch, **{f"{scheme}_proxy": f"http://{there.proxy.address}"})
        await calling("get", "ast_1", **there.options)
    assert b"Basic" not in there.proxy.seen + there.origin.requests[0]
    assert there.origin.requests[0].count(b"Authorization:") == 1


# --- when it fails --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("given", ["", "user:wr0ng@"])
async def test_a_proxy_that_wants_another_password_is_final_and_nothing_shows_it(
    calling: Calling, tmp_path: Path, scheme: str, given: str
) -> None:
    async with company(tmp_path, scheme, "--password", "user:pass") as there:
        with pytest.raises(APIError, match="answered 407") as caught:
            proxy = f"http://{given}{there.proxy.address}"
            await calling("create", fields=CREATE, proxy=proxy, **there.options)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, False)
    assert there.proxy.seen.count(b"HTTP/1.1\r\n") == 1
    assert there.origin.requests == []
    assert "wr0ng" not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize("when", ["in CONNECT", "in the middle of its answer"])
async def test_a_create_whose_proxy_dies_before_the_tunnel_stands_was_not_sent(
    calling: Calling, tmp_path: Path, when: str
) -> None:
    async with company(tmp_path, "https", "--dies", when) as there:
        with pytest.raises(APIConnectionError) as caught:
            proxy = f"http://{there.proxy.address}"
            await calling("create", fields=CREATE, proxy=proxy, **there.options)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (3, False), (
        "tried again: nothing had left"
    )
    assert there.origin.sent == []
    assert TOKEN.encode() not in there.proxy.seen


async def test_a_create_whose_proxy_dies_with_the_answer_is_unknown_and_not_sent_again(
    calling: Calling, tmp_path: Path
) -> None:
    async with company(tmp_path, "http", "--dies", "before it passes the answer on") as there:
        with pytest.raises(APIConnectionError) as caught:
            proxy = f"http://{there.proxy.address}"
            await calling("create", fields=CREATE, proxy=proxy, **there.options)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, True)
    assert len(there.origin.requests) == 1


async def test_a_proxy_that_never_answers_is_left_at_the_deadline_with_nothing_sent(
    calling: Calling, tmp_path: Path
) -> None:
    async with company(tmp_path, "https", "--dies", "hangs") as there:
        with pytest.raises(APITimeoutError) as caught:
            proxy = f"http://{there.proxy.address}"
            await calling("create", fields=CREATE, proxy=proxy, deadline=0.3, **there.options)
    assert not caught.value.outcome_unknown
    assert there.origin.sent == []


async def test_a_proxy_may_speak_tls_itself(calling: Calling, tmp_path: Path) -> None:
    authority = Authority()
    certificate = tmp_path / "proxy.pem"
    authority.ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    async with (
        origin(authority.server(HOST)) as server,
        forward_proxy(tmp_path, server.port, "--tls", str(certificate)) as proxy,
    ):
        options = {"base_url": f"https://{HOST}", "ssl_context": authority.client()}
        assert (
            await calling("get", "ast_1", proxy=f"https://localhost:{proxy.port}", **options)
        ).id == "ast_1"
    assert proxy.seen.startswith(f"CONNECT {HOST}:443 ".encode())
    assert TOKEN.encode() not in proxy.seen


# --- more than one of these at once ---------------------------------------------------------------------


async def test_a_certificate_that_does_not_fit_is_refused_behind_a_proxy_as_well(
    calling: Calling, tmp_path: Path
) -> None:
    authority = Authority()
    async with (
        origin(authority.server("other.example")) as server,
        forward_proxy(tmp_path, server.port) as proxy,
    ):
        options = {"base_url": f"https://{HOST}", "ssl_context": authority.client()}
        with pytest.raises(APIConnectionError, match="certificate") as caught:
            await calling("create", fields=CREATE, proxy=f"http://{proxy.address}", **options)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, False)
    assert server.requests == []
    assert TOKEN.encode() not in proxy.seen
    assert len(server.sent) == 1


async def test_a_borrowed_session_shows_a_proxy_no_token_either(tmp_path: Path) -> None:
    async with (
        company(tmp_path, "https", "--password", "user:pass") as there,
        aiohttp.ClientSession() as session,
        AsyncLisn(
            TOKEN, session=session, proxy=f"http://user:pass@{there.proxy.address}", **there.options
        ) as client,
    ):
        await client.assistants.create(**CREATE)
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in there.origin.requests[0]
    assert TOKEN.encode() not in there.proxy.seen


async def test_a_token_that_is_read_anew_is_not_shown_to_the_proxy_either(tmp_path: Path) -> None:
    tokens = iter(["tok-first", "tok-second"])
    async with (
        company(tmp_path, "https") as there,
        AsyncLisn(lambda: next(tokens), proxy=f"http://{there.proxy.address}", **there.options) as client,
    ):
        await client.assistants.get("ast_1")
    assert b"Authorization: Bearer tok-first\r\n" in there.origin.requests[0]
    assert b"tok-" not in there.proxy.seen


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_creates_at_once_through_a_proxy_arrive_once_each(
    surface: Making, tmp_path: Path, scheme: str
) -> None:
    async with company(tmp_path, scheme) as there:
        proxy = f"http://{there.proxy.address}"
        async with surface(TOKEN, proxy=proxy, max_connections=4, **there.options) as client:
            await asyncio.gather(*(client("create", **{**CREATE, "name": f"n{n}"}) for n in range(12)))
    names = sorted(request.partition(b'"name":"')[2].partition(b'"')[0] for request in there.origin.requests)
    assert names == sorted(f"n{n}".encode() for n in range(12))


@pytest.mark.parametrize(
    ("proxy", "why"),
    [("127.0.0.1:1", "Connection refused"), ("no-such-proxy.invalid:1", "the host name is not known")],
)
async def test_a_proxy_that_is_not_there_is_what_the_error_blames(proxy: str, why: str) -> None:
    async with AsyncLisn(TOKEN, base_url=f"https://{HOST}", proxy=f"http://{proxy}", max_retries=0) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.assistants.list()
    assert str(caught.value).endswith(f"could not connect to the proxy ({why})")
