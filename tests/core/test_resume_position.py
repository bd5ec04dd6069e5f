"""Where a stream is, and what it tells the host about it."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.position import Position, sendable_id


def at(after: Any, last: int | None = None, frame_id: bytes | None = None) -> Position:
    position = Position(after)
    if last is not None:
        position.last = last
    position.id = frame_id
    return position


@pytest.mark.duty("E.76")
@pytest.mark.parametrize(
    ("position", "sent", "sequence", "cursor"),
    [
        (at(None), None, None, None),
        (at(0), "0", 0, 0),
        (at(41), "41", 41, 41),
        (at("evt-9"), "evt-9", None, "evt-9"),
        (at("-1"), "-1", None, "-1"),
        (at(None, 0, b"0"), "0", 0, 0),
        (at(None, 7, b"7"), "7", 7, 7),
        (at(None, 7, b"evt-7"), "evt-7", 7, "evt-7"),
        (at(None, 7, b"007"), "007", 7, "007"),
        (at("evt-1", 7, b"evt-7"), "evt-7", 7, "evt-7"),
    ],
)
def test_the_hosts_own_id_is_sent_back_as_it_came(
    position: Position, sent: Any, sequence: Any, cursor: Any
) -> None:
    assert (position.last_event_id, position.last_sequence, position.cursor) == (sent, sequence, cursor)


@pytest.mark.parametrize("frame_id", [None, b"", b"\xff", b"a\x01b", b" 7", b"7 ", b"x" * 1025, "é".encode()])
def test_without_an_id_that_can_be_sent_back_the_sequence_is_sent(frame_id: bytes | None) -> None:
    assert at(3, 7, frame_id).last_event_id == "7"
    assert at(3, 7, frame_id).cursor == 7


def test_an_id_of_printable_ascii_can_be_sent_back() -> None:
    every = bytes(range(0x21, 0x7F))
    assert sendable_id(every) == every.decode()
    assert sendable_id(b"a b") == "a b"


def test_a_position_knows_whether_it_moved_from_its_start() -> None:
    assert not at(None).moved
    assert not at(5).moved
    assert not at("evt-5").moved
    assert at(5, 6).moved
    assert at(None, 0).moved
    assert at(None, None, b"evt-0").moved


def test_an_opaque_start_says_nothing_about_the_place_until_something_was_reached() -> None:
    assert at(None).located
    assert at(0).located
    assert not at("evt-5").located
    assert at("evt-5", 0).located


def test_ids_count_as_sequences_until_one_is_seen_that_is_not() -> None:
    assert at(None).ids_are_sequences
    assert at(None, 7, b"7").ids_are_sequences
    assert not at(None, 7, b"107").ids_are_sequences
    assert not at(None, 7, b"evt-7").ids_are_sequences
