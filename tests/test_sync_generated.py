"""The generated facade: that it is the source's mirror, that drift is noticed, that what has no rule is refused."""

from __future__ import annotations

import inspect
import re
import reprlib
import shutil
import subprocess
import sys
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lisn_async
import lisn_async.bulk
import lisn_async.errors
import lisn_async.models
import lisn_async.resources
import lisn_async.sandbox
import lisn_sync
import lisn_sync.bulk
import lisn_sync.errors
import lisn_sync.models
import lisn_sync.resources
import lisn_sync.sandbox
from lisn_sync import _generate
from lisn_sync._generate import NoRule, drift, texts

PAIRS = [
    (lisn_async.AsyncLisn, lisn_sync.Lisn),
    (lisn_async.AsyncAssistants, lisn_sync.Assistants),
    (lisn_async.AsyncAssistantsWithRawResponse, lisn_sync.AssistantsWithRawResponse),
    (lisn_async.sandbox.Sandbox, lisn_sync.Sandbox),
]
DOORS = [
    (lisn_async, lisn_sync),
    (lisn_async.bulk, lisn_sync.bulk),
    (lisn_async.errors, lisn_sync.errors),
    (lisn_async.models, lisn_sync.models),
    (lisn_async.resources, lisn_sync.resources),
    (lisn_async.sandbox, lisn_sync.sandbox),
]
SYNC_NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}


# --- fresh ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wanted() -> dict[str, str]:
    return texts(_generate.ROOT)


def test_generating_again_changes_no_file_and_leaves_none_over(wanted: dict[str, str]) -> None:
    assert drift(_generate.ROOT, wanted) == [], "run: python -m lisn_sync._generate"


def test_every_generated_file_names_its_source_on_top(wanted: dict[str, str]) -> None:
    for path, text in wanted.items():
        [source] = re.findall(
            r"\A\"\"\"[^\"]*\nGenerated from (\S+) by `python -m lisn_sync._generate`", text
        )
        assert (_generate.ROOT / source).exists(), path


