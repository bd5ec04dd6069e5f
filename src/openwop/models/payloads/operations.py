"""Payloads of events about files, evaluations, deployments, triggers and budgets.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from openwop.models.base import TolerantModel

__all__ = [
    "BudgetConsumed",
    "BudgetExhausted",
    "BudgetReserved",
    "BudgetThresholdCrossed",
    "DeploymentCanaryAdjusted",
    "DeploymentPromoted",
    "DeploymentRolledBack",
    "DeploymentStateChanged",
    "EffectiveBudget",
    "EvalCompleted",
    "EvalScored",
    "EvalStarted",
    "TriggerDeliveryAttempted",
    "TriggerSubscriptionStateChanged",
    "WorkspaceUpdated",
]


class EffectiveBudget(TolerantModel):
    """What may be used; what is absent has no limit."""

    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_tool_calls: int | None = None
    max_retries: int | None = None


class WorkspaceUpdated(TolerantModel):
    """``workspace.updated``: a file of the workspace was written or deleted."""

    path: str
    version: int
    """Of the file from now on."""


class EvalStarted(TolerantModel):
    """``eval.started``: an evaluation began."""

    suite_id: str
    suite_version: str
    task_count: int
    modes: list[str]
    """Known values: ``golden rubric adversarial regression live-shadow``."""
    baseline_run_id: str | None = None
    """The earlier evaluation that it is compared with."""


class EvalScored(TolerantModel):
    """``eval.scored``: one task of an evaluation has its score."""

    task_id: str
    score: float
    passed: bool
    cost_usd: float | None = None
    """US dollars."""
    latency_ms: int | None = None
    schema_valid: bool | None = None
    safety_finding_count: int | None = None


class EvalCompleted(TolerantModel):
    """``eval.completed``: all tasks of an evaluation have their score."""

    aggregate_score: float
    passed: bool
    """Whether the suite's thresholds were met."""
    task_count: int
    passed_count: int
    regression_vs_baseline: float | None = None
    """Difference of the aggregate scores; negative is worse."""


class DeploymentPromoted(TolerantModel):
    """``deployment.promoted``: a version of an agent came into a new state."""

    agent_id: str
    from_version: str | None = None
    """What was there before; absent the first time."""
    to_version: str
    to_state: str
    """Known values: ``draft test staged active paused deprecated rolled-back``."""
    channel: str | None = None
    canary_percent: int | None = None
    """Its share of the traffic."""
    eval_run_id: str | None = None
    """The evaluation that allowed it."""
    approval_gate_id: str | None = None
    """The approval that allowed it."""


class DeploymentRolledBack(TolerantModel):
    """``deployment.rolled-back``: an earlier version of an agent is active again."""

    agent_id: str
    from_version: str
    to_version: str
    rollback_pointer: str
    """The same as ``toVersion``."""
    reason: str | None = None


class DeploymentCanaryAdjusted(TolerantModel):
    """``deployment.canary.adjusted``: a version of an agent has another share of the traffic."""

    agent_id: str
    version: str
    from_percent: int
    to_percent: int


class DeploymentStateChanged(TolerantModel):
    """``deployment.state.changed``: a version of an agent changed its state, other than by promotion."""

    agent_id: str
    version: str
    from_state: str
    """Known values: ``draft test staged active paused deprecated rolled-back``."""
    to_state: str
    """Known values: ``draft test staged active paused deprecated rolled-back``."""


class TriggerSubscriptionStateChanged(TolerantModel):
    """``trigger.subscription.state.changed``: a subscription of a trigger changed its state."""

    subscription_id: str
    source: str
    """Known values: ``webhook schedule queue email form``."""
    from_state: str
    """Known values: ``active paused failed dead-lettered``."""
    to_state: str
    """Known values: ``active paused failed dead-lettered``."""
    reason: str | None = None
    """Known values: ``retry-exhausted operator-paused signature-invalid backpressure source-removed
    provenance-unevaluable``.
    """


class TriggerDeliveryAttempted(TolerantModel):
    """``trigger.delivery.attempted``: a trigger tried to start a run."""

    subscription_id: str
    dedup_key: str
    """The same for each attempt; opaque."""
    attempt: int
    outcome: str
    """Known values: ``delivered retrying dead-lettered``."""
    run_id: str | None = None
    """The run that it started, if it did."""


class BudgetReserved(TolerantModel):
    """``budget.reserved``: the run has a budget: the smallest of those that apply."""

    effective_budget: EffectiveBudget
    scope: str
    """Whose budget decides.  Known values: ``run workflow agent project``."""


class BudgetConsumed(TolerantModel):
    """``budget.consumed``: what has been used of a budget so far."""

    dimension: str
    """Known values: ``tokens cost toolCalls retries``."""
    consumed: float
    """A count, or an amount of money where the dimension is ``cost``."""
    limit: float
    remaining: float | None = None


class BudgetThresholdCrossed(TolerantModel):
    """``budget.threshold.crossed``: a share of a budget is used up."""

    dimension: str
    """Known values: ``tokens cost toolCalls retries``."""
    consumed: float
    limit: float
    percent: float


class BudgetExhausted(TolerantModel):
    """``budget.exhausted``: a budget is used up."""

    dimension: str
    """Known values: ``tokens cost toolCalls retries``."""
    consumed: float
    limit: float
