"""A small part of JSON Schema 2020-12: what documents are checked with that come from people and not from hosts.

Understood are ``type enum const required properties additionalProperties items minItems maxItems uniqueItems minLength
maxLength pattern minimum maximum exclusiveMinimum exclusiveMaximum oneOf anyOf allOf not if then else``, ``format``
with ``date-time``, and ``$ref`` into the same schema.  Other keywords are taken for annotations and refuse nothing; one
of ours is ``x-pattern-means``, which says what a pattern is for, for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeGuard

from openwop.models.base import JsonObject

__all__ = ["Place", "SchemaViolation", "check", "dotted", "violations"]

Place = tuple[str | int, ...]
"""Where something stands in a JSON document: the keys and indexes that lead to it."""

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _is_object(value: object) -> TypeGuard[JsonObject]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[object], bool]] = {
    "object": _is_object,
    "array": _is_array,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def dotted(place: Sequence[str | int]) -> str:
    """A place as people write it: ``nodes[0].config``, and the empty text for the whole.

    Example::

        assert dotted(("nodes", 0, "config")) == "nodes[0].config"
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


class SchemaViolation(ValueError):
    """A value that breaks its schema: ``place`` (``path``, dotted) says where, ``rule`` says what."""

    def __init__(self, place: Place, rule: str) -> None:
        self.place = place
        self.path = dotted(place)
        self.rule = rule
        super().__init__(f"{self.path or 'the body'} {rule}")


def check(value: Any, schema: JsonObject) -> None:
    """Check a decoded JSON value.

    Raises:
        SchemaViolation: The first rule that is broken.
    """
    for violation in violations(value, schema):
        raise violation


def violations(
    value: Any, schema: Any, place: Place = (), root: JsonObject | None = None
) -> Iterator[SchemaViolation]:
    """Yield every broken rule, from the outside in."""
    if schema is True or not _is_object(schema):
        if schema is False:
            yield SchemaViolation(place, "is not allowed here")
        return
    root = schema if root is None else root
    if "$ref" in schema:
        yield from violations(value, _resolve(str(schema["$ref"]), root), place, root)
    wrong_type = list(_type(value, schema, place))
    if wrong_type:
        yield from wrong_type
        return
    yield from _values(value, schema, place)
    if isinstance(value, str):
        yield from _string(value, schema, place)
    elif _is_number(value):
        yield from _number(value, schema, place)
    elif _is_array(value):
        yield from _array(value, schema, place, root)
    elif _is_object(value):
        yield from _object(value, schema, place, root)
    yield from _combined(value, schema, place, root)


def _type(value: Any, schema: JsonObject, place: Place) -> Iterator[SchemaViolation]:
    wanted = schema.get("type")
    names = wanted if _is_array(wanted) else [wanted]
    if wanted is not None and not any(_TYPES.get(str(name), _is_object)(value) for name in names):
        yield SchemaViolation(place, f"must be of type {' or '.join(map(str, names))}")


def _values(value: Any, schema: JsonObject, place: Place) -> Iterator[SchemaViolation]:
    if "const" in schema and not _same(value, schema["const"]):
        yield SchemaViolation(place, f"must be {schema['const']!r}")
    allowed = schema.get("enum")
    if _is_array(allowed) and not any(_same(value, item) for item in allowed):
        yield SchemaViolation(place, f"must be one of {', '.join(map(repr, allowed))}")


