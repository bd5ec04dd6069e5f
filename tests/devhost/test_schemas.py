"""What the host emits, checked against the protocol's own schemas, where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devhost.kit import Api
from openwop import RunEvent
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow
from openwop.devhost.definition import parse_workflow
from openwop.devhost.nodes import KNOWN_TYPES
from openwop.devhost.samples import sample_workflows
from openwop.models import TolerantModel

SCHEMAS = Path(__file__).parents[2].parent / "shared" / "protocol" / "v1" / "schemas"

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the protocol's schemas are not beside this repository"),
]

Validate = Callable[[str, Any], None]

ANSWERS = {
    "approval": {"action": "edit-accept", "editedArtifactData": {"x": 1}},
    "external-event": {"eventPayload": None},
    "conversation.exchange": {"city": "Oslo"},
    "low-confidence": {"kind": "terminate"},
    "custom": None,
}


@pytest.fixture(scope="module")
def valid() -> Validate:
    """Check a value against a schema by file name, or against one of its definitions (``file#definition``)."""
    from jsonschema import Draft202012Validator, FormatChecker
    from referencing import Registry, Resource

    documents = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.rglob("*.schema.json")
    }
    resources = [(document["$id"], Resource.from_contents(document)) for document in documents.values()]
    registry = Registry().with_resources(resources)

    def validate(name: str, value: Any) -> None:
        file, _, definition = name.partition("#")
        document = documents[f"{file}.schema.json"]
        pointer = f"#/$defs/{definition}" if definition else ""
        schema = {"$ref": f"{document['$id']}{pointer}"}
        checker = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
        problems = [f"{list(e.absolute_path)}: {e.message}" for e in checker.iter_errors(value)]
        assert not problems, f"{name}: {problems[:3]} in {json.dumps(value)[:500]}"

    return validate


def payload_schema(event_type: str) -> str | None:
    """The definition that describes the payload of an event type."""
    index = json.loads((SCHEMAS / "run-event-payloads.schema.json").read_text(encoding="utf-8"))
    entry = index["$defs"]["_typeIndex"]["properties"].get(event_type)
    return None if entry is None else str(entry["$ref"]).removeprefix("#/$defs/")


async def answer_everything(api: Api, run_id: str) -> None:
    """Answer each question of a run until it has ended."""
    run = api.host.run(run_id)
    answered: set[str] = set()  # children

    def children() -> set[str]:
        return {child for entry in run.state.nodes.values() for child in entry.children} - answered

    while True:
        await api.until(run_id, lambda state: state.terminal or bool(state.pending()) or bool(children()))
        for child in children():
            await answer_everything(api, child)
            answered.add(child)
        if run.state.terminal:
            return
        if not run.state.pending():
            continue
        entry = run.state.pending()[0]
        answer: Any = ANSWERS.get(entry.kind)
        if entry.kind == "clarification":
            answer = {"answers": [{"id": q["id"], "answer": "x"} for q in entry.request["data"]["questions"]]}
        if entry.kind == "conversation.exchange" and "outcomeSchema" not in entry.request["data"]:
            answer = "bye"  # which ends a chat
        if entry.request["data"].get("requiredApprovals", 1) > 1:
            await api.resolve(run_id, entry.node_id, {"action": "accept", "decidedBy": "somebody"})
            answer = {"action": "accept"}
        response = await api.resolve(run_id, entry.node_id, answer)
        assert response.status_code == 200, response.text


async def check_run(api: Api, run_id: str, valid: Validate) -> None:
    """Check every event, every payload and every snapshot of a run."""
    for event in await api.log(run_id):
        valid("run-event", event)
        definition = payload_schema(event["type"])
        assert definition is not None, f"{event['type']} is not in the protocol's catalogue"
        assert isinstance(RunEvent.model_validate(event).data, TolerantModel)
        if event["type"] == "channel.written" and event["payload"]["reducer"] == "message":
            continue  # the definition's schema knows this reducer, the older payload schema does not
        valid(f"run-event-payloads#{definition}", event["payload"])
    async with api.stream(run_id, streamMode="values") as stream:
        for frame in await stream.rest():
            valid("run-snapshot", frame.data)
    async with api.stream(run_id, streamMode="messages") as stream:
        for frame in await stream.rest():
            valid("run-event-payloads#outputChunk", frame.data)
    valid("run-snapshot", await api.snapshot(run_id))


@pytest.mark.parametrize("definition", sample_workflows(), ids=lambda definition: definition["id"])
async def test_a_sample_and_its_run_are_as_the_protocol_says(
    api: Api, valid: Validate, definition: Any
) -> None:
    """The definition, and everything that a run of it emits; the last one is replayed and compared, too."""
    valid("workflow-definition", definition)
    run_id = await api.start(
        definition["id"], inputs={"delayMs": 1, "count": 3}, tags=["t"], metadata={"m": 1}, tenantId="t"
    )
    await answer_everything(api, run_id)
    await check_run(api, run_id, valid)
    fork = await api.http.post(f"/v1/runs/{run_id}:fork", json={"mode": "replay"})
    await api.finished(fork.json()["runId"])
    await check_run(api, fork.json()["runId"], valid)
    diff = await api.http.get(f"/v1/runs/{run_id}:diff", params={"against": fork.json()["runId"]})
    valid("run-diff-response", diff.json())


