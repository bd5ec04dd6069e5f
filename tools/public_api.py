"""The public API as text: every name that users may import, with its members and signatures.

``python tools/public_api.py`` writes ``tests/contract/public_api.txt``; ``--check`` compares with it instead, prints
what differs and exits with 1.  A change of that file is a change of the public API, and shows as one in review.
"""

from __future__ import annotations

import difflib
import enum
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

SRC = Path(__file__).parents[1] / "src"
FILE = SRC.parent / "tests" / "contract" / "public_api.txt"

MODULES = (
    "openwop",
    "openwop.chat",
    "openwop.compat",
    "openwop.devhost",
    "openwop.devhost.scenario",
    "openwop.devhost.store",
    "openwop.devhost.store_tests",
    "openwop.fanout",
    "openwop.middleware",
    "openwop.models",
    "openwop.models.payloads",
    "openwop.pagination",
    "openwop.sync.chat",
    "openwop.sync.pagination",
    "openwop.testing",
    "openwop.webhooks",
)
"""Modules whose ``__all__`` is a promise.  The resources' classes are reached through the client's attributes."""

RESOURCES = ("openwop.resources", "openwop.sync.resources")
"""Packages of the async and of the blocking ones."""


def lines() -> Iterator[str]:
    """The text, line by line."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        yield f"# {module_name}"
        for name in sorted(module.__all__):
            yield from describe(name, getattr(module, name))
        yield ""
    for package in RESOURCES:
        yield f"# {package}"
        for path in sorted((SRC / package.replace(".", "/")).glob("[a-z]*.py")):
            module = importlib.import_module(f"{package}.{path.stem}")
            for name in sorted(module.__all__):
                yield from describe(name, getattr(module, name))
        yield ""


def describe(name: str, value: Any) -> Iterator[str]:
    """A name, and what is below it."""
    if inspect.isclass(value):
        yield f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
        if not issubclass(value, enum.Enum) and "__init__" in vars(value):
            yield f"    __init__{signature(value.__init__)}"
        if issubclass(value, BaseModel):
            yield from sorted(fields_of(value))
        yield from sorted(members_of(value))
    elif inspect.isroutine(value):
        yield f"def {name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def fields_of(model: type[BaseModel]) -> Iterator[str]:
    """Fields that a model declares itself, with how they are called on the wire."""
    for name in inspect.get_annotations(model):
        field = model.model_fields.get(name)
        if field is not None:
            wire = field.serialization_alias or field.alias or name
            need = "required" if field.is_required() else "optional"
            yield f"    {name}: {inspect.get_annotations(model)[name]} [{wire}, {need}]"


def members_of(kind: type) -> Iterator[str]:
    """Methods, properties and constants that a class of ours defines, or inherits from one that is not public."""
    for name, member in inspect.getmembers_static(kind):
        home = next((base for base in kind.__mro__ if name in vars(base)), kind)
        if name.startswith("_") or not home.__module__.startswith("openwop"):
            continue
        if issubclass(kind, BaseModel) and (
            name.startswith("model_") or home.__module__ == "openwop.models.base"
        ):
            continue
        if isinstance(member, property):
            yield f"    {name} -> {inspect.get_annotations(member.fget).get('return')}"  # type: ignore[arg-type]
        elif isinstance(member, staticmethod | classmethod):
            yield f"    {type(member).__name__} {name}{signature(member.__func__)}"
        elif inspect.isfunction(member):
            marker = "async " if inspect.iscoroutinefunction(member) else ""
            yield f"    {marker}{name}{signature(member)}"
        elif isinstance(member, enum.Enum):
            yield f"    {name} = {member.value!r}"
        elif type(member).__name__ == "cached_property":
            yield f"    {name} -> {inspect.get_annotations(member.func).get('return')}"


class Text(str):
    """Text that stands in a signature as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def signature(function: Any) -> str:
    """How ``function`` is called, spelled the same in every process."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=annotation(parameter.annotation), default=default(parameter.default))
        for parameter in found.parameters.values()
        if parameter.name != "self"
    ]
    return str(found.replace(parameters=parameters, return_annotation=annotation(found.return_annotation)))


def annotation(value: Any) -> Any:
    """An annotation as it stands in the source."""
    return Text(value) if isinstance(value, str) and value else value


def default(value: Any) -> Any:
    """A default value as text that depends neither on an address nor on an order of hashes."""
    if value is inspect.Parameter.empty:
        return value
    if isinstance(value, frozenset):
        return Text(f"frozenset({sorted(value)})")
    return Text(value.__name__) if inspect.isroutine(value) else Text(repr(value))


def main(arguments: list[str]) -> int:
    """Write the file, or compare with it."""
    text = "\n".join(lines()).rstrip() + "\n"
    if "--check" not in arguments:
        FILE.write_text(text, encoding="utf-8")
        return 0
    frozen = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    changed = list(
        difflib.unified_diff(frozen.splitlines(), text.splitlines(), "frozen", "now", n=0, lineterm="")
    )
    for line in changed:
        print(line)
    if changed:
        print(f"the public API changed; if that is meant: python tools/{Path(__file__).name}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
