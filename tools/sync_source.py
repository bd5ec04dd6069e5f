"""The async source as syntax trees: which classes have a blocking twin, and what a name in them stands for.

Used by ``gen_sync.py``.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"

Definition = ast.FunctionDef | ast.AsyncFunctionDef
Origin = tuple[str, str]
"""A module and the name in it; the name is empty for a module itself."""

BUILTIN = "builtins"


def path_of(module: str) -> Path:
    """The file of a module of the package."""
    path = SRC.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class Refusal(Exception):
    """The async source has something that there is no rule for."""


@dataclass
class Module:
    """One module of the package."""

    name: str
    tree: ast.Module
    imports: dict[str, Origin] = field(default_factory=dict[str, Origin])
    for_checkers: set[str] = field(default_factory=set[str])
    """Names that are imported under ``if TYPE_CHECKING:``."""
    own: dict[str, ast.stmt] = field(default_factory=dict[str, ast.stmt])
    """What the module defines itself."""

    @classmethod
    def load(cls, name: str) -> Module:
        """Read a module of the package by its dotted name."""
        module = cls(name, ast.parse(path_of(name).read_text(encoding="utf-8")))
        module._read(module.tree.body, checkers=False)
        return module

    def _read(self, body: list[ast.stmt], *, checkers: bool) -> None:
        for node in body:
            match node:
                case ast.ImportFrom(module=str(home)):
                    found = {alias.asname or alias.name: (home, alias.name) for alias in node.names}
                case ast.Import():
                    found = {alias.asname or alias.name: (alias.name, "") for alias in node.names}
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    self._read(node.body, checkers=True)
                    continue
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.own[node.name] = node
                    continue
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    self.own[name] = node
                    continue
                case _:
                    continue
            self.imports |= found
            if checkers:
                self.for_checkers |= set(found)

    @property
    def exported(self) -> list[str]:
        """Its ``__all__``."""
        node = self.own.get("__all__")
        assert isinstance(node, ast.Assign), f"{self.name} has no __all__"
        names: list[str] = ast.literal_eval(node.value)
        return names


class Package:
    """Modules by name, read once."""

    def __init__(self) -> None:
        self._modules: dict[str, Module] = {}

    def module(self, name: str) -> Module:
        """A module of the package."""
        if name not in self._modules:
            self._modules[name] = Module.load(name)
        return self._modules[name]

    def resolve(self, module: Module, name: str) -> Origin:
        """Where ``name``, as it stands in ``module``, is defined."""
        if name in module.own:
            return module.name, name
        if name in module.imports:
            home, attribute = module.imports[name]
            if not attribute or home.split(".")[0] != "openwop":
                return home, attribute
            if attribute in self.module(home).own or attribute in self.module(home).imports:
                return self.resolve(self.module(home), attribute)
            return f"{home}.{attribute}", ""  # a module of the package
        if hasattr(builtins, name):
            return BUILTIN, name
        raise Refusal(f"{module.name}: {name} is not defined")

    def definition(self, origin: Origin) -> ast.stmt | None:
        """What stands at ``origin``, if it is in the package."""
        home, name = origin
        return self.module(home).own.get(name) if home.split(".")[0] == "openwop" and name else None

    def alias(self, origin: Origin) -> ast.expr | None:
        """The expression that a name of the package stands for."""
        node = self.definition(origin)
        return node.value if isinstance(node, ast.Assign) else None


@dataclass
class Member:
    """One public attribute of an async class, with its overloads in front of it."""

    module: Module
    """Where it is written, which is not always where the class is."""
    node: Definition
    overloads: list[Definition] = field(default_factory=list[Definition])

    @property
    def name(self) -> str:
        """How it is called in the async class."""
        return self.node.name

    @cached_property
    def decorators(self) -> set[str]:
        """The names of what it is decorated with."""
        return {ast.unparse(decorator) for decorator in self.node.decorator_list}

    @property
    def is_async(self) -> bool:
        """Whether it is awaited, or gives values as it goes."""
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def is_generator(self) -> bool:
        """Whether it gives values as it goes."""
        return self.is_async and any(isinstance(node, ast.Yield) for node in ast.walk(self.node))


@dataclass
class AsyncClass:
    """A class to make a twin of.  What it inherits is its own here: a twin inherits from nothing."""

    package: Package
    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        """With its ``Async``."""
        return self.node.name

    @property
    def origin(self) -> Origin:
        """Where it is defined."""
        return self.module.name, self.node.name

    @property
    def generic(self) -> ast.Subscript | None:
        """``Generic[...]``, where it is among the bases."""
        for base in self.node.bases:
            if isinstance(base, ast.Subscript) and ast.unparse(base.value) == "Generic":
                return base
        return None

    @cached_property
    def bases(self) -> list[AsyncClass]:
        """The classes of the package that it inherits from."""
        found: list[AsyncClass] = []
        for base in self.node.bases:
            if isinstance(base, ast.Name):
                home, name = self.package.resolve(self.module, base.id)
                node = self.package.definition((home, name))
                if isinstance(node, ast.ClassDef):
                    found.append(AsyncClass(self.package, self.package.module(home), node))
        return found

    @cached_property
    def members(self) -> dict[str, Member]:
        """Public methods and properties and the special methods, inherited ones first."""
        found: dict[str, Member] = {}
        for base in self.bases:
            found |= base.members
        waiting: list[Definition] = []
        for node in self.node.body:
            if not isinstance(node, Definition) or (node.name.startswith("_") and not _special(node.name)):
                continue
            if any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list):
                waiting.append(node)
                continue
            found[node.name] = Member(self.module, node, waiting)
            waiting = []
        return found

    def raw_methods(self) -> Iterator[tuple[str, AsyncClass, str]]:
        """Where each attribute is made by ``raw(parameter.method)``: its name, and which class's method that is."""
        for base in self.bases:
            yield from base.raw_methods()
        init = next((node for node in self.node.body if getattr(node, "name", "") == "__init__"), None)
        if not isinstance(init, ast.FunctionDef) or len(init.args.args) != 2:
            return
        parameter = init.args.args[1]
        for node in init.body:
            match node:
                case ast.Assign(
                    targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                    value=ast.Call(
                        func=ast.Name(id="raw"), args=[ast.Attribute(value=ast.Name(id=given), attr=method)]
                    ),
                ) if given == parameter.arg and isinstance(parameter.annotation, ast.Name):
                    home, kind = self.package.resolve(self.module, parameter.annotation.id)
                    found = self.package.definition((home, kind))
                    assert isinstance(found, ast.ClassDef)
                    yield name, AsyncClass(self.package, self.package.module(home), found), method
                case _:
                    continue


def _special(name: str) -> bool:
    return name in {
        "__aenter__", "__aexit__", "__aiter__", "__anext__", "__init__", "__repr__", "__len__", "__getitem__",
    }  # fmt: skip
