"""Types of the async source, as they stand in the blocking classes; used by ``gen_sync.py``."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sync_source import BUILTIN, AsyncClass, Module, Origin, Package, Refusal

REPLACED: dict[Origin, Origin] = {
    ("collections.abc", "AsyncIterator"): ("collections.abc", "Iterator"),
    ("collections.abc", "AsyncIterable"): ("collections.abc", "Iterable"),
    ("collections.abc", "AsyncGenerator"): ("collections.abc", "Iterator"),
    ("openwop.middleware", "Middleware"): ("openwop.middleware", "BlockingMiddleware"),
}
"""Async types and what a caller of a blocking class has in their place."""

AWAITABLE = ("collections.abc", "Awaitable")
"""It is dropped: ``Awaitable[T]`` becomes ``T``."""

CALLBACKS = ("openwop.sync._portal", "in_worker_thread")
BRIDGES: dict[Origin, Origin | None] = {
    # The async client reads a plain iterable in a thread already.
    ("openwop._http.upload", "UploadSource"): None,
    ("openwop.middleware", "Middleware"): ("openwop.sync._bases", "all_in_worker_threads"),
    ("openwop.config", "TokenSource"): ("openwop.sync._bases", "token_source"),
    AWAITABLE: CALLBACKS,
}
"""What the value of a parameter goes through, by a type in its annotation; the first that is there decides."""


@dataclass(frozen=True)
class Twin:
    """The blocking class of an async one."""

    module: str
    name: str
    source: AsyncClass
    made_by_callers: bool = False
    """Whether callers make it themselves, from a client; else one of ours makes it."""


class Types:
    """Turns the annotations of one file, and tells that file what they need."""

    def __init__(
        self, package: Package, twins: dict[Origin, Twin], need: Callable[[Module, str, Origin], None]
    ) -> None:
        """``need`` is told of each name that stays as it is: where it was found, and what it stands for."""
        self._package = package
        self.twins = twins
        self._need = need
        self.need_twin: Callable[[Twin, Module], None] = lambda twin, module: None
        self.need_other: Callable[[Origin], None] = lambda origin: None

    def blocking(self, annotation: ast.expr, module: Module) -> ast.expr:
        """The annotation in blocking terms."""
        return _Turn(self, self._package, module).visit(copy.deepcopy(annotation))

    def names(self, expression: ast.expr, module: Module) -> None:
        """Tell what an expression needs that stays as it is, such as a default."""
        for node in ast.walk(expression):
            if isinstance(node, ast.Name):
                self._tell(module, node.id, self._package.resolve(module, node.id))

    def twin(self, annotation: ast.expr | None, module: Module) -> Twin | None:
        """The twin that an annotation is about as a whole: ``AsyncRun``, ``AsyncPages[A, B]``."""
        named = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        if isinstance(named, ast.Name):
            return self.twins.get(self._package.resolve(module, named.id))
        return None

    def origins(self, annotation: ast.expr, module: Module) -> Iterator[Origin]:
        """Everything that an annotation is made of; what an alias of ours stands for comes behind it."""
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name):
                origin = self._package.resolve(module, node.id)
                yield origin
                alias = self._package.alias(origin)
                if alias is not None:
                    yield from self.origins(alias, self._package.module(origin[0]))

    def bridge(self, annotation: ast.expr | None, module: Module) -> Origin | None:
        """What a value of this type has to go through on its way to the async class."""
        found = set(self.origins(annotation, module)) if annotation is not None else set[Origin]()
        return next((BRIDGES[origin] for origin in BRIDGES if origin in found), None)

    def is_async(self, annotation: ast.expr, module: Module) -> bool:
        """Whether a type is another one in a blocking class."""
        turned = REPLACED.keys() | self.twins.keys() | {AWAITABLE}
        return any(origin in turned for origin in self.origins(annotation, module))

    def _tell(self, module: Module, name: str, origin: Origin) -> None:
        if origin[0] != BUILTIN:
            self._need(module, name, origin)


class _Turn(ast.NodeTransformer):
    def __init__(self, types: Types, package: Package, module: Module) -> None:
        self._types = types
        self._package = package
        self._module = module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        origin = self._package.resolve(self._module, node.id)
        twin = self._types.twins.get(origin)
        if twin is not None:
            self._types.need_twin(twin, self._module)
            return ast.Name(twin.name)
        if origin in REPLACED:
            self._types.need_other(REPLACED[origin])
            return ast.Name(REPLACED[origin][1])
        if origin == AWAITABLE:
            raise Refusal(f"{self._module.name}: a bare Awaitable")
        alias = self._package.alias(origin)
        home = self._package.module(origin[0]) if alias is not None else self._module
        if alias is not None and self._types.is_async(alias, home):
            return self._types.blocking(alias, home)
        self._types._tell(self._module, node.id, origin)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Name):
            origin = self._package.resolve(self._module, node.value.id)
            if origin == AWAITABLE:
                return self.visit(node.slice)
            if origin == ("typing", "Literal"):
                self.visit(node.value)
                return node
            if origin == ("collections.abc", "AsyncGenerator"):
                node.slice = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
        self.generic_visit(node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        parts: dict[str, ast.expr] = {}
        for part in _union(node):
            for inner in _union(self.visit(part)):
                parts.setdefault(ast.unparse(inner), inner)
        if "None" in parts:
            parts["None"] = parts.pop("None")  # it is read last
        first, *others = parts.values()
        for other in others:
            first = ast.BinOp(first, ast.BitOr(), other)
        return first


def _union(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_union(node.left), *_union(node.right)]
    return [node]
