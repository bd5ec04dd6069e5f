"""The operations of the protocol as data: one row each, and nothing else knows their paths or statuses.

``tools/check_spec.py`` keeps these rows, the OpenAPI document in ``openwop/spec`` and the models in agreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from openwop.models.base import JsonObject, RequestModel
from openwop.models.discovery import Capabilities
from openwop.models.events import EventPage
from openwop.models.interrupts import InterruptResolution, ResolveInterruptRequest, SuspendRequest
from openwop.models.runs import (
    BulkCancelRequest,
    BulkCancelResponse,
    CancelRunRequest,
    CreateRunRequest,
    ForkRunRequest,
    PauseRunRequest,
    ResumeRunRequest,
    RunCancelled,
    RunCreated,
    RunDiff,
    RunForked,
    RunPaused,
    RunResumed,
    RunSnapshot,
)
from openwop.models.workflows import WorkflowDefinition

__all__ = ["OPERATIONS", "Operation", "RetryClass"]

T = TypeVar("T")

RetryClass = Literal["safe", "keyed", "never"]
"""``safe``: may be sent again whatever became of it.  ``keyed``: only under its idempotency key.  ``never``: not at
all, unless it is proven that nothing was sent."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation(Generic[T]):
    """One operation of the protocol."""

    id: str
    """``operationId`` in the OpenAPI document."""
    method: str
    path: str
    """Template without the version prefix; every ``{name}`` is one path segment."""
    resource: str
    """Where users find it: ``"runs.create"``."""
    response: type[T]
    """A model, or ``dict`` for plain JSON, or ``NoneType`` for a stream."""
    request: type[RequestModel] | None = None
    retry: RetryClass = "safe"
    idempotent: bool = False
    """Whether it takes an ``Idempotency-Key``."""
    auth: bool = True
    """Whether the API key is sent.  Calls by interrupt token carry none: the token is the credential."""
    capability: str | None = None
    """What the host must advertise; ``None`` for what every host has."""
    versioned: bool = True
    success: frozenset[int] = frozenset({200})
    long_poll: bool = False
    """Whether the host may hold the answer back; such calls do not count against the limit of calls in flight."""


def _keyed(
    id: str, path: str, resource: str, request: type[RequestModel], response: type[T], **more: Any
) -> Operation[T]:
    return Operation(
        id, "POST", path, resource, response, request=request, retry="keyed", idempotent=True, **more
    )


GET_CAPABILITIES = Operation(
    "getCapabilities", "GET", "/.well-known/openwop", "discovery.capabilities", Capabilities,
    auth=False, versioned=False, success=frozenset({200, 304}),
)  # fmt: skip
GET_OPENAPI = Operation("getOpenApiSpec", "GET", "/openapi.json", "discovery.openapi", JsonObject, auth=False)
GET_WORKFLOW = Operation("getWorkflow", "GET", "/workflows/{workflowId}", "workflows.get", WorkflowDefinition)
CREATE_RUN = _keyed(
    "createRun", "/runs", "runs.create", CreateRunRequest, RunCreated, success=frozenset({201})
)
GET_RUN = Operation("getRun", "GET", "/runs/{runId}", "runs.get", RunSnapshot, success=frozenset({200, 304}))
STREAM_EVENTS: Operation[None] = Operation(
    "streamRunEvents", "GET", "/runs/{runId}/events", "runs.events", type(None)
)
POLL_EVENTS = Operation(
    "pollRunEvents", "GET", "/runs/{runId}/events/poll", "runs.poll_events", EventPage, long_poll=True
)
CANCEL_RUN = _keyed("cancelRun", "/runs/{runId}/cancel", "runs.cancel", CancelRunRequest, RunCancelled)
BULK_CANCEL = _keyed(
    "bulkCancelRuns", "/runs:bulk-cancel", "runs.bulk_cancel", BulkCancelRequest, BulkCancelResponse
)
PAUSE_RUN = _keyed(
    "pauseRun", "/runs/{runId}:pause", "runs.pause", PauseRunRequest, RunPaused,
    capability="runs.pauseResume", success=frozenset({202}),
)  # fmt: skip
RESUME_RUN = _keyed(
    "resumeRun", "/runs/{runId}:resume", "runs.resume", ResumeRunRequest, RunResumed,
    capability="runs.pauseResume", success=frozenset({202}),
)  # fmt: skip
FORK_RUN = _keyed(
    "forkRun", "/runs/{runId}:fork", "runs.fork", ForkRunRequest, RunForked,
    capability="replay", success=frozenset({201}),
)  # fmt: skip
DIFF_RUN = Operation("diffRun", "GET", "/runs/{runId}:diff", "runs.diff", RunDiff)
RESOLVE_INTERRUPT = _keyed(
    "resolveInterruptByRun", "/runs/{runId}/interrupts/{nodeId}", "interrupts.resolve",
    ResolveInterruptRequest, InterruptResolution,
)  # fmt: skip
INSPECT_TOKEN = Operation(
    "inspectInterruptByToken", "GET", "/interrupts/{token}", "interrupts.inspect", SuspendRequest, auth=False
)
RESOLVE_TOKEN = _keyed(
    "resolveInterruptByToken", "/interrupts/{token}", "interrupts.resolve_token",
    ResolveInterruptRequest, InterruptResolution, auth=False,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any], ...] = (
    GET_CAPABILITIES,
    GET_OPENAPI,
    GET_WORKFLOW,
    CREATE_RUN,
    GET_RUN,
    STREAM_EVENTS,
    POLL_EVENTS,
    CANCEL_RUN,
    BULK_CANCEL,
    PAUSE_RUN,
    RESUME_RUN,
    FORK_RUN,
    DIFF_RUN,
    RESOLVE_INTERRUPT,
    INSPECT_TOKEN,
    RESOLVE_TOKEN,
)
