"""For programs written for ``openwop-client`` 1.1: the same names, on top of this library.

Change the import, and nothing else::

    from openwop.compat import CreateRunRequest, OpenwopClient, WopError

The submodules ``client``, ``errors``, ``events``, ``registry_helpers``, ``sse``, ``types`` and ``webhook_helpers`` are
where the old client has them.  New programs use :mod:`openwop` itself.
"""

from __future__ import annotations

from openwop.compat import client, errors, events, registry_helpers, sse, types, webhook_helpers
from openwop.compat.client import *  # noqa: F403  # the modules' own `__all__` say what
from openwop.compat.errors import *  # noqa: F403
from openwop.compat.events import *  # noqa: F403
from openwop.compat.registry_helpers import *  # noqa: F403
from openwop.compat.sse import *  # noqa: F403
from openwop.compat.types import *  # noqa: F403
from openwop.compat.webhook_helpers import *  # noqa: F403

__all__ = ["__version__"]
__all__.extend(client.__all__)
__all__.extend(errors.__all__)
__all__.extend(events.__all__)
__all__.extend(registry_helpers.__all__)
__all__.extend(sse.__all__)
__all__.extend(types.__all__)
__all__.extend(webhook_helpers.__all__)

__version__ = "1.1.7"
"""The version of ``openwop-client`` whose names these are; that of this library is ``openwop.__version__``."""
