"""What a client sends is what the protocol accepts: request models refuse exactly what their schemas refuse."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contract.schema_strategies import JSON_VALUES, Schema, Simple
from contract.spec_support import (
    COMPONENTS,
    PHASES,
    SCHEMAS,
    component,
    is_request,
    read,
    valid_instances,
    write,
)
from openwop._core.operations import OPERATIONS

REQUESTS = [name for name in COMPONENTS if is_request(name)]
BODIES = sorted({row.request.__name__ for row in OPERATIONS if row.request is not None})
"""Those that are the whole body of a call; what is in them may have names of the caller's own."""
Path = tuple[str | int, ...]

WRONG_TYPES: list[Any] = [None, True, 0, -1, 1.5, "", "text", [], ["text"], [[]], {}, {"unknown": 1}]

NEAR_URLS = [
    "no-scheme.example/path", "/path", "//host.example/path", "ftp://host.example", "mailto:a@b.example", "http://",
    "https:///path", "http://:80", "http://?q", " https://host.example", "https://host.example/a b",
    "https://host.example/\n", "HTTPS://HOST.EXAMPLE", "https://user@host.example", "https://[::1]:8443/",
]  # fmt: skip


def sites(schemas: list[Schema], value: Any, path: Path = ()) -> Iterator[tuple[Path, list[Simple], Any]]:
    """Every place in ``value`` that the schema says something about, with what it says there."""
    parts = [part for option in SCHEMAS.alternatives(schemas) for part in option]
    yield path, parts, value
    if isinstance(value, dict):
        for key, item in value.items():
            inner = [part["properties"][key] for part in parts if key in part.get("properties", {})]
            if inner:
                yield from sites(inner, item, (*path, key))
    elif isinstance(value, list) and value:
        yield from sites([part["items"] for part in parts if "items" in part], value[0], (*path, 0))


