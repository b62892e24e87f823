"""Types in the words of the facade."""

from __future__ import annotations

import ast
import re

from .source import Known, Source


class Types(ast.NodeTransformer):
    """What a type of the core is called in the facade."""

    def __init__(self, source: Source, known: Known) -> None:
        self.source, self.known = source, known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = "Iterator" if node.id == "AsyncIterator" else self.known.sync_name(node.id)
        if re.match("Async[A-Z]", name) or name in ("Awaitable", "Coroutine"):
            raise self.source.error(node, f"the type {node.id}")
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
            member for member in members_of(node) if not ast.unparse(member).startswith("AsyncIterable[")
        ]
        union: ast.expr = self.visit(members[0])
        for member in members[1:]:
            union = ast.BinOp(union, ast.BitOr(), self.visit(member))
        return ast.copy_location(union, node)


def members_of(annotation: ast.expr) -> list[ast.expr]:
    """The members of a union."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*members_of(annotation.left), *members_of(annotation.right)]
    return [annotation]


def is_without_result(annotation: ast.expr) -> bool:
    """None, or a callable that returns nothing: its caller does not wait for it."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        return ast.unparse(annotation.slice.elts[-1]) == "None"
    return ast.unparse(annotation) == "None"
