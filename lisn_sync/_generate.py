"""Writes this package: `python -m lisn_sync._generate`, or `--check` to see whether that would change anything.

It reads the source of `lisn_async` and writes, for each public class there, one of the same shape for blocking code:
the same names, arguments, defaults, types and docstrings, and one line of body that hands the call to `_bridge`.
Everything that is not a client, a resource or a sandbox (models, errors, literals) is re-exported, never copied.

    lisn_async/client.py            -> lisn_sync/client.py
    lisn_async/resources/<noun>.py  -> lisn_sync/resources/<noun>.py
    lisn_async/sandbox/box.py       -> lisn_sync/sandbox.py
    lisn_async/<any public module>  -> lisn_sync/<the same>.py, names only

What it has no rule for is an error that names file and line: better no facade than a wrong one. The few names that
differ are in the tables right below. ruff formats the result, so the Python that runs this leaves no trace in it.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASYNC, SYNC = "lisn_async", "lisn_sync"
BY_HAND = {"_bridge.py", "_generate.py", "py.typed"}
COMMAND = "python -m lisn_sync._generate"

NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
NOT_MIRRORED = {"cli": "a command, not a library"}
DROPPED = {("AsyncLisn", "session")}  # an aiohttp session belongs to a loop that the caller does not have
SHOWN = {
    ("Sandbox", "token")
}  # sounds like a secret and is none; the others are hidden as the source hides them
CLOSED_AT_EXIT = {"AsyncLisn": "aclose", "Sandbox": "stop"}
BEHIND_DOORS = {"Sandbox"}  # in the package itself too: `with lisn_sync.Sandbox() as box`
HELD = "Caller"  # a class whose __init__ takes one is reached through a client, and the facade's wraps the core's

WORDS = [  # in docstrings, in this order
    (r"\basync (with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\baclos(e|ing)\b", r"clos\1"),
    (r"\ban? Async([A-Z]\w+)", r"a \1"),
    (r"\bAsync([A-Z]\w+)", r"\1"),
    (r"\blisn_async\b", "lisn_sync"),
    (r"\bfor asyncio\b", "for blocking code"),
    (r"\biterable or async iterable\b", "iterable"),
]
LEFT_OVER = re.compile(r"\b(async|await|asyncio|aclose|anext|aiter|lisn_async)\b|\bAsync[A-Z]")
PACKAGE = "Lisn's Assistants API for blocking code. Begin with `Lisn`; `lisn_async` is the same for asyncio."


class NoRule(Exception):
    """The source holds something that this generator does not know how to mirror."""


def main(arguments: list[str]) -> int:
    """0 if all is written, or with `--check`, if nothing would change; 1 with the difference; 2 on wrong usage."""
    if arguments not in ([], ["--check"]):
        print(f"usage: {COMMAND} [--check]", file=sys.stderr)
        return 2
    try:
        wanted = texts(ROOT)
    except NoRule as missing:
        print(missing, file=sys.stderr)
        return 1
    if arguments:
        report = drift(ROOT, wanted)
        print(*report, f"{SYNC} is stale: run `{COMMAND}`" if report else f"{SYNC} is up to date", sep="\n")
        return 1 if report else 0
    write(ROOT, wanted)
    return 0


def texts(root: Path) -> dict[str, str]:
    """The whole text of every generated file, by its path below the root."""
    sources = [Source(root, path) for path in facade_sources(root)]
    known = Known({name: source.module for source in sources for name in source.classes})
    fronts = {front.target: front for front in (Source(root, path) for path in doors(root))}
    found = {source.target: _facade(source, known, fronts.pop(source.target, None)) for source in sources}
    found |= {target: _door(front, known) for target, front in fronts.items()}
    return {path: _formatted(root, path, text) for path, text in sorted(found.items())}


def drift(root: Path, wanted: dict[str, str]) -> list[str]:
    """The lines of a readable difference between what is there and what should be."""
    lines: list[str] = []
    present = {f"{path.relative_to(root)}" for path in _generated_files(root)}
    for path in sorted(present | set(wanted)):
        old = (root / path).read_text().splitlines() if path in present else []
        new = wanted[path].splitlines() if path in wanted else []
        if path not in wanted:
            lines.append(f"{path}: has no source")
        elif path not in present:
            lines.append(f"{path}: is missing")
        else:
            lines += difflib.unified_diff(
                old, new, f"{path} (found)", f"{path} (generated)", lineterm="", n=1
            )
    return lines


def write(root: Path, wanted: dict[str, str]) -> None:
    """Make the files be exactly these."""
    for path in _generated_files(root):
        if f"{path.relative_to(root)}" not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _generated_files(root: Path) -> list[Path]:
    here = root / SYNC
    files = (path for path in here.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path for path in files if f"{path.relative_to(here)}" not in BY_HAND]


# --- which files --------------------------------------------------------------------------------------------


def facade_sources(root: Path) -> list[str]:
    """The modules whose classes get a counterpart."""
    nouns = sorted(path.name for path in (root / ASYNC / "resources").glob("[!_]*.py"))
    return [
        f"{ASYNC}/client.py",
        *(f"{ASYNC}/resources/{noun}" for noun in nouns),
        *([f"{ASYNC}/sandbox/box.py"] if (root / ASYNC / "sandbox/box.py").exists() else []),
    ]


def doors(root: Path) -> list[str]:
    """The public modules whose names are re-exported, the package first."""
    found = [f"{ASYNC}/__init__.py"]
    for path in sorted((root / ASYNC).glob("[!_]*")):
        relative = f"{path.relative_to(root)}"
        if path.suffix == ".py" and relative not in facade_sources(root):
            found.append(relative)
        elif (path / "__init__.py").exists() and path.name not in NOT_MIRRORED:
            found.append(f"{relative}/__init__.py")
    return found


def _target(path: str) -> str:
    """`models/__init__.py` becomes `models.py`; only a folder with a file for each noun stays one."""
    moved = path.replace(ASYNC, SYNC, 1)
    if moved.endswith("/sandbox/box.py"):
        return f"{SYNC}/sandbox.py"
    folder, _, name = moved.rpartition("/")
    return f"{folder}.py" if name == "__init__.py" and folder not in (SYNC, f"{SYNC}/resources") else moved


# --- the source ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """The classes that have a counterpart, and the module each is in."""

    modules: dict[str, str]

    def sync_name(self, name: str) -> str:
        return name.removeprefix("Async") if name in self.modules else name

    def sync_module(self, name: str) -> str:
        module = self.modules[name]
        return f"{SYNC}.sandbox" if module == f"{ASYNC}.sandbox.box" else module.replace(ASYNC, SYNC, 1)


class Source:
    """One parsed file of the core."""

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        self.target = _target(path)
        self.text = (root / path).read_text()
        self.tree = ast.parse(self.text, path)
        self.module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.package = self.module if path.endswith("/__init__.py") else self.module.rpartition(".")[0]
        self.classes = {
            node.name: node
            for node in self.tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        }
        self.runtime = self._imports(self.tree.body)
        self.typing_only: dict[str, str] = {}
        for node in self.tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                self.typing_only |= self._imports(node.body)

    def error(self, node: ast.AST, what: str) -> NoRule:
        return NoRule(f"{self.path}:{getattr(node, 'lineno', 1)}: no rule for {what}")

    def public_names(self) -> list[str]:
        """`__all__`, or of a file without one, as `box.py` is, what it defines in public."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names: list[str] = ast.literal_eval(node.value)
                return names
        raise self.error(self.tree, "a public module without __all__")

    def is_own(self, name: str) -> bool:
        """Whether the file itself defines it."""
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return True
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return True
        return False

    def _imports(self, body: list[ast.stmt]) -> dict[str, str]:
        """Every imported name, with the statement that imports it from where it is to be found."""
        found = {}
        for node in body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = f"import {_as(alias)}"
            elif isinstance(node, ast.ImportFrom):
                origin = self._absolute(node)
                for alias in node.names:
                    found[alias.asname or alias.name] = f"from {origin} import {_as(alias)}"
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.package.split(".")
        return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _as(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


# --- one file -----------------------------------------------------------------------------------------------


@dataclass
class Needs:
    """The imports of a file that is being written."""

    runtime: set[str] = field(default_factory=set)
    typing_only: set[str] = field(default_factory=set)


def _facade(source: Source, known: Known, front: Source | None) -> str:
    """The counterparts of a file's classes; `front` is the public module that shows them, if it becomes one file."""
    needs = Needs()
    classes = [Facade(source, node, known, needs).text() for node in source.classes.values()]
    for node in source.tree.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and not node.name.startswith("_"):
            raise source.error(node, f"the public function {node.name} outside a class")
    shown = _shown(front, known, needs) if front is not None else []
    return "\n".join([_head(source), *_imports(needs), *shown, *classes, ""])


def _door(source: Source, known: Known) -> str:
    """The names of a public module, the very same objects but for those that have a counterpart."""
    needs = Needs()
    shown = _shown(source, known, needs)
    return "\n".join([_head(source), *_imports(needs), *shown, ""])


def _shown(source: Source, known: Known, needs: Needs) -> list[str]:
    """The `__all__` of a public module; what it names is imported."""
    is_package = source.target == f"{SYNC}/__init__.py"
    names = {*source.public_names(), *(BEHIND_DOORS & set(known.modules) if is_package else ())}
    for name in names:
        if name in known.modules:
            if _module_of(source.target) != known.sync_module(name):
                needs.runtime.add(f"from {known.sync_module(name)} import {known.sync_name(name)}")
        elif re.match("Async[A-Z]", name):
            raise source.error(source.tree, f"{name}: it has no counterpart")
        elif not any(statement.endswith(f" import {name}") for statement in needs.runtime):
            needs.runtime.add(f"from {_origin(source, name) if is_package else source.module} import {name}")
    return [f"__all__ = {sorted((known.sync_name(name) for name in names), key=_rank)!r}"]


def _origin(source: Source, name: str) -> str:
    """Where the package takes a name from; a private place stays behind the package's own door."""
    statement = source.runtime.get(name, "")
    module = statement.split(" ")[1] if statement.startswith("from ") else source.module
    return source.module if "._" in module else module


def _rank(name: str) -> tuple[int, str]:
    """Constants, classes, the rest: ruff's order of `__all__`."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _head(source: Source) -> str:
    about = f"Generated from {source.path} by `{COMMAND}`: change that file, not this one."
    own = PACKAGE if source.target == f"{SYNC}/__init__.py" else _translated(source, source.tree)
    return f'"""{own}\n\n{about}\n"""\nfrom __future__ import annotations\n'


def _imports(needs: Needs) -> list[str]:
    lines = sorted(needs.runtime)
    late = sorted(needs.typing_only - needs.runtime)
    if late:
        lines += ["from typing import TYPE_CHECKING", "if TYPE_CHECKING:", *(f"    {line}" for line in late)]
    return lines


def _formatted(root: Path, path: str, text: str) -> str:
    """Imports sorted and unused ones gone, then formatted, by the settings of the project."""
    ours = (
        f'lint.isort.known-first-party=["{ASYNC}", "{SYNC}"]'  # else it depends on which files exist already
    )
    check = ["check", "--fix", "--quiet", "--select", "I,F401", "--config", ours]
    for command in (check, ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"]
        done = subprocess.run(ruff, input=text, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoRule(f"{path}: ruff does not take it (or is not installed): {done.stderr or done.stdout}")
        text = done.stdout
    return text


# --- one class ----------------------------------------------------------------------------------------------

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Facade:
    """The counterpart of one class."""

    def __init__(self, source: Source, node: ast.ClassDef, known: Known, needs: Needs) -> None:
        self.source, self.node, self.known, self.needs = source, node, known, needs
        self.name = known.sync_name(node.name)
        self.core = node.name if node.name != self.name else f"Core{node.name}"
        self.parts = dict(self._parts())
        self.functions = [
            item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        self.overloaded = {item.name for item in self.functions if _decorators(item) == ["overload"]}
        self.is_held = any(
            HELD in ast.unparse(item.args) for item in self.functions if item.name == "__init__"
        )
        self.public = {item.name for item in self.functions if not item.name.startswith("_")} | set(
            self.parts
        )

    def text(self) -> str:
        if self.node.bases or self.node.keywords or self.node.decorator_list:
            raise self.source.error(self.node, f"the bases or decorators of {self.node.name}")
        imported = self.core if self.core == self.node.name else f"{self.node.name} as {self.core}"
        imports = self.needs.typing_only if self.is_held else self.needs.runtime
        imports.add(f"from {self.source.module} import {imported}")
        body = [f'"""{_translated(self.source, self.node)}"""' if ast.get_docstring(self.node) else ""]
        body += [f"{name}: {self._part_class(node)}" for name, node in self.parts.items()]
        body += [self._held_init()] if self.is_held else []
        for function in self.functions:
            if function.name == "__init__" and self.is_held:
                continue
            if function.name == "__init__":
                body += [self._made_init(function), self._use()]
            elif function.name == "__repr__":
                body.append(self._copied(function))
            elif not function.name.startswith("_") or function.name in NAMES:
                body.append(self._method(function))
            elif function.name.startswith("__"):
                raise self.source.error(function, function.name)
        return f"class {self.name}:\n" + textwrap.indent("\n".join(body), "    ", lambda _: True)

    # Parts: `assistants: AsyncAssistants`

    def _parts(self) -> Iterator[tuple[str, ast.AnnAssign]]:
        for item in self.node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                if item.value is not None or ast.unparse(item.annotation) not in self.known.modules:
                    raise self.source.error(item, f"the attribute {ast.unparse(item)}")
                yield item.target.id, item
            elif not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_docstring(item):
                raise self.source.error(item, f"`{ast.unparse(item).splitlines()[0]}` in a class")

    def _part_class(self, node: ast.AnnAssign) -> str:
        return self._type(node.annotation)

    # Making one

    def _held_init(self) -> str:
        return f"def __init__(self, core: {self.core}) -> None:\n    self._core = core"

    def _made_init(self, function: Function) -> str:
        made = f"{self.core}({self._passed(function, is_crossing=False)})"
        return self._function(function, [f"self._use({made})"])

    def _use(self) -> str:
        closer = CLOSED_AT_EXIT.get(self.node.name)
        if closer is None:
            raise self.source.error(self.node, f"{self.node.name}: how is it closed (CLOSED_AT_EXIT)?")
        self._bridge("adopt")
        lines = [f"self._core = adopt(core, {self.core}.{closer})"]
        lines += [f"self.{name} = {self._part_class(node)}(core.{name})" for name, node in self.parts.items()]
        self.needs.runtime.add("from typing import Self")
        body = textwrap.indent("\n".join([*lines, "return self"]), "    ")
        return f"def _use(self, core: {self.core}) -> Self:\n{body}"

    def _copied(self, function: Function) -> str:
        """A `__repr__` that only looks at what the counterpart has too."""
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Attribute)
                and ast.unparse(node.value) == "self"
                and node.attr not in self.public
            ):
                raise self.source.error(node, f"a {function.name} that uses self.{node.attr}")
        return ast.unparse(function)

    # Methods

    def _method(self, function: Function) -> str:
        decorators = _decorators(function)
        if decorators == ["overload"]:
            self.needs.runtime.add("from typing import overload")
            return self._function(function, ["..."], is_hiding=False)
        if decorators == ["property"]:
            return self._function(
                function, [f"return {self._wrapped(function, f'self._core.{function.name}')}"]
            )
        if decorators == [f"{function.name}.setter"]:
            value = function.args.args[1].arg
            return self._function(function, [f"self._core.{function.name} = {value}"])
        if decorators:
            raise self.source.error(function, f"the decorator @{decorators[0]}")
        return self._function(function, self._body(function))

    def _body(self, function: Function) -> list[str]:
        core = f"self._core.{function.name}"
        returns = ast.unparse(function.returns) if function.returns else ""
        if not returns:
            raise self.source.error(function, f"{function.name} without a return type")
        if returns.startswith(("AsyncIterator[", "AsyncGenerator[")):
            self._bridge("stream")
            return [f"return stream({core}{self._more(function)})"]
        if isinstance(function, ast.FunctionDef):
            if returns == "Self":
                passed = self._passed(function, is_crossing=False)
                return [f"return self.__class__.__new__(self.__class__)._use({core}({passed}))"]
            call = self._wrapped(function, f"{core}({self._passed(function, is_crossing=False)})")
            return [call if returns == "None" else f"return {call}"]
        if function.name in self.overloaded:
            self._bridge("overloaded")
            core = f"overloaded({core})"
        self._bridge("run")
        call = f"run({core}{self._more(function)})"
        if function.name == "__aenter__" and returns == "Self":
            return [call, "return self"]
        if returns == "Self" or returns in self.known.modules:
            raise self.source.error(function, f"{function.name}, which awaits a {returns}")
        return [call if returns == "None" else f"return {call}"]

    def _wrapped(self, function: Function, expression: str) -> str:
        returns = ast.unparse(function.returns) if function.returns else ""
        if returns in self.known.modules:
            assert function.returns is not None
            return f"{self._type(function.returns)}({expression})"
        return expression

    def _function(self, function: Function, body: list[str], *, is_hiding: bool = True) -> str:
        """The function with its real signature and docstring, and this body."""
        arguments = function.args
        plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for argument in [*plain, arguments.vararg, arguments.kwarg]:
            if argument is not None and argument.annotation is not None:
                argument.annotation = self._annotation(argument.annotation)
            elif argument is not None and argument.arg != "self":
                raise self.source.error(function, f"the argument {argument.arg} without a type")
        self._drop(function)
        arguments.defaults = [self._default(default) for default in arguments.defaults]
        arguments.kw_defaults = [default and self._default(default) for default in arguments.kw_defaults]
        secrets = self._secrets(function, plain) if is_hiding else []
        hidden = [f"{name} = hide({name})" for name in secrets]
        if hidden:
            self.needs.runtime.add("from lisn_async._secrets import hide")
        returns = self._annotation(function.returns) if function.returns else None
        decorators = "".join(f"@{name}\n" for name in _decorators(function))
        head = f"def {NAMES.get(function.name, function.name)}({ast.unparse(arguments)})"
        head += f" -> {ast.unparse(returns)}:" if returns else ":"
        about = (
            [f'"""{_translated(self.source, function, self._dropped())}"""']
            if ast.get_docstring(function)
            else []
        )
        return (
            decorators
            + head
            + "\n"
            + textwrap.indent("\n".join([*about, *hidden, *body]), "    ", lambda _: True)
        )

    # Arguments

    def _more(self, function: Function) -> str:
        passed = self._passed(function, is_crossing=True)
        return f", {passed}" if passed else ""

    def _passed(self, function: Function, *, is_crossing: bool) -> str:
        """The arguments, handed on by the names they have."""
        arguments = function.args
        first = [*arguments.posonlyargs, *arguments.args][1:]
        passed = [self._value(argument, is_crossing) for argument in first]
        passed += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
        for argument in arguments.kwonlyargs:
            if (self.node.name, argument.arg) not in DROPPED:
                passed.append(f"{argument.arg}={self._value(argument, is_crossing)}")
        passed += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
        return ", ".join(passed)

    def _value(self, argument: ast.arg, is_crossing: bool) -> str:
        """The caller's own code, an iterable or a callback, crosses the bridge in a wrapper."""
        if not is_crossing or argument.annotation is None:
            return argument.arg
        kinds = [ast.unparse(member).partition("[")[0] for member in _members(argument.annotation)]
        if "AsyncIterable" in kinds:
            self._bridge("items_of")
            return f"items_of({argument.arg})"
        if "Callable" in kinds:
            if not all(map(_is_without_result, _members(argument.annotation))):
                raise self.source.error(argument, f"the callback {argument.arg}, which returns something")
            self._bridge("callback_of")
            return f"callback_of({argument.arg})"
        if {"Iterable", "Iterator", "Generator", "AsyncIterator", "Awaitable", "Coroutine"} & set(kinds):
            raise self.source.error(argument, f"the argument {argument.arg}, which would be read on the loop")
        return argument.arg

    def _dropped(self) -> set[str]:
        return {name for owner, name in DROPPED if owner == self.node.name}

    def _drop(self, function: Function) -> None:
        arguments = function.args
        kept = [
            (argument, default)
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if argument.arg not in self._dropped()
        ]
        arguments.kwonlyargs = [argument for argument, _ in kept]
        arguments.kw_defaults = [default for _, default in kept]

    def _default(self, default: ast.expr) -> ast.expr:
        """The default in the words of the source: `1_048_576`, not `1048576`."""
        self._need_names(default)
        return ast.Name(ast.get_source_segment(self.source.text, default) or ast.unparse(default))

    def _secrets(self, function: Function, arguments: list[ast.arg]) -> list[str]:
        """The arguments that the source wraps with `hide`: a traceback shows the locals of a one-line body too."""
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        hidden = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "hide"}
        names = [argument.arg for argument in arguments]
        for name in names:
            is_suspect = re.search("token|secret|passw|key", name) is not None
            if is_suspect and name not in hidden and (self.node.name, name) not in SHOWN:
                raise self.source.error(function, f"the argument {name}: hide(it), or is it none (SHOWN)?")
        return [name for name in names if name in hidden]

    # Types

    def _type(self, annotation: ast.expr) -> str:
        return ast.unparse(self._annotation(annotation))

    def _annotation(self, annotation: ast.expr) -> ast.expr:
        changed = _Types(self).visit(annotation)
        self._need_names(changed)
        assert isinstance(changed, ast.expr)
        return changed

    def _need_names(self, node: ast.expr | None) -> None:
        for name in ast.walk(node) if node is not None else ():
            if isinstance(name, ast.Name):
                self._need(name)

    def _need(self, node: ast.Name) -> None:
        """Import a name from where the source has it."""
        name = node.id
        shadowed = name in self.public and hasattr(builtins, name)
        if shadowed:
            raise self.source.error(
                node, f"`{name}` in a class with a member of that name: use builtins.{name}"
            )
        for original in self.known.modules:
            if self.known.sync_name(original) == name:
                if original not in self.source.classes:
                    self.needs.runtime.add(f"from {self.known.sync_module(original)} import {name}")
                return
        if name in ("Generator", "Iterator"):
            self.needs.runtime.add(f"from collections.abc import {name}")
        elif name in self.source.runtime:
            self.needs.runtime.add(self.source.runtime[name])
        elif name in self.source.typing_only:
            self.needs.typing_only.add(self.source.typing_only[name])
        elif self.source.is_own(name):
            self.needs.runtime.add(f"from {self.source.module} import {name}")
        elif not hasattr(builtins, name):
            raise self.source.error(node, f"the name {name}")

    def _bridge(self, name: str) -> None:
        self.needs.runtime.add(f"from lisn_sync._bridge import {name}")


