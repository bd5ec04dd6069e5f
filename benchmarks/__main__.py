"""``python -m benchmarks``: measure, print the tables, and compare with the targets.  Nothing here passes or fails."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import FULL, QUICK, ROOT, Harness, open_harness
from benchmarks.report import Finding, print_findings, write_json
from benchmarks.scenarios import (
    blocking,
    cancel,
    devhost,
    fan_out,
    imports,
    memory,
    open_streams,
    overhead,
    requests,
    streams,
)

SCENARIOS: dict[str, Callable[[Harness], list[Finding]]] = {
    "streams": streams.run,
    "requests": requests.run,
    "overhead": overhead.run,
    "blocking": blocking.run,
    "open-streams": open_streams.run,
    "memory": memory.run,
    "cancel": cancel.run,
    "fan-out": fan_out.run,
    "imports": imports.run,
    "devhost": devhost.run,
}
WITH_REFERENCE = {"streams", "requests", "blocking"}
RESULTS = ROOT / "build" / "benchmarks.json"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", default=["all"], choices=[*SCENARIOS, "all"], metavar="scenario",
                        help=f"any of: {', '.join(SCENARIOS)}, all (the default)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small and few: about a minute or two for all")
    parser.add_argument("--rounds", type=int, help="how often each measurement is repeated")
    parser.add_argument(
        "--json", type=Path, default=RESULTS, help="where all figures go (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    chosen = list(SCENARIOS) if "all" in options.scenario else list(dict.fromkeys(options.scenario))
    scale = QUICK if options.quick else FULL
    if options.rounds is not None:
        scale = replace(scale, rounds=options.rounds)

    findings: list[Finding] = []
    with open_harness(scale, with_reference=bool(WITH_REFERENCE & set(chosen))) as harness:
        try:
            for name in chosen:
                findings += SCENARIOS[name](harness)
        finally:
            # A run takes long: what was found before something broke is not thrown away.
            print_findings(findings)
            write_json(options.json, harness, scale, findings)
            print(f"\nall figures: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
