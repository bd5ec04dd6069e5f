"""Scripted faults: what each does to an exchange, and that the client loses nothing and gets nothing twice."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from devhost.kit import PATIENCE, Api, refusal
from openwop import (
    AsyncOpenwopClient,
    ConnectionFailedError,
    NotFoundError,
    RateLimitedError,
    RequestTimeoutError,
    RunSnapshot,
    ServerError,
)
from openwop.devhost import DevHost
from openwop.devhost.personalities import PERSONALITIES
from openwop.devhost.scenario import (
    Bom,
    Drip,
    Drop,
    Duplicate,
    Effect,
    End,
    ErrorCodes,
    GarbledEvent,
    Hold,
    HugeEvent,
    IgnoreLastEventId,
    IgnorePollCursor,
    IgnoreStreamMode,
    JsonInsteadOfSse,
    NoIds,
    Overlap,
    PollOnly,
    Remove,
    Rename,
    Reset,
    Silence,
    Status,
    UnknownEvents,
    UnknownStatus,
    load_faults,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["in process", "on a port"])
async def way(request: pytest.FixtureRequest, host: DevHost) -> AsyncIterator[dict[str, Any]]:
    """How a client gets to the host: both ways it has to meet the same bytes."""
    if request.param == "in process":
        yield {}
    else:
        async with host.serve() as base_url:
            yield {"base_url": base_url, "http_client": None}


@pytest_asyncio.fixture
async def client(host: DevHost, way: dict[str, Any]) -> AsyncIterator[AsyncOpenwopClient]:
    async with host.client(**way) as connected:
        yield connected


async def log_of(host: DevHost, run_id: str) -> list[tuple[int, str]]:
    """The whole truth about a run."""
    return [(event.sequence, event.type) for event in host.run(run_id).read(0)]


# For each: the fault, whether it is seen only by a stream that is resumed, and what the stream says of it afterwards.
STREAM_FAULTS: list[tuple[Effect, dict[str, Any]]] = [
    (Drop(), {"reconnects": 1}),
    (Drop(after_events=3), {"reconnects": 1}),
    (Drop(after_bytes=0), {"reconnects": 1}),
    (Drop(after_bytes=777), {"reconnects": 1}),
    (Drop(after_events=2, inside="frame"), {"reconnects": 1}),
    (Drop(after_events=2, inside="character"), {"reconnects": 1}),
    (End(), {}),
    (End(after_events=2), {"reconnects": 1}),
    (Drip(size=5), {"reconnects": 0}),
    (Hold(), {}),
    (Status(429, retry_after_s=0), {"reconnects": 0}),
    (PollOnly(), {"transport": "poll"}),
    (PollOnly(501), {"transport": "poll"}),
    (JsonInsteadOfSse(), {"transport": "poll"}),
    (Duplicate(), {"reconnects": 0}),
    (NoIds(batches_only=False), {"reconnects": 0}),
    (Rename(), {"reconnects": 0}),
    (Remove(), {"reconnects": 0}),
    (Bom(), {"reconnects": 0}),
    (HugeEvent(index=4), {"skipped": 1}),
    (GarbledEvent(index=4), {"skipped": 1}),
    (GarbledEvent(index=0, how="utf-8"), {"skipped": 1}),
]


@pytest.mark.duty("E.78")
@pytest.mark.parametrize(("effect", "seen"), STREAM_FAULTS, ids=lambda value: repr(value)[:60])
async def test_a_stream_loses_nothing_and_repeats_nothing(
    host: DevHost, client: AsyncOpenwopClient, effect: Effect, seen: dict[str, Any]
) -> None:
    """The protocol wants each event once; each of these hosts is one that there is, or a network that there is."""
    run = await client.start("openwop-demo")
    fault = host.faults.add(effect)
    async with run.events(mode="debug") as stream:
        got = [(event.sequence, event.type) async for event in stream]
    assert got == await log_of(host, run.id)
    assert fault.hits >= 1
    assert {name: getattr(stream, name) for name in seen} == seen


@pytest.mark.duty("E.91")
@pytest.mark.parametrize("effect", [Silence(), Silence(after_events=2), Silence(after_bytes=100)], ids=repr)
async def test_a_stream_that_falls_silent_is_resumed(
    host: DevHost, way: dict[str, Any], effect: Effect
) -> None:
    """We chose the time: a connection on which nothing is said for so long is dead, whatever TCP thinks."""
    async with host.client(stream_idle_timeout=0.3, timeout=0.3, **way) as client:
        run = await client.start("openwop-demo")
        fault = host.faults.add(effect)
        async with run.events(mode="debug") as stream:
            got = [(event.sequence, event.type) async for event in stream]
    assert got == await log_of(host, run.id)
    assert fault.hits == 1


@pytest.mark.duty("E.87")
@pytest.mark.parametrize(
    "effect", [IgnoreLastEventId(), Overlap(3), Overlap(100), NoIds(batches_only=False), Rename()], ids=repr
)
async def test_a_stream_that_goes_on_in_the_wrong_place_repeats_nothing(
    host: DevHost, client: AsyncOpenwopClient, effect: Effect
) -> None:
    """We chose it: what a host sends again after a broken connection is told by its sequence, and passed over."""
    run = await client.start("openwop-demo")
    host.faults.add(effect)
    drop = host.faults.add(Drop(after_events=4), times=3)
    async with run.events(mode="debug") as stream:
        got = [(event.sequence, event.type) async for event in stream]
    assert got == await log_of(host, run.id)
    assert (drop.hits, stream.reconnects) == (3, 3)


@pytest.mark.parametrize(
    "effect", [IgnorePollCursor(), Overlap(2), Rename({"sequence": "seq", "payload": "data"})]
)
async def test_a_poll_that_goes_on_in_the_wrong_place_repeats_nothing(
    host: DevHost, client: AsyncOpenwopClient, effect: Effect
) -> None:
    """We chose it: the same holds for a host without streams."""
    host.runtime.limits = type(host.runtime.limits)(
        poll_page_size=4 if not isinstance(effect, IgnorePollCursor) else 99
    )
    run = await client.start("openwop-demo")
    host.faults.add(effect)
    host.faults.add(PollOnly())
    async with run.events(mode="debug") as stream:
        got = [(event.sequence, event.type) async for event in stream]
    assert got == await log_of(host, run.id)


@pytest.mark.parametrize("buffer_ms", [1, 5000])
async def test_batches_without_ids_are_resumed_behind_their_last_event(
    host: DevHost, client: AsyncOpenwopClient, buffer_ms: int
) -> None:
    """We chose it: two public hosts leave the id of a batch out."""
    run = await client.start("openwop-demo")
    await run.result()
    host.faults.add(NoIds())
    host.faults.add(Drop(after_events=5), times=2)
    async with run.events(buffer_ms=buffer_ms, mode="debug") as stream:
        got = [(event.sequence, event.type) async for event in stream]
    assert got == await log_of(host, run.id)


@pytest.mark.duty("E.79")
async def test_events_of_an_unknown_type_reach_the_reader(host: DevHost, client: AsyncOpenwopClient) -> None:
    """The protocol demands that a reader goes on; we chose that it is shown them."""
    run = await client.start("openwop-demo")
    host.faults.add(UnknownEvents(type="acme.unheard-of", instead_of=("node.completed", "output.chunk")))
    async with run.events(mode="debug") as stream:
        got = [(event.sequence, event.type) async for event in stream]
    unknown = {"node.completed": "acme.unheard-of", "output.chunk": "acme.unheard-of"}
    assert got == [(sequence, unknown.get(name, name)) for sequence, name in await log_of(host, run.id)]
    assert "acme.unheard-of" in dict(got).values()


async def test_a_mode_that_the_host_ignores_is_kept_by_the_client(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose nothing here but to show it: the host sends the whole log, and nothing of it comes twice."""
    run = await client.start("openwop-demo")
    host.faults.add(IgnoreStreamMode())
    async with run.events() as stream:
        sequences = [event.sequence async for event in stream]
    assert sequences == sorted(set(sequences))
    assert len(sequences) > 3


