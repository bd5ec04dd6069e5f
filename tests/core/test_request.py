"""Arguments to requests: what is encoded, what is refused, and that secrets do not show."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core import operations as ops
from openwop._core.dialect import V1, dialect_for
from openwop._core.idempotency import checked_key, mint_key
from openwop._core.request import (
    ApiRequest,
    build_request,
    check_path_value,
    checked_headers,
    encode_query,
    raw_request,
    refuse,
)
from openwop.errors import RequestValidationError
from openwop.models.base import ModelMismatch
from openwop.models.runs import CancelRunRequest, CreateRunRequest

ORIGIN = "https://host.example"


def get_run(run_id: str) -> ApiRequest:
    return build_request(ops.GET_RUN, V1, ORIGIN, path={"runId": run_id})


@pytest.mark.duty("A.1")
def test_a_versioned_path_has_exactly_one_version_segment() -> None:
    assert get_run("run-1").url == "https://host.example/v1/runs/run-1"
    discovery = build_request(ops.GET_CAPABILITIES, V1, ORIGIN)
    assert discovery.target == "/.well-known/openwop"


@pytest.mark.parametrize(
    ("run_id", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("a%2Fb", "a%252Fb"),
        ("ü", "%C3%BC"),
        ("a?b#c", "a%3Fb%23c"),
        ("...", "..."),
        ("a:b", "a%3Ab"),
        ("{runId}", "%7BrunId%7D"),
    ],
)
def test_an_id_is_one_encoded_segment(run_id: str, segment: str) -> None:
    assert get_run(run_id).target == f"/v1/runs/{segment}"


@pytest.mark.parametrize("path", ["a", "a.md", "notes/2026/to-day_1.md", "0//a/", "A" * 256])
def test_the_slashes_of_a_file_path_stay_slashes(path: str) -> None:
    """Protocol demands: they are part of the name."""
    request = build_request(ops.GET_WORKSPACE_FILE, V1, ORIGIN, path={"path": path})
    assert request.target == f"/v1/host/workspace/files/{path}"


@pytest.mark.parametrize(
    "path",
    ["", "/a", "..", "a/..", "a/../b", "a..b", "a/.", "a/./b", ".a", "a b", "a?b", "ä", "a\n", "A" * 257],
)
def test_what_is_no_file_path_is_refused(path: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        build_request(ops.GET_WORKSPACE_FILE, V1, ORIGIN, path={"path": path})
    assert caught.value.field == "path"


def test_a_file_path_has_nothing_that_has_to_be_encoded_but_a_dialect_would() -> None:
    """We chose it: the path is checked before, and encoded all the same."""
    assert V1.path("/files/{path}", {"path": "a b/ü?#"}) == "/v1/files/a%20b/%C3%BC%3F%23"
    assert V1.path("/files/{fileId}", {"fileId": "a/b"}) == "/v1/files/a%2Fb"


@pytest.mark.duty("A.11")
@given(st.text(min_size=1, max_size=128).filter(lambda text: text not in (".", "..")))
def test_any_routable_id_comes_back_whole_from_its_segment(run_id: str) -> None:
    try:
        run_id.encode("utf-8")
    except UnicodeEncodeError:
        with pytest.raises(RequestValidationError, match="run_id"):
            get_run(run_id)
        return
    target = get_run(run_id).target
    assert target.isascii()
    assert unquote(urlsplit("https://x" + target).path.removeprefix("/v1/runs/")) == run_id
    assert "/" not in target.removeprefix("/v1/runs/")


@pytest.mark.parametrize("run_id", ["", ".", "..", "x" * 129, 7, "half \ud800"])
def test_an_id_that_no_host_can_route_names_its_argument(run_id: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        get_run(run_id)
    assert caught.value.field == "run_id"


@pytest.mark.parametrize("token", ["", ".", "..", "x" * 8193])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(RequestValidationError, match="token"):
        build_request(ops.INSPECT_TOKEN, V1, ORIGIN, path={"token": token})


@pytest.mark.parametrize(("name", "longest"), [("runId", 128), ("agentId", 256), ("toolId", 8192)])
def test_an_id_is_as_long_as_the_protocol_lets_it_be(name: str, longest: int) -> None:
    """An agent's id has 256 characters in the protocol's schemas, a tool's any number; ours ends before a URL does."""
    check_path_value(name, "x" * longest)
    with pytest.raises(RequestValidationError, match="at most"):
        check_path_value(name, "x" * (longest + 1))


def test_a_query_of_nothing_but_absent_values_is_no_query() -> None:
    absent = {"version": None, "libraryId": None}
    request = build_request(ops.GET_PROMPT, V1, ORIGIN, path={"templateId": "a"}, query=absent)
    assert request.target == "/v1/prompts/a"


def test_a_long_token_is_sent_whole() -> None:
    token = "eyJ" + "x" * 2000 + ".abc"
    assert build_request(ops.INSPECT_TOKEN, V1, ORIGIN, path={"token": token}).target.endswith(token)


def test_a_path_argument_is_named_as_python_spells_it() -> None:
    with pytest.raises(RequestValidationError) as caught:
        build_request(ops.GET_RUN, V1, ORIGIN, path={"agentId": ""})
    assert caught.value.field == "agent_id"


