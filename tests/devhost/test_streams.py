"""Event streams and the long poll: modes, resumption, batches, keep-alives, negotiation."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from devhost.kit import PATIENCE, Api, Frame, ManualClock, refusal, yielded_until
from openwop.devhost import DevHost, Limits
from openwop.devhost.builder import node, workflow
from openwop.devhost.modes import MODES, UPDATES

pytestmark = pytest.mark.asyncio


async def whole(api: Api, run_id: str, **params: Any) -> list[Frame]:
    async with api.stream(run_id, **params) as stream:
        return await stream.rest()


async def test_updates_carries_what_the_admission_table_says(api: Api) -> None:
    """Event documents, named by their type, with the sequence as id; node.started and chunks are not among them."""
    run_id = await api.start("openwop-demo", inputs={"delayMs": 1, "answer": "a b"})
    frames = await whole(api, run_id)
    log = await api.log(run_id)
    assert [frame.data for frame in frames] == [event for event in log if event["type"] in UPDATES]
    assert all(frame.event == frame.data["type"] for frame in frames)
    assert all(frame.id == str(frame.data["sequence"]) for frame in frames)
    hidden = {event["type"] for event in log} - {frame.event for frame in frames}
    assert hidden == {"node.started", "output.chunk", "channel.written", "provider.usage"}


async def test_debug_carries_every_event(api: Api) -> None:
    """The whole log."""
    run_id = await api.start("openwop-demo", inputs={"delayMs": 1})
    frames = await whole(api, run_id, streamMode="debug")
    assert [frame.data for frame in frames] == await api.log(run_id)


async def test_messages_carries_bare_chunks_and_ends_in_silence(api: Api) -> None:
    """No terminal event is shown; the end of the response is the end."""
    run_id = await api.start("openwop-stream-text", inputs={"tokens": ["x", "y"]})
    frames = await whole(api, run_id, streamMode="messages")
    assert [(frame.event, frame.data["chunk"]) for frame in frames] == [
        ("ai.message.chunk", "x"),
        ("ai.message.chunk", "y"),
    ]
    assert frames[-1].data["isLast"] is True
    assert not any("type" in frame.data or "sequence" in frame.data for frame in frames)


async def test_values_carries_a_snapshot_after_each_change(api: Api) -> None:
    """One for each event of updates and for each node.started; each is the state right after its event."""
    run_id = await api.start("openwop-demo", inputs={"delayMs": 1, "answer": "a"})
    frames = await whole(api, run_id, streamMode="values")
    log = await api.log(run_id)
    assert {frame.event for frame in frames} == {"state.snapshot"}
    changes = [event for event in log if event["type"] in UPDATES | {"node.started"}]
    assert [frame.id for frame in frames] == [str(event["sequence"]) for event in changes]
    assert frames[0].data["nodeStates"] == {}
    assert frames[-1].data == await api.snapshot(run_id)


async def test_a_mixed_mode_is_a_union_in_order_labelled_by_mode(api: Api) -> None:
    """Chunks and updates as they happened; the list's own order and repetitions mean nothing."""
    run_id = await api.start("openwop-stream-text", inputs={"tokens": ["x"]})
    frames = await whole(api, run_id, streamMode="messages,updates,messages")
    assert [frame.event for frame in frames] == ["updates", "messages", "updates", "updates"]
    assert [int(frame.id or 0) for frame in frames] == sorted(int(frame.id or 0) for frame in frames)
    both = await whole(api, run_id, streamMode="debug,messages")
    assert [frame.data for frame in both] == await api.log(run_id)
    assert {frame.event for frame in both} == {"debug"}
    repeated = await whole(api, run_id, streamMode="updates,updates")
    assert repeated[0].event == "run.started"


@pytest.mark.duty("K.134")
@pytest.mark.parametrize(
    "mode", ["", "all", "updates,", "values,updates", "updates,values", "UPDATES", "updates debug"]
)
async def test_a_mode_that_is_none_is_refused_before_content_is_negotiated(api: Api, mode: str) -> None:
    """400 with the individual modes, whatever the caller accepts."""
    run_id = await api.start("conformance-noop")
    for accept in ("text/event-stream", "application/json", "image/png"):
        response = await api.http.get(
            f"/v1/runs/{run_id}/events", params={"streamMode": mode}, headers={"accept": accept}
        )
        assert refusal(response) == (400, "unsupported_stream_mode")
        assert response.json()["details"]["supported"] == list(MODES)


