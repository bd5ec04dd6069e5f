"""The format, rule by rule: the web platform's own cases by name, then what they do not ask."""

import pytest

from openwop._core.sse import SseDecoder, SseFrame

_LONG = b"x" * 2048


def frame(data: bytes, event: bytes = b"", id: bytes | None = None) -> SseFrame:
    return SseFrame(data, event, id)


# Cases of web-platform-tests, folder `eventsource`, whose outcome is decided by the format alone. Those about
# the Content-Type header (`format-mime-*`) and about the request belong to the transport.
WPT = {
    "event-data": (
        b"data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
        [frame(b"msg\nmsg"), frame(b""), frame(b"end")],
    ),
    "format-bom": (
        b"\xef\xbb\xbfdata:1\n\n\xef\xbb\xbfdata:2\n\ndata:3\n\n",
        [frame(b"1"), frame(b"3")],
    ),
    "format-bom-2": (
        b"\xef\xbb\xbf\xef\xbb\xbfdata:1\n\ndata:2\n\ndata:3\n\n",
        [frame(b"2"), frame(b"3")],
    ),
    "format-comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + _LONG + b"\rdata:3\n:data:fail\r:" + _LONG + b"\ndata:4\n\n\n",
        [frame(b"1\n2\n3\n4")],
    ),
    "format-data-before-final-empty-line": (
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2",
        [frame(b"test1")],
    ),
    "format-field-data": (
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        [frame(b""), frame(b"\n"), frame(b"test")],
    ),
    "format-field-event": (
        b"event:test\ndata:x\n\ndata:x\n\n",
        [frame(b"x", b"test"), frame(b"x")],
    ),
    "format-field-event-empty": (b"event: \ndata:data\n\n", [frame(b"data")]),
    "format-field-id": (
        "id: \u2026\nretry: 200\ndata: hello\n\n".encode(),
        [frame(b"hello", id="\u2026".encode())],
    ),
    "format-field-id-2": (
        b"id: 1\ndata: hello\n\ndata: again\n\ndata: and again\n\n",
        [frame(b"hello", id=b"1"), frame(b"again"), frame(b"and again")],
    ),
    "format-field-id-3": (
        b"id: 1\ndata: hello\n\nid: \ndata: cleared\n\n",
        [frame(b"hello", id=b"1"), frame(b"cleared", id=b"")],
    ),
    "format-field-id-null (two NUL)": (b"id: \0\0\ndata: x\n\n", [frame(b"x")]),
    "format-field-id-null (at the end)": (b"id: x\0\ndata: x\n\n", [frame(b"x")]),
    "format-field-id-null (at the start)": (b"id: \0x\ndata: x\n\n", [frame(b"x")]),
    "format-field-id-null (in the middle)": (b"id: x\0x\ndata: x\n\n", [frame(b"x")]),
    "format-field-id-null (after a space)": (b"id:  \0\ndata: x\n\n", [frame(b"x")]),
    "format-field-parsing": (
        (
            b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\n"
            b"data:4\n\n"
        ),
        [frame(b"\0\n 2\n1\n3\n\n4")],
    ),
    "format-field-retry": (b"retry:3000\ndata:x\n\n", [frame(b"x")]),
    "format-field-retry-bogus": (b"retry:3000\nretry:1000x\ndata:x\n\n", [frame(b"x")]),
    "format-field-retry-empty": (b"retry\ndata:test\n\n", [frame(b"test")]),
    "format-field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [frame(b"test\n\ntest")],
    ),
    "format-leading-space": (b"data:\ttest\rdata: \ndata:test\n\n", [frame(b"\ttest\n\ntest")]),
    "format-newlines": (b"data:test\r\ndata\ndata:test\r\n\r", [frame(b"test\n\ntest")]),
    "format-null-character": (b"data:\0\n\n\n\n", [frame(b"\0")]),
    "format-utf-8": ("data:ok\u2026\n\n".encode(), [frame("ok\u2026".encode())]),
}

