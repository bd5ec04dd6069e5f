"""The steps of the demo: each shows one thing, and checks that it is so.

They are written to be read as examples: everything they know of the host, they know through ``openwop``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio

from openwop import AsyncOpenwopClient, AsyncRun, EventType, Interrupt, OpenwopError, RunEvent, RunSnapshot
from openwop.cli.output import Output, Progress
from openwop.cli.relay import open_relay

__all__ = ["STEPS", "DemoFailedError", "Stage"]

RUNS = 100
AT_ONCE = 50


class DemoFailedError(Exception):
    """Something that the demo checks is not so."""


@dataclass
class Stage:
    """What the steps share."""

    client: AsyncOpenwopClient
    base_url: str
    api_key: str
    output: Output
    approved: AsyncRun | None = None
    """A run that asked for an approval and got it; the fork is made from it."""
    checks: int = 0
    runs: int = 0

    def check(self, condition: bool, claim: str) -> None:
        """Show that ``claim`` holds, or end the demo."""
        if not condition:
            raise DemoFailedError(f"this does not hold: {claim}")
        self.checks += 1
        self.output.check(claim)


async def read_capabilities(stage: Stage) -> str:
    """Ask the host what it is and what it offers."""
    client, output = stage.client, stage.output

    capabilities = await client.discovery.capabilities()
    implementation = capabilities.implementation or {}
    name = f"{implementation.get('name')} {implementation.get('version')}"
    output.fields(
        {
            "host": name,
            "protocol": ", ".join(capabilities.versions),
            "stream modes": ", ".join(capabilities.family("streamModes") or ["(not said)"]),
            "forks": ", ".join(capabilities.family("replay.modes") or ["(none)"]),
            "mock models": ", ".join(capabilities.family("testing.mockProviders") or ["(none)"]),
        }
    )
    stage.check(
        any(v.split(".")[0] == "1" for v in capabilities.versions), "client and host both speak protocol 1"
    )
    stage.check(await client.discovery.supports("replay"), "the host can fork runs")
    return f"{name}, protocol {', '.join(capabilities.versions)}"


async def follow_a_run(stage: Stage) -> str:
    """Start a run, and show its events as they happen."""
    client, output = stage.client, stage.output

    workflow = await client.workflows.get("openwop-demo")
    run = await client.start(
        "openwop-demo", inputs={"q": "What is OpenWOP?", "answer": "A protocol for runs."}
    )
    stage.runs += 1
    output.line(f"started {run.id}, a run of {workflow.name!r} with {len(workflow.nodes)} nodes")
    received: list[RunEvent] = []
    async with run.events() as events:
        async for event in events:
            output.event(event.sequence, event.type, event.node_id or "")
            received.append(event)
    snapshot = await run.result()

    sequences = [event.sequence for event in received]
    completed = {event.node_id for event in received if event.matches(EventType.NODE_COMPLETED)}
    stage.check(
        sequences[:1] == [0] and sequences == sorted(set(sequences)), "the events came once each, in order"
    )
    stage.check(completed == {node.id for node in workflow.nodes}, "the end of every node was among them")
    stage.check(received[-1].type == EventType.RUN_COMPLETED, "the stream ended with the run's last event")
    stage.check(snapshot.status == "completed", "the run completed")
    return f"{len(received)} events, live"


async def survive_a_cut(stage: Stage) -> str:
    """Lose the connection in the middle of an event, and go on behind the last one that came whole."""
    output = stage.output
    tokens = _tokens("Nothing was lost on the way, and every event came once, in its order.")

    received: list[RunEvent] = []
    last_id: str | None = None
    left_off: str | None = None
    async with (
        open_relay(stage.base_url) as relay,
        AsyncOpenwopClient(relay.base_url, api_key=stage.api_key) as client,
    ):
        output.line(f"client -> {relay.base_url} (a TCP relay) -> {stage.base_url}")
        relay.cut_stream(after_bytes=2000, down_s=0.2)
        run = await client.start("openwop-stream-text", inputs={"tokens": tokens, "delayMsPerToken": 50})
        async with run.events(mode="debug") as events:  # "debug" leaves nothing out: any hole would show
            async for event in events:
                if events.reconnects and left_off is None:
                    left_off = last_id
                    output.notice("the relay reset the connection in mid-event, and was down for 0.2 s")
                    output.notice(f"reconnected at attempt {relay.refused + 1} with Last-Event-ID {left_off}")
                output.event(event.sequence, event.type, _chunk_or_node(event))
                received.append(event)
                last_id = events.last_event_id
            reconnects = events.reconnects
    log = await stage.client.runs.poll_events(run.id, wait=1)  # past the relay: what really happened

    stage.runs += 1
    stage.check(relay.cuts == 1 and reconnects >= 1, f"the stream was cut once, reconnects={reconnects}")
    stage.check(
        left_off is not None and relay.resumed_after[:1] == [left_off],
        f"the request that went over the wire asked for what follows {left_off}",
    )
    stage.check(
        [event.sequence for event in received] == list(range(len(received))),
        "no sequence is missing, and none came twice",
    )
    stage.check(
        [(event.sequence, event.event_id, event.payload) for event in received]
        == [(event.sequence, event.event_id, event.payload) for event in log.events],
        f"all {len(received)} events are those of the host's own log",
    )
    return f"{len(received)} events through 1 cut: 0 lost, 0 twice, reconnects={reconnects}"


def _chunk_or_node(event: RunEvent) -> str:
    return repr(event.payload["chunk"]) if event.type == EventType.OUTPUT_CHUNK else event.node_id or ""


def _tokens(text: str) -> list[str]:
    """What a model would write ``text`` in: its words, each with the space before it."""
    return text.replace(" ", "| ").split("|")


async def approve(stage: Stage) -> str:
    """Let a run ask for an approval, and give it."""
    client, output = stage.client, stage.output
    asked: list[Interrupt] = []

    async def decide(interrupt: Interrupt) -> dict[str, Any]:
        asked.append(interrupt)
        output.notice(f"the run waits: node {interrupt.node_id!r} asks for an {interrupt.kind}")
        question = interrupt.data if isinstance(interrupt.data, dict) else interrupt.data.to_wire()
        output.fields(
            {
                "question": str(question.get("title")),
                "about": str(question.get("artifactData")),
                "may be": ", ".join(question.get("actions", [])),
            }
        )
        output.line("answer: accept")
        return {"action": "accept", "feedback": "looks right"}

    run = await client.start("openwop-approval", inputs={"text": "Version 1.0: streams that resume."})
    snapshot = await run.result(on_interrupt=decide)

    stage.approved = run
    stage.runs += 1
    stage.check([interrupt.kind for interrupt in asked] == ["approval"], "the question was asked once")
    stage.check(snapshot.status == "completed", "the run went on with the answer, and completed")
    stage.check(_node(snapshot, "publish").get("status") == "completed", "it took the path of an approval")
    return "asked once, accepted, run completed"


async def stream_text(stage: Stage) -> str:
    """Show a model's text as it is written: here a mock model that is told what to say."""
    client, output = stage.client, stage.output
    tokens = _tokens("A run is a log of events. Whoever has the log, has the run.")
    mock = {"id": "stream-text", "config": {"tokens": tokens, "delayMsPerToken": 40}}

    run = await client.start("openwop-stream-text", configurable={"mockProvider": mock})
    pieces: list[str] = []
    with output.text("the model writes:") as shown:
        async for text in run.messages():
            shown.add(text)
            pieces.append(text)

    stage.runs += 1
    stage.check(
        pieces == tokens, f"the text came in {len(tokens)} tokens, and is what the model was told to say"
    )
    stage.check((await run.result()).status == "completed", "the run completed")
    return f"{len(pieces)} tokens, word for word"


