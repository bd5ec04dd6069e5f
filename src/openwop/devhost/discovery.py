"""The discovery document: what this host can do, and within which limits."""

from __future__ import annotations

from collections.abc import Iterable

from openwop._version import __version__
from openwop.devhost.access import TEST_KEY_PREFIX
from openwop.devhost.agents import CHANNELS, LATEST, STATES
from openwop.devhost.api_records import SIGNALS, TARGETS
from openwop.devhost.audit import INTERVAL_ENTRIES, INTERVAL_S
from openwop.devhost.evals import MAX_TASKS
from openwop.devhost.evals import MODES as EVAL_MODES
from openwop.devhost.idempotency import RETENTION_S
from openwop.devhost.json_values import JsonObject
from openwop.devhost.mock_model import PROVIDERS
from openwop.devhost.modes import MODES
from openwop.devhost.options import Limits
from openwop.devhost.prompts import LIBRARY, MAX_TEXT_BYTES
from openwop.devhost.records import EVENT_LOG_SCHEMA_VERSION
from openwop.devhost.runtime import ENGINE_VERSION
from openwop.devhost.tools import SOURCES as TOOL_SOURCES
from openwop.devhost.triggers import SOURCES
from openwop.devhost.webhooks import MAX_ATTEMPTS

PROTOCOL_VERSION = "1.1"
FORCED_ENGINE_VERSIONS = (0, ENGINE_VERSION + 1)


def discovery_document(
    limits: Limits,
    fixtures: Iterable[str],
    *,
    content: JsonObject,
    host_id: str,
    audit_key: str,
    min_client_version: str | None = None,
) -> JsonObject:
    """Describe the host (``capabilities``). Families stand at the root; what is absent is not supported.

    Args:
        limits: The host's ceilings.
        fixtures: The ids of its workflows.
        content: The languages that it writes in, as the protocol has them.
        host_id: Its name for itself.
        audit_key: What the checkpoints of its audit log are checked with.
        min_client_version: The oldest client that it serves.
    """
    document: JsonObject = {
        "protocolVersion": PROTOCOL_VERSION,
        "protocolVersions": [PROTOCOL_VERSION],
        "preferredVersion": PROTOCOL_VERSION,
        "implementation": {"name": "openwop-devhost", "version": __version__, "vendor": "openwop"},
        "engineVersion": ENGINE_VERSION,
        "eventLogSchemaVersion": EVENT_LOG_SCHEMA_VERSION,
        "supportedEnvelopes": [],
        "schemaVersions": {},
        "supportedTransports": ["rest"],
        "streamModes": list(MODES),
        "limits": {
            "clarificationRounds": 3,
            "schemaRounds": 2,
            "envelopesPerTurn": 5,
            "maxNodeExecutions": limits.max_node_executions,
            "maxRunDurationMs": limits.max_run_duration_ms,
            "maxRequestBodyBytes": limits.max_request_bytes,
        },
        "configurable": {
            "recursionLimit": {"type": "integer", "min": 1, "max": limits.max_node_executions},
            "runTimeoutMs": {"type": "number", "min": 1, "max": limits.max_run_duration_ms},
            "escalationThreshold": {"type": "number", "min": 0, "max": 1},
            "model": {"type": "string"},
            "temperature": {"type": "number", "min": 0, "max": 2},
            "maxTokens": {"type": "integer", "min": 1},
            "promptOverrides": {"type": "object"},
            "evalModes": {"type": "array"},
            "mockProvider": {"type": "object"},
        },
        **_families(limits, audit_key),
        **_kept(limits, content),
        **_records(host_id),
        "testing": {
            "mockProviders": list(PROVIDERS),
            "testKeyPrefix": TEST_KEY_PREFIX,
            "forceEngineVersionRange": {"min": FORCED_ENGINE_VERSIONS[0], "max": FORCED_ENGINE_VERSIONS[1]},
        },
        "fixtures": sorted(fixtures),
    }
    if min_client_version is not None:
        document["minClientVersion"] = min_client_version
    return document