OWN = {
    "nothing": (b"", []),
    "LF": (b"data: a\n\n", [frame(b"a")]),
    "CRLF": (b"data: a\r\n\r\n", [frame(b"a")]),
    "CR": (b"data: a\r\rdata: b\r\r", [frame(b"a"), frame(b"b")]),
    "the usual frame": (b"id: 7\nevent: run.started\ndata: {}\n\n", [frame(b"{}", b"run.started", b"7")]),
    "the usual frame without spaces": (b"id:7\nevent:e\ndata:{}\n\n", [frame(b"{}", b"e", b"7")]),
    "another order": (b"data: {}\nevent: e\nid: 7\n\n", [frame(b"{}", b"e", b"7")]),
    "event before id": (b"event: e\nid: 7\ndata: {}\n\n", [frame(b"{}", b"e", b"7")]),
    "the last event name and the last valid id count": (
        b"id: 1\nid: 2\nid: 3\0\nevent: a\nevent: b\ndata: x\n\n",
        [frame(b"x", b"b", b"2")],
    ),
    "only one space is stripped": (b"id:  1\nevent:  e\ndata:  x\n\n", [frame(b" x", b" e", b" 1")]),
    "a tab is not stripped": (b"data:\tx\n\n", [frame(b"\tx")]),
    "U+2028, U+2029 and U+0085 are data": (
        "data: a\u2028b\u2029c\u0085d\n\n".encode(),
        [frame("a\u2028b\u2029c\u0085d".encode())],
    ),
    "other control characters are data": (
        b"data: a\x0bb\x0cc\x1cd\x1e\n\n",
        [frame(b"a\x0bb\x0cc\x1cd\x1e")],
    ),
    "bad UTF-8 is passed on": (b"data: a\xffb\n\n", [frame(b"a\xffb")]),
    "blank lines make nothing": (b"\n\n\r\r\r\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [frame(b"a"), frame(b"b")]),
    "comments make nothing": (b": a\n\n:\n\n:b\n:c\n\n", []),
    "comments after an id make nothing": (b"id: 1\ndata: a\n\n: a\n\n: b\n\n", [frame(b"a", id=b"1")]),
    "a comment may stand before the usual frame": (b": a\nid: 1\ndata: a\n\n", [frame(b"a", id=b"1")]),
    "a commented field is a comment": (b":data: x\n\n", []),
    "names are case-sensitive": (b"Data: x\nDATA: x\n\n", []),
    "a name with a space before it is unknown": (b" data: x\n\n", []),
    "a name that only begins like data is unknown": (b"database: x\ndata-: x\n\n", []),
    "an event without data is dropped, its name too": (b"event: e\n\ndata: x\n\n", [frame(b"x")]),
    "a byte order mark alone": (b"\xef\xbb\xbf", []),
    "a byte order mark in data stays": (b"data: \xef\xbb\xbf\n\n", [frame(b"\xef\xbb\xbf")]),
    "half a byte order mark is part of a name": (b"\xef\xbbdata: x\n\ndata: y\n\n", [frame(b"y")]),
    "the end of the body drops an unfinished event": (b"data: a\n\nid: 2\ndata: b\n", [frame(b"a")]),
}


@pytest.mark.parametrize(("body", "frames"), WPT.values(), ids=WPT)
def test_the_web_platform_tests_hold(body: bytes, frames: list[SseFrame]) -> None:
    assert SseDecoder().feed(body) == frames


@pytest.mark.parametrize(("body", "frames"), OWN.values(), ids=OWN)
def test_the_rules_beyond_them_hold(body: bytes, frames: list[SseFrame]) -> None:
    assert SseDecoder().feed(body) == frames


@pytest.mark.parametrize(
    ("body", "retry_ms"),
    [
        pytest.param(WPT["format-field-retry"][0], 3000, id="format-field-retry"),
        pytest.param(WPT["format-field-retry-bogus"][0], 3000, id="format-field-retry-bogus"),
        pytest.param(WPT["format-field-retry-empty"][0], None, id="format-field-retry-empty"),
        pytest.param(b"retry: 0\n\n", 0, id="zero"),
        pytest.param(b"retry: 0007\n\n", 7, id="leading zeros"),
        pytest.param(b"retry:  5\n\n", None, id="a second space is not a digit"),
        pytest.param(b"retry: 5 \n\n", None, id="nor is one behind"),
        pytest.param(b"retry: -5\n\n", None, id="sign"),
        pytest.param(b"retry: 1.5\n\n", None, id="point"),
        pytest.param(b"retry: 1_000\n\n", None, id="underscore, which int() would take"),
        pytest.param("retry: \u0661\n\n".encode(), None, id="a digit outside ASCII, which int() would take"),
        pytest.param(b"retry: 5\n\nretry: bogus\n\n", 5, id="a bogus value leaves the old one"),
        pytest.param(b"retry: 5\n\nretry: 6\ndata: x\n\n", 6, id="the last counts"),
        pytest.param(b"retry: 5\n\nretry: 6\n", 5, id="an unfinished frame does not count"),
        pytest.param(b"retry: " + b"9" * 18 + b"\n\n", 10**18 - 1, id="18 digits"),
        pytest.param(b"retry: 1" + b"0" * 18 + b"\n\n", 10**18 - 1, id="19 digits"),
        pytest.param(b"retry: " + b"1" * 100_000 + b"\n\n", 10**18 - 1, id="more digits than int() takes"),
        pytest.param(b"retry: " + b"0" * 100_000 + b"8\n\n", 8, id="all but one of them zero"),
    ],
)
def test_retry_is_digits_only_and_bounded(body: bytes, retry_ms: int | None) -> None:
    decoder = SseDecoder()
    decoder.feed(body)
    assert decoder.retry_ms == retry_ms


@pytest.mark.parametrize(
    ("body", "last_event_id"),
    [
        pytest.param(b"", None, id="nothing yet"),
        pytest.param(b"data: x\n\n", None, id="no id yet"),
        pytest.param(b"id: 0\ndata: x\n\n", b"0", id="zero is an id"),
        pytest.param(b"id: 1\ndata: x\n\ndata: y\n\n", b"1", id="it stays"),
        pytest.param(b"id: 1\n\n", b"1", id="a frame without data moves it"),
        pytest.param(b"id: 1\ndata: x\n\nid: 2\n", b"1", id="an unfinished frame does not"),
        pytest.param(b"id: 1\ndata: x\n\nid: 2\ndata: y\n", b"1", id="not even with data"),
        pytest.param(b"id: 1\ndata: x\n\nid\ndata: y\n\n", b"", id="an empty id clears it"),
        pytest.param(b"id: 1\ndata: x\n\nid:\n\n", b"", id="also without data"),
        pytest.param(b"id: 1\ndata: x\n\nid: 2\x003\ndata: y\n\n", b"1", id="an id with NUL is ignored"),
        pytest.param(b"id: 1\ndata: a\n\nid: 2\n\ndata: b\n\n", b"2", id="usual frames around an id alone"),
        pytest.param(b"id: 1\n\nid: 2\ndata: x\n\n", b"2", id="an id alone before a usual frame"),
        pytest.param(b"id: 1\ndata: x\n\n: ping\n\n", b"1", id="a comment leaves it"),
        pytest.param("id: \u00e9\u2026\ndata: x\n\n".encode(), "\u00e9\u2026".encode(), id="not ASCII"),
    ],
)
def test_the_cursor_moves_with_completed_frames_only(body: bytes, last_event_id: bytes | None) -> None:
    """The cursor is what a resumed stream starts behind: one that moves early loses events."""
    decoder = SseDecoder()
    decoder.feed(body)
    assert decoder.last_event_id == last_event_id


def test_a_frame_is_a_tuple_of_data_event_and_id() -> None:
    [found] = SseDecoder().feed(b"id: 7\nevent: e\ndata: {}\n\n")
    data, event, event_id = found
    assert type(found) is SseFrame
    assert (data, event, event_id) == (found.data, found.event, found.id) == (b"{}", b"e", b"7")


def test_a_blank_line_that_ends_in_cr_completes_the_event_at_once() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r\r") == [frame(b"a")]
    assert decoder.feed(b"\ndata: b\r\n\r") == [frame(b"b")]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"\r\ndata: c\r\r") == [frame(b"c")]


def test_crlf_cut_between_its_two_bytes_is_one_line_end() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\ndata: b\r") == []
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\r") == [frame(b"a\nb")]


def test_a_byte_order_mark_may_come_in_pieces() -> None:
    decoder = SseDecoder()
    assert [decoder.feed(piece) for piece in (b"", b"\xef", b"\xbb", b"\xbf", b"data: a\n\n")][-1] == [
        frame(b"a")
    ]


def test_bytes_that_only_begin_a_byte_order_mark_are_kept() -> None:
    decoder = SseDecoder()
    assert [decoder.feed(piece) for piece in (b"\xef", b"\xbb", b"\n\ndata: a\n\n")][-1] == [frame(b"a")]
    assert decoder.feed(b"\xef\xbb\xbfdata: b\n\n") == []
