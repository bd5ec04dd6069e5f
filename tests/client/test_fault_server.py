"""The fault server does what its scripts say, sees what clients do, and leaves nothing behind.

Only the standard library's clients are used here: the server has to be right before it can judge ours.
"""

import asyncio
import http.client
import json
import socket
import ssl
import sys
import threading
from pathlib import Path

import anyio
import pytest

from support.certificates import can_make_certificates, make_certificate
from support.fault_server import (
    Body,
    Chunk,
    Close,
    Drip,
    FaultServer,
    HalfClose,
    Head,
    Heartbeat,
    Raw,
    Request,
    Reset,
    ResumeReading,
    Script,
    Signal,
    Stall,
    StopReading,
    WaitFor,
    batch_frame,
    black_hole,
    comment,
    empty_response,
    error_response,
    event_doc,
    frame,
    json_response,
    nothing_listens,
    redirect,
    run_log,
    sse_response,
)
from support.run_log_host import RunLogHost, StreamFault

WAIT_S = 5.0


def open_client(server: FaultServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)


def get(server: FaultServer, path: str, **headers: str) -> tuple[int, bytes]:
    client = open_client(server)
    try:
        client.request("GET", path, headers=headers)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def raw_get(server: FaultServer, path: str = "/") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), WAIT_S)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return client


def read_to_end(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


# -- requests and routes --------------------------------------------------------------------------------------


def test_nth_request_takes_the_nth_script_and_later_ones_the_last(server: FaultServer) -> None:
    route = server.on(
        "GET",
        "/v1/runs/{id}",
        error_response(503, "unavailable", retry_after=2),
        json_response(200, {"a": 1}),
    )
    assert [get(server, "/v1/runs/r%2F1")[0] for _ in range(3)] == [503, 200, 200]
    assert [request.params for request in route.requests] == [{"id": "r%2F1"}] * 3


def test_requests_past_the_last_script_get_500_where_the_last_is_not_repeated(server: FaultServer) -> None:
    server.on("GET", "/x", empty_response(), repeat_last=False)
    assert [get(server, "/x")[0] for _ in range(2)] == [204, 500]


def test_the_newest_matching_route_wins_and_no_match_is_404(server: FaultServer) -> None:
    server.on("*", "*", json_response(200, "any"))
    server.on("GET", "/x", json_response(200, "x"))
    server.on("POST", "/x/y", json_response(200, "never"))
    assert [json.loads(get(server, path)[1]) for path in ("/x", "/x/y")] == ["x", "any"]
    server.reset()
    status, body = get(server, "/x")
    assert (status, json.loads(body)["error"]) == (404, "not_found")


def test_a_request_is_recorded_whole_with_its_connection(server: FaultServer) -> None:
    server.on("*", "*", json_response(200, {}))
    client = open_client(server)
    client.request("POST", "/v1/runs?a=1&b=", body=b'{"x":1}', headers={"X-Thing": "Yes"})
    client.getresponse().read()
    client.request(
        "PUT",
        "/chunked",
        body=iter([b"ab", b"cde"]),
        headers={"Transfer-Encoding": "chunked"},
        encode_chunked=True,
    )
    client.getresponse().read()
    client.close()
    get(server, "/other")
    first, second, third = server.requests
    assert (first.method, first.target, first.path, first.query) == (
        "POST",
        "/v1/runs?a=1&b=",
        "/v1/runs",
        {"a": ["1"], "b": [""]},
    )
    assert first.json() == {"x": 1}
    assert first.headers["x-thing"] == "Yes"
    assert ("X-Thing", "Yes") in first.header_list
    assert second.body == b"abcde"
    assert [(request.connection, request.reused) for request in server.requests] == [
        (1, False),
        (1, True),
        (2, False),
    ]
    assert first.received_at <= second.received_at <= third.received_at


def test_waiting_for_a_request_that_never_comes_says_what_came(server: FaultServer) -> None:
    get(server, "/only")
    assert server.wait_for_request(1).target == "/only"
    with pytest.raises(TimeoutError, match="GET /only"):
        server.wait_for_request(2, timeout=0.01)


def test_a_script_may_be_a_function_of_the_request(server: FaultServer) -> None:
    server.on("GET", "/{word}", lambda request: json_response(200, request.params["word"]))
    assert get(server, "/hello") == (200, b'"hello"')


def test_a_broken_script_is_raised_when_the_server_stops() -> None:
    def broken(request: Request) -> Script:
        raise LookupError("in the script")

    server = FaultServer()
    server.__enter__()
    server.on("GET", "/", broken)
    with raw_get(server) as client:
        assert read_to_end(client) == b""
    with pytest.raises(LookupError, match="in the script"):
        server.__exit__(None, None, None)


def test_what_is_not_http_gets_400(server: FaultServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as client:
        client.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
        assert read_to_end(client).startswith(b"HTTP/1.1 400 ")
    assert server.requests == ()


# -- what goes over the wire ----------------------------------------------------------------------------------


def test_frames_are_http_chunks_and_the_answer_leaves_the_connection_open(server: FaultServer) -> None:
    server.on("GET", "/s", sse_response(frame(event_doc(0)), comment(), batch_frame(run_log(3), id=None)))
    client = open_client(server)
    for _ in range(2):
        client.request("GET", "/s")
        answer = client.getresponse()
        assert answer.getheader("Content-Type") == "text/event-stream"
        body = answer.read()
        assert body.startswith(b'id: 0\nevent: node.completed\ndata: {"eventId": "evt-0"')
        assert b"\n\n:keepalive\n\nevent: batch\ndata: [" in body
    client.close()
    assert [request.reused for request in server.requests] == [False, True]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param((Close(),), b"", id="R2-R3 nothing at all"),
        pytest.param((Raw(b"HTTP/1.1 200 O"),), b"HTTP/1.1 200 O", id="R5 half a head"),
        pytest.param(
            (Head(200, [("Content-Length", "9")]), Body(b"abc")),
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            id="R6 short body",
        ),
        pytest.param((Raw(b"5\r\nab"), Close()), b"5\r\nab", id="R7 cut in a chunk"),
        pytest.param((Chunk(b"abcde"),), b"5\r\nabcde\r\n", id="R8 no last chunk"),
        pytest.param(
            (Drip(b"abcde", 2, as_chunks=True),), b"2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n", id="R12 drip as chunks"
        ),
        pytest.param((Drip(b"abcde", 1, interval_s=0.001),), b"abcde", id="R12 one byte at a time"),
        pytest.param(
            (Head(100), Head(299, reason="Odd")),
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Odd\r\n\r\n",
            id="interim head",
        ),
        pytest.param(
            redirect("/x"),
            b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n",
            id="R13",
        ),
    ],
)
def test_a_script_is_sent_to_the_byte_and_what_is_no_whole_answer_is_closed_in_order(
    server: FaultServer, script: Script, expected: bytes
) -> None:
    server.on("GET", "/", script)
    with raw_get(server) as client:
        if script == redirect("/x"):
            client.shutdown(socket.SHUT_WR)  # a whole answer: the server waits for more until we leave
        assert read_to_end(client) == expected


