"""The blocking client: what a call costs over the async client and over a plain portal, and an event of a stream."""

from __future__ import annotations

from benchmarks.harness import Harness, label, median, ratio
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_CALL = Target("blocking call against a bare portal.call of the async client", 1.3, 1.15, ceiling=True)
_STREAMS = {
    "event": Target("blocking stream, one event per chunk, against the reference's", 1.7, 2.2),
    "big": Target("blocking stream, large chunks, against the reference's", 1.7, 2.2),
}


def run(harness: Harness) -> list[Finding]:
    """Measure calls, then streams."""
    return [*_calls(harness), *_streams(harness)]


def _calls(harness: Harness) -> list[Finding]:
    rows = []
    findings = []
    for task, concurrency, contenders in (
        ("crossings", 1, ("openwop-blocking", "openwop-portal")),
        ("requests", 1, ("openwop-blocking", "openwop-portal", "openwop", "reference")),
        ("requests", 50, ("openwop-blocking", "openwop-portal", "openwop", "reference")),
    ):
        rounds = harness.rounds(
            {
                name: Job(name, task, count=harness.scale.requests, concurrency=concurrency)
                for name in harness.present(*contenders)
            }
        )
        for name, entries in rounds.items():
            against = ratio(rounds, name, "openwop-portal", "cpu_s", "requests")
            rows.append(
                (
                    f"{'an empty call' if task == 'crossings' else f'{concurrency} at once'}: {label(name)}",
                    f"{median(entries, 'cpu_s', 'requests') * 1e6:.0f}",
                    f"{median(entries, 'wall_s', 'requests') * 1e6:.0f}",
                    "–" if against is None else f"{against:.2f}",
                )
            )
        if (task, concurrency) == ("requests", 1):
            value = ratio(rounds, "openwop-blocking", "openwop-portal", "cpu_s", "requests")
            findings.append(Finding(_CALL, value))
    print_table("Blocking calls", ("", "CPU µs/call", "time µs/call", "× portal.call"), rows)
    return findings


def _streams(harness: Harness) -> list[Finding]:
    rows = []
    findings = []
    for framing, target in _STREAMS.items():
        run_id = f"bench.{framing}.{harness.scale.events}"
        contenders = harness.present("openwop-blocking", "openwop", "reference")
        rounds = harness.rounds({name: Job(name, "stream", run_id=run_id) for name in contenders})
        for name, entries in rounds.items():
            if any(entry["events"] != harness.scale.events for entry in entries):
                raise RuntimeError(f"{name} saw {entries} instead of {harness.scale.events} events")
            against = ratio(rounds, "reference", name)
            rows.append(
                (
                    f"{framing}: {label(name)}",
                    f"{median(entries, 'cpu_s', 'events') * 1e6:.2f}",
                    f"{median(entries, 'wall_s', 'events') * 1e6:.2f}",
                    "–" if against is None else f"{against:.2f}",
                )
            )
        findings.append(Finding(target, ratio(rounds, "reference", "openwop-blocking")))
    print_table(
        f"Blocking streams: {harness.scale.events} events",
        ("", "CPU µs/event", "time µs/event", "× reference"),
        rows,
    )
    return findings