def test_the_result_does_not_depend_on_the_files_that_are_there_already(
    copy: Path, wanted: dict[str, str]
) -> None:
    for path in wanted:
        (copy / path).unlink()
    assert texts(copy) == wanted


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The two packages and the settings, to be spoiled."""
    for package in ("lisn_async", "lisn_sync"):
        shutil.copytree(
            _generate.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(_generate.ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new, 1))


def spoil_default(root: Path) -> None:
    replace(root / "lisn_async/client.py", "timeout: float = 60.0", "timeout: float = 61.0")


def spoil_docstring(root: Path) -> None:
    replace(root / "lisn_async/resources/assistants.py", "All assistants of the account.", "All of them.")


def spoil_body(root: Path) -> None:
    replace(root / "lisn_sync/client.py", "close(self._core.aclose)", "pass")


def spoil_by_removing(root: Path) -> None:
    (root / "lisn_sync/errors.py").unlink()


def spoil_by_adding(root: Path) -> None:
    (root / "lisn_sync/resources/voices.py").write_text("")


def spoil_the_workshop(root: Path) -> None:
    (root / "lisn_sync/_generate/voices.py").write_text("")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_default, "+        timeout: float = 61.0"),
        (spoil_docstring, '+        """All of them.'),
        (spoil_body, "-        pass"),
        (spoil_by_removing, "lisn_sync/errors.py: is missing"),
        (spoil_by_adding, "lisn_sync/resources/voices.py: has no source"),
        (spoil_the_workshop, "lisn_sync/_generate/voices.py: has no source"),
    ],
)
def test_the_check_fails_and_shows_what_differs(
    copy: Path, spoil: Callable[[Path], None], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check = [sys.executable, "-m", "lisn_sync._generate", "--check"]
    spoil(copy)
    done = subprocess.run(check, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert told in done.stdout
    assert "run `python -m lisn_sync._generate`" in done.stdout


def test_generating_mends_whatever_differed(copy: Path) -> None:
    for spoil in (spoil_default, spoil_body, spoil_by_removing, spoil_by_adding):
        spoil(copy)
    command = [sys.executable, "-m", "lisn_sync._generate"]
    subprocess.run(command, cwd=copy, check=True)
    subprocess.run([*command, "--check"], cwd=copy, check=True, capture_output=True)
    assert not (copy / "lisn_sync/resources/voices.py").exists()


# --- no rule ------------------------------------------------------------------------------------------------------

UNKNOWN = {  # what is put into class AsyncAssistants, and what the error says
    "a decorator": ("@functools.cache\n    def thing(self) -> int: ...", "the decorator @functools.cache"),
    "a static method": ("@staticmethod\n    def thing() -> int: ...", "the decorator @staticmethod"),
    "a dunder": ("def __len__(self) -> int: ...", "__len__"),
    "no return type": ("async def thing(self): ...", "thing without a return type"),
    "no type": ("async def thing(self, what) -> int: ...", "the argument what without a type"),
    "an attribute": ("thing: int = 5", "the attribute thing: int = 5"),
    "an assignment": ("thing = 5", "`thing = 5` in a class"),
    "an awaitable": ("async def thing(self, what: Awaitable[int]) -> int: ...", "would be read on the loop"),
    "an iterable": ("async def thing(self, what: Iterable[int]) -> int: ...", "would be read on the loop"),
    "an answering callback": (
        "async def thing(self, what: Callable[[int], int]) -> int: ...",
        "the callback what, which returns something",
    ),
    "a client in return": (
        "async def thing(self) -> AsyncAssistants: ...",
        "thing, which awaits a AsyncAssistants",
    ),
    "an unknown class": ("def thing(self) -> AsyncThing: ...", "the type AsyncThing"),
    "an unknown name": ("def thing(self) -> Thing: ...", "the name Thing"),
    "a shadowed builtin": ("def thing(self) -> list[int]: ...", "use builtins.list"),
    "a new secret": (
        "async def thing(self, password: str) -> int: ...",
        "the argument password: hide(it)",
    ),
    "asyncio in words": (
        'async def thing(self) -> int:\n        """Needs asyncio."""',
        "`asyncio` in a docstring",
    ),
}


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_what_has_no_rule_is_refused_with_file_and_line(copy: Path, unknown: str) -> None:
    code, why = UNKNOWN[unknown]
    file = copy / "lisn_async/resources/assistants.py"
    place = "    def __init__(self, caller: Caller) -> None:\n"
    replace(file, place, f"    {code}\n\n{place}")
    lines = file.read_text().splitlines()
    first = next(number for number, line in enumerate(lines, 1) if code.splitlines()[0] in line)
    with pytest.raises(NoRule) as refused:
        texts(copy)
    told = re.fullmatch(r"(\S+):(\d+): no rule for (.*)", str(refused.value))
    assert told is not None
    assert told[1] == "lisn_async/resources/assistants.py"
    assert int(told[2]) in range(first, first + 3)
    assert why in told[3]


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        ("lisn_async/things.py", "class AsyncThing: pass", "things.py:1: no rule for a public module without __all__"),
        ("lisn_async/things.py", "class AsyncThing: pass\n__all__ = ['AsyncThing']", "AsyncThing: it has no counterpart"),
        ("lisn_async/resources/things.py", "def make() -> None: ...", "things.py:1: no rule for the public function"),
        ("lisn_async/resources/things.py", "class AsyncThing(dict):\n    'x'", "the bases or decorators of AsyncThing"),
    ],
)  # fmt: skip
def test_a_module_without_a_rule_is_refused(copy: Path, path: str, text: str, why: str) -> None:
    (copy / path).write_text(text)
    with pytest.raises(NoRule, match=re.escape(why)):
        texts(copy)


def test_a_new_noun_gets_its_counterpart(copy: Path) -> None:
    (copy / "lisn_async/resources/voices.py").write_text('''"""Voices."""

from .._request import Caller


class AsyncVoices:
    """Voices.

        import asyncio

        async def main() -> None:
            async with AsyncVoices() as voices:
                print(await voices.get("v"))

        asyncio.run(main())

    More words.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(self, voice_id: str, *more: int, loud: bool = False, **rest: object) -> str:
        """One voice: `await voices.get("v")`."""
''')
    made = texts(copy)["lisn_sync/resources/voices.py"]
    assert "class Voices:" in made
    assert "return run(self._core.get, voice_id, *more, loud=loud, **rest)" in made
    assert '"""One voice: `voices.get("v")`."""' in made
    assert 'with Voices() as voices:\n            print(voices.get("v"))\n' in made


# --- a mirror -----------------------------------------------------------------------------------------------------


def members(kind: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in vars(kind).items()
        if inspect.isroutine(member) or isinstance(member, property)
        if not name.startswith("_") or name in (*SYNC_NAMES, *SYNC_NAMES.values(), "__repr__")
    }


def in_blocking_words(text: str | None) -> str:
    """Written anew, not taken from the generator: two witnesses."""
    for word in ("async ", "await ", "Async", "for asyncio", "for blocking code"):
        text = (text or "").replace(word, "")
    text = (text or "").replace("aclos", "clos").replace("AsyncIterator", "Iterator")
    return " ".join(text.split())


@pytest.mark.parametrize(("core", "facade"), PAIRS)
def test_both_packages_have_the_same_methods(core: type, facade: type) -> None:
    assert {SYNC_NAMES.get(name, name) for name in members(core)} == set(members(facade))
    assert set(facade.__annotations__) == set(core.__annotations__)


