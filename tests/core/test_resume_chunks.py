"""``messages``: a model's text as it comes, once where the host's frames carry ids."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.delivery import Missing
from openwop.errors import StreamDecodeError
from openwop.models.events import MessageChunk
from support.deliveries import Hand, texts
from support.fault_steps import event_doc, frame, run_log, snapshot_doc

BAD = b"{"


def chunk(text: str, number: int | str | None = None, **over: Any) -> bytes:
    return frame({"chunk": text, "isLast": False, "nodeId": "n", "runId": "run-1"} | over, id=number)


def text_event(sequence: int, text: str) -> dict[str, Any]:
    return event_doc(sequence, "output.chunk", payload={"chunk": text, "isLast": False})


LOG = [
    event_doc(0, "run.started"),
    text_event(1, "a"),
    text_event(2, "b"),
    event_doc(3, "node.completed"),
    text_event(4, "c"),
    event_doc(5, "run.completed"),
]


def test_chunks_come_as_they_are() -> None:
    hand = Hand("messages")
    items = hand.feed(chunk("Hel"), chunk("lo", isLast=True, meta={"finishReason": "stop"}))
    assert texts(items) == ["Hel", "lo"]
    assert [item.is_last for item in items] == [False, True]
    assert not hand.of.ended
    assert hand.position.last_event_id is None


@pytest.mark.parametrize(("number", "cursor"), [(7, "7"), ("c-7", "c-7"), ("007", "007")])
def test_the_id_of_a_chunk_is_the_cursor(number: int | str, cursor: str) -> None:
    hand = Hand("messages")
    hand.feed(chunk("x", number))
    assert (hand.position.cursor, hand.position.last_event_id, hand.position.last_sequence) == (
        cursor,
        cursor,
        None,
    )


def test_an_empty_id_takes_the_cursor_back() -> None:
    hand = Hand("messages", after=4)
    hand.feed(chunk("x", 7), chunk("y", ""))
    assert hand.position.last_event_id == "4"


def test_chunks_that_come_again_are_told_by_their_ids() -> None:
    hand = Hand("messages")
    first = hand.feed(chunk("a", 1), chunk("b", 2))
    hand.reconnect()
    assert texts(first + hand.feed(chunk("a", 1), chunk("b", 2), chunk("c", 3))) == ["a", "b", "c"]
    assert hand.of.gaps == 0


def test_chunks_of_one_connection_may_share_an_id() -> None:
    assert texts(Hand("messages").feed(chunk("a", 1), chunk("b", 1), chunk("c", 1))) == ["a", "b", "c"]


@pytest.mark.parametrize("after", [2, "2"])
def test_a_place_to_start_after_is_exclusive(after: int | str) -> None:
    assert texts(Hand("messages", after=after).feed(chunk("b", 2), chunk("c", 3))) == ["c"]


def test_a_reconnect_without_any_id_counts_as_a_gap() -> None:
    hand = Hand("messages")
    hand.reconnect()
    assert hand.of.gaps == 0
    hand.feed(chunk("a"))
    hand.reconnect()
    assert hand.of.gaps == 1
    hand.feed(chunk("b", 5))
    hand.reconnect()
    assert hand.of.gaps == 1


def test_an_opaque_id_is_as_good_as_a_number_for_a_reconnect() -> None:
    hand = Hand("messages")
    hand.feed(chunk("a", "c-1"))
    hand.reconnect()
    assert (hand.of.gaps, hand.position.last_event_id) == (0, "c-1")


def test_text_without_ids_that_starts_over_is_not_progress() -> None:
    hand = Hand("messages")
    hand.feed(chunk("a"), chunk("b"))
    before = hand.of.progress
    hand.reconnect()
    hand.feed(chunk("a"), chunk("b"))
    assert hand.of.progress == before
    hand.feed(chunk("c"))
    assert hand.of.progress > before


# -- hosts that send events -----------------------------------------------------------------------------------


def test_events_of_a_host_that_does_not_filter_become_text() -> None:
    hand = Hand("messages")
    items = hand.feed(*map(frame, LOG))
    assert all(isinstance(item, MessageChunk) for item in items)
    assert texts(items) == ["a", "b", "c"]
    assert items[0].node_id == "node-1"
    assert (hand.of.ended, hand.position.last_sequence, hand.of.skipped) == (True, 5, 0)


def test_nothing_is_delivered_after_the_terminal_event() -> None:
    hand = Hand("messages")
    assert texts(hand.feed(chunk("a") + frame(event_doc(0, "run.failed")) + chunk("b"))) == ["a"]


def test_events_that_come_again_bring_no_text_again() -> None:
    hand = Hand("messages")
    first = hand.feed(*map(frame, LOG[:3]))
    hand.reconnect()
    assert texts(first + hand.feed(*map(frame, LOG))) == ["a", "b", "c"]


def test_a_terminal_event_from_before_ends_the_stream_all_the_same() -> None:
    hand = Hand("messages", after=9)
    assert hand.feed(*map(frame, LOG)) == []
    assert hand.of.ended


def test_a_chunk_event_without_text_is_counted() -> None:
    hand = Hand("messages")
    assert hand.feed(frame(event_doc(0, "output.chunk"))) == []
    assert hand.of.skipped == 1


def test_a_batch_of_events_becomes_text() -> None:
    assert texts(Hand("messages").feed(frame(LOG, id=5, event="batch"))) == ["a", "b", "c"]


def test_a_batch_of_chunks_is_taken_apart_too() -> None:
    batch = [{"chunk": "a", "isLast": False}, {"chunk": "b", "isLast": True}]
    hand = Hand("messages")
    assert texts(hand.feed(frame(batch, id=7, event="batch"))) == ["a", "b"]
    assert hand.position.cursor == "7"


def test_an_event_that_looks_like_a_chunk_is_an_event() -> None:
    hand = Hand("messages")
    assert hand.feed(frame(event_doc(0, "acme.thing") | {"chunk": "x", "isLast": False})) == []
    assert hand.position.last_sequence == 0


@pytest.mark.parametrize("document", [snapshot_doc(), {"annotationId": "a"}, {"hello": 1}, b"", "ping"])
def test_a_frame_of_another_kind_is_counted_and_nothing_more(document: Any) -> None:
    hand = Hand("messages")
    assert texts(hand.feed(chunk("a", 1), frame(document), chunk("b", 2))) == ["a", "b"]
    assert hand.of.skipped == 1


# -- the log --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "rest"), [((), ["a", "b", "c"]), ((1,), ["b", "c"]), ((1, 2), ["c"]), ((1, 2, 4), [])]
)
def test_what_a_stream_left_out_is_read_from_the_log(seen: tuple[int, ...], rest: list[str]) -> None:
    hand = Hand("messages", log=LOG, page_size=2)
    hand.feed(*(chunk(LOG[number]["payload"]["chunk"], number) for number in seen))
    assert hand.of.rest_is_in_log
    assert texts(hand.read_log()) == rest
    assert hand.of.ended


def test_a_chunk_with_the_number_0_is_found_in_the_log() -> None:
    hand = Hand("messages", log=[text_event(0, "a"), text_event(1, "b"), event_doc(2, "run.failed")])
    hand.feed(chunk("a", 0))
    assert texts(hand.read_log()) == ["b"]


def test_numbers_that_are_no_sequences_are_found_out_and_bring_no_text_twice() -> None:
    """A host that counts chunks instead of events: the event at that number is another one."""
    hand = Hand("messages", log=LOG)
    hand.feed(chunk("a", 0), chunk("b", 1), chunk("c", 2))
    assert hand.read_log() == []
    assert hand.of.ended
    assert not hand.of.log_usable


def test_a_number_beyond_the_log_brings_nothing() -> None:
    hand = Hand("messages", log=LOG)
    hand.feed(chunk("c", 99))
    assert hand.read_log() == []


def test_chunks_without_numbers_leave_no_place_in_the_log() -> None:
    hand = Hand("messages")
    assert hand.of.rest_is_in_log
    hand.feed(chunk("a"))
    assert not hand.of.rest_is_in_log
    hand.feed(chunk("b", "c-1"))
    assert not hand.of.rest_is_in_log
    hand.feed(chunk("c", 7))
    assert hand.of.rest_is_in_log


def test_without_a_place_the_log_is_read_from_the_start_without_the_text_that_came() -> None:
    hand = Hand("messages", log=LOG, page_size=2)
    hand.feed(chunk("a"), chunk("b"))
    hand.of.follow_log()
    assert texts(hand.read_log()) == ["c"]
    assert hand.of.gaps == 1


def test_text_that_came_in_events_is_left_out_too() -> None:
    hand = Hand("messages", log=LOG)
    hand.feed(frame(LOG[0]), frame(LOG[1]), chunk("b"))
    hand.of.follow_log()
    assert texts(hand.read_log()) == ["c"]


def test_without_a_place_the_log_is_read_from_the_callers_start() -> None:
    hand = Hand("messages", after=1, log=LOG)
    hand.feed(chunk("b"))
    hand.of.follow_log()
    assert hand.of.log_start == 1
    assert texts(hand.read_log()) == ["c"]


def test_numbers_that_are_no_sequences_make_a_followed_log_start_over() -> None:
    hand = Hand("messages", log=LOG)
    hand.feed(chunk("a", 0), chunk("b", 1))
    hand.of.follow_log()
    assert texts(hand.read_log()) == ["c"]
    assert (hand.of.gaps, hand.of.ended) == (1, True)


@pytest.mark.parametrize("start", ["evt-2", "2"])
def test_the_log_is_read_from_behind_an_event_id(start: str) -> None:
    hand = Hand("messages", after=start, log=LOG, page_size=1)
    assert hand.of.start_not_found
    assert texts(hand.read_log()) == ["c"]
    assert not hand.of.start_not_found


def test_a_chunk_behind_an_opaque_start_says_where_it_is() -> None:
    hand = Hand("messages", after="evt-1", log=LOG)
    hand.feed(chunk("b", 2))
    assert not hand.of.start_not_found
    assert texts(hand.read_log()) == ["c"]


def test_an_event_from_before_is_not_taken_from_a_page() -> None:
    hand = Hand("messages", log=LOG)
    hand.feed(frame(LOG[0]), frame(LOG[1]))
    assert texts(hand.of.take_page(hand.page(None))) == ["b", "c"]


# -- frames that cannot be read -------------------------------------------------------------------------------


def test_an_unreadable_chunk_is_fetched_from_the_log() -> None:
    hand = Hand("messages", log=LOG)
    assert texts(hand.feed(chunk("a", 1), frame(BAD, id=2), chunk("c", 4))) == ["a", "b", "c"]
    assert hand.needs[0] == Missing(after=0, upto=2, claimed=2, must_read=True, frame_id="2", excerpt="{")


def test_an_unreadable_chunk_at_the_start_is_fetched_from_the_log() -> None:
    hand = Hand("messages", log=LOG, page_size=1)
    assert texts(hand.feed(frame(BAD, id=2))) == ["a", "b"]


def test_what_follows_an_unreadable_chunk_in_the_same_piece_comes_after_it() -> None:
    hand = Hand("messages", log=LOG)
    assert texts(hand.feed(chunk("a", 1) + frame(BAD, id=2) + chunk("c", 4))) == ["a", "b", "c"]


@pytest.mark.parametrize("number", [None, "c-2", 1])
def test_an_unreadable_frame_that_claims_no_new_place_is_only_counted(number: int | str | None) -> None:
    hand = Hand("messages", log=LOG)
    assert texts(hand.feed(chunk("a", 1), frame(BAD, id=number), chunk("b", 2))) == ["a", "b"]
    assert (hand.of.skipped, hand.needs) == (1, [])


@pytest.mark.parametrize("log", [None, LOG[:2]])
def test_an_unreadable_chunk_that_the_log_does_not_have_ends_the_stream(log: Any) -> None:
    hand = Hand("messages", log=log)
    with pytest.raises(StreamDecodeError) as raised:
        hand.feed(chunk("a", 1), frame(BAD, id=2))
    assert raised.value.last_event_id == "2"


def test_an_unreadable_chunk_whose_number_is_no_sequence_claims_nothing() -> None:
    hand = Hand("messages", log=LOG)
    assert texts(hand.feed(chunk("a", 0), chunk("b", 1), frame(BAD, id=2), chunk("d", 3))) == ["a", "b", "d"]


def test_an_unreadable_chunk_where_no_place_is_known_is_only_counted() -> None:
    hand = Hand("messages", log=LOG)
    assert texts(hand.feed(chunk("a"), frame(BAD, id=9), chunk("b"))) == ["a", "b"]
    assert hand.needs == []


def test_a_frame_that_is_no_chunk_but_has_a_new_number_makes_for_a_look_at_the_log() -> None:
    hand = Hand("messages", log=LOG[:3])
    assert texts(hand.feed(chunk("a", 1), frame({"hello": 1}, id=2))) == ["a", "b"]
    hand = Hand("messages", log=LOG[:2])
    assert texts(hand.feed(chunk("a", 1), frame({"hello": 1}, id=2))) == ["a"]


def test_the_end_of_the_run_may_be_found_while_fetching_a_chunk() -> None:
    hand = Hand("messages", log=run_log(3))
    assert hand.feed(frame(BAD, id=2)) == []
    assert hand.of.ended
