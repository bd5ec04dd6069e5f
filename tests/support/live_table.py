"""A pytest plugin that writes down what the live contract tests found: one row for each operation and host.

A test says which cell it is with a user property, which also reaches the process that writes when pytest-xdist has run
the test in another one.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

PROPERTY = "openwop_live"
FOLDER = "OPENWOP_CONTRACT_REPORT"
MAX_REASON = 400

Outcome = Literal["passed", "skipped", "failed", "not run", "none"]
"""``none``: there is no such part, and the reason says why."""
NOT_RUN: Outcome = "not run"


@dataclass
class Row:
    """What is known of one operation on one host."""

    host: str
    operation: str
    method: str
    path: str
    capability: str | None
    answer: Outcome = NOT_RUN
    answer_reason: str = ""
    refusal: Outcome = NOT_RUN
    refusal_reason: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """Both parts as one: the worse of the two, where both were run."""
        ordered: tuple[Outcome, ...] = ("failed", "skipped", "passed")
        return next((outcome for outcome in ordered if outcome in (self.answer, self.refusal)), NOT_RUN)

    @property
    def remarks(self) -> str:
        """Reasons and notes, for people."""
        reasons = {self.answer_reason: None}  # the same reason for both parts is told once
        if self.refusal_reason and self.refusal_reason not in reasons:
            reasons[f"refusal: {self.refusal_reason}"] = None
        return "; ".join(filter(None, [*reasons, *self.notes]))


class LiveTable:
    """Collects the rows, and writes them at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[tuple[str, str], Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over what one phase of one test came to."""
        cell: Any = dict(report.user_properties).get(PROPERTY)
        if cell is None:
            return
        facts = {name: cell[name] for name in ("host", "operation", "method", "path", "capability")}
        row = self._rows.setdefault((cell["host"], cell["operation"]), Row(**facts))
        if cell["unrefused"] is not None:
            row.refusal, row.refusal_reason = "none", cell["unrefused"]
        row.notes += [note for note in cell.get("notes", []) if note not in row.notes]
        if report.when == "call" or not report.passed:
            setattr(row, cell["part"], report.outcome)
            setattr(row, f"{cell['part']}_reason", _reason(report))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the table, and say where it is."""
        if not self._rows:
            return
        hosts: dict[str, list[Row]] = {}
        for _, row in sorted(self._rows.items()):
            hosts.setdefault(row.host, []).append(row)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "operations.json").write_text(as_json(hosts), encoding="utf-8")
        (self._folder / "operations.md").write_text(as_markdown(hosts), encoding="utf-8")
        terminalreporter.section("OpenWOP contract")
        for host, rows in hosts.items():
            terminalreporter.write_line(f"{host}: {counted(rows)}")
            for row in rows:
                if row.outcome == "failed":
                    terminalreporter.write_line(f"  FAILED {row.operation}: {row.remarks}")
        terminalreporter.write_line(f"table: {self._folder / 'operations.md'} (and .json)")


def counted(rows: list[Row]) -> str:
    """How many operations came to which outcome."""
    counts = Counter(row.outcome for row in rows)
    told = ", ".join(f"{counts[name]} {name}" for name in ("passed", "skipped", "failed"))
    return f"{len(rows)} operation{'s' if len(rows) != 1 else ''}: {told}"


def as_json(hosts: dict[str, list[Row]]) -> str:
    """The table for programs."""
    document = {
        host: [
            {
                "operation": row.operation,
                "method": row.method,
                "path": row.path,
                "capability": row.capability,
                "outcome": row.outcome,
                "answer": {"outcome": row.answer, "reason": row.answer_reason or None},
                "refusal": {"outcome": row.refusal, "reason": row.refusal_reason or None},
                "notes": row.notes,
            }
            for row in rows
        ]
        for host, rows in hosts.items()
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_markdown(hosts: dict[str, list[Row]]) -> str:
    """The table for people."""
    lines = ["# Operations of OpenWOP, tried on hosts", ""]
    for host, rows in hosts.items():
        lines += [f"## {_cell(host)}", "", f"{counted(rows)}.", ""]
        lines += [
            "| Operation | Call | Capability | Answer | Refusal | Remarks |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows:
            call = f"`{row.method} {row.path}`"
            cells = (row.operation, call, row.capability or "", row.answer, row.refusal, row.remarks)
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _reason(report: pytest.TestReport) -> str:
    """Why a test did not pass, in a line."""
    if report.passed:
        return ""
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr).strip()
    return text.partition("\n")[0].strip()[:MAX_REASON]  # what follows is pytest's own comparison


def pytest_configure(config: pytest.Config) -> None:
    """Collect in the process that tells the results, which with pytest-xdist is not one that runs tests."""
    if not hasattr(config, "workerinput"):
        folder = os.environ.get(FOLDER)
        table = LiveTable(Path(folder) if folder else config.rootpath / "build" / "contract")
        config.pluginmanager.register(table, "openwop-live-table")
