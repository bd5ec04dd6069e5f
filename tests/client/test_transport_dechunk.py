"""Merging the chunks of an event stream changes nothing that the HTTP parser, or its user, can see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import h11
import httpcore
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openwop._http.dechunk import MAX_CHUNK_HEADER_BYTES, MAX_HEAD_BYTES, ChunkDecoder, ResponseScanner
from openwop._http.netstream import AsyncioStream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


# -- what a parser makes of the bytes ------------------------------------------------------------------------


@dataclass
class Seen:
    """What came out of one response."""

    statuses: list[int] = field(default_factory=list)
    body: bytes = b""
    end: str = "waits for more"
    left_over: bytes = b""


class Parser:
    """h11 as a client, taking the bytes of one response and noting what it says about them."""

    def __init__(self, method: bytes) -> None:
        self._h11 = h11.Connection(our_role=h11.CLIENT)
        self._h11.send(h11.Request(method=method, target=b"/", headers=[("Host", "test")]))
        self._h11.send(h11.EndOfMessage())
        self.seen = Seen()

    @property
    def done(self) -> bool:
        return self.seen.end != "waits for more"

    def feed(self, data: bytes) -> None:
        """Take bytes from the wire; empty ones are its end."""
        self._h11.receive_data(data)
        while not self.done:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError:
                self.seen.end = "error"
                return
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Response | h11.InformationalResponse):
                self.seen.statuses.append(event.status_code)
            elif isinstance(event, h11.Data):
                self.seen.body += bytes(event.data)
            else:
                self.seen.end = type(event).__name__ if event is not h11.PAUSED else "paused"
                self.seen.left_over = self._h11.trailing_data[0]


def plain(pieces: list[bytes], method: bytes = b"GET", *, close: bool = True) -> Seen:
    """What h11 alone sees."""
    parser = Parser(method)
    for piece in [*pieces, b""] if close else pieces:
        if not parser.done:
            parser.feed(piece)
    return parser.seen


async def _through_the_stream(
    loop: asyncio.AbstractEventLoop, pieces: list[bytes], method: bytes, close: bool, direct: bool
) -> Seen:
    stream = AsyncioStream(loop)
    parser = Parser(method)
    await stream.write(method + b" / HTTP/1.1\r\nHost: test\r\n\r\n")
    for index in range(len(pieces) + 1):
        if index < len(pieces):
            stream.data_received(pieces[index])
        elif close:
            stream.eof_received()
        while not parser.done and stream.get_extra_info("is_readable"):
            # What arrives is read at once; a read that finds only the middle of a chunk header has to wait.
            past_the_parser = direct and stream.has_merged_body
            reading = asyncio.ensure_future(stream.read_body(None) if past_the_parser else stream.read(65536))
            await asyncio.sleep(0)
            if not reading.done():
                reading.cancel()
                await asyncio.wait([reading])
            elif not past_the_parser:
                parser.feed(reading.result())
            elif body := reading.result():
                parser.seen.body += body
            elif stream.has_merged_body:
                parser.feed(await stream.read(65536))  # the end of the connection is the parser's to judge
    return parser.seen


def merged(
    loop: asyncio.AbstractEventLoop,
    pieces: list[bytes],
    method: bytes = b"GET",
    *,
    close: bool = True,
    direct: bool = False,
) -> Seen:
    """What h11 sees when the stream merges chunks for it, or (``direct``) hands the body out past it."""
    return loop.run_until_complete(_through_the_stream(loop, pieces, method, close, direct))


# -- any response, cut anywhere ------------------------------------------------------------------------------


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces; each place is taken modulo their length."""
    edges = sorted({0, len(wire), *(place % (len(wire) + 1) for place in places)})
    return [wire[start:end] for start, end in pairwise(edges)]


@st.composite
def chunk(draw: st.DrawFn) -> bytes:
    """One well-formed chunk, in one of the many ways to write it."""
    data = draw(
        st.binary(min_size=1, max_size=40) | st.just(b"id: 1\ndata: x\r\n\r\n") | st.just(b"5\r\nhello\r\n")
    )
    size = b"%x" % len(data)
    size = draw(st.sampled_from([size, size.upper(), b"000" + size, size.rjust(20, b"0")]))
    extension = draw(st.sampled_from([b"", b";a=b", b";", b';name="a\rb"', b" ", b"\t ", b"; x \t"]))
    return size + extension + b"\r\n" + data + b"\r\n"


