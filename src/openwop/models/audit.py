"""What a host says about its audit log (``auth-profiles.md``, audit log integrity)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from openwop.models.base import TolerantModel, each_an_object

__all__ = ["AuditAnomaly", "AuditCheckpoint", "AuditVerifyResult"]


# What cannot be read must not leave the list: a checkpoint less to check would be one that fits.
_EachOnItsOwn = BeforeValidator(each_an_object)


class AuditCheckpoint(TolerantModel):
    """A statement, signed by the host, about all entries of its log up to ``at_sequence``.

    One that lacks something can be read, and does not verify.
    """

    checkpoint: str = ""
    at_sequence: int | None = None
    merkle_root: str = ""
    """Hexadecimal."""
    signature: str = ""
    """Base64 of an Ed25519 signature; :func:`openwop.audit.verify_checkpoints` checks it."""


class AuditAnomaly(TolerantModel):
    """An entry that does not hold the hash of the entry before it."""

    at_seq: int | None = None
    expected_prev_hash: str = ""
    actual_prev_hash: str = ""
    """Empty when the entry holds no hash."""


class AuditVerifyResult(TolerantModel):
    """What a host found when it checked entries ``from_seq`` to ``to_seq`` of its audit log, both included.

    This is the host's own word.  What can be checked without it is the signatures:
    :func:`openwop.audit.verify_checkpoints`.
    """

    from_seq: int | None = None
    to_seq: int | None = None
    chain_valid: bool = False
    """``False`` also when the host left it out: silence proves nothing."""
    checkpoints_valid: bool | None = None
    """Only that the signatures are good; ``None`` when the host does not tell the two apart."""
    checkpoints: Annotated[list[AuditCheckpoint], _EachOnItsOwn] = Field(
        default_factory=list[AuditCheckpoint]
    )
    anomalies: Annotated[list[AuditAnomaly], _EachOnItsOwn] = Field(default_factory=list[AuditAnomaly])
