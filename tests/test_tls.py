"""TLS is always verified: a real server with real certificates, and every byte that was sent to it."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from lisn_async import APIConnectionError, AsyncLisn, ConfigurationError
from lisn_sync import Lisn
from tests.fix_tls import TOKEN, Authority, Calling, origin

CREATE: dict[str, Any] = {"name": "n", "type": "text", "llm_provider": "openai", "system_prompt": "p"}


async def test_a_context_that_trusts_the_servers_ca_is_used(calling: Calling) -> None:
    authority = Authority()
    async with origin(authority.server("localhost")) as server:
        found = await calling(
            "get", "ast_1", base_url=f"https://localhost:{server.port}", ssl_context=authority.client()
        )
    assert found.id == "ast_1"
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in server.requests[0]
    assert TOKEN.encode() not in server.sent[0]


@pytest.mark.parametrize("operation", ["create", "delete"])
@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        ("another host", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("an unknown CA", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("no CA of ours at all", "unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_does_not_fit_ends_the_call_at_once_with_nothing_sent(
    calling: Calling, wrong: str, verdict: str, operation: str
) -> None:
    authority = Authority()
    host = "other.example" if wrong == "another host" else "localhost"
    trusting = Authority() if wrong == "an unknown CA" else authority
    context = None if wrong == "no CA of ours at all" else trusting.client()
    arguments, fields = (["ast_1"], None) if operation == "delete" else ([], CREATE)
    async with origin(authority.server(host, expired=wrong == "expired")) as server:
        with pytest.raises(APIConnectionError, match=f"certificate was refused: {verdict}") as caught:
            await calling(
                operation,
                *arguments,
                fields=fields,
                base_url=f"https://localhost:{server.port}",
                ssl_context=context,
            )
    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, False)
    assert server.requests == []
    [hello] = server.sent  # one connection: neither tried again nor in clear text
    assert hello.startswith(b"\x16\x03")
    assert TOKEN.encode() not in hello


async def test_a_server_without_tls_is_not_talked_to_in_clear_text(calling: Calling) -> None:
    async with origin(None) as server:
        with pytest.raises(APIConnectionError) as caught:
            await calling(
                "get", "ast_1", base_url=f"https://localhost:{server.port}", max_retries=1, timeout=5
            )
    assert not caught.value.outcome_unknown
    assert server.requests == []
    assert server.sent
    for sent in server.sent:
        assert sent.startswith(b"\x16\x03")
        assert TOKEN.encode() not in sent


async def test_a_certificate_of_the_client_is_shown_to_a_server_that_asks(calling: Calling) -> None:
    authority = Authority()
    async with origin(authority.server("localhost", asks_for_ours=True)) as server:
        options = {"base_url": f"https://localhost:{server.port}"}
        context = authority.client(with_certificate=True)
        assert (await calling("get", "ast_1", ssl_context=context, **options)).id == "ast_1"
        with pytest.raises(APIConnectionError):
            await calling("create", fields=CREATE, ssl_context=authority.client(), **options)
    assert len(server.requests) == 1, "the one that came with a certificate"
    assert len(server.sent) == 2, (
        "and the create was sent once: in TLS 1.3 a client learns late that it is refused"
    )


def unverified() -> list[Any]:
    optional = ssl.create_default_context()
    optional.verify_mode = ssl.CERT_OPTIONAL
    any_host = ssl.create_default_context()
    any_host.check_hostname = False
    return [
        pytest.param(ssl._create_unverified_context(), id="none"),
        pytest.param(optional, id="optional"),
        pytest.param(any_host, id="any host"),
        pytest.param(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), id="a server's"),
    ]


@pytest.mark.parametrize("client", [AsyncLisn, Lisn])
@pytest.mark.parametrize("context", unverified())
def test_a_context_that_would_let_anybody_be_the_server_is_refused(client: Any, context: Any) -> None:
    with pytest.raises(ConfigurationError, match="ssl_context must verify"):
        client(TOKEN, ssl_context=context)
