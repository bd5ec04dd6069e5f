"""Codes that hosts are known to answer with; both sets are open."""

from __future__ import annotations

__all__ = ["ERROR_CODES", "RUN_ERROR_CODES"]

ERROR_CODES: frozenset[str] = frozenset(
    """
    validation_error unsupported_stream_mode unsupported_force_engine_version unsupported_mock_provider
    INVALID_RESUME_VALUE unauthenticated key_expired key_revoked forbidden run_forbidden
    workspace_membership_required force_engine_version_forbidden mock_provider_forbidden credential_forbidden
    credential_scope_forbidden credential_required credential_unavailable credential_not_found
    credential_scope_unsupported provider_policy_denied eval_gate_unmet no_active_deployment not_found
    interrupt_not_found run_already_active idempotency_in_flight idempotency_key_mismatch
    interrupt_already_resolved workspace_conflict run_terminal interrupt_expired interrupt_gone
    workspace_too_large interrupt_cancelled capability_required residency_unavailable prompt_ref_ambiguous
    prompt_ref_invalid prompt_variable_unresolved prompt_variable_type_mismatch rate_limited internal_error
    capability_not_provided service_unavailable engine_version_mismatch interop_version_unsupported
    runner_unavailable replay_memory_snapshot_unavailable schedule_horizon_exceeded connector_action_unresolved
    unsupported_model_class unpublish_window_expired signature_not_available identity_unverified
    identity_unresolvable audience_mismatch delegation_expired sender_constraint_missing
    delegation_chain_too_long delegation_chain_cyclic delegation_scope_amplified run_not_found
    artifact_not_found subscription_not_found forbidden_tenant invalid_request
    """.split()
)
"""Codes that hosts are known to put in an error envelope.  The set is open: unknown codes must be expected."""

RUN_ERROR_CODES: frozenset[str] = frozenset(
    """
    recursion_limit_exceeded run_timeout loop_limit_exceeded budget_exhausted token_budget_exceeded
    capability_not_provided credential_required credential_unavailable credential_forbidden
    connector_auth_expired envelope_invalid envelope_payload_invalid envelope_truncation_unrecoverable
    envelope_refusal envelope_refused_by_provider sandbox_memory_exceeded sandbox_timeout
    sandbox_capability_denied sandbox_escape_attempt replay_diverged_at_refusal replay_source_missing
    no_active_deployment version_out_of_range engine_version_mismatch runner_unavailable
    """.split()
)
"""Codes known to appear in ``RunSnapshot.error.code``.  The set is open."""