async def test_an_unknown_status_is_passed_on(host: DevHost, client: AsyncOpenwopClient) -> None:
    """The protocol's statuses are open; the snapshot has what the host said, and the stream still ends once."""
    run = await client.start("openwop-demo")
    await run.result()
    host.faults.add(UnknownStatus("acme.archived", instead_of="completed"))
    snapshot = await client.runs.get(run.id)
    async with run.events(mode="debug") as stream:
        got = [(event.sequence, event.type) async for event in stream]
    assert snapshot.status == "acme.archived"
    assert got == await log_of(host, run.id)
    async with run.events(mode="values") as values:
        states = [state async for state in values]
    assert isinstance(states[-1], RunSnapshot)
    assert states[-1].status == "acme.archived"


async def test_a_created_run_without_its_urls_can_be_followed(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: a client that knows the run's id needs no more."""
    host.faults.add(Remove(("eventsUrl", "statusUrl", "nodeId")))
    run = await client.start("openwop-demo")
    async with run.events(mode="debug") as stream:
        events = [event async for event in stream]
    assert [(event.sequence, event.type) for event in events] == await log_of(host, run.id)
    assert {event.node_id for event in events} == {None}


async def test_text_comes_once_however_often_the_connection_breaks(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: where the frames of tokens have ids, a broken connection costs no word and doubles none."""
    run = await client.start("openwop-demo")
    await run.result()
    chunks = [event.payload["chunk"] for event in host.run(run.id).read(0) if event.type == "output.chunk"]
    host.faults.add(Drop(after_events=1), times=4)
    async with run.events(mode="messages") as stream:
        got = [chunk.chunk async for chunk in stream]
    assert len(chunks) > 4
    assert got == chunks
    assert stream.gaps == 0


# -- other calls -----------------------------------------------------------------------------------------------


@pytest.mark.duty("D.63")
@pytest.mark.parametrize("processed", [False, True])
async def test_a_run_is_created_once_although_the_answer_was_an_error(
    host: DevHost, client: AsyncOpenwopClient, processed: bool
) -> None:
    """The protocol's idempotency: the call is repeated under its key, whether the host had done it or not."""
    fault = host.faults.add(Status(503, retry_after_s=0, processed=processed), operation="createRun")
    answer = await client.runs.with_raw_response.create("conformance-noop")
    assert (await client.get_run_handle(answer.data.run_id).result()).status == "completed"
    assert (fault.hits, answer.idempotent_replay) == (1, processed)


@pytest.mark.parametrize("processed", [False, True])
async def test_a_reset_connection_is_tried_again_under_the_same_key(host: DevHost, processed: bool) -> None:
    """As above, with no answer at all; only in process."""
    async with host.client() as client:
        fault = host.faults.add(Reset(processed=processed), operation="createRun")
        answer = await client.runs.with_raw_response.create("conformance-noop")
        assert (fault.hits, answer.idempotent_replay) == (1, processed)
        host.faults.add(Reset(), path="/v1/runs/*", method="GET", times="always")
        with pytest.raises(ConnectionFailedError):
            await client.with_options(max_retries=0).runs.get(answer.data.run_id)


async def test_on_a_port_a_reset_says_that_it_cannot_be_done(
    host: DevHost, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: a server's connection is not the application's to break, and nobody is to wait for it."""
    async with host.serve() as url, AsyncOpenwopClient(url, host.api_key, max_retries=0) as client:
        host.faults.add(Reset(), operation="getRun")
        with caplog.at_level(logging.ERROR, "openwop.devhost"), pytest.raises(ServerError) as caught:
            await client.runs.get("run-1")
    assert caught.value.code == "fault_unavailable"
    assert "in process" in caplog.text


async def test_a_dropped_connection_is_no_error_of_the_server(
    host: DevHost, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """We chose it: what was scripted is not reported as a bug of the host, on a port or in process."""
    async with host.serve() as url:
        for way in ({"base_url": url, "http_client": None}, {}):
            async with host.client(**way) as client:
                run = await client.start("conformance-noop")
                host.faults.add(Drop(after_events=1))
                assert len([event async for event in run.events(mode="debug")]) > 2
    assert caplog.records == []
    assert capsys.readouterr().err == ""  # where uvicorn writes its log


async def test_a_silent_call_ends_with_its_timeout(host: DevHost, way: dict[str, Any]) -> None:
    """We chose it: nobody waits for ever for an answer, and the silent connection ends with its reader."""
    async with host.client(timeout=0.2, max_retries=0, **way) as client:
        host.faults.add(Silence(), operation="getCapabilities")
        host.faults.add(Silence(), operation="getRun")
        run = await client.start("conformance-noop")
        with pytest.raises(RequestTimeoutError):
            await run.snapshot()
        assert (await run.snapshot()).run_id == run.id


async def test_a_broken_body_is_no_answer(host: DevHost, client: AsyncOpenwopClient) -> None:
    """We chose it: half a document is never taken for a whole one; a read is simply tried again."""
    run = await client.start("conformance-noop")
    halved = host.faults.add(Drop(), operation="getRun")
    tiny = host.faults.add(Drop(after_bytes=3), operation="getRun", skip=1)
    assert (await run.snapshot()).run_id == run.id
    assert (halved.hits, tiny.hits) == (1, 1)


async def test_an_error_has_the_code_and_the_wait_that_were_scripted(host: DevHost) -> None:
    """We chose the defaults: the usual code of the status."""
    async with host.client(max_retries=0) as client:
        host.faults.add(Status(429, retry_after_s=7, details={"scope": "tenant"}), operation="getRun")
        with pytest.raises(RateLimitedError) as caught:
            await client.runs.get("run-1")
        assert (caught.value.code, caught.value.retry_after) == ("rate_limited", 7)
        assert caught.value.details == {"scope": "tenant"}
        host.faults.add(ErrorCodes(), operation="getRun")
        with pytest.raises(NotFoundError) as missing:
            await client.runs.get("run-1")
        assert missing.value.code == "run_not_found"


# -- the bytes ----------------------------------------------------------------------------------------------------


async def body_of(api: Api, run_id: str, mode: str = "debug") -> bytes:
    got = b""
    url = f"/v1/runs/{run_id}/events"
    async with api.http.stream("GET", url, params={"streamMode": mode}) as response:
        try:
            async for chunk in response.aiter_bytes():
                got += chunk
        except httpx.RemoteProtocolError:
            got += b"<broken>"
    return got


@pytest_asyncio.fixture
async def finished(api: Api) -> str:
    run_id = await api.start("openwop-demo")
    await api.finished(run_id)
    return run_id


async def test_a_drop_is_exactly_where_it_was_scripted(host: DevHost, api: Api, finished: str) -> None:
    """We chose it: after n events or n bytes, in the middle of an event, between the bytes of a character."""
    whole = await body_of(api, finished)
    first = whole.index(b"\n\n") + 2

    async def broken(effect: Effect) -> bytes:
        host.faults.add(effect)
        got = await body_of(api, finished)
        assert got.endswith(b"<broken>")
        return got.removesuffix(b"<broken>")

    assert await broken(Drop()) == b""
    assert await broken(Drop(after_events=1)) == whole[:first]
    assert await broken(Drop(after_bytes=10)) == whole[:10]
    half = await broken(Drop(after_events=1, inside="frame"))
    assert whole.startswith(half)
    assert len(half) > first
    assert b"\n\n" not in half[first:]
    torn = await broken(Drop(after_events=1, inside="character"))
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        torn.decode()


async def test_an_end_in_order_leaves_out_the_last_event_only(host: DevHost, api: Api, finished: str) -> None:
    """We chose it: the worst moment for a stream to end is right before it says that the run has."""
    whole = await body_of(api, finished)
    host.faults.add(End())
    cut = await body_of(api, finished)
    assert whole.startswith(cut)
    assert b"run.completed" in whole[len(cut) :]
    assert whole[len(cut) :].count(b"\n\n") == 1
    host.faults.add(End())
    assert b"run.completed" not in await body_of(api, finished, mode="updates,messages")


async def test_an_overlap_begins_as_many_events_earlier_as_it_says(
    host: DevHost, api: Api, finished: str
) -> None:
    """We chose it: of a stream and of a poll; before the beginning there is nothing to repeat."""

    async def firsts(after: int) -> tuple[str | None, int]:
        async with api.stream(finished, after=after, streamMode="debug") as stream:
            frame = await stream.next()
        page = await api.http.get(f"/v1/runs/{finished}/events/poll", params={"lastSequence": after})
        return frame.id, page.json()["events"][0]["sequence"]

    assert await firsts(7) == ("8", 8)
    host.faults.add(Overlap(2))
    assert await firsts(7) == ("6", 6)
    assert await firsts(1) == ("0", 0)
    host.faults.clear()
    host.faults.add(IgnoreLastEventId())
    host.faults.add(IgnorePollCursor())
    assert await firsts(7) == ("0", 0)


async def test_a_drip_comes_in_pieces_and_a_held_stream_in_one(
    host: DevHost, api: Api, finished: str
) -> None:
    """We chose it: in process each piece is one chunk of the body."""
    url = f"/v1/runs/{finished}/events"

    async def pieces() -> list[int]:
        async with api.http.stream("GET", url) as response:
            return [len(chunk) async for chunk in response.aiter_raw()]

    host.faults.add(Drip(size=7))
    assert max(await pieces()) == 7
    host.faults.add(Hold())
    assert len(await pieces()) == 1


async def test_a_drip_waits_by_the_hosts_clock(timed: Api, clock: Any) -> None:
    """We chose it: a test moves that clock by hand."""
    timed.host.faults.add(Drip(size=1_000_000, interval_s=30))
    run_id = await timed.start("conformance-noop")
    async with timed.stream(run_id) as stream:
        assert (await stream.next()).event == "run.started"
        for event in ("node.completed", "run.completed"):
            await clock.armed(30)
            clock.advance(30)
            assert (await stream.next()).event == event
        await clock.armed(30)  # a reader who leaves now does not have to wait for it


async def test_a_byte_order_mark_stands_before_everything(host: DevHost, api: Api, finished: str) -> None:
    """We chose it: of a stream, and of any other answer if one asks for it."""
    host.faults.add(Bom())
    assert (await body_of(api, finished)).startswith(b"\xef\xbb\xbfid: 0\n")
    host.faults.add(Bom(), operation="getRun")
    assert (await api.http.get(f"/v1/runs/{finished}")).content.startswith(b"\xef\xbb\xbf{")


# -- where and how often -------------------------------------------------------------------------------------------


async def test_a_fault_happens_as_often_as_it_was_told_to(host: DevHost, api: Api, finished: str) -> None:
    """We chose it: ``skip`` lets requests through, ``times`` counts those that it happens to."""
    fault = host.faults.add("status", status=500, operation="getRun", times=2, skip=1)
    answers = [(await api.http.get(f"/v1/runs/{finished}")).status_code for _ in range(5)]
    assert answers == [200, 500, 500, 200, 200]
    assert (fault.hits, fault.spent) == (2, True)
    always = host.faults.add(Status(500), operation="getRun", times="always")
    assert {(await api.http.get(f"/v1/runs/{finished}")).status_code for _ in range(3)} == {500}
    host.faults.remove(always)
    host.faults.remove(always)
    assert (await api.http.get(f"/v1/runs/{finished}")).status_code == 200


@pytest.mark.parametrize(
    ("place", "hit"),
    [
        ({}, ["getRun", "createRun", "poll", "unknown"]),
        ({"operation": "getRun"}, ["getRun"]),
        ({"operation": "*Run"}, ["getRun", "createRun"]),
        ({"method": "post"}, ["createRun"]),
        ({"path": "/v1/runs/*/events/poll"}, ["poll"]),
        ({"path": "/v1/runs*", "method": "GET"}, ["getRun", "poll"]),
        ({"path": "/.well-known/openwop"}, ["discovery"]),
        ({"operation": "getCapabilities"}, ["discovery"]),
    ],
)
async def test_a_fault_happens_where_it_was_told_to(
    host: DevHost, api: Api, finished: str, place: dict[str, str], hit: list[str]
) -> None:
    """We chose it: without a place, everywhere but in discovery, which clients read when nobody looks."""
    host.faults.add(Status(599), times="always", **place)  # type: ignore[arg-type]
    requests = {
        "discovery": ("GET", "/.well-known/openwop"),
        "getRun": ("GET", f"/v1/runs/{finished}"),
        "createRun": ("POST", "/v1/runs"),
        "poll": ("GET", f"/v1/runs/{finished}/events/poll"),
        "unknown": ("GET", "/nowhere"),
    }
    found = []
    for name, (method, url) in requests.items():
        response = await api.http.request(method, url, json={} if method == "POST" else None)
        if response.status_code == 599:
            assert refusal(response) == (599, "scripted_fault")
            found.append(name)
    assert found == hit


async def test_faults_may_be_put_together(host: DevHost, client: AsyncOpenwopClient) -> None:
    """We chose it: all that fit happen, in the order in which they were added."""
    run = await client.start("openwop-demo")
    for effect in (Rename(), Remove(("nodeId",)), Duplicate(), IgnoreLastEventId(), Bom(), Drip(size=64)):
        host.faults.add(effect)
    host.faults.add(Drop(after_events=9, inside="character"), times=2)
    async with run.events(mode="debug") as stream:
        got = [(event.sequence, event.type) async for event in stream]
    assert got == await log_of(host, run.id)
    assert stream.reconnects == 2
    host.faults.clear()
    assert len(host.faults) == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({}, "has to say its name"),
        ({"fault": "dropp"}, "did you mean 'drop'"),
        ({"fault": "drop", "after": 1}, "it has after_events, after_bytes, inside"),
        ({"fault": "drop", "after_events": -1}, "after_events is a number, at least 0"),
        ({"fault": "drop", "after_events": "2"}, "after_events is a number, at least 0"),
        ({"fault": "drop", "after_events": 1.5}, "after_events is a number, at least 0"),
        ({"fault": "drop", "after_bytes": True}, "after_bytes is a number, at least 0"),
        ({"fault": "status", "status": "503"}, "status is a number"),
        ({"fault": "drop", "after_events": 1, "after_bytes": 1}, "not both"),
        ({"fault": "drop", "inside": "byte"}, "inside is frame or character"),
        ({"fault": "garbled_event", "how": "yaml"}, "how is json or utf-8"),
        ({"fault": "drip", "size": 0}, "at least 1"),
        ({"fault": "status", "status": 99}, "status is an HTTP status"),
        ({"fault": "status", "processed": "yes"}, "processed is true or false"),
        ({"fault": "unknown_status", "status": 3}, "status is a string"),
        ({"fault": "rename", "fields": ["sequence"]}, "fields is an object of strings"),
        ({"fault": "remove", "fields": "nodeId"}, "fields is a list of strings"),
        ({"fault": "drop", "times": 0}, "times is a number of requests"),
        ({"fault": "drop", "skip": -1}, "skip is a number of requests"),
        ({"fault": "drop", "operation": "streamRun"}, "there is no operation 'streamRun'"),
        ({"fault": "drop", "operation": 3}, "operation is a string"),
        ({"fault": "drop", "method": 3}, "method is a string"),
        ({"fault": "drop", "path": ["/v1/runs"]}, "path is a string"),
    ],
)
async def test_a_fault_that_is_none_is_refused(host: DevHost, fault: dict[str, Any], message: str) -> None:
    """We chose it: a fault that never happens would be a test that shows nothing."""
    with pytest.raises(ValueError, match=message):
        host.faults.load([{"fault": "bom"}, fault])
    assert len(host.faults) == 0


@pytest.mark.parametrize("name", ["brand-new", 3, ["older"]])
async def test_a_personality_that_is_none_is_refused(host: DevHost, name: Any) -> None:
    """We chose it: whatever a marker or a file may say."""
    with pytest.raises(ValueError, match="there is no personality"):
        host.faults.personality(name)


async def test_settings_are_for_effects_that_are_given_by_name(host: DevHost) -> None:
    """We chose it: an effect has its own."""
    with pytest.raises(ValueError, match="after_events"):
        host.faults.add(Drop(), after_events=2)


async def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    """We chose it: a list, or an object that holds one; anything else names the file."""
    path = tmp_path / "faults.json"
    faults = [{"fault": "drop", "after_events": 2, "times": 2}]
    for document in (faults, {"faults": faults}):
        path.write_text(json.dumps(document), encoding="utf-8")
        async with DevHost(faults=load_faults(path), personality="older") as host:
            assert [fault.effect for fault in host.faults][-1] == Drop(after_events=2)
            assert len(host.faults) == 1 + len(PERSONALITIES["older"].faults)
    for text in ('{"fault": "drop"}', "[1]", "no json"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"faults\.json"):
            load_faults(path)


@pytest.mark.parametrize("name", sorted(PERSONALITIES))
async def test_the_client_gets_along_with_each_personality(name: str) -> None:
    """We chose it: runs are started, followed, broken off, asked and answered alike, whatever the host is like."""
    async with DevHost(personality=name, faults=[Drop(after_events=3)]) as host, host.client() as client:
        run = await client.start("openwop-approval")
        done = await run.result(timeout=PATIENCE, on_interrupt=lambda _: answered(), check=False)
        async with run.events(mode="debug") as stream:
            got = [event.sequence async for event in stream]
        assert got == [sequence for sequence, _ in await log_of(host, run.id)]
        assert done.status == ("acme.archived" if name == "newer" else "completed")
        with pytest.raises(NotFoundError):
            await client.runs.get("run-unknown")


async def answered() -> dict[str, str]:
    return {"action": "accept"}


async def test_a_personality_that_there_is_not_is_refused(host: DevHost) -> None:
    """We chose it: the message names those that there are."""
    with pytest.raises(ValueError, match=r"in-memory.*sqlite"):
        host.faults.personality("imaginary")


async def test_a_silent_stream_does_not_keep_the_host_from_closing() -> None:
    """We chose it: a half-open connection ends with its host."""
    host = DevHost()
    async with host, host.serve() as url, httpx.AsyncClient(base_url=url) as http:
        api = Api(host, http)
        http.headers["authorization"] = f"Bearer {host.api_key}"
        run_id = await api.start("conformance-noop")
        host.faults.add(Silence(after_events=1))
        async with api.stream(run_id) as stream:
            assert (await stream.next()).event == "run.started"
            await host.aclose()
            with pytest.raises(httpx.RemoteProtocolError):
                await stream.next()
