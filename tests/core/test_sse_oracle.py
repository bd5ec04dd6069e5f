"""The decoder against two others: the standard's text, transcribed literally, and httpx-sse."""

import codecs
from dataclasses import dataclass, field

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import example, given
from hypothesis import strategies as st

from openwop._core.sse import SseDecoder, SseFrame
from support.sse_bodies import BODIES


@dataclass
class Oracle:
    """The standard's own steps, one code unit at a time. Slow on purpose, and shares nothing with the product.

    "If the data buffer is an empty string" is read as browsers read it, and as the web platform tests demand:
    a lone empty `data` line leaves a line feed in the buffer, so it is dispatched, as an empty string.

    In one thing it departs from the text: `retry` counts when its frame is completed, like all else.
    """

    frames: list[tuple[str, str, str | None]] = field(default_factory=list)
    last_event_id: str | None = None
    retry_ms: int | None = None
    data: str = ""
    event: str = ""
    event_id: str | None = None
    retry: int | None = None

    def run(self, body: bytes) -> "Oracle":
        text = body.decode("utf-8", "replace")
        if text and text[0] == "\ufeff":
            text = text[1:]
        line = ""
        position = 0
        while position < len(text):
            unit = text[position]
            position += 1
            if unit == "\r":
                if position < len(text) and text[position] == "\n":
                    position += 1
                self.line(line)
                line = ""
            elif unit == "\n":
                self.line(line)
                line = ""
            else:
                line += unit
        return self

    def line(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            pass
        elif ":" in line:
            colon = line.index(":")
            value = line[colon + 1 :]
            if value != "" and value[0] == " ":
                value = value[1:]
            self.process(line[:colon], value)
        else:
            self.process(line, "")

    def process(self, name: str, value: str) -> None:
        if name == "event":
            self.event = value
        elif name == "data":
            self.data += value + "\n"
        elif name == "id":
            if "\0" not in value:
                self.event_id = value
        elif name == "retry" and value != "" and all(unit in "0123456789" for unit in value):
            self.retry = min(int(value), 10**18 - 1)

    def dispatch(self) -> None:
        if self.event_id is not None:
            self.last_event_id = self.event_id
        if self.retry is not None:
            self.retry_ms = self.retry
        if self.data != "":
            self.frames.append((self.data[:-1], self.event, self.event_id))
        self.data, self.event, self.event_id, self.retry = "", "", None, None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _optional_text(value: bytes | None) -> str | None:
    return None if value is None else _text(value)


@given(BODIES)
@example(b"retry: 1000\n\nretry: 9\ndata: x")
@example(b"id: 1\n\nid: 2\ndata: cut off\n")
def test_frames_are_those_of_the_standards_own_steps(body: bytes) -> None:
    """The standard decodes first and parses text; parsing bytes and decoding the values gives the same."""
    oracle = Oracle().run(body)
    decoder = SseDecoder()
    frames = decoder.feed(body)
    assert [(_text(f.data), _text(f.event), _optional_text(f.id)) for f in frames] == oracle.frames
    assert _optional_text(decoder.last_event_id) == oracle.last_event_id
    assert decoder.retry_ms == oracle.retry_ms
    assert decoder.oversized == decoder.discarded_bytes == 0


@given(BODIES)
def test_the_general_rules_and_the_fast_path_agree(body: bytes) -> None:
    """A limit that is smaller than the body but larger than its events makes the decoder measure each frame."""
    usual, measuring = SseDecoder(), SseDecoder(max_event_bytes=max(1, len(body) - 1))
    frames = usual.feed(body)
    if len(frames) > 1:
        assert measuring.feed(body) == frames
        assert measuring.last_event_id == usual.last_event_id
        assert measuring.retry_ms == usual.retry_ms


def httpx_sse_events(chunks: list[bytes]) -> list[tuple[str, str, str, int | None]]:
    """Decode as httpx-sse does behind httpx: text first, then lines, then events."""
    to_text = codecs.getincrementaldecoder("utf-8")("replace")
    to_lines, to_events = SSELineDecoder(), SSEDecoder()
    lines = [line for chunk in chunks if (text := to_text.decode(chunk)) for line in to_lines.decode(text)]
    events = [event for line in [*lines, *to_lines.flush()] if (event := to_events.decode(line)) is not None]
    return [(event.data, event.event, event.id, event.retry) for event in events]


_VALUES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)
_COMMENTS = _VALUES.map(lambda value: f":{value}")


