"""Payloads of events about nodes and what they produce.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from openwop.models.base import JsonObject, TolerantModel
from openwop.models.events import MessageChunk
from openwop.models.payloads.shapes import EventError

__all__ = [
    "ArtifactCreated",
    "ChannelWritten",
    "LogAppended",
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
    "OutputChunk",
    "VariableChanged",
]


class NodeStarted(TolerantModel):
    """``node.started``: a node began."""

    node_id: str
    type_id: str
    attempt: int | None = None
    """0 for the first one."""


class NodeCompleted(TolerantModel):
    """``node.completed``: a node ended well."""

    node_id: str
    outputs: JsonObject | None = None
    duration_ms: int | None = None


class NodeFailed(TolerantModel):
    """``node.failed``: a node ended with an error, and will not be tried again."""

    node_id: str
    error: EventError
    attempts: int | None = None


class NodeSuspended(TolerantModel):
    """``node.suspended``: a node waits for an answer."""

    node_id: str
    interrupt_id: str
    kind: str | None = None
    """Known values: ``approval clarification external-event custom conversation.start conversation.exchange
    conversation.close low-confidence``.
    """
    key: str | None = None


class NodeSuspendFailed(TolerantModel):
    """``node.suspend-failed``: a node wanted to wait, and the host could not arrange it."""

    node_id: str
    error: EventError


class NodeResumed(TolerantModel):
    """``node.resumed``: a node has its answer and goes on."""

    node_id: str
    interrupt_id: str | None = None
    resume_value: Any = None


class NodeRetried(TolerantModel):
    """``node.retried``: a node is tried again."""

    node_id: str
    attempt: int
    delay_ms: int | None = None
    last_error: EventError | None = None


class NodeSkipped(TolerantModel):
    """``node.skipped``: a node was passed over: its edge or its gate said no."""

    node_id: str
    reason: str | None = None


class NodeCancelled(TolerantModel):
    """``node.cancelled``: a node was stopped, with its run or after a failure before it."""

    node_id: str
    reason: str | None = None


class NodeDispatched(TolerantModel):
    """``node.dispatched``: a child run was started on behalf of the node of the event."""

    child_run_id: str
    child_workflow_id: str
    child_status: str | None = None
    """As it was when the step returned."""


class ChannelWritten(TolerantModel):
    """``channel.written``: something was written to a channel."""

    channel: str
    value: Any
    """What was written, before the reducer has put it together with what was there."""
    reducer: str
    """Its name; vendors have their own under ``vendor.``."""
    node_id: str | None = None
    written_at: datetime
    schema_version: int | None = None
    source_engine_id: str | None = None
    """The engine that wrote it, if not this one."""
    source_run_id: str | None = None


class VariableChanged(TolerantModel):
    """``variable.changed``: a variable of the workflow has a new value."""

    name: str
    previous: Any = None
    next: Any = None
    node_id: str | None = None


class ArtifactCreated(TolerantModel):
    """``artifact.created``: a node made an artifact."""

    artifact_id: str
    artifact_type: str
    node_id: str | None = None
    version: str | None = None
    summary: str | None = None
    registered: bool | None = None
    """Whether its type is known to the host and its data was checked against that."""
    registration_source: str | None = None
    """Who brought that type.  Known values: ``pack host``."""


class OutputChunk(MessageChunk):
    """``output.chunk``: a piece of a model's text; in the mode ``messages`` it comes without an event around it."""


class LogAppended(TolerantModel):
    """``log.appended``: a node wrote to its log."""

    level: str
    """Known values: ``debug info warn error``."""
    message: str
    node_id: str | None = None
    fields: JsonObject | None = None
