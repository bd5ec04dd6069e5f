"""One program, through ``openwop-client`` 1.1.7 and through ``openwop.compat``, each against a host of its own."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from openwop.compat import CreateRunRequest, OpenwopClient, stream_events
from support.compat import both, outcome, why_not
from support.processes import DevHostProcess, start_devhost

MOCK = {"mockProvider": {"id": "stream-text", "config": {"tokens": ["One", " two"]}}}

# What no two runs have in common, and what it is called instead.
_VARYING = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"http://127\.0\.0\.1:\d+", "HOST"),
    (r"\b(run|evt|ann|key|wh|int|art|devhost|checkpoint)[_-][0-9a-f]{8,}(_\d+)?", r"\1"),
    (r"[0-9a-f]{16,}", "HEX"),
    (r"'(durationMs|delayedMs|latencyMs)': \d+", r"'\1': MS"),
    (r"traceparent': '[^']*'|trace_id': '[^']*'|\(trace=\w+\)", "TRACE"),
)


def in_common(seen: Any) -> str:
    """What is seen, without what differs from one run to the next."""
    text = repr(seen)
    for pattern, name in _VARYING:
        text = re.sub(pattern, name, text)
    return text


class Program:
    """A program for the old client; ``seen`` is everything that it got, in order."""

    def __init__(self, module: Any, host: DevHostProcess) -> None:
        self.m = module
        self.client = module.OpenwopClient(host.base_url, host.api_key)
        self.host = host
        self.seen: list[tuple[str, Any]] = []

    def do(self, name: str, call: Callable[[], Any]) -> None:
        self.seen.append((name, outcome(self.m, call)))

    def start(self, workflow: str, **fields: Any) -> str:
        created = self.client.runs_create(self.m.CreateRunRequest(workflowId=workflow, **fields))
        self.seen.append((f"start {workflow}", outcome(self.m, lambda: created)))
        return str(created.runId)

    def until(self, run_id: str, *statuses: str) -> Any:
        """Poll for a status, as the old client's README does, by the host's own long poll."""
        deadline = time.monotonic() + 20
        last = None
        while time.monotonic() < deadline:
            snapshot = self.client.runs_get(run_id)
            if snapshot.status in statuses:
                return snapshot
            page = self.client.runs_poll_events(run_id, last_sequence=last, timeout_seconds=1)
            last = max([event.sequence for event in page.events], default=last)
        raise AssertionError(f"run {run_id} never became {statuses}")

    def discover(self) -> None:
        self.do("capabilities", self.client.discovery_capabilities)
        self.do("openapi", lambda: len(self.client.discovery_openapi()))
        self.do("workflow", lambda: self.client.workflows_get("openwop-demo"))

    def follow(self) -> None:
        client, m = self.client, self.m
        run_id = self.start(
            "openwop-demo", inputs={"q": "x", "none": None}, tags=["a"], metadata={"team": "t"}
        )
        self.do("updates", lambda: list(client.runs_events(run_id)))
        self.do(
            "debug", lambda: sorted(event.type for event in client.runs_events(run_id, stream_mode="debug"))
        )
        self.do("values", lambda: list(client.runs_events(run_id, stream_mode="values")))
        self.do("rest", lambda: [event.type for event in client.runs_events(run_id, last_event_id="5")][-1])
        self.do("snapshot", lambda: dataclasses.replace(client.runs_get(run_id), nodeStates=None))
        self.do(
            "page", lambda: client.runs_poll_events(run_id, last_sequence=3, timeout_seconds=1).isComplete
        )
        self.do("bundle", lambda: client.runs_debug_bundle(run_id, max_events=2).redactionMode)
        self.do("over", lambda: client.runs_cancel(run_id, m.CancelRunRequest(reason="late")))
        self.do("pause", lambda: client.runs_pause(run_id))
        self.do("resume", lambda: client.runs_resume(run_id))
        fork = client.runs_fork(run_id, m.ForkRunRequest(fromSeq=0, mode="replay"))
        self.until(fork.runId, "completed")
        self.do("fork", lambda: fork)
        self.do("diff", lambda: client.runs_diff(run_id, fork.runId))
        self.do("ancestry", lambda: client.runs_ancestry(run_id))
        self.do("no evaluation", lambda: client.runs_eval_summary(run_id))
        remark = m.CreateAnnotationRequest({"kind": "rating", "rating": 5}, note="fine")
        self.do("annotate", lambda: client.create_annotation(run_id, remark))
        self.do("annotations", lambda: client.list_annotations(run_id))

    def tokens(self) -> None:
        run_id = self.start("openwop-stream-text", configurable=MOCK)
        self.until(run_id, "completed")
        for mode in ("messages", ("updates", "messages"), ("debug", "messages")):
            self.do(
                f"{mode}",
                lambda mode=mode: list(self.client.runs_events(run_id, stream_mode=mode, buffer_ms=20)),
            )

    def answer(self) -> None:
        client, m = self.client, self.m
        accepted = self.start("openwop-approval", inputs={"text": "x"})
        self.until(accepted, "waiting-approval")
        bad = m.ResolveInterruptRequest({"action": "perhaps"})
        self.do("refused", lambda: client.interrupts_resolve_by_run(accepted, "gate", bad))
        good = m.ResolveInterruptRequest({"action": "accept"})
        self.do(
            "accept", lambda: client.interrupts_resolve_by_run(accepted, "gate", good, idempotency_key="k-1")
        )
        self.do("done", lambda: self.until(accepted, "completed").status)
        cancelled = self.start("openwop-approval", inputs={"text": "x"})
        self.until(cancelled, "waiting-approval")
        self.do("bulk", lambda: client.runs_bulk_cancel(m.BulkCancelRunsRequest([cancelled, "nope"])))
        self.do("over", lambda: self.until(cancelled, "cancelled").status)
        self.do("bad token", lambda: client.interrupts_inspect_by_token("abc.def"))

    def fail(self) -> None:
        client, m = self.client, self.m
        run_id = self.start("openwop-failure")
        self.do("failed", lambda: self.until(run_id, "failed").error)
        self.do("no workflow", lambda: client.runs_create(m.CreateRunRequest(workflowId="nope")))
        self.do("no run", lambda: client.runs_get("nope"))
        self.do("no artifact", lambda: client.runs_get_artifact(run_id, "nope"))
        self.do("no subscription", lambda: client.webhooks_unregister("nope"))
        intruder = m.OpenwopClient(self.host.base_url, "hk_test_wrong")
        self.do("no such key", lambda: intruder.runs_get(run_id))

    def look_around(self) -> None:
        client, m = self.client, self.m
        agents = client.agents_list()
        self.do("agents", lambda: agents)
        for agent in agents[:2]:
            self.do("agent", lambda agent=agent: client.agents_get(agent.agentId))
            self.do("deployments", lambda agent=agent: client.agents_list_deployments(agent.agentId))
        roster = client.agents_list_roster()
        self.do("roster", lambda: roster)
        self.do("entry", lambda: client.agents_get_roster_entry(roster.roster[0].rosterId))
        chart = client.agents_get_org_chart()
        self.do("chart", lambda: chart)
        for recursive in (None, False):
            first = chart.departments[0].departmentId
            self.do(
                "department",
                lambda r=recursive, d=first: client.agents_get_org_chart_department(d, recursive=r),
            )
        self.do("tools", client.tools_list)
        self.do("tool", lambda: client.tools_get(client.tools_list()[0].toolId))
        self.do("prompts", lambda: client.prompts_list(m.ListPromptsRequest(limit=1)))
        self.do("audit", lambda: client.audit_verify(0, 1).chainValid)

    def write(self) -> None:
        client, m = self.client, self.m
        file = m.PutWorkspaceFileRequest("hello", contentType="text/plain")
        self.do("put", lambda: client.put_workspace_file("notes.md", file))
        etag = client.get_workspace_file("notes.md").etag
        self.do("put again", lambda: client.put_workspace_file("notes.md", file, if_match=etag))
        self.do("conflict", lambda: client.put_workspace_file("notes.md", file, if_match=etag))
        self.do("files", client.list_workspace_files)
        self.do("deleted", lambda: [client.delete_workspace_file("notes.md") for _ in range(2)])
        prompt = m.PromptTemplate("t1", "1.0.0", "user", "hi {{x}}", tags=["a"])
        self.do("create", lambda: client.prompts_create(prompt))
        self.do("create again", lambda: client.prompts_create(prompt))
        newer = dataclasses.replace(prompt, version="1.1.0")
        self.do("update", lambda: client.prompts_update("t1", newer))
        self.do("prompt", lambda: client.prompts_get("t1", version="1.0.0"))
        self.do("render", lambda: client.prompts_render(m.RenderPromptRequest("prompt:t1", {})))
        self.do("delete", lambda: client.prompts_delete("t1"))
        self.do("gone", lambda: client.prompts_get("t1"))

    def run(self) -> list[tuple[str, Any]]:
        parts = [
            self.discover,
            self.follow,
            self.tokens,
            self.answer,
            self.fail,
            self.look_around,
            self.write,
        ]
        for part in parts:
            part()
        return self.seen


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_long_program_sees_the_same_through_both() -> None:
    """We chose that a program needs no change but its import: here every method that it may call is compared."""
    seen = []
    for module in both():
        with start_devhost() as host:
            seen.append([(name, in_common(found)) for name, found in Program(module, host).run()])
    theirs, ours = seen
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    differing = [(name, old, new) for (name, old), (_, new) in zip(theirs, ours, strict=True) if old != new]
    assert differing == []
    assert not [name for name, found in theirs if "KeyError" in found], (
        "a crash of the old client shows nothing"
    )


def test_a_streamed_event_is_the_same_as_a_polled_one(devhost_process: DevHostProcess) -> None:
    """We chose to give the host's own texts, so that programs can compare events from both sources."""
    with OpenwopClient(devhost_process.base_url, devhost_process.api_key) as client:
        run_id = client.runs_create(CreateRunRequest("openwop-demo")).runId
        streamed = list(client.runs_events(run_id, stream_mode="debug"))
        assert streamed == client.runs_poll_events(run_id, timeout_seconds=1).events
    assert streamed == list(
        stream_events(devhost_process.base_url, devhost_process.api_key, run_id, stream_mode="debug")
    )
