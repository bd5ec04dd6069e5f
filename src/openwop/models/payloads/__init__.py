"""What events carry, as classes.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from openwop.models.event_types import canonical_event_type

if TYPE_CHECKING:
    from openwop.models.base import TolerantModel
    from openwop.models.payloads.access import (
        AuthorizationDecided,
        ConnectorAuthExpired,
        ConnectorAuthorized,
        EgressDecided,
        ToolSessionClosed,
        ToolSessionOpened,
    )
    from openwop.models.payloads.agents import (
        AgentDecided,
        AgentHandoff,
        AgentInvocationCompleted,
        AgentInvocationStarted,
        AgentMemoryConsolidated,
        AgentPromptResolved,
        AgentReasoned,
        AgentReasoningDelta,
        AgentToolCalled,
        AgentToolReturned,
        AgentVerified,
        CommitmentFired,
        GoalClosed,
        GoalEvaluated,
        MemoryCompacted,
        MemoryDistillation,
        MemoryWritten,
        OrchestratorDecided,
        OrchestratorDecision,
        OutputAttestation,
        PromptResolutionStep,
        ProposalActivated,
        ProposalCreated,
        RosterRunInitiated,
        SuccessCriterion,
        WorkflowChainConfidenceEscalated,
        WorkflowChainEvent,
    )
    from openwop.models.payloads.interrupts import (
        ApprovalGranted,
        ApprovalOverridden,
        ApprovalReceived,
        ApprovalRejected,
        ApprovalRequested,
        ClarificationRequested,
        ClarificationResolved,
        ConversationClosed,
        ConversationExchanged,
        ConversationOpened,
        ConversationParticipant,
        ConversationTurn,
        InterruptRequested,
        InterruptResolved,
        QuorumProgress,
        Refinement,
        TurnAgent,
    )
    from openwop.models.payloads.model_calls import (
        EnvelopeNlToFormatEngaged,
        EnvelopeRecoveryApplied,
        EnvelopeRefusal,
        EnvelopeRetryAttempted,
        EnvelopeRetryExhausted,
        EnvelopeTruncated,
        ModelCapabilityInsufficient,
        ModelCapabilitySubstituted,
        PromptComposed,
        ProviderUsage,
    )
    from openwop.models.payloads.nodes import (
        ArtifactCreated,
        ChannelWritten,
        LogAppended,
        NodeCancelled,
        NodeCompleted,
        NodeDispatched,
        NodeFailed,
        NodeResumed,
        NodeRetried,
        NodeSkipped,
        NodeStarted,
        NodeSuspended,
        NodeSuspendFailed,
        OutputChunk,
        VariableChanged,
    )
    from openwop.models.payloads.operations import (
        BudgetConsumed,
        BudgetExhausted,
        BudgetReserved,
        BudgetThresholdCrossed,
        DeploymentCanaryAdjusted,
        DeploymentPromoted,
        DeploymentRolledBack,
        DeploymentStateChanged,
        EffectiveBudget,
        EvalCompleted,
        EvalScored,
        EvalStarted,
        TriggerDeliveryAttempted,
        TriggerSubscriptionStateChanged,
        WorkspaceUpdated,
    )
    from openwop.models.payloads.runs import (
        CapBreached,
        ImportApplied,
        ImportCounts,
        LeaseAcquired,
        LeaseHandedOff,
        LeaseLifecycle,
        LeaseLost,
        LeaseRenewed,
        ReplayDiverged,
        ReplayDivergedAtRefusal,
        RunCancelled,
        RunCompleted,
        RunDeadLettered,
        RunFailed,
        RunPaused,
        RunRestoredFromSnapshot,
        RunResumed,
        RunResumeStarted,
        RunStarted,
        VersionPinned,
        WorkflowLoopbackLimit,
        WorkflowRestored,
        WorkflowStalled,
    )
    from openwop.models.payloads.shapes import EventError
    from openwop.models.payloads.voice import (
        VoiceBargeIn,
        VoiceCancelled,
        VoiceEndpointCandidate,
        VoiceSpeechStart,
        VoiceSynthesisChunk,
        VoiceTranscript,
        VoiceTurnCommit,
    )

# Which names live in which module of this package.
_NAMES: dict[str, str] = {
    "access": """
        AuthorizationDecided ConnectorAuthExpired ConnectorAuthorized EgressDecided ToolSessionClosed
        ToolSessionOpened
    """,
    "agents": """
        AgentDecided AgentHandoff AgentInvocationCompleted AgentInvocationStarted AgentMemoryConsolidated
        AgentPromptResolved AgentReasoned AgentReasoningDelta AgentToolCalled AgentToolReturned AgentVerified
        CommitmentFired GoalClosed GoalEvaluated MemoryCompacted MemoryDistillation MemoryWritten
        OrchestratorDecided OrchestratorDecision OutputAttestation PromptResolutionStep ProposalActivated
        ProposalCreated RosterRunInitiated SuccessCriterion WorkflowChainConfidenceEscalated
        WorkflowChainEvent
    """,
    "interrupts": """
        ApprovalGranted ApprovalOverridden ApprovalReceived ApprovalRejected ApprovalRequested
        ClarificationRequested ClarificationResolved ConversationClosed ConversationExchanged
        ConversationOpened ConversationParticipant ConversationTurn InterruptRequested InterruptResolved
        QuorumProgress Refinement TurnAgent
    """,
    "model_calls": """
        EnvelopeNlToFormatEngaged EnvelopeRecoveryApplied EnvelopeRefusal EnvelopeRetryAttempted
        EnvelopeRetryExhausted EnvelopeTruncated ModelCapabilityInsufficient ModelCapabilitySubstituted
        PromptComposed ProviderUsage
    """,
    "nodes": """
        ArtifactCreated ChannelWritten LogAppended NodeCancelled NodeCompleted NodeDispatched NodeFailed
        NodeResumed NodeRetried NodeSkipped NodeStarted NodeSuspendFailed NodeSuspended OutputChunk
        VariableChanged
    """,
    "operations": """
        BudgetConsumed BudgetExhausted BudgetReserved BudgetThresholdCrossed DeploymentCanaryAdjusted
        DeploymentPromoted DeploymentRolledBack DeploymentStateChanged EffectiveBudget EvalCompleted
        EvalScored EvalStarted TriggerDeliveryAttempted TriggerSubscriptionStateChanged WorkspaceUpdated
    """,
    "runs": """
        CapBreached ImportApplied ImportCounts LeaseAcquired LeaseHandedOff LeaseLifecycle LeaseLost
        LeaseRenewed ReplayDiverged ReplayDivergedAtRefusal RunCancelled RunCompleted RunDeadLettered
        RunFailed RunPaused RunRestoredFromSnapshot RunResumeStarted RunResumed RunStarted VersionPinned
        WorkflowLoopbackLimit WorkflowRestored WorkflowStalled
    """,
    "shapes": """
        EventError
    """,
    "voice": """
        VoiceBargeIn VoiceCancelled VoiceEndpointCandidate VoiceSpeechStart VoiceSynthesisChunk
        VoiceTranscript VoiceTurnCommit
    """,
}
_HOMES: dict[str, str] = {name: module for module, names in _NAMES.items() for name in names.split()}

PAYLOAD_NAMES: dict[str, str] = {
    "agent.decided": "AgentDecided",
    "agent.handoff": "AgentHandoff",
    "agent.invocation-completed": "AgentInvocationCompleted",
    "agent.invocation-started": "AgentInvocationStarted",
    "agent.memory-consolidated": "AgentMemoryConsolidated",
    "agent.prompt-resolved": "AgentPromptResolved",
    "agent.reasoned": "AgentReasoned",
    "agent.reasoning-delta": "AgentReasoningDelta",
    "agent.tool-called": "AgentToolCalled",
    "agent.tool-returned": "AgentToolReturned",
    "agent.verified": "AgentVerified",
    "approval.granted": "ApprovalGranted",
    "approval.overridden": "ApprovalOverridden",
    "approval.received": "ApprovalReceived",
    "approval.rejected": "ApprovalRejected",
    "approval.requested": "ApprovalRequested",
    "artifact.created": "ArtifactCreated",
    "authorization.decided": "AuthorizationDecided",
    "budget.consumed": "BudgetConsumed",
    "budget.exhausted": "BudgetExhausted",
    "budget.reserved": "BudgetReserved",
    "budget.threshold-crossed": "BudgetThresholdCrossed",
    "cap.breached": "CapBreached",
    "channel.written": "ChannelWritten",
    "clarification.requested": "ClarificationRequested",
    "clarification.resolved": "ClarificationResolved",
    "commitment.fired": "CommitmentFired",
    "connector.auth-expired": "ConnectorAuthExpired",
    "connector.authorized": "ConnectorAuthorized",
    "conversation.closed": "ConversationClosed",
    "conversation.exchanged": "ConversationExchanged",
    "conversation.opened": "ConversationOpened",
    "deployment.canary-adjusted": "DeploymentCanaryAdjusted",
    "deployment.promoted": "DeploymentPromoted",
    "deployment.rolled-back": "DeploymentRolledBack",
    "deployment.state-changed": "DeploymentStateChanged",
    "egress.decided": "EgressDecided",
    "envelope.nl-to-format-engaged": "EnvelopeNlToFormatEngaged",
    "envelope.recovery-applied": "EnvelopeRecoveryApplied",
    "envelope.refusal": "EnvelopeRefusal",
    "envelope.retry-attempted": "EnvelopeRetryAttempted",
    "envelope.retry-exhausted": "EnvelopeRetryExhausted",
    "envelope.truncated": "EnvelopeTruncated",
    "eval.completed": "EvalCompleted",
    "eval.scored": "EvalScored",
    "eval.started": "EvalStarted",
    "goal.closed": "GoalClosed",
    "goal.evaluated": "GoalEvaluated",
    "import.applied": "ImportApplied",
    "interrupt.requested": "InterruptRequested",
    "interrupt.resolved": "InterruptResolved",
    "lease.acquired": "LeaseAcquired",
    "lease.handed-off": "LeaseHandedOff",
    "lease.lost": "LeaseLost",
    "lease.renewed": "LeaseRenewed",
    "log.appended": "LogAppended",
    "memory.compacted": "MemoryCompacted",
    "memory.written": "MemoryWritten",
    "model.capability-insufficient": "ModelCapabilityInsufficient",
    "model.capability-substituted": "ModelCapabilitySubstituted",
    "node.cancelled": "NodeCancelled",
    "node.completed": "NodeCompleted",
    "node.dispatched": "NodeDispatched",
    "node.failed": "NodeFailed",
    "node.resumed": "NodeResumed",
    "node.retried": "NodeRetried",
    "node.skipped": "NodeSkipped",
    "node.started": "NodeStarted",
    "node.suspend-failed": "NodeSuspendFailed",
    "node.suspended": "NodeSuspended",
    "orchestrator.decided": "OrchestratorDecided",
    "output.chunk": "OutputChunk",
    "prompt.composed": "PromptComposed",
    "proposal.activated": "ProposalActivated",
    "proposal.created": "ProposalCreated",
    "provider.usage": "ProviderUsage",
    "replay.diverged": "ReplayDiverged",
    "replay.diverged-at-refusal": "ReplayDivergedAtRefusal",
    "roster.run-initiated": "RosterRunInitiated",
    "run.cancelled": "RunCancelled",
    "run.completed": "RunCompleted",
    "run.dead-lettered": "RunDeadLettered",
    "run.failed": "RunFailed",
    "run.paused": "RunPaused",
    "run.restored-from-snapshot": "RunRestoredFromSnapshot",
    "run.resume-started": "RunResumeStarted",
    "run.resumed": "RunResumed",
    "run.started": "RunStarted",
    "tool.session-closed": "ToolSessionClosed",
    "tool.session-opened": "ToolSessionOpened",
    "trigger.delivery-attempted": "TriggerDeliveryAttempted",
    "trigger.subscription-state-changed": "TriggerSubscriptionStateChanged",
    "variable.changed": "VariableChanged",
    "version.pinned": "VersionPinned",
    "voice.barge-in": "VoiceBargeIn",
    "voice.cancelled": "VoiceCancelled",
    "voice.endpoint-candidate": "VoiceEndpointCandidate",
    "voice.speech-start": "VoiceSpeechStart",
    "voice.synthesis-chunk": "VoiceSynthesisChunk",
    "voice.transcript": "VoiceTranscript",
    "voice.turn-commit": "VoiceTurnCommit",
    "workflow-chain.confidence-escalated": "WorkflowChainConfidenceEscalated",
    "workflow-chain.event": "WorkflowChainEvent",
    "workflow.loopback-limit": "WorkflowLoopbackLimit",
    "workflow.restored": "WorkflowRestored",
    "workflow.stalled": "WorkflowStalled",
    "workspace.updated": "WorkspaceUpdated",
}
"""The class of each type of event, by the type in the spelling of the newest protocol major."""

__all__ = [
    "PAYLOAD_NAMES",
    "AgentDecided",
    "AgentHandoff",
    "AgentInvocationCompleted",
    "AgentInvocationStarted",
    "AgentMemoryConsolidated",
    "AgentPromptResolved",
    "AgentReasoned",
    "AgentReasoningDelta",
    "AgentToolCalled",
    "AgentToolReturned",
    "AgentVerified",
    "ApprovalGranted",
    "ApprovalOverridden",
    "ApprovalReceived",
    "ApprovalRejected",
    "ApprovalRequested",
    "ArtifactCreated",
    "AuthorizationDecided",
    "BudgetConsumed",
    "BudgetExhausted",
    "BudgetReserved",
    "BudgetThresholdCrossed",
    "CapBreached",
    "ChannelWritten",
    "ClarificationRequested",
    "ClarificationResolved",
    "CommitmentFired",
    "ConnectorAuthExpired",
    "ConnectorAuthorized",
    "ConversationClosed",
    "ConversationExchanged",
    "ConversationOpened",
    "ConversationParticipant",
    "ConversationTurn",
    "DeploymentCanaryAdjusted",
    "DeploymentPromoted",
    "DeploymentRolledBack",
    "DeploymentStateChanged",
    "EffectiveBudget",
    "EgressDecided",
    "EnvelopeNlToFormatEngaged",
    "EnvelopeRecoveryApplied",
    "EnvelopeRefusal",
    "EnvelopeRetryAttempted",
    "EnvelopeRetryExhausted",
    "EnvelopeTruncated",
    "EvalCompleted",
    "EvalScored",
    "EvalStarted",
    "EventError",
    "GoalClosed",
    "GoalEvaluated",
    "ImportApplied",
    "ImportCounts",
    "InterruptRequested",
    "InterruptResolved",
    "LeaseAcquired",
    "LeaseHandedOff",
    "LeaseLifecycle",
    "LeaseLost",
    "LeaseRenewed",
    "LogAppended",
    "MemoryCompacted",
    "MemoryDistillation",
    "MemoryWritten",
    "ModelCapabilityInsufficient",
    "ModelCapabilitySubstituted",
    "NodeCancelled",
    "NodeCompleted",
    "NodeDispatched",
    "NodeFailed",
    "NodeResumed",
    "NodeRetried",
    "NodeSkipped",
    "NodeStarted",
    "NodeSuspendFailed",
    "NodeSuspended",
    "OrchestratorDecided",
    "OrchestratorDecision",
    "OutputAttestation",
    "OutputChunk",
    "PromptComposed",
    "PromptResolutionStep",
    "ProposalActivated",
    "ProposalCreated",
    "ProviderUsage",
    "QuorumProgress",
    "Refinement",
    "ReplayDiverged",
    "ReplayDivergedAtRefusal",
    "RosterRunInitiated",
    "RunCancelled",
    "RunCompleted",
    "RunDeadLettered",
    "RunFailed",
    "RunPaused",
    "RunRestoredFromSnapshot",
    "RunResumeStarted",
    "RunResumed",
    "RunStarted",
    "SuccessCriterion",
    "ToolSessionClosed",
    "ToolSessionOpened",
    "TriggerDeliveryAttempted",
    "TriggerSubscriptionStateChanged",
    "TurnAgent",
    "VariableChanged",
    "VersionPinned",
    "VoiceBargeIn",
    "VoiceCancelled",
    "VoiceEndpointCandidate",
    "VoiceSpeechStart",
    "VoiceSynthesisChunk",
    "VoiceTranscript",
    "VoiceTurnCommit",
    "WorkflowChainConfidenceEscalated",
    "WorkflowChainEvent",
    "WorkflowLoopbackLimit",
    "WorkflowRestored",
    "WorkflowStalled",
    "WorkspaceUpdated",
    "payload_model",
]


def payload_model(event_type: str) -> type[TolerantModel] | None:
    """The class of the payloads of ``event_type``, in any spelling; ``None`` for a type without one."""
    name = PAYLOAD_NAMES.get(canonical_event_type(event_type))
    return None if name is None else __getattr__(name)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'openwop.models.payloads' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"openwop.models.payloads.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