async def test_what_goes_wrong_is_as_the_protocol_says_too(host: DevHost, api: Api, valid: Validate) -> None:
    """Breaches, timeouts, retries, skips, cancels, pauses, channels and variables."""
    writes = [
        {"channel": name, "value": {"userId": "u", "messageId": "m"}}
        for name in ("votes", "chat", "log", "last")
    ]
    host.add_workflow(
        workflow(
            "everything",
            settings={"maxRetries": 1},
            channels={
                "votes": {"reducer": "votes", "ttlMs": 1000},
                "chat": {"reducer": "message"},
                "log": {"reducer": "feedback", "maxSize": 1},
                "last": {"reducer": "vendor.acme.last", "sensitive": True},
            },
            nodes=[
                node("a", "core.fail", config={"failTimes": 1, "writes": writes, "outputVariable": "v"}),
                node("b", "core.noop", disabled=True),
                node("c", "core.approval", config={"timeoutMs": 1}),
            ],
            edges=[("a", "b"), ("b", "c")],
        )
    )
    runs = [await api.start("everything")]
    runs.append(await api.start("conformance-cap-breach", configurable={"recursionLimit": 1}))
    runs.append(await api.start("conformance-cancellable", configurable={"runTimeoutMs": 1.5}))
    runs.append(await api.start("openwop-subworkflow-parent", inputs={"delayMs": 60_000}))
    paused = await api.start("openwop-approval")
    await api.status(paused, "waiting-approval")
    for verb in (":pause", ":resume", "/cancel"):
        assert (await api.http.post(f"/v1/runs/{paused}{verb}", json={"reason": "r"})).status_code in (
            200,
            202,
        )
    await api.until(runs[3], lambda state: bool(state.nodes.get("child") and state.nodes["child"].children))
    await api.http.post(f"/v1/runs/{runs[3]}/cancel")
    provider = {"id": "tool-calls", "config": {"toolCalls": [{"id": "1", "name": "n"}]}}
    runs.append(await api.start("conformance-stream-text", configurable={"mockProvider": provider}))
    for run_id in [*runs, paused]:
        await api.finished(run_id)
        await check_run(api, run_id, valid)


@pytest.mark.parametrize(
    ("path", "schema", "collection"),
    [
        ("/v1/agents", "agent-inventory-response", None),
        ("/v1/agents/openwop.samples.writer", "agent-inventory-response#AgentInventoryEntry", None),
        ("/v1/agents/openwop.samples.writer/deployments", "agent-deployment", ""),
        ("/v1/agents/roster", "agent-roster-response", None),
        ("/v1/agents/roster/host:ada", "agent-roster-entry", None),
        ("/v1/agents/org-chart", "agent-org-chart", None),
        ("/v1/agents/org-chart/publishing", "org-chart-responsibility-view", None),
        ("/v1/agents/org-chart/publishing?recursive=false", "org-chart-responsibility-view", None),
        ("/v1/tools", "tool-descriptor", "tools"),
        ("/v1/tools?view=compact", "tool-descriptor", "tools"),
        ("/v1/prompts", "prompt-template", "items"),
        ("/v1/prompts/openwop.writer", "prompt-template", None),
    ],
)
async def test_agents_tools_and_prompts_are_as_the_protocol_says(
    api: Api, valid: Validate, path: str, schema: str, collection: str | None
) -> None:
    """The answer itself, or each item of a collection whose wrapper has no schema."""
    answer = (await api.http.get(path)).json()
    items = [answer] if collection is None else answer if collection == "" else answer[collection]
    assert items
    for item in items:
        valid(schema, item)


async def test_discovery_and_errors_are_as_the_protocol_says(
    host: DevHost, api: Api, valid: Validate
) -> None:
    """The capabilities document, the error envelope, the shape of a question by token."""
    capabilities = (await api.http.get("/.well-known/openwop")).json()
    assert capabilities["toolCatalog"].pop("compactView")  # the prose has it, the schema has no room for it
    valid("capabilities", capabilities)
    for response in (
        await api.http.get("/v1/runs/none"),
        await api.http.get("/v1/none"),
        await api.http.post("/v1/runs", content=b"{"),
        await api.http.get("/v1/runs/x/events?streamMode=no"),
    ):
        valid("error-envelope", response.json())
    run_id = await api.start("openwop-clarification")
    await api.status(run_id, "waiting-input")
    token = host.interrupt_token(run_id, "ask")
    valid("suspend-request", (await api.http.get(f"/v1/interrupts/{token}")).json())


