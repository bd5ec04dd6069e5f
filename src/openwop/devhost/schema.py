"""A small part of JSON Schema 2020-12: what request bodies, definitions and resume values are checked with.

Understood are ``type enum const required properties additionalProperties items minItems maxItems
uniqueItems minLength maxLength pattern minimum maximum exclusiveMinimum exclusiveMaximum oneOf anyOf allOf
not`` and ``$ref`` into the same schema. Other keywords are taken for annotations and refuse nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from openwop.devhost.json_values import JsonObject, is_array, is_number, is_object, same

_TYPES: dict[str, Callable[[object], bool]] = {
    "object": is_object,
    "array": is_array,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": is_number,
    "integer": lambda value: is_number(value) and float(value).is_integer(),
}


class SchemaViolation(ValueError):
    """A value that breaks its schema: ``path`` says where (dotted, empty for the root), ``rule`` says what."""

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path or 'the body'} {rule}")
        self.path = path
        self.rule = rule


def check(value: Any, schema: JsonObject) -> None:
    """Check a decoded JSON value.

    Raises:
        SchemaViolation: The first rule that is broken.
    """
    for violation in violations(value, schema):
        raise violation


def violations(
    value: Any, schema: Any, path: str = "", root: JsonObject | None = None
) -> Iterator[SchemaViolation]:
    """Yield every broken rule, from the outside in."""
    if schema is True or not is_object(schema):
        if schema is False:
            yield SchemaViolation(path, "is not allowed here")
        return
    root = schema if root is None else root
    if "$ref" in schema:
        yield from violations(value, _resolve(str(schema["$ref"]), root), path, root)
    wrong_type = list(_type(value, schema, path))
    if wrong_type:
        yield from wrong_type
        return
    yield from _values(value, schema, path)
    if isinstance(value, str):
        yield from _string(value, schema, path)
    elif is_number(value):
        yield from _number(value, schema, path)
    elif is_array(value):
        yield from _array(value, schema, path, root)
    elif is_object(value):
        yield from _object(value, schema, path, root)
    yield from _combined(value, schema, path, root)


def _type(value: Any, schema: JsonObject, path: str) -> Iterator[SchemaViolation]:
    wanted = schema.get("type")
    names = wanted if is_array(wanted) else [wanted]
    if wanted is not None and not any(_TYPES.get(str(name), is_object)(value) for name in names):
        yield SchemaViolation(path, f"must be of type {' or '.join(map(str, names))}")


def _values(value: Any, schema: JsonObject, path: str) -> Iterator[SchemaViolation]:
    if "const" in schema and not same(value, schema["const"]):
        yield SchemaViolation(path, f"must be {schema['const']!r}")
    allowed = schema.get("enum")
    if is_array(allowed) and not any(same(value, item) for item in allowed):
        yield SchemaViolation(path, f"must be one of {', '.join(map(repr, allowed))}")


def _string(value: str, schema: JsonObject, path: str) -> Iterator[SchemaViolation]:
    if len(value) < schema.get("minLength", 0):
        yield SchemaViolation(path, f"must have at least {schema['minLength']} character(s)")
    if len(value) > schema.get("maxLength", len(value)):
        yield SchemaViolation(path, f"must have at most {schema['maxLength']} characters")
    if "pattern" in schema and not _matches(str(schema["pattern"]), value):
        yield SchemaViolation(path, f"must match {schema['pattern']}")


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False  # a pattern that nobody can read is one that nothing matches


def _number(value: float, schema: JsonObject, path: str) -> Iterator[SchemaViolation]:
    if value < schema.get("minimum", value):
        yield SchemaViolation(path, f"must be at least {schema['minimum']}")
    if value > schema.get("maximum", value):
        yield SchemaViolation(path, f"must be at most {schema['maximum']}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield SchemaViolation(path, f"must be more than {schema['exclusiveMinimum']}")
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        yield SchemaViolation(path, f"must be less than {schema['exclusiveMaximum']}")


def _array(value: list[Any], schema: JsonObject, path: str, root: JsonObject) -> Iterator[SchemaViolation]:
    if len(value) < schema.get("minItems", 0):
        yield SchemaViolation(path, f"must have at least {schema['minItems']} item(s)")
    if len(value) > schema.get("maxItems", len(value)):
        yield SchemaViolation(path, f"must have at most {schema['maxItems']} items")
    if schema.get("uniqueItems") and any(same(a, b) for i, a in enumerate(value) for b in value[:i]):
        yield SchemaViolation(path, "must not have the same item twice")
    if "items" in schema:
        for index, item in enumerate(value):
            yield from violations(item, schema["items"], f"{path}[{index}]", root)


def _object(value: JsonObject, schema: JsonObject, path: str, root: JsonObject) -> Iterator[SchemaViolation]:
    properties: JsonObject = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield SchemaViolation(_below(path, str(name)), "is required")
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], _below(path, name), root)
        elif schema.get("additionalProperties") is False:
            yield SchemaViolation(_below(path, name), "is not a known field")
        elif "additionalProperties" in schema:
            yield from violations(item, schema["additionalProperties"], _below(path, name), root)


def _combined(value: Any, schema: JsonObject, path: str, root: JsonObject) -> Iterator[SchemaViolation]:
    for part in schema.get("allOf", ()):
        yield from violations(value, part, path, root)
    if "anyOf" in schema and not any(_holds(value, part, root) for part in schema["anyOf"]):
        yield SchemaViolation(path, "matches none of the shapes that are allowed here")
    if "oneOf" in schema and sum(_holds(value, part, root) for part in schema["oneOf"]) != 1:
        yield SchemaViolation(path, "must match exactly one of the shapes that are allowed here")
    if "not" in schema and _holds(value, schema["not"], root):
        yield SchemaViolation(path, "has a shape that is not allowed here")


def _holds(value: Any, schema: Any, root: JsonObject) -> bool:
    return next(violations(value, schema, root=root), None) is None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _resolve(reference: str, root: JsonObject) -> Any:
    """Follow a JSON pointer into the same schema; what leads nowhere refuses nothing."""
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if is_object(found) else None
    return found if is_object(found) and reference.startswith("#/") else True