@pytest.mark.parametrize("buffer", ["-1", "5001", "x", "1.5", "9" * 40, ""])
async def test_a_buffer_outside_its_range_is_refused(api: Api, buffer: str) -> None:
    """0 to 5000 milliseconds."""
    run_id = await api.start("conformance-noop")
    response = await api.http.get(f"/v1/runs/{run_id}/events", params={"bufferMs": buffer})
    assert refusal(response) == (400, "validation_error")
    fine = await api.http.get(f"/v1/runs/{run_id}/events", params={"bufferMs": "0"})
    assert fine.status_code == 200


async def test_events_arrive_while_the_run_is_going_on(api: Api) -> None:
    """A stream is live: what has happened is here before the next thing happens."""
    run_id = await api.start("openwop-external-event")
    async with api.stream(run_id) as stream:
        frames = await stream.until("node.suspended")
        assert frames[0].event == "run.started"
        await api.resolve(run_id, "wait", {"eventPayload": 1})
        assert (await stream.rest())[-1].event == "run.completed"


# -- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["updates", "debug", "messages", "updates,messages"])
async def test_a_stream_resumed_at_any_frame_goes_on_with_the_next(api: Api, mode: str) -> None:
    """Last-Event-ID is exclusive; nothing is lost and nothing comes twice, wherever the cut is."""
    run_id = await api.start("openwop-demo", inputs={"delayMs": 1, "answer": "a b c"})
    frames = await whole(api, run_id, streamMode=mode)
    for index, frame in enumerate(frames):
        async with api.stream(run_id, after=frame.id, streamMode=mode) as stream:
            assert await stream.rest() == frames[index + 1 :]


async def test_values_resumed_begins_with_the_latest_state(api: Api) -> None:
    """A fresh baseline first, then what changes from there."""
    run_id = await api.start("openwop-external-event")
    await api.status(run_id, "waiting-external")
    async with api.stream(run_id, after=0, streamMode="values") as stream:
        baseline = await stream.next()
        assert baseline.data["status"] == "waiting-external"
        assert baseline.id == str((await api.log(run_id))[-1]["sequence"])
        await api.resolve(run_id, "wait", {"eventPayload": 1})
        frames = await stream.rest()
        assert int(frames[0].id or 0) > int(baseline.id)
    async with api.stream(run_id, after=baseline.id, streamMode="values") as stream:
        [only] = await stream.rest()
        assert only.data == await api.snapshot(run_id)


async def test_a_resume_at_or_after_the_end_of_an_ended_run_is_an_empty_stream(api: Api) -> None:
    """A client that reconnects after the terminal event must not loop."""
    run_id = await api.start("conformance-noop")
    await api.finished(run_id)
    last = (await api.log(run_id))[-1]
    for after in (last["sequence"], 10_000, last["eventId"]):
        async with api.stream(run_id, after=after) as stream:
            assert await stream.rest() == []


async def test_an_id_beyond_the_end_of_a_live_run_waits_for_what_comes(api: Api) -> None:
    """Benign, as for the poll."""
    run_id = await api.start("openwop-external-event")
    await api.status(run_id, "waiting-external")
    async with api.stream(run_id, after=1000) as stream:
        await api.resolve(run_id, "wait", {"eventPayload": 1})
        assert (await stream.next()).event == "interrupt.resolved"


async def test_an_event_id_is_as_good_as_a_frame_id(api: Api) -> None:
    """Whoever kept an event has its eventId; another run's is refused."""
    run_id, other = await api.start("conformance-noop"), await api.start("conformance-noop")
    await api.finished(run_id)
    log = await api.log(run_id)
    async with api.stream(run_id, after=log[0]["eventId"], streamMode="debug") as stream:
        assert [frame.data for frame in await stream.rest()] == log[1:]
    for bad in ((await api.log(other))[0]["eventId"], "-1", "one", "1.0", "９"):
        response = await api.http.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": bad.encode()})
        assert refusal(response) == (400, "validation_error")


# -- batches, silence, slowness ---------------------------------------------------------------------


