"""Applications served by a real uvicorn, over real sockets, and hosts made of a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from typing import Any

import anyio
import httpx
import uvicorn

from openwop import AsyncOpenwopClient
from openwop.devhost.server import listen

PATIENCE_S = 20.0


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.asynccontextmanager
async def serve_app(app: Any, listener: socket.socket | None = None) -> AsyncIterator[str]:
    """Serve ``app``, its lifespan included; give its base URL."""
    listener = listener or listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, log_level="info", timeout_graceful_shutdown=1, ws="none")
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        assert not task.done(), "the application did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ready.cancel()
        server.should_exit = True
        async with asyncio.timeout(PATIENCE_S):
            await task
        listener.close()


def event(sequence: int, type: str = "node.completed", **payload: Any) -> bytes:
    """One frame of a host's stream."""
    document = {
        "eventId": f"evt-{sequence}",
        "runId": "run-1",
        "type": type,
        "payload": payload,
        "timestamp": "2026-05-01T12:00:00Z",
        "sequence": sequence,
    }
    return f"id: {sequence}\nevent: event\ndata: {json.dumps(document)}\n\n".encode()


class _Body(httpx.AsyncByteStream):
    def __init__(self, host: ScriptedHost, frames: Iterable[bytes]) -> None:
        self._host, self._frames = host, frames

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for frame in self._frames:
            self._host.given += 1
            yield frame
        if not self._host.ends:
            await anyio.sleep_forever()

    async def aclose(self) -> None:
        self._host.closed.set()


class ScriptedHost(httpx.AsyncBaseTransport):
    """A host with one run, whose stream is what ``frames`` gives for a ``Last-Event-ID``, pulled piece by piece."""

    def __init__(
        self,
        frames: Callable[[str | None], Iterable[bytes]] = lambda _: (),
        *,
        ends: bool = False,
        answer: Callable[[httpx.Request], httpx.Response] | None = None,
    ) -> None:
        self.frames, self.ends, self.answer = frames, ends, answer
        self.given = 0
        self.closed = anyio.Event()
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.answer is not None:
            return self.answer(request)
        if not request.url.path.endswith("/events"):
            return httpx.Response(404, json={"error": "not_found", "message": "no"})
        frames = self.frames(request.headers.get("last-event-id"))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Body(self, frames))

    def client(self, **options: Any) -> AsyncOpenwopClient:
        """A client of this host."""
        http = httpx.AsyncClient(transport=self)
        settings: dict[str, Any] = {"protocol": "1", "max_retries": 0} | options
        return AsyncOpenwopClient("http://host.example", "hk_test_of_ours", http_client=http, **settings)


def refusing(status: int, code: str = "some_code", **headers: str) -> ScriptedHost:
    """A host that answers everything with one refusal, whose text is nobody's business."""
    body = {"error": code, "message": "internal: db-7 says no to hk_live_secret"}
    return ScriptedHost(answer=lambda _: httpx.Response(status, json=body, headers=headers))


class Asgi:
    """One request to an application, driven by hand: what was sent, and a browser that may leave or be slow."""

    def __init__(
        self,
        app: Any,
        path: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes = b"",
    ) -> None:
        self._body = body
        self.sent: list[dict[str, Any]] = []
        self.left = anyio.Event()
        self.ready = anyio.Event()
        """Unset: nothing is read by the browser after the head of the answer."""
        self.ready.set()
        self._app = app
        self._asked = False
        self._scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }  # fmt: skip

    async def run(self) -> None:
        """Make the request, until the application has done with it."""
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await self.ready.wait()
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.sent[0]["status"])

    @property
    def text(self) -> str:
        """The body, as far as it was sent."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def settle() -> None:
    """Let every task do what it can do without waiting for anything outside."""
    for _ in range(200):
        await asyncio.sleep(0)
