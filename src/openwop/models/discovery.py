"""The discovery document of a host (``capabilities.md``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import Field

from openwop.models.advertised import advertised, lookup, parse_version, strings, without_flag
from openwop.models.base import JsonObject, ModelMismatch, TolerantModel
from openwop.models.profiles import derived_profiles

__all__ = ["Capabilities", "CapabilityLimits"]

_DEFAULT_LIMITS = {
    "clarificationRounds": 3,
    "schemaRounds": 2,
    "envelopesPerTurn": 5,
    "maxNodeExecutions": 100,
}


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
        """What the host says of one family (``"replay"``), as JSON; ``None`` when it says nothing.

        A dotted name goes deeper (``"agents.roster"``).  The root of the document comes first; what it is silent about
        is looked for in the ``capabilities`` wrapper of older hosts, and ``auth`` under ``extensions`` too.
        """
        return lookup(self.to_wire(), name)

    def advertises(self, name: str) -> bool | None:
        """Whether the host says that it offers ``name``: yes, no, or ``None`` when it says nothing about it.

        ``name`` is a family, a dotted name in one, or a profile (``"openwop-audit-log-integrity"``).  A flag, a number
        or a list (empty is no) speaks for itself, and a record speaks by its ``supported``.
        """
        if name.startswith("openwop-"):
            return name in self.auth_profiles or name in self.profiles
        return advertised(self.to_wire(), name)

    def supports(self, name: str) -> bool:
        """Whether the host advertises ``name``, as :meth:`advertises` reads it; silence means no.  Never fails.

        It answers nothing about a *declared* value, such as how far an effect is safe across regions: ask for the
        value that you need, with :meth:`declares`.

        Example::

            if capabilities.supports("agents.roster"):
                ...
        """
        return self.advertises(name) is True

    def posture(self, name: str) -> str | None:
        """The value that the host declares under ``name`` (``"memory.compaction.trigger"``), if that is text."""
        value = self.family(name)
        return value if isinstance(value, str) else None

    def declares(self, name: str, value: str) -> bool:
        """Whether the host declares exactly ``value`` under ``name``, alone or in a list.

        That some value is declared there says nothing of another one (``capabilities.md``).

        Example::

            capabilities.declares("idempotency.crossRegion", "fenced-effects")
        """
        return value in strings(self.family(name))

    def tier(self, name: str) -> str:
        """``"stable"``, or ``"experimental"`` where the host says that a family may still change."""
        return self.posture(f"{without_flag(name)}.tier") or "stable"

    @property
    def fork_modes(self) -> tuple[str, ...]:
        """The modes in which runs can be forked, by ``replay.modes`` alone; the older ``replay.fork`` says nothing."""
        return () if self.advertises("replay") is False else strings(self.family("replay.modes"))

    @property
    def cross_region(self) -> str:
        """What an idempotency key is worth across regions; ``"single-region"`` when the host says nothing.

        Only ``"fenced-effects"`` promises that no effect happens twice (``idempotency.md``).
        """
        return self.posture("idempotency.crossRegion") or "single-region"

    @property
    def fenced_effects(self) -> bool:
        """Whether no effect happens twice, not even when regions are cut off from each other."""
        return self.cross_region == "fenced-effects"

    @property
    def auth_profiles(self) -> frozenset[str]:
        """What the host advertises of authentication and audit: ``"openwop-auth-mtls"`` and the like."""
        return frozenset(strings(self.family("auth.profiles")))

    @property
    def profiles(self) -> frozenset[str]:
        """The protocol's profiles that this document amounts to; derived, as they are no field of it."""
        return derived_profiles(self.to_wire())

    @property
    def fixture_names(self) -> frozenset[str]:
        """The conformance workflows that the host serves.  The client itself takes no notice of them."""
        return frozenset(strings(self.family("fixtures")))

    def missing(
        self,
        *capabilities: str,
        protocol: str | None = None,
        envelopes: Iterable[str] = (),
        runtime: Iterable[str] = (),
        limits: Mapping[str, float] | None = None,
    ) -> tuple[str, ...]:
        """What a program needs and this host does not say it has, each as a short text; empty when all is there.

        Args:
            capabilities: names as :meth:`supports` takes them, profiles included.
            protocol: the oldest version of the protocol that will do (``"1.1"``), within one major.
            envelopes: what has to be in ``supportedEnvelopes``.
            runtime: what nodes ``require``, and so has to be in ``runtimeCapabilities``.
            limits: what each limit has to allow at least, by its name on the wire.  A limit that the host does not
                mention counts as the protocol's default, or as no limit where there is none.

        Example::

            capabilities.missing("replay", runtime=["chat.sendPrompt"], limits={"maxRunDurationMs": 3_600_000})
        """
        return (
            *(self._too_old(protocol) if protocol is not None else ()),
            *(name for name in capabilities if not self.supports(name)),
            *(f"supportedEnvelopes: {name}" for name in _absent(self.supported_envelopes, envelopes)),
            *(
                f"runtimeCapabilities: {name}"
                for name in _absent(self.family("runtimeCapabilities"), runtime)
            ),
            *self._narrow_limits(limits or {}),
        )

    def _too_old(self, protocol: str) -> Iterator[str]:
        floor = parse_version(protocol)
        if floor is None:
            raise ModelMismatch("protocol", f"must be a version such as '1.1', not {protocol!r}")
        offered = [version for version in map(parse_version, self.versions) if version is not None]
        if not any(version[0] == floor[0] and version >= floor for version in offered):
            yield f"protocolVersion: {', '.join(self.versions)} is older than {protocol}"

    def _narrow_limits(self, wanted: Mapping[str, float]) -> Iterator[str]:
        for name, least in wanted.items():
            allowed = self.family(f"limits.{name}")
            if isinstance(allowed, bool) or not isinstance(allowed, int | float):
                allowed = _DEFAULT_LIMITS.get(name)
            if allowed is not None and allowed < least:
                yield f"limits.{name}: {allowed:g} is less than {least:g}"


def _absent(offered: Any, wanted: Iterable[str]) -> list[str]:
    have = strings(offered)
    return [name for name in wanted if name not in have]