def test_a_close_delimited_stream_ends_with_the_connection(server: FaultServer) -> None:
    server.on("GET", "/", sse_response(b"data: 1\n\n", chunked=False))
    with raw_get(server) as client:
        assert read_to_end(client).endswith(b"Connection: close\r\n\r\ndata: 1\n\n")


def test_reset_reaches_the_client_as_a_reset(server: FaultServer) -> None:
    read = threading.Event()
    server.on("GET", "/", (Raw(b"x"), WaitFor(read), Reset()))
    with raw_get(server) as client:
        assert client.recv(1) == b"x"
        read.set()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_half_close_ends_the_answer_and_keeps_the_connection(server: FaultServer) -> None:
    server.on("GET", "/", (Raw(b"x"), HalfClose()))
    with raw_get(server) as client:
        assert read_to_end(client) == b"x"
        client.sendall(b"still taken")
        assert server.connections_open == 1
    server.wait_until_closed()


def test_a_stall_lasts_until_its_event_and_signals_tell_how_far_a_script_is(server: FaultServer) -> None:
    reached, go_on = threading.Event(), threading.Event()
    server.on("GET", "/", (Raw(b"a"), Signal(reached), Stall(go_on), Raw(b"b")))
    with raw_get(server) as client:
        assert reached.wait(WAIT_S)
        assert client.recv(10) == b"a"
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(10)
        client.settimeout(WAIT_S)
        go_on.set()
        assert read_to_end(client) == b"b"


def test_heartbeats_come_until_their_event(server: FaultServer) -> None:
    enough = threading.Event()
    server.on("GET", "/", (Heartbeat(b":\n\n", every_s=0.001, until=enough), Raw(b"end")))
    with raw_get(server) as client:
        beats = b""
        while beats.count(b":\n\n") < 3:
            beats += client.recv(1)
        enough.set()
        assert read_to_end(client).endswith(b"end")


def test_a_client_that_does_not_read_stops_the_script(server: FaultServer) -> None:
    size = 64 * 1024 * 1024
    begun, finished = threading.Event(), threading.Event()
    server.on("GET", "/", (Raw(b"first"), Signal(begun), Raw(bytes(size)), Signal(finished)))
    with raw_get(server) as client:
        assert client.recv(5) == b"first"
        assert begun.wait(WAIT_S)
        assert not finished.wait(0.25)
        assert server.total_bytes_sent == 5
        assert len(read_to_end(client)) == size
    assert finished.wait(WAIT_S)


