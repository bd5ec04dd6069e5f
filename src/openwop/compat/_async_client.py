"""The old client's methods, to be awaited.

Each method sends what its namesake of ``openwop-client`` 1.1.7 sends and gives what that gives; differences that are
meant are listed in ``tests/compat/differences.yaml``, each with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from openwop import client as native
from openwop._core import operations as ops
from openwop.compat._stream import AsyncRunEvents
from openwop.compat._wire import KeepingSession, Wire, split_base_url, system_trust, time_limit
from openwop.compat.types import (
    AgentDeployment,
    AgentDeploymentTransition,
    AgentInventoryEntry,
    AgentOrgChart,
    AgentRosterEntry,
    AgentRosterResponse,
    Annotation,
    AuditVerifyResult,
    BulkCancelRunResult,
    BulkCancelRunsRequest,
    BulkCancelRunsResponse,
    CancelRunRequest,
    CancelRunResponse,
    Capabilities,
    CreateAnnotationRequest,
    CreateRunRequest,
    CreateRunResponse,
    DebugBundle,
    EvalSummary,
    ForkRunRequest,
    ForkRunResponse,
    InterruptByTokenInspection,
    ListPromptsRequest,
    ListPromptsResponse,
    OrgChartResponsibilityView,
    PauseRunRequest,
    PauseRunResponse,
    PollEventsResponse,
    PromptTemplate,
    PutWorkspaceFileRequest,
    RegisterWebhookRequest,
    RegisterWebhookResponse,
    RenderPromptRequest,
    RenderPromptResponse,
    ResolveInterruptRequest,
    ResolveInterruptResponse,
    ResumeRunRequest,
    ResumeRunResponse,
    RunAncestryResponse,
    RunDiffResponse,
    RunEventDoc,
    RunSnapshot,
    StreamMode,
    ToolDescriptor,
    WorkspaceFile,
)

__all__ = ["AsyncOpenwopClient"]

_HOST_HOLDS_A_POLL_S = 30.0
"""How long a host holds back the answer to a poll that does not say how long."""
_NOT_FOUND = (404,)
_NOT_OFFERED = (404, 501)


class AsyncOpenwopClient:
    """A client of one host with the flat methods of ``openwop-client``.

    Its connections are closed by ``async with`` or :meth:`aclose`.

    Args:
        base_url: the host's address.
        api_key: the key.
        timeout: seconds for one call; a stream has its own.

    Raises:
        ValueError: an address or a key that cannot work.

    While calling: :class:`WopError`, whatever went wrong.

    Example::

        async with AsyncOpenwopClient("https://host.example", "hk_…") as client:
            created = await client.runs_create(CreateRunRequest(workflowId="my-workflow"))
            print((await client.runs_get(created.runId)).status)
    """

    def __init__(self, base_url: str, api_key: str, timeout: float = 30.0) -> None:
        if not base_url or not api_key:
            raise ValueError(f"{'base_url' if not base_url else 'api_key'} is required")
        seconds = time_limit(timeout)
        origin, prefix = split_base_url(base_url)
        self._native = native.AsyncOpenwopClient(
            origin, api_key, timeout=seconds, total_timeout=max(120.0, seconds), max_retries=0,
            verify=system_trust(origin), protocol="1",
        )  # fmt: skip
        session = self._native._session
        self._wire = Wire(KeepingSession(session.config, session.shared), prefix)

    def __repr__(self) -> str:
        return f"AsyncOpenwopClient({self._native.base_url + self._wire.prefix!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection, open streams included."""
        await self._native.aclose()

    # -- the host ---------------------------------------------------------------------------------------------

    async def discovery_capabilities(self) -> Capabilities:
        """What the host is and offers.  No key is sent."""
        return (await self._wire.ask(ops.GET_CAPABILITIES)).read(Capabilities)

    async def discovery_openapi(self) -> dict[str, Any]:
        """The host's OpenAPI document.  No key is sent."""
        return (await self._wire.ask(ops.GET_OPENAPI)).whole()

    async def workflows_get(self, workflow_id: str) -> dict[str, Any]:
        """The definition of a workflow."""
        return (await self._wire.ask(ops.GET_WORKFLOW, {"workflowId": workflow_id})).whole()

    async def audit_verify(self, from_seq: int, to_seq: int) -> AuditVerifyResult:
        """Whether the audit log is whole from one entry to another."""
        query = {"fromSeq": from_seq, "toSeq": to_seq}
        reply = await self._wire.ask(ops.VERIFY_AUDIT, query=query)
        return reply.read(AuditVerifyResult)

    async def webhooks_register(
        self, body: RegisterWebhookRequest, *, idempotency_key: str | None = None
    ) -> RegisterWebhookResponse:
        """Have events delivered to a URL.  The answer's ``secret`` comes this once."""
        reply = await self._wire.ask(ops.REGISTER_WEBHOOK, body=body, key=idempotency_key)
        return reply.read(
            RegisterWebhookResponse, url=body.url, secret=body.secret, eventTypes=list(body.events)
        )

    async def webhooks_unregister(self, subscription_id: str) -> None:
        """End a subscription."""
        await self._wire.ask(ops.UNREGISTER_WEBHOOK, {"webhookId": subscription_id})

    # -- runs -------------------------------------------------------------------------------------------------

    async def runs_create(
        self, body: CreateRunRequest, *, idempotency_key: str | None = None, dedup: bool = False
    ) -> CreateRunResponse:
        """Start a run.  ``dedup`` refuses a second active run of the same ``scopeId``."""
        dialect = self._wire.session.dialect
        headers = {dialect.dedup_header: dialect.dedup_value} if dedup else None
        reply = await self._wire.ask(ops.CREATE_RUN, body=body, headers=headers, key=idempotency_key)
        url = self._events_url(reply.whole().get("runId"))
        return reply.read(CreateRunResponse, status="pending", eventsUrl=url)

    async def runs_get(self, run_id: str) -> RunSnapshot:
        """The state of a run now."""
        return (await self._wire.ask(ops.GET_RUN, {"runId": run_id})).read(RunSnapshot, runId=run_id)

    async def runs_debug_bundle(self, run_id: str, *, max_events: int | None = None) -> DebugBundle | None:
        """Everything about a run, masked.  ``None`` when the host has no such thing."""
        query = {"maxEvents": max_events}
        reply = await self._wire.look(ops.GET_DEBUG_BUNDLE, {"runId": run_id}, query=query, absent=_NOT_FOUND)
        return None if reply is None else reply.read(DebugBundle)

    async def runs_cancel(
        self, run_id: str, body: CancelRunRequest | None = None, *, idempotency_key: str | None = None
    ) -> CancelRunResponse:
        """Cancel a run."""
        reply = await self._wire.ask(ops.CANCEL_RUN, {"runId": run_id}, body=body, key=idempotency_key)
        return reply.read(CancelRunResponse, runId=run_id, status="cancelling")

    async def runs_pause(
        self, run_id: str, body: PauseRunRequest | None = None, *, idempotency_key: str | None = None
    ) -> PauseRunResponse:
        """Pause a run."""
        reply = await self._wire.ask(ops.PAUSE_RUN, {"runId": run_id}, body=body, key=idempotency_key)
        return reply.read(PauseRunResponse, runId=run_id, status="paused")

    async def runs_resume(
        self, run_id: str, body: ResumeRunRequest | None = None, *, idempotency_key: str | None = None
    ) -> ResumeRunResponse:
        """Let a paused run go on."""
        reply = await self._wire.ask(ops.RESUME_RUN, {"runId": run_id}, body=body, key=idempotency_key)
        return reply.read(ResumeRunResponse, runId=run_id, status="running")

    async def runs_bulk_cancel(
        self, body: BulkCancelRunsRequest, *, idempotency_key: str | None = None
    ) -> BulkCancelRunsResponse:
        """Cancel several runs, as many as the host takes at once (100); one result for each."""
        reply = await self._wire.ask(ops.BULK_CANCEL, body=body, key=idempotency_key)
        return BulkCancelRunsResponse(reply.each(BulkCancelRunResult, "results"))

    async def runs_fork(
        self, run_id: str, body: ForkRunRequest, *, idempotency_key: str | None = None
    ) -> ForkRunResponse:
        """Make a new run out of another one's history."""
        reply = await self._wire.ask(ops.FORK_RUN, {"runId": run_id}, body=body, key=idempotency_key)
        url = self._events_url(reply.whole().get("runId"))
        return reply.read(
            ForkRunResponse, sourceRunId=run_id, mode=body.mode, status="pending", eventsUrl=url
        )

    async def create_annotation(
        self, run_id: str, body: CreateAnnotationRequest, *, idempotency_key: str | None = None
    ) -> Annotation:
        """Leave a remark on a run."""
        reply = await self._wire.ask(ops.ANNOTATE_RUN, {"runId": run_id}, body=body, key=idempotency_key)
        return reply.read(Annotation)

    async def list_annotations(self, run_id: str) -> list[Annotation] | None:
        """The remarks on a run.  ``None`` when the host has no such thing."""
        reply = await self._wire.look(ops.LIST_ANNOTATIONS, {"runId": run_id}, absent=_NOT_OFFERED)
        return None if reply is None else reply.each(Annotation, "annotations")

    async def runs_ancestry(self, run_id: str) -> RunAncestryResponse | None:
        """Where a run was started from.  ``None`` when the host does not tell."""
        reply = await self._wire.look(ops.GET_ANCESTRY, {"runId": run_id}, absent=_NOT_FOUND)
        return None if reply is None else reply.read(RunAncestryResponse, runId=run_id)

    async def runs_diff(self, run_id: str, against: str) -> RunDiffResponse | None:
        """How two runs differ.  ``None`` when the host cannot compare them."""
        query = {"against": against}
        reply = await self._wire.look(ops.DIFF_RUN, {"runId": run_id}, query=query, absent=_NOT_FOUND)
        return None if reply is None else reply.read(RunDiffResponse, a=run_id, b=against)

    async def runs_eval_summary(self, run_id: str) -> EvalSummary | None:
        """The result of an evaluation run.  ``None`` when it is none."""
        reply = await self._wire.look(ops.GET_EVAL_SUMMARY, {"runId": run_id}, absent=_NOT_FOUND)
        return None if reply is None else reply.read(EvalSummary)

    async def runs_get_artifact(self, run_id: str, artifact_id: str) -> dict[str, Any] | None:
        """Something that a run made.  ``None`` when there is no such thing."""
        path = {"runId": run_id, "artifactId": artifact_id}
        reply = await self._wire.look(ops.GET_ARTIFACT, path, absent=_NOT_FOUND)
        return None if reply is None else reply.whole()

    async def runs_poll_events(
        self, run_id: str, *, last_sequence: int | None = None, timeout_seconds: int | None = None
    ) -> PollEventsResponse:
        """A page of a run's log, after ``last_sequence``; the host may wait ``timeout_seconds`` for something new."""
        dialect = self._wire.session.dialect
        query = {dialect.poll_cursor_parameter: last_sequence, dialect.poll_wait_parameter: timeout_seconds}
        hold_s = _HOST_HOLDS_A_POLL_S if timeout_seconds is None else max(0.0, float(timeout_seconds))
        reply = await self._wire.ask(ops.POLL_EVENTS, {"runId": run_id}, query=query, hold_s=hold_s)
        # `version-negotiation.md` has another name for it than the OpenAPI document.
        complete = bool(reply.get("isComplete", "isTerminal"))
        return PollEventsResponse(reply.each(RunEventDoc, "events", runId=run_id), complete)

    def runs_events(
        self,
        run_id: str,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        last_event_id: str | None = None,
        timeout_seconds: float = 30.0,
        buffer_ms: int | None = None,
    ) -> AsyncRunEvents:
        """The events of a run as they happen, through dropped connections.

        In ``values`` and ``messages`` most hosts send something else than events, which is left out; the native
        client has it.

        Args:
            run_id: the run.
            stream_mode: one mode or several; ``"updates"`` when absent.
            last_event_id: start behind this event.
            timeout_seconds: how long a connection may be silent.  One that is is replaced once; after that it is a
                ``TimeoutError`` (and ``WopError``).
            buffer_ms: let the host gather events for so many milliseconds.

        Example::

            async for event in client.runs_events("run-1", stream_mode="updates"):
                print(event.type, event.payload)
        """
        return AsyncRunEvents(
            self._wire.with_timeout(timeout_seconds), run_id, stream_mode, last_event_id, buffer_ms
        )

    def _events_url(self, run_id: Any) -> str:
        """Where a run's events are, for hosts that do not say it."""
        path = self._wire.session.dialect.path(ops.STREAM_EVENTS.path, {"runId": str(run_id)})
        return self._native.base_url + self._wire.prefix + path

    # -- interrupts -------------------------------------------------------------------------------------------

    async def interrupts_resolve_by_run(
        self, run_id: str, node_id: str, body: ResolveInterruptRequest, *, idempotency_key: str | None = None
    ) -> ResolveInterruptResponse:
        """Answer what a node of a run asks."""
        path, answer = {"runId": run_id, "nodeId": node_id}, {"resumeValue": body.resumeValue}
        reply = await self._wire.ask(ops.RESOLVE_INTERRUPT, path, body=answer, key=idempotency_key)
        return reply.read(ResolveInterruptResponse, runId=run_id, nodeId=node_id)

    async def interrupts_inspect_by_token(self, token: str) -> InterruptByTokenInspection:
        """What is asked, by its token.  No key is sent."""
        return (await self._wire.ask(ops.INSPECT_TOKEN, {"token": token})).read(InterruptByTokenInspection)

    async def interrupts_resolve_by_token(
        self, token: str, body: ResolveInterruptRequest, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Answer what is asked, by its token.  No key is sent."""
        answer = {"resumeValue": body.resumeValue}
        reply = await self._wire.ask(ops.RESOLVE_TOKEN, {"token": token}, body=answer, key=idempotency_key)
        return reply.whole()

    # -- agents -----------------------------------------------------------------------------------------------

    async def agents_list(self) -> list[AgentInventoryEntry] | None:
        """The agents that are installed.  ``None`` when the host has no such thing."""
        reply = await self._wire.look(ops.LIST_AGENTS, absent=_NOT_OFFERED)
        return None if reply is None else reply.each(AgentInventoryEntry, "agents")

    async def agents_get(self, agent_id: str) -> AgentInventoryEntry | None:
        """One agent.  ``None`` when it is not there."""
        reply = await self._wire.look(ops.GET_AGENT, {"agentId": agent_id}, absent=_NOT_OFFERED)
        return None if reply is None else reply.read(AgentInventoryEntry)

    async def agents_list_deployments(self, agent_id: str) -> list[AgentDeployment] | None:
        """How far each version of an agent is in use.  ``None`` when the host has no such thing."""
        reply = await self._wire.look(ops.LIST_DEPLOYMENTS, {"agentId": agent_id}, absent=_NOT_FOUND)
        return None if reply is None else reply.each(AgentDeployment, "deployments", "items")

    async def agents_transition_deployment(
        self, agent_id: str, body: AgentDeploymentTransition, *, idempotency_key: str | None = None
    ) -> AgentDeployment:
        """Move a version of an agent to another state."""
        path = {"agentId": agent_id}
        reply = await self._wire.ask(ops.TRANSITION_DEPLOYMENT, path, body=body, key=idempotency_key)
        return reply.read(AgentDeployment)

    async def agents_list_roster(self) -> AgentRosterResponse | None:
        """The agents that are always there.  ``None`` when the host has no such thing."""
        reply = await self._wire.look(ops.LIST_ROSTER, absent=_NOT_FOUND)
        return None if reply is None else reply.read(AgentRosterResponse, total=0)

    async def agents_get_roster_entry(self, roster_id: str) -> AgentRosterEntry | None:
        """One entry of the roster.  ``None`` when it is not there."""
        reply = await self._wire.look(ops.GET_ROSTER_ENTRY, {"rosterId": roster_id}, absent=_NOT_FOUND)
        return None if reply is None else reply.read(AgentRosterEntry)

    async def agents_get_org_chart(self) -> AgentOrgChart | None:
        """The org chart.  ``None`` when the host has no such thing."""
        reply = await self._wire.look(ops.GET_ORG_CHART, absent=_NOT_FOUND)
        return None if reply is None else reply.read(AgentOrgChart, owner={})

    async def agents_get_org_chart_department(
        self, department_id: str, *, recursive: bool | None = None
    ) -> OrgChartResponsibilityView | None:
        """A department with those below it, or with ``recursive=False`` alone.  ``None`` when it is not there."""
        query = {"recursive": False} if recursive is False else None
        path = {"departmentId": department_id}
        reply = await self._wire.look(ops.GET_DEPARTMENT, path, query=query, absent=_NOT_FOUND)
        return None if reply is None else reply.read(OrgChartResponsibilityView)

    # -- tools and prompts ------------------------------------------------------------------------------------

    async def tools_list(self) -> list[ToolDescriptor] | None:
        """The tools that agents may be given.  ``None`` when the host has no such thing."""
        reply = await self._wire.look(ops.LIST_TOOLS, absent=_NOT_FOUND)
        return None if reply is None else reply.each(ToolDescriptor, "tools", "items")

    async def tools_get(self, tool_id: str) -> ToolDescriptor | None:
        """One tool.  ``None`` when it is not there."""
        reply = await self._wire.look(ops.GET_TOOL, {"toolId": tool_id}, absent=_NOT_FOUND)
        return None if reply is None else reply.read(ToolDescriptor)

    async def prompts_list(self, req: ListPromptsRequest | None = None) -> ListPromptsResponse:
        """A page of prompts; give its ``nextCursor`` back as ``cursor`` for the next."""
        asked = vars(req) if req is not None else {}
        query = {name: value for name, value in asked.items() if value or name == "limit"}
        reply = await self._wire.ask(ops.LIST_PROMPTS, query=query)
        return ListPromptsResponse(reply.each(PromptTemplate, "items"), reply.get("nextCursor"))

    async def prompts_get(
        self, template_id: str, *, version: str | None = None, library_id: str | None = None
    ) -> PromptTemplate | None:
        """One prompt, its newest version or the one that is asked for.  ``None`` when it is not there."""
        query = {"version": version or None, "libraryId": library_id or None}
        path = {"templateId": template_id}
        reply = await self._wire.look(ops.GET_PROMPT, path, query=query, absent=_NOT_FOUND)
        return None if reply is None else reply.read(PromptTemplate)

    async def prompts_create(self, template: PromptTemplate, *, idempotency_key: str | None = None) -> None:
        """Store a new prompt."""
        await self._wire.ask(ops.CREATE_PROMPT, body=template, key=idempotency_key)

    async def prompts_update(
        self, template_id: str, template: PromptTemplate, *, idempotency_key: str | None = None
    ) -> PromptTemplate:
        """Store a newer version of a prompt."""
        path = {"templateId": template_id}
        reply = await self._wire.ask(ops.UPDATE_PROMPT, path, body=template, key=idempotency_key)
        return reply.read(PromptTemplate)

    async def prompts_delete(self, template_id: str) -> None:
        """Delete a prompt."""
        await self._wire.ask(ops.DELETE_PROMPT, {"templateId": template_id})

    async def prompts_render(self, req: RenderPromptRequest) -> RenderPromptResponse:
        """Put values into a prompt.  Secret values are to be given as ``[REDACTED:<reference>]``."""
        return (await self._wire.ask(ops.RENDER_PROMPT, body=req)).read(RenderPromptResponse)

    # -- workspace files --------------------------------------------------------------------------------------

    async def list_workspace_files(self, *, prefix: str | None = None) -> list[WorkspaceFile] | None:
        """The files, without their content.  ``None`` when the host has no such thing."""
        query = {"prefix": prefix}
        reply = await self._wire.look(ops.LIST_WORKSPACE_FILES, query=query, absent=(501,))
        return None if reply is None else reply.each(WorkspaceFile, "files")

    async def get_workspace_file(self, file_path: str, *, version: int | None = None) -> WorkspaceFile | None:
        """One file, as it is or as it was.  ``None`` when it is not there."""
        path, query = {"path": file_path}, {"version": version}
        reply = await self._wire.look(ops.GET_WORKSPACE_FILE, path, query=query, absent=_NOT_OFFERED)
        return None if reply is None else reply.read(WorkspaceFile)

    async def put_workspace_file(
        self,
        file_path: str,
        body: PutWorkspaceFileRequest,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> WorkspaceFile:
        """Write a file; with ``if_match`` only over the version that has this ``etag``."""
        headers = {"If-Match": if_match} if if_match is not None else None
        reply = await self._wire.ask(
            ops.PUT_WORKSPACE_FILE, {"path": file_path}, body=body, headers=headers, key=idempotency_key
        )
        return reply.read(WorkspaceFile, path=file_path, content=body.content)

    async def delete_workspace_file(self, file_path: str, *, idempotency_key: str | None = None) -> bool:
        """Delete a file.  ``False`` when it was not there."""
        path = {"path": file_path}
        reply = await self._wire.look(
            ops.DELETE_WORKSPACE_FILE, path, absent=_NOT_OFFERED, key=idempotency_key
        )
        return reply is not None
