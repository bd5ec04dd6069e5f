"""Decompression: right, bounded before the memory is taken, and loud about anything broken."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.inflate import InflateError, Inflater

_MIB = 1024 * 1024


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


FORMATS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate with a header": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", _raw_deflate),
}
every_format = pytest.mark.parametrize(("encoding", "compress"), FORMATS.values(), ids=FORMATS)


def inflate(
    encoding: str, body: bytes, *, max_bytes: int | None = None, size: int | None = None
) -> list[bytes]:
    inflater = Inflater(encoding, max_bytes)
    step = size or max(len(body), 1)
    pieces = [piece for i in range(0, len(body), step) for piece in inflater.feed(body[i : i + step])]
    inflater.finish()
    return pieces


@every_format
@pytest.mark.parametrize("data", [b"", b"x", b"hello" * 1000, bytes(range(256)) * 100], ids=len)
@pytest.mark.parametrize("size", [1, 2, 3, 17, None])
def test_a_body_comes_out_as_it_went_in(
    encoding: str, compress: Callable[[bytes], bytes], data: bytes, size: int | None
) -> None:
    assert b"".join(inflate(encoding, compress(data), size=size)) == data


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "x-gzip", "X-GZip"])
def test_names_of_encodings_are_taken_as_hosts_write_them(encoding: str) -> None:
    assert inflate(encoding, gzip.compress(b"hello")) == [b"hello"]


@pytest.mark.parametrize("encoding", ["", "identity", "br", "zstd", "gzip, gzip"])
def test_an_encoding_that_is_not_supported_is_refused(encoding: str) -> None:
    with pytest.raises(InflateError, match="is not supported"):
        Inflater(encoding, 10)


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes must not be negative, but is -1"):
        Inflater("gzip", -1)


def test_an_empty_body_is_complete() -> None:
    """As in an answer to HEAD, which has the header and no body."""
    assert inflate("gzip", b"") == inflate("deflate", b"") == []


def test_what_the_host_flushed_comes_out_at_once() -> None:
    """Otherwise a compressed event stream would deliver its events in bursts, or never."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    inflater = Inflater("gzip", None)
    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        sent = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(inflater.feed(sent)) == event
    with pytest.raises(InflateError, match="cut short"):
        inflater.finish()


@pytest.mark.parametrize("size", [1, 25, None])
def test_members_of_a_gzip_body_are_joined(size: int | None) -> None:
    body = gzip.compress(b"one, ") + gzip.compress(b"") + gzip.compress(b"two")
    assert b"".join(inflate("gzip", body, size=size)) == b"one, two"


