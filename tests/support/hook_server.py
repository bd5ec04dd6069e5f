"""A web server of threads on a free port, that gives what is delivered to a receiver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from openwop.webhooks import WebhookReceiver, WebhookVerificationError


class HookServer(ThreadingHTTPServer):
    """Without a :attr:`receiver`, it takes nothing."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver: WebhookReceiver | None = None
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        server = cast("HookServer", self.server)
        status = 500
        if server.receiver is not None:
            try:
                server.receiver.receive_blocking(self.headers, body)
                status = 204
            except WebhookVerificationError as error:
                status = 200 if error.reason == "replayed" else 400
        server.answers.append(status)
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def hook_server() -> Iterator[HookServer]:
    """Start one, and stop it at the end."""
    with HookServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
