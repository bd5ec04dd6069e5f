"""Short requests, POST and GET in turn: CPU per request, alone and with many in flight, plain and over TLS."""

from __future__ import annotations

from benchmarks.harness import Harness, Rounds, label, median, ratio
from benchmarks.jobs import Job
from benchmarks.report import Finding, Target, print_table

_CONTENDERS = ("openwop", "openwop-httpx", "httpx", "reference", "floor")
_SECURE_CONTENDERS = ("openwop", "httpx", "reference")

_AGAINST_HTTPX = Target("requests at 50 against stock httpx", 4.0, 8.0)
_AGAINST_REFERENCE = Target("requests at 50 against the reference in 50 threads", 0.6, 1.1)
_AGAINST_REFERENCE_TLS = Target("requests at 50 over TLS against the reference in 50 threads", 4.0, 5.0)
_SCALING = Target("CPU per request at 500 against 50", 1.25, 1.1, ceiling=True)


def run(harness: Harness) -> list[Finding]:
    """Measure at 1, 50 and 500 in flight."""
    by_concurrency = {}
    for concurrency in (1, 50, 500):
        by_concurrency[concurrency] = rounds = _measure(harness, _CONTENDERS, concurrency, None)
        _print(f"Requests: {harness.scale.requests}, {concurrency} at once", rounds)
    secure = _measure(harness, _SECURE_CONTENDERS, 50, harness.certificate)
    _print(f"Requests over TLS: {harness.scale.requests}, 50 at once", secure)
    at_50 = by_concurrency[50]
    scaling = ratio(
        {"500": by_concurrency[500]["openwop"], "50": at_50["openwop"]}, "500", "50", "cpu_s", "requests"
    )
    return [
        Finding(_AGAINST_HTTPX, ratio(at_50, "httpx", "openwop", "cpu_s", "requests")),
        Finding(_AGAINST_REFERENCE, ratio(at_50, "reference", "openwop", "cpu_s", "requests")),
        Finding(_AGAINST_REFERENCE_TLS, ratio(secure, "reference", "openwop", "cpu_s", "requests")),
        Finding(_SCALING, scaling),
    ]


def _measure(
    harness: Harness, contenders: tuple[str, ...], concurrency: int, certificate: str | None
) -> Rounds:
    total = max(harness.scale.requests, concurrency)
    return harness.rounds(
        {
            name: Job(name, "requests", count=total, concurrency=concurrency, certificate=certificate)
            for name in harness.present(*contenders)
        }
    )


def _print(title: str, rounds: Rounds) -> None:
    rows = [
        (
            label(name),
            f"{median(entries, 'cpu_s', 'requests') * 1e3:.3f}",
            f"{median(entries, 'wall_s', 'requests') * 1e3:.3f}",
        )
        for name, entries in rounds.items()
    ]
    print_table(title, ("contender", "CPU ms/request", "time ms/request"), rows)
