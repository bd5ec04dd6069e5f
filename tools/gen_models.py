"""Write ``src/openwop/models/payloads`` from the OpenAPI document, or check that it is what would be written.

Run it as ``python tools/gen_models.py`` after a change to a schema under ``payloads.``; with ``--check`` it changes
nothing, names the files that differ and exits with 1 if there is one.

A schema with ``x-openwop-event-type`` is the payload of an event, any other is a shape in one.  Everything that is not
in the document is a table below, with its reason.  What is written needs no formatter: it is as ``ruff`` would have it.
"""

from __future__ import annotations

import argparse
import keyword
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel, to_snake

from openwop import models
from openwop.models.event_types import EventType, canonical_event_type
from openwop.spec import load_document

Schema = Mapping[str, Any]

PREFIX = "payloads."
PACKAGE = "openwop.models.payloads"
TARGET = Path(__file__).parents[1] / "src" / "openwop" / "models" / "payloads"
CODE_WIDTH = 110
PROSE_WIDTH = 120

SHARED_SHAPES = "shapes"
"""The module of shapes that payloads of several families have."""

FAMILIES: dict[str, tuple[str, frozenset[str]]] = {
    "runs": (
        "Payloads of events about a run as a whole",
        frozenset({"run", "version", "workflow", "cap", "lease", "replay", "import"}),
    ),
    "nodes": (
        "Payloads of events about nodes and what they produce",
        frozenset({"node", "channel", "variable", "artifact", "output", "log"}),
    ),
    "interrupts": (
        "Payloads of events about questions to people, and their answers",
        frozenset({"interrupt", "approval", "clarification", "conversation"}),
    ),
    "agents": (
        "Payloads of events about agents, what they decide and what they remember",
        frozenset(
            {"agent", "orchestrator", "workflow-chain", "roster", "memory", "commitment", "proposal", "goal"}
        ),
    ),
    "model_calls": (
        "Payloads of events about prompts and the calls of models",
        frozenset({"provider", "prompt", "model", "envelope"}),
    ),
    "access": (
        "Payloads of events about tools, other services and what is allowed",
        frozenset({"tool", "egress", "connector", "authorization"}),
    ),
    "operations": (
        "Payloads of events about files, evaluations, deployments, triggers and budgets",
        frozenset({"workspace", "eval", "deployment", "trigger", "budget"}),
    ),
    "voice": ("Payloads of events about speech", frozenset({"voice"})),
}
"""Which types are kept together, by the first word of the type in its newest spelling.

A module is loaded as a whole with the first payload that needs it, so a family is what a program meets together.
"""


@dataclass
class Component:
    """One schema under ``payloads.``, and where its class goes."""

    name: str
    schema: Schema
    module: str = ""
    uses: list[str] = field(default_factory=list[str])
    """Schemas that it refers to, by their names in the document, in order."""

    @cached_property
    def types(self) -> list[str]:
        """The types of the events that carry it, as the document spells them."""
        found = self.schema.get("x-openwop-event-type", [])
        return [found] if isinstance(found, str) else found

    @property
    def is_payload(self) -> bool:
        """Whether it is a payload by itself, and not a shape in one."""
        return bool(self.types)


# --------------------------------------------------------------------------------------------- reading the document


def references(node: Any) -> Iterator[str]:
    """Names of the component schemas that ``node`` refers to."""
    if isinstance(node, Mapping):
        if "$ref" in node:
            yield node["$ref"].removeprefix("#/components/schemas/")
        for item in node.values():
            yield from references(item)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def components(document: Mapping[str, Any]) -> dict[str, Component]:
    """Every schema under ``payloads.`` by its class name, each after those that it refers to."""
    found = {
        name.removeprefix(PREFIX): Component(name.removeprefix(PREFIX), schema, uses=[*references(schema)])
        for name, schema in document["components"]["schemas"].items()
        if name.startswith(PREFIX)
    }
    for component in found.values():
        families = {_family(type_) for type_ in component.types} or _families_of_users(found, component)
        component.module = families.pop() if len(families) == 1 else SHARED_SHAPES
        if component.is_payload and component.module == SHARED_SHAPES:
            raise ValueError(f"{component.name}: the types of one payload must be of one family")
    ordered: dict[str, Component] = {}

    def place(component: Component) -> None:
        for name in component.uses:
            if name.startswith(PREFIX):
                place(found[name.removeprefix(PREFIX)])
        ordered.setdefault(component.name, component)

    for component in found.values():
        place(component)
    return ordered


def _family(event_type: str) -> str:
    first = canonical_event_type(event_type).partition(".")[0]
    for module, (_, words) in FAMILIES.items():
        if first in words:
            return module
    raise ValueError(f"{event_type}: no family has types that begin with {first!r}")


def _families_of_users(found: Mapping[str, Component], shape: Component) -> set[str]:
    families: set[str] = set()
    for user in found.values():
        if PREFIX + shape.name in user.uses:
            own = {_family(type_) for type_ in user.types}
            families |= own or _families_of_users(found, user)
    return families


