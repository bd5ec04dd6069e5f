"""Many short runs: what a fan-out costs beside a loop by hand, and beside the bare requests, and whether it grows."""

from __future__ import annotations

from benchmarks.harness import Harness, median, ratio
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_AGAINST_BARE = Target("CPU of a run by fan_out over its three requests made bare", 1.5, 1.25, ceiling=True)
_AGAINST_HAND = Target("CPU of a run by fan_out over a semaphore and gather", 1.2, 1.05, ceiling=True)
_FLAT = Target("peak memory of fan_out, ten times the runs", 1.1, 1.05, ceiling=True)
_LABELS = {
    "fan_out": "client.fan_out",
    "hand_written": "execute, semaphore, gather",
    "bare": "the three requests, bare, on the same transport",
}


def run(harness: Harness) -> list[Finding]:
    """Measure with 200 in flight, and a tenth of the runs for the memory."""
    count = harness.scale.runs
    jobs = {name: Job("openwop-runs", name, count=count, concurrency=200) for name in _LABELS}
    jobs["few"] = Job("openwop-runs", "fan_out", count=count // 10, concurrency=200)
    rounds = harness.rounds(jobs)
    rows = [
        (
            label,
            f"{median(rounds[name], 'cpu_s', 'runs') * 1e3:.2f}",
            f"{1 / median(rounds[name], 'wall_s', 'runs'):.0f}",
            f"{median(rounds[name], 'peak_bytes') / 2**20:.0f}",
        )
        for name, label in _LABELS.items()
        if name in rounds
    ]
    print_table(f"{count} short runs, 200 at once", ("", "CPU ms/run", "runs/s", "peak MiB"), rows)
    return [
        Finding(_AGAINST_BARE, ratio(rounds, "fan_out", "bare", "cpu_s", "runs")),
        Finding(_AGAINST_HAND, ratio(rounds, "fan_out", "hand_written", "cpu_s", "runs")),
        Finding(_FLAT, ratio(rounds, "fan_out", "few", "peak_bytes")),
    ]
