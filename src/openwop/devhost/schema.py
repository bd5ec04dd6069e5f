"""What request bodies, definitions and resume values are checked with: see :mod:`openwop.models.json_schema`."""

from __future__ import annotations

from openwop.models.json_schema import SchemaViolation, check, violations

__all__ = ["SchemaViolation", "check", "violations"]
