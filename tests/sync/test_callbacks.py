"""Functions that are given to a blocking client: plain ones, which may use that very client."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from openwop import Interrupt, OpenwopClient
from openwop.middleware import ApiRequest, AttemptResponse, BlockingCallNext
from support.fault_server import FaultServer, error_response, json_response, snapshot_doc
from support.processes import DevHostProcess
from support.streams import RUN

pytestmark = pytest.mark.usefixtures("installed_loop")


@pytest.fixture
def devhost_client(devhost_process: DevHostProcess) -> Iterator[OpenwopClient]:
    with OpenwopClient(devhost_process.base_url, devhost_process.api_key) as client:
        yield client


def test_on_interrupt_is_a_plain_function_that_may_use_the_client(devhost_client: OpenwopClient) -> None:
    asked: list[str] = []

    def decide(interrupt: Interrupt) -> dict[str, str]:
        asked.append(devhost_client.runs.get(interrupt.run_id).status)
        return {"action": "accept"}

    snapshot = devhost_client.execute("openwop-approval", on_interrupt=decide, timeout=20)
    assert (snapshot.status, asked) == ("completed", ["waiting-approval"])


def test_the_function_of_an_edit_may_use_the_client(devhost_client: OpenwopClient) -> None:
    def add(text: str | None) -> str:
        return (text or "") + str(len(devhost_client.workspace.list().items()) if False else 1)

    written = devhost_client.workspace.edit("blocking.md", add)
    assert written is not None
    assert written.content.endswith("1")


def test_a_token_source_may_ask_another_client(server: FaultServer, make_client: type[OpenwopClient]) -> None:
    server.on("GET", "/v1/host/token", json_response(200, {"token": "fresh"}))
    server.on("GET", RUN, json_response(200, snapshot_doc()))
    issuer = make_client()

    def token() -> str:
        answer = issuer.request("GET", "/v1/host/token")
        return str(answer["token"])

    client = make_client(api_key=token)
    assert client.runs.get("run-1").status == "running"
    assert server.requests[-1].headers["authorization"] == "Bearer fresh"


def test_a_middleware_is_a_plain_function_around_every_attempt(
    server: FaultServer, make_client: type[OpenwopClient]
) -> None:
    server.on(
        "GET", RUN, error_response(503, "unavailable", retry_after=0), json_response(200, snapshot_doc())
    )
    seen: list[tuple[int, int, bool]] = []

    def middleware(request: ApiRequest, call_next: BlockingCallNext) -> AttemptResponse:
        request.headers["x-team"] = "search"
        response = call_next(request)
        seen.append((request.attempt, response.status, threading.current_thread().name == "openwop-loop"))
        return response

    client = make_client(middleware=[middleware])
    assert client.runs.get("run-1").status == "running"
    assert seen == [(0, 503, False), (1, 200, False)]
    assert [request.headers["x-team"] for request in server.requests] == ["search", "search"]
