"""What never reaches a log or an error message, and how it is taken out.

The protocol asks clients to keep keys, bearer tokens, interrupt tokens, webhook secrets and idempotency keys out of
their logs (``auth-profiles.md``, ``webhooks.md``, ``idempotency.md``). An interrupt token is a credential and part
of a URL (``interrupt.md``), so URLs need it too. The functions here take text or data and return it with each such
value replaced by `REDACTED`; they leave everything else as it was, and what they return they leave alone.

Where a rule has to guess, it guesses "secret": a lost word in a message is cheaper than a lost key.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote, unquote

from openwop.models.key_shapes import PROVIDER_KEYS

__all__ = [
    "REDACTED",
    "excerpt",
    "is_secret_name",
    "redact_headers",
    "redact_json",
    "redact_log_argument",
    "redact_text",
    "redact_url",
    "scrub",
]

REDACTED = "[REDACTED]"

# Names are compared in lower case and without "-", "_", "." and spaces, and by how they end: "X-Api-Key",
# "api_key" and "openwopApiKey" are one. In the plural they are counters or settings ("maxTokens", "secrets").
_SECRET_ENDINGS = (
    *("token", "secret", "password", "passwd", "passphrase", "authorization", "cookie", "bearer", "jwt"),
    *("apikey", "accesskey", "secretkey", "privatekey", "signingkey", "idempotencykey"),
    *("credential", "credentials"),
    *("ingesturl", "ingestaddress"),  # where a trigger listens: shown once, and all that guards it
)
_SECRET_QUERY_NAMES = frozenset({"auth", "code", "key", "sig", "pwd"})
_SECRET_QUERY_ENDINGS = (*_SECRET_ENDINGS, "signature")

_SEPARATORS = str.maketrans("", "", "-_. ")

# Each pattern runs in linear time, because messages come from hosts and may be long: it starts only at the
# beginning of a word or at a delimiter that it cannot run over again, or looks a fixed number of characters ahead.

# In a URL a value goes on to the next delimiter; in text also to the next space, quote or bracket.
_IN_URL, _IN_TEXT = r"", r"\s\"'<>(){}\\"


def _token_path(stop: str) -> re.Pattern[str]:
    # Behind a run stands the id of a node, /runs/{runId}/interrupts/{nodeId}, and that is no secret, unless it
    # looks like a token. A "run" named v1 is the version behind a path prefix that ends in "runs".
    run_scoped = r"/runs/++(?!v\d+/)[^/?#\s]++/++interrupts/++(?![\w-]{16,}\.[\w-]{16,})"
    return re.compile(rf"{run_scoped}[^/?#{stop}]*|(/interrupts/++)[^?#{stop}]+", re.IGNORECASE)


_URL_TOKEN_PATH, _TEXT_TOKEN_PATH = _token_path(_IN_URL), _token_path(_IN_TEXT)
_URL_USERINFO, _TEXT_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@"), re.compile(rf"(?<=://)[^/?#{_IN_TEXT}]*@")
_QUERY_NAME = re.compile(r"[?&;#]([^=&;#?\s\"'<>]++)=")
_URL_QUERY_VALUE, _TEXT_QUERY_VALUE = re.compile(r"[^&#]+"), re.compile(rf"[^&#{_IN_TEXT}]+")

# The words behind "bearer" in a sentence about bearer tokens. "Basic" is an everyday word: what follows has to
# look like base64.
_PROSE = (
    r"(?:tokens?|auth\w*|schemes?|scopes?|credentials?|realm|keys?|headers?|formats?|errors?"
    r"|is|was|of|or|and|not|must|may|should|missing|required|invalid|expired)(?![\w~+/-]|\.\w)"
)
_BEARER = re.compile(rf"((?:bearer[ \t]++)+)(?!{_PROSE})[^\s\"',;<>]+", re.IGNORECASE)
_BASIC = re.compile(r"\b([Bb]asic[ \t]++)(?=[a-z/+_-]*[A-Z0-9=])[\w+/=-]{8,}")
_HEADER_LINE = re.compile(
    r"(?<![\w-])((?:proxy-)?authorization|(?:x-)?api-key|idempotency-key|(?:set-)?cookie)(\s*+:\s*+)"
    r"(?:(?:bearer|basic|digest|negotiate)[ \t]++)?[^\s\"',;<>]++(?:;[ \t]*+[^\s\"',;<>]++)*+",
    re.IGNORECASE,
)
# Members of JSON, also of JSON inside a string of JSON, and also where their end was cut off.
_MEMBER = re.compile(r"(?<!\\)(\\*[\"'])([^\"'\\]{1,128})\1\s*+:\s*+(?=[\\\"'\d{\[])")
_MEMBER_VALUE = re.compile(
    r"\"(?:[^\"\\]++|\\.)*+\"?|'(?:[^'\\]++|\\.)*+'?|\\+[\"'][^\"'\\]*|[\d.eE+-]+|[{\[][^}\]]*[}\]]?",
    re.DOTALL,
)
_ASSIGNMENT = re.compile(r"(?<![\w.-])([\w.-]+)=")
_ASSIGNED_VALUE = re.compile(rf"\"[^\"]*\"?|'[^']*'?|[^&;,={_IN_TEXT}][^&;,{_IN_TEXT}]*")
_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hk_[\w.-]{4,}"
    r"|(?:sk|pk|rk|whsec)[_-][\w-]{16,}"
    rf"|{PROVIDER_KEYS}"  # a host may quote its model provider's answer
    r"|eyJ[\w-]{16}[\w.-]*"  # base64url of '{"' and more: a JSON Web Token or an interrupt token
    r")"
)

_SHORTEST_SECRET = 6
_WINDOW_BYTES = 512
_WORD_CHARS = "\ufffdabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~+/=%-"
_CUT = "…"


def is_secret_name(name: str) -> bool:
    """Say whether the value of a header or JSON key of this name must not be shown.

    Example::

        assert is_secret_name("X-Api-Key") and is_secret_name("accessToken")
        assert not is_secret_name("maxTokens")
    """
    return name.lower().translate(_SEPARATORS).endswith(_SECRET_ENDINGS)


def _is_secret_query_name(name: str) -> bool:
    plain = unquote(name).lower().translate(_SEPARATORS)
    return plain in _SECRET_QUERY_NAMES or plain.endswith(_SECRET_QUERY_ENDINGS)


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Copy headers, without the values of secret names; in all others as in `redact_text`.

    Example::

        redact_headers({"Authorization": "Bearer hk_live_1"})  # {"Authorization": "[REDACTED]"}
    """
    return {name: REDACTED if is_secret_name(name) else redact_text(value) for name, value in headers.items()}


