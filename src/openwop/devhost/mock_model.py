"""A model that is not one: deterministic text, in tokens, for ``core.ai.callPrompt``.

The node's own config says what the model answers: ``tokens`` (a list), or ``text`` (cut into words), or nothing, in
which case it answers to ``prompt``; ``delayMsPerToken``, ``finishReason``, ``model``, ``usage``. A run started with
``configurable.mockProvider`` gets that provider's answer instead, in all its model nodes:

=============  ===============================================================================
provider       config
=============  ===============================================================================
stream-text    ``tokens delayMsPerToken finishReason usage model``
tool-calls     ``toolCalls`` [{id, name, arguments}], ``delayMsPerToken``
error          ``code message retryable failAfterMs``
usage-only     ``usage``
=============  ===============================================================================

Tokens become ``output.chunk`` events; the last one has ``isLast`` and the call's ``meta``. Each call ends with a
``provider.usage`` event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from openwop.devhost.context import NodeContext
from openwop.devhost.errors import HostError, NodeFailure, invalid
from openwop.devhost.json_values import JsonObject, is_object
from openwop.devhost.records import Draft
from openwop.devhost.schema import SchemaViolation, check

PROVIDERS = ("stream-text", "tool-calls", "error", "usage-only")
DEFAULT_TOKENS = ("mock", " response")
DEFAULT_MODEL = "mock-stream-text-v1"

_DELAY: JsonObject = {"type": "integer", "minimum": 0, "maximum": 5000}
_COUNT: JsonObject = {"type": "integer", "minimum": 0}
_USAGE: JsonObject = {
    "type": "object",
    "properties": {"promptTokens": _COUNT, "completionTokens": _COUNT, "totalTokens": _COUNT},
}
_CONFIGS: dict[str, JsonObject] = {
    "stream-text": {
        "type": "object",
        "properties": {
            "tokens": {"type": "array", "items": {"type": "string"}},
            "delayMsPerToken": _DELAY,
            "finishReason": {"type": "string"},
            "usage": _USAGE,
            "model": {"type": "string", "minLength": 1},
        },
    },
    "tool-calls": {
        "type": "object",
        "properties": {
            "toolCalls": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "name"],
                    "properties": {
                        "id": {"type": "string"},
                        "name": {"type": "string"},
                        "arguments": {"type": "string"},
                    },
                },
            },
            "delayMsPerToken": _DELAY,
        },
    },
    "error": {
        "type": "object",
        "properties": {
            "code": {"type": "string", "minLength": 1},
            "message": {"type": "string", "minLength": 1},
            "retryable": {"type": "boolean"},
            "failAfterMs": _DELAY,
        },
    },
    "usage-only": {"type": "object", "properties": {"usage": _USAGE}},
}


@dataclass(frozen=True, slots=True)
class _Answer:
    tokens: list[str]
    delay_ms: float
    finish_reason: str
    model: str
    usage: JsonObject
    tool_calls: list[Any]


def check_provider(provider: JsonObject, *, test_key: bool) -> None:
    """Check a run's ``configurable.mockProvider``.

    Raises:
        HostError: 403 for a live key, 400 for a provider that the host does not have or a config it cannot use.
    """
    if not test_key:
        raise HostError(403, "mock_provider_forbidden", "Mock providers are for test keys only.")
    if provider.get("id") not in PROVIDERS:
        message = f"There is no mock provider {provider.get('id')!r}."
        raise HostError(400, "unsupported_mock_provider", message, details={"supported": list(PROVIDERS)})
    try:
        check(provider.get("config", {}), _CONFIGS[provider["id"]])
    except SchemaViolation as violation:
        field = f"configurable.mockProvider.config.{violation.path}".removesuffix(".")
        raise invalid(f"{field} {violation.rule}.", field=field) from violation


async def call_model(context: NodeContext) -> JsonObject:
    """Stream the mock model's answer, and return it whole."""
    provider = context.state.record.configurable.get("mockProvider")
    chosen: JsonObject = (
        provider if is_object(provider) else {"id": "stream-text", "config": _own_config(context)}
    )
    config: JsonObject = chosen.get("config", {})
    if chosen["id"] == "error":
        await context.sleep(config.get("failAfterMs", 0) / 1000)
        raise NodeFailure(
            config.get("code", "provider_error"),
            config.get("message", "The mock provider was told to fail."),
            retryable=config.get("retryable", False),
        )
    answer = _answer(chosen["id"], config)
    await _stream(context, answer)
    outputs: JsonObject = {
        "text": "".join(answer.tokens),
        "finishReason": answer.finish_reason,
        "model": answer.model,
        "usage": answer.usage,
    }
    return {**outputs, "toolCalls": answer.tool_calls} if answer.tool_calls else outputs


