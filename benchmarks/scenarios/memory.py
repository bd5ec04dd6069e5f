"""Whether the memory of a stream grows with its length: peaks of short, long and very long streams."""

from __future__ import annotations

from benchmarks.harness import Harness, median
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_MIB = 1024 * 1024
# The shortest stream ends before its buffers are full; from there on nothing may grow. What is left for noise of the
# allocator is far less than the 300 MB that go over the wire.
_FLAT = Target(
    "peak memory of a stream, from the middle length to the longest", 2.0, 0.5, "MiB", ceiling=True
)
_BUFFERS = Target("peak memory of a stream, from 1,000 events to the longest", 8.0, 4.0, "MiB", ceiling=True)


def run(harness: Harness) -> list[Finding]:
    """Measure with one event per chunk and with large chunks."""
    findings: list[Finding] = []
    rows = []
    lengths = harness.scale.memory_events
    worst = [0.0, 0.0]
    for framing in ("event", "big"):
        rounds = harness.rounds(
            {str(length): Job("openwop", "stream", run_id=f"bench.{framing}.{length}") for length in lengths}
        )
        peaks = [median(rounds[str(length)], "peak_bytes") / _MIB for length in lengths]
        rows.append((framing, *(f"{peak:.1f}" for peak in peaks)))
        worst = [max(worst[0], peaks[-1] - peaks[-2]), max(worst[1], peaks[-1] - peaks[0])]
    print_table(
        "Peak memory of one stream, MiB", ("framing", *(f"{length} events" for length in lengths)), rows
    )
    findings += [Finding(_FLAT, worst[0]), Finding(_BUFFERS, worst[1])]
    return findings
