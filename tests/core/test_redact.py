"""Secrets are taken out of headers, URLs, texts, JSON and excerpts; everything else stays as it was."""

import json
import logging
import string
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from openwop._core.redact import (
    REDACTED,
    excerpt,
    is_secret_name,
    redact_headers,
    redact_json,
    redact_log_argument,
    redact_text,
    redact_url,
)

# As the protocol describes it: base64url of a JSON object, a dot, base64url of a MAC.
TOKEN = "eyJydW5JZCI6InJ1bi0xIiwibm9kZUlkIjoiYXBwcm92ZSJ9.c2lnbmF0dXJlLWJ5dGVz"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Authorization",
            "authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Api-Key",
            "api-key",
        ),
        *("Idempotency-Key", "idempotencyKey", "token", "accessToken", "refresh_token", "X-Auth-Token"),
        *("secret", "clientSecret", "webhook_secret", "password", "passphrase", "apiKey", "openwop.api_key"),
        *("private key", "signingKey", "credential", "credentials", "jwt", "ingestUrl", "ingestAddress"),
    ],
)
def test_names_of_secrets_are_known_in_every_spelling(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Content-Type", "traceparent", "Last-Event-ID", "ETag", "key", "nodeId", "runId", "message"),
        *("tokens", "maxTokens", "promptTokens", "tokenBudget", "tokenType", "secrets", "requiresSecrets"),
        *("secretFingerprint", "credentialRef", "keyId", "cookies"),
    ],
)
def test_names_of_other_things_are_not_taken_for_secrets(name: str) -> None:
    """The protocol's counters and settings are named after tokens and secrets, and its fingerprint may be logged."""
    assert not is_secret_name(name)


def test_headers_lose_the_values_of_secret_names_and_secrets_in_other_values() -> None:
    headers = {
        "Authorization": "Bearer hk_live_1",
        "idempotency-key": "0123",
        "Location": f"https://host/v1/interrupts/{TOKEN}",
        "Accept": "application/json",
    }
    assert redact_headers(headers) == {
        "Authorization": REDACTED,
        "idempotency-key": REDACTED,
        "Location": f"https://host/v1/interrupts/{REDACTED}",
        "Accept": "application/json",
    }
    assert headers["Authorization"] == "Bearer hk_live_1"


