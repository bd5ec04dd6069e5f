"""What the host refuses, in the protocol's error envelope ``{error, message, details?}``."""

from __future__ import annotations

from collections.abc import Mapping

from openwop.devhost.json_values import JsonObject


class HostError(Exception):
    """A request that is answered with an error envelope.

    Attributes:
        status: The HTTP status.
        code: The machine-readable code, the envelope's ``error``.
        message: A sentence for people; never for branching.
        details: Code-specific facts, or None.
        headers: Further response headers, such as ``Retry-After``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.headers = dict(headers or {})

    def envelope(self) -> JsonObject:
        """Return the response body."""
        body: JsonObject = {"error": self.code, "message": self.message}
        if self.details:
            body["details"] = self.details
        return body


def invalid(message: str, *, field: str | None = None, **details: object) -> HostError:
    """Build the 400 ``validation_error`` for a request that breaks a rule of the protocol."""
    facts: JsonObject = dict(details)
    if field is not None:
        facts["field"] = field
    return HostError(400, "validation_error", message, details=facts or None)


def not_found(what: str, identifier: str) -> HostError:
    """Build the 404 for something that does not exist, or that the caller may not see."""
    return HostError(404, "not_found", f"There is no {what} {identifier!r}.")


class NodeFailure(Exception):
    """A node that fails, with the code and message that the event log and the snapshot carry."""

    def __init__(
        self, code: str, message: str, *, details: JsonObject | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retryable = retryable

    def error(self) -> JsonObject:
        """Return the error object of ``node.failed`` and ``run.failed``."""
        body: JsonObject = {"code": self.code, "message": self.message}
        if self.details:
            body["details"] = self.details
        if self.retryable is not None:
            body["retryable"] = self.retryable
        return body


class WorkflowDefinitionError(ValueError):
    """A workflow definition that the host cannot take: the message names the place and the rule."""