@pytest.mark.parametrize(("core", "facade"), PAIRS)
def test_both_packages_have_the_same_signatures_and_defaults(core: type, facade: type) -> None:
    for name, member in members(core).items():
        other = members(facade)[SYNC_NAMES.get(name, name)]
        if isinstance(member, property):
            assert isinstance(other, property)
            assert (member.fset is None) == (other.fset is None)
            continue
        assert not inspect.iscoroutinefunction(other)
        assert_same_signature(member, other)


def assert_same_signature(
    member: Callable[..., object], other: Callable[..., object], left_out: str = ""
) -> None:
    ours, theirs = inspect.signature(member), inspect.signature(other)
    kept = [parameter for parameter in ours.parameters.values() if parameter.name != left_out]
    assert len(kept) == len(theirs.parameters)
    for one, two in zip(kept, theirs.parameters.values(), strict=True):
        assert (one.name, one.kind, one.default) == (two.name, two.kind, two.default)
        assert_same_type(one.annotation, two.annotation, member, other)
    assert_same_type(ours.return_annotation, theirs.return_annotation, member, other)


def assert_same_type(
    one: object, two: object, member: Callable[..., object], other: Callable[..., object]
) -> None:
    """As words where both are written as words, else as what they mean."""
    if isinstance(one, str) and isinstance(two, str):
        blocking = re.sub(r" \| AsyncIterable\[.*\]$", "", one)
        blocking = re.sub(r"AsyncGenerator\[(.*), None\]$", r"Generator[\1, None, None]", blocking)
        assert re.sub(r"\bAsync(?=[A-Z])", "", blocking) == two, member
    else:
        spaces = [vars(sys.modules[function.__module__]) for function in (member, other)]
        one, two = (
            eval(given, space) if isinstance(given, str) else given
            for given, space in zip((one, two), spaces, strict=True)
        )
        assert one == two, member


def test_making_a_client_takes_the_same_arguments_but_for_the_session() -> None:
    assert_same_signature(lisn_async.AsyncLisn.__init__, lisn_sync.Lisn.__init__, left_out="session")
    assert_same_signature(lisn_async.sandbox.Sandbox.__init__, lisn_sync.Sandbox.__init__)


@pytest.mark.parametrize(("core", "facade"), PAIRS)
def test_both_packages_have_the_same_overloads(core: type, facade: type) -> None:
    for name in members(core):
        ours = typing.get_overloads(getattr(core, name)) if callable(getattr(core, name)) else []
        theirs = typing.get_overloads(getattr(facade, SYNC_NAMES.get(name, name))) if ours else []
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same_signature(one, other)


@pytest.mark.parametrize(("core", "facade"), PAIRS)
def test_both_packages_have_the_same_docstrings(core: type, facade: type) -> None:
    assert in_blocking_words(core.__doc__) == in_blocking_words(facade.__doc__)
    for name, member in members(core).items():
        assert in_blocking_words(member.__doc__) == in_blocking_words(
            members(facade)[SYNC_NAMES.get(name, name)].__doc__
        )
    about = facade.__init__.__doc__ or ""  # type: ignore[misc]
    left_out = in_blocking_words(core.__init__.__doc__).split(". ")  # type: ignore[misc]
    assert set(in_blocking_words(about).split(". ")) <= set(left_out)
    assert "`session`" not in about


@pytest.mark.parametrize(("core", "facade"), DOORS)
def test_both_packages_show_the_same_names_and_objects(core: ModuleType, facade: ModuleType) -> None:
    made = {ours.__name__: theirs for ours, theirs in PAIRS}
    shown = {made[name].__name__ if name in made else name for name in core.__all__}
    more = {"Sandbox"} if facade is lisn_sync else set()
    assert set(facade.__all__) == shown | more
    for name in set(core.__all__) - set(made):
        assert getattr(facade, name) is getattr(core, name)
    for name in facade.__all__:
        assert hasattr(facade, name)


