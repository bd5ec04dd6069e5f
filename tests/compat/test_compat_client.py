"""What ``openwop.compat`` has beyond the old client: an async twin, streams that go on, errors that say why.

All of it is our choice, unless a test says otherwise.
"""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import threading
import urllib.error
import uuid
from typing import Any

import anyio
import pytest

import openwop
from openwop.compat import (
    AsyncOpenwopClient,
    AsyncRegistryClient,
    CreateRunRequest,
    ErrorEnvelope,
    OpenwopClient,
    RegistryClient,
    RunConfigurable,
    RunEventDoc,
    WopError,
    errors,
    stream_events,
)
from openwop.compat._wire import split_base_url, system_trust
from support.compat_side import RUN, TRACEPARENT
from support.fault_server import (
    RUN_ID,
    Close,
    FaultServer,
    Reset,
    Stall,
    WaitFor,
    batch_frame,
    comment,
    error_response,
    event_doc,
    frame,
    json_response,
    run_log,
    snapshot_doc,
    sse_response,
)
from support.processes import DevHostProcess

KEY = "hk_test_key"
# Under trio stock httpx leaves its own inner generators to the garbage collector when a stream is left early.
LEFT_BY_HTTPX = pytest.mark.filterwarnings(
    "ignore:Async generator 'http:ResourceWarning",
    "ignore:Exception ignored in. <async_generator object:pytest.PytestUnraisableExceptionWarning",
)
RUN_ERROR = {"status": 404, "envelope": ErrorEnvelope("not_found", "scripted")}


# -- the async client -----------------------------------------------------------------------------------------


@LEFT_BY_HTTPX
@pytest.mark.anyio
async def test_the_async_client_has_the_same_program_awaited() -> None:
    """We chose the same names, answers and errors, under both event loops."""
    with FaultServer() as server, anyio.fail_after(10):
        server.on("POST", "/v1/runs", json_response(201, {"runId": RUN_ID, "status": "pending"}))
        server.on("GET", RUN, error_response(404, "not_found"))
        server.on("GET", f"{RUN}/events", sse_response(*map(frame, run_log(3))))
        server.on("GET", f"{RUN}/ancestry", error_response(404, "not_found"))
        async with AsyncOpenwopClient(server.base_url, KEY) as client:
            created = await client.runs_create(CreateRunRequest("w"))
            assert created.eventsUrl == f"{server.base_url}{RUN}/events"
            assert [event.sequence async for event in client.runs_events(created.runId)] == [0, 1, 2]
            assert await client.runs_ancestry(created.runId) is None
            with pytest.raises(WopError) as caught:
                await client.runs_get(created.runId)
        assert {name: getattr(caught.value, name) for name in RUN_ERROR} == RUN_ERROR


@LEFT_BY_HTTPX
@pytest.mark.anyio
async def test_an_async_stream_is_closed_by_its_with() -> None:
    """We chose that leaving the block closes the connection at once, and that the stream is over then."""
    with FaultServer() as server, anyio.fail_after(10):
        server.on("GET", f"{RUN}/events", sse_response(frame(event_doc(0)), Stall(), end=False))
        async with AsyncOpenwopClient(server.base_url, KEY) as client:
            async with client.runs_events(RUN_ID) as events:
                assert (await anext(events)).sequence == 0
            await server.until_closed()
            assert [event async for event in events] == []


@pytest.mark.anyio
async def test_the_async_registry_reads_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """We chose that a registry never gets a key, not even one that the environment has for a host."""
    monkeypatch.setenv("OPENWOP_API_KEY", KEY)
    with FaultServer() as server, anyio.fail_after(10):
        server.on("GET", "/v1/packs/@acme/p/index.json", json_response(200, {"versions": ["1"]}))
        async with AsyncRegistryClient(base_url=server.base_url) as registry:
            assert (await registry.pack("@acme/p")).name == "@acme/p"
        assert "authorization" not in server.requests[-1].headers


# -- clients --------------------------------------------------------------------------------------------------


def test_a_client_can_be_closed() -> None:
    """We chose ``close()`` and ``with``, which the old client does not need; afterwards a use says what is wrong."""
    with FaultServer() as server:
        server.on("GET", RUN, json_response(200, snapshot_doc()))
        with OpenwopClient(server.base_url, KEY) as client:
            assert client.runs_get(RUN_ID).status == "running"
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.runs_get(RUN_ID)
        server.wait_until_closed()


