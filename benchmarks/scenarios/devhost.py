"""What the development host gets done: finished runs per second of its CPU, and the memory that stored runs take."""

from __future__ import annotations

from benchmarks.harness import Harness, median
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_WAYS = {
    "engine": "no HTTP",
    "application": "requests in the same process",
    "served": "requests over a socket",
}
_PLACES = {"devhost-memory": "in memory", "devhost-file": "in a file"}
_MB = 1_000_000
STORED = 10_000

_RATE = Target(
    "no-op runs per CPU second, requests in the same process, in memory", 1_000, 2_000, "", note=True
)
_MEMORY = Target("10,000 stored runs of 100 events, in memory", 600, 500, "MB", ceiling=True)
_COMMIT = Target("99 of 100 commits to the file hold up the loop for", 10, 2, "ms", ceiling=True, note=True)


def run(harness: Harness) -> list[Finding]:
    """Measure runs that do nothing, in three ways and two places, and then many runs that have said a lot."""
    jobs = {
        f"{place} {way}": Job(place, way, count=harness.scale.host_runs) for place in _PLACES for way in _WAYS
    }
    rounds = harness.rounds(jobs)
    rates = {name: 1 / median(found, "cpu_s", "requests") for name, found in rounds.items()}
    print_table(
        "Finished no-op runs per second of the host's CPU",
        ("the host is reached by", *_PLACES.values()),
        [
            (
                text,
                *(f"{rates[name]:.0f}" if (name := f"{place} {way}") in rates else "–" for place in _PLACES),
            )
            for way, text in _WAYS.items()
        ],
    )
    findings = [Finding(_RATE, rates.get("devhost-memory application"))]
    in_file = rounds.get("devhost-file application")
    if in_file is None:
        findings.append(Finding(_COMMIT, None))
    else:
        p99, longest = (median(in_file, name) * 1000 for name in ("commit_p99_s", "commit_max_s"))
        print(
            f"\n  a commit takes at most {p99:.2f} ms in 99 of 100 cases; the longest took {longest:.1f} ms"
        )
        findings.append(Finding(_COMMIT, p99))
    return [*findings, _stored(harness)]


def _stored(harness: Harness) -> Finding:
    count = harness.scale.host_stored
    sizes = {place: harness.run(Job(place, "stored", count=count)) for place in _PLACES}
    print_table(
        f"The host's process with {count:,} finished runs of 100 events",
        ("runs are kept", "MB", "of it for the runs", "CPU s"),
        [
            (text, *(f"{sizes[place][name] / scale:.1f}" for name, scale in columns))
            for place, text in _PLACES.items()
            for columns in [(("bytes", _MB), ("grown_bytes", _MB), ("cpu_s", 1))]
        ],
    )
    found = sizes["devhost-memory"]
    fixed = found["bytes"] - found["grown_bytes"]
    return Finding(_MEMORY, (fixed + found["grown_bytes"] * STORED / count) / _MB)
