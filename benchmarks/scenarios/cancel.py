"""Storms of cancelled requests: what leaks, and whether the client still works."""

from __future__ import annotations

from benchmarks.harness import Harness, label
from benchmarks.jobs import Figures, Job
from benchmarks.report import Finding, Target, print_table

_AT_ONCE = 50
_LEAKS = Target("leaked sockets after storms of cancelled requests", 0, 0, "", ceiling=True)
_FOLLOW_UPS = Target("requests of 20 that work after the worst storm", 20, 20, "")


def leaked(figures: Figures) -> float:
    """Return the sockets that nobody can use any more, or that outlive the client."""
    return max(figures["lost_sockets"], figures["sockets_after_close"])


def run(harness: Harness) -> list[Finding]:
    """Cancel natively and by scope."""
    rows = []
    own: list[Figures] = []
    for contender in ("openwop", "openwop-httpx", "httpx"):
        for cancellation in ("native", "scope"):
            task_contender = "tutorial" if contender == "httpx" else contender
            figures = harness.run(
                Job(
                    task_contender,
                    "cancel",
                    count=harness.scale.cancelled,
                    concurrency=_AT_ONCE,
                    cancellation=cancellation,
                )
            )
            if contender != "httpx":
                own.append(figures)
            columns = (
                "cancelled",
                "completed",
                "failed",
                "lost_sockets",
                "sockets_after_close",
                "follow_ups",
            )
            name = "stock httpx, no limits" if contender == "httpx" else label(contender)
            rows.append((f"{name}, {cancellation}", *(f"{figures[key]:.0f}" for key in columns)))
    header = (
        "client and kind",
        "cancelled",
        "completed",
        "failed",
        "lost sockets",
        "after close",
        "of 20 follow-ups",
    )
    print_table(f"Storms of {harness.scale.cancelled} cancelled requests, {_AT_ONCE} at once", header, rows)
    return [
        Finding(_LEAKS, max(map(leaked, own))),
        Finding(_FOLLOW_UPS, min(figures["follow_ups"] for figures in own)),
    ]
