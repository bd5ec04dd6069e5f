"""Answers to models or typed errors, whatever the host sends."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop import errors
from openwop._core.decode import Answer, decode_error, decode_json, decode_success, retry_after_seconds
from openwop._core.trace import new_trace_id, trace_id_of, traceparent
from openwop.errors import ApiError, OpenwopError, ProtocolVersionError, ResponseDecodeError
from openwop.models.runs import RunSnapshot

NOW = 1_800_000_000.0


def refuse(
    status: int, content: bytes | object, headers: dict[str, str] | None = None, **facts: Any
) -> OpenwopError:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return decode_error("getRun", Answer(status, headers or {}, body), now=NOW, **facts)


def test_a_snapshot_is_read_into_its_model() -> None:
    answer = Answer(200, {}, b'{"runId":"r","workflowId":"w","status":"running","seenBy":["x"]}')
    snapshot = decode_success(RunSnapshot, "getRun", answer)
    assert (snapshot.run_id, snapshot.status, snapshot.model_extra) == ("r", "running", {"seenBy": ["x"]})


def test_a_bare_array_is_read_into_a_list_of_models() -> None:
    """Some operations answer with an array; a host that writes an empty one as ``null`` is understood."""
    content = b'[{"runId":"a","status":"running"},{"runId":"b","status":"failed"}]'
    runs = decode_success(list[RunSnapshot], "listThings", Answer(200, {}, content))
    assert [run.run_id for run in runs] == ["a", "b"]
    assert decode_success(list[RunSnapshot], "listThings", Answer(200, {}, b"null")) == []
    with pytest.raises(ResponseDecodeError) as caught:
        decode_success(list[RunSnapshot], "listThings", Answer(200, {}, b'[{"status":"running"}]'))
    assert caught.value.field == "0.runId"


def test_half_of_a_surrogate_pair_costs_one_character() -> None:
    """We chose it: a host that cuts a text within an emoji writes one, and the rest of its answer is as good as any."""
    body = rb'{"runId":"r","workflowId":"w","status":"failed","error":{"code":"x","message":"\uD83D\ude00 \uD83D"}}'
    (listed,) = decode_success(list[RunSnapshot], "listRuns", Answer(200, {}, b"[" + body + b"]"))
    for snapshot in (decode_success(RunSnapshot, "getRun", Answer(200, {}, body)), listed):
        assert snapshot.error is not None
        assert snapshot.error.message == "\U0001f600 \ufffd"
    with pytest.raises(ResponseDecodeError, match="Invalid JSON"):
        decode_success(RunSnapshot, "getRun", Answer(200, {}, rb'{"runId":"\ud83d"'))


def test_an_answer_without_a_document_is_not_read_as_one() -> None:
    """An operation that promises no body may get any, and one that promises bytes gets them as they are."""
    assert decode_success(type(None), "deleteThing", Answer(204, {}, b"")) is None
    assert decode_success(type(None), "deleteThing", Answer(204, {}, b"<html>")) is None
    assert decode_success(bytes, "getThing", Answer(200, {}, b"\xff\x00")) == b"\xff\x00"


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b"null", b"[]"])
def test_where_the_status_says_it_all_another_body_is_none_at_all(content: bytes) -> None:
    """The call has taken effect: an error would have the caller make it again."""
    answer = Answer(201, {}, content)
    assert decode_success(RunSnapshot, "createThing", answer, body_optional=True) is None
    good = Answer(201, {}, b'{"runId":"r","status":"running"}')
    assert decode_success(RunSnapshot, "createThing", good, body_optional=True).run_id == "r"
    with pytest.raises(ResponseDecodeError):
        decode_success(RunSnapshot, "createThing", answer)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"<html>hello</html>", ""),
        (b"", ""),
        (b"[]", ""),
        (b'{"runId":"r"}', "status"),
        (b'{"runId":7,"status":"running"}', "runId"),
        (b"\xff\xfe", ""),
    ],
)
def test_a_success_that_is_not_as_promised_names_operation_field_and_excerpt(
    content: bytes, field: str
) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        decode_success(RunSnapshot, "getRun", Answer(200, {"content-type": "text/html; charset=x"}, content))
    error = caught.value
    assert (error.operation, error.status, error.field) == ("getRun", 200, field)
    assert "getRun" in str(error)
    assert "text/html" in str(error)
    assert len(error.excerpt) <= 300


def test_plain_json_is_read_as_it_is() -> None:
    assert decode_success(dict[str, Any], "getOpenApiSpec", Answer(200, {}, b'{"openapi":"3.1.0"}')) == {
        "openapi": "3.1.0"
    }
    with pytest.raises(ResponseDecodeError, match="JSON object"):
        decode_success(dict[str, Any], "getOpenApiSpec", Answer(200, {}, b"[1]"))
    with pytest.raises(ResponseDecodeError, match="not JSON"):
        decode_success(dict[str, Any], "getOpenApiSpec", Answer(200, {}, b"[1"))


def test_a_raw_answer_is_any_json_or_nothing() -> None:
    assert decode_json("GET /x", Answer(204, {}, b"")) is None
    assert decode_json("GET /x", Answer(200, {}, b"[1]")) == [1]
    with pytest.raises(ResponseDecodeError):
        decode_json("GET /x", Answer(200, {}, b"nope"))
    with pytest.raises(ResponseDecodeError):
        decode_json("GET /x", Answer(200, {}, b"[" * 100_000))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "validation_error", errors.InvalidRequestError),
        (422, "interrupt_cancelled", errors.InvalidRequestError),
        (413, "workspace_too_large", errors.InvalidRequestError),
        (418, "teapot", errors.InvalidRequestError),
        (401, "key_expired", errors.AuthenticationError),
        (403, "forbidden", errors.PermissionDeniedError),
        (404, "run_not_found", errors.NotFoundError),
        (409, "interrupt_already_resolved", errors.ConflictError),
        (409, "run_already_active", errors.RunAlreadyActiveError),
        (409, "idempotency_key_mismatch", errors.IdempotencyMismatchError),
        (409, "idempotency_key_conflict", errors.IdempotencyMismatchError),
        (410, "interrupt_expired", errors.GoneError),
        (429, "rate_limited", errors.RateLimitedError),
        (500, "internal_error", errors.ServerError),
        (599, "odd", errors.ServerError),
        (501, "whatever", errors.CapabilityNotSupportedError),
        (404, "capability_required", errors.CapabilityNotSupportedError),
        (199, "odd", errors.ApiError),
    ],
)
def test_the_class_follows_the_code_then_the_status(status: int, code: str, kind: type[ApiError]) -> None:
    error = refuse(status, {"error": code, "message": "text"})
    assert type(error) is kind
    assert isinstance(error, ApiError)
    assert (error.status, error.code, error.message) == (status, code, "text")


@pytest.mark.duty("J.127")
def test_an_error_shows_operation_code_message_and_trace() -> None:
    error = refuse(
        404, {"error": "not_found", "message": "no such run"}, trace_id="a" * 32, idempotency_key="k1"
    )
    assert str(error) == f"getRun: not_found (HTTP 404): no such run (trace={'a' * 32})"
    assert isinstance(error, ApiError)
    assert error.idempotency_key == "k1"
    assert "k1" not in str(error)


def test_the_hosts_own_trace_wins() -> None:
    header = f"00-{'b' * 32}-{'1' * 16}-01"
    error = refuse(
        500, {"error": "internal_error", "message": "m"}, {"traceparent": header}, trace_id="a" * 32
    )
    assert isinstance(error, ApiError)
    assert error.trace_id == "b" * 32


@pytest.mark.parametrize("header", ["", "00-xyz", f"00-{'0' * 32}-{'1' * 16}-01", "b" * 32])
def test_a_traceparent_that_is_none_is_passed_over(header: str) -> None:
    assert trace_id_of({"traceparent": header}) is None


def test_a_traceparent_of_ours_is_valid() -> None:
    trace = new_trace_id()
    assert trace_id_of({"traceparent": traceparent(trace)}) == trace


@pytest.mark.duty("D.71")
@pytest.mark.parametrize(
    "content",
    [
        b"<html><h1>502 Bad Gateway</h1></html>",
        b"",
        b"[1,2]",
        b'"text"',
        b'{"error":7}',
        b'{"error":""}',
        b"\xff",
        b"[" * 99_999,
    ],
)
def test_a_body_that_is_no_envelope_still_gives_the_typed_error(content: bytes) -> None:
    error = refuse(502, content)
    assert isinstance(error, errors.ServerError)
    assert error.code == "http_502"
    assert len(str(error)) < 1000


@pytest.mark.duty("D.71")
def test_the_older_nested_envelope_is_read() -> None:
    error = refuse(503, {"error": {"code": "runner_unavailable", "message": "busy", "retriable": False}})
    assert isinstance(error, errors.ServerError)
    assert (error.code, error.message, error.retryable) == ("runner_unavailable", "busy", False)


def test_a_scope_beside_the_code_is_kept_in_details() -> None:
    error = refuse(403, {"error": "forbidden", "message": "m", "scopeRequired": "runs:read"})
    assert isinstance(error, ApiError)
    assert error.details == {"scopeRequired": "runs:read"}


@pytest.mark.duty("D.66")
@pytest.mark.duty("D.71")
@pytest.mark.parametrize(
    ("status", "details", "retryable"),
    [
        (503, {}, True),
        (503, {"retriable": False}, False),
        (400, {}, False),
        (400, {"retriable": True}, True),
        (400, {"retryable": True}, True),
        (500, {"retriable": "yes"}, True),
    ],
)
def test_the_host_may_say_whether_a_retry_helps(
    status: int, details: dict[str, object], retryable: bool
) -> None:
    error = refuse(status, {"error": "x", "message": "m", "details": details})
    assert isinstance(error, ApiError)
    assert error.retryable is retryable


def test_a_call_in_flight_under_its_key_is_retryable() -> None:
    error = refuse(409, {"error": "idempotency_in_flight", "message": "m", "details": {"retryAfter": 2}})
    assert isinstance(error, ApiError)
    assert (error.retryable, error.retry_after) == (True, 2.0)


@pytest.mark.parametrize(
    ("details", "capability"),
    [({"requiredCapability": "replay"}, "replay"), ({"capability": "x"}, "x"), ({}, "runs.pauseResume")],
)
def test_a_missing_capability_is_named(details: dict[str, object], capability: str) -> None:
    envelope = {"error": "capability_not_provided", "message": "m", "details": details}
    error = refuse(501, envelope, capability="runs.pauseResume")
    assert isinstance(error, errors.CapabilityNotSupportedError)
    assert error.capability == capability


def test_a_missing_capability_that_nobody_names_is_none() -> None:
    error = refuse(501, {"error": "capability_not_provided", "message": "m"})
    assert isinstance(error, errors.CapabilityNotSupportedError)
    assert error.capability is None


@pytest.mark.duty("B.24")
@pytest.mark.parametrize("details", [{}, {"minClientVersion": "9.0"}, {"minClientVersion": 9}])
def test_a_host_that_wants_a_newer_client_says_how_to_upgrade(details: dict[str, object]) -> None:
    error = refuse(426, {"error": "client_too_old", "message": "", "details": details})
    assert isinstance(error, ProtocolVersionError)
    assert "pip install --upgrade openwop" in str(error)
    assert error.minimum == (
        details.get("minClientVersion") if details.get("minClientVersion") == "9.0" else None
    )
    with_text = refuse(426, {"error": "x", "message": "too old"})
    assert "too old" in str(with_text)


@pytest.mark.duty("D.64")
@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("3", {}, 3.0),
        (" 2.5 ", {}, 2.5),
        ("0", {}, 0.0),
        (formatdate(NOW + 90, usegmt=True), {}, 90.0),
        (formatdate(NOW - 90, usegmt=True), {}, 0.0),
        ("1e9", {}, 1e9),
        ("9" * 400, {}, None),
        ("-1", {}, None),
        ("nan", {}, None),
        ("inf", {}, None),
        ("soon", {}, None),
        ("", {}, None),
        ("soon", {"retryAfter": 4}, 4.0),
        ("", {"retryAfterMs": 250, "retryAfter": 1}, 0.25),
        ("", {"retryAfterSeconds": "7"}, 7.0),
        ("", {"retryAfter": True}, None),
        ("", {"retryAfter": [1]}, None),
        ("", {"retryAfter": 10**400}, None),
        ("Wed, 99 Foo 2026 00:00:00 GMT", {}, None),
    ],
)
def test_how_long_the_host_asks_to_wait(header: str, details: dict[str, Any], seconds: float | None) -> None:
    found = retry_after_seconds({"retry-after": header} if header else {}, details, now=NOW)
    assert found == (pytest.approx(seconds) if seconds is not None else None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
envelopes = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("error", "message", "details", "scopeRequired"), json_values)
)


@pytest.mark.duty("D.68")
@pytest.mark.duty("D.71")
@given(st.integers(300, 599), envelopes | json_values, st.text(max_size=30))
def test_no_error_body_breaks_the_client(status: int, body: object, retry_after: str) -> None:
    error = refuse(status, json.dumps(body).encode(), {"retry-after": retry_after})
    assert isinstance(error, OpenwopError)
    assert len(str(error)) < 4000


@given(st.binary(max_size=200))
def test_no_success_body_breaks_the_client(content: bytes) -> None:
    try:
        snapshot = decode_success(RunSnapshot, "getRun", Answer(200, {}, content))
    except ResponseDecodeError:
        return
    assert snapshot.status
