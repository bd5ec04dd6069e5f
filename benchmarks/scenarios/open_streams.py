"""Many open streams: opening them, an event per second on each or none, memory, and short requests beside them."""

from __future__ import annotations

from benchmarks.harness import Harness, label, median, ratio
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_CONTENDERS = ("openwop", "openwop-httpx", "httpx-decoder", "tutorial", "floor")
_STOCK = "httpx-decoder"

_OPEN = Target("many streams, time to open, against stock httpx", 0.6, 0.45, ceiling=True)
_CPU = Target("many streams, CPU per event, against stock httpx", 0.75, 0.6, ceiling=True)
_MEMORY = Target("many streams, memory each", 26.0, 20.0, "KiB", ceiling=True, note=True)
_IDLE_MEMORY = Target("many silent streams, memory each", 26.0, 20.0, "KiB", ceiling=True, note=True)
_IDLE_CPU = Target("many silent streams, CPU of the process", 1.0, 0.1, "%", ceiling=True, note=True)
_BESIDE = Target("a GET with silent streams open, against none", 1.5, 1.2, ceiling=True)


def run(harness: Harness) -> list[Finding]:
    """Measure streams of one event per second, then GETs beside silent streams."""
    count = harness.scale.open_streams
    rounds = harness.rounds(
        {
            name: Job(name, "open_streams", run_id="live.1", count=count, seconds=harness.scale.watch_s)
            for name in _CONTENDERS
        }
    )
    rows = [
        (
            label(name),
            f"{median(entries, 'open_s'):.2f}",
            f"{median(entries, 'cpu_s', 'events') * 1e6:.0f}",
            f"{median(entries, 'bytes_each') / 1024:.1f}",
        )
        for name, entries in rounds.items()
    ]
    title = f"{count} open streams, one event per second each"
    print_table(title, ("contender", "open all, s", "CPU µs/event", "KiB each"), rows)
    return [
        Finding(_OPEN, ratio(rounds, "openwop", _STOCK, "open_s")),
        Finding(_CPU, ratio(rounds, "openwop", _STOCK, "cpu_s", "events")),
        Finding(_MEMORY, median(rounds["openwop"], "bytes_each") / 1024),
        *_silent(harness),
        _gets_beside(harness),
    ]


def _silent(harness: Harness) -> list[Finding]:
    """Streams with one event at their beginning and nothing after it."""
    count, seconds = harness.scale.open_streams, harness.scale.watch_s
    rounds = harness.rounds(
        {
            name: Job(name, "open_streams", run_id="live.0", count=count, seconds=seconds)
            for name in ("openwop", "openwop-httpx", _STOCK, "floor")
        }
    )
    figures = {
        name: (
            median(entries, "open_s"),
            median(entries, "bytes_each") / 1024,
            median(entries, "cpu_s", "wall_s") * 100,
        )
        for name, entries in rounds.items()
    }
    rows = [
        (label(name), f"{open_s:.2f}", f"{size:.1f}", f"{cpu:.2f}")
        for name, (open_s, size, cpu) in figures.items()
    ]
    print_table(
        f"{count} silent streams in one process", ("contender", "open all, s", "KiB each", "CPU %"), rows
    )
    _, size, cpu = figures["openwop"]
    return [Finding(_IDLE_MEMORY, size), Finding(_IDLE_CPU, cpu)]


def _gets_beside(harness: Harness) -> Finding:
    rows = []
    value = None
    for contender in ("openwop", _STOCK):
        counts = (0, harness.scale.silent_streams)
        rounds = harness.rounds(
            {str(count): Job(contender, "busy_gets", run_id="live.0", count=count) for count in counts}
        )
        found = ratio(rounds, str(counts[1]), "0", "cpu_s", "requests")
        assert found is not None
        value = found if contender == "openwop" else value
        costs = [f"{median(rounds[str(count)], 'cpu_s', 'requests') * 1e3:.3f}" for count in counts]
        rows.append((label(contender), *costs, f"{found:.2f}"))
    title = f"CPU ms of a GET beside {harness.scale.silent_streams} silent streams of the same client"
    print_table(title, ("contender", "no streams", "with streams", "ratio"), rows)
    return Finding(_BESIDE, value)
