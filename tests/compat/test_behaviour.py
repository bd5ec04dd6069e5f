"""``openwop.compat`` does what ``openwop-client`` 1.1.7 does, and more where that one fails.

The same program is run through both packages.  All of it is our choice; ``differences.yaml`` lists where we chose
otherwise, with what each of the two does.
"""

from __future__ import annotations

from typing import Any

import pytest

from support.compat import DIFFERENCES, both, why_not
from support.compat_scenarios import SCENARIOS, Side
from support.fault_server import FaultServer

LISTED = {entry["scenario"]: entry for entry in DIFFERENCES["behaviour"]}


def played(name: str, module: Any) -> str:
    """What a program sees of a scenario through one of the packages."""
    with FaultServer() as server:
        side = Side(module, server)
        with side.closing:
            seen = SCENARIOS[name](side)
        return repr(seen).replace(server.base_url, "HOST")


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("name", SCENARIOS)
def test_both_packages_come_to_the_same_but_for_the_differences_that_are_meant(name: str) -> None:
    """We chose to do the same wherever the old client does something sensible."""
    theirs, ours = (played(name, module) for module in both())
    listed = LISTED.get(name)
    if listed is None:
        assert ours == theirs
    else:
        assert (theirs, ours) == (listed["old"], listed["new"])
        assert theirs != ours, "it differs no longer: take it off the list"


def test_every_listed_difference_is_looked_at_and_has_a_reason() -> None:
    """We chose that nothing is on the list that no scenario shows."""
    assert LISTED.keys() <= SCENARIOS.keys()
    assert len(LISTED) == len(DIFFERENCES["behaviour"])
    assert all(len(entry["reason"]) > 20 for part in DIFFERENCES.values() for entry in part)
