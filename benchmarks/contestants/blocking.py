"""One create, written for blocking code, in five ways: `python -m benchmarks.contestants.blocking NAME URL`."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from benchmarks.contestants.fields import HEADERS, fields
from benchmarks.contestants.worker import serve

Create: TypeAlias = Callable[[int], object]


@contextmanager
def lisn(url: str) -> Iterator[Create]:
    """Ours, with its defaults."""
    from lisn_sync import Lisn

    with Lisn("token", base_url=url) as client:
        yield lambda number: client.assistants.create(**fields(number))


@contextmanager
def requests(url: str) -> Iterator[Create]:
    """Requests, with a session."""
    import requests

    with requests.Session() as session:
        session.headers.update(HEADERS)
        yield lambda number: session.post(f"{url}/v1/assistants", json=fields(number)).json()


@contextmanager
def httpx(url: str) -> Iterator[Create]:
    """HTTPX, with a client."""
    import httpx

    with httpx.Client(headers=HEADERS) as client:
        yield lambda number: client.post(f"{url}/v1/assistants", json=fields(number)).json()


@contextmanager
def urllib3(url: str) -> Iterator[Create]:
    """urllib3, with a pool."""
    import urllib3

    with urllib3.PoolManager(headers=HEADERS) as pool:
        yield lambda number: pool.request("POST", f"{url}/v1/assistants", json=fields(number)).json()


@contextmanager
def openai(url: str) -> Iterator[Create]:
    """OpenAI's library, with its defaults: its own resource of this name, and a reply in its own shape."""
    from openai import OpenAI

    warnings.simplefilter("ignore", DeprecationWarning)

    def create(number: int) -> object:
        given = fields(number)
        return client.beta.assistants.create(
            model="gpt-4o-mini",
            name=given["name"],
            instructions=given["system_prompt"],
            temperature=given["temperature"],
        )

    with OpenAI(api_key="token", base_url=f"{url}/openai/v1") as client:
        yield create


def main(name: str, url: str) -> None:
    """Serve one of them: one call after the other."""
    with globals()[name](url) as create:

        def work(calls: int) -> None:
            for number in range(calls):
                create(number)

        serve(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