@pytest.mark.duty("K.134")
async def test_events_are_held_back_and_sent_together(timed: Api, clock: ManualClock) -> None:
    """event: batch, an array, under its highest sequence; sent when the time is over."""
    timed.host.add_workflow(
        workflow(
            "slow",
            nodes=[
                node("a", "core.noop"),
                node("b", "core.noop"),
                node("c", "core.delay", config={"delayMs": 60_000}),
            ],
            edges=[("a", "b"), ("b", "c")],
        )
    )
    run_id = await timed.start("slow")
    async with timed.stream(run_id, bufferMs=400) as stream:
        await clock.armed(60)
        await clock.armed(0.4)
        clock.advance(0.4)
        batch = await stream.next()
        assert batch.event == "batch"
        assert [event["type"] for event in batch.data] == ["run.started", "node.completed", "node.completed"]
        assert batch.id == str(batch.data[-1]["sequence"])
        clock.advance(60)
        rest = [frame for frame in await stream.rest() if frame.comment is None]
    assert [[event["type"] for event in frame.data] for frame in rest] == [
        ["node.completed", "run.completed"]
    ]
    async with timed.stream(run_id, after=batch.id) as stream:
        assert [frame.data for frame in await stream.rest()] == rest[0].data


@pytest.mark.duty("K.134")
async def test_a_suspension_is_not_held_back(timed: Api) -> None:
    """node.suspended flushes, so that a person is asked at once; with a clock that stands still."""
    run_id = await timed.start("openwop-approval")
    async with timed.stream(run_id, bufferMs=5000) as stream:
        assert (await stream.next()).data[-1]["type"] == "node.suspended"


async def test_a_bare_chunk_keeps_its_place_between_batches(timed: Api) -> None:
    """Only event documents can be in a batch; a chunk sends what was held back before it."""
    run_id = await timed.start("openwop-stream-text", inputs={"tokens": ["x"]})
    async with timed.stream(run_id, streamMode="updates,messages", bufferMs=1000) as stream:
        frames = await stream.rest()
    assert [frame.event for frame in frames] == ["batch", "messages", "batch"]
    ids = [int(frame.id or 0) for frame in frames]
    assert ids == sorted(ids)


@pytest.mark.duty("K.134")
async def test_silence_is_broken_by_comments(timed: Api, clock: ManualClock) -> None:
    """A comment after each keep-alive interval in which nothing was said, and no sooner."""
    run_id = await timed.start("openwop-approval")
    async with timed.stream(run_id) as stream:
        await stream.until("node.suspended")
        for _ in range(2):
            await clock.armed(15)
            clock.advance(15)
            assert (await stream.next()).comment == "keepalive"


async def test_what_a_mode_hides_does_not_count_as_something_said(timed: Api, clock: ManualClock) -> None:
    """A reader of messages hears a comment in time even while the run is busy with other things."""
    timed.host.add_workflow(
        workflow(
            "busy",
            nodes=[node(name, "core.delay", config={"delayMs": 10_000}) for name in ("a", "b")],
            edges=[("a", "b")],
        )
    )
    run_id = await timed.start("busy")
    async with timed.stream(run_id, streamMode="messages") as stream:
        await clock.armed(10)
        await clock.armed(15)
        clock.advance(10)
        await clock.armed(5)
        clock.advance(5)
        assert (await stream.next()).comment == "keepalive"


async def test_a_stream_of_many_events_is_complete_however_it_is_cut(api: Api) -> None:
    """More events than a page of the log and a buffer of the transport hold."""
    run_id = await api.start("openwop-burst", inputs={"count": 3000, "size": 100})
    frames = await whole(api, run_id, streamMode="debug")
    assert [frame.id for frame in frames] == [str(index) for index in range(3000 + 4)]
    assert frames[-1].event == "run.completed"


async def test_many_readers_of_one_run_see_the_same(api: Api) -> None:
    """Any number of streams, in any modes, none at the cost of another."""
    run_id = await api.start("openwop-external-event")
    async with asyncio.timeout(PATIENCE):
        readers = [
            asyncio.create_task(whole(api, run_id, streamMode=mode))
            for mode in itertools.islice(itertools.cycle(["updates", "debug", "values"]), 30)
        ]
        await api.status(run_id, "waiting-external")
        await api.resolve(run_id, "wait", {"eventPayload": 1})
        results = await asyncio.gather(*readers)
    assert all(results[index] == results[index % 3] for index in range(30))


# -- JSON and poll ----------------------------------------------------------------------------------