# ---------------------------------------------------------------------------------------------------- writing fields


def field_name(wire: str) -> str:
    """The attribute for a property; a name that Python or pydantic has taken gets an underscore behind it."""
    name = to_snake(wire)
    return f"{name}_" if keyword.iskeyword(name) or hasattr(BaseModel, name) else name


def annotation(schema: Schema) -> str:
    """The type of values of ``schema``, without saying whether they may be absent."""
    if "$ref" in schema:
        return next(references(schema)).removeprefix(PREFIX)
    if "allOf" in schema:
        return annotation(schema["allOf"][0])
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = [_simple(kind, schema) for kind in kinds if kind != "null"]
    if not names:
        return "Any"
    return " | ".join([*names, "None"] if "null" in kinds else names)


def _simple(kind: str, schema: Schema) -> str:
    if kind == "string":
        return "datetime" if schema.get("format") == "date-time" else "str"
    if kind == "array":
        return f"list[{annotation(schema.get('items', {}))}]"
    if kind == "object":
        values = schema.get("additionalProperties", {})
        return f"dict[str, {annotation(values)}]" if values else "JsonObject"
    return {"integer": "int", "number": "float", "boolean": "bool"}[kind]


def field_line(wire: str, schema: Schema, *, required: bool) -> str:
    """The line that declares the attribute of one property."""
    name, kind = field_name(wire), annotation(schema)
    default = None if required else repr(schema.get("default")).replace("'", '"')
    if default == "None" and kind != "Any" and not kind.endswith("| None"):
        kind += " | None"
    if to_camel(name) != wire:
        arguments = [f'alias="{wire}"'] if default is None else [f"default={default}", f'alias="{wire}"']
        return f"{name}: {kind} = Field({', '.join(arguments)})"
    return f"{name}: {kind}" if default is None else f"{name}: {kind} = {default}"


def field_words(schema: Schema) -> str:
    """What is said about an attribute: the document's description, and which values are known."""
    words = [_prose(schema.get("description", ""))]
    for part in (schema, schema.get("items", {})):
        if "x-openwop-known-values" in part:
            words.append(f"Known values: ``{' '.join(part['x-openwop-known-values'])}``.")
    return "  ".join(filter(None, words))


def _prose(text: str) -> str:
    """Text of the document as docstrings have it."""
    return re.sub(r"`+", "``", " ".join(text.split()))


def _docstring(text: str) -> list[str]:
    one_line = f'    """{text}"""'
    return [one_line] if len(one_line) <= PROSE_WIDTH else [*_wrap(f'"""{text}'), '    """']


def _wrap(text: str, indent: str = "    ", width: int = PROSE_WIDTH - 3) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


# ---------------------------------------------------------------------------------------------------- writing classes


def class_lines(component: Component) -> list[str]:
    """The class of one component."""
    schema = component.schema
    bases = [*references(schema.get("allOf", []))] or ["TolerantModel"]
    words = _prose(schema["description"])
    if component.is_payload:
        words = f"``{'``, ``'.join(component.types)}``: {words[0].lower()}{words[1:]}"
    lines = [f"class {component.name}({', '.join(base.removeprefix(PREFIX) for base in bases)}):"]
    first, *others = re.split(r"(?<=[.]) +(?=[A-Z`])", words)
    lines += (
        [f'    """{first}', "", *_wrap("  ".join(others)), '    """'] if others else [f'    """{first}"""']
    )
    if len(lines[1]) > PROSE_WIDTH:
        raise ValueError(f"{component.name}: the first sentence of its description is too long for one line")
    properties: Mapping[str, Schema] = schema.get("properties", {})
    if properties:
        lines.append("")
    for wire, part in properties.items():
        lines.append("    " + field_line(wire, part, required=wire in schema.get("required", ())))
        if words := field_words(part):
            lines += _docstring(words)
    return lines


def _import(module: str, names: Iterable[str], indent: str = "") -> list[str]:
    names = sorted(names, key=str.lower)
    one_line = f"{indent}from {module} import {', '.join(names)}"
    if len(one_line) <= CODE_WIDTH:
        return [one_line]
    return [f"{indent}from {module} import (", *(f"{indent}    {name}," for name in names), f"{indent})"]


