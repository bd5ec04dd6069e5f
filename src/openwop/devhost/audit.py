"""The audit log: who changed what, in a chain that cannot be rewritten unnoticed.

Each entry holds the hash of the one before. Every so often the host signs a checkpoint: the root of a Merkle tree
over all entries so far. Entries, checkpoints and the key live as long as the host's store does.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openwop._core.merkle import MerkleTree, canonical_json, entry_hash
from openwop.devhost.clock import Clock, timestamp
from openwop.devhost.json_values import JsonObject
from openwop.devhost.store import DocumentIO

INTERVAL_ENTRIES = 10
INTERVAL_S = 300

_ENTRIES, _CHECKPOINTS = "audit entry", "audit checkpoint"


class AuditLog:
    """The entries and checkpoints of one host.

    Args:
        clock: For the times of entries.
        documents: Where both are kept.
        seed: The private key that checkpoints are signed with.

    Attributes:
        entries: All entries; a test may spoil one, to see that it is noticed.
        checkpoints: All checkpoints, as they go over the wire.
    """

    def __init__(self, clock: Clock, documents: DocumentIO, seed: bytes) -> None:
        self.entries: list[JsonObject] = [entry for _, entry in documents.all(_ENTRIES)]
        self.checkpoints: list[JsonObject] = [entry for _, entry in documents.all(_CHECKPOINTS)]
        self._clock = clock
        self._documents = documents
        self._tree = MerkleTree()
        for entry in self.entries:
            self._tree.add(entry)
        self._last_hash = entry_hash(self.entries[-1]) if self.entries else None
        self._signed_at = clock.time()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def public_key(self) -> str:
        """Return the key that checkpoints are checked with, as base64 of its DER form."""
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode("ascii")

    def append(self, action: str, principal: str, tenant: str | None, status: int, **facts: str) -> None:
        """Note that somebody changed something, or tried to; sign a checkpoint when one is due."""
        now = self._clock.time()
        entry: JsonObject = {
            "sequence": len(self.entries),
            "ts": timestamp(now),
            "action": action,
            "principal": principal,
            "status": status,
            **facts,
            "prevHash": self._last_hash,
        }
        if tenant is not None:
            entry["tenant"] = tenant
        self.entries.append(entry)
        self._documents.put(_ENTRIES, str(entry["sequence"]), entry)
        content = canonical_json(entry)
        self._last_hash = hashlib.sha256(content).hexdigest()  # as entry_hash has it
        self._tree.add_canonical(content)
        unsigned = len(self.entries) - (self.checkpoints[-1]["atSequence"] + 1 if self.checkpoints else 0)
        if unsigned >= INTERVAL_ENTRIES or now - self._signed_at >= INTERVAL_S:
            self._sign(now)

    def _sign(self, now: float) -> None:
        self._signed_at = now
        number = len(self.entries) - 1
        checkpoint: JsonObject = {
            "checkpoint": f"checkpoint-{number}",
            "atSequence": number,
            "merkleRoot": self._tree.root(),
        }
        signature = self._key.sign(canonical_json(checkpoint))
        signed = {**checkpoint, "signature": base64.b64encode(signature).decode("ascii")}
        self.checkpoints.append(signed)
        self._documents.put(_CHECKPOINTS, str(number), signed)

    def verify(self, first: int, last: int) -> JsonObject:
        """Check entries ``first`` to ``last`` again, as far as they exist (``audit-verify-result``)."""
        anomalies: list[JsonObject] = []
        for number in range(first, min(last + 1, len(self.entries))):
            expected = None if number == 0 else entry_hash(self.entries[number - 1])
            actual = self.entries[number].get("prevHash")
            if actual != expected:
                anomaly = {
                    "atSeq": number,
                    "expectedPrevHash": expected or "null",
                    "actualPrevHash": actual or "",
                }
                anomalies.append(anomaly)
        shown = [entry for entry in self.checkpoints if first <= entry["atSequence"] <= last]
        good = self._good(shown)
        return {
            "fromSeq": first,
            "toSeq": last,
            "chainValid": not anomalies and good,
            "checkpointsValid": good,
            "checkpoints": shown,
            "anomalies": anomalies,
        }

    def _good(self, checkpoints: list[JsonObject]) -> bool:
        """Tell whether checkpoints are signed by this host and still fit the entries."""
        roots = {entry["atSequence"]: entry["merkleRoot"] for entry in checkpoints}
        tree = MerkleTree()
        for number, entry in enumerate(self.entries):
            if number > max(roots, default=-1):
                break
            tree.add(entry)
            if number in roots and roots[number] != tree.root():
                return False
        for entry in checkpoints:
            signed = {name: value for name, value in entry.items() if name != "signature"}
            try:
                self._key.public_key().verify(base64.b64decode(entry["signature"]), canonical_json(signed))
            except InvalidSignature:
                return False
        return True