async def test_json_may_be_asked_for_instead_of_a_stream(api: Api) -> None:
    """Accept: application/json gives a page, like the poll's; nothing acceptable is 406."""
    run_id = await api.start("conformance-noop")
    await api.finished(run_id)
    url = f"/v1/runs/{run_id}/events"
    page = await api.http.get(url, headers={"accept": "application/json; q=1", "last-event-id": "0"})
    assert page.headers["content-type"] == "application/json"
    poll = await api.http.get(f"{url}/poll", params={"lastSequence": 0})
    assert page.json() == poll.json()
    assert refusal(await api.http.get(url, headers={"accept": "image/png"})) == (406, "not_acceptable")
    for accept in ("*/*", "text/*", "text/html, text/event-stream"):
        stream = await api.http.get(url, headers={"accept": accept})
        assert stream.headers["content-type"].startswith("text/event-stream")


async def test_a_poll_gives_the_log_after_its_cursor(api: Api) -> None:
    """Exclusive; from the beginning without one; complete with the end of an ended run; and where the log ends."""
    run_id = await api.start("conformance-noop")
    await api.finished(run_id)
    log = await api.log(run_id)
    for cursor, expected in ((None, log), (0, log[1:]), (2, log[3:]), (3, []), (10_000, [])):
        params = {} if cursor is None else {"lastSequence": cursor}
        response = await api.http.get(f"/v1/runs/{run_id}/events/poll", params=params)
        assert response.json() == {"events": expected, "isComplete": True, "lastEventSeq": 3}


async def test_a_poll_waits_for_the_next_event(api: Api) -> None:
    """It answers with the event, not with its timeout."""
    run_id = await api.start("openwop-external-event")
    await api.status(run_id, "waiting-external")
    last = (await api.log(run_id))[-1]["sequence"]
    url = f"/v1/runs/{run_id}/events/poll"
    async with asyncio.timeout(PATIENCE):
        poll = asyncio.create_task(api.http.get(url, params={"lastSequence": last, "timeout": 60}))
        await yielded_until(lambda: api.host.run(run_id).changed.waiters > 0)
        await api.resolve(run_id, "wait", {"eventPayload": 1})
        body = (await poll).json()
    assert body["events"][0]["sequence"] == last + 1
    assert body["isComplete"] is (body["events"][-1]["type"] == "run.completed")


@pytest.mark.duty("K.134")
async def test_a_poll_without_news_ends_empty(timed: Api, clock: ManualClock) -> None:
    """After its timeout, 30 seconds by default; one whose cursor lies beyond the log at once."""
    run_id = await timed.start("openwop-external-event")
    await timed.status(run_id, "waiting-external")
    last = (await timed.log(run_id))[-1]["sequence"]
    url = f"/v1/runs/{run_id}/events/poll"
    for params, seconds in (({}, 30), ({"timeout": 1}, 1), ({"timeout": 60}, 60)):
        poll = asyncio.create_task(timed.http.get(url, params={"lastSequence": last, **params}))
        await clock.armed(seconds)
        clock.advance(seconds)
        assert (await poll).json() == {"events": [], "isComplete": False, "lastEventSeq": last}
    beyond = await timed.http.get(url, params={"lastSequence": last + 5})
    assert beyond.json() == {"events": [], "isComplete": False, "lastEventSeq": last}


@pytest.mark.parametrize(
    "params",
    [{"timeout": "0"}, {"timeout": "61"}, {"timeout": "x"}, {"lastSequence": "-1"}, {"lastSequence": "a"}],
)
async def test_a_poll_with_a_bad_parameter_is_refused(api: Api, params: dict[str, str]) -> None:
    """1 to 60 seconds; sequences are not negative."""
    run_id = await api.start("conformance-noop")
    response = await api.http.get(f"/v1/runs/{run_id}/events/poll", params=params)
    assert refusal(response) == (400, "validation_error")


async def test_a_long_log_is_polled_page_by_page() -> None:
    """A page of an ended run that does not hold the log's end is not complete."""
    async with DevHost(limits=Limits(poll_page_size=3)) as host:
        api = Api(host, host.http_client())
        run_id = await api.start("conformance-multi-node")
        await api.finished(run_id)
        pages, cursor = [], {}
        while not pages or not pages[-1]["isComplete"]:
            pages.append((await api.http.get(f"/v1/runs/{run_id}/events/poll", params=cursor)).json())
            cursor = {"lastSequence": pages[-1]["events"][-1]["sequence"]}
        assert [len(page["events"]) for page in pages] == [3, 3, 2]
        assert pages[-1]["events"][-1]["type"] == "run.completed"
