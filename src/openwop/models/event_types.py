"""Names of event types: what is known, and how the protocol's majors spell them.

The set is open: hosts add types, vendors have their own, and a client passes on what it does not know.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["RENAMED_TYPES", "EventType", "canonical_event_type"]

RENAMED_TYPES: dict[str, str] = {
    "run.resuming": "run.resume-started",
    "run.dead_lettered": "run.dead-lettered",
    "replay.divergedAtRefusal": "replay.diverged-at-refusal",
    "runOrchestrator.decided": "orchestrator.decided",
    "agent.reasoning.delta": "agent.reasoning-delta",
    "agent.promptResolved": "agent.prompt-resolved",
    "agent.toolCalled": "agent.tool-called",
    "agent.toolReturned": "agent.tool-returned",
    "agent.invocation.started": "agent.invocation-started",
    "agent.invocation.completed": "agent.invocation-completed",
    "agent.memory.consolidated": "agent.memory-consolidated",
    "roster.run.initiated": "roster.run-initiated",
    "model.capability.substituted": "model.capability-substituted",
    "model.capability.insufficient": "model.capability-insufficient",
    "envelope.retry.attempted": "envelope.retry-attempted",
    "envelope.retry.exhausted": "envelope.retry-exhausted",
    "envelope.nlToFormat.engaged": "envelope.nl-to-format-engaged",
    "envelope.recovery.applied": "envelope.recovery-applied",
    "deployment.canary.adjusted": "deployment.canary-adjusted",
    "deployment.state.changed": "deployment.state-changed",
    "tool.session.opened": "tool.session-opened",
    "tool.session.closed": "tool.session-closed",
    "trigger.subscription.state.changed": "trigger.subscription-state-changed",
    "trigger.delivery.attempted": "trigger.delivery-attempted",
    "budget.threshold.crossed": "budget.threshold-crossed",
    "connector.auth_expired": "connector.auth-expired",
    "core.dispatch.fanOut": "dispatch.fanned-out",
    "core.dispatch.join": "dispatch.joined",
    "core.workflowChain.event": "workflow-chain.event",
    "core.workflowChain.confidence-escalated": "workflow-chain.confidence-escalated",
    "voice.speech_start": "voice.speech-start",
    "voice.endpoint_candidate": "voice.endpoint-candidate",
    "voice.turn_commit": "voice.turn-commit",
    "voice.synthesis_chunk": "voice.synthesis-chunk",
    "voice.barge_in": "voice.barge-in",
    "compensation.manual_intervention_required": "compensation.manual-intervention-required",
    # Spellings that one protocol table uses and the schema does not (stream-modes.md, admission table).
    "deployment.rolledBack": "deployment.rolled-back",
    "deployment.canaryAdjusted": "deployment.canary-adjusted",
    "deployment.stateChanged": "deployment.state-changed",
}
"""Spelling of protocol major 1 to the spelling of the newest major."""


def canonical_event_type(name: str) -> str:
    """``name`` in the spelling of the newest protocol major; unknown names as they are."""
    return RENAMED_TYPES.get(name, name)


class EventType(StrEnum):
    """Event types this client knows, in the spelling of the newest major.  Compare with ``event.matches(...)``."""

    RUN_STARTED = "run.started"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUN_RESUME_STARTED = "run.resume-started"
    RUN_PAUSED = "run.paused"
    RUN_RESUMED = "run.resumed"
    RUN_RESTORED_FROM_SNAPSHOT = "run.restored-from-snapshot"
    RUN_DEAD_LETTERED = "run.dead-lettered"
    NODE_STARTED = "node.started"
    NODE_COMPLETED = "node.completed"
    NODE_FAILED = "node.failed"
    NODE_SUSPENDED = "node.suspended"
    NODE_SUSPEND_FAILED = "node.suspend-failed"
    NODE_RESUMED = "node.resumed"
    NODE_RETRIED = "node.retried"
    NODE_SKIPPED = "node.skipped"
    NODE_CANCELLED = "node.cancelled"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_RECEIVED = "approval.received"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_REJECTED = "approval.rejected"
    APPROVAL_OVERRIDDEN = "approval.overridden"
    CLARIFICATION_REQUESTED = "clarification.requested"
    CLARIFICATION_RESOLVED = "clarification.resolved"
    INTERRUPT_REQUESTED = "interrupt.requested"
    INTERRUPT_RESOLVED = "interrupt.resolved"
    CHANNEL_WRITTEN = "channel.written"
    ARTIFACT_CREATED = "artifact.created"
    OUTPUT_CHUNK = "output.chunk"
    VARIABLE_CHANGED = "variable.changed"
    LOG_APPENDED = "log.appended"
    VERSION_PINNED = "version.pinned"
    WORKFLOW_RESTORED = "workflow.restored"
    WORKFLOW_LOOPBACK_LIMIT = "workflow.loopback-limit"
    WORKFLOW_STALLED = "workflow.stalled"
    CAP_BREACHED = "cap.breached"
    LEASE_ACQUIRED = "lease.acquired"
    LEASE_RENEWED = "lease.renewed"
    LEASE_LOST = "lease.lost"
    LEASE_HANDED_OFF = "lease.handed-off"
    REPLAY_DIVERGED = "replay.diverged"
    REPLAY_DIVERGED_AT_REFUSAL = "replay.diverged-at-refusal"
    AGENT_REASONED = "agent.reasoned"
    AGENT_REASONING_DELTA = "agent.reasoning-delta"
    PROVIDER_USAGE = "provider.usage"
    PROMPT_COMPOSED = "prompt.composed"
    AGENT_PROMPT_RESOLVED = "agent.prompt-resolved"
    MODEL_CAPABILITY_SUBSTITUTED = "model.capability-substituted"
    MODEL_CAPABILITY_INSUFFICIENT = "model.capability-insufficient"
    ENVELOPE_RETRY_ATTEMPTED = "envelope.retry-attempted"
    ENVELOPE_RETRY_EXHAUSTED = "envelope.retry-exhausted"
    ENVELOPE_REFUSAL = "envelope.refusal"
    ENVELOPE_TRUNCATED = "envelope.truncated"
    ENVELOPE_NL_TO_FORMAT_ENGAGED = "envelope.nl-to-format-engaged"
    ENVELOPE_RECOVERY_APPLIED = "envelope.recovery-applied"
    AGENT_TOOL_CALLED = "agent.tool-called"
    AGENT_TOOL_RETURNED = "agent.tool-returned"
    AGENT_HANDOFF = "agent.handoff"
    AGENT_DECIDED = "agent.decided"
    AGENT_VERIFIED = "agent.verified"
    AGENT_INVOCATION_STARTED = "agent.invocation-started"
    AGENT_INVOCATION_COMPLETED = "agent.invocation-completed"
    EVAL_STARTED = "eval.started"
    EVAL_SCORED = "eval.scored"
    EVAL_COMPLETED = "eval.completed"
    DEPLOYMENT_PROMOTED = "deployment.promoted"
    DEPLOYMENT_ROLLED_BACK = "deployment.rolled-back"
    DEPLOYMENT_CANARY_ADJUSTED = "deployment.canary-adjusted"
    DEPLOYMENT_STATE_CHANGED = "deployment.state-changed"
    ROSTER_RUN_INITIATED = "roster.run-initiated"
    TOOL_SESSION_OPENED = "tool.session-opened"
    TOOL_SESSION_CLOSED = "tool.session-closed"
    EGRESS_DECIDED = "egress.decided"
    TRIGGER_SUBSCRIPTION_STATE_CHANGED = "trigger.subscription-state-changed"
    TRIGGER_DELIVERY_ATTEMPTED = "trigger.delivery-attempted"
    BUDGET_RESERVED = "budget.reserved"
    BUDGET_CONSUMED = "budget.consumed"
    BUDGET_THRESHOLD_CROSSED = "budget.threshold-crossed"
    BUDGET_EXHAUSTED = "budget.exhausted"
    ORCHESTRATOR_DECIDED = "orchestrator.decided"
    NODE_DISPATCHED = "node.dispatched"
    CONVERSATION_OPENED = "conversation.opened"
    CONVERSATION_EXCHANGED = "conversation.exchanged"
    CONVERSATION_CLOSED = "conversation.closed"
    MEMORY_COMPACTED = "memory.compacted"
    MEMORY_WRITTEN = "memory.written"
    AGENT_MEMORY_CONSOLIDATED = "agent.memory-consolidated"
    COMMITMENT_FIRED = "commitment.fired"
    WORKSPACE_UPDATED = "workspace.updated"
    WORKFLOW_CHAIN_EVENT = "workflow-chain.event"
    WORKFLOW_CHAIN_CONFIDENCE_ESCALATED = "workflow-chain.confidence-escalated"
    CONNECTOR_AUTHORIZED = "connector.authorized"
    CONNECTOR_AUTH_EXPIRED = "connector.auth-expired"
    AUTHORIZATION_DECIDED = "authorization.decided"
    PROPOSAL_CREATED = "proposal.created"
    PROPOSAL_ACTIVATED = "proposal.activated"
    GOAL_EVALUATED = "goal.evaluated"
    GOAL_CLOSED = "goal.closed"
    IMPORT_APPLIED = "import.applied"
    VOICE_SPEECH_START = "voice.speech-start"
    VOICE_TRANSCRIPT = "voice.transcript"
    VOICE_ENDPOINT_CANDIDATE = "voice.endpoint-candidate"
    VOICE_TURN_COMMIT = "voice.turn-commit"
    VOICE_SYNTHESIS_CHUNK = "voice.synthesis-chunk"
    VOICE_BARGE_IN = "voice.barge-in"
    VOICE_CANCELLED = "voice.cancelled"
    RUN_ANNOTATED = "run.annotated"
    RUN_REPLAY_STARTED = "run.replay.started"
    DISPATCH_FANNED_OUT = "dispatch.fanned-out"
    DISPATCH_JOINED = "dispatch.joined"
    COMPENSATION_REQUESTED = "compensation.requested"
    COMPENSATION_STARTED = "compensation.started"
    COMPENSATION_COMPLETED = "compensation.completed"
    COMPENSATION_FAILED = "compensation.failed"
    COMPENSATION_PAUSED = "compensation.paused"
    COMPENSATION_MANUAL_INTERVENTION_REQUIRED = "compensation.manual-intervention-required"