def replacements(parts: list[Simple], value: Any) -> Iterator[Any]:
    """Other values for a place: of the wrong type, and on both sides of every limit."""
    yield from WRONG_TYPES
    for part in parts:
        for limit in (part[key] for key in ("minLength", "maxLength") if key in part):
            yield from ("x" * length for length in range(max(limit - 1, 0), limit + 2))
            yield "\N{GRINNING FACE}" * limit
        for limit in (part[key] for key in ("minimum", "maximum") if key in part):
            yield from (limit - 1, limit, limit + 1)
        for limit in (part[key] for key in ("minItems", "maxItems") if key in part):
            filler = value[0] if isinstance(value, list) and value else "text"
            yield from ([filler] * length for length in range(max(limit - 1, 0), limit + 2))
        for member in part.get("enum", ()):
            yield from (member, f"{member}s", str(member).upper())
        if part.get("format") == "uri":
            yield from NEAR_URLS
        if (limit := part.get("x-openwop-max-depth")) is not None:
            yield from (nested(depth) for depth in range(limit - 1, limit + 2))
        if (limit := part.get("x-openwop-max-utf8")) is not None:
            yield from ("x" * (limit - 2) + last for last in ("é", "€"))
        if (limit := part.get("x-openwop-max-bytes")) is not None:
            yield from (of_size(size) for size in range(limit - 1, limit + 2))
            yield {"wide": "ü" * (limit // 2)}


def nested(depth: int) -> dict[str, Any]:
    """An object of ``depth`` levels."""
    return {"in": nested(depth - 1)} if depth > 1 else {}


def of_size(size: int) -> dict[str, str]:
    """An object of ``size`` bytes as compact JSON."""
    return {"k": "x" * (size - len('{"k":""}'))}


def replaced(instance: Any, path: Path, value: Any) -> Any:
    """A copy of ``instance`` with ``value`` at ``path``."""
    if not path:
        return value
    result = copy.deepcopy(instance)
    place = result
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return result


def mutations(schema: Schema, instance: Any) -> Iterator[Any]:
    """Neighbours of a valid instance, valid and invalid ones."""
    for path, parts, value in sites([schema], instance):
        for other in replacements(parts, value):
            yield replaced(instance, path, other)
        if isinstance(value, dict):
            for key in value:
                yield replaced(instance, path, {name: item for name, item in value.items() if name != key})
            for unknown in ("unknown", "x-acme", ""):
                yield replaced(instance, path, {**value, unknown: 1})
            for key in {key for part in parts for key in part.get("properties", {})} - value.keys():
                for other in WRONG_TYPES:
                    yield replaced(instance, path, {**value, key: other})


def accepts(name: str, value: Any) -> bool:
    """Whether the model takes ``value`` as it is."""
    try:
        read(name, value)
    except ValueError:
        return False
    return True


def as_sent(schema: Schema, value: Any) -> Any:
    """``value`` as a model sends it: no optional property that is null, every required one that has a default."""
    if isinstance(value, list):
        items = [
            part["items"] for option in SCHEMAS.alternatives([schema]) for part in option if "items" in part
        ]
        return [as_sent({"allOf": items}, item) for item in value]
    if not isinstance(value, dict):
        return value
    parts = [
        part for option in SCHEMAS.alternatives([schema]) for part in option if part.get("type") == "object"
    ]
    properties = {key: inner for part in parts for key, inner in part.get("properties", {}).items()}
    required = {key for part in parts for key in part.get("required", ())}
    defaults = {
        key: inner["default"] for key, inner in properties.items() if key in required and "default" in inner
    }
    given = {
        key: as_sent(properties.get(key, True), item)
        for key, item in value.items()
        if item is not None or key in required or not properties.get(key)
    }
    return defaults | given


@pytest.mark.duty("A.10")
@pytest.mark.parametrize("name", REQUESTS)
@settings(max_examples=15, phases=PHASES)
@given(data=st.data())
def test_request_models_refuse_exactly_what_the_schema_refuses(name: str, data: st.DataObject) -> None:
    """The protocol's request bodies are closed, so a host answers 400 to whatever is not in them.

    Two liberties: ``None`` for an option is Python for "not given", and a required property with a default need not
    be given.  Neither shows in what is sent.
    """
    schema = component(name)
    judge = SCHEMAS.validator(schema)
    instance = data.draw(valid_instances(name))
    for mutated in mutations(schema, instance):
        sent = as_sent(schema, mutated)
        assert accepts(name, mutated) == judge.is_valid(sent), (mutated, list(judge.iter_errors(sent)))
        if accepts(name, mutated):
            assert write(read(name, mutated)) == sent


@pytest.mark.duty("C.56")
@pytest.mark.parametrize("name", BODIES)
@settings(max_examples=5, phases=PHASES)
@given(data=st.data())
def test_no_body_can_say_for_whom_its_sender_acts(name: str, data: st.DataObject) -> None:
    """The protocol demands it: who is acted for is what the host knows of the credential, and no field says it."""
    instance = data.draw(valid_instances(name))
    for field in ("onBehalfOf", "on_behalf_of"):
        assert not accepts(name, {**instance, field: "user-1"})


def holds_whole_float(value: Any) -> bool:
    """Whether a number such as 5.0 is anywhere in ``value``."""
    if isinstance(value, dict):
        return any(map(holds_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(holds_whole_float, value))
    return isinstance(value, float) and value.is_integer()


@pytest.mark.parametrize("name", REQUESTS)
@settings(max_examples=60, phases=PHASES)
@given(data=st.data())
def test_request_models_refuse_any_json_that_the_schema_refuses(name: str, data: st.DataObject) -> None:
    """Not only neighbours of valid bodies: any JSON at all, and any JSON under the names that the schema has.

    Except 5.0 for 5: to JSON Schema it is a whole number, and to most models a slip of the caller's.
    """
    schema = component(name)
    names = [
        key
        for option in SCHEMAS.alternatives([schema])
        for part in option
        for key in part.get("properties", {})
    ]
    anything = JSON_VALUES | st.dictionaries(st.sampled_from(names), JSON_VALUES)
    value = data.draw(anything)
    assume(not holds_whole_float(value))
    assert accepts(name, value) == SCHEMAS.validator(schema).is_valid(as_sent(schema, value))


@pytest.mark.parametrize("name", REQUESTS)
@settings(max_examples=25, phases=PHASES)
@given(data=st.data())
def test_the_bytes_that_are_sent_are_the_document_that_was_checked(name: str, data: st.DataObject) -> None:
    instance = data.draw(valid_instances(name))
    assert json.loads(read(name, instance).to_bytes()) == instance
