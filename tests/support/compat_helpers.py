"""Scenarios: the helpers beside the client, and the registry."""

from __future__ import annotations

from functools import partial
from typing import Any

from support.compat_side import Side, scenario
from support.fault_server import (
    bytes_response,
    empty_response,
    json_response,
)

# -- helpers ---------------------------------------------------------------------------------------------------


@scenario
def event_predicates(side: Side) -> Any:
    payloads: list[Any] = [
        None, [], "x", {}, {"agentId": "a", "reasoning": "r"}, {"agentId": "a", "delta": "d", "sequence": 0},
        {"agentId": "a", "delta": "d", "sequence": True}, {"agentId": "a", "delta": "d", "sequence": -1},
        {"agentId": "a", "toolName": "t", "callId": "c"}, {"fromAgentId": "a", "toAgentId": "b"},
        {"agentId": "a", "decision": None}, {"agentId": 5, "decision": 1}, {"memoryRef": "m", "memoryId": "i"},
    ]  # fmt: skip
    kinds = "reasoned reasoning_delta tool_called tool_returned handoff decided".split()
    names = [f"agent_{kind}" for kind in kinds] + ["memory_written"]
    types = (
        "agent.reasoned agent.reasoning.delta agent.toolCalled agent.toolReturned agent.handoff agent.decided"
    )
    found = []
    for kind in [*types.split(), "memory.written", "other"]:
        for payload in payloads:
            event = side.module.RunEventDoc("e", "r", kind, payload, "t", 0)
            for name in names:
                is_it, given = (getattr(side.module, form.format(name)) for form in ("is_{}", "{}_payload"))
                found.append((is_it(event), given(event)))
    return found


@scenario
def event_types_as_newer_hosts_spell_them(side: Side) -> Any:
    payload = {"agentId": "a", "toolName": "t", "callId": "c"}
    event = side.module.RunEventDoc("e", "r", "agent.tool-called", payload, "t", 0)
    return side.module.is_agent_tool_called(event)


@scenario
def webhook_signatures(side: Side) -> Any:
    sign, verify = side.module.sign_webhook_delivery, side.module.verify_webhook_signature
    signature, stamp = sign("whsec", 1000, b"{}")
    found = [(signature, stamp), sign("whsec", 5, "ä")]
    headers: list[Any] = [
        (signature, stamp), (signature.upper().replace("V1", "v1"), stamp), (signature, " 1000 "), (signature, "999"),
        ("v1=", stamp), ("v1=xyz", stamp), ("v2=00", stamp), ("v1=00", stamp), (signature, "abc"), (signature, None),
        (signature, "0"), (signature, "-5"), (signature + "\n", stamp),
    ]  # fmt: skip
    for now, window in ((1000, 300), (1300, 300), (1301, 300), (699, 300), (9999, 0)):
        at = partial(verify, now_seconds=now, freshness_window_seconds=window)
        found += [side.see(partial(at, "whsec", *pair, b"{}")) for pair in headers]
    return found


@scenario
def webhook_signatures_as_hosts_send_them(side: Side) -> Any:
    signature, stamp = side.module.sign_webhook_delivery("whsec", 1000, b"{}")
    given = signature.replace("v1=", "sha256=")
    verify = side.module.verify_webhook_signature
    return side.see(lambda: verify("whsec", given, stamp, b"{}", now_seconds=1000))


@scenario
def a_webhook_without_a_signature(side: Side) -> Any:
    return side.see(
        lambda: side.module.verify_webhook_signature("whsec", None, "1000", b"{}", now_seconds=1000)
    )


@scenario
def a_secret_in_a_repr(side: Side) -> Any:
    return "whsec" in repr(side.module.RegisterWebhookResponse("wh-1", "https://e", "whsec", [], ""))


@scenario
def codes_and_statuses(side: Side) -> Any:
    types = side.module.types
    values: list[Any] = ["validation_error", "run_timeout", "nope", 5, None]
    statuses: list[Any] = ["running", "completed", "timed-out", None]
    return (
        [(side.module.is_http_error_code(value), types.is_run_error_code(value)) for value in values],
        [types.is_terminal_run_status(status) for status in statuses],
    )


# -- the registry ----------------------------------------------------------------------------------------------


@scenario
def a_registry(side: Side) -> Any:
    on = side.on
    discovery = {
        "registryVersion": "1",
        "protocolVersion": "1.0",
        "endpoints": {"a": "b"},
        "signingKeys": [{"id": 1}],
    }
    on("GET", "/base/.well-known/openwop-registry", json_response(200, discovery))
    on(
        "GET",
        "/base/v1/index.json",
        json_response(200, {"packs": [{"name": "p", "latestVersion": "2"}], "packCount": 1}),
    )
    on("GET", "/base/v1/packs/p/index.json", json_response(200, {"name": "p", "versions": ["1", "2"]}))
    on(
        "GET",
        "/base/v1/packs/p/-/2.json",
        json_response(200, {"name": "p", "version": "2", "integrity": "sha"}),
    )
    on("GET", "/base/v1/packs/p/-/2.tgz", bytes_response(200, b"\x1f\x8b", "application/gzip"))
    on("GET", "/base/v1/packs/p/-/2.sig", bytes_response(200, b"s" * 64, "application/octet-stream"))
    on("GET", "/base/keys/k.pub", bytes_response(200, b"-----BEGIN", "text/plain"))
    registry = side.registry("/base/")
    found = [
        registry.base_url == side.server.base_url + "/base",
        *(side.see(call) for call in (registry.discovery, registry.index, lambda: registry.pack("p"))),
        *(
            side.see(lambda call=call: call("p", "2"))
            for call in (registry.version, registry.tarball, registry.signature)
        ),
        side.see(lambda: registry.public_key("k")),
    ]
    return found, {request.headers.get("authorization") for request in side.server.requests}


@scenario
def a_registry_whose_address_is_set_later(side: Side) -> Any:
    registry = side.registry()

    def move() -> str:
        registry.base_url = f"{side.server.base_url}/other"
        return str(registry.base_url)

    return side.kinds(move)


@scenario
def a_registry_that_does_not_have_it(side: Side) -> Any:
    side.on("GET", "*", empty_response(404))
    return side.kinds(lambda: side.registry().pack("nope"))


@scenario
def a_registry_that_answers_html(side: Side) -> Any:
    side.on("GET", "*", bytes_response(200, b"<html>", "text/html"))
    return side.kinds(lambda: side.registry().index())
