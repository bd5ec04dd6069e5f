"""Targets, what was found, and the tables and the JSON file that say so."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.harness import Harness, Scale


@dataclass(frozen=True)
class Target:
    """What a figure should be.  ``ceiling``: smaller is better.  ``note``: depends on the machine, reported only."""

    text: str
    limit: float
    aim: float
    unit: str = "×"
    ceiling: bool = False
    note: bool = False

    def met(self, value: float, bound: float) -> bool:
        """Whether a figure is on the good side of a bound."""
        return value <= bound if self.ceiling else value >= bound


@dataclass(frozen=True)
class Finding:
    """A figure beside its target; ``None`` could not be measured here."""

    target: Target
    value: float | None

    @property
    def verdict(self) -> str:
        """What the figure means for the target."""
        if self.value is None:
            return "not measured"
        if self.target.met(self.value, self.target.aim):
            return "met, beyond the aim"
        return "met" if self.target.met(self.value, self.target.limit) else "MISSED"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text; the first column to the left, the others to the right."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    print(f"\n{title}")
    for number, row in enumerate(table):
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  " + "  ".join([first, *others]).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
    sys.stdout.flush()


def print_findings(findings: Sequence[Finding]) -> None:
    """Print all figures beside their targets."""

    def text(value: float, unit: str) -> str:
        return f"{value:.3g} {unit}".strip()

    rows = []
    for finding in findings:
        target = finding.target
        sign = "≤" if target.ceiling else "≥"
        rows.append(
            (
                target.text + (" †" if target.note else ""),
                "–" if finding.value is None else text(finding.value, target.unit),
                f"{sign} {text(target.limit, target.unit)}",
                text(target.aim, target.unit),
                finding.verdict,
            )
        )
    print_table(
        "Targets (ratios of client CPU; † depends on the machine)",
        ("what", "found", "target", "aim", ""),
        rows,
    )


def write_json(path: Path, harness: Harness, scale: Scale, findings: Sequence[Finding]) -> None:
    """Write everything that was measured."""
    packages = ("httpx", "httpcore", "h11", "httpx-sse", "pydantic", "pydantic-core", "anyio", "openwop")
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "server_core": harness.server_core,
            "client_core": harness.client_core,
            "packages": {name: metadata.version(name) for name in packages},
        },
        "scale": asdict(scale),
        "findings": [asdict(finding) | {"verdict": finding.verdict} for finding in findings],
        "measurements": harness.log,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