def _families(limits: Limits, audit_key: str) -> JsonObject:
    """What the host has of the optional families; where it has nothing, it says so."""
    return {
        "replay": {
            "supported": True,
            "modes": ["replay", "branch"],
            "sideEffectSuppression": "recorded-outcome",
        },
        "runs": {
            "pauseResume": {"supported": True, "drainPolicies": ["drain-current-node", "immediate"]},
            "bulkCancel": {"supported": True, "maxRunIds": limits.max_bulk_cancel},
        },
        "idempotency": {
            "supported": True,
            "layer1RetentionSeconds": RETENTION_S,
            "crossRegion": "single-region",
        },
        "restTransport": {"conditionalRunGet": True},
        "interrupt": {"approverRouting": {"supported": False}},
        "subWorkflow": {"inputMapping": True},
        "providerUsage": {"supported": True, "costEstimates": False},
        **_catalogs(),
        "conversationPrimitive": True,
        "secrets": {"supported": False},
        "webhooks": {
            "supported": True,
            "signatureAlgorithms": ["v1"],
            "durable": True,
            "retryPolicy": {"backoff": "exponential", "maxAttempts": MAX_ATTEMPTS},
        },
        "packs": {"testMode": {"supported": True}},
        "compliance": {"defaultMode": "mask"},
        "auth": {
            "profiles": ["openwop-auth-api-key-rotation", "openwop-audit-log-integrity"],
            "rotation": {"supported": True, "minGraceSeconds": 0},
            "auditLogIntegrity": {
                "hashChain": True,
                "checkpointSignatureAlgorithm": "ed25519",
                "checkpointPublicKey": audit_key,
                "checkpointIntervalEntries": INTERVAL_ENTRIES,
                "checkpointIntervalSeconds": INTERVAL_S,
            },
        },
        "extensions": {
            "interrupts": {
                "profiles": [
                    "openwop-interrupt-quorum",
                    "openwop-interrupt-auth-required",
                    "openwop-interrupt-external-event",
                    "openwop-interrupt-cascade-cancel",
                ],
                "signedCallbackTokens": True,
            }
        },
    }


def _catalogs() -> JsonObject:
    """Agents, tools and prompts."""
    return {
        "agents": {
            "evalSuite": {"supported": True, "modes": list(EVAL_MODES), "maxTasksPerSuite": MAX_TASKS},
            "manifestRuntime": {"supported": True, "handoffValidation": False, "installScope": "tenant"},
            "deployment": {
                "supported": True,
                "channels": [*CHANNELS, LATEST],
                "canary": True,
                "rollback": True,
                "states": list(STATES),
            },
            "roster": {"supported": True, "installScope": "tenant", "portfolioTriggerSources": []},
            "orgChart": {
                "supported": True,
                "installScope": "tenant",
                "departmentNesting": True,
                "responsibilityView": True,
            },
        },
        "toolCatalog": {"supported": True, "compactView": True, "sources": list(TOOL_SOURCES)},
        "prompts": {
            "supported": False,  # no node resolves a reference; the endpoints are there all the same
            "endpointsSupported": True,
            "mutableLibrary": True,
            "observability": "full",
            "maxTemplateBytes": MAX_TEXT_BYTES,
            "library": {"id": LIBRARY},
        },
    }


def _kept(limits: Limits, content: JsonObject) -> JsonObject:
    """The families of what the host keeps beside runs, and what starts or shows runs in other ways."""
    base, others = content["baseLocale"], content["supportedLocales"]
    return {
        "workspace": {
            "supported": True,
            "versioned": True,
            "maxFileBytes": limits.max_workspace_file_bytes,
            "maxFiles": limits.max_workspace_files,
            "maxVersions": limits.max_workspace_versions,
        },
        "i18n": {"supported": True, "defaultLocale": base, "supportedLocales": [base, *others]},
        "content": {"supported": True, "baseLocale": base, "supportedLocales": list(others)},
        "triggerBridge": {
            "supported": True,
            "subscriptionStates": ["active"],
            "dedup": True,
            "retryPolicy": {"maxAttempts": 1, "backoff": "none"},
            "sources": list(SOURCES),
            "ingestion": {
                "externalSources": list(SOURCES),
                "maxBodyBytes": limits.max_request_bytes,
                "verification": [],
                "registrationEndpoint": True,
            },
        },
        # No agent answers here, so there is no card to read; the state of tasks can be had all the same.
        "a2a": {
            "supported": False,
            "agentCardUrl": "https://devhost.invalid/.well-known/agent-card.json",
            "durableTasks": True,
        },
    }


def _records(host_id: str) -> JsonObject:
    """What is kept beside a run's log."""
    return {
        "feedback": {"supported": True, "targets": list(TARGETS), "signals": list(SIGNALS)},
        "debugBundle": {"supported": True},
        "multiAgent": {
            "executionModel": {
                "supported": True,
                "version": 3,
                "crossHostCausation": {
                    "supported": True,
                    "hostId": host_id,
                    "ancestryEndpointSupported": True,
                },
            }
        },
    }
