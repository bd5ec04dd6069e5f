"""Payloads of events about prompts and the calls of models.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from openwop.models.base import JsonObject, TolerantModel

__all__ = [
    "EnvelopeNlToFormatEngaged",
    "EnvelopeRecoveryApplied",
    "EnvelopeRefusal",
    "EnvelopeRetryAttempted",
    "EnvelopeRetryExhausted",
    "EnvelopeTruncated",
    "ModelCapabilityInsufficient",
    "ModelCapabilitySubstituted",
    "PromptComposed",
    "ProviderUsage",
]


class ProviderUsage(TolerantModel):
    """``provider.usage``: what one call of a model used."""

    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    total_tokens: int | None = None
    cost_estimate_usd: float | None = None
    """For orientation, not for bills; in ``currency`` where that is given."""
    currency: str | None = None
    """ISO 4217."""
    cache_hit: bool | None = None
    """Whether the answer came from the host's cache; the counts are then those of the first call."""
    cache_read_tokens: int | None = None
    """Read from the provider's own cache of prompts."""
    cache_write_tokens: int | None = None
    """Written to the provider's own cache of prompts."""
    node_id: str | None = None
    trace_id: str | None = None


class PromptComposed(TolerantModel):
    """``prompt.composed``: a prompt was put together for a model."""

    node_id: str
    refs: list[str]
    """The templates in it, in order."""
    kind: str
    """Known values: ``system+user system-only user-only agent-reasoning``."""
    hash: str
    """Of the text after redaction."""
    composed: str | None = None
    """Hosts that show only hashes leave out this and the other texts."""
    system_prompt: str | None = None
    user_prompt: str | None = None
    variable_bindings: JsonObject | None = None
    """Secret values are replaced."""
    variable_hashes: dict[str, str] | None = None
    content_trust: str | None = None
    """``untrusted`` as soon as one part of it is.  Known values: ``trusted untrusted``."""
    causation_host_id: str | None = None
    """The host of the causing event, where that is not this host."""


class ModelCapabilitySubstituted(TolerantModel):
    """``model.capability.substituted``: another model was taken: the first lacks what the node needs."""

    node_id: str
    original_provider: str
    original_model: str
    fallback_provider: str
    """Maybe redacted, then together with ``fallbackModel``."""
    fallback_model: str
    missing_capabilities: list[str]


class ModelCapabilityInsufficient(TolerantModel):
    """``model.capability.insufficient``: no model has what the node needs, so it was not run."""

    node_id: str
    provider: str
    model: str
    missing_capabilities: list[str]
    fallback_attempted: bool = False


class EnvelopeRetryAttempted(TolerantModel):
    """``envelope.retry.attempted``: a model's answer could not be used, and it is asked again."""

    node_id: str
    attempt: int
    """2 for the first repetition."""
    reason: str
    """Known values: ``schema-violation truncation type-drift type-mismatch refusal parse-error unknown``."""
    previous_error: str | None = None
    """What was wrong; no text of prompt or answer."""


class EnvelopeRetryExhausted(TolerantModel):
    """``envelope.retry.exhausted``: a model's answer could not be used, and it is not asked again."""

    node_id: str
    total_attempts: int
    final_reason: str
    """Known values: ``schema-violation truncation type-drift type-mismatch refusal parse-error unknown``."""
    final_error: str | None = None
    """What was wrong; no text of prompt or answer."""


class EnvelopeRefusal(TolerantModel):
    """``envelope.refusal``: a model would not answer."""

    node_id: str
    provider: str
    model: str
    refusal_text: str | None = None
    """In the words of the provider, after redaction."""
    safety_category: str | None = None
    """In the words of the provider."""


class EnvelopeTruncated(TolerantModel):
    """``envelope.truncated``: a model's answer ended too early."""

    node_id: str
    provider: str
    model: str
    stop_reason: str
    """Known values: ``max_tokens length stop_sequence unknown``."""
    partial_payload_available: bool = False
    output_token_count: int | None = None


class EnvelopeNlToFormatEngaged(TolerantModel):
    """``envelope.nlToFormat.engaged``: the model answered in free text, which another call brings into form."""

    node_id: str
    original_envelope_type: str
    fallback_calls: int = 1


class EnvelopeRecoveryApplied(TolerantModel):
    """``envelope.recovery.applied``: a model's answer was malformed and could be mended."""

    node_id: str
    path: str
    """Known values: ``direct jsonrepair markdown-fence brace-walker custom``."""
    byte_offset: int | None = None
    """Where in the answer it was found."""
