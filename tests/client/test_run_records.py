"""Annotations, ancestry, scores, artifacts and debug bundles: over the wire to a real host, and from odd ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from openwop import (
    AsyncOpenwopClient,
    CapabilityNotSupportedError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from openwop.errors import RequestValidationError, ResponseDecodeError
from openwop.models import Annotation, AnnotationAnchor, AnnotationSignal
from support.clients import serve_discovery
from support.fault_server import (
    FaultServer,
    error_response,
    event_doc,
    frame,
    json_response,
    run_log,
    snapshot_doc,
    sse_response,
)
from support.processes import DevHostProcess
from support.streams import frames

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/{id}"
SUITE, AGENT = "openwop.samples.evals.reviewer", "openwop.samples.reviewer"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def odd(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    """A client of a scripted host."""
    async with AsyncOpenwopClient(server.base_url, "hk_test", protocol="1", max_retries=0) as connected:
        yield connected


@pytest.fixture
async def client(devhost_process: DevHostProcess) -> AsyncIterator[AsyncOpenwopClient]:
    """A client of a development host."""
    async with AsyncOpenwopClient(devhost_process.base_url, devhost_process.api_key) as connected:
        with anyio.fail_after(30):
            yield connected


# ---------------------------------------------------------------------------------------------------- annotations


async def test_what_is_said_of_a_run_can_be_read_again(client: AsyncOpenwopClient) -> None:
    """Of a run that is over, of a node, of an event; as a model or as a dict, in the names of the wire or of Python."""
    run = await client.start("conformance-multi-node")
    await run.result()
    event = (await client.runs.poll_events(run.id)).events[1]
    said = [
        await run.annotate({"kind": "rating", "rating": 4}, note="good"),
        await run.annotate(AnnotationSignal(kind="label", label="slow"), target={"nodeId": "second"}),
        await run.annotate({"kind": "flag"}, target=AnnotationAnchor(event_id=event.event_id)),
        await client.runs.annotate(
            run.id, MappingProxyType({"kind": "correction", "correction": "Ada"}), target={"node_id": "first"}
        ),
    ]
    assert [(a.signal.kind, a.signal.rating, a.signal.label, a.signal.correction) for a in said] == [
        ("rating", 4, None, None),
        ("label", None, "slow", None),
        ("flag", None, None, None),
        ("correction", None, None, "Ada"),
    ]
    assert [(a.target.run_id, a.target.node_id, a.target.event_id) for a in said] == [
        (run.id, None, None),
        (run.id, "second", None),
        (run.id, None, event.event_id),
        (run.id, "first", None),
    ]
    assert all(a.actor is not None and a.actor.principal_ref and a.created_at is not None for a in said)
    assert len({a.annotation_id for a in said}) == 4
    assert await client.runs.annotations(run.id) == said
    assert said[0].note == "good"


async def test_an_annotation_is_no_part_of_the_run(client: AsyncOpenwopClient) -> None:
    """The protocol demands it: not in the log, not in a fork, not in a diff."""
    run = await client.start("conformance-noop")
    await run.result()
    log = (await client.runs.poll_events(run.id)).events
    await run.annotate({"kind": "flag"})
    assert (await client.runs.poll_events(run.id)).events == log
    fork = await run.fork(mode="replay")
    await fork.result()
    assert await client.runs.annotations(fork.id) == []
    assert (await run.diff(fork)).diverged_at_seq is None


@pytest.mark.duty("D.59")
async def test_the_same_annotation_is_made_once(client: AsyncOpenwopClient) -> None:
    """Asked for again under its key, it is the same one."""
    run = await client.start("conformance-noop")
    key = "annotation-key-0123456789abcdef"
    first = await client.runs.annotate(run.id, {"kind": "flag"}, idempotency_key=key)
    again = await client.runs.with_raw_response.annotate(run.id, {"kind": "flag"}, idempotency_key=key)
    assert (again.status, again.idempotent_replay, again.data) == (201, True, first)
    assert len(await client.runs.annotations(run.id)) == 1


async def test_a_run_that_is_annotated_while_it_is_followed_goes_on_as_before(
    client: AsyncOpenwopClient,
) -> None:
    """The live notice has no sequence: it is no event, counts as passed over, moves no cursor, and costs none."""
    run = await client.start("conformance-approval")
    with anyio.fail_after(10):
        async with run.events(mode="debug") as events:
            sequences: list[int] = []
            async for event in events:
                sequences.append(event.sequence)
                if event.type == "interrupt.requested":
                    await run.annotate({"kind": "flag"})
                    await run.approve()
    assert sequences == list(range(len(sequences)))
    assert (events.skipped, events.gaps, events.reconnects) == (1, 0, 0)


@pytest.mark.parametrize(
    ("signal", "more", "field"),
    [
        ({"kind": "rating"}, {}, "signal"),
        ({"kind": "rating", "rating": 6}, {}, "signal.rating"),
        ({"kind": "rating", "rating": True}, {}, "signal.rating"),
        ({"kind": "rating", "rating": "4"}, {}, "signal.rating"),
        ({"kind": "label"}, {}, "signal"),
        ({"kind": "correction", "label": "x"}, {}, "signal"),
        ({"kind": "praise"}, {}, "signal.kind"),
        ({"kind": "flag", "stars": 1}, {}, "signal.stars"),
        ({}, {}, "signal.kind"),
        ("flag", {}, "signal"),
        ({"kind": "flag"}, {"target": {"runId": "r"}}, "target.runId"),
        ({"kind": "flag"}, {"target": "node"}, "target"),
        ({"kind": "flag"}, {"note": 7}, "note"),
        ({"kind": "label", "label": "\ud800"}, {}, "signal"),
    ],
)
async def test_an_annotation_that_no_host_takes_is_not_sent(
    server: FaultServer, odd: AsyncOpenwopClient, signal: Any, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(RequestValidationError) as caught:
        await odd.runs.annotate("r", signal, **more)
    assert caught.value.field == field
    assert server.requests == ()


async def test_a_wrong_place_is_refused_by_the_host(client: AsyncOpenwopClient) -> None:
    run = await client.start("conformance-noop")
    for target in ({"nodeId": "nowhere"}, {"eventId": "evt_nowhere"}):
        with pytest.raises(InvalidRequestError):
            await run.annotate({"kind": "flag"}, target=target)
    with pytest.raises(NotFoundError):
        await client.runs.annotations("run_nowhere")


@pytest.mark.duty("I.123")
async def test_text_from_outside_stays_text(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """Whatever an annotation says, it is given on as it came and nothing is done because of it."""
    hostile = "<script>approve()</script> {{inputs.secret}} https://evil.invalid"
    signal = {"kind": "correction", "correction": hostile}
    server.on(
        "GET",
        f"{RUN}/annotations",
        json_response(200, {"annotations": [{"signal": signal, "note": hostile}]}),
    )
    found = (await odd.runs.annotations("r"))[0]
    assert (found.note, found.signal.correction) == (hostile, hostile)
    assert "text from outside" in (Annotation.__doc__ or "")
    assert len(server.requests) == 1


@pytest.mark.duty("I.123")
async def test_heartbeats_can_be_passed_over(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """They are events of a type that says so; following a run to its end needs to know no more of them."""
    log = run_log(4)
    log[1] = event_doc(1, "heartbeat.evaluated", payload={"heartbeatId": "h", "outcome": "no-op"})
    server.on("GET", f"{RUN}/events", sse_response(*frames(log)))
    types = [event.type async for event in odd.runs.events("run-1", mode="debug")]
    assert [kind for kind in types if not kind.startswith("heartbeat.")] == [
        event["type"] for event in log if event["type"] != "heartbeat.evaluated"
    ]


async def test_annotations_of_other_shapes_are_read(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """A bare list, kinds of a later version, and what is masked or missing: nothing is lost with it."""
    server.on(
        "GET", f"{RUN}/annotations",
        json_response(200, [{"annotationId": "a"}]),
        json_response(200, {"annotations": [
            {"annotationId": "a", "signal": {"kind": "emoji", "emoji": "+1"}, "actor": "[REDACTED]"},
            {"annotationId": "b", "signal": "[REDACTED]", "createdAt": None, "target": None},
        ], "next": 3}),
        json_response(200, {}),
        json_response(200, {"annotations": None}),
        json_response(200, {"annotations": [None, {"annotationId": "a"}, "[REDACTED]"]}),
        json_response(200, [{"annotationId": "a"}, "[REDACTED]"]),
        json_response(200, "none"),
    )  # fmt: skip
    assert [a.annotation_id for a in await odd.runs.annotations("r")] == ["a"]
    later, masked = await odd.runs.annotations("r")
    assert (later.signal.kind, later.signal.model_extra, later.actor) == ("emoji", {"emoji": "+1"}, None)
    assert (later.model_extra, masked.model_extra) == ({"actor": "[REDACTED]"}, {"signal": "[REDACTED]"})
    assert await odd.runs.annotations("r") == []
    assert await odd.runs.annotations("r") == []
    null, good, masked = await odd.runs.annotations("r")
    assert (null.annotation_id, good.annotation_id, masked.model_extra) == ("", "a", {"value": "[REDACTED]"})
    assert [a.annotation_id for a in await odd.runs.annotations("r")] == ["a", ""]
    with pytest.raises(ResponseDecodeError, match="listAnnotations"):
        await odd.runs.annotations("r")


async def test_a_host_without_annotations_is_told_apart(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    server.on("*", f"{RUN}/annotations", error_response(501, "capability_not_provided"))
    for call in (odd.runs.annotate("r", {"kind": "flag"}), odd.runs.annotations("r")):
        with pytest.raises(CapabilityNotSupportedError) as caught:
            await call
        assert caught.value.capability == "feedback"


@pytest.mark.parametrize("place", ["bare", "document", "named"])
async def test_a_notice_in_any_dress_is_no_event(
    server: FaultServer, odd: AsyncOpenwopClient, place: str
) -> None:
    """Hosts send the annotation itself, or something like an event without a sequence."""
    annotation = {"annotationId": "a", "target": {"runId": "run-1"}, "signal": {"kind": "flag"}}
    notice: dict[str, Any] = (
        {"type": "run.annotated", "payload": annotation} if place == "document" else annotation
    )
    log = run_log(3)
    name = None if place == "bare" else "run.annotated"
    server.on(
        "GET",
        f"{RUN}/events",
        sse_response(*frames(log[:2]), frame(notice, id=None, event=name), *frames(log[2:])),
    )
    async with odd.runs.events("run-1", mode="debug") as events:
        assert [event.sequence async for event in events] == [0, 1, 2]
    assert (events.skipped, events.gaps, events.last_sequence) == (1, 0, 2)


# ------------------------------------------------------------------------------------------------------- ancestry


async def test_a_child_knows_its_parent_and_a_run_of_ones_own_has_none(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-subworkflow-parent")
    child_id = (await run.result()).node_states["child"]["childRunId"]
    top = await run.ancestry()
    assert (top.run_id, top.parent) == (run.id, None)
    child = await client.runs.ancestry(child_id)
    assert child.parent is not None
    assert (child.parent.run_id, child.parent.cause, child.parent.well_known_url) == (
        run.id,
        "core.subWorkflow",
        None,
    )
    assert child.parent.host_id == child.host_id == top.host_id
    assert [step.run_id for step in await client.runs.ancestors(child_id)] == [child_id, run.id]
    assert [step.run_id for step in await client.runs.ancestors(child_id, max_hops=0)] == [child_id]


def ancestry(run_id: str, parent: str | None, **more: Any) -> Any:
    """An answer that names a parent."""
    found = None if parent is None else {"runId": parent, "hostId": "here", "cause": "core.dispatch", **more}
    return json_response(200, {"runId": run_id, "hostId": "here", "parent": found})


async def test_the_chain_ends_where_another_host_begins(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """The key of this host goes to no other one, whatever an answer says of where the parent lives."""
    with FaultServer() as elsewhere:
        for more in (
            {"wellKnownUrl": f"{elsewhere.base_url}/.well-known/openwop", "hostId": "there"},
            {"wellKnownUrl": f"{elsewhere.base_url}/.well-known/openwop"},
            {"hostId": "there"},
        ):
            server.on("GET", "/v1/runs/a/ancestry", ancestry("a", "b"))
            server.on("GET", "/v1/runs/b/ancestry", ancestry("b", "c", **more))
            chain = await odd.runs.ancestors("a")
            assert [step.run_id for step in chain] == ["a", "b"]
            assert chain[-1].parent is not None
            assert chain[-1].parent.run_id == "c"
        assert elsewhere.requests == ()
    assert {request.path for request in server.requests} == {"/v1/runs/a/ancestry", "/v1/runs/b/ancestry"}


async def test_a_chain_without_end_is_left(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """A circle is an answer that cannot be right; a very long chain is left after so many steps."""
    server.on("GET", "/v1/runs/a/ancestry", ancestry("a", "b"))
    server.on("GET", "/v1/runs/b/ancestry", ancestry("b", "a"))
    with pytest.raises(ResponseDecodeError, match="circle"):
        await odd.runs.ancestors("a")
    assert len(server.requests) == 2
    server.on(
        "GET", "/v1/runs/{id}/ancestry", lambda asked: ancestry(asked.params["id"], asked.params["id"] + "x")
    )
    assert len(await odd.runs.ancestors("r", max_hops=5)) == 6
    for wrong in (-1, 1.5, True, "3"):
        with pytest.raises(RequestValidationError):
            await odd.runs.ancestors("r", max_hops=wrong)  # type: ignore[arg-type]


async def test_a_parent_that_may_not_be_seen_is_not_taken_for_none(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    """The chain says that it goes on; a run that is not there at all is an error."""
    server.on("GET", "/v1/runs/a/ancestry", ancestry("a", "b"))
    server.on("GET", "/v1/runs/b/ancestry", error_response(404, "not_found"))
    server.on("GET", "/v1/runs/c/ancestry", json_response(200, {"runId": "c", "parent": "[REDACTED]"}))
    chain = await odd.runs.ancestors("a")
    assert len(chain) == 1
    assert chain[0].parent is not None
    masked = (await odd.runs.ancestors("c"))[-1]
    assert masked.parent is not None
    assert (masked.parent.run_id, masked.parent.model_extra) == ("", {"parent": "[REDACTED]"})
    for parent in ("..", "x" * 300, ""):
        server.on("GET", "/v1/runs/e/ancestry", ancestry("e", parent))
        assert len(await odd.runs.ancestors("e")) == 1, "no id that could be asked about"
    server.on("GET", "/v1/runs/d/ancestry", json_response(200, {"runId": "d", "parent": [{"runId": "e"}]}))
    assert (await odd.runs.ancestry("d")).parent is not None
    with pytest.raises(NotFoundError):
        await odd.runs.ancestors("b")


# ------------------------------------------------------------------------------------------------------ evaluations


async def test_an_agent_is_scored_task_by_task(client: AsyncOpenwopClient) -> None:
    """An eval run is a run: its events come as they happen, its end is waited for, its scores are read at the end."""
    created = await client.runs.create_eval(AGENT, f"{SUITE}@1.0.0", modes=["golden"], tags=["nightly"])
    run = client.get_run_handle(created.run_id)
    scored: dict[str, Any] = {}
    types: list[str] = []
    async for event in run.events():
        types.append(event.type)
        if event.type == "eval.scored":
            scored[event.payload["taskId"]] = event.payload["passed"]
    assert scored == {"short-and-clean": True, "too-long": True, "full-of-typos": True, "says-why": False}
    assert types.index("eval.started") < types.index("eval.scored") < types.index("eval.completed")
    assert (await run.result()).tags == ["nightly"]
    summary = await client.runs.eval_summary(run.id)
    assert (summary.suite_id, summary.suite_version) == (SUITE, "1.0.0")
    assert (summary.aggregate_score, summary.passed, summary.task_count, summary.passed_count) == (
        0.75,
        True,
        4,
        3,
    )
    assert [(task.task_id, task.score, task.passed) for task in summary.tasks] == [
        (name, float(passed), passed) for name, passed in scored.items()
    ]


async def test_what_an_eval_run_needs_is_checked_on_both_sides(
    client: AsyncOpenwopClient, server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    for arguments, field in (
        ({"agent_id": "", "eval_suite_ref": SUITE}, "agent_id"),
        ({"agent_id": AGENT, "eval_suite_ref": ""}, "eval_suite_ref"),
        ({"agent_id": AGENT, "eval_suite_ref": SUITE, "modes": ["gold"]}, "modes"),
        ({"agent_id": AGENT, "eval_suite_ref": SUITE, "modes": []}, "modes"),
        ({"agent_id": AGENT, "eval_suite_ref": SUITE, "modes": "golden"}, "modes"),
        (
            {
                "agent_id": AGENT,
                "eval_suite_ref": SUITE,
                "modes": ["golden"],
                "configurable": {"evalModes": []},
            },
            "modes",
        ),
    ):
        with pytest.raises(RequestValidationError) as caught:
            await odd.runs.create_eval(**arguments)  # type: ignore[arg-type]
        assert caught.value.field == field
    assert server.requests == ()
    for agent, suite, modes in (
        ("nobody", SUITE, None),
        (AGENT, "no.evals.here", None),
        (AGENT, SUITE, ["rubric"]),
    ):
        with pytest.raises(InvalidRequestError):
            await client.runs.create_eval(agent, suite, modes=modes)
    with pytest.raises(InvalidRequestError):
        await client.runs.create_eval(AGENT, f"{SUITE}@2.0.0")


async def test_the_body_of_an_eval_run_is_what_the_protocol_says(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    server.on("POST", "/v1/runs", json_response(201, {"runId": "r", "status": "pending", "eventsUrl": "/x"}))
    await odd.runs.create_eval(
        AGENT, SUITE, modes=("golden", "regression"), configurable={"recursionLimit": 9}
    )
    assert server.requests[0].json() == {
        "mode": "eval", "agentId": AGENT, "evalSuiteRef": SUITE,
        "configurable": {"recursionLimit": 9, "evalModes": ["golden", "regression"]},
    }  # fmt: skip
    assert "idempotency-key" in server.requests[0].headers


async def test_modes_are_not_held_against_the_options_that_a_host_lists(server: FaultServer) -> None:
    """We chose it: they belong to eval runs alone, so a host that lists its options need not list them."""
    serve_discovery(
        server, agents={"evalSuite": {"supported": True}}, configurable={"temperature": {"type": "number"}}
    )
    server.on("POST", "/v1/runs", json_response(201, {"runId": "r", "status": "pending", "eventsUrl": "/x"}))
    async with AsyncOpenwopClient(server.base_url, "hk_test", max_retries=0) as client:
        options = {"temperature": 0.5, "topK": 3}
        with pytest.raises(RequestValidationError, match="topK"):
            await client.runs.create_eval(AGENT, SUITE, modes=["golden"], configurable=options)
        await client.runs.create_eval(AGENT, SUITE, modes=["golden"], configurable=options, unlisted="omit")
    assert server.requests[-1].json()["configurable"] == {"temperature": 0.5, "evalModes": ["golden"]}


async def test_a_host_without_evaluations_says_which_capability_is_missing(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    server.on("POST", "/v1/runs", error_response(501, "capability_not_provided"))
    with pytest.raises(CapabilityNotSupportedError) as caught:
        await odd.runs.create_eval(AGENT, SUITE)
    assert caught.value.capability == "agents.evalSuite"


async def test_scores_come_when_the_run_is_over_and_only_of_eval_runs(
    client: AsyncOpenwopClient, server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    run = await client.start("conformance-noop")
    await run.result()
    with pytest.raises(NotFoundError):
        await client.runs.eval_summary(run.id)
    server.on(
        "GET", f"{RUN}/eval-summary",
        error_response(409, "run_in_progress"),
        json_response(200, {"aggregateScore": 0.5, "tasks": [{"taskId": "a"}, {"score": 1}], "rubric": None}),
        json_response(200, {"suiteId": "a.evals.b"}),
    )  # fmt: skip
    with pytest.raises(ConflictError):
        await odd.runs.eval_summary("r")
    silent = await odd.runs.eval_summary("r")
    assert (silent.passed, silent.task_count, [task.passed for task in silent.tasks]) == (
        False,
        None,
        [False, False],
    )
    with pytest.raises(ResponseDecodeError, match="aggregateScore"):
        await odd.runs.eval_summary("r")


# --------------------------------------------------------------------------------------- artifacts, debug bundles


async def test_what_a_run_makes_can_be_read(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-artifact", inputs={"title": "Q3"})
    made = [event.payload async for event in run.events() if event.type == "artifact.created"]
    assert [item["artifactId"] for item in made] == ["report"]
    report = await run.artifact("report")
    assert report["content"] == {"title": "Q3", "text": "All is well."}
    assert (report["artifactType"], report["nodeId"], report["runId"]) == ("document", "write", run.id)
    with pytest.raises(NotFoundError):
        await run.artifact("nothing/like it")


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], "text", 7, None, True])
async def test_an_artifact_may_be_any_json(
    server: FaultServer, odd: AsyncOpenwopClient, content: Any
) -> None:
    """The protocol has it be an object; hosts keep under that name what they like, and it is given as it is."""
    route = server.on("GET", f"{RUN}/artifacts/{{artifact}}", json_response(200, content))
    assert await odd.runs.artifact("r", "a/b c") == content
    assert route.requests[0].path == "/v1/runs/r/artifacts/a%2Fb%20c"


async def test_an_artifact_that_is_no_json_or_not_there(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    server.on(
        "GET", f"{RUN}/artifacts/{{artifact}}",
        sse_response(), error_response(404, "artifact_not_found"), error_response(403, "forbidden"),
    )  # fmt: skip
    with pytest.raises(ResponseDecodeError):
        await odd.runs.artifact("r", "a")
    with pytest.raises(NotFoundError):
        await odd.runs.artifact("r", "a")
    with pytest.raises(PermissionDeniedError):
        await odd.runs.artifact("r", "a")
    with pytest.raises(RequestValidationError) as caught:
        await odd.runs.artifact("r", "..")
    assert caught.value.field == "artifact_id"


@pytest.mark.duty("I.119")
async def test_a_partial_bundle_says_so_and_where_to_go_on(client: AsyncOpenwopClient) -> None:
    """The protocol demands that it be handled: the rest is read from the log behind the last event of the bundle."""
    run = await client.start("conformance-multi-node")
    await run.result()
    whole = await run.debug_bundle()
    assert (whole.truncated, whole.truncated_reason) == (False, None)
    assert whole.metrics is not None
    assert whole.metrics.event_count == len(whole.events)
    assert (whole.run.run_id, whole.run.status) == (run.id, "completed")
    part = await run.debug_bundle(max_events=3)
    assert (part.truncated, len(part.events), part.last_sequence) == (True, 3, 2)
    assert part.truncated_reason
    rest = [event async for event in run.events(mode="debug", after=part.last_sequence)]
    sequences = [event.sequence for event in part.events] + [event.sequence for event in rest]
    assert sequences == [event.sequence for event in whole.events]
    none = await run.debug_bundle(max_events=0)
    assert (none.truncated, none.events, none.last_sequence) == (True, [], None)


async def test_bundles_of_older_hosts_are_read(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """``seq`` and ``data``, null for absent, another status, no host, nothing but the run: all of it is a bundle."""
    run = snapshot_doc("waiting-clarification", endedAt=None, error=None, currentNodeId=None)
    events = [
        {"seq": 0, "type": "run.started", "data": {"a": 1}},
        {"sequence": None, "type": "note"},
        {},
        None,
    ]
    bundle = {
        "bundleVersion": "1", "run": run, "events": events, "spans": [{"name": "openwop.run", "kind": "internal"}],
        "metrics": {"openwopCost": None, "eventCount": 3}, "redactionApplied": True, "redactionMode": "hash",
        "truncated": True, "truncatedReason": "events_truncated_to_size_cap", "annotations": [],
    }  # fmt: skip
    route = server.on(
        "GET", f"{RUN}/debug-bundle", json_response(200, bundle), json_response(200, {"run": run})
    )
    found = await odd.runs.debug_bundle("r")
    assert [(event.sequence, event.type, event.payload) for event in found.events] == [
        (0, "run.started", {"a": 1}), (None, "note", None), (None, "", None), (None, "", None),
    ]  # fmt: skip
    assert (found.last_sequence, found.run.status, found.redaction_mode) == (
        0,
        "waiting-clarification",
        "hash",
    )
    assert (found.spans[0].name, found.spans[0].model_extra) == ("openwop.run", {"kind": "internal"})
    assert found.model_extra == {"annotations": []}
    bare = await odd.runs.debug_bundle("r", max_events=5)
    assert (bare.truncated, bare.redaction_applied, bare.host) == (False, None, None)
    assert [request.target.partition("?")[2] for request in route.requests] == ["", "maxEvents=5"]
    for wrong in (-1, 2.5, True, "5"):
        with pytest.raises(RequestValidationError):
            await odd.runs.debug_bundle("r", max_events=wrong)  # type: ignore[arg-type]


@pytest.mark.duty("H.118")
async def test_a_diff_that_is_forbidden_is_not_one_that_is_not_offered(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    """Both runs must be readable; a 404 may mean either that a run is missing or that the host compares none."""
    server.on("GET", "/v1/runs/{id}:diff", error_response(403, "forbidden"), error_response(404, "not_found"))
    with pytest.raises(PermissionDeniedError):
        await odd.runs.diff("a", "b")
    with pytest.raises(NotFoundError):
        await odd.runs.diff("a", "b")
