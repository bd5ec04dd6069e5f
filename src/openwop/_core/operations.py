"""The operations of the protocol as data: one row each, and nothing else knows their paths or statuses.

``tools/check_spec.py`` keeps these rows, the OpenAPI document in ``openwop/spec`` and the models in agreement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from openwop import models
from openwop.models.base import JsonObject, RequestModel

__all__ = ["OPERATIONS", "Operation", "RetryClass"]

T = TypeVar("T")

RetryClass = Literal["safe", "keyed", "never"]
"""``safe``: may be sent again whatever became of it.  ``keyed``: only under its idempotency key.  ``never``: not at
all, unless it is proven that nothing was sent."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation(Generic[T]):
    """One operation of the protocol."""

    id: str
    """``operationId`` in the OpenAPI document."""
    method: str
    path: str
    """Template without the version prefix; every ``{name}`` is one path segment."""
    resource: str
    """Where users find it: ``"runs.create"``."""
    returns: Callable[[], type[T]]
    """Gives what a successful answer holds: a model, a list of one, ``dict`` for plain JSON, ``bytes`` for anything
    that is not JSON, ``NoneType`` for nothing.  A function, so that no model is imported before it is needed."""
    takes: Callable[[], type[RequestModel]] | None = None
    """Gives the model of the JSON body, where the operation has one."""
    retry: RetryClass = "safe"
    idempotent: bool = False
    """Whether it takes an ``Idempotency-Key``."""
    auth: bool = True
    """Whether the API key is sent.  Calls by interrupt token carry none: the token is the credential."""
    capability: str | None = None
    """What the host must advertise; ``None`` for what every host has."""
    names_item: bool = False
    """Whether the body or the query names something that may not exist, as a placeholder in ``path`` always does."""
    versioned: bool = True
    success: frozenset[int] = frozenset({200})
    long_poll: bool = False
    """Whether the host may hold the answer back; such calls do not count against the limit of calls in flight."""
    confidential: bool = False
    """Whether the answer holds a secret, so that no error quotes it, whatever its shape."""
    accept: str = "application/json"
    """The ``Accept`` header: the media type of a successful answer, and others that hosts send instead."""
    upload: str | None = None
    """Media type of a body that is not JSON, and is read as it is sent."""
    body_optional: bool = False
    """Whether the status of a successful answer says it all: a body that is missing or something else is ``None``."""

    @property
    def response(self) -> type[T]:
        """What a successful answer holds."""
        return self.returns()

    @property
    def request(self) -> type[RequestModel] | None:
        """The model of the JSON body."""
        return None if self.takes is None else self.takes()


def _keyed(
    id: str,
    path: str,
    resource: str,
    takes: Callable[[], type[RequestModel]],
    returns: Callable[[], type[T]],
    *,
    method: str = "POST",
    **more: Any,
) -> Operation[T]:
    return Operation(id, method, path, resource, returns, takes=takes, retry="keyed", idempotent=True, **more)


def _json_object() -> type[JsonObject]:
    return JsonObject


