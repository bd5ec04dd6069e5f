"""The OpenAPI document, the operation rows, the resource methods and the models agree, and the check sees it if not."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from contract.spec_support import PAYLOADS, load_check_spec
from openwop import models
from openwop._core.dialect import V1
from openwop._core.operations import OPERATIONS
from openwop.models import RunSnapshot, TolerantModel, WireModel
from openwop.spec import document_text, load_document

check_spec = load_check_spec()
Content = dict[str, Any]


@pytest.fixture
def content() -> Content:
    """A copy of the document that a test may spoil."""
    return copy.deepcopy(load_document())


def test_document_rows_resources_and_models_agree() -> None:
    """The same check as on the command line; each line of a failure names one disagreement."""
    assert check_spec.disagreements() == []


def test_the_command_counts_what_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_spec.main() == 0
    assert "operations and" in capsys.readouterr().out


def test_the_command_prints_what_disagrees_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_spec, "disagreements", lambda: ["one", "two"])
    assert check_spec.main() == 1
    assert capsys.readouterr().out == "one\ntwo\n"


def create_run(content: Content) -> Content:
    """The operation that most of the following tests spoil."""
    operation: Content = content["paths"]["/v1/runs"]["post"]
    return operation


SPOILT_DOCUMENTS: list[tuple[str, Callable[[Content], object]]] = [
    (
        "is a required property",  # in which words is the validator's business
        lambda content: content["info"].pop("title"),
    ),
    ("document: version 2.0.0", lambda content: content["info"].update(version="2.0.0")),
    ("x-openwop-retry is None", lambda content: create_run(content).pop("x-openwop-retry")),
    ("x-openwop-idempotent is None", lambda content: create_run(content).pop("x-openwop-idempotent")),
    ("do not go together", lambda content: create_run(content)["parameters"].pop(0)),
    ("must have exactly one tag", lambda content: create_run(content).update(tags=[])),
    ("has no operationId", lambda content: create_run(content).pop("operationId")),
    (
        "a GET is always safe",
        lambda content: content["paths"]["/v1/runs/{runId}"]["get"].update({"x-openwop-retry": "never"}),
    ),
    (
        "path parameters ['runId'] are declared, ['id', 'runId'] are in the path",
        lambda content: content["paths"].update(
            {"/v1/runs/{runId}/{id}": content["paths"].pop("/v1/runs/{runId}")}
        ),
    ),
    (
        "EventPage.isTerminal is an alias of done",
        lambda content: content["components"]["schemas"]["EventPage"]["properties"]["isTerminal"].update(
            {"x-openwop-alias-of": "done"}
        ),
    ),
]


@pytest.mark.parametrize(("expected", "spoil"), SPOILT_DOCUMENTS, ids=[name for name, _ in SPOILT_DOCUMENTS])
def test_a_document_that_breaks_a_rule_is_reported(
    content: Content, expected: str, spoil: Callable[[Content], object]
) -> None:
    schemas = content["components"]["schemas"]
    for name in PAYLOADS:
        del schemas[name]  # half of the document, and the time to validate it; nothing else refers to them
    spoil(content)
    assert any(expected in line for line in check_spec.check_document(check_spec.Document(content)))


ROW_CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("method", {"method": "PUT"}),
    ("path", {"path": "/run"}),
    ("path", {"versioned": False}),
    ("success", {"success": frozenset({200})}),
    ("request", {"takes": None}),
    ("response", {"returns": lambda: RunSnapshot}),
    ("retry", {"retry": "never"}),
    ("idempotent", {"idempotent": False}),
    ("capability", {"capability": "runs"}),
    ("auth", {"auth": False}),
    ("tag", {"resource": "run.create"}),
]


@pytest.mark.parametrize(
    ("fact", "change"), ROW_CHANGES, ids=[f"{fact}-{next(iter(c))}" for fact, c in ROW_CHANGES]
)
def test_a_row_that_says_something_else_is_reported(fact: str, change: dict[str, Any]) -> None:
    rows = tuple(dataclasses.replace(row, **change) if row.id == "createRun" else row for row in OPERATIONS)
    found = list(check_spec.check_operations(check_spec.Document(load_document()), rows, V1))
    assert len(found) == 1
    assert found[0].startswith(f"operation createRun: {fact}: document ")


def test_an_operation_has_exactly_one_row_and_every_row_an_operation(content: Content) -> None:
    document = check_spec.Document(content)
    create = next(row for row in OPERATIONS if row.id == "createRun")
    others = tuple(row for row in OPERATIONS if row is not create)
    for rows, expected in [
        (others, "operation createRun: 0 rows instead of 1"),
        ((*others, create, create), "operation createRun: 2 rows instead of 1"),
        (
            (*OPERATIONS, dataclasses.replace(create, id="more")),
            "operation more: a row, but not in the document",
        ),
    ]:
        assert list(check_spec.check_operations(document, rows, V1)) == [expected]


def test_a_name_of_the_dialect_that_is_not_in_the_document_is_reported() -> None:
    changes = {
        "poll_cursor_parameter": "since",
        "dedup_value": "on",
        "stream_modes": frozenset({"updates"}),
    }
    document = check_spec.Document(load_document())
    for name, value in changes.items():
        assert list(check_spec.check_dialect(document, dataclasses.replace(V1, **{name: value})))


def resource(*methods: str) -> SimpleNamespace:
    """A module with a class ``AsyncRuns`` that has ``methods``."""
    return SimpleNamespace(AsyncRuns=type("AsyncRuns", (), {name: lambda self: None for name in methods}))


def test_a_row_without_a_method_and_a_method_without_a_row_are_reported() -> None:
    rows = tuple(row for row in OPERATIONS if row.id in ("createRun", "getRun"))
    assert list(check_spec.check_resources(rows, lambda name: resource("create", "get", "_call"))) == []
    assert list(check_spec.check_resources(rows, lambda name: resource("create", "list"))) == [
        "resource runs.get: a row, but no method",
        "resource runs.list: a method, but no row",
    ]
    assert list(check_spec.check_resources(rows, ModuleType))
    twice = (rows[0], dataclasses.replace(rows[1], resource="runs.create"))
    assert "resource runs.create: claimed by two rows" in check_spec.check_resources(
        twice, lambda _: resource("create")
    )


def test_resource_classes_are_named_after_their_tag() -> None:
    assert check_spec.resource_class("packs_test") == "AsyncPacksTest"


SPOILT_SCHEMAS: list[tuple[str, Callable[[Content], object]]] = [
    ("model RunOwner: not in the document", lambda schemas: schemas.pop("RunOwner")),
    ("schema Unheard: no model", lambda schemas: schemas.update(Unheard={"type": "object"})),
    (
        "model RunOwner: does not know the property subject",
        lambda schemas: schemas["RunOwner"]["properties"].update(subject={"type": "string"}),
    ),
    (
        "model RunOwner: has workspace, which the document does not know",
        lambda schemas: schemas["RunOwner"]["properties"].pop("workspace"),
    ),
    (
        "model CancelRunRequest: must require ['reason']",
        lambda schemas: schemas["CancelRunRequest"].update(required=["reason"]),
    ),
    (
        "model RunSnapshot: requires ['runId', 'status']",
        lambda schemas: schemas["RunSnapshot"].pop("required"),
    ),
    (
        "model CancelRunRequest: is closed, the document says the opposite",
        lambda schemas: schemas["CancelRunRequest"].pop("additionalProperties"),
    ),
    (
        "model RunOwner: answers must be open in the document",
        lambda schemas: schemas["RunOwner"].update(additionalProperties=False),
    ),
    (
        "model RunSnapshot: error: document refers to ['RunOwner'], model to ['RunError']",
        lambda schemas: schemas["RunSnapshot"]["properties"].update(
            error={"$ref": "#/components/schemas/RunOwner"}
        ),
    ),
    ("model payloads.RunFailed: not in the document", lambda schemas: schemas.pop("payloads.RunFailed")),
    ("schema payloads.Unheard: no model", lambda schemas: schemas.update({"payloads.Unheard": {}})),
    (
        "model payloads.NodeFailed: error: document refers to ['RunError'], model to ['payloads.EventError']",
        lambda schemas: schemas["payloads.NodeFailed"]["properties"].update(
            error={"$ref": "#/components/schemas/RunError"}
        ),
    ),
    (
        "model EventPage: isComplete is not read as ['done']",
        lambda schemas: schemas["EventPage"]["properties"].update(
            done={"type": "boolean", "x-openwop-alias-of": "isComplete"}
        ),
    ),
]


@pytest.mark.parametrize(("expected", "spoil"), SPOILT_SCHEMAS, ids=[name for name, _ in SPOILT_SCHEMAS])
def test_a_schema_that_does_not_fit_its_model_is_reported(
    content: Content, expected: str, spoil: Callable[[Content], object]
) -> None:
    # Other schemas that refer to a removed one do not matter here: only the models of the two are asked about.
    kept = content["components"]["schemas"]
    spoil(kept)
    every = {name: getattr(models, name) for name in models.__all__}  # imported when they are first used
    module = SimpleNamespace(**{**vars(models), **every})
    found = list(check_spec.check_models(check_spec.Document(content), module))
    assert any(line.startswith(expected) for line in found), found


def test_helpers_of_the_models_are_no_models_of_documents() -> None:
    found = check_spec.wire_models(models)
    assert RunSnapshot in found.values()
    assert not {WireModel, TolerantModel} & set(found.values())
    assert "Interrupt" not in found


def test_the_document_needs_pyyaml_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML is no dependency of the client: without it, only reading the document fails, and names the remedy."""
    assert document_text().startswith("#")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match=r"openwop\[devhost\]"):
        load_document.__wrapped__()
