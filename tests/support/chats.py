"""A development host on a port, in a thread of its own, with a workflow to chat with; and a scripted host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from anyio.from_thread import start_blocking_portal

from openwop.devhost import DevHost, WorkflowContext, WorkflowFailure
from support.fault_server import (
    FaultServer,
    Request,
    Script,
    error_response,
    event_doc,
    frame,
    json_response,
    snapshot_doc,
    sse_response,
)

TOKENS = [f"t{number} " for number in range(20)]
REPLY = "".join(TOKENS)


async def talk(ctx: WorkflowContext) -> dict[str, object]:
    """A conversation in which the message says what happens."""
    identity = {"conversationId": f"{ctx.run_id}:talk"}
    await ctx.interrupt("conversation.start", {**identity, "initialPrompt": "Hello."})
    while True:
        message = await ctx.interrupt("conversation.exchange", {**identity, "prompt": "And now?"})
        match message:
            case "bye":
                break
            case "nothing":
                continue
            case "fail":
                await ctx.stream_text(["so ", "far"])
                raise WorkflowFailure("acme_failed", "as it was told")
            case "approve":
                decision = await ctx.interrupt("approval", {"title": "Do it?"})
                await ctx.stream_text([decision["action"], "ed"])
            case "tool":
                call = {"agentId": "agent", "toolName": "search", "callId": "c-1"}
                await ctx.emit("agent.reasoned", {"agentId": "agent", "reasoning": "It must be looked up."})
                await ctx.emit("agent.toolCalled", {**call, "inputs": {"q": 1}})
                await ctx.emit("agent.toolReturned", {**call, "outcome": 2})
                await ctx.stream_text(["found"])
            case "slow":
                await ctx.stream_text(TOKENS, delay_s=0.02)
            case "hang":
                await ctx.stream_text(["a ", "b "])
                await ctx.sleep(3600)
            case "long":
                await ctx.stream_text(TOKENS)
            case _:
                await ctx.stream_text(["you ", "said ", json.dumps(message)])
    await ctx.interrupt("conversation.close", {**identity, "reason": "bye"})
    return {"text": "Goodbye."}


@contextmanager
def served_host() -> Iterator[tuple[DevHost, str]]:
    """A host that clients on any event loop reach over real sockets."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal("asyncio"))
        host: DevHost = portal.call(_make)
        stack.enter_context(portal.wrap_async_context_manager(host))
        yield host, stack.enter_context(portal.wrap_async_context_manager(host.serve()))


async def _make() -> DevHost:
    host = DevHost()
    host.workflow("talk")(talk)
    return host


class ScriptedChat:
    """A host whose only run holds a conversation: each answer brings about the events that ``replies`` gives for it.

    ``gate``: one interrupt stays open for all of it, as some hosts have it.  ``modes`` are those that it streams.
    """

    def __init__(
        self, server: FaultServer, replies: dict[Any, list[dict[str, Any]]], *, gate: bool = False
    ) -> None:
        self.replies = replies
        self.gate = gate
        self.log: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self.keys: list[str] = []
        self.modes = {"debug", "messages", "updates"}
        self.asked_modes: list[str] = []
        self.waits = 0
        self.status = "running"
        self.before_answers: list[Script] = []
        self.before_streams: list[Script] = []
        server.on("POST", "/v1/runs", json_response(201, {"runId": "run-1", "status": "pending"}))
        server.on("GET", "/v1/runs/{id}", self._snapshot)
        server.on("GET", "/v1/runs/{id}/events", self._stream)
        server.on("GET", "/v1/runs/{id}/events/poll", self._poll)
        server.on("POST", "/v1/runs/{id}/interrupts/{node}", self._answer)
        self.add("run.started")
        self.ask()

    def add(self, type: str, payload: dict[str, Any] | None = None, node: str | None = "gate") -> None:
        """Put an event into the log."""
        self.log.append(event_doc(len(self.log), type, nodeId=node, payload=payload or {}))

    def chunk(self, text: str) -> None:
        """Put a piece of text into the log."""
        self.add("output.chunk", {"nodeId": "gate", "runId": "run-1", "chunk": text, "isLast": False})

    def ask(self) -> None:
        """Wait for a message."""
        self.waits += 1
        self.status = "waiting-approval"
        data: dict[str, Any] = {"conversationId": "c-1", "prompt": f"Question {self.waits}?"}
        kind = "conversation" if self.gate else "conversation.exchange"
        if self.gate:
            data = {"operation": "start", "conversationId": "c-1"}
        payload = {"kind": kind, "key": f"key-{self.waits}", "data": data, "nodeId": "gate"}
        self.add("interrupt.requested", payload)

    def take(self, value: Any) -> None:
        """Take a message, and let happen what it brings about."""
        message = value["turn"]["content"] if self.gate else value
        self.answers.append(value)
        if not self.gate:
            self.add("interrupt.resolved", {"nodeId": "gate", "interruptId": "i", "resumeValue": value})
        for document in self.replies[message]:
            self.add(document["type"], document.get("payload"))
        if not self.gate:
            self.ask()

    def _answer(self, request: Request) -> Script:
        key = request.headers["idempotency-key"]
        if self.before_answers:
            return self.before_answers.pop(0)
        if key not in self.keys:
            self.keys.append(key)
            self.take(request.json()["resumeValue"])
        return json_response(200, {})

    def _snapshot(self, request: Request) -> Script:
        return json_response(200, snapshot_doc(self.status, currentNodeId="gate"))

    def _poll(self, request: Request) -> Script:
        after = int(request.query.get("lastSequence", ["-1"])[0])
        events = [event for event in self.log if event["sequence"] > after]
        return json_response(200, {"events": events, "isComplete": False})

    def _stream(self, request: Request) -> Script:
        modes = request.query["streamMode"][0].split(",")
        self.asked_modes.append(",".join(modes))
        if not self.modes.issuperset(modes):
            details = {"supported": sorted(self.modes)}
            return error_response(400, "unsupported_stream_mode", details=details)
        if self.before_streams:
            return self.before_streams.pop(0)
        after = int(request.headers.get("last-event-id", "-1"))
        return sse_response(*self.frames(modes, after))  # it is cut off there, and the client comes again

    def frames(self, modes: list[str], after: int) -> list[bytes]:
        """What a stream shows behind ``after``."""
        found: list[bytes] = []
        for event in self.log:
            if event["sequence"] <= after:
                continue
            if event["type"] == "output.chunk" and "messages" in modes:
                found.append(frame(event["payload"], id=event["sequence"], event="messages"))
            elif "debug" in modes or event["type"].startswith(("interrupt.", "run.", "node.")):
                found.append(frame(event))
        return found