END = st.sampled_from(
    [
        LAST,
        b"0;x=y\r\n\r\n",
        b"000\r\nTrailer: x\r\n\r\n",
        b"0\r\nA: b\r\nC: d\r\n\r\n",
        b"",
        b"0\r\n",
        b"0",
        b"5\r\nhel",
    ]
)
BROKEN = st.sampled_from(
    [
        *(
            b"x\r\n",
            b"\r\n",
            b"\x00\r\n",
            b"1" * 21 + b"\r\n",
            b"5_0\r\n",
            b"3;\n\r\nabc\r\n",
            b"5\nhello\r\n",
        ),
        *(sign + b"5\r\nhello\r\n" for sign in (b"-", b"+", b"0x", b" ", b"5 ")),
        *(
            b"5\r\nhello" + end
            for end in (b"XY", b"\n", b"\r", b"\rX", b"5\r\nhello\r\n", b"\n\r5\r\nhello\r\n")
        ),
    ]
)
BODY = st.builds(
    lambda chunks, broken, end, after: b"".join(chunks) + broken + end + after,
    st.lists(chunk(), max_size=8),
    st.just(b"") | BROKEN,
    END,
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\r\n", b"junk"]),
)
EVENT_STREAMS = [
    HEAD,
    HEAD.replace(b"\r\n", b"\n"),
    HEAD.upper(),
    HEAD.replace(b"text/event-stream", b'Text/Event-Stream ; charset="utf-8"'),
    HEAD.replace(b"chunked", b"  Chunked\t"),
    HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    HEAD.replace(b"200 OK", b"500 Oh"),
    HEAD.replace(b"200 OK", b"200"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD,
    b"HTTP/1.1 103 Hints\r\nX: text/event-stream chunked\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + HEAD,
]
OTHERS = [
    HEAD.replace(b"chunked", b"gzip, chunked"),
    HEAD.replace(b"chunked\r\n", b"chunked\r\nTransfer-Encoding: chunked\r\n"),
    HEAD.replace(b": text", b":\r\n text"),
    HEAD.replace(b"text/event-stream", b"application/json"),
    HEAD.replace(b"text/event-stream", b"text/event-stream-ish"),
    HEAD.replace(b"Content-Type: text/event-stream", b"X-Type: text/event-stream"),
    HEAD.replace(b"Transfer-Encoding: chunked", b"Content-Length: 20\r\nX: chunked"),
    HEAD.replace(b"1.1 200 OK", b"1.0 200 OK"),
    HEAD.replace(b"200 OK", b"204 No Content"),
    HEAD.replace(b"200 OK", b"304 Not Modified"),
    HEAD.replace(b"200 OK", b"101 Switching Protocols"),
    HEAD.replace(b"HTTP", b"HTTQ"),
    b"\r\n" + HEAD,
    b"\r\n\r\n" + HEAD,
]
LONG = HEAD.replace(b"\r\n\r\n", b"\r\nX-Long: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n")
HEADS = st.sampled_from([*EVENT_STREAMS, *OTHERS, HEAD.replace(b"200 OK", b"2000 OK"), LONG])


@given(
    head=HEADS,
    body=BODY,
    cuts=st.lists(st.integers(min_value=0, max_value=2**20), max_size=12),
    method=st.sampled_from([b"GET", b"GET", b"POST", b"HEAD"]),
    close=st.booleans(),
    direct=st.booleans(),
)
@example(
    head=HEAD, body=b"5\r\nhello\r\n" + LAST, cuts=list(range(200)), method=b"GET", close=False, direct=True
)
@example(head=HEAD, body=b"5\r\nhelloXY", cuts=[len(HEAD) + 8], method=b"GET", close=False, direct=True)
def test_merging_never_changes_what_the_parser_sees(
    loop: asyncio.AbstractEventLoop,
    head: bytes,
    body: bytes,
    cuts: list[int],
    method: bytes,
    close: bool,
    direct: bool,
) -> None:
    """Body bytes, statuses, errors, completeness and what is left over are those of h11 alone.

    We chose it, as the rule that makes merging safe.
    """
    pieces = cut(head + body, cuts)
    assert merged(loop, pieces, method, close=close, direct=direct) == plain(pieces, method, close=close)


@given(
    wire=st.binary(max_size=60),
    flip=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=3),
    cuts=st.lists(st.integers(min_value=0, max_value=2**20), max_size=6),
    direct=st.booleans(),
)
def test_damaged_chunking_is_the_same_error_as_without_merging(
    loop: asyncio.AbstractEventLoop, wire: bytes, flip: list[tuple[int, int]], cuts: list[int], direct: bool
) -> None:
    """Any byte of the chunking may be wrong: the parser finds the same fault after the same body."""
    good = b"6\r\nevent:\r\n3;a=b\r\nabc\r\n" + (b"%x\r\n%b\r\n" % (len(wire), wire) if wire else b"") + LAST
    damaged = bytearray(good)
    for place, value in flip:
        damaged[place % len(damaged)] = value
    pieces = [HEAD, *cut(bytes(damaged), cuts)]
    assert merged(loop, pieces, direct=direct) == plain(pieces)


# -- one at a time -------------------------------------------------------------------------------------------


def test_all_chunks_of_one_read_become_one(loop: asyncio.AbstractEventLoop) -> None:
    """Merging is the point of it all: 1,000 events that arrived together cost the parser one chunk."""
    events = [b"data: %d\n\n" % number for number in range(1000)]
    wire = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)

    async def read() -> list[bytes]:
        stream = AsyncioStream(loop)
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        stream.data_received(HEAD + wire + LAST)
        return [await stream.read(65536), await stream.read(65536)]

    head, body = loop.run_until_complete(read())
    joined = b"".join(events)
    assert head == HEAD
    assert body == b"%x\r\n%b\r\n0\r\n\r\n" % (len(joined), joined)