def _same(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if _is_object(left) and _is_object(right):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if _is_array(left) and _is_array(right):
        return len(left) == len(right) and all(map(_same, left, right))
    return left == right


def _string(value: str, schema: JsonObject, place: Place) -> Iterator[SchemaViolation]:
    if len(value) < schema.get("minLength", 0):
        yield SchemaViolation(place, f"must have at least {schema['minLength']} character(s)")
    if len(value) > schema.get("maxLength", len(value)):
        yield SchemaViolation(place, f"must have at most {schema['maxLength']} characters")
    if "pattern" in schema and not _matches(str(schema["pattern"]), value):
        yield SchemaViolation(place, f"must {schema.get('x-pattern-means') or 'match ' + schema['pattern']}")
    if schema.get("format") == "date-time" and not _is_date_time(value):
        yield SchemaViolation(place, "must be a time such as 2024-05-01T12:00:00Z")


def _matches(pattern: str, value: str) -> bool:
    try:
        # In JSON Schema `$` is the end of the text; in Python it also stands before a last line break.
        return re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), value) is not None
    except re.error:
        return False  # a pattern that nobody can read is one that nothing matches


def _is_date_time(value: str) -> bool:
    if _DATE_TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True


def _number(value: float, schema: JsonObject, place: Place) -> Iterator[SchemaViolation]:
    if value < schema.get("minimum", value):
        yield SchemaViolation(place, f"must be at least {schema['minimum']}")
    if value > schema.get("maximum", value):
        yield SchemaViolation(place, f"must be at most {schema['maximum']}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield SchemaViolation(place, f"must be more than {schema['exclusiveMinimum']}")
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        yield SchemaViolation(place, f"must be less than {schema['exclusiveMaximum']}")


def _array(value: list[Any], schema: JsonObject, place: Place, root: JsonObject) -> Iterator[SchemaViolation]:
    if len(value) < schema.get("minItems", 0):
        yield SchemaViolation(place, f"must have at least {schema['minItems']} item(s)")
    if len(value) > schema.get("maxItems", len(value)):
        yield SchemaViolation(place, f"must have at most {schema['maxItems']} items")
    if schema.get("uniqueItems") and _has_twins(value):
        yield SchemaViolation(place, "must not have the same item twice")
    if "items" in schema:
        for index, item in enumerate(value):
            yield from violations(item, schema["items"], (*place, index), root)


def _has_twins(items: list[Any]) -> bool:
    scalars: set[tuple[bool, Any]] = set()
    others: list[Any] = []
    for item in items:
        if _is_object(item) or _is_array(item):
            if any(_same(item, other) for other in others):
                return True
            others.append(item)
        elif (key := (isinstance(item, bool), item)) in scalars:  # to Python, True is 1
            return True
        else:
            scalars.add(key)
    return False


def _object(
    value: JsonObject, schema: JsonObject, place: Place, root: JsonObject
) -> Iterator[SchemaViolation]:
    properties: JsonObject = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield SchemaViolation((*place, str(name)), "is required")
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], (*place, name), root)
        elif schema.get("additionalProperties") is False:
            yield SchemaViolation((*place, name), "is not a known field")
        elif "additionalProperties" in schema:
            yield from violations(item, schema["additionalProperties"], (*place, name), root)


def _combined(value: Any, schema: JsonObject, place: Place, root: JsonObject) -> Iterator[SchemaViolation]:
    for part in schema.get("allOf", ()):
        yield from violations(value, part, place, root)
    if "anyOf" in schema and not any(_holds(value, part, root) for part in schema["anyOf"]):
        yield SchemaViolation(place, "matches none of the shapes that are allowed here")
    if "oneOf" in schema and sum(_holds(value, part, root) for part in schema["oneOf"]) != 1:
        yield SchemaViolation(place, "must match exactly one of the shapes that are allowed here")
    if "not" in schema and _holds(value, schema["not"], root):
        yield SchemaViolation(place, "has a shape that is not allowed here")
    if "if" in schema:
        branch = "then" if _holds(value, schema["if"], root) else "else"
        yield from violations(value, schema.get(branch, True), place, root)


def _holds(value: Any, schema: Any, root: JsonObject) -> bool:
    return next(violations(value, schema, root=root), None) is None


def _resolve(reference: str, root: JsonObject) -> Any:
    """Follow a JSON pointer into the same schema; what leads nowhere refuses nothing."""
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if _is_object(found) else None
    return found if _is_object(found) and reference.startswith("#/") else True
