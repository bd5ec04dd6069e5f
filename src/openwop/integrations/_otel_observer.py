"""The observer that makes spans and metrics of what it is told."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from openwop._core.operations import OPERATIONS
from openwop._core.progress import FanOutProgress
from openwop._core.redact import redact_text
from openwop._core.request import ApiRequest
from openwop._http.session import Shared
from openwop.errors import ApiError, OpenwopError

__all__ = ["Instruments", "OtelObserver"]

Attributes = dict[str, AttributeValue]

_NAMES = {operation.id: operation.resource for operation in OPERATIONS}
_RUN = re.compile(r"/runs/([^/?:]+)")
_WORKFLOW = re.compile(r"/workflows/([^/?:]+)")
_LONGEST_DESCRIPTION = 500
_FLUSH_EVERY = 256
# By the conventions for HTTP, which want other buckets than an SDK takes by itself.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_NO_TRACE_PARENT: Mapping[str, str] = {}


class Instruments:
    """The metrics.  None of them has an attribute that grows with the number of runs."""

    def __init__(self, meter: Meter) -> None:
        self.duration = meter.create_histogram(
            "http.client.request.duration", "s", "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )  # fmt: skip
        self.requests = meter.create_counter(
            "openwop.client.requests", "{request}", "Requests by operation and outcome; each attempt is one."
        )
        self.retries = meter.create_counter(
            "openwop.client.retries", "{retry}", "Attempts after the first of a call."
        )
        self.reconnects = meter.create_counter(
            "openwop.client.stream.reconnects", "{reconnect}", "Connections after the first of a stream."
        )
        self.events = meter.create_counter(
            "openwop.client.stream.events", "{event}", "Items that streams gave to the program."
        )
        self.in_flight = meter.create_up_down_counter(
            "openwop.client.fan_out.in_flight", "{run}", "Specs of fan-outs that have no outcome yet."
        )


class OtelObserver:
    """See :class:`openwop._core.observer.Observer`."""

    def __init__(
        self, shared: Shared, tracer: Tracer, instruments: Instruments, providers: tuple[object, object]
    ) -> None:
        self.tracer = tracer
        self.instruments = instruments
        self.providers = providers
        self._shared = shared
        self._servers: dict[str, Attributes] = {}

    def trace_id(self) -> str | None:
        """The current trace."""
        current = trace.get_current_span().get_span_context()
        return f"{current.trace_id:032x}" if current.is_valid else None

    def call(self, request: ApiRequest, body: object) -> _Call:
        """A span around all attempts."""
        name = _name_of(request)
        facts: Attributes = {"openwop.operation": name, "openwop.protocol_version": self._version()}
        if request.template:
            facts.update(_ids_in(request.target))
        facts.update(_ids_of(body, "workflow_id", "tenant_id", "scope_id"))
        if request.idempotency_key is not None:
            facts["openwop.idempotency.key_hash"] = hashlib.sha256(
                request.idempotency_key.encode()
            ).hexdigest()
        return _Call(self, f"openwop.{name}", facts)

    def attempt(self, request: ApiRequest) -> _Attempt:
        """A client span, in the conventions for HTTP."""
        return _Attempt(self, request, self.server_of(request.origin))

    def stream(self, run_id: str, modes: tuple[str, ...]) -> _Stream:
        """A span from its first step to its end."""
        facts: Attributes = {
            "openwop.operation": "runs.events",
            "openwop.protocol_version": self._version(),
            "openwop.run_id": run_id,
            "openwop.stream.modes": list(modes),
        }
        return _Stream(self, facts)

    def wait(self, name: str, *, workflow_id: str | None, run_id: str | None) -> _Wait:
        """A span around many calls."""
        ids = {"openwop.workflow_id": workflow_id, "openwop.run_id": run_id}
        return _Wait(self, f"openwop.{name}", {key: value for key, value in ids.items() if value is not None})

    def fan_out(self, concurrency: int, strategy: str) -> _FanOut:
        """A span around all the work."""
        facts: Attributes = {
            "openwop.fan_out.concurrency": concurrency,
            "openwop.fan_out.strategy": strategy,
        }
        return _FanOut(self, "openwop.fan_out", facts)

    def server_of(self, origin: str) -> Attributes:
        """The attributes that name a host.  A client has one: redirects are followed within an attempt."""
        known = self._servers.get(origin)
        if known is not None:
            return known
        parts = urlsplit(origin)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        made: Attributes = {"server.address": parts.hostname or "", "server.port": port}
        self._servers[origin] = made
        return made

    def _version(self) -> str:
        known = self._shared.capabilities
        return known.protocol_version if known is not None else str(self._shared.dialect.major)


class _Spanned:
    """A span that is current from the entering to the leaving of its context, which is in the same task."""

    kind = SpanKind.INTERNAL

    def __init__(self, observer: OtelObserver, name: str, facts: Attributes) -> None:
        self._observer = observer
        self._name = name
        self._facts = facts
        self._parent: Context | None = None
        self._token: Any = None
        self.span: Span = trace.INVALID_SPAN

    def __enter__(self) -> Self:
        tracer = self._observer.tracer
        self.span = tracer.start_span(self._name, self._parent, self.kind, self._facts)
        self._token = context.attach(trace.set_span_in_context(self.span, self._parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context.detach(self._token)
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            _note_error(self.span, error)
        self.span.end()


class _Call(_Spanned):
    def retrying(self, error: Exception, delay_s: float) -> None:
        self.span.add_event("openwop.retry", {"openwop.delay_s": delay_s, "error.type": _error_type(error)})

    def result(self, data: object) -> None:
        if self.span.is_recording():
            self.span.set_attributes(_ids_of(data, "run_id"))


class _Attempt(_Spanned):
    kind = SpanKind.CLIENT

    def __init__(self, observer: OtelObserver, request: ApiRequest, server: Attributes) -> None:
        template = request.template
        facts: Attributes = {"http.request.method": request.method, **server}
        if template:
            facts["url.template"] = template
        super().__init__(observer, f"{request.method} {template}" if template else request.method, facts)
        self._measured = dict(facts)
        self._operation = _name_of(request)
        if request.attempt:
            facts["http.request.resend_count"] = request.attempt
        self._resent = request.attempt > 0
        self._began_at = 0.0
        self._status: int | None = None
        self.headers: Mapping[str, str] = _NO_TRACE_PARENT

    def __enter__(self) -> Self:
        super().__enter__()
        self._began_at = time.monotonic()
        self.headers = _trace_context(self.span)
        return self

    def answered(self, status: int) -> None:
        self._status = status
        self.span.set_attribute("http.response.status_code", status)

    def _end(self, error: BaseException | None) -> None:
        status = self._status
        outcome: Attributes = {}
        if status is not None:
            outcome["http.response.status_code"] = status
        if status is not None and status >= 400:
            outcome["error.type"] = str(status)
            self.span.set_attribute("error.type", str(status))
            self.span.set_status(Status(StatusCode.ERROR))
            self.span.end()
        else:
            if error is not None:
                outcome["error.type"] = _error_type(error)
            super()._end(error)
        self._measure(outcome)

    def _measure(self, outcome: Mapping[str, AttributeValue]) -> None:
        instruments = self._observer.instruments
        instruments.duration.record(time.monotonic() - self._began_at, {**self._measured, **outcome})
        by_operation = {"openwop.operation": self._operation, **outcome}
        instruments.requests.add(1, by_operation)
        if self._resent:
            instruments.retries.add(1, {"openwop.operation": self._operation})


class _Wait(_Spanned):
    def note(self, *, run_id: str | None = None, status: str | None = None) -> None:
        if run_id is not None:
            self.span.set_attribute("openwop.run_id", run_id)
        if status is not None:
            self.span.set_attribute("openwop.run.status", status)


class _Stream:
    """A span that is never current while the stream yields, only for what the stream itself waits for."""

    def __init__(self, observer: OtelObserver, facts: Attributes) -> None:
        self._observer = observer
        self._facts = facts
        # Who asks for a stream is its parent, wherever it is iterated over.
        self._parent = context.get_current()
        self._around = self._parent
        self.span: Span = trace.INVALID_SPAN
        self._transport = "sse"
        self._reconnects = 0
        self._events = 0
        self._counted = 0

    def __enter__(self) -> Self:
        asked = trace.get_current_span(self._parent).get_span_context()
        here = trace.get_current_span().get_span_context()
        links = [Link(here)] if here.is_valid and here.trace_id != asked.trace_id else []
        self.span = self._observer.tracer.start_span(
            "openwop.runs.events", self._parent, SpanKind.INTERNAL, self._facts, links
        )
        self._around = trace.set_span_in_context(self.span, self._parent)
        self._events = self._counted = self._reconnects = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._count()
        # Leaving a loop early is no cancellation.
        if error is not None and not isinstance(error, GeneratorExit):
            _note_error(self.span, error)
        self.span.end()

    def within(self) -> AbstractContextManager[object]:
        return _Current(self._around)

    def opened(self, transport: str, *, again: bool) -> None:
        self._count()
        self._transport = transport
        self.span.add_event("openwop.stream.opened", {"openwop.stream.transport": transport})
        if again and transport == "sse":
            self._reconnects += 1
            self._observer.instruments.reconnects.add(1)

    def waiting(self, delay_s: float, reason: str) -> None:
        self._count()
        self.span.add_event(
            "openwop.stream.reconnecting", {"openwop.delay_s": delay_s, "openwop.reason": reason}
        )

    def delivered(self) -> None:
        self._events += 1
        if self._events - self._counted >= _FLUSH_EVERY:
            self._count()

    def over(self, *, skipped: int, gaps: int, last_sequence: int | None) -> None:
        facts: Attributes = {
            "openwop.stream.events": self._events,
            "openwop.stream.reconnects": self._reconnects,
            "openwop.stream.skipped": skipped,
            "openwop.stream.gaps": gaps,
            "openwop.stream.transport": self._transport,
        }
        if last_sequence is not None:
            facts["openwop.event_seq"] = last_sequence
        self.span.set_attributes(facts)

    def _count(self) -> None:
        new, self._counted = self._events - self._counted, self._events
        if new:
            self._observer.instruments.events.add(new, {"openwop.stream.transport": self._transport})


class _Current:
    """A context that is current for as long as this one is entered."""

    __slots__ = ("_around", "_token")

    def __init__(self, around: Context) -> None:
        self._around = around

    def __enter__(self) -> None:
        self._token = context.attach(self._around)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context.detach(self._token)


class _FanOut(_Spanned):
    def __init__(self, observer: OtelObserver, name: str, facts: Attributes) -> None:
        super().__init__(observer, name, facts)
        self._parent = context.get_current()  # its work runs in a task of its own

    def run(self, workflow_id: str) -> _FanOutRun:
        return _FanOutRun(self._observer, "openwop.fan_out.run", {"openwop.workflow_id": workflow_id})

    def over(self, progress: FanOutProgress, error: Exception | None) -> None:
        for end in ("completed", "failed", "cancelled", "errors", "throttled"):
            self.span.set_attribute(f"openwop.fan_out.{end}", getattr(progress, end))
        if error is not None:
            _note_error(self.span, error)


class _FanOutRun(_Spanned):
    def __enter__(self) -> Self:
        self._observer.instruments.in_flight.add(1)
        return super().__enter__()

    def ended(self, run_id: str | None, error: Exception | None) -> None:
        if run_id is not None:
            self.span.set_attribute("openwop.run_id", run_id)
        if error is not None:
            _note_error(self.span, error)

    def _end(self, error: BaseException | None) -> None:
        super()._end(error)
        self._observer.instruments.in_flight.add(-1)


def _name_of(request: ApiRequest) -> str:
    # The text of a raw request holds its path, and so has as many values as there are ids.
    return _NAMES.get(request.operation, "request") if request.template else "request"


def _ids_in(target: str) -> Attributes:
    found: Attributes = {}
    for name, pattern in (("openwop.run_id", _RUN), ("openwop.workflow_id", _WORKFLOW)):
        match = pattern.search(target)
        if match is not None:
            found[name] = unquote(match[1])
    return found


def _ids_of(value: object, *names: str) -> Attributes:
    found = {f"openwop.{name}": getattr(value, name, None) for name in names}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _trace_context(span: Span) -> Mapping[str, str]:
    current = span.get_span_context()
    if not current.is_valid:
        return _NO_TRACE_PARENT  # there is no SDK: the client makes a trace of its own, as without all this
    # The protocol wants this header, whatever the program has configured beside it.
    carrier = {
        "traceparent": f"00-{current.trace_id:032x}-{current.span_id:016x}-{int(current.trace_flags):02x}"
    }
    propagate.inject(carrier)
    return carrier


def _error_type(error: BaseException) -> str:
    # asyncio and trio have classes of their own for one thing.
    return type(error).__qualname__ if isinstance(error, Exception) else "cancelled"


def _note_error(span: Span, error: BaseException) -> None:
    """How something ended that did not end well.  A cancellation is not an error of what was cancelled."""
    if not isinstance(error, Exception):
        span.set_attribute("openwop.cancelled", True)
        return
    span.set_attribute("error.type", _error_type(error))
    if isinstance(error, ApiError) and error.status is not None:
        span.set_attribute("openwop.error.code", error.code)
    # What others raise may say anything, a credential for example; our own errors never do.
    text = redact_text(str(error))[:_LONGEST_DESCRIPTION] if isinstance(error, OpenwopError) else None
    span.set_status(Status(StatusCode.ERROR, text))
