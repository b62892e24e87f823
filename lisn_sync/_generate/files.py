"""The set of generated files and the whole text of each: made, compared with what is there, written."""

from __future__ import annotations

import ast
import difflib
import re
import subprocess
import sys
from pathlib import Path

from .classes import Facade, Needs
from .docstrings import translated
from .source import Known, NoRule, Source, doors, facade_sources
from .tables import ASYNC, BEHIND_DOORS, BY_HAND, COMMAND, FRONT_DOOR, OPENED, PACKAGE, SYNC


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
    return [path for path in files if path.relative_to(here).as_posix() not in BY_HAND]


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
    if rooms := source.rooms():
        return _late_door(source, needs, shown, rooms)
    return "\n".join([_head(source), *_imports(needs), *shown, ""])


def _late_door(source: Source, needs: Needs, shown: list[str], rooms: list[str]) -> str:
    """A public module that imports nothing until it is asked: for counterparts, for the rest, for our private parts."""
    ours = [room for room in rooms if not room.startswith("._")]
    ours += [f".{name.lower()}" for name in sorted(BEHIND_DOORS)]
    asked = ", ".join(repr(room) for room in [*ours, ASYNC])
    late = sorted(statement for statement in needs.runtime if "__version__" not in statement)
    return "\n".join(
        [
            _head(source),
            *sorted(needs.runtime - set(late)),
            "TYPE_CHECKING = False",
            "if TYPE_CHECKING:",
            *(f"    {statement}" for statement in late),
            "",
            *shown,
            "",
            "if not TYPE_CHECKING:",
            f"    from {ASYNC}.{FRONT_DOOR} import {OPENED}",
            f"    __getattr__, __dir__ = {OPENED}(globals(), {asked})",
            "",
        ]
    )


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
    statement = (source.runtime | source.typing_only).get(name, "")
    module = statement.split(" ")[1] if statement.startswith("from ") else source.module
    return source.module if "._" in module else module


def _rank(name: str) -> tuple[int, str]:
    """Constants, classes, the rest: ruff's order of `__all__`."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _head(source: Source) -> str:
    about = f"Generated from {source.path} by `{COMMAND}`: change that file, not this one."
    own = PACKAGE if source.target == f"{SYNC}/__init__.py" else translated(source, source.tree)
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