def _own_config(context: NodeContext) -> JsonObject:
    config = context.config
    if "tokens" not in config:
        prompt = context.inputs.get("prompt", config.get("prompt"))
        text = config.get("text") or (
            f"You said: {prompt}" if prompt is not None else "".join(DEFAULT_TOKENS)
        )
        config = {**config, "tokens": re.findall(r"\s*\S+\s*$|\s*\S+", str(text))}
    for name in ("tokens", "delayMsPerToken"):
        if name in context.inputs:
            config = {**config, name: context.inputs[name]}
    try:
        check(config, _CONFIGS["stream-text"])
    except SchemaViolation as violation:
        raise NodeFailure("config_invalid", f"Node {context.node.id}: {violation}.") from violation
    return config


def _answer(provider: str, config: JsonObject) -> _Answer:
    tokens: list[str] = list(config.get("tokens", DEFAULT_TOKENS)) if provider == "stream-text" else []
    calls: list[Any] = [{"arguments": "{}", **call} for call in config.get("toolCalls", [])]
    given: JsonObject = config.get("usage", {})
    prompt_tokens = given.get("promptTokens", 1)
    completion_tokens = given.get("completionTokens", len(tokens))
    return _Answer(
        tokens=tokens,
        delay_ms=config.get("delayMsPerToken", 0),
        finish_reason=config.get("finishReason", "tool_calls" if calls else "stop"),
        model=config.get("model", DEFAULT_MODEL if provider == "stream-text" else f"mock-{provider}-v1"),
        usage={
            "promptTokens": prompt_tokens,
            "completionTokens": completion_tokens,
            "totalTokens": prompt_tokens + completion_tokens,
            **given,
        },
        tool_calls=calls,
    )


async def _stream(context: NodeContext, answer: _Answer) -> None:
    """Emit one chunk per token or tool call, from where inherited history stops, then the usage."""
    node_id, run_id = context.node.id, context.state.record.run_id
    pieces: list[tuple[str, JsonObject]] = [(token, {}) for token in answer.tokens]
    pieces += [("", {"toolCalls": [call]}) for call in answer.tool_calls]
    pieces = pieces or [("", {})]  # the end of a call is always told, even when it said nothing
    done = context.emitted
    for index, (text, meta) in list(enumerate(pieces))[done:]:
        if answer.delay_ms:
            await context.sleep(answer.delay_ms / 1000)
        last = index == len(pieces) - 1
        if last:
            meta = {**meta, "finishReason": answer.finish_reason, "usage": answer.usage}
        payload: JsonObject = {
            "nodeId": node_id,
            "runId": run_id,
            "chunk": text,
            "isLast": last,
            "meta": {**meta, "model": answer.model},
        }
        await context.emit(Draft("output.chunk", payload, node_id))
    if done > len(pieces):
        return  # the usage is in the history too
    usage: JsonObject = {
        "provider": "mock",
        "model": answer.model,
        "inputTokens": answer.usage["promptTokens"],
        "outputTokens": answer.usage["completionTokens"],
        "totalTokens": answer.usage["totalTokens"],
        "nodeId": node_id,
    }
    await context.emit(Draft("provider.usage", usage, node_id))