def test_a_program_that_closes_nothing_exits(devhost_process: DevHostProcess) -> None:
    """We chose that programs for the old client, which has nothing to close, end as they did."""
    program = """
import os
from openwop.compat import CreateRunRequest, OpenwopClient
client = OpenwopClient(os.environ["OPENWOP_BASE_URL"], os.environ["OPENWOP_API_KEY"])
run = client.runs_create(CreateRunRequest("openwop-approval", inputs={"text": "x"}))
events = client.runs_events(run.runId)
print(next(events).type)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=devhost_process.environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "run.started\n", "")


def test_a_connection_that_the_host_has_closed_meanwhile_costs_no_call() -> None:
    """We chose to keep connections, so a call that meets a closed one is sent again, under the same key."""
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("POST", "/v1/runs", json_response(201, {"runId": RUN_ID, "status": "pending"}))
        client.runs_create(CreateRunRequest("w"))
        server.drop_connections()
        assert client.runs_create(CreateRunRequest("w")).runId == RUN_ID


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """We chose that address, key and time limit are those that the program gives, as the old client has it."""
    monkeypatch.setenv("OPENWOP_API_KEY", "hk_other")
    monkeypatch.setenv("OPENWOP_BASE_URL", "https://other.example")
    monkeypatch.setenv("OPENWOP_TIMEOUT", "never")
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("GET", RUN, json_response(200, snapshot_doc()))
        client.runs_get(RUN_ID)
        assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_no_key_is_in_a_repr() -> None:
    """We chose that a key is never shown."""
    assert (
        repr(OpenwopClient("https://host.example/base", KEY)) == "OpenwopClient('https://host.example/base')"
    )


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://h.example", ("https://h.example", "")),
        ("https://h.example:8443/", ("https://h.example:8443/", "")),
        ("https://h.example/a/b/", ("https://h.example", "/a/b")),
        ("https://h.example/ä%20", ("https://h.example", "/%C3%A4%20")),
        ("https://h.example/v1", ("https://h.example/v1", "")),
        ("https://h.example/a?x=1", ("https://h.example/a?x=1", "")),
        ("h.example/a", ("h.example/a", "")),
    ],
)
def test_the_path_of_an_address_stands_in_front_of_every_path(url: str, parts: tuple[str, str]) -> None:
    """We chose to allow what the old client allowed; what cannot work is left for the native client to refuse."""
    assert split_base_url(url) == parts


def test_the_systems_authorities_are_trusted() -> None:
    """We chose to trust what urllib trusts, as the old client does: a company's own authority is in there."""
    import ssl

    context = system_trust("https://host.example")
    if context is not True:
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.get_ca_certs() == ssl.create_default_context().get_ca_certs()
    assert system_trust("http://127.0.0.1:1") is True


# -- streams --------------------------------------------------------------------------------------------------


def test_a_stream_survives_several_drops_without_losing_or_repeating_an_event() -> None:
    """We chose to go on over drops of any kind, from the last event on."""
    log = run_log(12)
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("GET", RUN, json_response(200, snapshot_doc()))
        server.on(
            "GET",
            f"{RUN}/events",
            sse_response(*map(frame, log[:3])),
            (Close(),),
            sse_response(batch_frame(log[1:6]), Reset(), end=False),
            sse_response(frame(log[6]), b"id: 7\ndata: {"),
            sse_response(comment(), *map(frame, log[6:])),
        )
        events = list(client.runs_events(RUN_ID))
        # The reset may have taken with it what was sent before it.
        assert [event.sequence for event in events] == sorted({event.sequence for event in events})
        assert {0, 1, 2, 6, 7, 8, 9, 10, 11} <= {event.sequence for event in events}
        assert events[0] == RunEventDoc(**log[0])
        assert [
            request.headers.get("last-event-id") for request in server.requests if "events" in request.target
        ][:2] == [None, "2"]


def test_what_a_stream_left_out_at_its_end_is_read_from_the_log() -> None:
    """We chose to give the end of a run from its log, in the host's own words, where the stream was cut before it."""
    log = run_log(5)
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("GET", f"{RUN}/events", sse_response(*map(frame, log[:2])))
        server.on("GET", RUN, json_response(200, snapshot_doc("completed")))
        server.on("GET", f"{RUN}/events/poll", json_response(200, {"events": log[2:], "isComplete": True}))
        assert list(client.runs_events(RUN_ID)) == [RunEventDoc(**document) for document in log]