def test_every_call_works_over_http_in_blocking_words() -> None:
    spec = lisn_sync.AssistantCreate(name="x", type="text", llm_provider="openai", system_prompt="p")
    with lisn_sync.Sandbox() as box, lisn_sync.Lisn(box.token, base_url=box.base_url) as client:
        made = client.assistants.create(spec)
        other = client.assistants.create(
            name="y", type="voice", llm_provider="grok", system_prompt="p", webhook_secret="s"
        )
        assert client.assistants.list() == [made, other]
        assert client.assistants.update(made.id, name="z").name == "z"
        assert client.assistants.duplicate(made.id).id != made.id
        client.assistants.delete(other.id)
        raw = client.with_options(timeout=5).assistants.with_raw_response.get(made.id)
        assert (raw.status_code, raw.parse().name) == (200, "z")
        with pytest.raises(lisn_sync.NotFoundError):
            client.assistants.get(other.id)
        reports: list[lisn_sync.BulkProgress] = []
        result = client.assistants.create_many((spec for _ in range(50)), on_progress=reports.append)
        assert [outcome.status for outcome in result.outcomes] == ["created"] * 50
        assert [report.done for report in reports] == list(range(1, 51))
        each = client.assistants.create_each({"name": f"{number}"} for number in range(3))
        assert sorted((outcome.index, outcome.status) for outcome in each) == [
            (0, "failed"),
            (1, "failed"),
            (2, "failed"),
        ]
        with pytest.raises(lisn_sync.ConfigurationError):  # at once, not with the first item
            client.assistants.create_each([], max_concurrency=0)
        with pytest.raises(lisn_sync.ConfigurationError):
            client.assistants.create_many("text")  # type: ignore[arg-type]
        assert [request.operation for request in box.seen][:3] == ["create", "create", "list"]
    assert repr(client) == f"Lisn(base_url={box.base_url!r})"
    with pytest.raises(lisn_sync.ConfigurationError, match="closed"):
        client.assistants.list()


# --- what users and type checkers see ------------------------------------------------------------------------------


def hold(error: BaseException, secret: str) -> list[str]:
    """The frames of ours whose locals show a secret."""
    return [
        frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if f"{Path(frame.f_code.co_filename).parent}".startswith(str(_generate.ROOT / "lisn_sync"))
        if any(secret in reprlib.repr(value) for value in frame.f_locals.values())
    ]


def test_no_local_of_the_facade_shows_a_secret() -> None:
    secret = "whsec-0123456789"
    with pytest.raises(lisn_sync.ConfigurationError) as caught:
        lisn_sync.Lisn(f"{secret}\n")
    assert hold(caught.value, secret) == []
    with lisn_sync.Lisn("token", base_url="http://127.0.0.1:9") as client:
        for create in (client.assistants.create, client.assistants.with_raw_response.create):
            with pytest.raises(lisn_sync.ValidationError) as refused:
                create(
                    name="",
                    type="voice",
                    llm_provider="openai",
                    system_prompt="",
                    webhook_secret=secret,
                    extra_body={"more": secret},
                )
            assert hold(refused.value, secret) == []
        specs = [{"webhook_secret": secret}]
        for many in (client.assistants.create_many, lambda _: list(client.assistants.create_each(specs))):
            with pytest.raises(lisn_sync.APIConnectionError) as broken:
                many(specs)
            assert hold(broken.value, secret) == []


USER = """
from collections.abc import Iterator, Sequence
from lisn_async import AsyncLisn
from lisn_sync import Assistant, AssistantCreate, BulkOutcome, BulkResult, Lisn, RawResponse
from lisn_sync._bridge import run

def right(client: Lisn, core: AsyncLisn, spec: AssistantCreate) -> None:
    one: Assistant = client.assistants.create(spec)
    two: Assistant = client.assistants.create(name="x", type="text", llm_provider="openai", system_prompt="p")
    raw: RawResponse[Assistant] = client.assistants.with_raw_response.get("a")
    many: BulkResult = client.assistants.create_many([spec, {"name": "x"}], on_progress=lambda progress: None)
    each: Iterator[BulkOutcome] = client.assistants.create_each(spec for _ in range(3))
    copy: Lisn = client.with_options(timeout=3)
    with client as same:
        found: list[Assistant] = same.assistants.list()
    run(core.assistants.get, "a")

def wrong(client: Lisn, core: AsyncLisn) -> None:
    client.assistants.create(name="x")  # wrong
    client.assistants.create(name="x", type="song", llm_provider="openai", system_prompt="p")  # wrong
    client.assistants.get(5)  # wrong
    client.assistants.create_many(5)  # wrong
    client.aclose()  # wrong
    number: int = client.assistants.get("a")  # wrong
    run(core.assistants.get)  # wrong
    run(core.assistants.get, 5)  # wrong
    run(core.assistants.get, assistent_id="a")  # wrong
    result: int = run(core.assistants.get, "a")  # wrong
"""


@pytest.mark.timeout(600)
def test_a_type_checker_sees_each_mistake_of_a_user_and_of_a_delegation(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file="]
    cache = f"--cache-dir={_generate.ROOT / '.mypy_cache'}"
    done = subprocess.run(
        [*command, cache, str(tmp_path / "user.py")],
        cwd=_generate.ROOT,
        env={"MYPYPATH": str(_generate.ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert found == {n for n, line in enumerate(USER.splitlines(), 1) if line.endswith("# wrong")}, (
        done.stdout
    )
