"""Payloads of events about speech.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from openwop.models.base import TolerantModel

__all__ = [
    "VoiceBargeIn",
    "VoiceCancelled",
    "VoiceEndpointCandidate",
    "VoiceSpeechStart",
    "VoiceSynthesisChunk",
    "VoiceTranscript",
    "VoiceTurnCommit",
]


class VoiceSpeechStart(TolerantModel):
    """``voice.speech_start``: somebody began to speak."""

    at_ms: int
    """Milliseconds from the start of the session."""


class VoiceTranscript(TolerantModel):
    """``voice.transcript``: what was heard, or what it seems to be so far."""

    text: str
    """Not to be trusted, as any input."""
    is_final: bool
    """Whether this text will stay as it is."""
    committed_prefix: str | None = None
    """The part that will stay as it is."""
    stability: float | None = None
    """How sure the rest is."""
    formatted: bool | None = None
    at_ms: int
    """Milliseconds from the start of the session."""
    content_trust: str
    """Known values: ``untrusted``."""


class VoiceEndpointCandidate(TolerantModel):
    """``voice.endpoint_candidate``: somebody may have finished speaking."""

    at_ms: int
    """Milliseconds from the start of the session."""
    confidence: float | None = None


class VoiceTurnCommit(TolerantModel):
    """``voice.turn_commit``: somebody has finished speaking."""

    at_ms: int
    """Milliseconds from the start of the session."""
    final_text: str
    """Not to be trusted, as any input."""


class VoiceSynthesisChunk(TolerantModel):
    """``voice.synthesis_chunk``: a piece of speech is ready to be fetched."""

    seq: int
    mime_type: str
    duration_ms: int | None = None
    url: str | None = None
    stream_ref: str | None = None
    base_64: str | None = None
    """The sound itself, where it is short."""
    final: bool | None = None
    """Whether it is the last piece."""


class VoiceBargeIn(TolerantModel):
    """``voice.barge_in``: somebody began to speak while the host was speaking."""

    at_ms: int
    """Milliseconds from the start of the session."""


class VoiceCancelled(TolerantModel):
    """``voice.cancelled``: what was being said or prepared was stopped."""

    at_ms: int
    """Milliseconds from the start of the session."""
    reason: str | None = None
    """Known values: ``barge-in explicit``."""
