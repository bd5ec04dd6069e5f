"""For tests of programs that use OpenWOP: a host to run them against, and assertions about what happened on it.

The pytest plugin gives both to a test as fixtures; see its page in the documentation. Without pytest::

    from openwop.testing import OpenwopHost

    with OpenwopHost.start() as host:
        client = host.client()          # or any client, in any event loop, thread or process
        ...
        host.expect(run_id).completed()
"""

from __future__ import annotations

from openwop.testing.expectations import Expectation
from openwop.testing.host import HostFeatureUnavailable, OpenwopHost

__all__ = ["Expectation", "HostFeatureUnavailable", "OpenwopHost"]