URLS = {
    "interrupt": (f"https://host/v1/interrupts/{TOKEN}", "https://host/v1/interrupts/[REDACTED]"),
    "interrupt, without version": (f"/interrupts/{TOKEN}", "/interrupts/[REDACTED]"),
    "interrupt, below a prefix": (
        f"https://h/api/v1/interrupts/{TOKEN}",
        "https://h/api/v1/interrupts/[REDACTED]",
    ),
    "interrupt, below a prefix called runs": (
        f"https://h/runs/v1/interrupts/{TOKEN}",
        "https://h/runs/v1/interrupts/[REDACTED]",
    ),
    "interrupt, below such a prefix, any token": ("/runs/v1/interrupts/x", "/runs/v1/interrupts/[REDACTED]"),
    "interrupt, capitals": ("/V1/Interrupts/x", "/V1/Interrupts/[REDACTED]"),
    "interrupt, any token": ("/v1/interrupts/x", "/v1/interrupts/[REDACTED]"),
    "interrupt, token with a slash": ("/v1/interrupts/a/b%2Fc?x=1", "/v1/interrupts/[REDACTED]?x=1"),
    "interrupt, two slashes": ("/v1/interrupts//abc", "/v1/interrupts//[REDACTED]"),
    "interrupt, no token": ("/v1/interrupts/", "/v1/interrupts/"),
    "interrupt of a node": ("/v1/runs/r-1/interrupts/approve.2", "/v1/runs/r-1/interrupts/approve.2"),
    "interrupt of a node, which is a token by mistake": (
        f"/v1/runs/r-1/interrupts/{TOKEN}",
        "/v1/runs/r-1/interrupts/[REDACTED]",
    ),
    "the same with two slashes": (f"/runs/r-1//interrupts//{TOKEN}", "/runs/r-1//interrupts//[REDACTED]"),
    "a node and a token": (
        "/runs/r/interrupts/n -> /v1/interrupts/x",
        "/runs/r/interrupts/n -> /v1/interrupts/[REDACTED]",
    ),
    "user and password": ("https://me:p@ss@host:8/p", "https://host:8/p"),
    "user": ("http://me@host", "http://host"),
    "an address in the query": ("https://host/p?to=a@b.example", "https://host/p?to=a@b.example"),
    "query": ("/p?a=1&api_key=x&b=2", "/p?a=1&api_key=[REDACTED]&b=2"),
    "query, last": ("/p?a=1&token=x", "/p?a=1&token=[REDACTED]"),
    "query, short names": (
        "/p?key=x&sig=x&code=x&auth=x&X-Amz-Signature=x",
        "/p?key=[REDACTED]&sig=[REDACTED]&code=[REDACTED]&auth=[REDACTED]&X-Amz-Signature=[REDACTED]",
    ),
    "query, encoded name": ("/p?api%5Fk%65y=x", "/p?api%5Fk%65y=[REDACTED]"),
    "query, semicolons": ("/p?a=1;token=x;y&b=2", "/p?a=1;token=[REDACTED]&b=2"),
    "query, value with =": ("/p?token=x=y==&b=2", "/p?token=[REDACTED]&b=2"),
    "query, no value": ("/p?token=&b=2", "/p?token=&b=2"),
    "query, two": ("/p?token=x&token=y", "/p?token=[REDACTED]&token=[REDACTED]"),
    "fragment": ("/p#access_token=x&state=1", "/p#access_token=[REDACTED]&state=1"),
    "harmless": (
        "https://host/v1/runs/r-1/events?streamMode=updates&bufferMs=5",
        "https://host/v1/runs/r-1/events?streamMode=updates&bufferMs=5",
    ),
    "not a URL": ("HTTP/1.1", "HTTP/1.1"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("url", "expected"), URLS.values(), ids=URLS)
def test_urls_lose_their_secrets_and_nothing_else(url: str, expected: str) -> None:
    assert redact_url(url) == expected
    assert redact_url(expected) == expected


TEXTS = {
    "bearer": ("sent Authorization: Bearer abc.def-1, got 401", "sent Authorization: [REDACTED], got 401"),
    "bearer, twice": ("BEARER Bearer abc", "BEARER Bearer [REDACTED]"),
    "bearer, anywhere": ("'BEARER\tabc'", "'BEARER\t[REDACTED]'"),
    "bearer, in a pair": ("(b'authorization', b'Bearer abc')", "(b'authorization', b'Bearer [REDACTED]')"),
    "bearer, in prose": ("A bearer token is required.", "A bearer token is required."),
    "bearer, at the end of a sentence": ("Send a bearer token.", "Send a bearer token."),
    "bearer, a token that begins like prose": ("Bearer token-1", "Bearer [REDACTED]"),
    "bearer, a token that goes on behind a dot": ("Bearer token.abc", "Bearer [REDACTED]"),
    "basic": ("Basic dXNlcjpwYXNz", "Basic [REDACTED]"),
    "basic, in prose": ("a basic authentication of basic types", "a basic authentication of basic types"),
    "basic, before an abbreviation": ("Basic HTTP", "Basic HTTP"),
    "header lines": (
        "Cookie: a=b; c=d\nX-Api-Key: k\nIdempotency-Key:0123\nAccept: x",
        "Cookie: [REDACTED]\nX-Api-Key: [REDACTED]\nIdempotency-Key:[REDACTED]\nAccept: x",
    ),
    "key of a host": ("the key hk_test_abc.d is bad", "the key [REDACTED] is bad"),
    "key of another service": (
        "sk-abcdefghij0123456789 and whsec_abcdefghij0123456789",
        "[REDACTED] and [REDACTED]",
    ),
    "keys of model and cloud providers": (
        "AKIA" + "IOSFODNN7EXAMPLE, AIzaSy" + "A0123456789abcdefghijk; ghp_" + "0123456789abcdefghij",
        "[REDACTED], [REDACTED]; [REDACTED]",
    ),
    "words that look like keys": (
        "disk-usage-of-all-machines sk-1 hk_ task_list_of_everything",
        "disk-usage-of-all-machines sk-1 hk_ task_list_of_everything",
    ),
    "interrupt token on its own": (f"token {TOKEN} expired", "token [REDACTED] expired"),
    "interrupt token in a path": ("GET /v1/interrupts/a.b failed", "GET /v1/interrupts/[REDACTED] failed"),
    "interrupt token, capitals": ("GET /V1/INTERRUPTS/a.b", "GET /V1/INTERRUPTS/[REDACTED]"),
    "interrupt token in quotes": ("'/v1/interrupts/a.b', 1", "'/v1/interrupts/[REDACTED]', 1"),
    "path of a node": ("POST /v1/runs/r/interrupts/n: 404", "POST /v1/runs/r/interrupts/n: 404"),
    "path template": ("/v1/interrupts/{token}", "/v1/interrupts/{token}"),
    "URL": ("at https://me:pw@host/p?sig=x&a=1 now", "at https://host/p?sig=[REDACTED]&a=1 now"),
    "URL in HTML": ('<a href="/p?a=1&amp;token=x">', '<a href="/p?a=1&amp;token=[REDACTED]">'),
    "two URLs with an address between": ("http://a b@c http://d", "http://a b@c http://d"),
    "assignment": ("password=x, api_key=a n=1", "password=[REDACTED], api_key=[REDACTED] n=1"),
    "assignment, quoted": (
        "key_secret='a b' token=\"c d\" n=1",
        "key_secret='[REDACTED]' token=\"[REDACTED]\" n=1",
    ),
    "assignment in an assignment": ("secret='a secret=b'", "secret='[REDACTED]'"),
    "assignment to nothing": ("token=, token= x token==1", "token=, token= x token==1"),
    "assignment behind a digit": ("1token=x", "1token=[REDACTED]"),
    "JSON": (
        '{"apiKey": "a\\"b", "n": 1, "token": 12.5, "secret" : "x", "ok": true}',
        '{"apiKey": "[REDACTED]", "n": 1, "token": [REDACTED], "secret" : "[REDACTED]", "ok": true}',
    ),
    "JSON, no secret values": ('{"token": null, "secret": true}', '{"token": null, "secret": true}'),
    "JSON, cut off": ('{"a": 1, "apiKey": "abc d', '{"a": 1, "apiKey": "[REDACTED]"'),
    "JSON, nested": (
        '{"credentials": {"user": "me"}, "tokens": 5, "token": ["a", "b"]}',
        '{"credentials": [REDACTED], "tokens": 5, "token": [REDACTED]}',
    ),
    "JSON in JSON": (
        '{"body": "{\\"secret\\": \\"x\\", \\"n\\": 1}"}',
        '{"body": "{\\"secret\\": [REDACTED]\\", \\"n\\": 1}"}',
    ),
    "Python": ("{'password': 'x', 'n': 1}", "{'password': '[REDACTED]', 'n': 1}"),
    "harmless": (
        "runs.create: field workflowId: is missing (maxTokens=5, at 12:30:00)",
        "runs.create: field workflowId: is missing (maxTokens=5, at 12:30:00)",
    ),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_texts_lose_their_secrets_and_nothing_else(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact_text(expected) == expected


_URL_SAFE = st.text(string.ascii_letters + string.digits + "-_", min_size=20, max_size=60)
_PLACES: list[tuple[str, Callable[[str], str]]] = [
    ("https://host/v1/interrupts/{}?a=1", redact_url),
    ("https://host/v1/interrupts/{0}.{0}", redact_url),
    ("/interrupts/{}", redact_url),
    ("https://{}:x@host/", redact_url),
    ("https://host/?a=b&token={}#c", redact_url),
    ("Authorization: Bearer {}", redact_text),
    ("authorization: {}", redact_text),
    ("Bearer {}.{}.{}", redact_text),
    ("Bearer  {}, and more", redact_text),
    ("Set-Cookie: session={}; Path=/", redact_text),
    ("POST /v1/interrupts/{0}.{0} failed", redact_text),
    ('{{"url": "https://host/v1/interrupts/{0}.{0}"}}', redact_text),
    ('{{"secret": "{}"}}', redact_text),
    ("hk_{}", redact_text),
    ("key=hk_live_{};", redact_text),
    ("eyJ{0}.{0}", redact_text),
    ("client_secret={}&x=1", redact_text),
]


@pytest.mark.duty("J.130")
@given(_URL_SAFE, st.sampled_from(_PLACES), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_in_any_of_its_places_is_gone(
    secret: str, place: tuple[str, Callable[[str], str]], before: str, after: str
) -> None:
    assume(secret not in before and secret not in after)
    template, redact = place
    planted = template.replace("{}", secret).replace("{0}", secret).replace("{{", "{").replace("}}", "}")
    assert secret not in redact(planted)
    # Whatever stands around it, as long as it does not join the word or begin a quotation.
    around = str.maketrans(dict.fromkeys("\"'\\@", "."))
    text = f"{before.translate(around)} {planted} {after.translate(around)}"
    assert secret not in redact_text(text)
    assert secret not in excerpt(text.encode("utf-8", "replace"), 1000)


_TEXT_PIECES = st.sampled_from(
    [
        *(
            "Bearer ",
            "basic ",
            "bearer",
            "token",
            "secret",
            "=",
            ":",
            " ",
            '"',
            "'",
            "\\",
            "{",
            "}",
            "[",
            "]",
        ),
        *("/interrupts/", "/runs/", "/v1", "r-1", "?", "&", ";", "#", "://", "@", "hk_", "hk_abcd", "sk-"),
        *(
            "eyJ",
            "abcdefghijklmnop",
            ".",
            ",",
            "Cookie: ",
            "Authorization: ",
            "x=1",
            "\n",
            REDACTED,
            "é",
            "1",
        ),
    ]
)
_TEXTS = st.one_of(st.lists(_TEXT_PIECES, max_size=25).map("".join), st.text(max_size=80))


@given(_TEXTS)
def test_redacting_a_url_twice_changes_nothing_more(text: str) -> None:
    once = redact_url(text)
    assert redact_url(once) == once


@given(_TEXTS)
def test_no_text_raises_and_no_secret_is_made_of_nothing(text: str) -> None:
    redacted = redact_text(text)
    if not set(text) & set("=:/") and not any(
        word in text.lower() for word in ("bearer", "basic", "_", "-", "eyj")
    ):
        assert redacted == text


@pytest.mark.parametrize(
    "piece",
    [
        *("-eyJ", "eyJ", "://", "://a", "@", "/runs/a", "/runs/", "/", "/interrupts/", "/runs/a/interrupts/"),
        *(
            "bearer ",
            "bearer token ",
            "basic ",
            "cookie:",
            "cookie ",
            "cookie: a;",
            " ",
            "a=",
            "?a",
            "&",
            ";a",
        ),
        *(
            '"',
            "\\",
            '\\"a',
            '"a":',
            '"token":',
            '"token":"',
            '"token": {',
            '"token": "\\',
            "{",
            "'",
            "hk_",
            "sk-",
        ),
    ],
)
def test_long_texts_take_linear_time(piece: str) -> None:
    """Error messages come from hosts. With a pattern that is quadratic this would not end."""
    text = piece * (200_000 // len(piece))
    redact_text(text)
    redact_url(text)


def test_json_loses_the_values_of_secret_names_and_secrets_in_texts() -> None:
    value = {
        "webhookId": "w-1",
        "secret": "5f2b",
        "nested": [{"apiKey": {"id": 1}}, {"token": ["x"]}, "Bearer abc", f"/v1/interrupts/{TOKEN}"],
        "counts": {"maxTokens": 5, "ok": True, "none": None, "share": 0.5},
        "unset": {"token": None, "secret": "", "password": False},
        "key hk_test_abcd": ("a", 1),
    }
    before = json.dumps(value)
    assert redact_json(value) == {
        "webhookId": "w-1",
        "secret": REDACTED,
        "nested": [
            {"apiKey": REDACTED},
            {"token": REDACTED},
            "Bearer [REDACTED]",
            "/v1/interrupts/[REDACTED]",
        ],
        "counts": {"maxTokens": 5, "ok": True, "none": None, "share": 0.5},
        "unset": {"token": None, "secret": "", "password": False},
        "key [REDACTED]": ["a", 1],
    }
    assert json.dumps(value) == before


def test_json_is_bounded_in_depth() -> None:
    deep: list[object] = []
    deep.append(deep)
    assert redact_json(deep, max_depth=2) == [["[...]"]]
    assert redact_json({"a": {"b": {"c": 1}}}, max_depth=2) == {"a": {"b": "[...]"}}
    assert redact_json([1], max_depth=1) == [1]
    assert redact_json(1, max_depth=0) == 1
    assert json.dumps(redact_json(deep)) == "[" * 16 + '"[...]"' + "]" * 16


def test_what_is_not_json_is_named_by_its_type() -> None:
    assert redact_json({"a": b"hk_live_secret", 1: object()}) == {"a": "<bytes>", "1": "<object>"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "token", "maxTokens"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(_JSON, _URL_SAFE)
def test_no_value_of_a_secret_name_survives_at_any_depth(value: object, secret: str) -> None:
    planted = {"list": [value, {"clientSecret": {"deep": [secret]}}], "token": secret, "value": value}
    assert secret not in json.dumps(redact_json(planted))


def test_an_excerpt_is_bounded_printable_and_redacted() -> None:
    body = b"<html>\r\n\t<body>\x00\x1b[31mBearer abc\xff\xc2\xa0\xe2\x80\xae</body>\n" + b"x" * 10_000
    assert excerpt(body, 60) == "<html> <body> [31mBearer [REDACTED] </body>…"
    assert excerpt(b"short") == "short"
    assert excerpt(b"") == ""
    assert excerpt(b"a b" * 100, 10) == "a ba ba b…"
    assert excerpt(b"0123456789", 10) == "0123456789"
    assert excerpt(b"01234567890", 10) == "012345678…"
    assert excerpt("é".encode() * 10, 10) == "é" * 10
    assert excerpt("é😀".encode() * 1000 + b" ", 200) == "é😀" * 99 + "é…"
    assert excerpt(b'"token": "' + b"x" * 950, 200) == '"token": "[REDACTED]"…'
    assert excerpt(b"a " + b"x" * 909 + "é".encode(), 200) == "a…"
    assert excerpt(b"abc", 1) == "…"
    assert excerpt(b"abc", 0) == ""


@pytest.mark.parametrize("offset", range(0, 40, 3))
def test_an_excerpt_does_not_show_the_beginning_of_a_secret_that_it_cuts(offset: int) -> None:
    """Cut in the middle, a token may no longer look like one."""
    before = b'{"apiKey": "' + b"y" * 870 + b'", "x": "' + b" " * offset
    shown = excerpt(before + b"hk_live_0123456789 " + b"z" * 5000, 200)
    assert "hk" not in shown
    assert shown.endswith("…")


@given(st.one_of(st.binary(max_size=300), _TEXTS.map(str.encode)), st.integers(0, 80))
@example(("😀" * 3000).encode(), 10)
def test_an_excerpt_of_any_bytes_is_printable_and_within_its_limit(content: bytes, limit: int) -> None:
    shown = excerpt(content, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


def test_a_logging_filter_can_use_it() -> None:
    class Text:
        def __init__(self, text: str) -> None:
            self.text = text

        def __str__(self) -> str:
            return self.text

    harmless, token = Text("/v1/runs"), Text(f"/v1/interrupts/{TOKEN}")
    arguments = (3, 0.5, None, True, harmless, token, "Bearer abc", b"Bearer abc")
    redacted = tuple(redact_log_argument(argument) for argument in arguments)
    assert redacted == (
        *(3, 0.5, None, True, harmless),
        *("/v1/interrupts/[REDACTED]", "Bearer [REDACTED]", "b'Bearer [REDACTED]'"),
    )
    record = logging.LogRecord("openwop", logging.INFO, "", 0, "%d %.1f %s %s %s %s %s %s", redacted, None)
    assert TOKEN not in record.getMessage()
