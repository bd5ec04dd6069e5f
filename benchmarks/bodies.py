"""What the benchmark server sends: events of about 250 bytes, framed in several ways, and short JSON answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

RUN_ID = "run_01JB2Q6Z8Y3WQX5T"
BATCH = 50
BIG_CHUNK = 64 * 1024
BLOCK_EVENTS = 1000
"""How many events are made at a time: a block is large enough that making it costs little per event, and small enough
that a stream of a million events takes no memory in the server."""
KEPT_EVENTS = 300_000
"""Streams up to this length are made once and kept: a measurement must wait for the client, not for the server."""

FRAMINGS = {
    "event": "one event per HTTP chunk, as hosts send",
    "big": "events in HTTP chunks of 64 KiB",
    "close": "no chunks, ended by the connection's end",
    "batch": f"{BATCH} events per frame and chunk",
}


def document(sequence: int, kind: str = "node.completed", run_id: str = RUN_ID) -> str:
    """Return one event as JSON, without spaces, as most hosts write it."""
    minute, second, milli = sequence // 60_000 % 60, sequence // 1000 % 60, sequence % 1000
    return (
        f'{{"eventId":"evt_{sequence:012d}","runId":"{run_id}","nodeId":"node-{sequence % 17}","type":"{kind}",'
        f'"payload":{{"outputs":{{"text":"result {sequence} of the step","score":0.91,"ok":true}},'
        f'"durationMs":{sequence % 997}}},'
        f'"timestamp":"2026-01-01T00:{minute:02d}:{second:02d}.{milli:03d}Z","sequence":{sequence}}}'
    )


def frame(sequence: int, kind: str = "node.completed") -> bytes:
    """Return one event as a frame of an event stream."""
    return f"id: {sequence}\nevent: {kind}\ndata: {document(sequence, kind)}\n\n".encode()


def chunk(data: bytes) -> bytes:
    """Return one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _kind(sequence: int, count: int) -> str:
    return "run.completed" if sequence == count - 1 else "node.completed"


def _batch(start: int, stop: int, count: int) -> bytes:
    entries = ",".join(document(sequence, _kind(sequence, count)) for sequence in range(start, stop))
    return f"id: {stop - 1}\nevent: batch\ndata: [{entries}]\n\n".encode()


def _blocks(framing: str, count: int) -> Iterator[bytes]:
    """The body of a stream as it goes over the wire, a block at a time."""
    held = b""
    for start in range(0, count, BLOCK_EVENTS):
        stop = min(start + BLOCK_EVENTS, count)
        if framing == "batch":
            edges = range(start, stop, BATCH)
            yield b"".join(chunk(_batch(edge, min(edge + BATCH, stop), count)) for edge in edges)
            continue
        frames = [frame(sequence, _kind(sequence, count)) for sequence in range(start, stop)]
        if framing == "event":
            yield b"".join(map(chunk, frames))
        elif framing == "close":
            yield b"".join(frames)
        else:
            held += b"".join(frames)
            whole = len(held) // BIG_CHUNK * BIG_CHUNK
            yield b"".join(chunk(held[at : at + BIG_CHUNK]) for at in range(0, whole, BIG_CHUNK))
            held = held[whole:]
    if held:
        yield chunk(held)
    if framing != "close":
        yield b"0\r\n\r\n"


@cache
def _kept(framing: str, count: int) -> tuple[bytes, ...]:
    # The blocks of one stream are joined to a few large ones: fewer steps in the server while a client is measured.
    body = b"".join(_blocks(framing, count))
    return tuple(body[at : at + 256 * 1024] for at in range(0, len(body), 256 * 1024))


def stream_body(framing: str, count: int) -> Iterator[bytes]:
    """Return the body of a stream of ``count`` events, the last of them terminal, in pieces for the socket."""
    return iter(_kept(framing, count)) if count <= KEPT_EVENTS else _blocks(framing, count)


def _json_answer(status: str, document: object) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


RUN_CREATED = _json_answer(
    "201 Created",
    {
        "runId": RUN_ID,
        "status": "pending",
        "eventsUrl": f"http://127.0.0.1/v1/runs/{RUN_ID}/events",
        "statusUrl": f"http://127.0.0.1/v1/runs/{RUN_ID}",
    },
)
RUN_SNAPSHOT = _json_answer(
    "200 OK",
    {
        "runId": RUN_ID,
        "workflowId": "wf.orders.v3",
        "status": "running",
        "startedAt": "2026-01-01T00:00:00.000Z",
        "currentNodeId": "node-7",
        "metadata": {"tenant": "acme", "attempt": 1},
        "tags": ["bench"],
        "variables": {"x": 1, "y": "two"},
    },
)
CAPABILITIES = _json_answer(
    "200 OK",
    {
        "protocolVersion": "1.0",
        "supportedEnvelopes": [],
        "schemaVersions": {},
        "limits": {"clarificationRounds": 1, "schemaRounds": 1, "envelopesPerTurn": 1},
    },
)
NOT_FOUND = _json_answer("404 Not Found", {"error": "not_found", "message": "no such path"})

_SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
SSE_CHUNKED = _SSE + b"Transfer-Encoding: chunked\r\n\r\n"
SSE_CLOSE = _SSE + b"Connection: close\r\n\r\n"

CREATE_RUN = {
    "workflowId": "wf.orders.v3",
    "inputs": {"order": 1234, "lines": [1, 2, 3]},
    "tags": ["bench"],
    "metadata": {"tenant": "acme"},
}
"""The body of a short POST: every contender sends this."""

CLIENT_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": "openwop-sdk/1.1 openwop-python/bench",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
"""What the client sends with each request: bare ones carry it too, so that they are the same to the host."""
