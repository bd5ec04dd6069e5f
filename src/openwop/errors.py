"""Every exception that this library raises.

The class is chosen by the machine code of the host's error envelope first and by the HTTP status second.  Facts are
attributes, never only text, and every error survives ``pickle`` and ``copy``.  No error ever carries a key or a token.

Rules: ``rest-endpoints.md`` (error envelope), ``idempotency.md``, ``version-negotiation.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openwop._error_codes import ERROR_CODES, RUN_ERROR_CODES

if TYPE_CHECKING:
    from openwop.models.runs import RunSnapshot

__all__ = [
    "ERROR_CODES",
    "RUN_ERROR_CODES",
    "ApiError",
    "AuthenticationError",
    "CapabilityNotSupportedError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "DocumentProblem",
    "DocumentValidationError",
    "EngineVersionMismatchError",
    "GoneError",
    "IdempotencyMismatchError",
    "InvalidRequestError",
    "NotFoundError",
    "OpenwopError",
    "PermissionDeniedError",
    "ProtocolVersionError",
    "RateLimitedError",
    "RequestTimeoutError",
    "RequestValidationError",
    "ResponseDecodeError",
    "RunAlreadyActiveError",
    "RunCancelledError",
    "RunFailedError",
    "RunWaitTimeoutError",
    "ServerError",
    "StartUnknownError",
    "StreamDecodeError",
    "StreamLostError",
    "WebhookVerificationError",
    "error_class",
]


def _rebuild(cls: type[OpenwopError], args: tuple[Any, ...], state: dict[str, Any]) -> OpenwopError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class OpenwopError(Exception):
    """Base class of everything that this library raises.

    Example::

        try:
            await client.runs.get("run-1")
        except OpenwopError as error:
            print(error)
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds an exception by calling its class with `args`, which fails for keyword-only parameters.
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class ConfigurationError(OpenwopError, ValueError):
    """The client was set up in a way that cannot work; the text says what to write instead."""


