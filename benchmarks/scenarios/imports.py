"""What importing costs: the package's name, its client, and the libraries that the client stands on."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.harness import ROOT, Harness, clean_environment
from benchmarks.report import Finding, Target, print_table

_STATEMENTS = {
    "name": "import openwop",
    "client": "from openwop import AsyncOpenwopClient",
    "libraries": (
        "import anyio, httpcore, httpx, httpx_sse, sniffio; from pydantic import BaseModel, Field, TypeAdapter"
    ),
}
_PROGRAM = """
import json, os, sys, time
if {core!r} is not None:
    os.sched_setaffinity(0, {{{core!r}}})
start = time.process_time()
{statement}
ms = (time.process_time() - start) * 1000
print(json.dumps([ms, sum(name in sys.modules for name in ("httpx", "httpcore", "pydantic"))]))
"""

_NAME = Target("import openwop", 10.0, 5.0, "ms", ceiling=True, note=True)
_HEAVY = Target("heavy libraries loaded by it", 0, 0, "", ceiling=True)
_CLIENT = Target(
    "from openwop import AsyncOpenwopClient, against its libraries alone", 1.5, 1.25, ceiling=True
)


def run(harness: Harness) -> list[Finding]:
    """Measure in fresh interpreters; the first round only fills the caches."""
    times: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    heavy = 0.0
    for number in range(harness.scale.imports + 1):
        for name, statement in _STATEMENTS.items():
            took, loaded = _measure(statement, harness.client_core)
            if name == "name":
                heavy = max(heavy, loaded)
            if number > 0:
                times[name].append(took)
    harness.log.append({"job": "imports", "figures": times})
    rows = [(_STATEMENTS[name], f"{statistics.median(found):.1f}") for name, found in times.items()]
    print_table("Imports in a fresh interpreter", ("statement", "CPU ms"), rows)
    pairs = zip(times["client"], times["libraries"], strict=True)
    return [
        Finding(_NAME, statistics.median(times["name"])),
        Finding(_HEAVY, heavy),
        Finding(_CLIENT, statistics.median(client / libraries for client, libraries in pairs)),
    ]


def _measure(statement: str, core: int | None) -> tuple[float, float]:
    program = _PROGRAM.format(statement=statement, core=core)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    took, loaded = json.loads(done.stdout)
    return took, loaded
