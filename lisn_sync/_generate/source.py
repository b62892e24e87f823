"""The core, parsed: which of its files the facade is made from, and what each of them holds."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from .tables import ASYNC, NOT_MIRRORED, OPENED, SYNC

Function = ast.FunctionDef | ast.AsyncFunctionDef


class NoRule(Exception):
    """The source holds something that this generator does not know how to mirror."""


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

    def rooms(self) -> list[str]:
        """The modules that a package looks through when it is asked for a name, if it imports them so late."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == OPENED:
                return [ast.literal_eval(room) for room in node.args[1:]]
        return []

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
