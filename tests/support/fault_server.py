"""An HTTP/1.1 server that does to a client whatever a script says: answers, cuts, stalls, resets.

No HTTP library takes part, so a test says to the byte what the client gets.  The server runs in a thread with an event
loop of its own: blocking clients, asyncio, uvloop and trio can all talk to it.

Example::

    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", error_response(503, "unavailable"), json_response(200, snapshot_doc()))
        ...                                    # the client's first GET gets a 503, every later one the run
        assert [request.method for request in server.requests] == ["GET", "GET"]
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import anyio.to_thread

from support.fault_connection import Connection, Request
from support.fault_steps import (
    RUN_ID,
    Body,
    Chunk,
    Close,
    Drip,
    HalfClose,
    Head,
    Heartbeat,
    LastChunk,
    Raw,
    Reset,
    ResumeReading,
    Script,
    Signal,
    Stall,
    Step,
    StopReading,
    WaitFor,
    batch_frame,
    bytes_response,
    comment,
    empty_response,
    error_response,
    event_doc,
    frame,
    json_response,
    redirect,
    run_log,
    snapshot_doc,
    sse_response,
)

__all__ = [
    "RUN_ID", "Answer", "Body", "Chunk", "Close", "Drip", "FaultServer", "HalfClose", "Head", "Heartbeat", "LastChunk",
    "Raw", "Request", "Reset", "ResumeReading", "Route", "Script", "Signal", "Stall", "Step", "StopReading", "WaitFor",
    "batch_frame", "black_hole", "bytes_response", "comment", "empty_response", "error_response", "event_doc", "frame",
    "json_response", "nothing_listens", "redirect", "run_log", "snapshot_doc", "sse_response",
]  # fmt: skip

START_S = 10.0
STOP_S = 2.0
WAIT_S = 5.0
HOST = "127.0.0.1"

Answer: TypeAlias = Script | Callable[[Request], Script]
"""A script, or a function that makes one for a request; the function is called in the server's thread."""
T = TypeVar("T")


@dataclass
class Route:
    """The scripts of one kind of request, and the requests that took them."""

    method: str
    pattern: str
    answers: tuple[Answer, ...]
    repeat_last: bool
    _requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = re.split(r"\{(\w+)\}", self.pattern)
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = (f"(?P<{name}>[^/]+)" for name in parts[1::2])
        self._path = re.compile("".join(parts)) if self.pattern != "*" else re.compile(".*", re.DOTALL)

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests that took this route, in order."""
        return tuple(self._requests)

    def match(self, request: Request) -> dict[str, str] | None:
        """Return what the pattern's names stand for, or ``None`` when the request is not for this route."""
        found = self._path.fullmatch(request.path) if self.method in ("*", request.method) else None
        return None if found is None else found.groupdict()

    def take(self, request: Request) -> Answer:
        """Note the request and return its answer."""
        index = len(self._requests)
        self._requests.append(request)
        if index < len(self.answers):
            return self.answers[index]
        if self.repeat_last:
            return self.answers[-1]
        return error_response(500, "internal_error", f"request {index + 1} to {self.pattern} has no script")


