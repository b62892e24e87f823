"""The front doors: what they name exists, what exists is named, and the names are the contract's."""

from __future__ import annotations

import importlib
import inspect

import pytest

import lisn_async
from lisn_async import AsyncLisn, errors, models


@pytest.mark.parametrize(
    "name", ["lisn_async", "lisn_async.models", "lisn_async.errors", "lisn_async.bulk", "lisn_async.sandbox"]
)
def test_all_is_sorted_and_every_name_in_it_exists(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__, key=lambda one: (not one.isupper(), one)) or (
        sorted(module.__all__) == sorted(set(module.__all__))
    )
    for exported in module.__all__:
        assert hasattr(module, exported)


def test_the_package_exports_every_model_and_every_error() -> None:
    assert set(models.__all__) <= set(lisn_async.__all__)
    assert set(errors.__all__) <= set(lisn_async.__all__)
    public = {name for name, value in vars(lisn_async).items() if inspect.isclass(value)}
    assert public <= set(lisn_async.__all__)


def test_every_public_thing_says_what_the_caller_gets() -> None:
    for name in lisn_async.__all__:
        thing = getattr(lisn_async, name)
        if inspect.isclass(thing):
            assert thing.__doc__, name
            for method_name, method in inspect.getmembers(thing, inspect.isfunction):
                if not method_name.startswith("_") and method.__module__.startswith("lisn_async"):
                    assert method.__doc__, f"{name}.{method_name}"


def test_the_clients_signature_is_the_contracts() -> None:
    assert str(inspect.signature(AsyncLisn)).split(" -> ")[0] == (
        "(api_token: 'str | TokenSource | None' = None, *, base_url: 'str | None' = None, timeout: 'float' = 60.0,"
        " deadline: 'float | None' = None, max_retries: 'int' = 2, max_connections: 'int' = 100,"
        " session: 'aiohttp.ClientSession | None' = None,"
        " default_headers: 'Mapping[str, str] | None' = None, proxy: 'str | None' = None,"
        " ssl_context: 'ssl.SSLContext | None' = None, middleware: 'Sequence[Middleware] | None' = None,"
        " rate_limit: 'RateLimit | None' = None, strict: 'bool' = True,"
        " allow_insecure_http: 'bool' = False)"
    )
