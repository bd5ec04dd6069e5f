"""Spans and metrics of a client, printed instead of sent somewhere."""

import asyncio

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from openwop.devhost import DevHost
from openwop.integrations.otel import instrument

exporter = InMemorySpanExporter()
reader = InMemoryMetricReader()


def set_up() -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))


async def main() -> None:
    set_up()
    async with DevHost() as host, host.client() as client:
        # --8<-- [start:instrument]
        instrumentation = instrument(client)
        with trace.get_tracer("my.service").start_as_current_span("answer a customer"):
            await client.execute("conformance-noop")
        # --8<-- [end:instrument]
        instrumentation.uninstrument()
        await client.execute("conformance-noop")  # nobody sees this one
    for span in sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0):
        print(span.name)


if __name__ == "__main__":
    asyncio.run(main())
