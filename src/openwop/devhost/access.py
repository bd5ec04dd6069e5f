"""Who may do what: API keys with their scopes, and signed tokens for single interrupts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from openwop.devhost.clock import milliseconds
from openwop.devhost.errors import HostError
from openwop.devhost.json_values import decode, encode, is_object

SCOPES = frozenset(
    {
        "manifest:read",
        "runs:create",
        "runs:read",
        "runs:cancel",
        "artifacts:read",
        "approvals:respond",
        "webhooks:manage",
        "workspace:read",
        "workspace:write",
        "content:read",
        "content:write",
        "packs:publish",
        "prompts:read",
        "prompts:write",
        "deploy:promote",
        "deploy:pause",
        "deploy:rollback",
        "runs:annotate",
        "audit:read",
    }
)
TEST_KEY_PREFIX = "hk_test_"


@dataclass(frozen=True)
class ApiKey:
    """A key that the host accepts.

    Attributes:
        key: The secret itself.
        scopes: What it grants; no scope implies another.
        tenant: The only tenant whose runs it sees and creates; None sees all of them.
        name: Whose key it is, as approvals call that person (``approversList``, ``decidedBy``): who has a name decides
            under it, and only where an approval without a list, or with that name on it, is asked for. A key
            without a name decides everything, under any name.
    """

    key: str
    scopes: frozenset[str] = SCOPES
    tenant: str | None = None
    name: str | None = None

    def __repr__(self) -> str:
        return f"ApiKey({self.principal}, tenant={self.tenant!r})"

    @cached_property
    def principal(self) -> str:
        """An opaque name for the key's holder, which does not give the key away."""
        return self.name or "key_" + hashlib.blake2s(self.key.encode(), digest_size=6).hexdigest()

    @property
    def is_test_key(self) -> bool:
        """Whether mock providers and test seams are open to it."""
        return self.key.startswith(TEST_KEY_PREFIX)


class KeyRing:
    """The keys of a host; keys may come and go while it runs."""

    def __init__(self, keys: Iterable[str | ApiKey]) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._revoked: set[str] = set()
        for key in keys:
            self.add(key)

    def add(self, key: str | ApiKey) -> ApiKey:
        """Accept a key from now on."""
        entry = ApiKey(key) if isinstance(key, str) else key
        if not entry.key or not entry.key.isascii() or any(c.isspace() for c in entry.key):
            raise ValueError("an API key is made of printable ASCII characters, without spaces")
        self._keys[entry.key] = entry
        self._revoked.discard(entry.key)
        return entry

    def revoke(self, key: str) -> None:
        """Refuse a key from now on, with 401 ``key_revoked``."""
        self._keys.pop(key, None)
        self._revoked.add(key)

    def first(self) -> ApiKey:
        """Return the oldest key that is still accepted."""
        return next(iter(self._keys.values()))

    def of_principal(self, principal: str) -> ApiKey | None:
        """Return the key that is still accepted and whose holder has this name."""
        return next((key for key in self._keys.values() if key.principal == principal), None)

    def accepts(self, key: ApiKey) -> bool:
        """Tell whether a key is still accepted."""
        return self._keys.get(key.key) == key

    def authenticate(self, authorization: str | None) -> ApiKey:
        """Find the key of an ``Authorization`` header.

        Raises:
            HostError: 401, when there is no key or it is not accepted.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise _unauthenticated("unauthenticated", "Send Authorization: Bearer <api key>.")
        if credential in self._revoked:
            raise _unauthenticated("key_revoked", "The API key has been revoked.")
        entry = self._keys.get(credential)
        if entry is None:
            raise _unauthenticated("unauthenticated", "The API key is not known.")
        return entry


def require_scopes(key: ApiKey, scopes: Iterable[str]) -> None:
    """Refuse a key that lacks one of the scopes.

    Raises:
        HostError: 403 ``forbidden``.
    """
    for scope in scopes:
        if scope not in key.scopes:
            details = {"scopeRequired": scope}
            raise HostError(403, "forbidden", f"The API key lacks the scope {scope}.", details=details)


def _unauthenticated(code: str, message: str) -> HostError:
    return HostError(401, code, message, headers={"WWW-Authenticate": "Bearer"})


@dataclass(frozen=True, slots=True)
class InterruptToken:
    """What a signed interrupt token says: one interrupt, until a time, for one purpose."""

    run_id: str
    node_id: str
    interrupt_id: str
    expires_at: str
    intent: str


class TokenSigner:
    """Signs and reads interrupt tokens: ``base64url(payload) + "." + base64url(HMAC-SHA-256)``."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, token: InterruptToken) -> str:
        """Return the token's text. It is a secret: whoever has it may use it."""
        payload = encode(
            {
                "runId": token.run_id,
                "nodeId": token.node_id,
                "interruptId": token.interrupt_id,
                "expiresAt": token.expires_at,
                "intent": token.intent,
            }
        )
        return f"{_to_text(payload)}.{_to_text(self._mac(payload))}"

    def read(self, text: str, now: float) -> InterruptToken:
        """Check a token and return what it says.

        Raises:
            HostError: 404 for a token that this host has not signed, 410 for one that has expired.
        """
        unknown = HostError(404, "interrupt_not_found", "The token is not one of this host's.")
        payload_text, _, mac_text = text.partition(".")
        try:
            payload = _from_text(payload_text)
        except (binascii.Error, ValueError) as error:
            raise unknown from error
        if not hmac.compare_digest(mac_text.encode(errors="replace"), _to_text(self._mac(payload)).encode()):
            raise unknown
        body = decode(payload)
        assert is_object(body)  # only this class signs
        if milliseconds(body["expiresAt"]) <= now * 1000:
            raise HostError(410, "interrupt_expired", "The token has expired.")
        return InterruptToken(
            run_id=body["runId"],
            node_id=body["nodeId"],
            interrupt_id=body["interruptId"],
            expires_at=body["expiresAt"],
            intent=body["intent"],
        )

    def _mac(self, payload: bytes) -> bytes:
        return hmac.new(self._secret, payload, hashlib.sha256).digest()


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _from_text(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
