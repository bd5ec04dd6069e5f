"""What counts as this machine: secrets may go there in clear, and a host may listen there without a warning."""

from __future__ import annotations

import pytest

from openwop._core.redirect import is_loopback


@pytest.mark.parametrize(
    ("host", "safe"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.7", False), ("dev.example", False)],
)  # fmt: skip
def test_only_addresses_of_this_machine_alone_count_as_safe(host: str, safe: bool) -> None:
    """We chose it: serving others is possible, and not without a warning."""
    assert is_loopback(host) is safe
