"""What the end of a run, or of a start, means: states and errors in, errors and facts out."""

from __future__ import annotations

from openwop._core.redact import redact_text
from openwop.errors import (
    ApiError,
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
    ResponseDecodeError,
    RunCancelledError,
    RunFailedError,
    RunWaitTimeoutError,
)
from openwop.models.runs import RunSnapshot

__all__ = ["completed", "may_have_started", "outcome_error"]

_MAX_MESSAGE = 2000


def outcome_error(snapshot: RunSnapshot) -> OpenwopError | None:
    """The error for a run that ended otherwise than ``completed``; ``None`` for one that did, or of an unknown end."""
    if snapshot.status == "failed":
        error = snapshot.error
        # A run's error is often a provider's, which quotes keys and whole requests.
        why = f": {error.code}: {redact_text(error.message)[:_MAX_MESSAGE]}" if error is not None else ""
        return RunFailedError(f"run {snapshot.run_id} failed{why}", snapshot=snapshot)
    if snapshot.status == "cancelled":
        return RunCancelledError(f"run {snapshot.run_id} was cancelled", snapshot=snapshot)
    return None


def completed(snapshot: RunSnapshot) -> RunSnapshot:
    """The same, of a run that completed, or of an unknown end; raises what else became of it."""
    error = outcome_error(snapshot)
    try:
        if error is not None:
            raise error
        return snapshot
    finally:
        del error  # no cycle of the error, its traceback and this frame


def may_have_started(error: BaseException) -> bool:
    """Whether a start that ended in ``error`` may have reached the host without its answer reaching us."""
    if isinstance(error, ConnectionFailedError):
        return not error.not_sent
    if isinstance(error, RequestTimeoutError | RunWaitTimeoutError | ResponseDecodeError):
        return True
    if isinstance(error, ApiError):
        # A gateway gave up on a host that may still be at work, or the host itself says that it is.
        named = error.status in (408, 502, 504) or error.code == "idempotency_in_flight"
        return named or error._may_be_done
    return not isinstance(error, Exception)  # cancelled on the way
