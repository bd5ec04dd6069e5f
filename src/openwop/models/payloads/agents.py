"""Payloads of events about agents, what they decide and what they remember.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from typing import Any

from openwop.models.base import TolerantModel
from openwop.models.payloads.shapes import EventError

__all__ = [
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
    "CommitmentFired",
    "GoalClosed",
    "GoalEvaluated",
    "MemoryCompacted",
    "MemoryDistillation",
    "MemoryWritten",
    "OrchestratorDecided",
    "OrchestratorDecision",
    "OutputAttestation",
    "PromptResolutionStep",
    "ProposalActivated",
    "ProposalCreated",
    "RosterRunInitiated",
    "SuccessCriterion",
    "WorkflowChainConfidenceEscalated",
    "WorkflowChainEvent",
]


class SuccessCriterion(TolerantModel):
    """Whether one aim was reached."""

    key: str
    met: bool


class OrchestratorDecision(TolerantModel):
    """What a leading agent decided, by ``kind``.

    A later version may know more kinds.
    """

    kind: str
    """Known values: ``next-worker ask-user terminate``."""
    next_worker_ids: list[str] | None = None
    """With ``next-worker``: workflows to give work to."""
    prompt: str | None = None
    """With ``ask-user``: what to ask."""
    reason: str | None = None
    """With ``terminate``, as are the ``successCriteria``."""
    confidence: float | None = None
    success_criteria: list[SuccessCriterion] | None = None


class OutputAttestation(TolerantModel):
    """A checksum of a child run's output."""

    checksum: str
    algorithm: str
    """Known values: ``sha256``."""


class MemoryDistillation(TolerantModel):
    """The budget of a merge that had one."""

    token_budget: int
    tokens_used: int
    index_updated: bool | None = None


class AgentReasoned(TolerantModel):
    """``agent.reasoned``: an agent says how it came to what it does next."""

    agent_id: str
    reasoning: str
    verbosity: str | None = None
    """With ``off``, only the fact is recorded and the text is not.  Known values: ``summary full off``."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class AgentReasoningDelta(TolerantModel):
    """``agent.reasoning.delta``: a piece of an agent's reasoning, as it comes; ``agent.reasoned`` has the whole."""

    agent_id: str
    delta: str
    sequence: int
    """Place within this piece of reasoning, from 0; not the sequence of the event."""
    verbosity: str | None = None
    """Known values: ``summary full off``."""


class AgentToolCalled(TolerantModel):
    """``agent.toolCalled``: an agent calls a tool."""

    agent_id: str
    tool_name: str
    call_id: str
    """The same in the ``agent.toolReturned`` that answers it."""
    inputs: Any = None
    """Any JSON; what it looks like depends on the tool."""
    args_hash: str | None = None
    """SHA-256 of the arguments as canonical JSON, without secrets."""
    principal: str | None = None
    """On whose behalf; opaque."""
    transport: str | None = None
    """Known values: ``mcp http native``."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class AgentToolReturned(TolerantModel):
    """``agent.toolReturned``: a tool answered, or failed."""

    agent_id: str
    tool_name: str
    call_id: str
    """The same as in the ``agent.toolCalled`` that it answers."""
    outcome: Any = None
    """Any JSON; absent where there is an ``error``."""
    error: EventError | None = None
    status: str | None = None
    """With ``forbidden`` and ``rate_limited``, the tool was not run at all.  Known values: ``ok error forbidden
    rate_limited``.
    """
    duration_ms: int | None = None
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class AgentHandoff(TolerantModel):
    """``agent.handoff``: one agent gives over to another."""

    from_agent_id: str
    to_agent_id: str
    reason: str | None = None
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class AgentDecided(TolerantModel):
    """``agent.decided``: an agent decided something."""

    agent_id: str
    decision: Any
    """Any JSON."""
    confidence: float | None = None
    """Absent says nothing about how sure it is."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class AgentVerified(TolerantModel):
    """``agent.verified``: an agent judged what another one did."""

    agent_id: str
    target: str
    """What was judged: the id of an event, of a child run or of a tool call."""
    verdict: str
    """Known values: ``pass fail revise``."""
    criteria: list[str] | None = None
    """Names of what was looked at."""
    confidence: float | None = None
    """How sure the judge is of its verdict."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class AgentInvocationStarted(TolerantModel):
    """``agent.invocation.started``: the run begins to use an agent."""

    invocation_id: str
    """Unique within the run."""
    agent_id: str
    source: str
    """Known values: ``workflow-node run-api chat-mention``."""
    model_class: str | None = None
    resolved_model: str | None = None
    resolved_provider: str | None = None
    resolved_agent_version: str | None = None
    """The version that ``resolvedChannel`` stood for."""
    resolved_channel: str | None = None
    tool_surface_count: int | None = None
    """How many tools it may use."""
    memory_bound: bool | None = None
    """Whether it has a memory that outlives the run."""


class AgentInvocationCompleted(TolerantModel):
    """``agent.invocation.completed``: the run is done with an agent."""

    invocation_id: str
    """The same as in the ``agent.invocation.started`` before."""
    agent_id: str
    outcome: str
    """Known values: ``completed handed-off escalated refused failed``."""
    schema_validated: bool | None = None
    """Whether the result was checked against the agent's schema."""
    confidence: float | None = None
    enqueued_run_id: str | None = None
    """A run that it brought about."""


