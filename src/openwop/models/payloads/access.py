"""Payloads of events about tools, other services and what is allowed.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from openwop.models.base import TolerantModel

__all__ = [
    "AuthorizationDecided",
    "ConnectorAuthExpired",
    "ConnectorAuthorized",
    "EgressDecided",
    "ToolSessionClosed",
    "ToolSessionOpened",
]


class ToolSessionOpened(TolerantModel):
    """``tool.session.opened``: the host opened a session with a tool; the calls in it follow."""

    session_id: str
    tool_id: str


class ToolSessionClosed(TolerantModel):
    """``tool.session.closed``: the host closed a session with a tool."""

    session_id: str
    tool_id: str
    outcome: str
    """Known values: ``completed failed cancelled``."""


class EgressDecided(TolerantModel):
    """``egress.decided``: the host decided whether a credential may go out to a destination."""

    decision: str
    """With ``downgraded``, the request went out without the credential.  Known values: ``allowed denied downgraded
    approval-required``.
    """
    destination: str
    """Host name only."""
    credential_id: str | None = None
    reason: str | None = None
    """Known values: ``ok out-of-audience expired ssrf-blocked provenance-unevaluable scope-denied policy-denied``."""
    audit_correlation_id: str | None = None


class ConnectorAuthorized(TolerantModel):
    """``connector.authorized``: the host may act for somebody at another service."""

    provider: str
    credential_ref: str
    """Where the token is kept; never the token."""
    scopes: list[str] | None = None


class ConnectorAuthExpired(TolerantModel):
    """``connector.auth_expired``: the host may no longer act for somebody at another service."""

    provider: str
    credential_ref: str
    """Where the token is kept; never the token."""
    reason: str | None = None


class AuthorizationDecided(TolerantModel):
    """``authorization.decided``: the host decided whether somebody may do something."""

    principal: str
    """Who it was; opaque."""
    action: str
    """Such as ``runs:cancel``."""
    resource: str
    allowed: bool
    reason: str | None = None