@every_format
def test_pieces_are_small(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    data = b"\0" * (5 * _MIB + 7)
    pieces = inflate(encoding, compress(data), max_bytes=len(data))
    assert b"".join(pieces) == data
    assert max(len(piece) for piece in pieces) == 256 * 1024


@every_format
@pytest.mark.parametrize(("max_bytes", "memory"), [(8 * _MIB, _MIB), (100_000, 400_000), (10, 100_000)])
def test_a_bomb_takes_no_memory(
    encoding: str, compress: Callable[[bytes], bytes], max_bytes: int, memory: int
) -> None:
    """64 MiB arrive in 64 KiB. No more than a piece or the bound, whichever is less, exists at a time."""
    bomb = compress(b"\0" * (64 * _MIB))
    inflater = Inflater(encoding, max_bytes)
    sizes: list[int] = []
    tracemalloc.start()
    try:
        with pytest.raises(InflateError, match=f"is longer than {max_bytes} bytes"):
            sizes.extend(map(len, inflater.feed(bomb)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) <= max_bytes
    assert peak < memory + len(bomb)


@every_format
@pytest.mark.parametrize("length", [0, 1, 1000, _MIB, _MIB + 1])
def test_the_bound_itself_is_allowed(encoding: str, compress: Callable[[bytes], bytes], length: int) -> None:
    data = b"x" * length
    assert b"".join(inflate(encoding, compress(data), max_bytes=length)) == data
    with pytest.raises(InflateError, match=f"is longer than {length} bytes"):
        inflate(encoding, compress(data + b"x"), max_bytes=length)


def test_the_bound_is_for_all_members_together() -> None:
    with pytest.raises(InflateError, match="is longer than 5 bytes"):
        inflate("gzip", gzip.compress(b"one") * 2, max_bytes=5)


@every_format
def test_a_body_cut_anywhere_is_cut_short(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    body = compress(b"hello, hello, hello")
    for length in range(1, len(body)):
        with pytest.raises(InflateError, match=f"the {encoding} data is cut short"):
            inflate(encoding, body[:length])


def test_a_body_that_was_not_consumed_is_not_complete() -> None:
    inflater = Inflater("gzip", None)
    inflater.feed(gzip.compress(b"hello"))
    with pytest.raises(InflateError, match="cut short"):
        inflater.finish()


@every_format
def test_pieces_left_behind_come_with_the_next_call(
    encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    data = b"\0" * (3 * _MIB)
    body = compress(data)
    inflater = Inflater(encoding, None)
    first = next(inflater.feed(body[:-3]))
    rest = list(inflater.feed(body[-3:]))
    assert first + b"".join(rest) == data
    inflater.finish()


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        pytest.param("gzip", b"<html>", "the gzip data is damaged", id="not gzip"),
        pytest.param("gzip", zlib.compress(b"x"), "the gzip data is damaged", id="deflate as gzip"),
        pytest.param("gzip", gzip.compress(b"x") + b"<", "cut short", id="gzip and one byte"),
        pytest.param("gzip", gzip.compress(b"x") + b"<html>", "damaged", id="gzip and something else"),
        pytest.param(
            "gzip", gzip.compress(b"x" * 99)[:-8] + bytes(8), "damaged", id="gzip with a wrong checksum"
        ),
        pytest.param("deflate", b"\xff\xff\xff\xff", "the deflate data is damaged", id="not deflate"),
        pytest.param(
            "deflate", zlib.compress(b"x") + b"<", "followed by something else", id="deflate and a byte"
        ),
        pytest.param("deflate", _raw_deflate(b"x") + b"<", "followed by something else", id="raw and a byte"),
        pytest.param("deflate", zlib.compress(b"x")[:-1] + b"\0", "damaged", id="deflate, wrong checksum"),
    ],
)
@pytest.mark.parametrize("size", [1, None])
def test_garbage_is_an_error(encoding: str, body: bytes, message: str, size: int | None) -> None:
    with pytest.raises(InflateError, match=message):
        inflate(encoding, body, size=size)


def test_a_message_holds_none_of_the_data() -> None:
    with pytest.raises(InflateError) as caught:
        inflate("gzip", b"hk_live_secret")
    assert "secret" not in str(caught.value)


@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.binary(max_size=300), max_size=5),
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
)
def test_cutting_the_compressed_bytes_anywhere_never_changes_the_body(
    name: str, parts: list[bytes], sizes: list[int]
) -> None:
    encoding, compress = FORMATS[name]
    data = b"".join(parts) * 3
    body = b"".join(compress(part * 3) for part in parts) if encoding == "gzip" else compress(data)
    expected = b"".join(part * 3 for part in parts) if encoding == "gzip" else data
    inflater = Inflater(encoding, len(expected))
    found = b""
    position = turn = 0
    while position < len(body):
        size = sizes[turn % len(sizes)]
        found += b"".join(inflater.feed(body[position : position + size]))
        position, turn = position + size, turn + 1
    inflater.finish()
    assert found == expected


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=200), st.integers(0, 100), st.integers(1, 50))
def test_any_bytes_give_a_body_within_the_bound_or_an_error(
    encoding: str, body: bytes, max_bytes: int, size: int
) -> None:
    try:
        pieces = inflate(encoding, body, max_bytes=max_bytes, size=size)
    except InflateError:
        return
    assert len(b"".join(pieces)) <= max_bytes


@given(st.sampled_from(sorted(FORMATS)), st.binary(min_size=1, max_size=200), st.data())
def test_one_flipped_bit_never_goes_unnoticed_where_there_is_a_checksum(
    name: str, content: bytes, data: st.DataObject
) -> None:
    encoding, compress = FORMATS[name]
    body = bytearray(compress(content))
    place = data.draw(st.integers(0, len(body) * 8 - 1))
    body[place // 8] ^= 1 << place % 8
    try:
        found = b"".join(inflate(encoding, bytes(body), max_bytes=10_000))
    except InflateError:
        return
    # A bit of the gzip header that says nothing about the data, or deflate without a checksum.
    assert found == content or name != "gzip"


def test_deflate_without_a_header_is_not_taken_for_one_with() -> None:
    """One in 31 bodies begins with bytes that would pass half of the test for a header."""
    for number in range(400):
        data = b"%d" % number * (number % 7 + 1)
        assert b"".join(inflate("deflate", _raw_deflate(data))) == data


@every_format
def test_no_piece_is_empty(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    for size in (1, 2, None):
        assert all(inflate(encoding, compress(b"hello" * 10), size=size))
