"""``updates`` and ``debug``: every event once, in order, none lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.delivery import Missing
from openwop.errors import StreamDecodeError
from support.deliveries import Hand, numbers
from support.fault_steps import batch_frame, event_doc, frame, run_log, snapshot_doc

BAD = b"{"
CHUNK = {"chunk": "Hi", "isLast": False}


def events(*sequences: int, **over: Any) -> list[bytes]:
    return [frame(event_doc(sequence), **over) for sequence in sequences]


def text_event(sequence: int, text: str = "Hi") -> dict[str, Any]:
    return event_doc(sequence, "output.chunk", payload={"chunk": text, "isLast": False})


# -- once and in order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["updates", "debug"])
def test_events_come_as_they_are(mode: str) -> None:
    hand = Hand(mode)
    log = run_log(4)
    items = hand.feed(*(frame(doc) for doc in log))
    assert numbers(items) == [0, 1, 2, 3]
    assert hand.of.ended
    assert items[1].payload == {"index": 1}


@pytest.mark.duty("E.87")
@pytest.mark.parametrize("mode", ["updates", "debug"])
def test_an_overlap_after_a_reconnect_is_dropped(mode: str) -> None:
    hand = Hand(mode)
    first = hand.feed(*events(0, 1, 2))
    hand.reconnect()
    assert numbers(first + hand.feed(*events(1, 2, 3))) == [0, 1, 2, 3]
    assert hand.of.skipped == hand.of.gaps == 0


def test_the_position_is_right_at_each_event_even_within_one_piece() -> None:
    hand = Hand("updates")
    frames = b"".join(events(0, 1)) + batch_frame([event_doc(2), event_doc(3)], id="b-3")
    seen = []
    for event in hand.of.receive(list(_decode(frames))):
        seen.append((event.sequence, hand.position.last_sequence, hand.position.cursor))
    assert seen == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, "b-3")]


def _decode(data: bytes) -> Any:
    from openwop._core.sse import SseDecoder

    return SseDecoder().feed(data)


@pytest.mark.duty("E.76")
def test_the_id_of_a_batch_becomes_the_cursor_only_with_its_last_event() -> None:
    hand = Hand("updates")
    hand.feed(batch_frame([event_doc(0), event_doc(1)], id="evt-1"))
    assert hand.position.last_event_id == "evt-1"


@pytest.mark.duty("E.87")
def test_a_batch_without_an_id_moves_the_cursor_to_its_highest_sequence() -> None:
    hand = Hand("updates")
    hand.feed(*events(0), batch_frame([event_doc(1), event_doc(2)], id=None))
    assert hand.position.last_event_id == "2"


@pytest.mark.duty("E.72")
@pytest.mark.duty("E.73")
def test_batches_and_single_events_may_alternate() -> None:
    hand = Hand("updates")
    items = hand.feed(
        *events(0),
        batch_frame([event_doc(1)]),
        *events(2),
        batch_frame([event_doc(3), event_doc(4)]),
        *events(5),
    )
    assert numbers(items) == [0, 1, 2, 3, 4, 5]


def test_overlapping_batches_bring_each_event_once() -> None:
    hand = Hand("debug")
    items = hand.feed(batch_frame(map(event_doc, (0, 1, 2))), batch_frame(map(event_doc, (1, 2, 3))))
    assert numbers(items) == [0, 1, 2, 3]


def test_an_empty_id_takes_the_hosts_id_back() -> None:
    hand = Hand("updates")
    hand.feed(frame(event_doc(0), id="evt-0"), frame(event_doc(1), id=""))
    assert hand.position.last_event_id == "1"


def test_a_dropped_duplicate_does_not_move_the_cursor() -> None:
    hand = Hand("updates")
    hand.feed(*events(0, 1, 2), frame(event_doc(1), id="evt-1"))
    assert hand.position.last_event_id == "2"


@pytest.mark.duty("E.74")
def test_labels_of_mixed_modes_do_not_matter() -> None:
    hand = Hand("updates", "debug")
    log = run_log(3)
    items = hand.feed(
        *(frame(doc, event=label) for doc, label in zip(log, ["updates", "debug", "x"], strict=True))
    )
    assert numbers(items) == [0, 1, 2]


# -- gaps ------------------------------------------------------------------------------------------------------


def test_gaps_in_a_filtered_mode_are_in_order() -> None:
    hand = Hand("updates")
    assert numbers(hand.feed(*events(0, 3, 9))) == [0, 3, 9]
    assert (hand.needs, hand.of.gaps) == ([], 0)


def test_an_event_that_comes_after_a_later_one_is_counted_where_it_cannot_be_put_in_order() -> None:
    """A pinned gap: a stream that filters cannot know at 3 that 2 is still to come.  In debug it is fetched in time."""
    for pieces in (events(0, 1, 3, 2, 4, 1, 3), [b"".join(events(0, 1, 3, 2, 4, 1, 3))]):
        hand = Hand("updates")
        assert numbers(hand.feed(*pieces)) == [0, 1, 3, 4]
        assert hand.of.gaps == 1
        assert [in_order for _, _, in_order in hand.skips] == [False]
    hand = Hand("debug", log=run_log(9))
    assert numbers(hand.feed(*events(0, 1, 3, 2, 4))) == [0, 1, 2, 3, 4]
    assert hand.of.gaps == 0


def test_what_another_connection_left_out_is_not_out_of_order() -> None:
    hand = Hand("updates")
    hand.feed(*events(0, 5))
    hand.reconnect()
    assert numbers(hand.feed(*events(3, 5, 6))) == [6]
    assert hand.of.gaps == 0


def test_a_gap_in_debug_is_filled_from_the_log_before_going_on() -> None:
    hand = Hand("debug", log=run_log(10))
    assert numbers(hand.feed(*events(0, 1, 5, 6))) == [0, 1, 2, 3, 4, 5, 6]
    assert hand.needs == [Missing(after=1, upto=4)]
    assert hand.of.gaps == 0


def test_a_gap_is_filled_over_as_many_pages_as_it_takes() -> None:
    hand = Hand("debug", log=run_log(30), page_size=3)
    assert numbers(hand.feed(*events(0), *events(20, 21))) == list(range(22))


def test_frames_behind_a_gap_in_the_same_piece_come_after_it() -> None:
    hand = Hand("debug", log=run_log(20))
    piece = b"".join(events(3, 7)) + batch_frame(map(event_doc, (8, 12))) + b"".join(events(13))
    assert numbers(hand.feed(piece)) == list(range(14))


def test_the_first_event_of_a_log_is_expected_to_be_number_0() -> None:
    hand = Hand("debug", log=run_log(5))
    assert numbers(hand.feed(*events(2))) == [0, 1, 2]
    assert hand.needs == [Missing(after=None, upto=1)]


def test_after_an_event_id_the_first_event_may_have_any_sequence() -> None:
    hand = Hand("debug", after="evt-6", log=run_log(20))
    assert numbers(hand.feed(*events(7), *events(9))) == [7, 8, 9]


def test_a_sequence_to_start_after_is_exclusive_and_0_is_one() -> None:
    hand = Hand("debug", after=0, log=run_log(5))
    assert numbers(hand.feed(*events(0, 1, 2))) == [1, 2]
    assert hand.needs == []


def test_without_polls_a_gap_is_counted_and_passed() -> None:
    hand = Hand("debug")
    assert numbers(hand.feed(*events(0, 3, 4, 9))) == [0, 3, 4, 9]
    assert hand.of.gaps == 2


def test_a_hole_in_the_log_itself_is_counted_and_passed() -> None:
    log = [doc for doc in run_log(10) if doc["sequence"] not in (3, 4, 7)]
    hand = Hand("debug", log=log)
    assert numbers(hand.feed(*events(0, 8))) == [0, 1, 2, 5, 6, 8]
    assert hand.of.gaps == 2


# -- the end ---------------------------------------------------------------------------------------------------


@pytest.mark.duty("E.78")
@pytest.mark.parametrize("kind", ["run.completed", "run.failed", "run.cancelled"])
def test_the_terminal_event_is_the_last(kind: str) -> None:
    hand = Hand("updates")
    piece = b"".join([*events(0), frame(event_doc(1, kind)), *events(2, 3)])
    assert numbers(hand.feed(piece, *events(4))) == [0, 1]
    assert hand.of.ended


def test_a_terminal_event_inside_a_batch_ends_the_stream() -> None:
    hand = Hand("updates")
    assert numbers(hand.feed(batch_frame([event_doc(0), event_doc(1, "run.failed"), event_doc(2)]))) == [0, 1]
    assert hand.of.ended


def test_a_terminal_event_of_a_renumbered_log_is_delivered_and_ends_the_stream() -> None:
    hand = Hand("updates")
    items = hand.feed(*events(50, 51), frame(event_doc(7, "run.completed")))
    assert numbers(items) == [50, 51, 7]
    assert hand.of.ended


def test_a_terminal_event_that_the_caller_already_had_only_ends_the_stream() -> None:
    hand = Hand("updates", after=9)
    assert hand.feed(*(frame(doc) for doc in run_log(10))) == []
    assert hand.of.ended


def test_a_terminal_event_found_while_filling_a_gap_ends_the_stream() -> None:
    hand = Hand("debug", log=run_log(4))
    assert numbers(hand.feed(*events(0), *events(8))) == [0, 1, 2, 3]
    assert hand.of.ended


# -- frames that bring no event --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["updates", "debug"])
@pytest.mark.parametrize(
    "document",
    [
        {"annotationId": "a", "signal": "up"},
        {"surfaceRef": "s", "patch": []},
        CHUNK,
        snapshot_doc(),
        {"hello": "world"},
        b"",
    ],
)
def test_a_frame_of_another_kind_is_counted_and_nothing_more(mode: str, document: Any) -> None:
    hand = Hand(mode)
    assert numbers(hand.feed(*events(0), frame(document), *events(1))) == [0, 1]
    assert (hand.of.skipped, hand.of.gaps) == (1, 0)
    assert [in_order for _, _, in_order in hand.skips] == [True]


def test_a_live_annotation_does_not_move_the_cursor_whatever_its_id() -> None:
    hand = Hand("updates", log=run_log(99))
    hand.feed(*events(0), frame({"annotationId": "a"}, id=77, event="run.annotated"))
    assert hand.position.last_event_id == "0"
    assert hand.needs == []


def test_an_annotation_with_a_sequence_is_an_event_like_any_other() -> None:
    assert numbers(Hand("updates").feed(frame(event_doc(0, "run.annotated")))) == [0]


@pytest.mark.parametrize("mode", ["updates", "debug"])
def test_an_unreadable_event_is_fetched_from_the_log(mode: str) -> None:
    hand = Hand(mode, log=run_log(10))
    items = hand.feed(*events(0, 1), frame(BAD, id=2), *events(3))
    assert numbers(items) == [0, 1, 2, 3]
    assert (hand.of.skipped, hand.of.gaps) == (1, 0)
    assert [(frame_id, in_order) for _, frame_id, in_order in hand.skips] == [("2", False)]


def test_what_is_fetched_for_updates_is_filtered_like_updates() -> None:
    log = [event_doc(0), event_doc(1, "node.started"), event_doc(2, "acme.thing"), event_doc(3)]
    hand = Hand("updates", log=log)
    assert numbers(hand.feed(*events(0), frame(BAD, id=3))) == [0, 3]
    assert hand.position.last_sequence == 3


@pytest.mark.parametrize("number", [1, 2])
def test_an_unreadable_frame_from_before_is_only_counted(number: int) -> None:
    hand = Hand("debug", log=run_log(10))
    assert numbers(hand.feed(*events(0, 1, 2), frame(BAD, id=number), *events(3))) == [0, 1, 2, 3]
    assert hand.needs == []


@pytest.mark.parametrize("mode", ["updates", "debug"])
def test_an_unreadable_frame_without_an_id_may_be_the_next_event(mode: str) -> None:
    hand = Hand(mode, log=run_log(3, end=None))
    assert numbers(hand.feed(*events(0, 1), frame(BAD, id=None))) == [0, 1, 2]


@pytest.mark.parametrize("mode", ["updates", "debug"])
def test_an_unreadable_frame_behind_which_the_log_has_nothing_was_no_event(mode: str) -> None:
    hand = Hand(mode, log=run_log(2, end=None))
    assert numbers(hand.feed(*events(0, 1), frame(BAD, id=None))) == [0, 1]
    assert (hand.of.skipped, hand.of.gaps) == (1, 0)


@pytest.mark.parametrize("mode", ["updates", "debug"])
@pytest.mark.parametrize("log", [None, [event_doc(0)], [event_doc(0), event_doc(2)]])
def test_an_unreadable_event_that_the_log_does_not_have_ends_the_stream(mode: str, log: Any) -> None:
    hand = Hand(mode, log=log)
    with pytest.raises(StreamDecodeError) as raised:
        hand.feed(*events(0), frame(b'{"broken', id=1))
    assert raised.value.last_event_id == "1"
    assert raised.value.excerpt == '{"broken'


def test_without_polls_an_unreadable_frame_without_id_ends_a_stream_that_filters_nothing() -> None:
    with pytest.raises(StreamDecodeError):
        Hand("debug").feed(*events(0), frame(BAD, id=None))


def test_without_polls_an_unreadable_frame_without_id_is_passed_in_a_stream_that_filters() -> None:
    hand = Hand("updates")
    assert numbers(hand.feed(*events(0), frame(BAD, id=None), *events(1))) == [0, 1]
    assert hand.of.skipped == 1


def test_after_an_opaque_start_the_id_of_an_unreadable_first_event_says_where_it_is() -> None:
    hand = Hand("updates", after="evt-4", log=run_log(9))
    assert numbers(hand.feed(frame(BAD, id=5), *events(6))) == [5, 6]
    assert hand.needs == [
        Missing(after=4, upto=5, claimed=5, must_read=True, frame_id="5", excerpt="{"),
    ]


def test_after_an_opaque_start_an_unreadable_first_event_without_id_cannot_be_fetched() -> None:
    hand = Hand("updates", after="evt-4", log=run_log(9))
    assert numbers(hand.feed(frame(BAD, id=None), *events(6))) == [6]
    with pytest.raises(StreamDecodeError, match="its place in the log is not known") as raised:
        Hand("debug", after="evt-4", log=run_log(9)).feed(frame(BAD, id=None))
    assert raised.value.last_event_id == "evt-4"


def test_the_first_event_of_a_log_can_be_the_unreadable_one() -> None:
    hand = Hand("updates", log=run_log(3))
    assert numbers(hand.feed(frame(BAD, id=0), *events(1))) == [0, 1]
    assert isinstance(hand.needs[0], Missing)
    assert hand.needs[0].after is None


def test_an_unreadable_first_event_that_contradicts_the_callers_start_cannot_be_fetched() -> None:
    with pytest.raises(StreamDecodeError):
        Hand("updates", after="evt-4", log=run_log(3)).feed(frame(BAD, id=0))


def test_ids_that_are_no_sequences_claim_nothing() -> None:
    hand = Hand("updates", log=run_log(9, end=None))
    assert numbers(hand.feed(frame(event_doc(0), id=1000), frame(BAD, id=1001), *events(9))) == list(
        range(10)
    )


def test_an_element_that_cannot_be_read_is_fetched_in_its_place() -> None:
    log = run_log(9)
    hand = Hand("debug", log=log)
    documents = [log[0], {"type": "node.completed"}, log[2], {"type": 5}, {"type": "x"}, log[4], log[5]]
    assert numbers(hand.feed(frame(documents, id=5, event="batch"))) == [0, 1, 2, 3, 4, 5]


def test_an_element_that_cannot_be_read_is_fetched_where_something_is_filtered_too() -> None:
    hand = Hand("updates", log=run_log(9))
    documents = [event_doc(0), {"type": "node.completed"}, event_doc(2)]
    assert numbers(hand.feed(frame(documents, id=2, event="batch"))) == [0, 1, 2]


def test_an_element_that_no_event_is_missing_for_costs_nothing() -> None:
    hand = Hand("debug", log=run_log(9))
    documents = [event_doc(0), {"type": "node.completed"}, event_doc(1)]
    assert numbers(hand.feed(frame(documents, id=1, event="batch"))) == [0, 1]
    assert hand.needs == []


def test_a_gap_around_an_unreadable_element_is_counted_when_the_log_lacks_it() -> None:
    hand = Hand("debug", log=[event_doc(0), event_doc(1), event_doc(4)])
    documents = [event_doc(0), {"type": "node.completed"}, event_doc(4)]
    assert numbers(hand.feed(frame(documents, id=4, event="batch"))) == [0, 1, 4]
    assert hand.of.gaps == 1


@pytest.mark.parametrize("document", [{"hello": 1}, b""])
@pytest.mark.parametrize("mode", ["updates", "debug"])
def test_a_frame_that_is_no_event_but_has_the_id_of_a_new_one_makes_for_a_look_at_the_log(
    mode: str, document: Any
) -> None:
    hand = Hand(mode, log=run_log(3, end=None))
    assert numbers(hand.feed(*events(0, 1), frame(document, id=2))) == [0, 1, 2]
    hand = Hand(mode, log=run_log(2, end=None))
    assert numbers(hand.feed(*events(0, 1), frame(document, id=2))) == [0, 1]
    hand = Hand(mode, log=run_log(2, end=None))
    assert numbers(hand.feed(*events(0, 1), frame(document, id=1))) == [0, 1]
    assert hand.needs == []


# -- progress, and the log -------------------------------------------------------------------------------------


def test_the_log_goes_on_where_the_stream_was() -> None:
    hand = Hand(
        "updates", log=[event_doc(0), event_doc(1, "node.started"), event_doc(2), event_doc(3, "run.failed")]
    )
    assert numbers(hand.feed(*events(0)) + hand.read_log()) == [0, 2, 3]
    assert hand.of.ended


def test_what_follows_the_terminal_event_in_the_log_is_not_delivered() -> None:
    hand = Hand("updates", log=[event_doc(0), event_doc(1, "run.completed"), event_doc(2)])
    assert numbers(hand.of.take_page(hand.page(None))) == [0, 1]


def test_a_page_that_begins_with_the_cursors_own_event_brings_it_only_once() -> None:
    hand = Hand("updates", log=run_log(4))
    hand.feed(*events(0, 1))
    assert numbers(hand.of.take_page(hand.page(0))) == [2, 3]


def test_text_in_the_log_is_no_update() -> None:
    log = [event_doc(0), event_doc(1, "output.chunk", payload={"chunk": "x", "isLast": True}), event_doc(2)]
    assert numbers(Hand("updates", log=log).read_log()) == [0, 2]
    assert numbers(Hand("debug", log=log).read_log()) == [0, 1, 2]


def test_a_hole_in_the_log_counts_as_a_gap_where_nothing_is_filtered() -> None:
    hand = Hand("debug", log=[event_doc(0), event_doc(2), event_doc(3)])
    assert numbers(hand.read_log()) == [0, 2, 3]
    assert hand.of.gaps == 1


def test_a_log_out_of_order_is_delivered_in_order() -> None:
    hand = Hand("debug", log=[event_doc(2), event_doc(0), event_doc(1)])
    assert numbers(hand.read_log()) == [0, 1, 2]


def test_a_terminal_event_in_a_renumbered_log_ends_the_reading_too() -> None:
    hand = Hand("updates")
    hand.feed(*events(50))
    hand.log = run_log(5)
    assert numbers(hand.of.take_page(hand.page(None))) == [4]
    assert hand.of.ended


@pytest.mark.parametrize("start", ["evt-2", "2"])
def test_the_log_is_read_from_behind_an_event_id(start: str) -> None:
    hand = Hand("debug", after=start, log=run_log(9), page_size=1)
    assert hand.of.start_not_found
    assert numbers(hand.read_log()) == [3, 4, 5, 6, 7, 8]
    assert not hand.of.start_not_found


def test_an_event_id_that_is_not_in_the_log_is_not_found() -> None:
    hand = Hand("debug", after="evt-99", log=run_log(5), page_size=2)
    assert hand.read_log() == []
    assert hand.of.start_not_found


def test_a_log_that_is_over_ends_the_stream() -> None:
    hand = Hand("updates")
    hand.of.follow_log()
    assert hand.of.log_usable
    assert hand.of.rest_is_in_log
    hand.of.log_is_over()
    assert hand.of.ended


# -- properties ------------------------------------------------------------------------------------------------


@given(st.data())
def test_whatever_is_repeated_left_out_or_batched_debug_gives_the_log_once_and_in_order(
    data: st.DataObject,
) -> None:
    log = run_log(data.draw(st.integers(1, 12)))
    hand = Hand("debug", log=log, page_size=data.draw(st.integers(1, 5)))
    items: list[Any] = []
    while not hand.of.ended:
        # A host may start anywhere, leave events out, repeat them, batch them, or garble them; it sends ids or not.
        picked = [*data.draw(st.lists(st.sampled_from(log), min_size=1, max_size=5)), log[-1]]
        with_id = data.draw(st.booleans())
        pieces = []
        for doc in picked:
            sent = data.draw(st.sampled_from(["alone", "garbled", "batch"]))
            number = doc["sequence"] if with_id else None
            if sent == "batch":
                pieces.append(batch_frame([doc], id=number))
            else:
                pieces.append(frame(BAD if sent == "garbled" else doc, id=number))
        items += hand.feed(b"".join(pieces)) if data.draw(st.booleans()) else hand.feed(*pieces)
        hand.reconnect()
    assert numbers(items) == list(range(len(log)))
    assert hand.of.gaps == 0