def test_a_server_that_does_not_read_stops_the_client(server: FaultServer) -> None:
    read_on = threading.Event()
    server.on_connect((StopReading(), WaitFor(read_on), ResumeReading()))
    server.on("POST", "/", json_response(200, {}))
    size = 64 * 1024 * 1024
    with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(size))
        assert server.requests == ()
        read_on.set()


# -- connections ----------------------------------------------------------------------------------------------


def test_connection_scripts_go_by_the_order_of_connections(server: FaultServer) -> None:
    server.on("GET", "/", json_response(200, {}))
    get(server, "/")
    server.on_connect((Close(),), ())
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        get(server, "/")
    assert get(server, "/")[0] == 200
    assert server.connections_accepted == 3


def test_the_server_knows_which_connections_are_open(server: FaultServer) -> None:
    server.on("GET", "/", (Stall(),))
    first, second = raw_get(server), raw_get(server)
    server.wait_for_request(2)
    assert server.connections_open == 2
    with pytest.raises(TimeoutError, match="2 open connections"):
        server.wait_until_closed(0.01, leaving=1)
    leaving = server.requests[0].connection
    first.close()
    server.wait_until_closed(connection=leaving)
    server.wait_until_closed(leaving=1)
    assert server.connections_open == 1
    second.close()
    server.wait_until_closed()
    assert server.connections_open == 0


def test_a_server_that_is_down_refuses_and_comes_back_on_the_same_port(server: FaultServer) -> None:
    server.on("GET", "/stall", (Stall(),))
    server.on("GET", "/", json_response(200, {}))
    with raw_get(server, "/stall") as client:
        server.wait_for_request()
        with server.down(reset=True):
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            with pytest.raises(ConnectionRefusedError):
                get(server, "/")
    assert get(server, "/")[0] == 200


def test_an_address_where_nothing_listens_refuses() -> None:
    with nothing_listens() as url, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), WAIT_S)


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems refuse when the queue of connections is full"
)
def test_in_a_black_hole_connecting_takes_for_ever() -> None:
    with black_hole() as url, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 0.05)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param((Stall(),), id="stall"),
        pytest.param((WaitFor(threading.Event()),), id="wait"),
        pytest.param((Drip(bytes(10_000_000), 1),), id="drip"),
        pytest.param((Drip(bytes(100), 1, interval_s=60.0),), id="slow drip"),
        pytest.param((Heartbeat(every_s=0.0),), id="heartbeat"),
        pytest.param((Raw(bytes(50_000_000)),), id="client that does not read"),
        pytest.param((Raw(b"x"), HalfClose()), id="half close"),
        pytest.param((StopReading(), Stall()), id="not reading"),
    ],
)
def test_the_server_stops_whatever_a_script_is_doing(script: Script) -> None:
    """Leaving the block raises when the thread outlives its limit, and a socket left open is a warning, so an error."""
    before = threading.active_count()
    with FaultServer() as server:
        server.on("GET", "/", script)
        clients = [raw_get(server) for _ in range(3)]
        server.wait_for_request(3)
    assert threading.active_count() == before
    for client in clients:
        client.close()


def test_the_server_stops_with_connections_it_has_not_begun_to_serve() -> None:
    with FaultServer() as server:
        clients = [socket.create_connection(("127.0.0.1", server.port), WAIT_S) for _ in range(50)]
    for client in clients:
        client.close()


# -- TLS ------------------------------------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(not can_make_certificates(), reason="needs the openssl program")