async def fork_and_compare(stage: Stage) -> str:
    """Run the approved run again, then go back to its question and answer otherwise."""
    client, output = stage.client, stage.output
    run = stage.approved
    if run is None:
        raise DemoFailedError("there is no approved run to fork")

    replay = await run.fork(mode="replay")
    await replay.result()
    same = await run.diff(replay)
    output.line(f"replay {replay.id}: {len(same.event_diffs)} differences")

    # `from_seq` is the first event that is not history any more: back to where the question is asked.
    log = await client.runs.poll_events(run.id, wait=1)
    question = _first(log.events, EventType.INTERRUPT_REQUESTED)
    decision = _first(log.events, EventType.INTERRUPT_RESOLVED)
    branch = await run.fork(mode="branch", from_seq=question.sequence)

    async def reject(interrupt: Interrupt) -> dict[str, Any]:
        output.line(f"branch {branch.id}: asked again at node {interrupt.node_id!r}; answer: reject")
        return {"action": "reject", "feedback": "not this time"}

    other = await branch.result(on_interrupt=reject)
    different = await run.diff(branch)
    for difference in different.event_diffs:
        output.event(difference.seq, difference.op, _change(difference.a_event, difference.b_event))
    unchanged = await client.runs.poll_events(run.id, wait=1)

    stage.runs += 2
    stage.check(same.diverged_at_seq is None and not same.event_diffs, "a replay does the same again")
    stage.check(
        different.diverged_at_seq == decision.sequence,
        f"the branch differs from the decision on, {decision.sequence}",
    )
    stage.check(_node(other, "decline").get("status") == "completed", "it took the path of a rejection")
    stage.check(unchanged.events == log.events, "the run they were forked from is as it was")
    return f"replay equal, branch differs from {different.diverged_at_seq} on"


