"""Models of the protocol's documents.  Reading is tolerant, sending is strict; see :mod:`openwop.models.base`.

A name is imported from its module when it is first used: few programs need the models of every resource.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openwop.models.a2a import (
        A2aPushConfig,
        A2aTaskState,
    )
    from openwop.models.agents import (
        AgentDeployment,
        AgentInstance,
        AgentInventory,
        AgentInventoryEntry,
        AgentMemoryShape,
        AgentOwner,
        AgentReference,
        AgentRoster,
        AgentRosterEntry,
        DepartmentView,
        OrgChart,
        OrgDepartment,
        OrgMember,
        OrgRole,
        TransitionDeploymentRequest,
    )
    from openwop.models.audit import AuditAnomaly, AuditCheckpoint, AuditVerifyResult
    from openwop.models.base import ModelMismatch, RequestModel, TolerantModel, WireModel
    from openwop.models.content import (
        ContentPage,
        ContentSection,
        ContentSettings,
        CreateContentPageRequest,
        DeliveredContent,
        DeliveredPage,
        DeliveredSection,
        LanguageAlternate,
        PageSeo,
        PutContentSectionRequest,
        PutContentSettingsRequest,
    )
    from openwop.models.discovery import (
        Capabilities,
        CapabilityLimits,
    )
    from openwop.models.events import (
        ChunkMeta,
        ChunkToolCall,
        ChunkUsage,
        EventPage,
        EventType,
        MessageChunk,
        RunEvent,
    )
    from openwop.models.interrupts import (
        ApprovalData,
        ApprovalDecision,
        ClarificationData,
        ClarificationQuestion,
        ConversationCloseData,
        ConversationExchangeData,
        ConversationStartData,
        CustomInterruptData,
        ExternalEventData,
        Interrupt,
        InterruptData,
        InterruptResolution,
        LowConfidenceData,
        RefineFeedback,
        ResolveInterruptRequest,
        SuspendRequest,
    )
    from openwop.models.narrowing import (
        as_decision,
        as_handoff,
        as_memory_event,
        as_reasoned,
        as_reasoning_delta,
        as_tool_called,
        as_tool_returned,
        is_agent_event,
        is_decision,
        is_handoff,
        is_memory_event,
        is_reasoned,
        is_reasoning_delta,
        is_tool_called,
        is_tool_event,
        is_tool_returned,
    )
    from openwop.models.options import (
        AiOptions,
        BudgetPolicy,
        DistillationOptions,
        MockProvider,
        RunConfigurable,
    )
    from openwop.models.packs import PublishedPack
    from openwop.models.prompts import (
        PromptMeta,
        PromptMetaRequest,
        PromptModelHints,
        PromptModelHintsRequest,
        PromptPage,
        PromptRef,
        PromptTemplate,
        PromptTemplateRequest,
        PromptVariable,
        PromptVariableRequest,
        RenderedPrompt,
        RenderPromptRequest,
    )
    from openwop.models.run_records import (
        Annotation,
        AnnotationActor,
        AnnotationAnchor,
        AnnotationList,
        AnnotationSignal,
        AnnotationTarget,
        BundleEvent,
        BundleHost,
        BundleMetrics,
        BundleSpan,
        CreateAnnotationRequest,
        DebugBundle,
        EvalRegression,
        EvalSummary,
        EvalTaskResult,
        RecordedSignal,
        RunAncestry,
        RunParent,
        SafetyFinding,
    )
    from openwop.models.runs import (
        TERMINAL_STATUSES,
        BulkCancelRequest,
        BulkCancelResponse,
        BulkCancelResult,
        CancelRunRequest,
        CreateRunRequest,
        ErrorEnvelope,
        ForkRunRequest,
        PauseRunRequest,
        Residency,
        ResumeRunRequest,
        RunCancelled,
        RunCost,
        RunCreated,
        RunDiff,
        RunError,
        RunEventDiff,
        RunForked,
        RunMetrics,
        RunOptions,
        RunOwner,
        RunPaused,
        RunResumed,
        RunSnapshot,
        is_terminal_status,
    )
    from openwop.models.tools import (
        ToolAuth,
        ToolCatalog,
        ToolDescriptor,
    )
    from openwop.models.triggers import (
        CreateTriggerSubscriptionRequest,
        TriggerBinding,
        TriggerRetryPolicy,
        TriggerSubscription,
        TriggerSubscriptionCreated,
        TriggerVerification,
    )
    from openwop.models.webhooks import RegisterWebhookRequest, WebhookRegistration
    from openwop.models.workflows import (
        ChannelDeclaration,
        ConnectionPortValue,
        EdgeCondition,
        ExpressionPortValue,
        NodeGroup,
        PortValue,
        StaticPortValue,
        VariablePortValue,
        WorkflowDefinition,
        WorkflowEdge,
        WorkflowMetadata,
        WorkflowNode,
        WorkflowSettings,
        WorkflowTrigger,
        WorkflowVariable,
    )
    from openwop.models.workspace import (
        PutWorkspaceFileRequest,
        WorkspaceFile,
        WorkspaceFileInfo,
        WorkspaceFileList,
    )

# Which names live in which module of this package.
_NAMES: dict[str, str] = {
    "a2a": """
        A2aPushConfig A2aTaskState
    """,
    "agents": """
        AgentDeployment AgentInstance AgentInventory AgentInventoryEntry AgentMemoryShape AgentOwner
        AgentReference AgentRoster AgentRosterEntry DepartmentView OrgChart OrgDepartment OrgMember
        OrgRole TransitionDeploymentRequest
    """,
    "audit": """
        AuditAnomaly AuditCheckpoint AuditVerifyResult
    """,
    "base": """
        ModelMismatch RequestModel TolerantModel WireModel
    """,
    "content": """
        ContentPage ContentSection ContentSettings CreateContentPageRequest DeliveredContent
        DeliveredPage DeliveredSection LanguageAlternate PageSeo PutContentSectionRequest
        PutContentSettingsRequest
    """,
    "discovery": """
        Capabilities CapabilityLimits
    """,
    "events": """
        ChunkMeta ChunkToolCall ChunkUsage EventPage EventType MessageChunk RunEvent
    """,
    "interrupts": """
        ApprovalData ApprovalDecision ClarificationData ClarificationQuestion ConversationCloseData
        ConversationExchangeData ConversationStartData CustomInterruptData ExternalEventData
        Interrupt InterruptData InterruptResolution LowConfidenceData RefineFeedback
        ResolveInterruptRequest SuspendRequest
    """,
    "narrowing": """
        as_decision as_handoff as_memory_event as_reasoned as_reasoning_delta as_tool_called
        as_tool_returned is_agent_event is_decision is_handoff is_memory_event is_reasoned
        is_reasoning_delta is_tool_called is_tool_event is_tool_returned
    """,
    "options": """
        AiOptions BudgetPolicy DistillationOptions MockProvider RunConfigurable
    """,
    "packs": """
        PublishedPack
    """,
    "prompts": """
        PromptMeta PromptMetaRequest PromptModelHints PromptModelHintsRequest PromptPage PromptRef
        PromptTemplate PromptTemplateRequest PromptVariable PromptVariableRequest
        RenderPromptRequest RenderedPrompt
    """,
    "run_records": """
        Annotation AnnotationActor AnnotationAnchor AnnotationList AnnotationSignal
        AnnotationTarget BundleEvent BundleHost BundleMetrics BundleSpan CreateAnnotationRequest
        DebugBundle EvalRegression EvalSummary EvalTaskResult RecordedSignal RunAncestry
        RunParent SafetyFinding
    """,
    "runs": """
        TERMINAL_STATUSES BulkCancelRequest BulkCancelResponse BulkCancelResult CancelRunRequest
        CreateRunRequest ErrorEnvelope ForkRunRequest PauseRunRequest Residency ResumeRunRequest
        RunCancelled RunCost RunCreated RunDiff RunError RunEventDiff RunForked RunMetrics
        RunOptions RunOwner RunPaused RunResumed RunSnapshot is_terminal_status
    """,
    "tools": """
        ToolAuth ToolCatalog ToolDescriptor
    """,
    "triggers": """
        CreateTriggerSubscriptionRequest TriggerBinding TriggerRetryPolicy TriggerSubscription
        TriggerSubscriptionCreated TriggerVerification
    """,
    "webhooks": """
        RegisterWebhookRequest WebhookRegistration
    """,
    "workflows": """
        ChannelDeclaration ConnectionPortValue EdgeCondition ExpressionPortValue NodeGroup PortValue
        StaticPortValue VariablePortValue WorkflowDefinition WorkflowEdge WorkflowMetadata
        WorkflowNode WorkflowSettings WorkflowTrigger WorkflowVariable
    """,
    "workspace": """
        PutWorkspaceFileRequest WorkspaceFile WorkspaceFileInfo WorkspaceFileList
    """,
}
_HOMES: dict[str, str] = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "TERMINAL_STATUSES",
    "A2aPushConfig",
    "A2aTaskState",
    "AgentDeployment",
    "AgentInstance",
    "AgentInventory",
    "AgentInventoryEntry",
    "AgentMemoryShape",
    "AgentOwner",
    "AgentReference",
    "AgentRoster",
    "AgentRosterEntry",
    "AiOptions",
    "Annotation",
    "AnnotationActor",
    "AnnotationAnchor",
    "AnnotationList",
    "AnnotationSignal",
    "AnnotationTarget",
    "ApprovalData",
    "ApprovalDecision",
    "AuditAnomaly",
    "AuditCheckpoint",
    "AuditVerifyResult",
    "BudgetPolicy",
    "BulkCancelRequest",
    "BulkCancelResponse",
    "BulkCancelResult",
    "BundleEvent",
    "BundleHost",
    "BundleMetrics",
    "BundleSpan",
    "CancelRunRequest",
    "Capabilities",
    "CapabilityLimits",
    "ChannelDeclaration",
    "ChunkMeta",
    "ChunkToolCall",
    "ChunkUsage",
    "ClarificationData",
    "ClarificationQuestion",
    "ConnectionPortValue",
    "ContentPage",
    "ContentSection",
    "ContentSettings",
    "ConversationCloseData",
    "ConversationExchangeData",
    "ConversationStartData",
    "CreateAnnotationRequest",
    "CreateContentPageRequest",
    "CreateRunRequest",
    "CreateTriggerSubscriptionRequest",
    "CustomInterruptData",
    "DebugBundle",
    "DeliveredContent",
    "DeliveredPage",
    "DeliveredSection",
    "DepartmentView",
    "DistillationOptions",
    "EdgeCondition",
    "ErrorEnvelope",
    "EvalRegression",
    "EvalSummary",
    "EvalTaskResult",
    "EventPage",
    "EventType",
    "ExpressionPortValue",
    "ExternalEventData",
    "ForkRunRequest",
    "Interrupt",
    "InterruptData",
    "InterruptResolution",
    "LanguageAlternate",
    "LowConfidenceData",
    "MessageChunk",
    "MockProvider",
    "ModelMismatch",
    "NodeGroup",
    "OrgChart",
    "OrgDepartment",
    "OrgMember",
    "OrgRole",
    "PageSeo",
    "PauseRunRequest",
    "PortValue",
    "PromptMeta",
    "PromptMetaRequest",
    "PromptModelHints",
    "PromptModelHintsRequest",
    "PromptPage",
    "PromptRef",
    "PromptTemplate",
    "PromptTemplateRequest",
    "PromptVariable",
    "PromptVariableRequest",
    "PublishedPack",
    "PutContentSectionRequest",
    "PutContentSettingsRequest",
    "PutWorkspaceFileRequest",
    "RecordedSignal",
    "RefineFeedback",
    "RegisterWebhookRequest",
    "RenderPromptRequest",
    "RenderedPrompt",
    "RequestModel",
    "Residency",
    "ResolveInterruptRequest",
    "ResumeRunRequest",
    "RunAncestry",
    "RunCancelled",
    "RunConfigurable",
    "RunCost",
    "RunCreated",
    "RunDiff",
    "RunError",
    "RunEvent",
    "RunEventDiff",
    "RunForked",
    "RunMetrics",
    "RunOptions",
    "RunOwner",
    "RunParent",
    "RunPaused",
    "RunResumed",
    "RunSnapshot",
    "SafetyFinding",
    "StaticPortValue",
    "SuspendRequest",
    "TolerantModel",
    "ToolAuth",
    "ToolCatalog",
    "ToolDescriptor",
    "TransitionDeploymentRequest",
    "TriggerBinding",
    "TriggerRetryPolicy",
    "TriggerSubscription",
    "TriggerSubscriptionCreated",
    "TriggerVerification",
    "VariablePortValue",
    "WebhookRegistration",
    "WireModel",
    "WorkflowDefinition",
    "WorkflowEdge",
    "WorkflowMetadata",
    "WorkflowNode",
    "WorkflowSettings",
    "WorkflowTrigger",
    "WorkflowVariable",
    "WorkspaceFile",
    "WorkspaceFileInfo",
    "WorkspaceFileList",
    "as_decision",
    "as_handoff",
    "as_memory_event",
    "as_reasoned",
    "as_reasoning_delta",
    "as_tool_called",
    "as_tool_returned",
    "is_agent_event",
    "is_decision",
    "is_handoff",
    "is_memory_event",
    "is_reasoned",
    "is_reasoning_delta",
    "is_terminal_status",
    "is_tool_called",
    "is_tool_event",
    "is_tool_returned",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'openwop.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"openwop.models.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