async def test_the_host_s_own_check_of_definitions_is_no_stricter_than_the_protocol(valid: Validate) -> None:
    """A definition that uses every field the protocol has is taken."""
    definition = {
        **workflow(
            "full", nodes=[node("a", "core.noop")], channels={"c": {"reducer": "append", "access": "private"}}
        ),
        "description": "d",
        "type": "t",
        "isActive": True,
        "status": "draft",
        "tenantId": "t",
        "scopeId": "s",
        "slug": "full",
        "groups": [
            {
                "id": "g",
                "name": "g",
                "nodeIds": ["a"],
                "position": {"x": 0, "y": 0},
                "size": {"width": 1, "height": 1},
            }
        ],
        "configurableSchema": {"type": "object"},
        "defaults": {},
        "acceptsInheritedArtifacts": [{}],
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
    }
    definition["nodes"][0] |= {
        "credentialsRef": "c",
        "settings": {},
        "outputRole": "secondary",
        "notes": "n",
        "groupId": "g",
        "agent": {"agentId": "core.x"},
        "envelopeContract": {},
        "artifactType": "a",
        "cardType": "c",
        "outputSensitivity": {"x": False},
    }
    valid("workflow-definition", definition)
    assert parse_workflow(definition, KNOWN_TYPES).document == definition


async def test_what_the_host_keeps_is_as_the_protocol_says(host: DevHost, api: Api, valid: Validate) -> None:
    """Files, content, trigger subscriptions with the event that a run sees, and runs as tasks."""
    file = await api.http.put("/v1/host/workspace/files/a/b.md", json={"content": "x"})
    valid("workspace-file", file.json())
    for listed in (await api.http.get("/v1/host/workspace/files")).json()["files"]:
        valid("workspace-file", listed | {"content": ""})  # a list leaves it out
    for page in (await api.http.get("/v1/content/pages")).json():
        valid("localized-content-page", page)
    section = await api.http.put(
        "/v1/content/pages/page-welcome/sections/new", json={"locale": "de", "data": {}}
    )
    valid("localized-content-section", section.json())
    valid("localized-content-language-settings", (await api.http.get("/v1/content/settings")).json())
    valid("localized-content-page-response", (await api.http.get("/v1/content/pages/welcome")).json())
    host.add_workflow(
        workflow(
            "echo-trigger",
            nodes=[node("say", "core.transform", config={"mapping": {"got": "{{triggerData}}"}})],
            edges=[],
        )
    )
    for source in ("webhook", "form"):
        registration = {"source": source, "workflowId": "echo-trigger", "retryPolicy": {"maxAttempts": 1}}
        created = (await api.http.post("/v1/trigger-subscriptions", json=registration)).json()
        valid("trigger-subscription", created["subscription"])
        delivered = await api.http.post(created["binding"]["ingestUrl"], json={"a": 1})
        run_id = delivered.json()["runId"]
        snapshot = await api.finished(run_id)
        valid("trigger-event", snapshot["nodeStates"]["say"]["outputs"]["got"])
        await check_run(api, run_id, valid)
        valid("a2a-task-state", (await api.http.get(f"/v1/host/sample/a2a/tasks/{run_id}")).json())


async def test_what_is_kept_beside_a_run_is_as_the_protocol_says(api: Api, valid: Validate) -> None:
    """Annotations, ancestry, debug bundles; the events and the scores of an eval run; the audit log."""
    suite = {"agentId": "openwop.samples.reviewer", "evalSuiteRef": "openwop.samples.evals.reviewer"}
    created = await api.http.post("/v1/runs", json={"mode": "eval", **suite})
    run_id = created.json()["runId"]
    snapshot = await api.finished(run_id)
    await check_run(api, run_id, valid)
    for signal in ({"kind": "flag"}, {"kind": "rating", "rating": 5}, {"kind": "label", "label": "x"}):
        body = {"signal": signal, "target": {"nodeId": "end"}, "note": "n"}
        valid("annotation-create", body)
        said = await api.http.post(f"/v1/runs/{run_id}/annotations", json=body)
        valid("annotation", said.json())
    child_id = snapshot["nodeStates"]["task-too-long"]["childRunId"]
    for name, path in (
        ("eval-summary", f"runs/{run_id}/eval-summary"),
        ("run-ancestry-response", f"runs/{run_id}/ancestry"),
        ("run-ancestry-response", f"runs/{child_id}/ancestry"),
        ("debug-bundle", f"runs/{run_id}/debug-bundle"),
        ("debug-bundle", f"runs/{run_id}/debug-bundle?maxEvents=1"),
        ("audit-verify-result", "audit/verify?fromSeq=0&toSeq=9"),
    ):
        valid(name, (await api.http.get(f"/v1/{path}")).json())
    valid("agent-eval-suite", api.host.runtime.evaluations.suites[suite["evalSuiteRef"]])
