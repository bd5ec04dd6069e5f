"""Request and answer classes, names of statuses and codes: what ``openwop_client.types`` has.

Fields are called as on the wire.  A field that a host leaves out, where the old client raised ``KeyError``, is
``None``, or empty where it is a list or an object.
"""

from __future__ import annotations

from typing import Any

from openwop.compat._host_types import (
    AgentDeployment,
    AgentDeploymentTransition,
    AgentInventoryEntry,
    AgentModelClass,
    AgentOrgChart,
    AgentRosterEntry,
    AgentRosterResponse,
    AuditVerifyAnomaly,
    AuditVerifyCheckpoint,
    AuditVerifyResult,
    Capabilities,
    CapabilitiesLimits,
    CapBreachedKind,
    DeploymentState,
    ErrorEnvelope,
    ListPromptsRequest,
    ListPromptsResponse,
    OrgChartDepartment,
    OrgChartMember,
    OrgChartResponsibilityView,
    PromptKind,
    PromptTemplate,
    PromptVariable,
    PutWorkspaceFileRequest,
    RegisterWebhookRequest,
    RegisterWebhookResponse,
    RenderPromptRequest,
    RenderPromptResponse,
    ToolDescriptor,
    WorkspaceFile,
)
from openwop.compat._run_types import (
    Annotation,
    BulkCancelRunResult,
    BulkCancelRunsRequest,
    BulkCancelRunsResponse,
    CancelRunRequest,
    CancelRunResponse,
    CreateAnnotationRequest,
    CreateRunRequest,
    CreateRunResponse,
    DebugBundle,
    EvalRegression,
    EvalSafetyFinding,
    EvalSummary,
    EvalTaskResult,
    ForkRunRequest,
    ForkRunResponse,
    InterruptByTokenInspection,
    PauseRunRequest,
    PauseRunResponse,
    PollEventsResponse,
    ResolveInterruptRequest,
    ResolveInterruptResponse,
    ResumeRunRequest,
    ResumeRunResponse,
    RunAncestryParent,
    RunAncestryResponse,
    RunConfigurable,
    RunDiffEventDiff,
    RunDiffResponse,
    RunEventDoc,
    RunSnapshot,
    RunSnapshotError,
    RunStatus,
    StreamMode,
)

__all__ = [
    "ACTIVE_RUN_STATUSES",
    "HTTP_ERROR_CODES",
    "RUN_ERROR_CODES",
    "TERMINAL_RUN_STATUSES",
    "AgentDeployment",
    "AgentDeploymentTransition",
    "AgentInventoryEntry",
    "AgentModelClass",
    "AgentOrgChart",
    "AgentRosterEntry",
    "AgentRosterResponse",
    "Annotation",
    "AuditVerifyAnomaly",
    "AuditVerifyCheckpoint",
    "AuditVerifyResult",
    "BulkCancelRunResult",
    "BulkCancelRunsRequest",
    "BulkCancelRunsResponse",
    "CancelRunRequest",
    "CancelRunResponse",
    "CapBreachedKind",
    "Capabilities",
    "CapabilitiesLimits",
    "CreateAnnotationRequest",
    "CreateRunRequest",
    "CreateRunResponse",
    "DebugBundle",
    "DeploymentState",
    "ErrorEnvelope",
    "EvalRegression",
    "EvalSafetyFinding",
    "EvalSummary",
    "EvalTaskResult",
    "ForkRunRequest",
    "ForkRunResponse",
    "InterruptByTokenInspection",
    "ListPromptsRequest",
    "ListPromptsResponse",
    "OrgChartDepartment",
    "OrgChartMember",
    "OrgChartResponsibilityView",
    "PauseRunRequest",
    "PauseRunResponse",
    "PollEventsResponse",
    "PromptKind",
    "PromptTemplate",
    "PromptVariable",
    "PutWorkspaceFileRequest",
    "RegisterWebhookRequest",
    "RegisterWebhookResponse",
    "RenderPromptRequest",
    "RenderPromptResponse",
    "ResolveInterruptRequest",
    "ResolveInterruptResponse",
    "ResumeRunRequest",
    "ResumeRunResponse",
    "RunAncestryParent",
    "RunAncestryResponse",
    "RunConfigurable",
    "RunDiffEventDiff",
    "RunDiffResponse",
    "RunEventDoc",
    "RunSnapshot",
    "RunSnapshotError",
    "RunStatus",
    "StreamMode",
    "ToolDescriptor",
    "WorkspaceFile",
    "is_http_error_code",
    "is_run_error_code",
    "is_terminal_run_status",
]

ACTIVE_RUN_STATUSES: frozenset[str] = frozenset(
    "pending running paused waiting-approval waiting-input".split()
)
"""Statuses of a run that goes on."""

TERMINAL_RUN_STATUSES: frozenset[str] = frozenset("completed failed cancelled".split())
"""Known statuses of a run that is over; ask :func:`is_terminal_run_status`, since there may be others."""


def is_terminal_run_status(status: str) -> bool:
    """Whether a run with this status is over; an unknown status counts as such, as the protocol says."""
    given: Any = status
    return isinstance(given, str) and given not in ACTIVE_RUN_STATUSES


HTTP_ERROR_CODES = frozenset(
    """
    unauthenticated forbidden key_expired key_revoked validation_error not_found rate_limited run_already_active
    idempotency_in_flight idempotency_key_mismatch unsupported_stream_mode force_engine_version_forbidden
    mock_provider_forbidden capability_not_provided capability_required credential_required credential_forbidden
    credential_unavailable pack_integrity_mismatch pack_signature_invalid pack_peer_dependency_missing
    pack_lockfile_incomplete pack_version_not_found interrupt_not_found approval_token_invalid
    approval_token_expired approval_token_consumed provider_policy_denied mcp_server_not_configured mcp_timeout
    mcp_network_error mcp_server_error mcp_protocol_error mcp_tool_error http_url_rejected http_timeout
    http_network_error http_unexpected_status webhook_url_rejected subscription_not_found internal_error
    """.split()
)
"""Codes that ``openwop-client`` 1.1.7 knew; :data:`openwop.ERROR_CODES` are those that this library knows."""

RUN_ERROR_CODES: frozenset[str] = frozenset(
    """
    auth_required forbidden workspace_not_found run_already_active run_not_found run_terminal
    engine_version_mismatch invalid_workflow_definition invalid_trigger_input node_type_not_found
    config_validation_failed token_budget_exceeded concurrent_run_limit_reached rate_limited node_timeout
    global_timeout node_execution_failed external_call_failed recursion_limit_exceeded run_timeout
    loop_limit_exceeded capability_not_provided approval_timeout approval_token_invalid approval_token_expired
    approval_token_consumed persistence_failed doc_budget_exceeded
    """.split()
)
"""Codes of a failed run that ``openwop-client`` 1.1.7 knew."""


def is_http_error_code(value: object) -> bool:
    """Whether ``value`` is one of :data:`HTTP_ERROR_CODES`."""
    return isinstance(value, str) and value in HTTP_ERROR_CODES


def is_run_error_code(value: object) -> bool:
    """Whether ``value`` is one of :data:`RUN_ERROR_CODES`."""
    return isinstance(value, str) and value in RUN_ERROR_CODES
