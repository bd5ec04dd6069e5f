"""Whether a host offers an operation: what its discovery document says before a call, and what its answer says after.

The rule, in one place:

* An operation without a capability is always sent.  So is every operation while the document is not known.
* A known document decides: what it advertises is sent, and what it denies or does not mention is refused before any
  I/O.  Of the few capabilities that were once every host's duty (:attr:`Dialect.core_capabilities`) only a clear no
  counts: hosts from before they could be advertised have them and say nothing.
* 501, and the codes for it, always mean "not offered".  404 means that or "no such item", and hosts do not tell which:
  it is "not offered" only for an operation that names no item, on a host that is not known to advertise it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openwop._core.dialect import Dialect
from openwop._core.request import ApiRequest
from openwop.errors import CapabilityNotSupportedError
from openwop.models.advertised import strings

if TYPE_CHECKING:
    from openwop.models.discovery import Capabilities

__all__ = ["NOT_OFFERED", "means_absent", "refusal"]

NOT_OFFERED = "capability_not_provided"
"""The code of a refusal that is read from the discovery document: what a host would have answered."""


def refusal(
    request: ApiRequest, dialect: Dialect, known: Capabilities | None
) -> CapabilityNotSupportedError | None:
    """Why ``request`` is not to be sent to a host of which ``known`` is known; ``None`` when it is."""
    capability = request.capability
    if capability is None or known is None:
        return None
    said = known.advertises(capability)
    if said is False or (said is None and capability not in dialect.core_capabilities):
        how = "says so" if said is False else "does not mention it"
        return _refused(
            request, capability, f"the host does not offer {capability!r}: its discovery document {how}"
        )
    if request.posture is not None:
        name, value = request.posture
        # A list that is not there, or cannot be read, says nothing: the host decides.  One that is there is the whole.
        if strings(known.family(name)) and not known.declares(name, value):
            return _refused(request, name, f"the host does not offer {value!r}: it is not in its {name!r}")
    return None


def means_absent(
    request: ApiRequest, status: int, code: str | None, dialect: Dialect, known: Capabilities | None
) -> bool:
    """Whether the host's answer to ``request`` says that it does not offer the operation."""
    if not dialect.absent(status, code):
        return False
    if status != 404 or code in dialect.absent_codes:
        return True
    if request.capability is None or request.names_item:
        return False
    return known is None or known.advertises(request.capability) is not True


def _refused(request: ApiRequest, capability: str, message: str) -> CapabilityNotSupportedError:
    return CapabilityNotSupportedError(
        None, NOT_OFFERED, message,
        capability=capability, operation=request.operation, idempotency_key=request.idempotency_key,
    )  # fmt: skip
