"""What ends badly with ``openwop-client`` itself and well with the same program on ``openwop.compat``.

Each test shows both: the page for users of the reference SDK promises that these things get better, and a release of
the reference that does one of them right asks for another sentence there.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from openwop.webhooks import signed_headers
from support.fault_server import FaultServer
from support.fault_steps import RUN_ID, error_response, json_response, run_log
from support.processes import DevHostProcess
from support.run_log_host import RunLogHost, StreamFault

KEY = "hk_test_1"


@pytest.fixture
def original() -> ModuleType:
    return pytest.importorskip("openwop_client", reason="openwop-client is not installed")


@pytest.fixture
def compat() -> ModuleType:
    return importlib.import_module("openwop.compat")


def sequences(module: ModuleType, base_url: str) -> list[int]:
    return [event.sequence for event in module.OpenwopClient(base_url, KEY).runs_events(RUN_ID)]


def test_a_dropped_stream_goes_on_instead_of_ending_early(original: ModuleType, compat: ModuleType) -> None:
    """We chose it: the original takes the end of a connection for the end of the run."""
    log = run_log(6)
    wanted = [event["sequence"] for event in log]
    for module, expected in ((original, wanted[:3]), (compat, wanted)):
        with FaultServer() as server:
            RunLogHost(server, log, faults=[StreamFault(cut_after_events=3)])
            assert sequences(module, server.base_url) == expected


def test_a_webhook_can_be_registered_at_a_host_that_answers_as_the_document_says(
    original: ModuleType, compat: ModuleType, devhost_process: DevHostProcess
) -> None:
    """The protocol demands ``webhookId`` of the answer, and nothing else; the original looks for other names."""
    for module in (original, compat):
        client = module.OpenwopClient(devhost_process.base_url, devhost_process.api_key)
        body = module.RegisterWebhookRequest(url="https://receiver.example/hook", events=["run.completed"])
        if module is original:
            with pytest.raises(KeyError):
                client.webhooks_register(body)
        else:
            registered = client.webhooks_register(body)
            assert registered.url == body.url
            assert registered.eventTypes == body.events
            client.webhooks_unregister(registered.subscriptionId)


def test_an_option_of_a_run_goes_out_alone(
    original: ModuleType, compat: ModuleType, devhost_process: DevHostProcess
) -> None:
    """The protocol knows no ``null`` for an option; the original sends one for each that is not set."""
    for module in (original, compat):
        client = module.OpenwopClient(devhost_process.base_url, devhost_process.api_key)
        options = module.RunConfigurable(recursionLimit=10, extras={"acme.tone": "formal"})
        body = module.CreateRunRequest(workflowId="conformance-noop", configurable=options)
        if module is original:
            with pytest.raises(module.WopError) as refused:
                client.runs_create(body)
            assert refused.value.envelope.error == "validation_error"
        else:
            assert client.runs_get(client.runs_create(body).runId).configurable == {
                "recursionLimit": 10,
                "acme.tone": "formal",
            }


def test_the_signature_of_a_delivery_as_hosts_send_it_is_read(
    original: ModuleType, compat: ModuleType
) -> None:
    """The protocol demands ``sha256=`` before the digits (``webhooks.md``); the original reads ``v1=`` only."""
    body = b'{"runId": "run-1", "event": {"type": "run.completed", "sequence": 4}}'
    headers = signed_headers("a secret", body)
    arguments = "a secret", headers["X-openwop-Signature"], headers["X-openwop-Timestamp"], body
    refused = original.verify_webhook_signature(*arguments)
    assert (refused.valid, refused.reason) == (False, "malformed_signature_header")
    assert compat.verify_webhook_signature(*arguments) == compat.VerifyValid()
    assert not compat.verify_webhook_signature("another secret", *arguments[1:]).valid


def test_a_host_may_leave_out_what_it_need_not_say(original: ModuleType, compat: ModuleType) -> None:
    """We chose it: readers are tolerant.  The original raises ``KeyError`` for a limit that a host does not state."""
    document = {"protocolVersion": "1.0", "limits": {"envelopesPerTurn": 5}}
    with FaultServer() as server:
        server.on("GET", "/.well-known/openwop", json_response(200, document))
        with pytest.raises(KeyError):
            original.OpenwopClient(server.base_url, KEY).discovery_capabilities()
        caps = compat.OpenwopClient(server.base_url, KEY).discovery_capabilities()
    assert (caps.protocolVersion, caps.limits.envelopesPerTurn) == ("1.0", 5)
    assert not caps.supportedEnvelopes


def test_every_failure_of_a_stream_can_be_caught_as_the_one_error_class(
    original: ModuleType, compat: ModuleType
) -> None:
    """We chose it: the original lets ``urllib``'s error through, which a program may catch here as before."""
    import urllib.error

    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}/events", error_response(401, "unauthenticated", "who are you?"))
        with pytest.raises(urllib.error.HTTPError) as theirs:
            sequences(original, server.base_url)
        assert not isinstance(theirs.value, original.WopError)
        theirs.value.close()
        with pytest.raises(compat.WopError) as ours:
            sequences(compat, server.base_url)
    assert isinstance(ours.value, urllib.error.HTTPError)
    assert (ours.value.status, ours.value.code, ours.value.envelope.error) == (401, 401, "unauthenticated")
