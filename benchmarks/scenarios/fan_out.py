"""Many short runs: what a fan-out costs beside a loop by hand, and beside the bare requests, and whether it grows."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.harness import Harness, development_host, median, ratio
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_AGAINST_BARE = Target("CPU of a run by fan_out over its three requests made bare", 1.5, 1.25, ceiling=True)
_AGAINST_HAND = Target("CPU of a run by fan_out over a semaphore and gather", 1.2, 1.05, ceiling=True)
_FLAT = Target("peak memory of fan_out, ten times the runs", 1.1, 1.05, ceiling=True)
_LABELS = {
    "fan_out": "client.fan_out",
    "hand_written_fan_out": "execute, semaphore, gather",
    "bare_runs": "the three requests, bare",
}


def run(harness: Harness) -> list[Finding]:
    """Measure with 200 in flight, and a tenth of the runs for the memory: first a server that computes nothing."""
    findings = _measure(harness, "a server that computes nothing", "wf.done")
    with development_host(harness) as host:
        return findings + _measure(host, "the development host", "conformance-noop")


def _measure(harness: Harness, server: str, workflow_id: str) -> list[Finding]:
    count = harness.scale.runs
    jobs = {
        name: Job("openwop", name, count=count, concurrency=200, workflow_id=workflow_id) for name in _LABELS
    }
    jobs["few"] = replace(jobs["fan_out"], count=count // 10)
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
    title = f"{count} short runs, 200 at once, against {server}"
    print_table(title, ("", "CPU ms/run", "runs/s", "peak MiB"), rows)
    return [
        Finding(_of(_AGAINST_BARE, server), ratio(rounds, "fan_out", "bare_runs", "cpu_s", "runs")),
        Finding(
            _of(_AGAINST_HAND, server), ratio(rounds, "fan_out", "hand_written_fan_out", "cpu_s", "runs")
        ),
        Finding(_of(_FLAT, server), ratio(rounds, "fan_out", "few", "peak_bytes")),
    ]


def _of(target: Target, server: str) -> Target:
    return replace(target, text=f"{target.text}, {server}")