GET_CAPABILITIES = Operation(
    "getCapabilities", "GET", "/.well-known/openwop", "discovery.capabilities", lambda: models.Capabilities,
    auth=False, versioned=False, success=frozenset({200, 304}),
)  # fmt: skip
GET_OPENAPI = Operation(
    "getOpenApiSpec", "GET", "/openapi.json", "discovery.openapi", _json_object, auth=False
)
GET_WORKFLOW = Operation(
    "getWorkflow", "GET", "/workflows/{workflowId}", "workflows.get", lambda: models.WorkflowDefinition
)
CREATE_RUN = _keyed(
    "createRun",
    "/runs",
    "runs.create",
    lambda: models.CreateRunRequest,
    lambda: models.RunCreated,
    success=frozenset({201}),
)
GET_RUN = Operation(
    "getRun", "GET", "/runs/{runId}", "runs.get", lambda: models.RunSnapshot, success=frozenset({200, 304})
)
STREAM_EVENTS: Operation[None] = Operation(
    "streamRunEvents",
    "GET",
    "/runs/{runId}/events",
    "runs.events",
    lambda: type(None),
    accept="text/event-stream",
)
POLL_EVENTS = Operation(
    "pollRunEvents",
    "GET",
    "/runs/{runId}/events/poll",
    "runs.poll_events",
    lambda: models.EventPage,
    long_poll=True,
)
CANCEL_RUN = _keyed(
    "cancelRun",
    "/runs/{runId}/cancel",
    "runs.cancel",
    lambda: models.CancelRunRequest,
    lambda: models.RunCancelled,
)
BULK_CANCEL = _keyed(
    "bulkCancelRuns",
    "/runs:bulk-cancel",
    "runs.bulk_cancel",
    lambda: models.BulkCancelRequest,
    lambda: models.BulkCancelResponse,
)
PAUSE_RUN = _keyed(
    "pauseRun", "/runs/{runId}:pause", "runs.pause", lambda: models.PauseRunRequest, lambda: models.RunPaused,
    capability="runs.pauseResume", success=frozenset({202}),
)  # fmt: skip
RESUME_RUN = _keyed(
    "resumeRun", "/runs/{runId}:resume", "runs.resume", lambda: models.ResumeRunRequest, lambda: models.RunResumed,
    capability="runs.pauseResume", success=frozenset({202}),
)  # fmt: skip
FORK_RUN = _keyed(
    "forkRun", "/runs/{runId}:fork", "runs.fork", lambda: models.ForkRunRequest, lambda: models.RunForked,
    capability="replay", success=frozenset({201}),
)  # fmt: skip
DIFF_RUN = Operation("diffRun", "GET", "/runs/{runId}:diff", "runs.diff", lambda: models.RunDiff)
ANNOTATE_RUN = _keyed(
    "createAnnotation", "/runs/{runId}/annotations", "runs.annotate",
    lambda: models.CreateAnnotationRequest, lambda: models.Annotation,
    capability="feedback", success=frozenset({201}),
)  # fmt: skip
LIST_ANNOTATIONS = Operation(
    "listAnnotations", "GET", "/runs/{runId}/annotations", "runs.annotations", lambda: models.AnnotationList,
    capability="feedback",
)  # fmt: skip
GET_ANCESTRY = Operation(
    "getRunAncestry", "GET", "/runs/{runId}/ancestry", "runs.ancestry", lambda: models.RunAncestry,
    capability="multiAgent.executionModel.crossHostCausation.ancestryEndpointSupported",
)  # fmt: skip
GET_EVAL_SUMMARY = Operation(
    "getEvalSummary", "GET", "/runs/{runId}/eval-summary", "runs.eval_summary", lambda: models.EvalSummary,
    capability="agents.evalSuite",
)  # fmt: skip
GET_DEBUG_BUNDLE = Operation(
    "getDebugBundle", "GET", "/runs/{runId}/debug-bundle", "runs.debug_bundle", lambda: models.DebugBundle,
    capability="debugBundle",
)  # fmt: skip
# The protocol has an artifact be an object; what hosts keep under that name may be any JSON.
GET_ARTIFACT: Operation[Any] = Operation(
    "getArtifact", "GET", "/runs/{runId}/artifacts/{artifactId}", "runs.artifact", lambda: object
)
VERIFY_AUDIT = Operation(
    "verifyAuditLog", "GET", "/audit/verify", "audit.verify", lambda: models.AuditVerifyResult,
    capability="openwop-audit-log-integrity",
)  # fmt: skip
RESOLVE_INTERRUPT = _keyed(
    "resolveInterruptByRun", "/runs/{runId}/interrupts/{nodeId}", "interrupts.resolve",
    lambda: models.ResolveInterruptRequest, lambda: models.InterruptResolution,
)  # fmt: skip
INSPECT_TOKEN = Operation(
    "inspectInterruptByToken",
    "GET",
    "/interrupts/{token}",
    "interrupts.inspect",
    lambda: models.SuspendRequest,
    auth=False,
)
RESOLVE_TOKEN = _keyed(
    "resolveInterruptByToken", "/interrupts/{token}", "interrupts.resolve_token",
    lambda: models.ResolveInterruptRequest, lambda: models.InterruptResolution, auth=False,
)  # fmt: skip
REGISTER_WEBHOOK = _keyed(
    "registerWebhook", "/webhooks", "webhooks.register",
    lambda: models.RegisterWebhookRequest, lambda: models.WebhookRegistration, success=frozenset({201}),
    confidential=True,
)  # fmt: skip
# Hosts do not promise an Idempotency-Key here; a second attempt finds the subscription gone, which is what was wanted.
UNREGISTER_WEBHOOK: Operation[None] = Operation(
    "unregisterWebhook", "DELETE", "/webhooks/{webhookId}", "webhooks.unregister", lambda: type(None),
    success=frozenset({204}),
)  # fmt: skip
# The same bytes again change nothing, so a lost answer is no reason not to send them again.
PUT_TEST_PACK = Operation(
    "putTestPackTarball", "PUT", "/packs-test/{name}/-/{version}.tgz", "packs_test.publish",
    lambda: models.PublishedPack, upload="application/gzip", capability="packs.testMode",
    success=frozenset({200, 201}),
)  # fmt: skip
GET_TEST_PACK = Operation(
    "getTestPackTarball", "GET", "/packs-test/{name}/-/{version}.tgz", "packs_test.tarball", lambda: bytes,
    accept="application/tar+gzip, application/octet-stream, */*;q=0.1", capability="packs.testMode",
)  # fmt: skip
DELETE_TEST_PACK: Operation[None] = Operation(
    "deleteTestPackVersion", "DELETE", "/packs-test/{name}/-/{version}", "packs_test.delete", lambda: type(None),
    capability="packs.testMode", success=frozenset({204}),
)  # fmt: skip
GET_TEST_PACK_SIGNATURE = Operation(
    "getTestPackSignature", "GET", "/packs-test/{name}/-/{version}.sig", "packs_test.signature", lambda: bytes,
    accept="application/octet-stream, */*;q=0.1", capability="packs.testMode",
)  # fmt: skip
LIST_AGENTS = Operation(
    "listAgents",
    "GET",
    "/agents",
    "agents.list",
    lambda: models.AgentInventory,
    capability="agents.manifestRuntime",
)
GET_AGENT = Operation(
    "getAgent", "GET", "/agents/{agentId}", "agents.get", lambda: models.AgentInventoryEntry,
    capability="agents.manifestRuntime",
)  # fmt: skip
LIST_DEPLOYMENTS = Operation(
    "listAgentDeployments", "GET", "/agents/{agentId}/deployments", "agents.deployments",
    lambda: list[models.AgentDeployment], capability="agents.deployment",
)  # fmt: skip
TRANSITION_DEPLOYMENT = _keyed(
    "transitionAgentDeployment", "/agents/{agentId}/deployments", "agents.transition",
    lambda: models.TransitionDeploymentRequest, lambda: models.AgentDeployment, capability="agents.deployment",
)  # fmt: skip
LIST_ROSTER = Operation(
    "listAgentRoster",
    "GET",
    "/agents/roster",
    "agents.roster",
    lambda: models.AgentRoster,
    capability="agents.roster",
)
GET_ROSTER_ENTRY = Operation(
    "getAgentRosterEntry", "GET", "/agents/roster/{rosterId}", "agents.roster_entry", lambda: models.AgentRosterEntry,
    capability="agents.roster",
)  # fmt: skip
GET_ORG_CHART = Operation(
    "getAgentOrgChart", "GET", "/agents/org-chart", "agents.org_chart", lambda: models.OrgChart,
    capability="agents.orgChart",
)  # fmt: skip
GET_DEPARTMENT = Operation(
    "getAgentOrgChartDepartment", "GET", "/agents/org-chart/{departmentId}", "agents.department",
    lambda: models.DepartmentView, capability="agents.orgChart",
)  # fmt: skip
LIST_TOOLS = Operation(
    "listTools", "GET", "/tools", "tools.list", lambda: models.ToolCatalog, capability="toolCatalog"
)
GET_TOOL = Operation(
    "getTool", "GET", "/tools/{toolId}", "tools.get", lambda: models.ToolDescriptor, capability="toolCatalog"
)
LIST_PROMPTS = Operation(
    "listPromptTemplates", "GET", "/prompts", "prompts.list", lambda: models.PromptPage,
    capability="prompts.endpointsSupported",
)  # fmt: skip
GET_PROMPT = Operation(
    "getPromptTemplate", "GET", "/prompts/{templateId}", "prompts.get", lambda: models.PromptTemplate,
    capability="prompts.endpointsSupported", success=frozenset({200, 304}),
)  # fmt: skip
CREATE_PROMPT: Operation[models.PromptTemplate | None] = _keyed(
    "createPromptTemplate", "/prompts", "prompts.create", lambda: models.PromptTemplateRequest,
    lambda: models.PromptTemplate, capability="prompts.mutableLibrary", success=frozenset({201}), body_optional=True,
)  # fmt: skip
UPDATE_PROMPT = _keyed(
    "updatePromptTemplate", "/prompts/{templateId}", "prompts.update", lambda: models.PromptTemplateRequest,
    lambda: models.PromptTemplate, method="PUT", capability="prompts.mutableLibrary",
)  # fmt: skip
DELETE_PROMPT: Operation[None] = Operation(
    "deletePromptTemplate", "DELETE", "/prompts/{templateId}", "prompts.delete", lambda: type(None),
    capability="prompts.mutableLibrary", success=frozenset({204}),
)  # fmt: skip
RENDER_PROMPT = Operation(
    "renderPromptTemplate", "POST", "/prompts:render", "prompts.render", lambda: models.RenderedPrompt,
    takes=lambda: models.RenderPromptRequest, capability="prompts.endpointsSupported", names_item=True,
)  # fmt: skip

