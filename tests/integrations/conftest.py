"""What the tests of the integrations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs the OpenTelemetry SDK")

from support.telemetry import Telemetry, telemetry


@pytest.fixture
def told() -> Iterator[Telemetry]:
    """Where the spans and metrics of a test end up."""
    with telemetry() as found:
        yield found
