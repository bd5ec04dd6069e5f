"""Which major is spoken, and where a redirect may lead."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.redirect import follow_redirect, origin_of
from openwop._core.request import ApiRequest
from openwop._core.versions import choose_major, parse_version
from openwop.errors import ProtocolVersionError
from openwop.models.discovery import Capabilities


@pytest.mark.duty("B.17")
@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.1", (1, 1)),
        ("1.10", (1, 10)),
        ("2.0", (2, 0)),
        ("1", (1, 0)),
        ("v1.0", (1, 0)),
        ("1.0.0", (1, 0)),
        ("1.2-draft", (1, 2)),
        ("", None),
        ("next", None),
        ("1" * 30 + ".0", None),
    ],
)
def test_versions_compare_as_numbers(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.duty("B.16")
@pytest.mark.duty("B.18")
@pytest.mark.parametrize(
    "document",
    [
        {"protocolVersion": "1.0"},
        {"protocolVersion": "1.99"},
        {"protocolVersion": "2.0", "protocolVersions": ["1.11", "2.0"]},
        {"protocolVersion": "1.1", "minClientVersion": "1.0"},
        {"protocolVersion": "1.1", "minClientVersion": "whatever"},
        {"protocolVersion": "odd"},
        {},
    ],
)
def test_a_host_with_major_1_is_spoken_to_in_it(document: dict[str, Any]) -> None:
    assert choose_major(Capabilities.model_validate(document)) == 1


@pytest.mark.duty("B.15")
@pytest.mark.parametrize("document", [{"protocolVersion": "2.0"}, {"protocolVersions": ["2.0", "3.0"]}])
def test_no_major_in_common_names_what_the_host_offers(document: dict[str, Any]) -> None:
    with pytest.raises(ProtocolVersionError, match="upgrade") as caught:
        choose_major(Capabilities.model_validate(document))
    assert caught.value.offered


def test_a_host_that_wants_a_newer_client_is_an_error() -> None:
    with pytest.raises(ProtocolVersionError, match="minClientVersion") as caught:
        choose_major(Capabilities.model_validate({"protocolVersion": "1.20", "minClientVersion": "1.20"}))
    assert caught.value.minimum == "1.20"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Host.example/x", "https://host.example"),
        ("https://host.example:443/", "https://host.example"),
        ("http://host.example:80", "http://host.example"),
        ("http://127.0.0.1:8080/a?b", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("ftp://host.example", None),
        ("/relative", None),
        ("https://", None),
        ("https://host:99999/", None),
    ],
)
def test_one_origin_has_one_spelling(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


def request(method: str = "GET", origin: str = "https://host.example") -> ApiRequest:
    headers = {"Authorization": "Bearer k", "Idempotency-Key": "i", "X-Acme": "1"}
    return ApiRequest(method, origin, "/v1/runs/r", headers, None, "getRun", "safe", auth=True)


def test_a_redirect_on_the_same_origin_keeps_the_credential() -> None:
    followed = follow_redirect(request(), 302, "/v1/elsewhere?x=1")
    assert isinstance(followed, ApiRequest)
    assert (followed.target, followed.auth, followed.headers["Authorization"]) == (
        "/v1/elsewhere?x=1",
        True,
        "Bearer k",
    )
    bare = follow_redirect(request(), 302, "https://host.example")
    assert isinstance(bare, ApiRequest)
    assert bare.target == "/"


def test_a_get_to_another_origin_goes_without_credentials() -> None:
    followed = follow_redirect(request(), 307, "https://cdn.example/blob")
    assert isinstance(followed, ApiRequest)
    assert (followed.origin, followed.target, followed.auth) == ("https://cdn.example", "/blob", False)
    assert followed.headers == {}, "a header of the caller's own may be a credential of whatever name"


@pytest.mark.parametrize(
    ("method", "status", "location", "why"),
    [
        ("POST", 302, "/x", "not turned into a GET"),
        ("POST", 307, "https://evil.example/x", "another origin"),
        ("GET", 302, "http://host.example/x", "leaves https"),
        ("GET", 302, "ftp://host.example/x", "not an http"),
        ("GET", 302, "/ü", "percent-encoded"),
    ],
)
def test_a_redirect_that_is_not_followed_says_why(method: str, status: int, location: str, why: str) -> None:
    reason = follow_redirect(request(method), status, location)
    assert isinstance(reason, str)
    assert why in reason


def test_a_post_is_repeated_on_its_own_origin_when_the_host_says_so() -> None:
    followed = follow_redirect(request("POST"), 308, "/v1/runs/s")
    assert isinstance(followed, ApiRequest)
    assert followed.method == "POST"
