"""Large, endless and hostile streams: bounded memory, linear time, and decoding goes on behind them."""

import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openwop._core import sse
from openwop._core.sse import OversizedFrame, SseDecoder, SseFrame
from support.sse_bodies import BODIES

_KIB, _MIB = 1024, 1024 * 1024


def oversized(id: bytes | None = None, event: bytes = b"") -> OversizedFrame:
    return OversizedFrame(b"", event, id)


def decode(chunks: Iterable[bytes], **options: int) -> tuple[list[SseFrame], SseDecoder]:
    decoder = SseDecoder(**options)
    return [frame for chunk in chunks for frame in decoder.feed(chunk)], decoder


def test_an_event_over_the_limit_is_reported_in_its_place_and_decoding_goes_on() -> None:
    body = b"id: 1\ndata: a\n\nid: 2\nevent: big\ndata: " + b"x" * 100 + b"\n\nid: 3\ndata: c\n\n"
    for size in (len(body), 7, 1):
        frames, decoder = decode((body[i : i + size] for i in range(0, len(body), size)), max_event_bytes=40)
        assert frames == [SseFrame(b"a", b"", b"1"), oversized(b"2", b"big"), SseFrame(b"c", b"", b"3")]
        assert [type(frame) for frame in frames] == [SseFrame, OversizedFrame, SseFrame]
        assert (decoder.oversized, decoder.discarded_bytes, decoder.last_event_id) == (1, 0, b"3")


def test_an_oversized_event_moves_the_cursor_if_its_id_came_in_time() -> None:
    """A cursor that stayed behind would have the server send the same event again, for ever."""
    early, late = b"id: 2\ndata: xxxxxxxxxxxxxxxx\n\n", b"data: xxxxxxxxxxxxxxxx\nid: 2\n\n"
    for body, last_event_id in ((early, b"2"), (late, b"1")):
        frames, decoder = decode([b"id: 1\ndata: a\n\n", body], max_event_bytes=16)
        assert frames[1] == oversized(b"2" if last_event_id == b"2" else None)
        assert decoder.last_event_id == last_event_id


def test_an_oversized_event_says_nothing_before_its_blank_line() -> None:
    decoder = SseDecoder(max_event_bytes=16)
    assert decoder.feed(b"id: 5\nretry: 9\nevent: e\ndata: x\n") == []
    assert (decoder.last_event_id, decoder.retry_ms, decoder.oversized) == (None, None, 0)
    assert decoder.discarded_bytes == len(b"id: 5\nretry: 9\nevent: e\ndata: x\n")
    assert decoder.feed(b"data: y") == []
    assert decoder.discarded_bytes == len(b"id: 5\nretry: 9\nevent: e\ndata: x\ndata: y")
    assert decoder.feed(b"\r\n\r\ndata: z\r\n\r") == [oversized(b"5"), SseFrame(b"z", b"", None)]
    assert (decoder.last_event_id, decoder.retry_ms, decoder.oversized) == (b"5", 9, 1)
    assert decoder.discarded_bytes == 0
    assert decoder.feed(b"\ndata: w\n\n") == [SseFrame(b"w", b"", None)]


def test_lf_after_a_cr_that_ends_an_oversized_event_is_part_of_that_line_end() -> None:
    decoder = SseDecoder(max_event_bytes=4)
    assert decoder.feed(b"data: long\r") == []
    assert decoder.feed(b"\n\r") == [oversized()]
    assert decoder.feed(b"\nid\r") == []
    assert decoder.feed(b"\n\r") == []
    assert decoder.last_event_id == b""


def test_a_crlf_may_be_cut_right_behind_an_oversized_event() -> None:
    decoder = SseDecoder(max_event_bytes=16)
    assert decoder.feed(b"data: much too long") == []
    assert decoder.feed(b"\r\n\r\ndata: y\r") == [oversized()]
    assert decoder.feed(b"\ndata: z\r\n\r\n") == [SseFrame(b"y\nz", b"", None)]


def test_the_limit_itself_is_allowed() -> None:
    body = b"data: 12345\n\n"
    assert decode([body], max_event_bytes=11)[0] == [SseFrame(b"12345", b"", None)]
    assert decode([body], max_event_bytes=10)[0] == [oversized()]


def test_comments_do_not_count() -> None:
    """A quiet stream whose keep-alives are single lines must not end in a lost event after some weeks."""
    comments = b": ping\n" * 50 + b":" + b"x" * 500
    for size in (10_000, 3, 1):
        body = comments + b"\nid: 1\n" + comments + b"\ndata: 1\n" + comments + b"\n\n"
        chunks = [body[i : i + size] for i in range(0, len(body), size)]
        frames, decoder = decode(chunks, max_event_bytes=13)
        assert frames == [SseFrame(b"1", b"", b"1")]
        frames, decoder = decode(chunks, max_event_bytes=12)
        assert frames == [oversized(b"1")]
        assert decoder.oversized == 1


def test_a_comment_before_the_first_field_does_not_count_either() -> None:
    assert decode([b":" + b"x" * 500 + b"\ndata: 1\n\n"], max_event_bytes=10)[0] == [
        SseFrame(b"1", b"", None)
    ]


