"""The fields of log records, and what is known to be secret in a body."""

from __future__ import annotations

import pytest

from openwop._core.dialect import V1
from openwop._core.logs import log_fields
from openwop._core.operations import CREATE_RUN, INSPECT_TOKEN
from openwop._core.redact import scrub
from openwop._core.request import build_request


def test_fields_are_those_that_are_known_and_have_no_secrets() -> None:
    """We chose it: a field that is not known is not there, and no handler has to redact anything."""
    assert log_fields(
        run_id="run-1", attempt=0, duration_s=0.5, reason="Authorization: Bearer hk_live_1234"
    ) == {
        "openwop_run_id": "run-1",
        "openwop_attempt": 0,
        "openwop_duration_s": 0.5,
        "openwop_reason": "Authorization: [REDACTED]",
    }
    assert log_fields() == {}


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"your s3cr3t/k is wrong", b"your [REDACTED] is wrong"),
        (b'{"key": "a\\"quoted\\"key"}', b'{"key": "[REDACTED]"}'),
        (b"?k=s3cr3t%2Fk&x", b"?k=[REDACTED]&x"),
        (b"a short one", b"a short one"),
    ],
)
def test_known_secrets_are_taken_out_in_every_spelling(body: bytes, shown: bytes) -> None:
    """We chose it: plain, as in JSON, and as in a URL; what is too short to be told from a word stays."""
    assert scrub(body, ["s3cr3t/k", 'a"quoted"key', "short"]) == shown


def test_a_request_knows_what_of_it_is_secret() -> None:
    """We chose it: the values of headers with secret names, with and without a scheme, and a token on the path."""
    request = build_request(CREATE_RUN, V1, "https://h", idempotency_key="my-key")
    request.headers |= {"Authorization": "Bearer the-key", "X-Team": "search"}
    assert set(request._secrets()) == {"my-key", "Bearer the-key", "the-key", ""}
    by_token = build_request(INSPECT_TOKEN, V1, "https://h", path={"token": "a/b.c"}, query={"x": "1"})
    assert by_token._secrets() == ["a%2Fb.c", "a/b.c"]