LIST_WORKSPACE_FILES = Operation(
    "listWorkspaceFiles", "GET", "/host/workspace/files", "workspace.list", lambda: models.WorkspaceFileList,
    capability="workspace",
)  # fmt: skip
GET_WORKSPACE_FILE = Operation(
    "getWorkspaceFile", "GET", "/host/workspace/files/{path}", "workspace.get", lambda: models.WorkspaceFile,
    capability="workspace",
)  # fmt: skip
PUT_WORKSPACE_FILE = _keyed(
    "putWorkspaceFile", "/host/workspace/files/{path}", "workspace.put",
    lambda: models.PutWorkspaceFileRequest, lambda: models.WorkspaceFile, method="PUT", capability="workspace",
)  # fmt: skip
DELETE_WORKSPACE_FILE: Operation[None] = Operation(
    "deleteWorkspaceFile", "DELETE", "/host/workspace/files/{path}", "workspace.delete", lambda: type(None),
    retry="keyed", idempotent=True, capability="workspace", success=frozenset({204}),
)  # fmt: skip
GET_CONTENT_PAGE = Operation(
    "getContentPage", "GET", "/content/pages/{slug}", "content.page", lambda: models.DeliveredContent,
    auth=False, capability="content",
)  # fmt: skip
LIST_CONTENT_PAGES = Operation(
    "listContentPages", "GET", "/content/pages", "content.pages", lambda: list[models.ContentPage],
    capability="content",
)  # fmt: skip
# Content takes no Idempotency-Key. A page that is created twice is a second page, or an error; a section or settings
# that are written twice are the same section and the same settings.
CREATE_CONTENT_PAGE = Operation(
    "createContentPage", "POST", "/content/pages", "content.create_page", lambda: models.ContentPage,
    takes=lambda: models.CreateContentPageRequest, retry="never", capability="content", success=frozenset({201}),
)  # fmt: skip
PUT_CONTENT_SECTION = Operation(
    "putContentSection", "PUT", "/content/pages/{pageId}/sections/{sectionId}", "content.put_section",
    lambda: models.ContentSection, takes=lambda: models.PutContentSectionRequest, capability="content",
)  # fmt: skip
GET_CONTENT_SETTINGS = Operation(
    "getContentSettings", "GET", "/content/settings", "content.settings", lambda: models.ContentSettings,
    capability="content",
)  # fmt: skip
PUT_CONTENT_SETTINGS = Operation(
    "putContentSettings", "PUT", "/content/settings", "content.update_settings", lambda: models.ContentSettings,
    takes=lambda: models.PutContentSettingsRequest, capability="content",
)  # fmt: skip
CREATE_TRIGGER_SUBSCRIPTION = _keyed(
    "createTriggerSubscription", "/trigger-subscriptions", "triggers.create",
    lambda: models.CreateTriggerSubscriptionRequest, lambda: models.TriggerSubscriptionCreated,
    capability="triggerBridge.ingestion.registrationEndpoint", success=frozenset({201}), confidential=True,
)  # fmt: skip
GET_A2A_TASK_STATE = Operation(
    "getA2ATaskState", "GET", "/host/sample/a2a/tasks/{taskId}", "a2a.task", lambda: models.A2aTaskState,
    capability="a2a.durableTasks",
)  # fmt: skip

