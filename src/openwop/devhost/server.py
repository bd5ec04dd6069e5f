"""Serving the host on a port, with uvicorn; ``python -m openwop.devhost`` is :func:`main`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn

from openwop.devhost.api_events import CLOSING
from openwop.devhost.clock import Signal
from openwop.devhost.host import DEFAULT_API_KEY, DevHost
from openwop.devhost.personalities import PERSONALITIES
from openwop.devhost.scenario import load_faults
from openwop.devhost.store import StoreError
from openwop.devhost.transport import ConnectionDropped
from openwop.devhost.workflow_files import WorkflowFiles

STOP_SECONDS = 3
MAX_PORT = 65_535
READY_LINE = "openwop devhost ready on {base_url}"


class _Uvicorn(uvicorn.Server):
    """uvicorn, which says when it listens, leaves signals alone, and ends open streams when it stops."""

    def __init__(self, config: uvicorn.Config, closing: Signal) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()
        self._closing = closing

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """As uvicorn's, with a wait that ends at once where uvicorn's looks every tenth of a second."""
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.latch()  # open streams would otherwise keep their connections, and with them the server
        await super().shutdown(sockets)


def _not_on_purpose(record: logging.LogRecord) -> bool:
    """Keep uvicorn from reporting, with a traceback, a connection that a scripted fault has dropped."""
    return record.exc_info is None or not isinstance(record.exc_info[1], ConnectionDropped)


class LoopServer:
    """Serves an ASGI application on a socket for as long as the context lasts.

    Args:
        app: The application.
        listener: The socket, bound and listening; the server closes it.
    """

    def __init__(self, app: Any, listener: socket.socket) -> None:
        self._listener = listener
        closing = Signal()

        async def with_closing(scope: Any, receive: Any, send: Any) -> None:
            await app(
                {**scope, "extensions": {**scope.get("extensions", {}), CLOSING: closing}}, receive, send
            )

        config = uvicorn.Config(
            with_closing,
            lifespan="off",
            ws="none",
            access_log=False,  # a path may hold an interrupt token, which is a secret
            log_level="warning",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        logging.getLogger("uvicorn.error").addFilter(
            _not_on_purpose
        )  # after the config, which sets logging up
        self._server = _Uvicorn(config, closing)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(
            self._server.serve(sockets=[self._listener]), name="openwop devhost server"
        )
        ready = loop.create_task(self._server.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            ready.cancel()
            await self._task
            raise RuntimeError("the server stopped before it was ready")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.stopping.set()
        assert self._task is not None
        try:
            await self._task
        finally:
            self._listener.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket.

    Raises:
        ValueError: The port is none.
        OSError: The address cannot be listened on.
    """
    if (
        not 0 <= port <= MAX_PORT
    ):  # the resolver would take the number modulo 65536, and listen somewhere else
        raise ValueError(f"a port is a number from 0 to {MAX_PORT}, not {port}")
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that name it; with it
    # on, every answer whose head and body are two writes would wait 40 ms for the reader's acknowledgement.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve_until_stopped(devhost: DevHost, *, host: str = "127.0.0.1", port: int = 0) -> None:
    """Serve a host until SIGINT or SIGTERM, and say where it is in one line on standard output.

    Args:
        devhost: The host; it is entered and closed here.
        host: The address to listen on.
        port: The port; 0 takes a free one.
    """
    stop = asyncio.Event()
    with _signals(stop):
        async with devhost, devhost.serve(host=host, port=port) as base_url:
            sys.stdout.write(READY_LINE.format(base_url=base_url) + "\n")
            sys.stdout.flush()
            await stop.wait()


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Generator[None, None, None]:
    """Set ``stop`` on SIGINT and SIGTERM, for as long as the context lasts."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    program = argparse.ArgumentParser(prog="python -m openwop.devhost", description="Serve an OpenWOP host.")
    program.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    program.add_argument(
        "--port", type=int, default=3737, help="port; 0 takes a free one (default: %(default)s)"
    )
    program.add_argument(
        "--key",
        action="append",
        metavar="KEY",
        help=f"an API key to accept, repeatable (default: {DEFAULT_API_KEY})",
    )
    program.add_argument(
        "--workflows",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="a directory of JSON and YAML definitions, or a file; repeatable",
    )
    program.add_argument(
        "--keepalive", type=float, default=15.0, metavar="SECONDS", help="(default: %(default)s)"
    )
    program.add_argument("--faults", type=Path, metavar="FILE", help="a JSON file of scripted faults")
    program.add_argument(
        "--personality", choices=sorted(PERSONALITIES), help="another host that this one is like"
    )
    program.add_argument(
        "--db", type=Path, metavar="FILE", help="keep runs in this file (default: in memory)"
    )
    program.add_argument(
        "--allow-loopback-webhooks", action="store_true", help="deliver webhooks to this machine too"
    )
    return program


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a host as the command line asks for; return the exit status."""
    options = parser().parse_args(arguments)
    try:
        files = WorkflowFiles(options.workflows)
        devhost = DevHost(
            api_keys=options.key or [DEFAULT_API_KEY],
            keepalive_s=options.keepalive,
            faults=[] if options.faults is None else load_faults(options.faults),
            personality=options.personality,
            allow_loopback_webhooks=options.allow_loopback_webhooks,
            db=options.db,
        )
        files.serve(devhost.runtime)
        asyncio.run(serve_until_stopped(devhost, host=options.host, port=options.port))
    except (OSError, ValueError, StoreError) as error:
        sys.stderr.write(f"openwop devhost: {error}\n")
        return 2
    return 0
