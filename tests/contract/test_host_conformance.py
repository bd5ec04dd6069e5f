"""schemathesis against the development host, with the project's document: no failure, and every answer conforms.

It comes with the dependency group ``contract`` (``nox -s contract``), because it brings many packages with it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from contract.spec_support import SCHEMAS, URI
from openwop.spec import load_document
from support.processes import DevHostProcess, start_devhost

schemathesis: Any = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed (dependency group: contract)"
)
checks: Any = pytest.importorskip("schemathesis.specs.openapi.checks")

EVENTS = {"streamRunEvents", "pollRunEvents"}
"""Operations that wait for a run: they are only asked about runs that are over, and may not wait for long."""
EXAMPLES = 30
SENT_EXAMPLES = 15

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@cache
def operations() -> Mapping[str, Any]:
    """schemathesis's operations of the document, by operation id."""
    schema = schemathesis.openapi.from_dict(dict(load_document()))
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


def operation_ids() -> list[str]:
    """The same ids without asking schemathesis, for the names of the tests."""
    return sorted(
        operation["operationId"]
        for item in load_document()["paths"].values()
        for operation in item.values()
        if isinstance(operation, Mapping) and "operationId" in operation
    )


@dataclass(frozen=True)
class LiveHost:
    """A host with something in it, and the ids of what it has, by the name of the path parameter."""

    process: DevHostProcess
    ids: Mapping[str, list[str]]

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates a call."""
        return {"Authorization": f"Bearer {self.process.api_key}"}


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHost]:
    """A host of its own, so that what is deleted here is missed by nobody."""
    with start_devhost() as process:
        headers = {"Authorization": f"Bearer {process.api_key}"}
        with httpx.Client(base_url=process.base_url, headers=headers, timeout=30) as client:
            yield LiveHost(process, _fill(client))


def _fill(client: httpx.Client) -> dict[str, list[str]]:
    """Put runs and other things on the host; each finished, so that following it ends."""
    runs = [
        _finished_run(client, workflow)
        for workflow in (
            "conformance-noop",
            "conformance-multi-node",
            "conformance-failure",
            "openwop-artifact",
        )
    ]
    runs.append(_evaluated(client))
    waiting = _post(client, "/v1/runs", {"workflowId": "conformance-approval"})["runId"]
    runs.append(waiting)
    _post(client, f"/v1/runs/{waiting}/cancel", {})
    ids = {"runId": runs, "workflowId": ["conformance-noop", "conformance-approval"], "against": runs}
    ids["artifactId"] = ["report"]
    for name, path, collection, key in COLLECTIONS:
        answer = client.get(path)
        if answer.status_code == 200:
            document = answer.json()
            items = document if isinstance(document, list) else document.get(collection, [])
            ids[name] = [str(item[key]) for item in items][:5]
    return {name: values for name, values in ids.items() if values}


ANSWER_CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

COLLECTIONS = [
    ("agentId", "/v1/agents", "agents", "agentId"),
    ("rosterId", "/v1/agents/roster", "roster", "rosterId"),
    ("departmentId", "/v1/agents/org-chart", "departments", "departmentId"),
    ("toolId", "/v1/tools", "tools", "toolId"),
    ("templateId", "/v1/prompts", "items", "templateId"),
    ("path", "/v1/host/workspace/files", "files", "path"),
    ("slug", "/v1/content/pages", "pages", "slug"),
    ("pageId", "/v1/content/pages", "pages", "pageId"),
]
"""Where ids of things that are there can be read: parameter, path, name of the list, name of the id."""


def _post(client: httpx.Client, path: str, body: object) -> dict[str, Any]:
    answer = client.post(path, json=body)
    answer.raise_for_status()
    result: dict[str, Any] = answer.json()
    return result


def _evaluated(client: httpx.Client) -> str:
    suite = {"agentId": "openwop.samples.reviewer", "evalSuiteRef": "openwop.samples.evals.reviewer"}
    run_id = str(_post(client, "/v1/runs", {"mode": "eval", **suite})["runId"])
    _post(client, f"/v1/runs/{run_id}/annotations", {"signal": {"kind": "flag"}, "note": "n"})
    return _followed(client, run_id)


def _finished_run(client: httpx.Client, workflow_id: str) -> str:
    return _followed(client, str(_post(client, "/v1/runs", {"workflowId": workflow_id})["runId"]))


def _followed(client: httpx.Client, run_id: str) -> str:
    with client.stream("GET", f"/v1/runs/{run_id}/events", headers={"Accept": "text/event-stream"}) as stream:
        stream.read()  # to its end, which comes after the run's last event
    return run_id


def drawn_case(data: st.DataObject, operation: Any, live: LiveHost, **how: Any) -> Any:
    """A request that the document allows, half of the time for something that is there."""
    case = data.draw(operation.as_strategy(**how))
    for name in case.path_parameters or {}:
        if name in live.ids and (operation_id(operation) in EVENTS or data.draw(st.booleans())):
            case.path_parameters[name] = data.draw(st.sampled_from(live.ids[name]))
    if operation_id(operation) == "pollRunEvents":
        case.query["timeout"] = 1
    if operation_id(operation) == "diffRun" and data.draw(st.booleans()):
        case.query["against"] = data.draw(st.sampled_from(live.ids["against"]))
    if "Idempotency-Key" in (case.headers or {}):
        # A key that two examples share would make the second one a repetition of the first, or a conflict.
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
    return case


def operation_id(operation: Any) -> str:
    """The id under which the document has it."""
    found: str = operation.definition.raw["operationId"]
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", operation_ids())
def test_every_answer_to_a_legal_request_is_one_of_the_document(name: str, live: LiveHost) -> None:
    """Status, media type, headers and body; and no request whatsoever makes the host fail."""
    operation = operations()[name]
    seen: set[int] = set()

    @bounded
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        case = drawn_case(data, operation, live)
        response = case.call(base_url=live.process.base_url, headers=live.headers, timeout=30)
        seen.add(response.status_code)
        judges = list(ANSWER_CHECKS)
        if response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
            # schemathesis reads the schema as that of each frame; the document has one for each stream mode.
            judges.remove(checks.response_schema_conformance)
            check_frames(response.text, case.query.get("streamMode", "updates"))
        case.validate_response(response, checks=judges)
        assert str(response.status_code) in operation.definition.raw["responses"]

    run()
    assert seen


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "name",
    [
        operation_id
        for operation_id in operation_ids()
        if any(
            operation_id == operation.get("operationId") and "requestBody" in operation
            for item in load_document()["paths"].values()
            for operation in item.values()
            if isinstance(operation, Mapping)
        )
    ],
)
def test_a_body_that_the_document_refuses_is_refused(name: str, live: LiveHost) -> None:
    """The protocol's request bodies are closed: the host says 4xx, and never fails."""
    operation = operations()[name]
    judge = body_judge(name)

    @settings(bounded, max_examples=SENT_EXAMPLES)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        case = drawn_case(data, operation, live, generation_mode=schemathesis.GenerationMode.NEGATIVE)
        response = case.call(base_url=live.process.base_url, headers=live.headers, timeout=30)
        case.validate_response(
            response,
            checks=[schemathesis.checks.not_a_server_error, checks.response_schema_conformance],
        )
        # What makes a request wrong need not be its body; where it is, nothing was done.
        if judge is not None and isinstance(case.body, dict) and not judge.is_valid(case.body):
            assert 400 <= response.status_code < 500, (case.body, response.status_code)

    run()


def body_judge(name: str) -> Any:
    """What tells whether a JSON body of an operation is one of the document; ``None`` where the body is no JSON."""
    for item in load_document()["paths"].values():
        for operation in item.values():
            if isinstance(operation, Mapping) and operation.get("operationId") == name:
                content = operation["requestBody"]["content"].get("application/json")
                return content and SCHEMAS.validator(SCHEMAS.at(f"{URI}{content['schema']['$ref']}"))
    raise LookupError(name)


def check_frames(text: str, modes: str) -> None:
    """The data of every frame has the schema that the document gives for one of its modes."""
    frames = load_document()["paths"]["/v1/runs/{runId}/events"]["get"]["x-openwop-stream-frames"]
    judges = [SCHEMAS.validator(SCHEMAS.at(f"{URI}{frames[mode]}")) for mode in modes.split(",")]
    for block in text.split("\n\n"):
        lines = [line.removeprefix("data:").strip() for line in block.split("\n") if line.startswith("data:")]
        if not lines:
            continue
        document = json.loads("\n".join(lines))
        for item in document if isinstance(document, list) else [document]:
            assert any(judge.is_valid(item) for judge in judges), (modes, item)
