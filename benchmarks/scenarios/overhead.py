"""What a resource method costs on top of the same request handed to the same transport by hand."""

from __future__ import annotations

from benchmarks.harness import Harness, median, ratio
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_TARGET = Target("CPU of a resource method over a bare request", 1.25, 1.10, ceiling=True)


def run(harness: Harness) -> list[Finding]:
    """Measure one request at a time and 50 at once; the target is the latter's."""
    value = None
    rows = []
    for concurrency in (1, 50):
        job = Job("openwop", "requests", count=harness.scale.requests, concurrency=concurrency)
        bare = Job("openwop", "bare_requests", count=harness.scale.requests, concurrency=concurrency)
        rounds = harness.rounds({"method": job, "bare": bare})
        value = ratio(rounds, "method", "bare", "cpu_s", "requests")
        assert value is not None
        per_request = [
            f"{median(rounds[name], 'cpu_s', 'requests') * 1e6:.0f}" for name in ("method", "bare")
        ]
        rows.append((f"{concurrency} at once", *per_request, f"{value:.2f}"))
    print_table("Own cost of a request, CPU µs", ("", "resource method", "bare request", "ratio"), rows)
    return [Finding(_TARGET, value)]