class FaultServer:
    """A scripted server on a free port of the loopback interface.

    With ``ssl_context`` it speaks TLS.  A handshake that never ends is had from a plain server, with
    ``on_connect((Stall(),))`` and its address with ``https``.

    A script that is itself broken is an error of the test: ``with`` raises it at the end.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._routes: list[Route] = []
        self._connection_scripts: tuple[Script, ...] = ()
        self._first_scripted = 1
        self._connections: dict[int, Connection] = {}
        self._accepted = 0
        self._bytes_sent = 0
        self._errors: list[BaseException] = []
        self._listener: socket.socket | None = None
        self._serving: dict[asyncio.Task[None], socket.socket | None] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.port = 0

    # -- life -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._listener = _bound_socket(0)
        self.port = self._listener.getsockname()[1]
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="fault-server", daemon=True)
        self._thread.start()
        if not started.wait(START_S):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            raise RuntimeError("the fault server did not stop; does a script's function block?")
        if self._errors and error is None:
            raise self._errors[0]

    def _run(self, started: threading.Event) -> None:
        # The loop is made by hand: whatever policy a test has set (uvloop, say) is for the client.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main(started))

    async def _main(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._listen()
        started.set()
        await self._stop.wait()
        self._stop_listening()
        await self._drop(reset=False, flush=False)

    def _listen(self) -> None:
        assert self._loop is not None
        assert self._listener is not None
        self._listener.listen(4096)
        # A reader callback and not `sock_accept`: a task cancelled between two steps loses the socket it was given.
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _stop_listening(self) -> None:
        assert self._loop is not None
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return  # it has left already
        except OSError as error:
            self._broken(error)
            self._stop_listening()  # too many open files, say: the test is told, and the loop must not spin
            return
        client.setblocking(False)
        with self._changed:
            self._accepted += 1
            connection = Connection(self._accepted, self)
            self._connections[connection.number] = connection
            self._changed.notify_all()
        serving = asyncio.create_task(self._serve(connection, client))
        self._serving[serving] = client
        serving.add_done_callback(partial(self._served, connection))

    def _served(self, connection: Connection, serving: asyncio.Task[None]) -> None:
        client = self._serving.pop(serving)
        if client is not None:
            # The task was cancelled before its first step, so nobody else has the socket.
            client.close()
            connection.end()

    async def _serve(self, connection: Connection, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        this = asyncio.current_task()
        assert this is not None
        self._serving[this] = None
        limit_s = (
            {} if self._ssl_context is None else {"ssl_handshake_timeout": 30, "ssl_shutdown_timeout": 1}
        )
        connected = False
        try:
            await loop.connect_accepted_socket(lambda: connection, client, ssl=self._ssl_context, **limit_s)
            connected = True
            await connection.serve()
        except OSError as error:
            if connected:
                self._broken(error)
            # else the client left in the handshake, or did not like the certificate
        except Exception as error:  # noqa: BLE001 - boundary: a broken script is reported by __exit__
            self._broken(error)
        finally:
            if not connected:
                connection.end()

    def _broken(self, error: Exception) -> None:
        with self._changed:
            self._errors.append(error)

    async def _drop(self, *, reset: bool, flush: bool) -> None:
        """Close every connection and wait until its socket is gone."""
        connections, tasks = list(self._connections.values()), list(self._serving)
        for connection in connections:
            connection.close(reset=reset, flush=flush)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for connection in connections:
            connection.close(reset=reset, flush=False)
            await connection.ended.wait()

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    # -- what a test sets up --------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Where the server is, without a path."""
        return f"{'http' if self._ssl_context is None else 'https'}://{HOST}:{self.port}"

    def on(self, method: str, pattern: str, *answers: Answer, repeat_last: bool = True) -> Route:
        """Script the requests of one kind: the n-th takes the n-th answer, later ones the last (or a 500).

        ``{name}`` in the pattern is one path segment; ``"*"`` is any method, or any path.  The newest route that
        matches wins; a request that no route matches gets a 404.
        """
        if not answers:
            raise ValueError("a route needs at least one script")
        route = Route(method, pattern, answers, repeat_last)
        with self._changed:
            self._routes.insert(0, route)
        return route

    def on_connect(self, *scripts: Script) -> None:
        """Script the connections themselves, before a request is read.

        The n-th connection from now takes the n-th script, later ones the last.  After a script that does not close,
        requests are answered as usual: ``()`` is a connection without a fault.
        """
        with self._changed:
            self._connection_scripts = scripts
            self._first_scripted = self._accepted + 1

    def reset(self) -> None:
        """Forget routes, scripts and requests, and close all connections: ready for the next example of a property."""
        self.drop_connections()
        with self._changed:
            self._routes.clear()
            self._requests.clear()
            self._connection_scripts = ()

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close every open connection now, in order or with a reset, whatever its script was doing."""
        self._in_loop(self._drop(reset=reset, flush=True))

    @contextmanager
    def down(self, *, reset: bool = False) -> Iterator[None]:
        """Be a server that has died: connections closed, new ones refused; on the same port again at the end."""

        async def fall() -> None:
            self._stop_listening()
            # Bound but not listening: connections are refused, and nobody else can take the port.
            self._listener = _bound_socket(self.port)
            await self._drop(reset=reset, flush=True)

        async def rise() -> None:
            self._listen()

        self._in_loop(fall())
        try:
            yield
        finally:
            self._in_loop(rise())

    # -- what a test looks at -------------------------------------------------------------------------------

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every whole request so far, in the order of arrival."""
        with self._changed:
            return tuple(self._requests)

    @property
    def connections_accepted(self) -> int:
        """How many connections there have been."""
        with self._changed:
            return self._accepted

    @property
    def connections_open(self) -> int:
        """How many connections are open now, idle ones included."""
        with self._changed:
            return len(self._connections)

    @property
    def total_bytes_sent(self) -> int:
        """How many bytes the kernel has taken from all scripts; it stands still while a client does not read."""
        with self._changed:
            return self._bytes_sent

    def wait_for_request(self, number: int = 1, timeout: float = WAIT_S) -> Request:
        """Wait until ``number`` requests have arrived, and return the last of these."""
        self._wait(lambda: len(self._requests) >= number, timeout, f"{number} requests")
        return self.requests[number - 1]

    def wait_until_open(self, count: int, timeout: float = WAIT_S) -> None:
        """Wait until at least ``count`` connections are open."""
        self._wait(lambda: len(self._connections) >= count, timeout, f"{count} open connections")

    def wait_until_closed(
        self, timeout: float = WAIT_S, *, leaving: int = 0, connection: int | None = None
    ) -> None:
        """Wait until at most ``leaving`` connections are open, or until the given one is closed."""
        if connection is None:
            self._wait(
                lambda: len(self._connections) <= leaving, timeout, f"at most {leaving} open connections"
            )
        else:
            self._wait(
                lambda: connection not in self._connections, timeout, f"the end of connection {connection}"
            )

    async def until_request(self, number: int = 1, timeout: float = WAIT_S) -> Request:
        """``wait_for_request`` for asyncio and trio: the event loop runs on."""
        return await anyio.to_thread.run_sync(self.wait_for_request, number, timeout)

    async def until_closed(
        self, timeout: float = WAIT_S, *, leaving: int = 0, connection: int | None = None
    ) -> None:
        """``wait_until_closed`` for asyncio and trio: the event loop runs on."""
        await anyio.to_thread.run_sync(
            lambda: self.wait_until_closed(timeout, leaving=leaving, connection=connection)
        )

    def _wait(self, ready: Callable[[], bool], timeout: float, what: str) -> None:
        due = time.monotonic() + timeout
        with self._changed:
            while not ready():
                left = due - time.monotonic()
                if left <= 0:
                    seen = [f"{request.method} {request.target}" for request in self._requests]
                    raise TimeoutError(
                        f"no {what} within {timeout} s; {len(self._connections)} open connections, requests: {seen}"
                    )
                self._changed.wait(left)

    # -- what a connection asks -----------------------------------------------------------------------------

    def connection_script(self, number: int) -> Script:
        """Return the script of an accepted connection."""
        with self._changed:
            if not self._connection_scripts:
                return ()
            index = max(number - self._first_scripted, 0)
            return self._connection_scripts[min(index, len(self._connection_scripts) - 1)]

    def answer(self, request: Request) -> Script:
        """Record a request and return its script."""
        with self._changed:
            chosen: Answer = error_response(
                404, "not_found", f"no script for {request.method} {request.path}"
            )
            for route in self._routes:
                params = route.match(request)
                if params is not None:
                    request = replace(request, params=params)
                    chosen = route.take(request)
                    break
            self._requests.append(request)
            self._changed.notify_all()
        return chosen(request) if callable(chosen) else chosen

    def bytes_sent(self, count: int) -> None:
        """Count what was sent."""
        with self._changed:
            self._bytes_sent += count

    def connection_ended(self, number: int) -> None:
        """Take a connection off the list of open ones."""
        with self._changed:
            self._connections.pop(number, None)
            self._changed.notify_all()


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


@contextmanager
def nothing_listens() -> Iterator[str]:
    """Give an address where every connection is refused, and which stays free for as long as the block runs."""
    with _bound_socket(0) as bound:
        yield f"http://{HOST}:{bound.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """Give an address where connecting is neither accepted nor refused (Linux: a queue of connections that is full)."""
    with _bound_socket(0) as listener:
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(address)
            yield f"http://{HOST}:{address[1]}"
        finally:
            for client in waiting:
                client.close()
