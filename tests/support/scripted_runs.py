"""A host of many runs on the fault server: each run's inputs say what becomes of it."""

from __future__ import annotations

import threading
from typing import Any

import anyio

from openwop import AsyncFanOut, RunOutcome, RunSpec
from support.fault_server import (
    FaultServer,
    Request,
    Route,
    Script,
    WaitFor,
    error_response,
    event_doc,
    frame,
    json_response,
    snapshot_doc,
    sse_response,
)

ENDS = {"completed": "run.completed", "failed": "run.failed", "cancelled": "run.cancelled"}


class ScriptedRuns:
    """Runs by idempotency key.  A spec's ``inputs["end"]`` is how its run ends; ``"open"`` is until it is cancelled.

    :attr:`hold` keeps the runs from ending until it is set.
    """

    def __init__(self, server: FaultServer) -> None:
        self.hold: threading.Event | None = None
        self.refusals: list[Script] = []
        """Answers to the next starts, each used once; the same for streams and reads below."""
        self.before_streams: list[Script] = []
        self.before_reads: list[Script] = []
        self.runs: dict[str, str] = {}
        """The end of each run, by its id."""
        self.started: list[str] = []
        """The keys of all starts, refused ones included."""
        self.cancelled: set[str] = set()
        self._by_key: dict[str, str] = {}
        self._lock = threading.Lock()
        self.creates: Route = server.on("POST", "/v1/runs", self._create)
        self.streams: Route = server.on("GET", "/v1/runs/{id}/events", self._events)
        self.reads: Route = server.on("GET", "/v1/runs/{id}", self._snapshot)
        server.on("POST", "/v1/runs/{id}/cancel", self._cancel)

    def _create(self, request: Request) -> Script:
        key = request.headers["idempotency-key"]
        inputs: dict[str, Any] = request.json().get("inputs") or {}
        with self._lock:
            self.started.append(key)
            if self.refusals:
                return self.refusals.pop(0)
            if inputs.get("end") == "refused":
                return error_response(400, "validation_error", "no such thing")
            run_id = self._by_key.setdefault(key, f"run-{len(self._by_key)}")
            self.runs.setdefault(run_id, inputs.get("end", "completed"))
        return json_response(201, {"runId": run_id, "status": "pending"})

    def _events(self, request: Request) -> Script:
        with self._lock:
            if self.before_streams:
                return self.before_streams.pop(0)
        run_id = request.params["id"]
        end = self.runs[run_id]
        first = frame(event_doc(0, "run.started", runId=run_id))
        if end == "open":
            return sse_response(first, WaitFor(threading.Event()))
        last = frame(event_doc(1, ENDS[end], runId=run_id))
        return sse_response(first, *([WaitFor(self.hold)] if self.hold is not None else []), last)

    def _snapshot(self, request: Request) -> Script:
        with self._lock:
            if self.before_reads:
                return self.before_reads.pop(0)
        run_id = request.params["id"]
        end = self.runs[run_id]
        going = run_id not in self.cancelled and (
            end == "open" or (self.hold is not None and not self.hold.is_set())
        )
        status = "running" if going else "cancelled" if run_id in self.cancelled else end
        error = {"error": {"code": "internal_error", "message": "no"}} if status == "failed" else {}
        return json_response(200, snapshot_doc(status, runId=run_id, **error))

    def _cancel(self, request: Request) -> Script:
        with self._lock:
            self.cancelled.add(request.params["id"])
        return json_response(200, {"runId": request.params["id"], "status": "cancelling"})


def specs(count: int, end: str = "completed") -> list[RunSpec]:
    """So many specs whose runs end like this."""
    return [RunSpec("w", inputs={"end": end}, key=f"{end}-{number}") for number in range(count)]


async def collect(outcomes: AsyncFanOut, found: list[RunOutcome] | None = None) -> list[RunOutcome]:
    """Read all outcomes, into ``found`` where what comes before an error is of interest."""
    found = [] if found is None else found
    with anyio.fail_after(40):  # only so that a hang is told from slowness
        async with outcomes:
            async for outcome in outcomes:
                found.append(outcome)
    return found
