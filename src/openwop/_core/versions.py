"""Which major of the protocol client and host share (``version-negotiation.md``)."""

from __future__ import annotations

from openwop._core.dialect import IMPLEMENTED_PROTOCOL_VERSION, SUPPORTED_MAJORS
from openwop.errors import ProtocolVersionError
from openwop.models.advertised import parse_version
from openwop.models.discovery import Capabilities

__all__ = ["choose_major", "parse_version"]


def choose_major(capabilities: Capabilities) -> int:
    """The highest major that both sides speak.

    A version that cannot be read is passed over; if none can be, the host is taken at its word for major 1.  Raises
    :class:`ProtocolVersionError` when no major is shared, or the host demands a newer client.
    """
    offered = capabilities.versions
    majors = {version[0] for version in map(parse_version, offered) if version is not None}
    shared = majors.intersection(SUPPORTED_MAJORS)
    if majors and not shared:
        known = ", ".join(map(str, SUPPORTED_MAJORS))
        raise ProtocolVersionError(
            f"the host speaks OpenWOP {', '.join(offered)}; this client speaks major {known}. "
            "Upgrade with: pip install --upgrade openwop",
            offered=offered,
        )
    minimum = capabilities.min_client_version
    needed = parse_version(minimum) if minimum else None
    own = parse_version(IMPLEMENTED_PROTOCOL_VERSION)
    if needed is not None and own is not None and needed > own:
        raise ProtocolVersionError(
            f"the host demands a client of version {minimum} or newer (minClientVersion); this one implements "
            f"{IMPLEMENTED_PROTOCOL_VERSION}. Upgrade with: pip install --upgrade openwop",
            offered=offered,
            minimum=minimum,
        )
    return max(shared) if shared else SUPPORTED_MAJORS[0]