def test_comments_behind_a_large_line_do_not_have_it_read_again_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That would be quadratic. How often is the number of comment bytes over a quarter of the limit."""
    reviews: list[int] = []
    original = sse._without_comments

    def counting(lines: bytes) -> bytes:
        reviews.append(len(lines))
        return original(lines)

    monkeypatch.setattr(sse, "_without_comments", counting)
    comments = [b": ping\n"] * 4_000
    frames, _ = decode([b"data: " + b"x" * 990 + b"\n", *comments, b"\n"], max_event_bytes=1000)
    assert len(frames[0].data) == 990
    assert 1 < len(reviews) < 7 * 4_000 / 250 + 3


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_event_bytes must be at least 1, not 0"):
        SseDecoder(max_event_bytes=0)


def _judged(body: bytes, limit: int) -> list[SseFrame]:
    """Apply the limit as the documentation defines it, line by line, to what has no limit.

    The blank line before each frame is there because a byte order mark counts only at the start of a body.
    """
    frames: list[SseFrame] = []
    lines = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    frame: list[bytes] = []
    for line in lines[:-1]:
        if line:
            frame.append(line)
            continue
        content = b"".join(line + b"\n" for line in frame if not line.startswith(b":"))
        if len(content) - 1 <= limit:
            frames += SseDecoder().feed(b"\n" + content + b"\n")
        else:
            head = content[: content[:limit].rfind(b"\n") + 1]
            # With data in it, whatever the head says comes out as one frame.
            [known] = SseDecoder().feed(b"\n" + head + b"data\n\n")
            frames.append(oversized(known.id, known.event))
        frame = []
    return frames


@given(BODIES, st.integers(1, 60), st.integers(1, 70))
@example(b"\n\xef\xbb\xbfid: 1\nevent: e\ndata: {}\n\n", 9, 1)
def test_the_size_of_an_event_is_that_of_its_lines_without_comments(
    body: bytes, limit: int, size: int
) -> None:
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    frames, decoder = decode(chunks, max_event_bytes=limit)
    assert frames == _judged(body, limit)
    assert decoder.oversized == sum(type(frame) is OversizedFrame for frame in frames)


def _repeat(piece: bytes, total: int) -> Iterator[bytes]:
    for _ in range(total // len(piece)):
        yield piece


ENDLESS: dict[str, Callable[[], Iterator[bytes]]] = {
    "a data line": lambda: _repeat(b"x" * 64 * _KIB, 32 * _MIB),
    "a data line in small pieces": lambda: _repeat(b"xyz", _MIB),
    "a comment": lambda: _repeat(b":" * 64 * _KIB, 32 * _MIB),
    "comments": lambda: _repeat(b": ping\n" * 9_000, 4 * _MIB),
    "comments in small pieces": lambda: _repeat(b":\n", 512 * _KIB),
    "comments between data lines": lambda: _repeat(b": ping\ndata:\n" * 100, 2 * _MIB),
    "blank lines": lambda: _repeat(b"\n" * 64 * _KIB, 32 * _MIB),
    "blank lines, each alone": lambda: _repeat(b"\r", 128 * _KIB),
    "empty data lines": lambda: _repeat(b"data\n" * 10_000, 16 * _MIB),
    "ids": lambda: _repeat(b"id: 1\n" * 10_000, 16 * _MIB),
    "frames without data": lambda: _repeat(b"id: 1\n\n" * 500, _MIB),
    "unknown fields": lambda: _repeat(b"foo\n" * 10_000, 16 * _MIB),
}


@pytest.mark.parametrize("chunks", ENDLESS.values(), ids=ENDLESS)
def test_memory_is_bounded_whatever_never_ends(chunks: Callable[[], Iterator[bytes]]) -> None:
    """Far more is sent than may be kept; a decoder that kept it, or took quadratic time, would not pass."""
    decoder = SseDecoder(max_event_bytes=256 * _KIB)
    tracemalloc.start()
    try:
        for chunk in chunks():
            assert decoder.feed(chunk) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * _MIB


LARGE = {
    "one line": (b"data: " + b"x" * 4 * _MIB + b"\n\n", 4 * _MIB),
    "one line in an unusual frame": (b"data: " + b"x" * 4 * _MIB + b"\nfoo\n\n", 4 * _MIB),
    "two lines": (b"data: " + b"x" * 2 * _MIB + b"\ndata: " + b"x" * 2 * _MIB + b"\n\n", 4 * _MIB + 1),
    "many lines": (b"data:x\n" * 300_000 + b"\n", 2 * 300_000 - 1),
    "many empty lines": (b"data\n" * 300_000 + b"\n", 300_000 - 1),
    "many comments": (b":x\n" * 300_000 + b"data: x\n\n", 1),
    "many line ends of two bytes": (b"data: x\r\n" * 100_000 + b"\r\n", 2 * 100_000 - 1),
}


@pytest.mark.parametrize("size", [10**9, 1000], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("body", "length"), LARGE.values(), ids=LARGE)
def test_a_large_event_below_the_limit_arrives_whole(body: bytes, length: int, size: int) -> None:
    [frame], _ = decode(body[i : i + size] for i in range(0, len(body), size))
    assert len(frame.data) == length


def test_a_large_event_arrives_whole_one_byte_at_a_time() -> None:
    body = b"id: 1\r\ndata: " + b"x" * 400_000 + b"\r\n\r\n"
    assert decode(body[i : i + 1] for i in range(len(body)))[0] == [SseFrame(b"x" * 400_000, b"", b"1")]


def test_the_buffer_of_a_large_event_is_given_back() -> None:
    tracemalloc.start()
    try:
        decoder = SseDecoder()
        for _ in range(8):
            decoder.feed(b"data: " + b"x" * _MIB)
        before, _ = tracemalloc.get_traced_memory()
        assert len(decoder.feed(b"\n\ndata: y")) == 1
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert before > 8 * _MIB
    assert after < 16 * _KIB
    assert decoder.feed(b"\n\n") == [SseFrame(b"y", b"", None)]