class RequestValidationError(OpenwopError, ValueError):
    """An argument that the protocol would refuse, found before anything was sent.

    Attributes: ``field`` (the argument, with its path), ``rule`` (what it must be).
    """

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One thing that is wrong with a document."""

    field: str
    """Where in the document: ``nodes[0].typeId``; the empty text for the whole."""
    rule: str
    """What it must be."""
    line: int | None = None
    """The line of the file, from 1; ``None`` where there is none."""
    column: int | None = None
    """The character of the line, from 1."""

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}: " if self.line is not None else ""
        return f"{where}{self.field or 'the document'}: {self.rule}"


class DocumentValidationError(RequestValidationError):
    """A document that the protocol would refuse, with everything that was found wrong with it.

    Attributes: ``source`` (the file's name), ``problems`` (in the order of the lines); ``field`` and ``rule`` are those
    of the first problem.

    Example::

        try:
            WorkflowDefinition.validate_file("greet.json")
        except DocumentValidationError as error:
            for problem in error.problems:
                print(problem.line, problem.field, problem.rule)
    """

    def __init__(self, source: str, problems: Iterable[DocumentProblem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.field or "the document", first.rule)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        self.args = ("\n  ".join([f"{source}: {count}", *map(str, self.problems)]),)


class ConnectionFailedError(OpenwopError):
    """The host could not be reached, or the connection broke before an answer.

    Attributes: ``operation``, ``idempotency_key`` (the key the call was sent under, or ``None``: send the call again
    under it and it takes effect once at most), ``not_sent`` (proven that the host saw nothing of the request),
    ``stale_connection`` (an idle connection was closed by the host just as the request went out).
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        idempotency_key: str | None = None,
        not_sent: bool = False,
        stale_connection: bool = False,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.idempotency_key = idempotency_key
        self.not_sent = not_sent
        self.stale_connection = stale_connection


class RequestTimeoutError(OpenwopError, TimeoutError):
    """No answer within ``timeout`` (one attempt) or ``total_timeout`` (the whole call).

    Attributes: ``operation``, ``idempotency_key``.
    """

    def __init__(
        self, message: str, *, operation: str | None = None, idempotency_key: str | None = None
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.idempotency_key = idempotency_key


class ResponseDecodeError(OpenwopError):
    """A successful answer that is not what the protocol says.

    Attributes: ``operation``, ``status``, ``field`` (where it differs, ``""`` for the whole), ``excerpt`` (a bounded,
    redacted piece of the body).
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        status: int | None = None,
        field: str = "",
        excerpt: str = "",
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.status = status
        self.field = field
        self.excerpt = excerpt


class ProtocolVersionError(OpenwopError):
    """Client and host share no major of the protocol, or the host demands a newer client (426, ``minClientVersion``).

    Attributes: ``offered`` (versions the host names), ``minimum`` (the host's ``minClientVersion``).
    """

    def __init__(self, message: str, *, offered: tuple[str, ...] = (), minimum: str | None = None) -> None:
        super().__init__(message)
        self.offered = offered
        self.minimum = minimum


class StreamLostError(OpenwopError):
    """A stream could not be continued.  Give ``cursor`` to a new stream as ``after=`` and nothing is lost.

    Attributes: ``last_event_id``, ``last_sequence``, ``cursor``.
    """

    def __init__(
        self,
        message: str,
        *,
        last_event_id: str | None = None,
        last_sequence: int | None = None,
        cursor: int | str | None = None,
    ) -> None:
        super().__init__(message)
        self.last_event_id = last_event_id
        self.last_sequence = last_sequence
        self.cursor = cursor


class StreamDecodeError(OpenwopError):
    """An event that was needed next could not be read, neither from the stream nor by a poll.

    Attributes: ``last_event_id``, ``excerpt`` (bounded and redacted).
    """

    def __init__(self, message: str, *, last_event_id: str | None = None, excerpt: str = "") -> None:
        super().__init__(message)
        self.last_event_id = last_event_id
        self.excerpt = excerpt


_REFUSALS = {
    "missing_signature": "it has no signature header",
    "missing_timestamp": "it has no timestamp header beside its signature",
    "ambiguous_header": "a header came twice, with two values",
    "unknown_algorithm": "its signature algorithm is not v1",
    "malformed_signature": "its signature is not 'sha256=' and 64 hexadecimal characters",
    "malformed_timestamp": "its timestamp is not a number of seconds",
    "stale_timestamp": "its timestamp is too far from this machine's clock",
    "signature_mismatch": "none of the secrets signed these bytes",
    "malformed_body": "its body is not a delivery of an event",
    "replayed": "it was delivered before",
}


class WebhookVerificationError(OpenwopError):
    """A webhook delivery that must not be acted on (``webhooks.md``).

    Attributes: ``reason``, one of ``missing_signature missing_timestamp ambiguous_header unknown_algorithm
    malformed_signature malformed_timestamp stale_timestamp signature_mismatch malformed_body replayed``.  Answer
    ``replayed`` with a 2xx status, since the event has been taken in; anything else with a 4xx that says nothing more.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"webhook delivery refused: {_REFUSALS.get(reason, reason)} ({reason})")
        self.reason = reason


class _RunOutcomeError(OpenwopError):
    def __init__(self, message: str, *, snapshot: RunSnapshot | None = None) -> None:
        super().__init__(message)
        self.snapshot = snapshot


class RunFailedError(_RunOutcomeError):
    """A run ended as ``failed``; ``snapshot`` is its last state, ``snapshot.error`` says why."""


class RunCancelledError(_RunOutcomeError):
    """A run ended as ``cancelled``; ``snapshot`` is its last state."""


class RunWaitTimeoutError(_RunOutcomeError, TimeoutError):
    """A run was still going when the time for waiting was over; ``snapshot`` is its last known state, or ``None``."""


class StartUnknownError(OpenwopError):
    """A run may have been started so long ago that the host may not know the key any more: there might be two.

    It comes from a fan-out's ``journal``, of a start whose answer never arrived; nothing was sent.

    Attributes: ``idempotency_key``, under which it was asked for.
    """

    def __init__(self, message: str, *, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key


class ApiError(OpenwopError):
    """The host refused a call.

    Attributes:
        status: HTTP status, or ``None`` when told from discovery without a request.
        code: the machine code of the envelope (``"rate_limited"``), or ``"http_<status>"`` when there was none.
        message: the host's text, possibly localised; never branch on it.
        details: the envelope's ``details``, ``{}`` when absent.
        trace_id: 32 hexadecimal characters to find the call in the host's traces.
        retryable: whether the same call may succeed later (with the same key, where it has one).
        retry_after: seconds the host asks to wait, or ``None``.
        idempotency_key: the key the call was sent under, or ``None``.
        operation: the operation's id in the protocol's OpenAPI document, or ``None``.
        correlation_id: the host's own handle for the failure, ``details["correlationId"]``, where it is one that can
            be shown: a word of at most 128 characters, and nothing that looks like a key.

    Example::

        try:
            await client.runs.get("run-1")
        except NotFoundError as error:
            print(error.code, error.trace_id)
    """

    def __init__(
        self,
        status: int | None,
        code: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        trace_id: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
        operation: str | None = None,
        correlation_id: str | None = None,
        note: str = "",
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.details: dict[str, Any] = details if details is not None else {}
        self.trace_id = trace_id
        self.retryable = retryable
        self.retry_after = retry_after
        self.idempotency_key = idempotency_key
        self.operation = operation
        self.correlation_id = correlation_id
        self.note = note
        self._may_be_done = False
        """Whether an earlier attempt of the same call may have been carried out, because its answer was lost."""

    def __str__(self) -> str:
        head = f"{self.operation}: " if self.operation else ""
        status = f" (HTTP {self.status})" if self.status is not None else ""
        note = f" [{self.note}]" if self.note else ""
        trace = f" (trace={self.trace_id})" if self.trace_id else ""
        correlation = f" (correlation={self.correlation_id})" if self.correlation_id else ""
        return f"{head}{self.code}{status}: {self.message}{self._advice()}{note}{trace}{correlation}"

    def _advice(self) -> str:
        """What to do about it, where the class knows and the host's text may not say."""
        return ""


class InvalidRequestError(ApiError):
    """400, 413, 415 or 422: the host does not accept the request as it is."""


class AuthenticationError(ApiError):
    """401: no key, or one that is invalid, expired or revoked; without a ``status``, an OAuth server gave no token."""


class PermissionDeniedError(ApiError):
    """403: the key lacks a scope, or the resource belongs to someone else."""


class NotFoundError(ApiError):
    """404: it does not exist, or may not be seen with this key."""


class ConflictError(ApiError):
    """409: the state does not allow it."""


class RunAlreadyActiveError(ConflictError):
    """409 ``run_already_active``: with ``dedup=True``, the scope's active run is ``details["activeRunId"]``."""

    def _advice(self) -> str:
        active = self.details.get("activeRunId")
        which = f"run {active[:128]!r}" if isinstance(active, str) and active else "another run of its scope"
        return f"; {which} is active: follow or cancel that one, or start this one when it is over"


class IdempotencyMismatchError(ConflictError):
    """409 ``idempotency_key_mismatch``: the key was used before with another body.  Never retried."""


class GoneError(ApiError):
    """410: it existed and is gone (expired token, cancelled parent, retention)."""


class RateLimitedError(ApiError):
    """429: too many requests; ``retry_after`` says for how long."""


class ServerError(ApiError):
    """5xx: the host failed."""


class EngineVersionMismatchError(ServerError):
    """``engine_version_mismatch``: the host is being upgraded and cannot go on with this run yet; try again later.

    ``details`` has ``runId``, ``persistedVersion`` and ``currentVersion``, where the host says so.
    """


class CapabilityNotSupportedError(ApiError):
    """The host does not offer this; ``capability`` names it.  ``status`` is ``None`` when told from discovery."""

    def __init__(
        self, status: int | None, code: str, message: str, *, capability: str | None = None, **facts: Any
    ) -> None:
        super().__init__(status, code, message, **facts)
        self.capability = capability


_BY_CODE: dict[str, type[ApiError]] = {
    "run_already_active": RunAlreadyActiveError,
    "idempotency_key_mismatch": IdempotencyMismatchError,
    # Retired spellings that older hosts still send (idempotency.md).
    "idempotency_key_conflict": IdempotencyMismatchError,
    "idempotency_key_replay_mismatch": IdempotencyMismatchError,
    "capability_not_provided": CapabilityNotSupportedError,
    "capability_required": CapabilityNotSupportedError,
    "engine_version_mismatch": EngineVersionMismatchError,
    "rate_limited": RateLimitedError,
    "unauthenticated": AuthenticationError,
    "key_expired": AuthenticationError,
    "key_revoked": AuthenticationError,
}

_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
    501: CapabilityNotSupportedError,
}


def error_class(status: int, code: str | None) -> type[ApiError]:
    """The exception class for a refused call: by ``code`` first, then by ``status``, then by its hundred."""
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return ServerError
    return InvalidRequestError if 400 <= status < 500 else ApiError
