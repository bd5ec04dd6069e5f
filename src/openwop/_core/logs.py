"""What records of the loggers below ``openwop`` carry beside their text, and the handler that they need by default."""

from __future__ import annotations

import logging

from openwop._core.redact import redact_text

__all__ = ["log_fields"]

# A library leaves it to the program whether and where its records are shown.
logging.getLogger("openwop").addHandler(logging.NullHandler())


def log_fields(
    *,
    operation: str | None = None,
    method: str | None = None,
    path: str | None = None,
    attempt: int | None = None,
    status: int | None = None,
    duration_s: float | None = None,
    delay_s: float | None = None,
    reason: str | None = None,
    trace_id: str | None = None,
    run_id: str | None = None,
    node_id: str | None = None,
) -> dict[str, object]:
    """The ``extra`` of a record: ``openwop_…`` attributes for those that are known, listed in ``observability.md``.

    Secrets are taken out of them here, so that no handler has to.
    """
    texts = {
        "operation": operation, "method": method, "path": path, "reason": reason, "trace_id": trace_id,
        "run_id": run_id, "node_id": node_id,
    }  # fmt: skip
    numbers = {"attempt": attempt, "status": status, "duration_s": duration_s, "delay_s": delay_s}
    fields: dict[str, object] = {
        f"openwop_{name}": redact_text(text) for name, text in texts.items() if text is not None
    }
    fields.update((f"openwop_{name}", number) for name, number in numbers.items() if number is not None)
    return fields
