"""A host that speaks HTTP/2 and nothing else, for clients that bring an HTTP/2 connection of their own."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from support.fault_steps import frame, run_log, snapshot_doc

EVENTS = 5


class _Connection(asyncio.Protocol):
    """Answers a run's state and its events; each event is a DATA frame of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._paths: dict[int, str] = {}
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self._paths[event.stream_id] = dict(event.headers)[":path"]
            elif isinstance(event, DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self._answer(event.stream_id, self._paths.pop(event.stream_id))
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream_id: int, path: str) -> None:
        if "/events" in path:
            kind = "text/event-stream"
            parts = [frame(document) for document in run_log(EVENTS)]
        else:
            kind = "application/json"
            parts = [json.dumps(snapshot_doc("completed")).encode()]
        self._h2.send_headers(stream_id, [(":status", "200"), ("content-type", kind)])
        for part in parts:
            self._h2.send_data(stream_id, part)
        self._h2.end_stream(stream_id)


@asynccontextmanager
async def http2_host(context: ssl.SSLContext) -> AsyncIterator[str]:
    """Serve on a free port of the loopback interface; gives the base URL."""
    context.set_alpn_protocols(["h2"])
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
