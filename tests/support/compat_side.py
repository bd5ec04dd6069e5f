"""What scenarios are made of: one of the two packages, with a server of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from support.compat import outcome, told
from support.fault_server import RUN_ID, FaultServer

TRACEPARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"
RUN = f"/v1/runs/{RUN_ID}"
SCENARIOS: dict[str, Callable[[Side], Any]] = {}


class Side:
    """One of the two packages, with a server of its own."""

    def __init__(self, module: Any, server: FaultServer) -> None:
        self.module = module
        self.server = server
        self.on = server.on
        self.closing = ExitStack()

    @cached_property
    def client(self) -> Any:
        return self.make(self.server.base_url)

    def make(self, url: str, timeout: float = 5.0) -> Any:
        """A client, which is closed in the end if it can be."""
        return self._closed_later(self.module.OpenwopClient(url, "hk_test_key", timeout))

    def registry(self, path: str = "") -> Any:
        """A client of a registry on the server."""
        return self._closed_later(self.module.RegistryClient(base_url=self.server.base_url + path))

    def _closed_later(self, client: Any) -> Any:
        self.closing.callback(getattr(client, "close", lambda: None))
        return client

    def see(self, call: Callable[[], Any]) -> Any:
        """What a call comes to."""
        return outcome(self.module, call)

    def kinds(self, call: Callable[[], Any]) -> Any:
        """The same, with no more of an error than what catches it."""
        found = outcome(self.module, call)
        return found["raises"] if isinstance(found, dict) and "raises" in found else found

    def events(self, **options: Any) -> list[Any]:
        """The sequences that a stream brings, and how it ended."""
        found: list[Any] = []
        try:
            for event in self.client.runs_events(RUN_ID, **options):
                found.append(event.sequence)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
            found.append(told(self.module, error)["raises"])
        return found

    def body(self, index: int = -1) -> Any:
        """The JSON that the client sent."""
        return json.loads(self.server.requests[index].body)


def scenario(function: Callable[[Side], Any]) -> Callable[[Side], Any]:
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function