@pytest.mark.duty("D.58")
def test_a_keyed_call_gets_one_key_and_fixed_bytes() -> None:
    body = CreateRunRequest(workflow_id="w", inputs={"q": "ü"})
    request = build_request(ops.CREATE_RUN, V1, ORIGIN, body=body)
    assert request.idempotency_key is not None
    assert request.headers["Idempotency-Key"] == request.idempotency_key
    assert len(request.idempotency_key) == 32
    assert request.content == b'{"workflowId":"w","inputs":{"q":"\xc3\xbc"}}'
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.duty("D.61")
def test_a_get_carries_neither_key_nor_body() -> None:
    request = get_run("r")
    assert request.content is None
    assert "Idempotency-Key" not in request.headers
    assert "Content-Type" not in request.headers


def test_an_operation_with_an_optional_body_sends_an_empty_object() -> None:
    request = build_request(ops.CANCEL_RUN, V1, ORIGIN, path={"runId": "r"})
    assert request.content == b"{}"
    given_body = build_request(
        ops.CANCEL_RUN, V1, ORIGIN, path={"runId": "r"}, body=CancelRunRequest(reason="x")
    )
    assert given_body.content == b'{"reason":"x"}'


def test_the_callers_headers_and_query_are_added() -> None:
    request = build_request(
        ops.POLL_EVENTS, V1, ORIGIN, path={"runId": "r"}, query={"lastSequence": 0}, headers={"X-Acme": "1"}
    )
    assert request.target == "/v1/runs/r/events/poll?lastSequence=0"
    assert request.headers["X-Acme"] == "1"


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\nb", "ü"])
def test_a_key_that_no_host_takes_is_refused(key: str) -> None:
    with pytest.raises(RequestValidationError, match="idempotency_key"):
        checked_key(key)


@pytest.mark.duty("D.58")
def test_a_callers_key_is_kept_and_minted_keys_differ() -> None:
    assert checked_key("order-7") == "order-7"
    assert mint_key() != mint_key()


def test_a_request_does_not_show_its_secrets() -> None:
    request = build_request(
        ops.RESOLVE_TOKEN, V1, ORIGIN, path={"token": "c2VjcmV0.dG9rZW4"}, idempotency_key="idem-1"
    )
    request.headers["Authorization"] = "Bearer hk_secret"
    shown = repr(request) + request.describe()
    for secret in ("c2VjcmV0", "dG9rZW4", "hk_secret", "idem-1"):
        assert secret not in shown


def test_a_raw_request_is_safe_keyed_or_never_repeated() -> None:
    assert raw_request("get", ORIGIN, "/x", dialect=V1).retry == "safe"
    assert raw_request("POST", ORIGIN, "/x", dialect=V1, content=b"{}").retry == "never"
    keyed = raw_request("POST", ORIGIN, "/x", dialect=V1, content=b"{}", headers={"idempotency-key": "k"})
    assert keyed.retry == "keyed"
    assert keyed.idempotency_key == "k"
    assert keyed.headers["Content-Type"] == "application/json"


def test_a_raw_request_takes_a_query_of_its_own() -> None:
    assert raw_request("GET", ORIGIN, "/x", dialect=V1, params={"a": 1}).target == "/x?a=1"
    assert raw_request("GET", ORIGIN, "/x?b=2", dialect=V1, params={"a": 1}).target == "/x?b=2&a=1"


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("G ET", "/x", "method"),
        ("", "/x", "method"),
        ("GET", "x", "path"),
        ("GET", "//evil.example/x", "path"),
        ("GET", "https://evil.example/", "path"),
        ("GET", "/a b", "path"),
        ("GET", "/a#b", "path"),
        ("GET", "/ü", "path"),
        ("GET", "/a\r\nX: 1", "path"),
    ],
)
def test_a_raw_request_cannot_leave_the_origin_or_break_the_request(
    method: str, path: str, field: str
) -> None:
    with pytest.raises(RequestValidationError) as caught:
        raw_request(method, ORIGIN, path, dialect=V1)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "headers",
    [
        {"a b": "1"},
        {"": "1"},
        {"X": "1\r\nY: 2"},
        {"X": "ü"},
        {"Host": "x"},
        {"content-length": "3"},
        {"X": "a\0b"},
    ],
)
def test_headers_that_would_break_the_request_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(RequestValidationError, match="headers"):
        checked_headers(headers)


def test_good_headers_are_copied() -> None:
    given_headers = {"X-Acme": "1"}
    assert checked_headers(given_headers) == given_headers
    assert checked_headers(None) == {}


@pytest.mark.parametrize(("prefix", "field"), [("", "tags"), ("overlay", "overlay.tags")])
def test_what_a_model_refuses_is_told_in_the_callers_words(prefix: str, field: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        refuse(prefix, ModelMismatch("tags", "at most 100"))
    assert (caught.value.field, caught.value.rule) == (field, "at most 100")


def test_a_rule_about_the_whole_request_says_so() -> None:
    with pytest.raises(RequestValidationError) as caught:
        refuse("", ModelMismatch("", "is odd"))
    assert caught.value.field == "request"


def test_query_values_are_spelled_as_json_spells_them() -> None:
    assert (
        encode_query({"a": True, "b": None, "c": [1, 2], "d": "x y", "e": "a,b"})
        == "a=true&c=1&c=2&d=x%20y&e=a,b"
    )


def test_the_dialect_of_major_1_is_found_and_another_is_not() -> None:
    assert dialect_for(1) is V1
    with pytest.raises(KeyError):
        dialect_for(2)


def test_the_dialect_spells_poll_and_stream_queries() -> None:
    assert V1.poll_query(None, 30) == {"timeout": 30}
    assert V1.poll_query(0, 30) == {"lastSequence": 0, "timeout": 30}
    assert V1.stream_query(("updates", "messages"), 250) == {
        "streamMode": "updates,messages",
        "bufferMs": 250,
    }
    assert V1.stream_query(("debug",), 0) == {"streamMode": "debug"}