def scanned(pieces: list[bytes], request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> ResponseScanner:
    scanner = ResponseScanner()
    scanner.begin(request)
    for piece in pieces:
        if scanner.decoder is None and not scanner.transparent:
            scanner.scan(piece)
    return scanner


@pytest.mark.parametrize("head", EVENT_STREAMS)
def test_a_chunked_event_stream_is_recognised_however_its_head_arrives(head: bytes) -> None:
    """Upper or lower case, interim answers before it, cut anywhere: the fast way must not be lost by chance."""
    for place in range(len(head)):
        assert scanned([head[:place], head[place:]]).decoder is not None
    assert scanned([bytes([byte]) for byte in head]).decoder is not None
    assert scanned([head], b"HEAD / HTTP/1.1\r\n\r\n").transparent


@pytest.mark.parametrize("head", OTHERS)
def test_any_other_response_is_left_to_the_parser(head: bytes) -> None:
    """Other types, codings and statuses, and heads that leave a doubt, pass through untouched."""
    scanner = scanned([head])
    assert scanner.transparent
    assert scanner.decoder is None


def test_a_head_without_end_is_not_waited_for() -> None:
    """Bytes are not kept for ever: past the limit the parser alone decides how much head is too much."""
    scanner = scanned([LONG[:MAX_HEAD_BYTES], LONG[MAX_HEAD_BYTES : MAX_HEAD_BYTES + 1]])
    assert scanner.transparent


def test_each_request_starts_afresh(loop: asyncio.AbstractEventLoop) -> None:
    """A second event stream on the same connection is merged like the first, and a JSON answer between is not."""

    async def exchange(stream: AsyncioStream, answer: bytes) -> list[bytes]:
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        stream.data_received(answer)
        pieces = [await stream.read(65536)]
        while stream.get_extra_info("is_readable"):
            pieces.append(await stream.read(65536))
        return pieces

    async def exchanges() -> None:
        stream = AsyncioStream(loop)
        json = HEAD.replace(b"text/event-stream", b"application/json") + b"1\r\na\r\n1\r\nb\r\n" + LAST
        for _ in range(2):
            assert await exchange(stream, HEAD + b"1\r\na\r\n1\r\nb\r\n" + LAST) == [
                HEAD,
                b"2\r\nab\r\n" + LAST,
            ]
            assert await exchange(stream, json) == [json]

    loop.run_until_complete(exchanges())


def test_a_tunnel_is_left_alone_for_ever() -> None:
    """After CONNECT or 101 the bytes are no HTTP, even when they look like it."""
    for request, answer in [
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ]:
        scanner = ResponseScanner()
        scanner.begin(request)
        if not scanner.transparent:
            assert scanner.scan(answer) == len(answer)
        scanner.begin(b"GET / HTTP/1.1\r\n\r\n")
        assert scanner.transparent
        assert scanner.upgraded


def test_a_chunk_header_without_end_is_not_waited_for() -> None:
    """Bytes are not held for ever: past the limit, the parser gets them and applies its own."""
    decoder = ChunkDecoder()
    endless = b"5;" + b"x" * MAX_CHUNK_HEADER_BYTES
    assert decoder.feed(endless[:10]) == b""
    assert decoder.remainder is None
    assert decoder.feed(endless[10:]) == b""
    assert decoder.remainder == endless


def test_every_way_to_cut_one_stream_in_three_gives_the_same_body() -> None:
    """Exhaustive for one short stream, where the property test samples."""
    wire = b"4\r\nab\r\n\r\nA;x\r\n0123456789\r\n" + LAST
    for first in range(len(wire) + 1):
        for second in range(first, len(wire) + 1):
            decoder = ChunkDecoder()
            body = remainder = b""
            for piece in (wire[:first], wire[first:second], wire[second:]):
                if decoder.remainder is None:
                    body += decoder.feed(piece)
                    remainder = decoder.remainder or b""
                else:
                    remainder += piece
            assert (body, remainder) == (b"ab\r\n0123456789", LAST)


def test_truncated_stream_is_an_incomplete_body(loop: asyncio.AbstractEventLoop) -> None:
    """RFC 9112 section 8: the end of the connection is not the end of a chunked body."""
    for direct in (False, True):
        seen = merged(loop, [HEAD, b"5\r\nhello\r\n"], direct=direct)
        assert (seen.body, seen.end) == (b"hello", "error")


def test_reading_after_the_connection_was_closed_here_is_an_error(loop: asyncio.AbstractEventLoop) -> None:
    """A clean end would pass for the end of a close-delimited body."""

    async def read() -> None:
        stream = AsyncioStream(loop)
        stream.close()
        with pytest.raises(httpcore.ReadError, match="closed by this client"):
            await stream.read(1)
        with pytest.raises(httpcore.WriteError, match="closed by this client"):
            await stream.write(b"x")

    loop.run_until_complete(read())
