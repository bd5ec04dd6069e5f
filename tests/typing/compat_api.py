"""What type checkers see of ``openwop.compat``: a program for the old client, as it stands, and never run."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, assert_type

from openwop.compat import (
    HTTP_ERROR_CODES,
    AgentDeployment,
    AgentDeploymentTransition,
    AgentInventoryEntry,
    AgentOrgChart,
    AgentRosterResponse,
    AgentToolCalledPayload,
    Annotation,
    AsyncOpenwopClient,
    AsyncRegistryClient,
    AuditVerifyResult,
    BulkCancelRunsRequest,
    BulkCancelRunsResponse,
    CancelRunResponse,
    Capabilities,
    CreateAnnotationRequest,
    CreateRunRequest,
    CreateRunResponse,
    DebugBundle,
    ErrorEnvelope,
    ForkRunRequest,
    ForkRunResponse,
    InterruptByTokenInspection,
    ListPromptsRequest,
    ListPromptsResponse,
    OpenwopClient,
    PauseRunRequest,
    PollEventsResponse,
    PromptTemplate,
    PutWorkspaceFileRequest,
    RegisterWebhookRequest,
    RegistryClient,
    RegistryPackMetadata,
    RenderPromptRequest,
    ResolveInterruptRequest,
    ResolveInterruptResponse,
    RunConfigurable,
    RunDiffResponse,
    RunEventDoc,
    RunEvents,
    RunSnapshot,
    RunSnapshotError,
    RunStatus,
    StreamMode,
    ToolDescriptor,
    VerifyInvalid,
    VerifyValid,
    WopError,
    WorkspaceFile,
    agent_tool_called_payload,
    is_http_error_code,
    sign_webhook_delivery,
    stream_events,
    verify_webhook_signature,
)
from openwop.compat.client import OpenwopClient as ClientOfTheSubmodule
from openwop.compat.errors import WopError as ErrorOfTheSubmodule
from openwop.compat.types import is_terminal_run_status


def a_program_for_the_old_client() -> None:
    client = OpenwopClient(base_url="https://api.example.com", api_key="hk_test_abc123", timeout=5)
    caps = client.discovery_capabilities()
    assert_type(caps, Capabilities)
    assert_type(caps.limits.envelopesPerTurn, int)
    options = RunConfigurable(temperature=0.5)
    resp = client.runs_create(
        CreateRunRequest(workflowId="my-wf", inputs={"foo": "bar"}, configurable=options),
        idempotency_key="key",
        dedup=True,
    )
    assert_type(resp, CreateRunResponse)
    snap = client.runs_get(resp.runId)
    assert_type(snap, RunSnapshot)
    assert_type(snap.status, RunStatus)
    assert_type(snap.error, RunSnapshotError | None)
    is_terminal_run_status(snap.status)
    answer = ResolveInterruptRequest(resumeValue={"action": "accept"})
    assert_type(client.interrupts_resolve_by_run(resp.runId, "gate", answer), ResolveInterruptResponse)
    assert_type(client.interrupts_inspect_by_token("token"), InterruptByTokenInspection)
    assert_type(client.interrupts_resolve_by_token("token", answer), dict[str, Any])
    fork = client.runs_fork(resp.runId, ForkRunRequest(fromSeq=5, mode="branch"))
    assert_type(fork, ForkRunResponse)
    assert_type(client.runs_cancel(resp.runId), CancelRunResponse)
    client.runs_pause(resp.runId, PauseRunRequest(drainPolicy="immediate"))
    assert_type(client.runs_bulk_cancel(BulkCancelRunsRequest([resp.runId])), BulkCancelRunsResponse)
    assert_type(client.audit_verify(0, 10), AuditVerifyResult)
    assert_type(client.discovery_openapi(), dict[str, Any])


def events() -> Iterator[RunEventDoc]:
    modes: list[StreamMode] = ["updates", "messages"]
    client = OpenwopClient("https://api.example.com", "key")
    stream = client.runs_events(
        "run-1", stream_mode=modes, last_event_id="4", timeout_seconds=60, buffer_ms=100
    )
    assert_type(stream, RunEvents)
    for event in stream:
        assert_type(event, RunEventDoc)
        payload = agent_tool_called_payload(event)
        assert_type(payload, AgentToolCalledPayload | None)
        if payload is not None:
            assert_type(payload.get("toolName"), str | None)
    with client.runs_events("run-1", stream_mode="debug") as closed_at_once:
        yield next(closed_at_once)
    page = client.runs_poll_events("run-1", last_sequence=4, timeout_seconds=10)
    assert_type(page, PollEventsResponse)
    yield from page.events
    assert_type(stream_events("https://api.example.com", "key", "run-1"), Iterator[RunEventDoc])


def what_a_host_may_not_have(client: OpenwopClient) -> None:
    assert_type(client.runs_debug_bundle("run-1", max_events=5), DebugBundle | None)
    assert_type(client.runs_diff("run-1", "run-2"), RunDiffResponse | None)
    assert_type(client.runs_get_artifact("run-1", "a"), dict[str, Any] | None)
    assert_type(client.list_annotations("run-1"), list[Annotation] | None)
    client.create_annotation("run-1", CreateAnnotationRequest({"kind": "flag"}))
    assert_type(client.agents_list(), list[AgentInventoryEntry] | None)
    assert_type(client.agents_list_roster(), AgentRosterResponse | None)
    assert_type(client.agents_get_org_chart(), AgentOrgChart | None)
    step = AgentDeploymentTransition(version="1", transition="promote", toState="active")
    assert_type(client.agents_transition_deployment("a", step), AgentDeployment)
    assert_type(client.tools_list(), list[ToolDescriptor] | None)
    assert_type(client.prompts_list(ListPromptsRequest(kind="user")), ListPromptsResponse)
    assert_type(client.prompts_get("t", version="1.0.0"), PromptTemplate | None)
    client.prompts_render(RenderPromptRequest("prompt:t", {"x": 1})).variableHashes.items()
    assert_type(client.get_workspace_file("f", version=1), WorkspaceFile | None)
    assert_type(client.put_workspace_file("f", PutWorkspaceFileRequest("x"), if_match='"e"'), WorkspaceFile)
    assert_type(client.delete_workspace_file("f"), bool)
    assert_type(client.webhooks_register(RegisterWebhookRequest("https://e", ["run.completed"])).secret, str)


def errors(client: OpenwopClient) -> None:
    try:
        client.runs_get("run-1")
    except WopError as error:
        assert_type(error.envelope, ErrorEnvelope | None)
        assert_type(error.trace_id, str | None)
        if error.envelope and is_http_error_code(error.envelope.error):
            assert_type(error.envelope.details, dict[str, Any] | None)
    assert "not_found" in HTTP_ERROR_CODES
    raise ErrorOfTheSubmodule(500, "", None)


def webhooks(signature: str, timestamp: str, body: bytes) -> Literal["signature_mismatch"] | None:
    assert_type(sign_webhook_delivery("secret", 1, body), tuple[str, str])
    outcome = verify_webhook_signature("secret", signature, timestamp, body, freshness_window_seconds=60)
    if isinstance(outcome, VerifyValid):
        return None
    assert_type(outcome, VerifyInvalid)
    return "signature_mismatch" if outcome.reason == "signature_mismatch" else None


async def the_same_to_be_awaited() -> AsyncIterator[RunEventDoc]:
    async with (
        AsyncOpenwopClient("https://api.example.com", "key") as client,
        AsyncRegistryClient() as registry,
    ):
        assert_type((await client.runs_get("run-1")).status, RunStatus)
        assert_type(await client.agents_list(), list[AgentInventoryEntry] | None)
        assert_type(await registry.pack("p"), RegistryPackMetadata)
        async with client.runs_events("run-1", stream_mode="updates") as closed_at_once:
            yield await anext(closed_at_once)
        async for event in client.runs_events("run-1"):
            yield event


def additions() -> None:
    with ClientOfTheSubmodule("https://api.example.com", "key") as client, RegistryClient() as registry:
        client.close()
        assert_type(registry.tarball("p", "1"), bytes)
