"""The counterpart of one class: the same methods, each with one line of body."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from .annotations import Types, is_without_result, members_of
from .docstrings import translated
from .source import Function, Known, Source
from .tables import CLOSED_AT_EXIT, DROPPED, HELD, NAMES, SHOWN


@dataclass
class Needs:
    """The imports of a file that is being written."""

    runtime: set[str] = field(default_factory=set)
    typing_only: set[str] = field(default_factory=set)


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
        body = [f'"""{translated(self.source, self.node)}"""' if ast.get_docstring(self.node) else ""]
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
        way = "close" if function.name in ("aclose", CLOSED_AT_EXIT.get(self.node.name)) else "run"
        self._bridge(way)
        call = f"{way}({core}{self._more(function)})"
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
            [f'"""{translated(self.source, function, self._dropped())}"""']
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
        kinds = [ast.unparse(member).partition("[")[0] for member in members_of(argument.annotation)]
        if "AsyncIterable" in kinds:
            self._bridge("items_of")
            return f"items_of({argument.arg})"
        if "Callable" in kinds:
            if not all(map(is_without_result, members_of(argument.annotation))):
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
        changed = Types(self.source, self.known).visit(annotation)
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


def _decorators(function: Function) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