def test_a_stream_gives_up_by_an_error_that_programs_catch() -> None:
    """We chose ``WopError`` for a stream that cannot go on; the native error says where it stopped."""
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("GET", f"{RUN}/events", sse_response(frame(event_doc(7)), Stall(), end=False))
        events = client.runs_events(RUN_ID, timeout_seconds=0.2)
        assert next(events).sequence == 7
        with pytest.raises(TimeoutError) as caught:
            next(events)
        assert isinstance(caught.value, WopError)
        assert isinstance(caught.value.__cause__, openwop.RequestTimeoutError)
        assert len(server.requests) == 2


def test_a_long_stream_keeps_nothing_of_what_it_has_delivered() -> None:
    """We chose to keep an event's JSON only until it is delivered."""
    from openwop._core.position import Position
    from openwop._core.sse import SseDecoder
    from openwop.compat._stream import _Documents

    delivery = _Documents(("updates",), Position(None), lambda *_: None)
    decoder = SseDecoder()
    for sequence in range(0, 3000, 3):
        for expected in ([sequence], []):  # the second time it is a repetition
            events = delivery.receive(decoder.feed(frame(event_doc(sequence))))
            assert [delivery.take(event)["sequence"] for event in events] == expected
    assert len(delivery._kept) <= 2


def test_stream_events_needs_no_client() -> None:
    """We chose that the function closes what it has opened, when its stream ends and when it is left."""
    with FaultServer() as server:
        server.on("GET", f"{RUN}/events", sse_response(*map(frame, run_log(3))))
        assert [event.type for event in stream_events(server.base_url, KEY, RUN_ID)][-1] == "run.completed"
        events = stream_events(server.base_url, KEY, RUN_ID, last_event_id="1")
        assert next(events).sequence in (0, 2)
        events.close()  # type: ignore[attr-defined]
        server.wait_until_closed()


def test_stream_events_left_half_way_may_be_collected_by_the_loop_itself() -> None:
    """We chose that it ends wherever the collector comes upon it, without waiting there for the loop."""
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        parts = [*map(frame, run_log(3, end=None)), Stall()]
        server.on("GET", f"{RUN}/events", sse_response(*parts, end=False))
        events = stream_events(server.base_url, KEY, RUN_ID)
        assert next(events).sequence == 0
        left = [events]
        del events
        client._portal.run(left.clear)  # the last reference goes in the loop's thread
        server.wait_until_closed()


# -- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [WopError, errors.TimedOut, errors.Disconnected, errors.Unreachable, errors.Refused]
)
def test_every_error_survives_pickle_and_copy(kind: type[WopError]) -> None:
    """We chose that errors can travel between processes, whatever else they are."""
    error = kind(503, '{"x": 1}', ErrorEnvelope("unavailable", "later"), TRACEPARENT)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  # our own bytes
        assert type(twin) is kind
        assert (str(twin), twin.status, twin.raw_text) == (f"later (trace={'ab' * 16})", 503, '{"x": 1}')
        assert (twin.envelope, twin.trace_id) == (error.envelope, "ab" * 16)


def test_a_refused_stream_survives_pickle_after_its_body_was_read() -> None:
    """We chose it: what logs an error reads its body, and may send it on after that."""
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("GET", "*", error_response(403, "forbidden", "not yours", retry_after=3))
        with pytest.raises(urllib.error.HTTPError) as caught:
            next(client.runs_events(RUN_ID))
        body = caught.value.read()
        twin = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own bytes
        assert (twin.code, twin.url, twin.headers["retry-after"]) == (403, caught.value.url, "3")
        assert (str(twin), twin.envelope, twin.read()) == (
            "not yours",
            ErrorEnvelope("forbidden", "not yours"),
            body,
        )


