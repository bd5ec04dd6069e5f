"""``values``: the latest state, from hosts that send snapshots and from hosts that send events instead."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.delivery import State
from openwop.models.events import EventPage
from support.deliveries import Hand
from support.fault_steps import event_doc, frame, run_log, snapshot_doc

BAD = b"{"


def state(status: str = "running", number: int | str | None = None, **over: Any) -> bytes:
    return frame(snapshot_doc(status, **over), id=number, event="state.snapshot")


def statuses(items: list[Any]) -> list[str]:
    return [item.status for item in items]


def test_snapshots_come_as_they_are_until_one_is_terminal() -> None:
    hand = Hand("values")
    items = hand.feed(
        state("pending"), state("running"), state("completed") + state("running"), state("running")
    )
    assert statuses(items) == ["pending", "running", "completed"]
    assert hand.of.ended
    assert hand.needs == []


@pytest.mark.duty("E.77")
def test_a_reconnect_starts_with_a_fresh_state_after_the_hosts_id() -> None:
    hand = Hand("values")
    first = hand.feed(state("running", 4))
    hand.reconnect()
    assert hand.position.last_event_id == "4"
    assert statuses(first + hand.feed(state("running", 4))) == ["running", "running"]


def test_the_same_state_again_is_not_progress() -> None:
    hand = Hand("values")
    hand.feed(state("running"))
    before = hand.of.progress
    hand.feed(state("running"), frame({"annotationId": "a"}))
    assert hand.of.progress == before
    hand.feed(state("running", variables={"x": 1}))
    assert hand.of.progress > before


@pytest.mark.duty("E.82")
@pytest.mark.parametrize("status", ["waiting-external", "waiting-input"])
def test_a_run_that_waits_for_something_outside_is_not_over(status: str) -> None:
    hand = Hand("values")
    assert statuses(hand.feed(state(status))) == [status]
    assert not hand.of.ended


@pytest.mark.duty("E.85")
@pytest.mark.parametrize(
    "metrics", [None, {}, {"acme": 1}, "[REDACTED]", {"openwopCost": {}}, {"openwopCost": {"tokens": {}}}]
)
def test_a_snapshot_without_usable_metrics_is_a_snapshot(metrics: Any) -> None:
    (item,) = Hand("values").feed(state(metrics=metrics))
    assert item.status == "running"
    cost = item.metrics.openwop_cost if item.metrics is not None else None
    assert cost is None or (cost.usd, cost.tokens or None, cost.duration_ms) == (None, None, None), "not zero"
    assert item.to_wire().get("metrics") == metrics, "nor is anything lost or made up"


def test_a_snapshot_with_an_unknown_status_is_the_last_one() -> None:
    hand = Hand("values")
    assert statuses(hand.feed(state("archived"))) == ["archived"]
    assert hand.of.ended


# -- hosts that send events -----------------------------------------------------------------------------------


def test_events_instead_of_snapshots_make_for_one_question_for_each_piece() -> None:
    hand = Hand("values")
    items = hand.feed(frame(event_doc(0)) + frame(event_doc(1)), b": nothing\n\n", frame(event_doc(2)))
    assert statuses(items) == ["running", "running"]
    assert hand.needs == [State(final=False)] * 2
    assert hand.position.last_event_id == "2"


def test_events_beside_snapshots_make_for_no_question() -> None:
    hand = Hand("values")
    items = hand.feed(frame(event_doc(0)) + state("running"), frame(event_doc(1)), state("paused"))
    assert statuses(items) == ["running", "paused"]
    assert hand.needs == []


def test_events_that_come_again_make_for_no_question() -> None:
    hand = Hand("values")
    hand.feed(frame(event_doc(0)) + frame(event_doc(1)))
    hand.reconnect()
    assert hand.feed(frame(event_doc(0)) + frame(event_doc(1))) == []


@pytest.mark.parametrize("piece", [b"".join(map(frame, run_log(3))), frame(run_log(3), id=2, event="batch")])
def test_the_terminal_event_is_followed_by_the_last_state_and_nothing_else(piece: bytes) -> None:
    hand = Hand("values", status="completed")
    assert statuses(hand.feed(piece + state("running"))) == ["completed"]
    assert hand.needs == [State(final=True)]
    assert hand.of.ended


def test_the_last_state_is_the_last_whatever_it_says() -> None:
    """The status may lag behind the log; whoever fetches it waits for it, but not for ever."""
    hand = Hand("values", status="running")
    assert statuses(hand.feed(*map(frame, run_log(3)[2:]))) == ["running"]
    assert hand.of.ended


def test_a_host_without_snapshots_ends_the_stream_without_one() -> None:
    hand = Hand("values")
    list(hand.of.receive(_frames(frame(event_doc(0)))))
    assert list(hand.of.supply(None)) == []
    assert not hand.of.ended
    list(hand.of.receive(_frames(frame(event_doc(1, "run.failed")))))
    assert list(hand.of.supply(None)) == []
    assert hand.of.ended


def _frames(data: bytes) -> Any:
    from openwop._core.sse import SseDecoder

    return SseDecoder().feed(data)


def test_an_unreadable_snapshot_is_asked_for() -> None:
    hand = Hand("values", status="waiting-approval")
    assert statuses(hand.feed(frame(BAD, id=3))) == ["waiting-approval"]
    assert (hand.of.skipped, hand.needs) == (1, [State(final=False)])


@pytest.mark.parametrize(
    "document", [{"chunk": "x", "isLast": False}, {"annotationId": "a"}, {"hello": 1}, b""]
)
def test_a_frame_of_another_kind_is_counted_and_nothing_more(document: Any) -> None:
    hand = Hand("values")
    assert hand.feed(frame(document, id=9)) == []
    assert (hand.of.skipped, hand.needs, hand.position.last_event_id) == (1, [], None)


# -- the log --------------------------------------------------------------------------------------------------


def test_each_page_with_something_new_is_followed_by_the_state() -> None:
    hand = Hand("values", log=run_log(4, end=None), page_size=2)
    hand.of.follow_log()
    assert statuses(hand.read_log()) == ["running", "running"]


def test_the_last_page_is_followed_by_the_last_state() -> None:
    hand = Hand("values", log=run_log(4), page_size=2, status="completed")
    assert statuses(hand.of.take_page(hand.page(None)) and hand.meet()) == []
    hand = Hand("values", log=run_log(4), status="completed")
    assert statuses(hand.read_log()) == ["completed"]
    assert hand.needs == [State(final=True)]


def test_a_page_with_nothing_new_is_followed_by_nothing() -> None:
    hand = Hand("values", after=3)
    assert list(hand.of.take_page(EventPage(events=[]))) == []
    assert hand.of.need is None


def test_whoever_has_seen_a_state_before_gets_a_fresh_one_when_polls_begin() -> None:
    hand = Hand("values")
    hand.feed(state("running"))
    hand.of.follow_log()
    assert statuses(hand.meet()) == ["running"]


@pytest.mark.parametrize("status", ["failed", "running"])
def test_a_run_that_is_over_has_a_last_state(status: str) -> None:
    hand = Hand("values", status=status)
    hand.of.log_is_over()
    assert statuses(hand.meet()) == [status]
    assert hand.of.ended


@pytest.mark.parametrize("after", ["evt-2", 2, None])
def test_where_one_starts_does_not_matter_for_the_state(after: Any) -> None:
    hand = Hand("values", after=after, log=run_log(9, end=None))
    assert not hand.of.start_not_found
    assert not hand.of.rest_is_in_log
    assert statuses(hand.read_log()) == ["running"]
