"""An OAuth 2.0 token endpoint on a real socket, which counts what it is asked."""

from __future__ import annotations

import base64
import ssl
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus

from support.fault_server import Answer, FaultServer, Request, Script, json_response

CLIENT_ID = "my service"
CLIENT_SECRET = "s3cr:t +/ünï"
PATH = "/oauth2/token"


class TokenServer:
    """Gives the tokens ``token-1``, ``token-2`` … to the one client that it knows.

    ``answers`` come first, one for each request; ``over`` changes the fields of a token's answer, and ``None`` leaves
    one out.
    """

    def __init__(self, *answers: Answer, ssl_context: ssl.SSLContext | None = None, **over: Any) -> None:
        self.server = FaultServer(ssl_context=ssl_context)
        self.over: dict[str, Any] = over
        self.forms: list[dict[str, str]] = []
        self.given = 0
        self._answers = answers

    def __enter__(self) -> Self:
        self.server.__enter__()
        self.server.on("POST", PATH, *self._answers, self._give)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, traceback)

    @property
    def url(self) -> str:
        """The token endpoint."""
        return self.server.base_url + PATH

    @property
    def asked(self) -> int:
        """How many requests came."""
        return len(self.server.requests)

    def _give(self, request: Request) -> Script:
        form = {name: value for name, [value] in parse_qs(request.body.decode()).items()}
        self.forms.append(form)
        if self._client(request, form) != (CLIENT_ID, CLIENT_SECRET):
            return refusal(401, "invalid_client", "who is this?")
        self.given += 1
        answer = {
            "access_token": f"token-{self.given}",
            "token_type": "Bearer",
            "expires_in": 3600,
        } | self.over
        return json_response(200, {name: value for name, value in answer.items() if value is not None})

    @staticmethod
    def _client(request: Request, form: dict[str, str]) -> tuple[str | None, str | None]:
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            return unquote_plus(name), unquote_plus(secret)
        return form.get("client_id"), form.get("client_secret")


def refusal(status: int, code: str, description: str | None = None) -> Script:
    """An error in the words of OAuth."""
    return json_response(status, {"error": code, "error_description": description})