@st.composite
def _well_formed_bodies(draw: st.DrawFn) -> bytes:
    """Bodies in which httpx-sse is right: no byte order mark, and `data` in every frame."""
    lines: list[str] = []
    for _ in range(draw(st.integers(0, 5))):
        fields = [f"data:{draw(st.sampled_from(['', ' ']))}{draw(_VALUES)}"]
        fields += draw(st.lists(_VALUES.map(lambda value: f"data: {value}"), max_size=2))
        fields += draw(st.lists(_COMMENTS, max_size=2))
        fields += draw(st.lists(_VALUES.map(lambda value: f"id: {value}"), max_size=1))
        fields += draw(st.lists(_VALUES.map(lambda value: f"event: {value}"), max_size=1))
        fields += draw(st.lists(st.integers(0, 10**6).map(lambda value: f"retry: {value}"), max_size=1))
        lines += [*draw(st.permutations(fields)), ""]
    ends = draw(st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=len(lines), max_size=len(lines)))
    # A CR alone must not be followed by an LF that was meant as the next, empty line.
    for index in range(1, len(lines)):
        if ends[index - 1] == "\r" and lines[index] == "" and ends[index] == "\n":
            ends[index] = "\r\n"
    return "".join(line + end for line, end in zip(lines, ends, strict=True)).encode()


@given(_well_formed_bodies(), st.integers(1, 20))
def test_well_formed_streams_decode_as_httpx_sse_decodes_them(body: bytes, size: int) -> None:
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    decoder = SseDecoder()
    last_event_id = ""
    found: list[tuple[str, str, str]] = []
    for chunk in chunks:
        for frame in decoder.feed(chunk):
            last_event_id = last_event_id if frame.id is None else _text(frame.id)
            found.append((_text(frame.data), _text(frame.event) or "message", last_event_id))
    theirs = httpx_sse_events(chunks)
    assert found == [(data, event or "message", event_id) for data, event, event_id, _ in theirs]
    retries = [retry for *_, retry in theirs if retry is not None]
    assert decoder.retry_ms == (retries[-1] if retries else None)
    assert (_optional_text(decoder.last_event_id) or "") == last_event_id


@pytest.mark.parametrize(
    ("body", "ours"),
    [
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="byte order mark"),
        pytest.param(b"id: 1\ndata: a\n\n: ping\n\n", [b"a"], id="comment after an id"),
        pytest.param(b"retry: 5\n\n", [], id="retry alone"),
        pytest.param(b"id: 5\n\n", [], id="id alone"),
        pytest.param(b"event: x\n\n", [], id="event alone"),
        pytest.param(b"data: a\n\ndata: b", [b"a"], id="cut off"),
    ],
)
def test_where_httpx_sse_departs_from_the_standard_this_decoder_does_not(
    body: bytes, ours: list[bytes]
) -> None:
    """Pins the differences that keep httpx-sse from being the oracle for everything."""
    assert [frame.data for frame in SseDecoder().feed(body)] == ours
    standard = [data for data, _, _ in Oracle().run(body).frames]
    assert standard == [data.decode() for data in ours]


def test_a_blank_line_ending_in_cr_is_not_held_back_until_the_next_chunk() -> None:
    """httpx-sse waits for the next byte; on a quiet stream that is the next keep-alive."""
    body = b"data: a\r\r"
    to_lines, to_events = SSELineDecoder(), SSEDecoder()
    assert [to_events.decode(line) for line in to_lines.decode(body.decode())] == [None]
    assert SseDecoder().feed(body) == [SseFrame(b"a", b"", None)]
