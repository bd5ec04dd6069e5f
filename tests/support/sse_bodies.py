"""Bodies of event streams, good and bad, for property tests."""

from hypothesis import strategies as st

_PIECES = st.sampled_from(
    [
        *(b"data", b"event", b"id", b"retry", b"foo", b"Data", b" data", b"datax"),
        *(b":", b":", b": ", b":  ", b" ", b"\n", b"\n", b"\n\n", b"\r", b"\r\r", b"\r\n", b"\r\n\r\n"),
        *(b"data: x\n", b"data: y\n\n", b"id: 1\n", b"event: e\n", b"retry: 5\n", b": ping\n", b":ping\n\n"),
        *(b"id: 1\nevent: e\ndata: {}\n\n", b"id\n", b"id:\n", b"id: \n", b"data:\n", b"data\n", b"event\n"),
        *(
            b"\0",
            b"\xef\xbb\xbf",
            b"\xef",
            b"\xbb",
            b"\xbf",
            b"\xff",
            b"\xc3",
            b"\xe2\x80",
            b"\xf0\x9f\x98\x80",
        ),
        *("\u2028".encode(), "\u2029".encode(), "\u0085".encode(), b"\x0b", b"\x0c", b"\x1c", b"\t"),
        *(b"0", b"12", b"9" * 17, b"9" * 30, "\u0661".encode(), b"-1", b"+1", b"1_0", b"{}"),
    ]
)
BODIES = st.one_of(
    st.lists(_PIECES, max_size=40).map(b"".join),
    st.binary(max_size=200),
    st.text(alphabet=":\n\r datievnry\0\ufeff1é", max_size=120).map(str.encode),
)