def module_text(name: str, own: Sequence[Component], everything: Mapping[str, Component]) -> str:
    """One module of the package."""
    body: list[str] = []
    for component in own:
        body += ["", "", *class_lines(component)]
    code = "\n".join(body)

    def uses(word: str) -> bool:
        return re.search(rf"^(class|    \w+:)[^\n]*\b{word}\b", code, re.M) is not None

    needed: dict[str, set[str]] = {}
    for base in ("JsonObject", "TolerantModel"):
        if uses(base):
            needed.setdefault("openwop.models.base", set()).add(base)
    for used in {used for component in own for used in component.uses}:
        if not used.startswith(PREFIX):
            needed.setdefault(getattr(models, used).__module__, set()).add(used)
        elif (home := everything[used.removeprefix(PREFIX)].module) != name:
            needed.setdefault(f"{PACKAGE}.{home}", set()).add(used.removeprefix(PREFIX))
    title = FAMILIES[name][0] if name in FAMILIES else "Shapes that payloads of several families have"
    lines = [*_head(title), "from __future__ import annotations", ""]
    standard = ["from datetime import datetime"] * uses("datetime") + ["from typing import Any"] * uses("Any")
    third_party = ["from pydantic import Field"] * uses("Field")
    for block in (standard, third_party):
        lines += [*block, ""] if block else []
    for module in sorted(needed):
        lines += _import(module, needed[module])
    lines += ["", "__all__ = ["]
    lines += [f'    "{component}",' for component in sorted(component.name for component in own)]
    return "\n".join([*lines, "]", code, ""])


def _head(title: str) -> list[str]:
    return [
        f'"""{title}.',
        "",
        "Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.",
        '"""',
        "",
    ]


# ----------------------------------------------------------------------------------------------- writing the package

PACKAGE_CODE = '''

def payload_model(event_type: str) -> type[TolerantModel] | None:
    """The class of the payloads of ``event_type``, in any spelling; ``None`` for a type without one."""
    name = PAYLOAD_NAMES.get(canonical_event_type(event_type))
    return None if name is None else __getattr__(name)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'openwop.models.payloads' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"openwop.models.payloads.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
'''


def package_text(everything: Mapping[str, Component]) -> str:
    """The ``__init__`` of the package: every name, imported from its module when it is first used."""
    homes: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    for component in everything.values():
        homes.setdefault(component.module, []).append(component.name)
        for event_type in component.types:
            canonical = canonical_event_type(event_type)
            if canonical not in set(EventType):
                raise ValueError(f"{component.name}: {event_type} is not among the known types of events")
            if canonical in types:
                raise ValueError(f"{canonical}: both {types[canonical]} and {component.name}")
            types[canonical] = component.name
    lines = [
        *_head("What events carry, as classes"),
        "from __future__ import annotations",
        "",
        "import importlib",
        "from typing import TYPE_CHECKING, Any",
        "",
        "from openwop.models.event_types import canonical_event_type",
        "",
        "if TYPE_CHECKING:",
        "    from openwop.models.base import TolerantModel",
    ]
    for module in sorted(homes):
        lines += _import(f"{PACKAGE}.{module}", homes[module], "    ")
    lines += ["", "# Which names live in which module of this package.", "_NAMES: dict[str, str] = {"]
    for module in sorted(homes):
        lines.append(f'    "{module}": """')
        lines += _wrap(" ".join(sorted(homes[module])), " " * 8, CODE_WIDTH)
        lines.append('    """,')
    lines += [
        "}",
        "_HOMES: dict[str, str] = {name: module for module, names in _NAMES.items() for name in names.split()}",
        "",
        "PAYLOAD_NAMES: dict[str, str] = {",
        *(f'    "{event_type}": "{name}",' for event_type, name in sorted(types.items())),
        "}",
        '"""The class of each type of event, by the type in the spelling of the newest protocol major."""',
        "",
        "__all__ = [",
        *(f'    "{name}",' for name in ["PAYLOAD_NAMES", *sorted(everything), "payload_model"]),
        "]",
    ]
    return "\n".join(lines) + "\n" + PACKAGE_CODE


def files(document: Mapping[str, Any]) -> dict[str, str]:
    """Every file of the package and what has to be in it."""
    everything = components(document)
    modules: dict[str, list[Component]] = {}
    for component in everything.values():
        modules.setdefault(component.module, []).append(component)
    texts = {f"{name}.py": module_text(name, own, everything) for name, own in modules.items()}
    return {"__init__.py": package_text(everything), **texts}


# -------------------------------------------------------------------------------------------------------------- main


def differences(expected: Mapping[str, str], target: Path = TARGET) -> list[str]:
    """Names of the files that are missing, too many or not as they would be written."""
    there = {path.name: path.read_text(encoding="utf-8") for path in target.glob("*.py")}
    return sorted(name for name in expected.keys() | there.keys() if expected.get(name) != there.get(name))


def main(arguments: Sequence[str] | None = None, target: Path = TARGET) -> int:
    """Write the package, or only compare it: 1 if something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file would change")
    check: bool = parser.parse_args(arguments).check
    expected = files(load_document())
    differing = differences(expected, target)
    for name in differing:
        print(f"{target / name}: {'differs' if check else 'written'}")
        if not check and name in expected:
            target.mkdir(exist_ok=True)
            (target / name).write_text(expected[name], encoding="utf-8", newline="\n")
        elif not check:
            (target / name).unlink()
    if check and differing:
        print("run: python tools/gen_models.py")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