OPERATIONS: tuple[Operation[Any], ...] = (
    GET_CAPABILITIES,
    GET_OPENAPI,
    GET_WORKFLOW,
    CREATE_RUN,
    GET_RUN,
    STREAM_EVENTS,
    POLL_EVENTS,
    CANCEL_RUN,
    BULK_CANCEL,
    PAUSE_RUN,
    RESUME_RUN,
    FORK_RUN,
    DIFF_RUN,
    ANNOTATE_RUN,
    LIST_ANNOTATIONS,
    GET_ANCESTRY,
    GET_EVAL_SUMMARY,
    GET_DEBUG_BUNDLE,
    GET_ARTIFACT,
    VERIFY_AUDIT,
    RESOLVE_INTERRUPT,
    INSPECT_TOKEN,
    RESOLVE_TOKEN,
    LIST_AGENTS,
    GET_AGENT,
    LIST_DEPLOYMENTS,
    TRANSITION_DEPLOYMENT,
    LIST_ROSTER,
    GET_ROSTER_ENTRY,
    GET_ORG_CHART,
    GET_DEPARTMENT,
    LIST_TOOLS,
    GET_TOOL,
    LIST_PROMPTS,
    GET_PROMPT,
    CREATE_PROMPT,
    UPDATE_PROMPT,
    DELETE_PROMPT,
    RENDER_PROMPT,
    LIST_WORKSPACE_FILES,
    GET_WORKSPACE_FILE,
    PUT_WORKSPACE_FILE,
    DELETE_WORKSPACE_FILE,
    GET_CONTENT_PAGE,
    LIST_CONTENT_PAGES,
    CREATE_CONTENT_PAGE,
    PUT_CONTENT_SECTION,
    GET_CONTENT_SETTINGS,
    PUT_CONTENT_SETTINGS,
    CREATE_TRIGGER_SUBSCRIPTION,
    GET_A2A_TASK_STATE,
    REGISTER_WEBHOOK,
    UNREGISTER_WEBHOOK,
    PUT_TEST_PACK,
    GET_TEST_PACK,
    DELETE_TEST_PACK,
    GET_TEST_PACK_SIGNATURE,
)
