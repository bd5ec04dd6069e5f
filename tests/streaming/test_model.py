"""Random faults against a log: what comes out is the log, once and in order, or a typed error.

The host here is a model of one: it knows the log, obeys or ignores ``Last-Event-ID``, and does whatever the script of
faults says.  Nothing waits for real time.
"""

from __future__ import annotations

import random as dice
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.admission import admitted
from openwop._core.dialect import V1
from openwop.errors import ConnectionFailedError, OpenwopError, StreamDecodeError, StreamLostError
from openwop.models.events import EventPage, RunEvent
from openwop.models.runs import RunSnapshot
from openwop.streaming import AsyncEventStream, StreamSettings
from support.fault_steps import RUN_ID, batch_frame, event_doc, frame, snapshot_doc
from support.scripted_source import BROKEN, SILENT, FakeTime, Opened, refusal

TYPES = ["node.completed", "node.started", "node.failed", "acme.thing", "log.appended", "interrupt.requested"]


@dataclass(frozen=True)
class Fault:
    """What happens to one attempt."""

    kind: str
    overlap: int = 0
    """How many events before the cursor are sent again; -1: the cursor is ignored."""
    cut: float = 1.0
    """How much of the body comes, by bytes."""
    piece: int = 10_000
    batch: int = 1
    garbled: frozenset[int] = frozenset()
    """Places in the body, not in the log, so that another attempt has other ones."""
    retry_ms: int | None = None


FAULTS = st.builds(
    Fault,
    kind=st.sampled_from(
        ["broken", "clean", "silent", "refused", "503", "429", "400", "401", "405", "204", "html", "json"]
    ),
    overlap=st.integers(-1, 4),
    cut=st.floats(0.0, 1.0),
    piece=st.sampled_from([1, 7, 100, 10_000]),
    batch=st.integers(1, 4),
    garbled=st.frozensets(st.integers(0, 6), max_size=2),
    retry_ms=st.sampled_from([None, None, 0, 100, 10**6]),
)


@dataclass
class Host:
    """One run on a host that filters by mode, names its events in some way, and fails as told."""

    log: list[dict[str, Any]]
    faults: list[Fault]
    ids: str = "sequence"
    polls: str = "yes"
    page_size: int = 100
    known: int = 0
    """How much of the log has happened; it grows with each attempt, and all of it has after the last fault."""
    time: FakeTime = field(default_factory=FakeTime)
    run_id: str = RUN_ID
    dialect: Any = V1
    poll_count: int = 0

    def name(self, sequence: int) -> str | None:
        return {"sequence": str(sequence), "opaque": f"evt-{sequence}", "none": None}[self.ids]

    def happen(self) -> None:
        self.known = len(self.log) if not self.faults else min(len(self.log), self.known + 2)

    async def open(self, modes: tuple[str, ...], last_event_id: str | None, buffer_ms: int | None) -> Opened:
        await anyio.lowlevel.checkpoint()
        fault = self.faults.pop(0) if self.faults else Fault("clean")
        self.happen()
        if fault.kind == "refused":
            raise ConnectionFailedError("refused")
        if fault.kind.isdigit() and fault.kind != "204":
            raise refusal(int(fault.kind))
        if fault.kind == "204":
            return Opened(status=204, content_type="")
        if fault.kind == "html":
            return Opened([b"<html>please log in</html>"], content_type="text/html")
        start = 0
        if last_event_id is not None and fault.overlap >= 0:
            names = {doc["eventId"]: doc["sequence"] for doc in self.log} | {
                str(doc["sequence"]): doc["sequence"] for doc in self.log
            }
            start = max(0, names[last_event_id] + 1 - fault.overlap)
        docs = [doc for doc in self.log[start : self.known] if admitted(doc["type"], modes)]
        if fault.kind == "json":
            return Opened(
                [EventPage(events=[*map(_event, docs)]).model_dump_json().encode()],
                content_type="application/json",
            )
        body = self.body(docs, fault)
        over = self.known == len(self.log)
        if not (fault.kind == "clean" and fault.cut == 1.0 and over):
            body = body[: int(len(body) * fault.cut)]
        pieces = [body[place : place + fault.piece] for place in range(0, len(body), fault.piece)]
        return Opened(pieces, {"broken": BROKEN, "silent": SILENT}.get(fault.kind))

    def body(self, docs: list[dict[str, Any]], fault: Fault) -> bytes:
        body = b": hello\n\n" if fault.retry_ms is None else b"retry: %d\n\n" % fault.retry_ms
        place = 0
        while docs:
            taken, docs = docs[: fault.batch], docs[fault.batch :]
            number = self.name(taken[-1]["sequence"])
            if place in fault.garbled:
                body += frame(b'{"type": "node.com', id=number, event=None)
            elif len(taken) > 1:
                body += batch_frame(taken, id=number)
            else:
                body += frame(taken[0], id=number)
            place += 1
        return body

    async def poll(self, after: int | None, wait: int) -> EventPage:
        await anyio.lowlevel.checkpoint()
        self.poll_count += 1
        assert self.poll_count < 1000, "it polls and polls"
        self.happen()
        if self.polls == "no":
            raise refusal(404)
        if self.polls == "rarely" and self.poll_count % 3:
            raise refusal(503)
        docs = [doc for doc in self.log[: self.known] if after is None or doc["sequence"] > after][
            : self.page_size
        ]
        return EventPage(events=[*map(_event, docs)], is_complete=self.known == len(self.log))

    async def snapshot(self) -> RunSnapshot:
        await anyio.lowlevel.checkpoint()
        over = self.known == len(self.log)
        return RunSnapshot.model_validate(snapshot_doc("completed" if over else "running"))


