"""What makes a host the same one after it was started again: its name, and the secrets it signs with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from openwop.devhost.json_values import JsonObject
from openwop.devhost.store import DocumentIO

_KIND, _KEY = "host", "identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """The name and the secrets of a host.

    Attributes:
        host_id: The host's name for itself, in what it says of where runs come from.
        token_secret: What interrupt tokens are signed with.
        audit_seed: The private key of the audit log's checkpoints (Ed25519).
    """

    host_id: str
    token_secret: bytes = field(repr=False)
    audit_seed: bytes = field(repr=False)


def identity_of(documents: DocumentIO) -> Identity:
    """Return the identity that a store has, or give it one."""
    known = documents.get(_KIND, _KEY)
    if known is None:
        known = {
            "hostId": f"devhost-{secrets.token_hex(6)}",
            "tokenSecret": secrets.token_hex(32),
            "auditSeed": secrets.token_hex(32),
        }
        documents.put(_KIND, _KEY, known)
    return _read(known)


def _read(document: JsonObject) -> Identity:
    return Identity(
        document["hostId"], bytes.fromhex(document["tokenSecret"]), bytes.fromhex(document["auditSeed"])
    )