def redact_url(url: str) -> str:
    """Take user and password, interrupt tokens and the values of secret query parameters out of a URL.

    Also takes a path alone; text without any of these comes back as it is. Behind ``/interrupts/`` everything up
    to the query is a token, except in paths below a run, where it is the id of a node.

    Example::

        redact_url("https://me:pw@host/v1/interrupts/abc.def?key=1")
        # "https://host/v1/interrupts/[REDACTED]?key=[REDACTED]"
    """
    url = _URL_USERINFO.sub("", url)
    url = _URL_TOKEN_PATH.sub(_redact_token, url)
    return _redact_values(url, _QUERY_NAME, _URL_QUERY_VALUE, _is_secret_query_name)


def scrub(content: bytes, secrets: Iterable[str]) -> bytes:
    """Take values that are known to be secret out of a body, in whatever way it spells them.

    Values of fewer than 6 characters stay: they would be found in words that are none.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            for spelling in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
                content = content.replace(spelling.encode(), REDACTED.encode())
    return content


def redact_text(text: str) -> str:
    """Take everything that looks like a secret out of free text: a message, a log line, a piece of a body.

    Found are URLs as in `redact_url`; credentials behind ``Bearer`` and ``Basic``; keys of well-known shapes
    (``hk_…``, ``sk_…``, JSON Web Tokens); and the values of secret names in ``name=value``, in header lines and
    in JSON, even where the JSON is cut off. Takes time in proportion to the length of the text.
    """
    # The searches by which most text is spared the patterns, which take ten times as long.
    lower = text.lower()
    if ":" in text:
        text = _HEADER_LINE.sub(rf"\1\2{REDACTED}", text)
        text = _redact_values(text, _MEMBER, _MEMBER_VALUE, is_secret_name)
        text = _TEXT_USERINFO.sub("", text)
    if "bearer" in lower or "basic" in lower:
        text = _BEARER.sub(rf"\1{REDACTED}", text)
        text = _BASIC.sub(rf"\1{REDACTED}", text)
    if "/interrupts/" in lower:
        text = _TEXT_TOKEN_PATH.sub(_redact_token, text)
    if "=" in text:
        text = _redact_values(text, _QUERY_NAME, _TEXT_QUERY_VALUE, _is_secret_query_name)
        text = _redact_values(text, _ASSIGNMENT, _ASSIGNED_VALUE, is_secret_name)
    return _KEYS.sub(REDACTED, text)


def redact_json(value: object, *, max_depth: int = 16) -> Any:
    """Copy decoded JSON without its secrets: the values of secret names, and those in texts as in `redact_text`.

    Objects and arrays below ``max_depth`` levels become ``"[...]"``, so the result is bounded in depth for any
    input. ``null``, booleans and empty texts are never secret. A value that is not JSON is named by its type.

    Example::

        redact_json({"url": "https://host/hook", "secret": "5f2b"})
        # {"url": "https://host/hook", "secret": "[REDACTED]"}
    """
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping | list | tuple) and max_depth < 1:
        return "[...]"
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value)
        return {
            redact_text(str(name)): _redact_member(str(name), member, max_depth - 1)
            for name, member in members.items()
        }
    if isinstance(value, list | tuple):
        items = cast("list[object] | tuple[object, ...]", value)
        return [redact_json(item, max_depth=max_depth - 1) for item in items]
    return f"<{type(value).__name__}>"


def redact_log_argument(value: object) -> object:
    """Redact one argument of a log record, for use in a ``logging.Filter``.

    Numbers, None and objects whose text holds no secret come back as they are, so that every format specifier
    goes on working; anything else comes back as its redacted text.
    """
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    redacted = redact_text(text)
    return value if redacted == text else redacted


def excerpt(content: bytes, limit: int = 200) -> str:
    """Return the beginning of a body for an error message: redacted, printable, on one line, bounded.

    At most ``limit`` characters; what was left out shows as ``…`` at the end. Bytes that are not UTF-8 show as
    U+FFFD, and each run of white space and control characters as one space.
    """
    if limit < 1:
        return ""
    # Redacting shortens, so more than `limit` is looked at. A secret that the window cuts might no longer look
    # like one: the word that stands there is left out.
    window = 2 * limit + _WINDOW_BYTES
    text = content[:window].decode("utf-8", "replace")
    more = len(content) > window
    text = text.rstrip(_WORD_CHARS) if more else text
    shown = redact_text(" ".join("".join(char if char.isprintable() else " " for char in text).split()))
    return shown[: limit - 1] + _CUT if more or len(shown) > limit else shown


def _redact_member(name: str, member: object, max_depth: int) -> Any:
    if is_secret_name(name) and member is not None and member != "" and not isinstance(member, bool):
        return REDACTED
    return redact_json(member, max_depth=max_depth)


def _redact_token(match: re.Match[str]) -> str:
    return match[0] if match[1] is None else match[1] + REDACTED


def _redact_values(
    text: str, names: re.Pattern[str], values: re.Pattern[str], is_secret: Callable[[str], bool]
) -> str:
    """Replace the value behind each secret name. The last group of ``names`` is the name."""
    parts: list[str] = []
    done = 0
    for found in names.finditer(text):
        if found.start() < done or not is_secret(found[found.re.groups]):
            continue
        value = values.match(text, found.end())
        if value is None:
            continue
        quote = value[0][0] if value[0][0] in "\"'" else ""
        parts += (text[done : found.end()], quote, REDACTED, quote)
        done = value.end()
    return "".join((*parts, text[done:])) if parts else text
