"""What one measurement is: a job, done by one contender in a fresh interpreter, and the figures it gives back."""

from __future__ import annotations

from dataclasses import dataclass

Figures = dict[str, float]
"""Named figures of one measurement: seconds (``_s``), bytes (``_bytes``) or plain counts."""

CONTENDERS = {
    "openwop": "benchmarks.contenders.own",
    "openwop-debug": "benchmarks.contenders.own",
    "openwop-runs": "benchmarks.contenders.runs",
    "openwop-httpx": "benchmarks.contenders.own",
    "openwop-blocking": "benchmarks.contenders.blocking",
    "openwop-portal": "benchmarks.contenders.blocking",
    "httpx": "benchmarks.contenders.stock_httpx",
    "httpx-decoder": "benchmarks.contenders.stock_httpx",
    "tutorial": "benchmarks.contenders.stock_httpx",
    "reference": "benchmarks.contenders.reference",
    "floor": "benchmarks.contenders.floor",
    "devhost-memory": "benchmarks.contenders.devhost",
    "devhost-file": "benchmarks.contenders.devhost",
}
"""Who is measured, and the module that knows how.  It is imported only in the interpreter of its own measurement."""

LABELS = {
    "openwop": "this package",
    "openwop-debug": "this package, mode debug",
    "openwop-httpx": "this package over stock httpx",
    "openwop-blocking": "this package, blocking client",
    "openwop-portal": "anyio's portal.call of the async client",
    "httpx": "stock httpx, default limits",
    "httpx-decoder": "stock httpx + this package's decoder and model",
    "tutorial": "httpx + httpx-sse + pydantic, as in tutorials",
    "reference": "openwop-client 1.1.7 (urllib, threads)",
    "floor": "floor: bare sockets, same decoder and model",
}


@dataclass(frozen=True)
class Job:
    """One measurement.  Which fields matter depends on the task."""

    contender: str
    task: str
    base_url: str = ""
    certificate: str | None = None
    """CA file to trust; with it ``base_url`` is https."""
    core: int | None = None
    """The processor core to run on."""
    server_core: int | None = None
    """The one for a server that the contender starts itself."""
    run_id: str = ""
    count: int = 0
    """How many events, requests or streams."""
    concurrency: int = 1
    seconds: float = 0.0
    """How long steady streams are watched."""
    cancellation: str = ""
    """``native`` (``Task.cancel``) or ``scope`` (an anyio scope)."""