def _event(doc: Mapping[str, Any]) -> RunEvent:
    return RunEvent.model_validate(doc)


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    middle = draw(st.lists(st.sampled_from(TYPES), max_size=12))
    types = ["run.started", *middle, draw(st.sampled_from(["run.completed", "run.failed", "run.cancelled"]))]
    return Host(
        log=[event_doc(number, kind) for number, kind in enumerate(types)],
        faults=draw(st.lists(FAULTS, max_size=14)),
        ids=draw(st.sampled_from(["sequence", "opaque", "none"])),
        polls=draw(st.sampled_from(["yes", "yes", "no", "rarely"])),
        page_size=draw(st.integers(1, 100)),
    )


async def _run(host: Host, mode: str, after: int | None) -> tuple[list[RunEvent], OpenwopError | None, Any]:
    seeded = dice.Random(0)
    settings = StreamSettings(clock=host.time.clock, sleep=host.time.sleep, random=seeded.random)
    stream: AsyncEventStream[RunEvent] = AsyncEventStream(host, mode, after=after, settings=settings)
    items: list[RunEvent] = []
    error: OpenwopError | None = None
    with anyio.fail_after(20):
        try:
            async for item in stream:
                assert stream.last_sequence == item.sequence
                items.append(item)
        except OpenwopError as raised:
            error = raised
    return items, error, stream


@given(hosts(), st.sampled_from(["debug", "updates"]), st.none() | st.integers(0, 3))
def test_whatever_happens_the_log_comes_once_and_in_order_or_a_typed_error(
    host: Host, mode: str, after: int | None
) -> None:
    """Model-based: R17, R19 and all that may happen to a connection."""
    faults = list(host.faults)
    if after is not None and after >= len(host.log):
        after = None
    expected = [
        doc["sequence"]
        for doc in host.log
        if admitted(doc["type"], (mode,)) and (after is None or doc["sequence"] > after)
    ]
    items, error, stream = anyio.run(_run, host, mode, after)
    found = [item.sequence for item in items]
    # What came is in order and without a repetition, and nothing was left out before the last of it.  Only on a host
    # that lets nobody read its log may something be missing: an event that was garbled in a stream that filters, and
    # what comes behind an answer that was cut off in order when the run was over.
    readable = host.polls != "no"
    garbled = any(fault.garbled for fault in faults)
    cut = any(fault.kind == "clean" for fault in faults)
    if readable or mode == "debug" or not garbled:
        assert found == expected[: len(found)]
    else:
        assert found == sorted(set(found))
        assert set(found) <= set(expected)
        assert stream.skipped or found == expected[: len(found)]
    assert stream.gaps == 0
    if error is None and (readable or not (garbled or cut)):
        assert found == expected
    if isinstance(error, StreamDecodeError):
        assert host.polls == "no"
        assert any(fault.garbled for fault in faults)
    elif isinstance(error, StreamLostError):
        assert error.cursor == stream.cursor
        assert len(faults) >= 8 or any(fault.kind == "204" for fault in faults)
    elif error is not None:
        assert {fault.kind for fault in faults} & {
            "401",
            "400",
            "405",
            "html",
            "json",
            "503",
            "429",
            "refused",
            "204",
        }


@given(hosts())
def test_a_lost_stream_goes_on_where_it_stopped(host: Host) -> None:
    """``StreamLostError.cursor`` given to a new stream: together they are the log."""
    host.polls = "yes"

    async def scenario() -> list[int]:
        found: list[int] = []
        cursor: int | str | None = None
        for _ in range(40):
            settings = StreamSettings(clock=host.time.clock, sleep=host.time.sleep, random=lambda: 0.5)
            stream: AsyncEventStream[RunEvent] = AsyncEventStream(
                host, "debug", after=cursor, settings=settings
            )
            try:
                with anyio.fail_after(20):
                    async for item in stream:
                        found.append(item.sequence)
                return found
            except OpenwopError:
                cursor = stream.cursor
        raise AssertionError("the host's faults are endless")

    assert anyio.run(scenario) == [doc["sequence"] for doc in host.log]
