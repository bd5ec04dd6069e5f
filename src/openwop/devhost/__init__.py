"""A host to develop and test against: the whole protocol, in memory or in a file, in your process or on a port.

Needs the ``devhost`` extra (``pip install 'openwop[devhost]'``). It is not for production: it guards nothing, and
without ``db`` it forgets everything when it stops.

Example::

    from openwop.devhost import DevHost

    async with DevHost() as host, host.client() as client:
        snapshot = await client.execute("conformance-noop")
"""

from __future__ import annotations

try:
    from openwop.devhost.access import ApiKey
    from openwop.devhost.errors import HostError, WorkflowDefinitionError
    from openwop.devhost.functions import WorkflowContext, WorkflowFailure
    from openwop.devhost.host import DEFAULT_API_KEY, DevHost
    from openwop.devhost.options import Limits
    from openwop.devhost.store import StoreError
    from openwop.devhost.transport import InProcessTransport
    from openwop.devhost.unheard import speak_up
    from openwop.devhost.virtual_time import VirtualClock
    from openwop.devhost.workflows import Workflows
except ModuleNotFoundError as error:
    if error.name not in ("cryptography", "starlette", "uvicorn", "yaml"):
        raise
    message = f"openwop.devhost needs {error.name}: pip install 'openwop[devhost]'"
    raise ModuleNotFoundError(message, name=error.name) from error

speak_up()

__all__ = [
    "DEFAULT_API_KEY",
    "ApiKey",
    "DevHost",
    "HostError",
    "InProcessTransport",
    "Limits",
    "StoreError",
    "VirtualClock",
    "WorkflowContext",
    "WorkflowDefinitionError",
    "WorkflowFailure",
    "Workflows",
]