class OrchestratorDecided(TolerantModel):
    """``runOrchestrator.decided``: the agent that leads the run decided what comes next."""

    agent_id: str
    """The same for the whole run."""
    decision: OrchestratorDecision
    iteration: int | None = None
    """Its turn, from 1."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class WorkflowChainEvent(TolerantModel):
    """``core.workflowChain.event``: a step in the handover of work from a leading run to a child run."""

    phase: str
    """Known values: ``dispatch.began dispatch.succeeded dispatch.failed child.completed child.failed child.cancelled
    output.harvested``.
    """
    worker_id: str
    """Id of the workflow that does the work."""
    parent_run_id: str
    child_run_id: str | None = None
    """Absent while there is no child run, and where it could not be started."""
    harvested_keys: list[str] | None = None
    """Variables of the parent that were filled from the child's outputs."""
    attestation: OutputAttestation | None = None
    error: EventError | None = None
    """With the phases that fail."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class WorkflowChainConfidenceEscalated(TolerantModel):
    """``core.workflowChain.confidence-escalated``: a leading agent is too unsure.

    Somebody is asked before anything is done.
    """

    confidence: float
    floor: float
    """The confidence that was needed."""
    escalation_kind: str
    """Known values: ``clarify escalate``."""
    worker_id: str | None = None
    """Whom the decision was about to give work to, if anybody."""
    parent_run_id: str
    original_decision: OrchestratorDecision | None = None
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class RosterRunInitiated(TolerantModel):
    """``roster.run.initiated``: a trigger started this run in the name of a standing agent."""

    roster_id: str
    persona: str
    """The name that people know the agent by."""
    agent_id: str
    workflow_id: str
    trigger_source: str
    """A kind of subscription, or a source of the host's own."""
    trigger_subscription_id: str | None = None


class MemoryWritten(TolerantModel):
    """``memory.written``: an agent or a node put something into memory; the text is not in the event."""

    memory_ref: str
    """The memory; opaque."""
    memory_id: str
    """The entry in it."""
    node_id: str | None = None
    agent_id: str | None = None
    tags: list[str] | None = None


class MemoryCompacted(TolerantModel):
    """``memory.compacted``: entries of a memory were merged into one."""

    memory_ref: str
    """The memory; opaque."""
    output_id: str
    """The new entry."""
    source_ids: list[str] | None = None
    """The entries before; hosts leave them out where there are many."""
    source_count: int
    """How many there were, those not in ``sourceIds`` included."""
    trigger: str
    """Known values: ``host-managed client-requested both``."""
    byte_size: int
    distillation: MemoryDistillation | None = None


class AgentMemoryConsolidated(TolerantModel):
    """``agent.memory.consolidated``: the lasting memory of an agent was tidied up."""

    memory_ref: str
    """The memory; opaque."""
    input_count: int
    """Entries before."""
    output_count: int
    """Entries after."""
    merged_ids: list[str] | None = None
    """Entries that are no more; hosts leave them out where there are many."""
    trigger: str | None = None
    """Known values: ``host-managed scheduled on-demand``."""


class CommitmentFired(TolerantModel):
    """``commitment.fired``: something that an agent had taken upon itself fell due."""

    commitment_id: str
    memory_ref: str
    """The memory that it comes from; opaque."""
    memory_id: str | None = None
    condition: str
    """Known values: ``time predicate``."""
    enqueued_run_id: str | None = None
    """The run that it started, if it did."""


class ProposalCreated(TolerantModel):
    """``proposal.created``: the host drafted something for people to review; the draft is not in the event."""

    proposal_id: str
    kind: str
    """Known values: ``agent-pack workflow-chain-pack prompt-template automation``."""
    source_run_ids: list[str] | None = None
    """Runs that it was learnt from."""
    duplicate_of: str | None = None
    """What it repeats, if it repeats something."""


class ProposalActivated(TolerantModel):
    """``proposal.activated``: a draft was accepted and put in place."""

    proposal_id: str
    kind: str
    """Known values: ``agent-pack workflow-chain-pack prompt-template automation``."""
    approval_id: str | None = None
    """The approval that allowed it, if one was needed."""
    installed_artifact_ref: str


class GoalEvaluated(TolerantModel):
    """``goal.evaluated``: a standing goal was judged.

    Judging again may come to something else, so this is what counts.
    """

    goal_id: str
    satisfied: bool
    confidence: float | None = None
    run_id: str
    """The run that was judged."""
    iterations: int
    """Runs that have worked on it so far."""


class GoalClosed(TolerantModel):
    """``goal.closed``: a standing goal is no longer pursued."""

    goal_id: str
    final_state: str
    """Known values: ``satisfied escalated abandoned bound-exceeded``."""


class PromptResolutionStep(TolerantModel):
    """One layer that may name a prompt."""

    layer: str
    """Known values: ``run-configurable node agent-intrinsic agent-overrides agent-library-default workflow-defaults
    host-defaults``.
    """
    source: str | None = None
    """The template that it names."""
    applied: bool
    """Whether this is the one that won."""
    reason: str | None = None
    """Why it is not, if it is not."""


class AgentPromptResolved(TolerantModel):
    """``agent.promptResolved``: it was settled which prompt a node uses."""

    node_id: str
    kind: str
    """Known values: ``system user few-shot schema-hint``."""
    agent_id: str | None = None
    chain: list[PromptResolutionStep]
    """The layers that were asked, in order."""
    resolved: str | None
    """The template that won, or null."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""
