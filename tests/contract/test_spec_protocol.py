"""The document beside the protocol's own schemas: where they differ, a line in ``schema_differences.yaml`` says why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.schema_strategies import InstanceStrategies, Schema, Schemas
from contract.spec_support import COMPONENTS, PAYLOADS, PHASES, ROOT, SCHEMAS, component, load_check_spec
from openwop.models.event_types import EventType, canonical_event_type
from openwop.spec import load_document

PROTOCOL = ROOT.parent / "shared" / "protocol" / "v1"
BASE = "https://protocol.invalid/v1/"

pytestmark = pytest.mark.skipif(
    not (PROTOCOL / "schemas").is_dir(), reason="the protocol's own schemas are not beside this repository"
)


class _Loader(yaml.SafeLoader):
    """YAML with ``!repeat [text, times]``, for a text that is too long to be written down."""


_Loader.add_constructor(
    "!repeat", lambda loader, node: (lambda text, times: text * times)(*loader.construct_sequence(node))
)

LISTED: Mapping[str, Any] = yaml.load(
    Path(__file__).with_name("schema_differences.yaml").read_text(encoding="utf-8"),
    Loader=_Loader,  # noqa: S506 - a safe one
)
COUNTERPARTS: Mapping[str, str] = LISTED["counterparts"]
DIFFERENCES: list[Mapping[str, Any]] = LISTED["differences"]


@cache
def protocol() -> Schemas:
    """The protocol's schemas and its OpenAPI document, all under one base."""
    documents: dict[str, Any] = {
        f"{BASE}openapi.yaml": yaml.safe_load((PROTOCOL / "openapi.yaml").read_text(encoding="utf-8"))
    }
    for path in (PROTOCOL / "schemas").rglob("*.schema.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        documents[f"{BASE}{path.relative_to(PROTOCOL).as_posix()}"] = schema
        documents[schema["$id"]] = schema
    return Schemas(documents)


def counterpart(name: str) -> Schema:
    """What the protocol says of the component ``name``."""
    return protocol().at(BASE + COUNTERPARTS[name])


def property_names(schemas: Schemas, schema: Schema) -> frozenset[str]:
    """Every property that a schema names at its top."""
    options = schemas.alternatives([schema])
    return frozenset(key for option in options for part in option for key in part.get("properties", {}))


@cache
def our_instances(name: str) -> st.SearchStrategy[Any]:
    return InstanceStrategies(SCHEMAS, unknown_properties=False, known_values_only=True).instances(
        component(name)
    )


@cache
def their_instances(name: str) -> st.SearchStrategy[Any]:
    strategies = InstanceStrategies(protocol(), unknown_properties=False)
    return strategies.instances(counterpart(name), only=property_names(SCHEMAS, component(name)))


def errors(name: str, we: str, instance: Any) -> Iterator[tuple[str, str]]:
    """Place and keyword of every error of ``instance`` by the protocol (``we`` are wider) or by us (narrower)."""
    if we == "wider":
        judge = protocol().validator(counterpart(name))
    else:
        judge = SCHEMAS.validator(component(name), known_values_only=True)
    for error in judge.iter_errors(instance):
        yield "/".join(map(str, error.absolute_path)), str(error.validator)


def is_listed(name: str, we: str, place: str, keyword: str) -> bool:
    """Whether a difference is among those with a reason."""
    return any(
        entry["we"] == we and fnmatchcase(keyword, entry["keyword"]) and fnmatchcase(place, places[name])
        for entry in DIFFERENCES
        if name in (places := {entry["schema"]: entry.get("at", ""), **entry.get("also", {})})
    )


def test_every_schema_has_a_counterpart_or_a_reason_for_having_none() -> None:
    without = LISTED["without_counterpart"]
    assert sorted([*COUNTERPARTS, *without]) == COMPONENTS
    assert all(isinstance(reason, str) and reason for reason in without.values())
    for name in COUNTERPARTS:
        assert counterpart(name)


def check_that_the_protocol_accepts_ours(name: str, data: st.DataObject) -> None:
    instance = data.draw(our_instances(name))
    for place, keyword in errors(name, "wider", instance):
        assert is_listed(name, "wider", place, keyword), (place, keyword)


def check_that_we_accept_the_protocols(name: str, data: st.DataObject) -> None:
    instance = data.draw(their_instances(name))
    for place, keyword in errors(name, "narrower", instance):
        assert is_listed(name, "narrower", place, keyword), (place, keyword)


@pytest.mark.parametrize("name", sorted(COUNTERPARTS.keys() - set(PAYLOADS)))
@settings(max_examples=60, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_protocol_accepts_what_we_accept(name: str, data: st.DataObject) -> None:
    """Apart from our openness to unknown properties and values, which reading must have (duties 5, 6 and 13)."""
    check_that_the_protocol_accepts_ours(name, data)


@pytest.mark.parametrize("name", sorted(COUNTERPARTS.keys() & set(PAYLOADS)))
@settings(max_examples=10, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_protocol_accepts_the_payloads_that_we_accept(name: str, data: st.DataObject) -> None:
    """The same for what events carry."""
    check_that_the_protocol_accepts_ours(name, data)


@pytest.mark.parametrize("name", sorted(COUNTERPARTS.keys() - set(PAYLOADS)))
@settings(max_examples=60, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_we_accept_what_the_protocol_accepts(name: str, data: st.DataObject) -> None:
    """Values that the protocol lists are all among those that we call known."""
    check_that_we_accept_the_protocols(name, data)


@pytest.mark.parametrize("name", sorted(COUNTERPARTS.keys() & set(PAYLOADS)))
@settings(max_examples=10, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_we_accept_the_payloads_that_the_protocol_accepts(name: str, data: st.DataObject) -> None:
    """The same for what events carry."""
    check_that_we_accept_the_protocols(name, data)


def test_each_type_that_has_a_payload_in_the_protocol_has_it_here() -> None:
    """The protocol's index of payloads by type, and the counterpart of what we read such events as, are the same."""
    index = protocol().at(f"{BASE}schemas/run-event-payloads.schema.json#/$defs/_typeIndex/properties")
    ours = {
        component(name)["x-openwop-event-type"]: counterpart(name)
        for name in PAYLOADS
        if "x-openwop-event-type" in component(name)
    }
    assert {name: protocol().at(entry["$ref"]) for name, entry in index.items()} == ours
    assert len(ours) == 107


def test_the_types_of_the_protocol_are_known() -> None:
    """Duty 3 has a reader go on past unknown types; those of the protocol need not be unknown."""
    types = protocol().at(f"{BASE}schemas/run-event.schema.json#/$defs/RunEventType")
    listed = {name for part in types.get("anyOf", [types]) for name in part.get("enum", ())}
    assert listed
    assert {canonical_event_type(name) for name in listed} <= set(EventType)


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_we_name_every_property_that_the_protocol_names(name: str) -> None:
    missing = property_names(protocol(), counterpart(name)) - property_names(SCHEMAS, component(name))
    listed = [entry for entry in DIFFERENCES if entry["schema"] == name and entry["keyword"] == "properties"]
    assert missing == {key for entry in listed for key in entry["names"]}


@pytest.mark.parametrize(
    "entry",
    [entry for entry in DIFFERENCES if entry["keyword"] != "properties"],
    ids=lambda entry: "-".join((entry["schema"], entry["we"], entry.get("at", ""), entry["keyword"])),
)
def test_every_listed_difference_is_real(entry: Mapping[str, Any]) -> None:
    """Its example is valid on one side, and on the other has this error: no entry outlives its difference."""
    assert entry["reason"]
    name, we = entry["schema"], entry["we"]
    assert list(errors(name, "narrower" if we == "wider" else "wider", entry["example"])) == []
    found = list(errors(name, we, entry["example"]))
    assert all(is_listed(name, we, place, keyword) for place, keyword in found), found
    assert any(
        fnmatchcase(keyword, entry["keyword"]) and fnmatchcase(place, entry.get("at", ""))
        for place, keyword in found
    ), found


def operations(document: Mapping[str, Any]) -> dict[str, tuple[str, str, Mapping[str, Any]]]:
    """Path, method and body of each operation of an OpenAPI document, by its id."""
    return {
        operation["operationId"]: (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "operationId" in operation
    }


def their_operations() -> dict[str, tuple[str, str, Mapping[str, Any]]]:
    """The protocol's operations that are to be in our document."""
    found = operations(yaml.safe_load((PROTOCOL / "openapi.yaml").read_text(encoding="utf-8")))
    left_out = set(LISTED["operations_left_out"])
    assert left_out <= found.keys(), "an operation is left out that the protocol does not have"
    return {name: operation for name, operation in found.items() if name not in left_out}


def test_we_have_the_operations_of_the_protocol_at_their_places() -> None:
    """Apart from those that are listed as left out: no more of them, and none that we do have."""
    ours, theirs = operations(load_document()), their_operations()
    assert {name: found[:2] for name, found in ours.items()} == {
        name: found[:2] for name, found in theirs.items()
    }


@pytest.mark.parametrize("name", sorted(operations(load_document())))
def test_an_operation_has_the_parameters_and_statuses_of_the_protocol(name: str) -> None:
    """We may know more parameters, statuses and limits than the protocol's OpenAPI document: its prose does."""
    document = load_check_spec().Document(load_document())
    ours, theirs = operations(load_document())[name][2], their_operations()[name][2]
    parameters = {
        (found["name"], found["in"]): found for found in map(document.resolve, ours.get("parameters", ()))
    }
    for wanted in theirs.get("parameters", ()):
        found = parameters[wanted["name"], wanted["in"]]
        assert found.get("required", False) == wanted.get("required", False)
        assert wanted["schema"].items() <= found["schema"].items()
    assert theirs["responses"].keys() <= ours["responses"].keys()
    successes = {status for status in ours["responses"] if status.startswith("2")}
    assert successes == {status for status in theirs["responses"] if status.startswith("2")}
    assert ("security" in ours) == ("security" in theirs)
    assert ours.get("requestBody", {}).get("required") == theirs.get("requestBody", {}).get("required")
