"""An async-first client for OpenWOP, the open wire protocol for multi-agent workflow runs.

Example::

    from openwop import AsyncOpenwopClient

    async with AsyncOpenwopClient("https://host.example", api_key="hk_…") as client:
        run = await client.start("my-workflow", inputs={"q": "hello"})
        async for event in run.events():
            print(event.sequence, event.type)

``OpenwopClient`` is the same without ``async`` and ``await``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openwop._version import __version__
    from openwop.chat import ChatSession
    from openwop.client import AsyncOpenwopClient
    from openwop.downloads import AsyncDownload
    from openwop.errors import (
        ERROR_CODES,
        RUN_ERROR_CODES,
        ApiError,
        AuthenticationError,
        CapabilityNotSupportedError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        DocumentProblem,
        DocumentValidationError,
        EngineVersionMismatchError,
        GoneError,
        IdempotencyMismatchError,
        InvalidRequestError,
        NotFoundError,
        OpenwopError,
        PermissionDeniedError,
        ProtocolVersionError,
        RateLimitedError,
        RequestTimeoutError,
        RequestValidationError,
        ResponseDecodeError,
        RunAlreadyActiveError,
        RunCancelledError,
        RunFailedError,
        RunWaitTimeoutError,
        ServerError,
        StreamDecodeError,
        StreamLostError,
        WebhookVerificationError,
    )
    from openwop.fanout import AsyncFanOut, RunOutcome, RunSpec
    from openwop.handles import AsyncRun
    from openwop.models.events import EventPage, EventType, MessageChunk, RunEvent
    from openwop.models.interrupts import Interrupt
    from openwop.models.options import RunConfigurable
    from openwop.models.runs import TERMINAL_STATUSES, RunSnapshot, is_terminal_status
    from openwop.models.workflows import WorkflowDefinition
    from openwop.response import ApiResponse
    from openwop.streaming.stream import AsyncEventStream
    from openwop.sync.chat import BlockingChatSession
    from openwop.sync.client import OpenwopClient
    from openwop.sync.downloads import Download
    from openwop.sync.fanout import FanOut
    from openwop.sync.handles import Run
    from openwop.sync.streams import EventStream
    from openwop.webhooks import WebhookDelivery, WebhookVerifier

# Where each public name lives.  Nothing heavy is imported before a name is used: `import openwop` costs a few ms.
_HOMES: dict[str, str] = {
    "AsyncOpenwopClient": "openwop.client",
    "AsyncDownload": "openwop.downloads",
    "AsyncEventStream": "openwop.streaming.stream",
    "AsyncFanOut": "openwop.fanout",
    "AsyncRun": "openwop.handles",
    "BlockingChatSession": "openwop.sync.chat",
    "OpenwopClient": "openwop.sync.client",
    "Download": "openwop.sync.downloads",
    "EventStream": "openwop.sync.streams",
    "FanOut": "openwop.sync.fanout",
    "Run": "openwop.sync.handles",
    "ApiResponse": "openwop.response",
    "ChatSession": "openwop.chat",
    "EventPage": "openwop.models.events",
    "EventType": "openwop.models.events",
    "Interrupt": "openwop.models.interrupts",
    "MessageChunk": "openwop.models.events",
    "RunConfigurable": "openwop.models.options",
    "RunEvent": "openwop.models.events",
    "RunOutcome": "openwop.fanout",
    "RunSnapshot": "openwop.models.runs",
    "RunSpec": "openwop.fanout",
    "WorkflowDefinition": "openwop.models.workflows",
    "TERMINAL_STATUSES": "openwop.models.runs",
    "is_terminal_status": "openwop.models.runs",
    "__version__": "openwop._version",
    "ERROR_CODES": "openwop.errors",
    "RUN_ERROR_CODES": "openwop.errors",
    "ApiError": "openwop.errors",
    "AuthenticationError": "openwop.errors",
    "CapabilityNotSupportedError": "openwop.errors",
    "ConfigurationError": "openwop.errors",
    "ConflictError": "openwop.errors",
    "ConnectionFailedError": "openwop.errors",
    "DocumentProblem": "openwop.errors",
    "DocumentValidationError": "openwop.errors",
    "EngineVersionMismatchError": "openwop.errors",
    "GoneError": "openwop.errors",
    "IdempotencyMismatchError": "openwop.errors",
    "InvalidRequestError": "openwop.errors",
    "NotFoundError": "openwop.errors",
    "OpenwopError": "openwop.errors",
    "PermissionDeniedError": "openwop.errors",
    "ProtocolVersionError": "openwop.errors",
    "RateLimitedError": "openwop.errors",
    "RequestTimeoutError": "openwop.errors",
    "RequestValidationError": "openwop.errors",
    "ResponseDecodeError": "openwop.errors",
    "RunAlreadyActiveError": "openwop.errors",
    "RunCancelledError": "openwop.errors",
    "RunFailedError": "openwop.errors",
    "RunWaitTimeoutError": "openwop.errors",
    "ServerError": "openwop.errors",
    "StreamDecodeError": "openwop.errors",
    "StreamLostError": "openwop.errors",
    "WebhookDelivery": "openwop.webhooks",
    "WebhookVerificationError": "openwop.errors",
    "WebhookVerifier": "openwop.webhooks",
}

__all__ = [
    "ERROR_CODES",
    "RUN_ERROR_CODES",
    "TERMINAL_STATUSES",
    "ApiError",
    "ApiResponse",
    "AsyncDownload",
    "AsyncEventStream",
    "AsyncFanOut",
    "AsyncOpenwopClient",
    "AsyncRun",
    "AuthenticationError",
    "BlockingChatSession",
    "CapabilityNotSupportedError",
    "ChatSession",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "DocumentProblem",
    "DocumentValidationError",
    "Download",
    "EngineVersionMismatchError",
    "EventPage",
    "EventStream",
    "EventType",
    "FanOut",
    "GoneError",
    "IdempotencyMismatchError",
    "Interrupt",
    "InvalidRequestError",
    "MessageChunk",
    "NotFoundError",
    "OpenwopClient",
    "OpenwopError",
    "PermissionDeniedError",
    "ProtocolVersionError",
    "RateLimitedError",
    "RequestTimeoutError",
    "RequestValidationError",
    "ResponseDecodeError",
    "Run",
    "RunAlreadyActiveError",
    "RunCancelledError",
    "RunConfigurable",
    "RunEvent",
    "RunFailedError",
    "RunOutcome",
    "RunSnapshot",
    "RunSpec",
    "RunWaitTimeoutError",
    "ServerError",
    "StreamDecodeError",
    "StreamLostError",
    "WebhookDelivery",
    "WebhookVerificationError",
    "WebhookVerifier",
    "WorkflowDefinition",
    "__version__",
    "is_terminal_status",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'openwop' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
