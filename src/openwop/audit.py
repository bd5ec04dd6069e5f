"""Check a host's audit log without believing the host (``auth-profiles.md``, audit log integrity).

The host's verdict comes from ``client.audit.verify``.  Its checkpoints are signed, so that much can be checked here,
with the public key as you know it from before: the key that a host advertises today proves nothing about yesterday.
Whoever has the entries themselves, from an export, can check the chain and the roots as well.

Example::

    result = await client.audit.verify(0, 999)
    for check in verify_checkpoints(result.checkpoints, public_key):
        print(check.checkpoint.at_sequence, check.valid, check.reason)
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openwop._core.merkle import MerkleTree, canonical_json, entry_hash
from openwop.errors import ConfigurationError, RequestValidationError
from openwop.models.audit import AuditAnomaly, AuditCheckpoint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["CheckpointCheck", "broken_links", "merkle_root", "verify_checkpoints"]

_RAW_KEY_LENGTH = 32
_ROOT = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class CheckpointCheck:
    """What came out for one checkpoint."""

    checkpoint: AuditCheckpoint
    valid: bool
    reason: str | None = None
    """Why it is not valid: ``"incomplete"``, ``"order"``, ``"signature"`` or ``"root"``."""
    signed: str | None = None
    """What the good signature covers: ``"checkpoint"``, or only its ``"root"``, which says nothing about the rest."""


def verify_checkpoints(
    checkpoints: Iterable[AuditCheckpoint | Mapping[str, Any]],
    public_key: str | bytes,
    *,
    entries: Sequence[Mapping[str, Any]] | None = None,
) -> list[CheckpointCheck]:
    """Check signatures, and that checkpoints come in the order of what they cover; with ``entries``, the roots too.

    The protocol's schema has a signature cover the canonical JSON of the checkpoint without its signature; its prose,
    and hosts that follow it, have it cover the bytes of ``merkleRoot``.  Either is taken, and ``signed`` tells which.

    Args:
        checkpoints: as ``client.audit.verify`` gave them, or as dicts in the names of the wire.
        public_key: the host's Ed25519 key, from a place that you trust: ``auth.auditLogIntegrity.checkpointPublicKey``
            as base64, a PEM text, or the bytes themselves (32, or DER).
        entries: all entries of the log from number 0 on, where there is an export of them.

    Raises:
        RequestValidationError: ``public_key`` is no Ed25519 key.
        ConfigurationError: the package ``cryptography`` is not installed.

    Protocol: ``auth-profiles.md``, RFC 6962, RFC 8785.

    Example::

        checks = verify_checkpoints(result.checkpoints, public_key)
        assert checks and all(check.valid for check in checks)
    """
    key = _public_key(public_key)
    found = [
        item if isinstance(item, AuditCheckpoint) else AuditCheckpoint.model_validate(dict(item))
        for item in checkpoints
    ]
    roots = _roots(entries, {item.at_sequence for item in found}) if entries is not None else None
    checks: list[CheckpointCheck] = []
    last = -1
    for item in found:
        check = _check(item, key, last, roots)
        checks.append(check)
        if item.at_sequence is not None:
            last = max(last, item.at_sequence)
    return checks


def _check(
    item: AuditCheckpoint, key: Ed25519PublicKey, last: int, roots: Mapping[int, str] | None
) -> CheckpointCheck:
    if item.at_sequence is None or not (item.merkle_root and item.signature):
        return CheckpointCheck(item, valid=False, reason="incomplete")
    if item.at_sequence <= last:
        return CheckpointCheck(item, valid=False, reason="order")
    signed = _signed_part(item, key)
    if signed is None:
        return CheckpointCheck(item, valid=False, reason="signature")
    if roots is not None and roots.get(item.at_sequence) != item.merkle_root.lower():
        return CheckpointCheck(item, valid=False, reason="root", signed=signed)
    return CheckpointCheck(item, valid=True, signed=signed)


def _signed_part(item: AuditCheckpoint, key: Ed25519PublicKey) -> str | None:
    from cryptography.exceptions import InvalidSignature

    document = {name: value for name, value in item.to_wire().items() if name != "signature"}
    try:
        signature = base64.b64decode(item.signature, validate=True)
        forms = [("checkpoint", canonical_json(document))]
    except (binascii.Error, ValueError):
        return None
    # A root of any other length would let whatever the host has ever signed pass for one.
    if _ROOT.fullmatch(item.merkle_root):
        forms.append(("root", bytes.fromhex(item.merkle_root)))
    for name, signed in forms:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            continue
        return name
    return None


def _public_key(given: str | bytes) -> Ed25519PublicKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
    except ImportError:
        raise ConfigurationError(
            "checking signatures needs the package cryptography; install openwop[cli]"
        ) from None
    rule = "must be an Ed25519 key: base64 as hosts advertise it, PEM, or its 32 bytes"
    unchecked: Any = given  # what a host does not advertise is None
    if not isinstance(unchecked, str | bytes):
        raise RequestValidationError("public_key", f"{rule}; not {type(unchecked).__name__}")
    try:
        data = given if isinstance(given, bytes) else given.strip().encode("ascii")
        if data.startswith(b"-----BEGIN"):
            key: object = load_pem_public_key(data)
        else:
            data = data if isinstance(given, bytes) else base64.b64decode(data, validate=True)
            raw = len(data) == _RAW_KEY_LENGTH
            key = Ed25519PublicKey.from_public_bytes(data) if raw else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):  # the errors of base64 and of the encoding are ValueErrors too
        raise RequestValidationError("public_key", rule) from None
    if not isinstance(key, Ed25519PublicKey):
        raise RequestValidationError("public_key", rule)
    return key


def merkle_root(entries: Iterable[Mapping[str, Any]]) -> str:
    """The Merkle root over the entries of an audit log from number 0 on, hexadecimal (RFC 6962).

    Example::

        assert merkle_root(entries[: checkpoint.at_sequence + 1]) == checkpoint.merkle_root
    """
    with _entries_are_json():
        return MerkleTree(dict(entry) for entry in entries).root()


def _roots(entries: Iterable[Mapping[str, Any]], wanted: set[int | None]) -> dict[int, str]:
    tree = MerkleTree()
    roots: dict[int, str] = {}
    with _entries_are_json():
        for number, entry in enumerate(entries):
            tree.add(dict(entry))
            if number in wanted:
                roots[number] = tree.root()
    return roots


@contextmanager
def _entries_are_json() -> Generator[None]:
    """Say of entries that have no canonical spelling (``NaN``, no object at all) which argument they came in."""
    try:
        yield
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestValidationError("entries", f"must be objects as JSON has them: {error}") from None


def broken_links(entries: Sequence[Mapping[str, Any]], *, first: int = 0) -> list[AuditAnomaly]:
    """Where an audit log's entries do not hold the hash of the entry before them.

    Args:
        entries: entries that follow each other.
        first: the number of the first of them.  Number 0 must hold ``null``; of any other first one, nothing is known.

    Example::

        assert broken_links(entries) == []
    """
    broken: list[AuditAnomaly] = []
    for index, entry in enumerate(entries):
        if index == 0 and first > 0:
            continue
        with _entries_are_json():
            expected = None if index == 0 else entry_hash(dict(entries[index - 1]))
            actual = dict(entry).get("prevHash")
        if actual != expected:
            broken.append(
                AuditAnomaly(
                    at_seq=first + index,
                    expected_prev_hash=expected or "null",
                    actual_prev_hash=actual if isinstance(actual, str) else "",
                )
            )
    return broken
