"""Spans and metrics of a test, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

Point = tuple[dict[str, Any], Any]


class Telemetry:
    """Providers of a test's own, and what they were given."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.tracer_provider.get_tracer("test")

    @property
    def providers(self) -> dict[str, Any]:
        """The arguments of ``instrument``."""
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Every span that has ended, in the order of their ends."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of one name."""
        return [span for span in self.spans if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        """The one span of a name."""
        found = self.named(name)
        assert len(found) == 1, [span.name for span in self.spans]
        return found[0]

    def children(self, parent: ReadableSpan) -> list[str]:
        """The names of the spans right below one, in the order of their starts."""
        below = [span for span in self.spans if span.parent and span.parent.span_id == parent.context.span_id]
        return [span.name for span in sorted(below, key=lambda span: span.start_time or 0)]

    def points(self, metric: str) -> list[Point]:
        """Attributes and value of each series of a metric: a number, or the count of a histogram."""
        data = self._reader.get_metrics_data()
        found = [
            (dict(point.attributes), getattr(point, "count", None) or getattr(point, "value", None))
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]
        return sorted(found, key=str)

    def total(self, metric: str) -> Any:
        """The sum over all series of a metric."""
        return sum(value or 0 for _, value in self.points(metric))

    def everything(self) -> str:
        """All that was exported, as text."""
        data = self._reader.get_metrics_data()
        return "\n".join([*(span.to_json() for span in self.spans), data.to_json() if data else ""])


@contextmanager
def telemetry(sampler: Sampler = ALWAYS_ON) -> Iterator[Telemetry]:
    """Providers that are shut down at the end."""
    found = Telemetry(sampler)
    try:
        yield found
    finally:
        found.tracer_provider.shutdown()
        found.meter_provider.shutdown()