@needs_openssl
def test_tls_clients_are_served_and_half_finished_handshakes_do_no_harm(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    with FaultServer(ssl_context=made.server_context()) as server:
        server.on("GET", "/", json_response(200, {"tls": True}))
        server.on("GET", "/cut", (Raw(b"x"), Reset()))
        for host in ("127.0.0.1", "localhost"):
            client = http.client.HTTPSConnection(
                host, server.port, timeout=WAIT_S, context=made.client_context()
            )
            client.request("GET", "/")
            assert client.getresponse().read() == b'{"tls": true}'
            client.close()
        distrustful = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=WAIT_S, context=ssl.create_default_context()
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            distrustful.request("GET", "/")
        distrustful.close()
        in_handshake = socket.create_connection(("127.0.0.1", server.port), WAIT_S)
        server.wait_until_closed(leaving=1)
        assert server.base_url.startswith("https://127.0.0.1:")
    in_handshake.close()


# -- event loops ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_asyncio_and_trio_can_wait_for_the_server_without_blocking_their_loop(
    server: FaultServer,
) -> None:
    server.on("GET", "/", (Stall(),))
    with anyio.fail_after(WAIT_S):
        async with await anyio.connect_tcp("127.0.0.1", server.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            request = await server.until_request()
        await server.until_closed(connection=request.connection)
        await server.until_closed()


def test_the_server_does_not_care_which_loops_a_test_has(server: FaultServer) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def fetch() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    assert uvloop.run(fetch()) == b"HTTP/1.1 404 Not Found\r\n"


# -- the host of one run --------------------------------------------------------------------------------------


def sequences(body: bytes) -> list[int]:
    """The sequences of all events in a stream's body, batches opened."""
    found = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: "):
            document = json.loads(line[6:])
            found += [event["sequence"] for event in (document if isinstance(document, list) else [document])]
    return found


def events_url(cursor: int | None = None) -> tuple[str, dict[str, str]]:
    return "/v1/runs/run-1/events", {} if cursor is None else {"Last-Event-ID": str(cursor)}


def test_the_run_host_serves_log_poll_and_snapshot_as_the_protocol_says(server: FaultServer) -> None:
    host = RunLogHost(server, run_log(5), page_size=3)
    for cursor, expected in [(None, [0, 1, 2, 3, 4]), (0, [1, 2, 3, 4]), (3, [4]), (4, [])]:
        path, headers = events_url(cursor)
        assert sequences(get(server, path, **headers)[1]) == expected
    page = json.loads(get(server, "/v1/runs/run-1/events/poll?lastSequence=0&timeout=1")[1])
    assert ([event["sequence"] for event in page["events"]], page["isComplete"]) == ([1, 2, 3], True)
    assert json.loads(get(server, "/v1/runs/run-1")[1])["status"] == "completed"
    assert (len(host.streams.requests), len(host.polls.requests), len(host.snapshots.requests)) == (4, 1, 1)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(StreamFault(overlap=2), [1, 2, 3, 4, 5], id="overlap"),
        pytest.param(StreamFault(ignore_cursor=True), [0, 1, 2, 3, 4, 5], id="cursor ignored"),
        pytest.param(StreamFault(copies=2), [3, 3, 4, 4, 5, 5], id="copies"),
        pytest.param(StreamFault(skip=frozenset({4})), [3, 5], id="gap"),
        pytest.param(StreamFault(swap=True), [4, 3, 5], id="out of order"),
        pytest.param(StreamFault(batch=2, ids=False), [3, 4, 5], id="batches"),
        pytest.param(StreamFault(cut_after_events=1), [3], id="cut after events"),
        pytest.param(StreamFault(piece=7, cut_after_events=2), [3, 4], id="small chunks"),
        pytest.param(StreamFault(chunked=False), [3, 4, 5], id="close-delimited"),
        pytest.param(StreamFault(visible=4), [3], id="log still growing"),
    ],
)
def test_each_fault_of_the_run_host_lasts_one_connection(
    server: FaultServer, fault: StreamFault, expected: list[int]
) -> None:
    RunLogHost(server, run_log(6), faults=[fault])
    path, headers = events_url(2)
    assert sequences(get(server, path, **headers)[1]) == expected
    assert sequences(get(server, path, **headers)[1]) == [3, 4, 5]


def test_the_run_host_cuts_anywhere_and_in_every_way(server: FaultServer) -> None:
    whole = frame(run_log(2)[0], event="run.started")
    stall = StreamFault(cut_after_bytes=10, ending="stall", chunked=False)
    faults = [StreamFault(cut_after_bytes=len(whole) - 1, ending="close"), StreamFault(ending="reset"), stall]
    RunLogHost(server, run_log(2), faults=faults)
    with raw_get(server, events_url()[0]) as client:
        assert read_to_end(client).endswith(Chunk(whole[:-1]).encode())
    with raw_get(server, events_url()[0]) as client, pytest.raises(ConnectionResetError):
        read_to_end(client)
    with raw_get(server, events_url()[0]) as client:
        received = b""
        while not received.endswith(b"\r\n\r\n" + whole[:10]):
            received += client.recv(1)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


def test_the_run_host_hides_the_end_until_a_connection_may_see_it(server: FaultServer) -> None:
    RunLogHost(
        server,
        run_log(3),
        faults=[StreamFault(visible=2, garble=frozenset({1})), StreamFault(instead=error_response(503, "x"))],
    )
    assert json.loads(get(server, "/v1/runs/run-1")[1])["status"] == "running"
    assert b'\ndata: {"sequence":\n\n' in get(server, events_url()[0])[1]
    assert json.loads(get(server, "/v1/runs/run-1/events/poll")[1])["isComplete"] is False
    assert get(server, events_url()[0])[0] == 503
    assert json.loads(get(server, "/v1/runs/run-1")[1])["status"] == "completed"
