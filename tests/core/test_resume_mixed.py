"""``messages`` together with ``updates`` or ``debug``: events and a model's text in one stream."""

from __future__ import annotations

from typing import Any

import pytest

from openwop.models.events import MessageChunk, RunEvent
from support.deliveries import Hand
from support.fault_steps import event_doc, frame, run_log

BAD = b"{"
CHUNK = {"chunk": "Hi", "isLast": False}


def events(*sequences: int, **over: Any) -> list[bytes]:
    return [frame(event_doc(sequence), **over) for sequence in sequences]


def text_event(sequence: int, text: str = "Hi") -> dict[str, Any]:
    return event_doc(sequence, "output.chunk", payload={"chunk": text, "isLast": False})


@pytest.mark.duty("E.92")
def test_a_mixed_stream_gives_events_and_chunks_as_they_happen() -> None:
    hand = Hand("updates", "messages")
    items = hand.feed(
        *events(0), frame(CHUNK), frame(CHUNK), *events(5), frame(event_doc(6, "run.completed"))
    )
    assert [type(item) for item in items] == [RunEvent, MessageChunk, MessageChunk, RunEvent, RunEvent]
    assert hand.of.skipped == 0


def test_in_updates_with_messages_a_chunk_event_is_its_text() -> None:
    hand = Hand("updates", "messages")
    items = hand.feed(frame(event_doc(0)), frame(text_event(1, "Hello")), frame(event_doc(2, "output.chunk")))
    assert [type(item) for item in items] == [RunEvent, MessageChunk, RunEvent]
    assert items[1].chunk == "Hello"
    assert hand.position.last_sequence == 2


def test_in_debug_with_messages_a_chunk_event_stays_an_event() -> None:
    hand = Hand("debug", "messages")
    items = hand.feed(frame(event_doc(0)), frame(text_event(1)), frame(CHUNK))
    assert [type(item) for item in items] == [RunEvent, RunEvent, MessageChunk]


def test_the_number_of_a_chunk_moves_the_cursor_but_not_the_sequence() -> None:
    hand = Hand("updates", "messages")
    hand.feed(*events(3), frame(CHUNK, id=5))
    assert (hand.position.last_event_id, hand.position.last_sequence) == ("5", 3)
    hand.feed(frame(CHUNK, id=2), frame(CHUNK, id="c-9"), frame(CHUNK, id=None))
    assert hand.position.last_event_id == "5"


def test_a_chunk_fills_its_own_place_in_a_stream_that_filters_nothing() -> None:
    hand = Hand("debug", "messages", log=run_log(9))
    items = hand.feed(*events(0), frame(CHUNK, id=1), frame(CHUNK, id=2), *events(3))
    assert [type(item) for item in items] == [RunEvent, MessageChunk, MessageChunk, RunEvent]
    assert hand.needs == []


@pytest.mark.parametrize("modes", [("updates", "messages"), ("debug", "messages")])
def test_text_that_came_as_chunks_is_not_taken_from_the_log_again(modes: tuple[str, ...]) -> None:
    log = [
        event_doc(0),
        text_event(1, "a"),
        text_event(2, "b"),
        text_event(3, "c"),
        event_doc(4, "run.completed"),
    ]
    hand = Hand(*modes, log=log)
    items = hand.feed(*events(0), frame(CHUNK), frame(CHUNK)) + hand.read_log()
    kinds = [getattr(item, "chunk", None) or item.type for item in items]
    assert kinds == [
        "node.completed",
        "Hi",
        "Hi",
        "c" if "updates" in modes else "output.chunk",
        "run.completed",
    ]


def test_chunks_that_come_again_after_a_reconnect_are_told_by_their_numbers() -> None:
    hand = Hand("updates", "messages")
    first = hand.feed(*events(0), frame(CHUNK, id=1), frame(CHUNK, id=2))
    hand.reconnect()
    again = hand.feed(frame(CHUNK, id=1), frame(CHUNK, id=2), frame(CHUNK, id=3), frame(CHUNK, id=3))
    assert (len(first), len(again)) == (3, 2)


def test_chunks_of_one_connection_may_share_a_number() -> None:
    assert len(Hand("updates", "messages").feed(*[frame(CHUNK, id=1)] * 3)) == 3


def test_an_unreadable_frame_in_a_mixed_stream_is_fetched_too() -> None:
    log = [event_doc(0), text_event(1, "x"), event_doc(2)]
    hand = Hand("updates", "messages", log=log)
    items = hand.feed(*events(0), frame(BAD, id=2))
    assert [getattr(item, "chunk", None) or item.sequence for item in items] == [0, "x", 2]


def test_only_what_is_new_is_progress() -> None:
    hand = Hand("updates", "messages")
    hand.feed(*events(0))
    before = hand.of.progress
    hand.reconnect()
    hand.feed(*events(0), b":keep-alive\n\n", frame({"annotationId": "a"}))
    assert hand.of.progress == before
    hand.feed(*events(1))
    assert hand.of.progress > before


def test_text_without_ids_that_starts_over_is_not_progress() -> None:
    hand = Hand("updates", "messages")
    hand.feed(frame(CHUNK, id=None), frame(CHUNK, id=None))
    before = hand.of.progress
    hand.reconnect()
    hand.feed(frame(CHUNK, id=None), frame(CHUNK, id=None))
    assert hand.of.progress == before
    hand.feed(frame(CHUNK, id=None))
    assert hand.of.progress > before
