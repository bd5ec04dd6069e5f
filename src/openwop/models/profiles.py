"""The profiles of the protocol: names for what a discovery document amounts to (``profiles.md``).

A profile is never a field of the document.  It is derived, by the predicates here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from openwop.models.advertised import advertised, lookup, strings
from openwop.models.base import JsonObject, as_object

__all__ = ["derived_profiles"]

_MAJOR_1 = re.compile(r"1\.\d")


def derived_profiles(document: JsonObject) -> frozenset[str]:
    """Every profile whose predicate holds for ``document``.

    What only running the host's workflows can show, such as ``openwop-node-packs``, is not among them.
    """
    return frozenset(name for name, holds in _PREDICATES.items() if holds(document))


def _core(document: JsonObject) -> bool:
    version = document.get("protocolVersion")
    limits = as_object(document.get("limits")) or {}
    return (
        isinstance(version, str)
        and _MAJOR_1.match(version) is not None
        and isinstance(document.get("supportedEnvelopes"), list)
        and isinstance(document.get("schemaVersions"), dict)
        and all(
            _count(limits.get(name)) for name in ("clarificationRounds", "schemaRounds", "envelopesPerTurn")
        )
    )


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _has(document: JsonObject, name: str, value: str) -> bool:
    return value in strings(lookup(document, name))


def _interrupts(document: JsonObject) -> bool:
    return _core(document) and _has(document, "supportedEnvelopes", "clarification.request")


def _rest(document: JsonObject) -> bool:
    transports = document.get("supportedTransports")
    return _core(document) and (transports is None or "rest" in strings(transports))


def _secrets(document: JsonObject) -> bool:
    return (
        _core(document)
        and advertised(document, "secrets") is True
        and _has(document, "secrets.scopes", "user")
    )


def _provider_policy(document: JsonObject) -> bool:
    return _core(document) and _has(document, "aiProviders.policies.modes", "optional")


def _replay_fork(document: JsonObject) -> bool:
    return (
        _core(document)
        and advertised(document, "replay") is True
        and bool(strings(lookup(document, "replay.modes")))
    )


def _fixtures(document: JsonObject) -> bool:
    return _core(document) and bool(strings(document.get("fixtures")))


def _auth_scoped(document: JsonObject) -> bool:
    return advertised(document, "discovery.authScoped") is True


def _memory(document: JsonObject) -> bool:
    return (
        _core(document)
        and advertised(document, "memory") is True
        and lookup(document, "memory.writable") is not False
        and _has(document, "agents.memoryBackends", "long-term")
    )


def _experimental(document: JsonObject) -> bool:
    # A vendor's `extensions` are no families, whatever they hold.
    pending: list[Any] = [value for name, value in document.items() if name != "extensions"]
    while pending:
        record = as_object(pending.pop())
        if record is not None:
            if record.get("tier") == "experimental":
                return True
            pending.extend(record.values())
    return False


def _trigger_bridge(document: JsonObject) -> bool:
    sources = ("queueBus", "webhooks.durable", "scheduling")
    return (
        advertised(document, "triggerBridge") is True
        and advertised(document, "deadLetter") is True
        and any(advertised(document, source) is True for source in sources)
    )


_PREDICATES: dict[str, Callable[[JsonObject], bool]] = {
    "openwop-core": _core,
    "openwop-discovery-core": _core,
    "openwop-interrupts": _interrupts,
    "openwop-stream-sse": _rest,
    "openwop-stream-poll": _rest,
    "openwop-secrets": _secrets,
    "openwop-provider-policy": _provider_policy,
    "openwop-replay-fork": _replay_fork,
    "openwop-fixtures": _fixtures,
    "openwop-discovery-auth-scoped": _auth_scoped,
    "openwop-memory": _memory,
    "openwop-experimental": _experimental,
    "openwop-trigger-bridge": _trigger_bridge,
}
