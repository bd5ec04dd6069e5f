"""Scenarios: what goes out, and where to."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any
from unittest.mock import create_autospec, patch

from support.compat_side import RUN, Side, scenario
from support.fault_server import (
    RUN_ID,
    empty_response,
    error_response,
    frame,
    json_response,
    run_log,
    snapshot_doc,
    sse_response,
)

# -- what goes out ---------------------------------------------------------------------------------------------


def _create(side: Side, body: Any, **options: Any) -> Any:
    created = {"runId": RUN_ID, "status": "pending", "eventsUrl": "/e"}
    side.on("POST", "/v1/runs", json_response(201, created))
    return side.kinds(lambda: side.client.runs_create(body, **options).runId)


@scenario
def a_run_with_everything(side: Side) -> Any:
    body = side.module.CreateRunRequest(
        "w",
        {"a": None, "b": [1, {"c": "ä"}]},
        "t",
        "s",
        "https://example.com",
        {"recursionLimit": 5},
        ["x"],
        {"m": 1},
    )
    _create(side, body, idempotency_key="key-1", dedup=True)
    headers = side.server.requests[-1].headers
    names = ("authorization", "content-type", "accept", "idempotency-key", "x-dedup")
    return side.body(), {name: headers.get(name) for name in names}


@scenario
def no_idempotency_key(side: Side) -> Any:
    _create(side, side.module.CreateRunRequest("w"))
    return "idempotency-key" in side.server.requests[-1].headers


@scenario
def headers_that_no_program_gives(side: Side) -> Any:
    side.on("GET", RUN, json_response(200, snapshot_doc()))
    side.client.runs_get(RUN_ID)
    side.client.runs_get(RUN_ID)
    headers = side.server.requests[-1].headers
    shown = {name: headers.get(name) for name in ("accept", "accept-encoding", "connection")}
    return shown, "traceparent" in headers, headers["user-agent"].partition("/")[0]


@scenario
def options_in_their_class(side: Side) -> Any:
    options = side.module.RunConfigurable(temperature=0.5, extras={"acme.flag": True})
    _create(side, side.module.CreateRunRequest("w", configurable=options))
    return side.body()["configurable"], options.to_dict()


@scenario
def a_prompt_with_a_variable(side: Side) -> Any:
    side.on("POST", "/v1/prompts", empty_response(201))
    variable = side.module.PromptVariable("x", "string", True)
    side.client.prompts_create(
        side.module.PromptTemplate("t", "1.0.0", "user", "{{x}}", variables=[variable])
    )
    return side.body()["variables"]


@scenario
def a_number_that_json_does_not_have(side: Side) -> Any:
    return _create(side, side.module.CreateRunRequest("w", {"x": float("nan")}))


@scenario
def an_object_that_json_does_not_have(side: Side) -> Any:
    return _create(side, side.module.CreateRunRequest("w", {"x": object()}))


@scenario
def what_the_protocol_refuses_is_left_to_the_host(side: Side) -> Any:
    side.on("POST", "/v1/runs", error_response(400, "validation_error"))
    body = side.module.CreateRunRequest("", tags=["t"] * 200)
    return side.see(lambda: side.client.runs_create(body, dedup=True)), side.body()["tags"][:1]


@scenario
def an_id_with_a_slash(side: Side) -> Any:
    side.on("GET", "*", json_response(200, snapshot_doc()))
    side.client.runs_get("a/b")
    return side.server.requests[-1].target


@scenario
def an_id_that_is_empty(side: Side) -> Any:
    side.on("GET", "/v1/runs/", error_response(404, "not_found"))
    found = side.see(lambda: side.client.runs_get(""))
    return found["raises"], found["status"], len(side.server.requests)


@scenario
def an_id_that_the_program_has_encoded(side: Side) -> Any:
    side.on("GET", "*", json_response(200, {"id": "w"}))
    side.client.workflows_get("a%2Fb")
    return side.server.requests[-1].target


@scenario
def idempotency_keys_that_are_none(side: Side) -> Any:
    keys = ("order 5", "ä", "k" * 256, "k\r\nX-Other: 1")
    return [_create(side, side.module.CreateRunRequest("w"), idempotency_key=key) for key in keys]


@scenario
def a_file_with_a_space_in_its_name(side: Side) -> Any:
    side.on("GET", "*", empty_response(404))
    return side.kinds(lambda: side.client.get_workspace_file("my notes.md"))


@scenario
def a_query_with_a_space(side: Side) -> Any:
    side.on("GET", "*", json_response(200, {"items": []}))
    side.client.prompts_list(side.module.ListPromptsRequest(tag="a b/c"))
    return side.server.requests[-1].target


@scenario
def a_file_in_a_folder(side: Side) -> Any:
    file = {"path": "a/b.md", "content": "x", "version": 1, "updatedAt": "2026-01-01T00:00:00Z"}
    side.on("GET", "*", json_response(200, file))
    return side.see(lambda: side.client.get_workspace_file("a/b.md", version=2)), side.server.requests[
        -1
    ].target


@scenario
def queries(side: Side) -> Any:
    side.on("GET", "*", empty_response(404))
    client, module = side.client, side.module
    calls: list[Callable[[], Any]] = [
        lambda: client.runs_poll_events(RUN_ID, last_sequence=0, timeout_seconds=1),
        lambda: client.runs_debug_bundle(RUN_ID, max_events=0),
        lambda: client.audit_verify(0, 7),
        lambda: client.runs_diff(RUN_ID, "a b"),
        lambda: client.prompts_list(module.ListPromptsRequest(kind="user", tag="", cursor="c&d", limit=0)),
        lambda: client.prompts_get("t", version="1.0.0", library_id=""),
        lambda: client.list_workspace_files(prefix="n"),
        lambda: client.agents_get_org_chart_department("d", recursive=False),
        lambda: client.agents_get_org_chart_department("d", recursive=True),
    ]
    for call in calls:
        side.see(call)
    return [request.target for request in side.server.requests]


@scenario
def calls_without_a_key(side: Side) -> Any:
    side.on("GET", "*", json_response(200, {"kind": "approval", "key": "k", "data": {}}))
    side.on("POST", "/v1/interrupts/tok", json_response(200, {"ok": True}))
    found = [
        side.see(side.client.discovery_openapi),
        side.see(lambda: side.client.interrupts_inspect_by_token("tok")),
        side.see(
            lambda: side.client.interrupts_resolve_by_token("tok", side.module.ResolveInterruptRequest(None))
        ),
    ]
    return (
        found,
        [(item.target, item.headers.get("authorization")) for item in side.server.requests],
        side.body(),
    )


# -- the address and the key -----------------------------------------------------------------------------------


@scenario
def addresses_and_keys(side: Side) -> Any:
    made = {}
    for url, key in [
        ("", "k"), ("https://h", ""), ("h.example", "k"), ("https://h/v1", "k"), ("https://h", "a b"),
        ("https://h/", "k"), ("https://h/base/", "k"),
    ]:  # fmt: skip
        made[f"{url} {key}"] = side.kinds(lambda url=url, key=key: bool(side.module.OpenwopClient(url, key)))
    return made


@scenario
def time_limits(side: Side) -> Any:
    side.on("GET", RUN, json_response(200, snapshot_doc()))
    limits = (5, 0.5, 10**6, 0)
    return {
        str(limit): side.kinds(
            lambda limit=limit: side.make(side.server.base_url, limit).runs_get(RUN_ID).status
        )
        for limit in limits
    }


@scenario
def a_client_that_is_copied(side: Side) -> Any:
    side.on("GET", RUN, json_response(200, snapshot_doc()))
    return (
        side.kinds(lambda: copy.copy(side.client).runs_get(RUN_ID).status),
        side.kinds(lambda: copy.deepcopy(side.client).runs_get(RUN_ID).status),
        side.kinds(lambda: pickle.loads(pickle.dumps(side.client)).runs_get(RUN_ID).status),  # noqa: S301
    )


@scenario
def a_program_with_a_client_of_its_own(side: Side) -> Any:
    class Client(side.module.OpenwopClient):  # type: ignore[name-defined,misc]
        def __init__(self, url: str) -> None:
            super().__init__(url, api_key="hk_test_key")
            self.asked: list[str] = []

        def runs_get(self, run_id: str) -> Any:
            self.asked.append(run_id)
            return super().runs_get(run_id)

    side.on("GET", RUN, json_response(200, snapshot_doc()))
    client = Client(side.server.base_url)
    side.closing.callback(getattr(client, "close", lambda: None))
    double = create_autospec(side.module.OpenwopClient, instance=True)
    double.runs_get.return_value = client.runs_get(RUN_ID)
    with patch.object(client, "runs_cancel", autospec=True, return_value="cancelled"):
        cancelled = client.runs_cancel(RUN_ID)
    return (
        (client.asked, cancelled, double.runs_get("r").status, isinstance(double, side.module.OpenwopClient)),
        [
            side.kinds(call)
            for call in (double.runs_get, lambda: double.runs_create("w", "x"), lambda: double.nothing)
        ],
    )


@scenario
def an_address_with_a_path(side: Side) -> Any:
    side.on("GET", f"/base{RUN}", json_response(200, snapshot_doc()))
    side.on("GET", f"/base{RUN}/events", sse_response(*map(frame, run_log(2))))
    client = side.make(side.server.base_url + "/base/")
    return side.see(lambda: client.runs_get(RUN_ID)), len(list(client.runs_events(RUN_ID)))
