"""Run options: what a caller may put into ``configurable``, ``tags`` and ``metadata``, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openwop.devhost.definition import Workflow
from openwop.devhost.errors import invalid
from openwop.devhost.json_values import JsonObject, depth, encode, is_object
from openwop.devhost.mock_model import check_provider
from openwop.devhost.schema import SchemaViolation, check

MAX_METADATA_BYTES = 8192
MAX_METADATA_DEPTH = 4

_CONFIGURABLE: JsonObject = {
    "type": "object",
    "properties": {
        "recursionLimit": {"type": "integer", "minimum": 1},
        "model": {"type": "string", "minLength": 1},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "maxTokens": {"type": "integer", "minimum": 1},
        "promptOverrides": {"type": "object", "additionalProperties": {"type": "string"}},
        "runTimeoutMs": {"type": "number", "exclusiveMinimum": 0},
        "escalationThreshold": {"type": "number", "minimum": 0, "maximum": 1},
        "mockProvider": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string", "minLength": 1, "maxLength": 128},
                "config": {"type": "object"},
            },
            "additionalProperties": False,
        },
    },
}

#: The three options as fields of a request body; used where a run is created and where one is forked.
OPTION_FIELDS: JsonObject = {
    "configurable": _CONFIGURABLE,
    "tags": {
        "type": "array",
        "maxItems": 100,
        "items": {"type": "string", "minLength": 1, "maxLength": 256},
    },
    "metadata": {"type": "object"},
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The host's own ceilings, as discovery advertises them.

    Attributes:
        max_node_executions: The ceiling, and the default, of ``recursionLimit``.
        max_run_duration_ms: The ceiling, and the default, of ``runTimeoutMs``; thirty days, for those who wait.
        max_request_bytes: The largest request body.
        max_bulk_cancel: The most ids in one bulk cancel.
        poll_page_size: The most events in one poll answer.
        max_workspace_file_bytes: The largest workspace file, as UTF-8.
        max_workspace_files: The most files in one tenant's workspace.
        max_workspace_versions: How many versions of a file are kept, the newest included.
        max_tarball_bytes: The largest tarball of a pack.
        max_bundle_bytes: The size above which a debug bundle is cut.
    """

    max_node_executions: int = 1000
    max_run_duration_ms: int = 2_592_000_000
    max_request_bytes: int = 1_048_576
    max_bulk_cancel: int = 100
    poll_page_size: int = 1000
    max_workspace_file_bytes: int = 262_144
    max_workspace_files: int = 1000
    max_workspace_versions: int = 20
    max_tarball_bytes: int = 64 * 1024 * 1024
    max_bundle_bytes: int = 8_000_000


def check_options(options: JsonObject, workflow: Workflow, *, test_key: bool, field: str = "") -> None:
    """Check run options whose shape has been checked already.

    Args:
        options: An object that may have ``configurable`` and ``metadata``.
        workflow: The workflow, which may declare what ``configurable`` has to look like.
        test_key: Whether the caller's key may use mock providers.
        field: Where the options stand in the request, for the error's ``details.field``.

    Raises:
        HostError: 400, or 403 for a mock provider with a live key.
    """
    configurable: JsonObject = options.get("configurable", {})
    if workflow.configurable_schema is not None:
        try:
            check(configurable, workflow.configurable_schema)
        except SchemaViolation as violation:
            place = f"{field}configurable.{violation.path}".removesuffix(".")
            raise invalid(f"{place} {violation.rule}.", field=place) from violation
    provider = configurable.get("mockProvider")
    if is_object(provider):
        check_provider(provider, test_key=test_key)
    metadata = options.get("metadata")
    if metadata is not None:
        if depth(metadata) > MAX_METADATA_DEPTH:
            message = f"metadata is nested at most {MAX_METADATA_DEPTH} deep."
            raise invalid(message, field=f"{field}metadata", maxDepth=MAX_METADATA_DEPTH)
        if len(encode(metadata)) > MAX_METADATA_BYTES:
            message = f"metadata has at most {MAX_METADATA_BYTES} bytes as JSON."
            raise invalid(message, field=f"{field}metadata", maxBytes=MAX_METADATA_BYTES)


def effective_limits(configurable: JsonObject, workflow: Workflow, limits: Limits) -> tuple[int, float]:
    """Return how many node executions and how many milliseconds a run gets: the least of all who have a say."""
    asked: dict[str, Any] = configurable
    executions = min(int(asked.get("recursionLimit", limits.max_node_executions)), limits.max_node_executions)
    timeout = min(asked.get("runTimeoutMs", limits.max_run_duration_ms), limits.max_run_duration_ms)
    if workflow.timeout_ms is not None:
        timeout = min(timeout, workflow.timeout_ms)
    return executions, timeout