def _first(events: list[RunEvent], type: str) -> RunEvent:
    found = [event for event in events if event.matches(type)]
    if not found:
        raise DemoFailedError(f"there is no {type} in the log")
    return found[0]


def _change(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    one, two = _in_short(before), _in_short(after)
    return one if one == two else f"{one} -> {two}"


def _in_short(event: dict[str, Any] | None) -> str:
    if event is None:
        return "(nothing)"
    payload: dict[str, Any] = event.get("payload") or {}
    answer: dict[str, Any] = payload.get("resumeValue") or payload
    return " ".join(part for part in (event.get("type"), event.get("nodeId"), answer.get("action")) if part)


async def run_a_hundred(stage: Stage) -> str:
    """Run many runs at once over one client, a limited number of them at a time."""
    client, output = stage.client, stage.output
    limit = anyio.CapacityLimiter(AT_ONCE)
    answers: dict[int, Any] = {}
    run_ids: set[str] = set()
    failures: list[OpenwopError] = []
    most = 0

    async def one(number: int, progress: Progress) -> None:
        nonlocal most
        async with limit:
            most = max(most, limit.borrowed_tokens)
            inputs = {"delayMs": 20, "answer": f"This is run {number}."}
            try:
                snapshot = await client.execute("openwop-demo", inputs=inputs, timeout=50)
            except (
                OpenwopError
            ) as error:  # one run's failure is that run's outcome, not the end of the others
                failures.append(error)
            else:
                run_ids.add(snapshot.run_id)
                answers[number] = _node(snapshot, "write").get("outputs", {}).get("text")
            progress.advance()

    with output.progress(RUNS, "runs") as progress:
        async with anyio.create_task_group() as tasks:
            for number in range(RUNS):
                tasks.start_soon(one, number, progress)

    if failures:
        raise failures[0]
    stage.runs += RUNS
    stage.check(len(run_ids) == RUNS, f"{RUNS} different runs completed, up to {most} at the same time")
    stage.check(
        answers == {number: f"This is run {number}." for number in range(RUNS)},
        "each gave the answer to its own input",
    )
    return f"{RUNS} completed, up to {most} at a time"


def _node(snapshot: RunSnapshot, node_id: str) -> dict[str, Any]:
    """What became of one node of a run; empty when the run never came to it."""
    state: dict[str, Any] = snapshot.node_states.get(node_id, {})
    return state


STEPS: list[tuple[str, Callable[[Stage], Awaitable[str]]]] = [
    ("Capabilities", read_capabilities),
    ("A run, live", follow_a_run),
    ("A cut connection", survive_a_cut),
    ("An approval", approve),
    ("A model's text", stream_text),
    ("Replay and branch", fork_and_compare),
    ("A hundred runs", run_a_hundred),
]
"""Each step's title, and the function that shows it; what the function returns stands in the summary."""
