"""Cutting the bytes anywhere never changes the events."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from openwop._core.sse import SseDecoder, SseFrame
from support.sse_bodies import BODIES

Outcome = tuple[list[SseFrame], bytes | None, int | None, int]


def decode(chunks: list[bytes], max_event_bytes: int = 2**20) -> Outcome:
    decoder = SseDecoder(max_event_bytes=max_event_bytes)
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return frames, decoder.last_event_id, decoder.retry_ms, decoder.oversized


def cut(body: bytes, places: list[int]) -> list[bytes]:
    return [body[start:end] for start, end in pairwise([0, *sorted(places), len(body)])]


@st.composite
def _cut_bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    body = draw(BODIES)
    return body, cut(body, draw(st.lists(st.integers(0, len(body)), max_size=12)))


@given(_cut_bodies())
@example((b"data: a\r\n\r\n", [b"data: a\r", b"\n\r", b"", b"\n"]))
@example((b"\xef\xbb\xbfdata: a\n\n", [b"\xef", b"", b"\xbb", b"\xbfdata: a\n", b"\n"]))
def test_cutting_the_bytes_anywhere_never_changes_the_events(case: tuple[bytes, list[bytes]]) -> None:
    body, chunks = case
    assert decode(chunks) == decode([body])


@given(BODIES)
def test_nor_does_one_byte_at_a_time(body: bytes) -> None:
    assert decode([body[i : i + 1] for i in range(len(body))]) == decode([body])


@given(_cut_bodies(), st.integers(1, 60))
def test_nor_do_events_over_the_limit(case: tuple[bytes, list[bytes]], max_event_bytes: int) -> None:
    """Which events are too large, and what is known of them, must not depend on the network either."""
    body, chunks = case
    whole = decode([body], max_event_bytes)
    assert decode(chunks, max_event_bytes) == whole
    assert decode([body[i : i + 1] for i in range(len(body))], max_event_bytes) == whole


@given(_cut_bodies())
def test_cr_lf_and_crlf_are_the_same(case: tuple[bytes, list[bytes]]) -> None:
    body, _ = case
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    assert decode([b"\n".join(lines)]) == decode([b"\r\n".join(lines)]) == decode([b"\r".join(lines)])


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_ever_raise(chunks: list[bytes]) -> None:
    decode(chunks)
    decode(chunks, max_event_bytes=1)


@given(BODIES, BODIES)
def test_a_frame_is_given_out_in_the_call_that_completes_it(first: bytes, second: bytes) -> None:
    """What is known after the first part is exactly what the first part alone holds."""
    decoder = SseDecoder()
    assert decoder.feed(first) == decode([first])[0]
    decoder.feed(second)
    alone = decode([first])
    both = decode([first, second])
    assert both[0][: len(alone[0])] == alone[0]