class _Types(ast.NodeTransformer):
    """What a type of the core is called in the facade."""

    def __init__(self, facade: Facade) -> None:
        self.facade = facade

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = "Iterator" if node.id == "AsyncIterator" else self.facade.known.sync_name(node.id)
        if re.match("Async[A-Z]", name) or name in ("Awaitable", "Coroutine"):
            raise self.facade.source.error(node, f"the type {node.id}")
        return ast.copy_location(ast.Name(name, node.ctx), node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        kind = ast.unparse(node.value)
        if kind == "AsyncGenerator" and isinstance(node.slice, ast.Tuple):
            slots = [*node.slice.elts, ast.Constant(None)]  # what it yields, takes and, here only, returns
            return ast.Subscript(ast.Name("Generator"), self.visit(ast.Tuple(slots)))
        self.generic_visit(node)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        members = [
            member for member in _members(node) if not ast.unparse(member).startswith("AsyncIterable[")
        ]
        union: ast.expr = self.visit(members[0])
        for member in members[1:]:
            union = ast.BinOp(union, ast.BitOr(), self.visit(member))
        return ast.copy_location(union, node)


def _members(annotation: ast.expr) -> list[ast.expr]:
    """The members of a union."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*_members(annotation.left), *_members(annotation.right)]
    return [annotation]


def _is_without_result(annotation: ast.expr) -> bool:
    """None, or a callable that returns nothing: its caller does not wait for it."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        return ast.unparse(annotation.slice.elts[-1]) == "None"
    return ast.unparse(annotation) == "None"


def _decorators(function: Function) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


# --- docstrings ---------------------------------------------------------------------------------------------


def _translated(
    source: Source, node: ast.Module | ast.ClassDef | Function, dropped: set[str] | None = None
) -> str:
    """The docstring as it is true of blocking code, without indentation."""
    text = _without_arguments(ast.get_docstring(node) or "", dropped or set())
    text = _without_main(text)
    for pattern, replacement in WORDS:
        text = re.sub(pattern, replacement, text)
    if found := LEFT_OVER.search(text):
        raise source.error(node, f"`{found[0]}` in a docstring (WORDS)")
    if '"""' in text or "\\" in text:
        raise source.error(node, "quotes or backslashes in a docstring")
    return text + ("\n" if "\n" in text else "")


def _without_arguments(text: str, dropped: set[str]) -> str:
    """A paragraph explains arguments in sentences that begin with their names; those of a dropped one go."""
    paragraphs = text.split("\n\n")
    for place, paragraph in enumerate(paragraphs):
        sentences = re.split(r"(?<=\.)\s+", paragraph)
        kept, about = [], ""
        for sentence in sentences:
            begin = re.match(r"`(\w+)[`=]", sentence)
            about = begin[1] if begin else about
            if about not in dropped:
                kept.append(sentence)
        if len(kept) < len(sentences):
            paragraphs[place] = textwrap.fill(" ".join(kept), 100)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _without_main(text: str) -> str:
    """An example needs no `async def main()` and nothing to run it."""
    lines: list[str] = []
    inside = None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if re.fullmatch(r"\s*(import asyncio|asyncio\.run\(main\(\)\))", line):
            continue
        if re.match(r"\s*async def main\(\).*:$", line):
            inside = indent
            continue
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        lines.append(line if inside is None or not line.strip() else line[4:])
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
