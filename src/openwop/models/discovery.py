"""The discovery document of a host (``capabilities.md``)."""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field

from openwop.models.base import JsonObject, TolerantModel

__all__ = ["Capabilities", "CapabilityLimits"]


class CapabilityLimits(TolerantModel):
    """Limits a host sets; ``None`` means not advertised."""

    clarification_rounds: int | None = None
    schema_rounds: int | None = None
    envelopes_per_turn: int | None = None
    max_node_executions: int | None = None
    max_request_body_bytes: int | None = None
    max_run_duration_ms: int | None = None
    max_loop_iterations: int | None = None
    max_budget_tokens: int | None = None
    max_budget_cost_usd: float | None = None


class Capabilities(TolerantModel):
    """What a host is and offers.  The root is open: families this client has no attribute for are in ``model_extra``.

    Example::

        capabilities = await client.discovery.capabilities()
        print(capabilities.protocol_version, capabilities.supports("replay"))
    """

    protocol_version: str = "1.0"
    protocol_versions: list[str] | None = None
    preferred_version: str | None = None
    min_client_version: str | None = None
    supported_envelopes: list[str] = Field(default_factory=list[str])
    schema_versions: JsonObject = Field(default_factory=dict)
    limits: CapabilityLimits = Field(default_factory=CapabilityLimits)
    implementation: JsonObject | None = None
    engine_version: int | float | str | None = None
    event_log_schema_version: int | None = None
    supported_transports: list[str] | None = None
    configurable: JsonObject | None = None
    fixtures: list[str] | None = None
    auth: JsonObject | None = None
    extensions: JsonObject | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """Every protocol version the host serves; a document without ``protocolVersions`` serves its one version."""
        return tuple(self.protocol_versions or [self.protocol_version])

    def family(self, name: str) -> Any:
        """The advertisement of one family (``"replay"``), at the root or in the legacy ``capabilities`` wrapper.

        A dotted name goes deeper (``"agents.roster"``).  ``None`` when the host says nothing of it.
        """
        root = self.to_wire()
        found = _lookup(root, name)
        return found if found is not None else _lookup(root.get("capabilities"), name)

    def supports(self, name: str) -> bool:
        """Whether the host advertises ``name``: a true flag, or a record that is not ``{"supported": false}``.

        Absence of anything means that it is not offered; a lookup never fails.
        """
        found = self.family(name)
        if isinstance(found, dict):
            record = cast("JsonObject", found)
            supported = record.get("supported")
            if supported is None and "status" in record:
                return True  # the records of protocol major 2: being there is support
            return supported is True
        return bool(found)


def _lookup(document: Any, name: str) -> Any:
    if not isinstance(document, dict):
        return None
    record = cast("JsonObject", document)
    if name in record:
        return record[name]
    head, _, rest = name.partition(".")
    return _lookup(record.get(head), rest) if rest else None
