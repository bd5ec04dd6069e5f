"""One long stream: CPU and time per event, for each way in which hosts cut their bodies."""

from __future__ import annotations

from benchmarks.bodies import FRAMINGS
from benchmarks.harness import Harness, Rounds, label, median, ratio
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_EVERYWHERE = ("openwop", "openwop-httpx", "tutorial", "reference", "floor")
_CONTENDERS = {
    "event": ("openwop", "openwop-debug", "openwop-httpx", "httpx-decoder", "tutorial", "reference", "floor")
}

_TARGETS = {
    ("event", "reference", "openwop"): Target("stream, one event per chunk, against the reference", 3.0, 3.6),
    ("event", "tutorial", "openwop"): Target(
        "stream, one event per chunk, against httpx + httpx-sse", 3.0, 3.8
    ),
    ("event", "floor", "openwop"): Target("stream, one event per chunk, of the floor", 0.78, 0.90),
    ("big", "reference", "openwop"): Target("stream, large chunks, against the reference", 3.5, 4.1),
    ("big", "tutorial", "openwop"): Target("stream, large chunks, against httpx + httpx-sse", 1.5, 1.75),
    ("big", "floor", "openwop"): Target("stream, large chunks, of the floor", 0.82, 0.93),
    ("event", "reference", "openwop-httpx"): Target(
        "stream over stock httpx, one event per chunk, against the reference", 1.0, 1.2
    ),
    ("big", "reference", "openwop-httpx"): Target(
        "stream over stock httpx, large chunks, against the reference", 1.0, 1.2
    ),
}


def run(harness: Harness) -> list[Finding]:
    """Measure every framing."""
    findings = []
    for framing, meaning in FRAMINGS.items():
        jobs = {
            name: Job(name, "stream", run_id=f"bench.{framing}.{harness.scale.events}")
            for name in harness.present(*_CONTENDERS.get(framing, _EVERYWHERE))
        }
        rounds = harness.rounds(jobs)
        _check_counts(rounds, harness.scale.events)
        _print(f"Streams: {harness.scale.events} events, {meaning}", rounds)
        findings += [
            Finding(target, ratio(rounds, above, below))
            for (where, above, below), target in _TARGETS.items()
            if where == framing
        ]
    return findings


def _check_counts(rounds: Rounds, expected: int) -> None:
    for name, entries in rounds.items():
        for entry in entries:
            if entry["events"] != expected:
                raise RuntimeError(f"{name} saw {entry['events']} of {expected} events")


def _print(title: str, rounds: Rounds) -> None:
    rows = []
    for name, entries in rounds.items():
        against = ratio(rounds, "reference", name)
        rows.append(
            (
                label(name),
                f"{median(entries, 'cpu_s', 'events') * 1e6:.2f}",
                f"{median(entries, 'wall_s', 'events') * 1e6:.2f}",
                "–" if against is None else f"{against:.2f}",
            )
        )
    print_table(title, ("contender", "CPU µs/event", "time µs/event", "× reference"), rows)