def test_the_native_error_is_the_cause() -> None:
    """We chose that nothing of what this library knows of a failure is lost."""
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("GET", "*", error_response(429, "rate_limited", retry_after=7))
        with pytest.raises(WopError) as caught:
            client.runs_get(RUN_ID)
        assert isinstance(caught.value.__cause__, openwop.RateLimitedError)
        assert caught.value.__cause__.retry_after == 7
        assert isinstance(caught.value, openwop.OpenwopError)
        with pytest.raises(urllib.error.HTTPError) as refused:
            next(client.runs_events(RUN_ID))
        assert (refused.value.code, refused.value.headers["retry-after"]) == (429, "7")
        assert b"rate_limited" in refused.value.read()
        with pytest.raises(WopError) as unsent:
            client.runs_get("..")
        assert isinstance(unsent.value.__cause__, openwop.RequestValidationError)


def test_a_key_in_a_hosts_message_is_not_shown() -> None:
    """We chose that no text of an error holds a credential; the attributes are the host's own words."""
    text = "bad header Authorization: Bearer hk_live_0123456789abcdef0123456789abcdef"
    error = WopError(401, "", ErrorEnvelope("unauthenticated", text))
    assert "0123456789abcdef" not in str(error) + repr(error)
    assert error.envelope is not None
    assert error.envelope.message == text


# -- reading and writing --------------------------------------------------------------------------------------


def test_options_do_not_share_what_the_caller_holds() -> None:
    """We chose that the dict of options is a new one, extras beside the rest."""
    overrides = {"a": "b"}
    options = RunConfigurable(promptOverrides=overrides, extras={"x": None})
    given = options.to_dict()
    given["promptOverrides"]["c"] = "d"
    assert overrides == {"a": "b"}
    assert given == {"promptOverrides": {"a": "b", "c": "d"}, "x": None}


def test_importing_the_package_alone_loads_nothing_of_this() -> None:
    """We chose that ``import openwop`` stays light."""
    code = "import sys, openwop; print([name for name in sys.modules if name.startswith('openwop.compat')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_registry_client_is_blocking_and_closable() -> None:
    """We chose ``close()`` and ``with`` for it, too."""
    with FaultServer() as server:
        server.on("GET", "/v1/index.json", json_response(200, {"packs": [{"name": "p"}, "odd"]}))
        with RegistryClient(base_url=server.base_url) as registry:
            assert [pack.name for pack in registry.index().packs] == ["p"]
            assert registry.base_url == server.base_url


def test_clients_that_nobody_closes_end_when_nobody_has_them_any_more() -> None:
    """We chose that a program may make a client for each call, as it may with the old one."""
    with FaultServer() as server:
        server.on("GET", RUN, json_response(200, snapshot_doc()))
        for _ in range(20):
            OpenwopClient(server.base_url, KEY).runs_get(RUN_ID)
        gc.collect()
        server.wait_until_closed()
        assert len(server.requests) == 20


def test_a_stream_outlives_the_name_of_its_client() -> None:
    """We chose that a client lives for as long as a stream of it is in use, and no longer."""
    with FaultServer() as server:
        rest = threading.Event()
        log = run_log(3)
        script = sse_response(frame(log[0]), WaitFor(rest), frame(log[1]), frame(log[2]))
        server.on("GET", f"{RUN}/events", script)
        events = OpenwopClient(server.base_url, KEY).runs_events(RUN_ID)
        assert next(events).sequence == 0
        gc.collect()
        rest.set()
        assert [event.sequence for event in events] == [1, 2]
        del events
        gc.collect()
        server.wait_until_closed()


def test_an_id_may_be_anything_that_has_a_text() -> None:
    """We chose to take what the old client took: programs give a UUID where an id is meant."""
    run_id = uuid.UUID(int=5)
    with FaultServer() as server, OpenwopClient(server.base_url, KEY) as client:
        server.on("GET", f"/v1/runs/{run_id}", json_response(200, snapshot_doc()))
        assert client.runs_get(run_id).status == "running"  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [None, float("inf"), 10**9])
def test_no_time_limit_is_a_long_one(limit: Any) -> None:
    """We chose an hour where the old client would wait for ever, and 23 hours where a program asks for longer."""
    with FaultServer() as server, OpenwopClient(server.base_url, KEY, limit) as client:
        server.on("GET", f"{RUN}/events", sse_response(*map(frame, run_log(2))))
        server.on("GET", RUN, json_response(200, snapshot_doc()))
        assert len(list(client.runs_events(RUN_ID, timeout_seconds=limit))) == 2
        assert client.runs_get(RUN_ID).status == "running"
