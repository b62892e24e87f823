"""The recipes are short, stand in their README as they are, and leave opening and closing to the framework.

python -m tests.frameworks.test_recipes    writes the files into recipes/README.md anew
"""

from __future__ import annotations

import ast
import asyncio
import re
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lisn_async import ConfigurationError
from lisn_async.sandbox import Sandbox

RECIPES = Path(__file__).parent.parent.parent / "recipes"
README = RECIPES / "README.md"
ASYNC = ["aiohttp_web_app", "aiohttp_web_shared_session_app", "django_asgi_app", "fastapi_app", "litestar_app",
         "quart_app", "starlette_app"]  # fmt: skip
ANSWERS = ["django_errors", "fastapi_errors", "flask_errors", "lisn_answers"]


def renewed(readme: str) -> str:
    """The README with each block of code under a heading that links to a file replaced by what the file says."""

    def block(found: re.Match[str]) -> str:
        source = (RECIPES / found["file"]).read_text()
        end_of_docstring = ast.parse(source).body[0].end_lineno
        code = "\n".join(source.splitlines()[end_of_docstring:]).strip()
        return f"{found['before']}```python\n{code}\n```\n"

    return re.sub(
        r"(?P<before>^###? [^\n]*\]\((?P<file>\w+\.py)\)[^\n]*\n(?:(?!^##).)*?)^```python\n.*?^```\n",
        block,
        readme,
        flags=re.MULTILINE | re.DOTALL,
    )


def test_the_readme_has_every_recipe_as_it_stands() -> None:
    readme = README.read_text()
    assert sorted(re.findall(r"^###? .*\]\((\w+\.py)\)", readme, re.MULTILINE)) == sorted(
        path.name for path in RECIPES.glob("*.py")
    )
    assert renewed(readme) == readme


@pytest.mark.parametrize("name", ASYNC + ANSWERS)
def test_a_recipe_is_at_most_ten_lines(name: str) -> None:
    """Without imports, the endpoint that is the application's own, and the line that starts it."""
    source = (RECIPES / f"{name}.py").read_text()
    code = {
        line for line, text in enumerate(source.splitlines(), 1) if text.strip() and text.strip()[0] != "#"
    }
    for node in ast.parse(source).body:
        is_endpoint = isinstance(node, ast.AsyncFunctionDef) and node.name == "create"
        if is_endpoint or isinstance(node, ast.Import | ast.ImportFrom | ast.If | ast.Expr):
            if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
                continue  # a call; the others are docstrings
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            code -= set(range(first, (node.end_lineno or first) + 1))
    assert 1 <= len(code) <= 10


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[None]:
    """The application while its server has it, as the protocol `lifespan` of ASGI says."""
    coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.create_task(app(scope, coming.get, sent.put))
    for what in ("startup", "shutdown"):
        coming.put_nowait({"type": f"lifespan.{what}"})
        answer = await sent.get()
        assert answer["type"] == f"lifespan.{what}.complete", answer
        if what == "startup":
            yield
    await task


@pytest.fixture
def at_the_sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISN_API_TOKEN", sandbox.token)
    monkeypatch.setenv("LISN_BASE_URL", sandbox.base_url)


@pytest.mark.usefixtures("at_the_sandbox")
@pytest.mark.parametrize("framework", ["fastapi", "litestar", "quart", "starlette"])
async def test_the_framework_closes_the_client(framework: str) -> None:
    pytest.importorskip(
        framework, reason=f"{framework} not installed: pip install -e '.[dev,dev-frameworks]'"
    )
    recipe = runpy.run_path(str(RECIPES / f"{framework}_app.py"))
    async with serving(recipe["app"]):
        assert await recipe["client"].assistants.list() == []
    with pytest.raises(ConfigurationError, match="this client is closed"):
        await recipe["client"].assistants.list()


@pytest.mark.usefixtures("at_the_sandbox")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("aiohttp_web_app", "this client is closed"),
        ("aiohttp_web_shared_session_app", "lent to this client is closed"),
    ],
)
async def test_aiohttps_cleanup_closes_the_client_or_the_session_that_it_borrowed(
    name: str, why: str
) -> None:
    from aiohttp import web

    recipe = runpy.run_path(str(RECIPES / f"{name}.py"))
    runner = web.AppRunner(recipe["app"])
    await runner.setup()
    client = recipe["app"][recipe["LISN"]]
    assert await client.assistants.list() == []
    await runner.cleanup()
    with pytest.raises(ConfigurationError, match=why):
        await client.assistants.list()


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
