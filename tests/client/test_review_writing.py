"""What a host would refuse, or what would leak, is refused before any I/O, with the field and the fix."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest

from openwop import AsyncOpenwopClient, ConfigurationError, RequestValidationError
from openwop._core.dialect import V1
from openwop._core.redirect import follow_redirect
from openwop._core.request import ApiRequest, raw_request
from openwop.models import EventPage

pytestmark = pytest.mark.asyncio

HALF = "\ud800"  # half of a surrogate pair: UTF-8 cannot carry it


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.start("w", inputs={"a": {1: "x"}}), "inputs"),
        (lambda c: c.start("w", inputs={"a": [HALF]}), "inputs"),
        (lambda c: c.start("w", inputs={HALF: 1}), "inputs"),
        (lambda c: c.start("w", inputs={"a": decimal.Decimal(1)}), "inputs"),
        (lambda c: c.start("w", inputs={"a": 10**5000}), "inputs"),
        (lambda c: c.start("w", tags=[HALF]), "tags"),
        (lambda c: c.start("w", tags=5), "tags"),
        (lambda c: c.start("w", tenant_id=HALF), "tenant_id"),
        (lambda c: c.start("w", callback_url=f"https://h/{HALF}"), "callback_url"),
        (lambda c: c.start("w", metadata={"a": ({"b": ({"c": 1},)},)}), "metadata"),
        (lambda c: c.start("w", residency={"region": "eu", "x": float("nan")}), "residency"),
        (lambda c: c.start("w", residency={"region": "eu", "x": {1}}), "residency"),
        (lambda c: c.start("w", force_engine_version=True), "force_engine_version"),
        (lambda c: c.start("w", force_engine_version=1.5), "force_engine_version"),
        (lambda c: c.start("w", force_engine_version="1"), "force_engine_version"),
        (lambda c: c.start("w", idempotency_key=5), "idempotency_key"),
        (lambda c: c.runs.bulk_cancel(5), "run_ids"),
        (lambda c: c.runs.diff("r", 5), "against"),
        (lambda c: c.runs.get("r", if_none_match='"5"\r\nX: 1'), "headers"),
        (lambda c: c.runs.with_raw_response.bulk_cancel([]), "with_raw_response"),
        (lambda c: c.get_run_handle("r").edit(decimal.Decimal("1.2"), node_id="n"), "edited_artifact_data"),
        (
            lambda c: c.get_run_handle("r").edit(datetime.datetime.now(datetime.UTC), node_id="n"),
            "edited_artifact_data",
        ),
        (lambda c: c.get_run_handle("r").edit({"a": float("nan")}, node_id="n"), "edited_artifact_data"),
        (lambda c: c.get_run_handle("r").edit(b"x", node_id="n"), "edited_artifact_data"),
        (lambda c: c.get_run_handle("r").reject(feedback=HALF, node_id="n"), "feedback"),
        (lambda c: c.request("GET", "/v1/x", params={"a": HALF}), "params"),
        (lambda c: c.request("GET", "/v1/a%2Fb/../c"), "path"),
        (lambda c: c.request("GET", "/v1/x", headers={"X-Key": "secret\x01"}), "headers"),
        (lambda c: c.request("GET", "/v1/x", headers={"X-Key": " secret"}), "headers"),
        (lambda c: c.request("GET", "/v1/x", headers={"X-Key": 5}), "headers"),
        (lambda c: c.request("GET", "/v1/x", headers={"Ключ": "5"}), "headers"),
    ],
)
async def test_bad_input_is_refused_before_any_request(call: Any, field: str) -> None:
    """Nothing listens at this address: a request would end in another error."""
    async with AsyncOpenwopClient("http://127.0.0.1:9", protocol="1", max_retries=0) as client:
        with pytest.raises(RequestValidationError) as caught:
            await call(client)
    assert caught.value.field.startswith(field)
    assert "secret" not in str(caught.value)


async def test_an_idempotency_key_for_every_call_is_refused() -> None:
    """One key under two calls would give the second one the answer of the first (``idempotency.md``)."""
    with pytest.raises(ConfigurationError, match="idempotency_key="):
        AsyncOpenwopClient("https://host.example", headers={"idempotency-key": "k"})


async def test_a_header_of_a_copy_takes_the_place_of_the_same_header_in_another_spelling() -> None:
    client = AsyncOpenwopClient("https://host.example", headers={"X-Team": "a", "user-agent": "mine"})
    copy = client.with_options(headers={"x-team": "b"})
    assert copy._session.config.headers == {"User-Agent": "mine", "x-team": "b"}


async def test_a_header_that_a_caller_added_does_not_go_to_another_origin() -> None:
    request = raw_request(
        "GET", "https://a.example", "/v1/x", dialect=V1,
        headers={"X-Access-Key": "secret", "Accept": "text/plain"},
    )  # fmt: skip
    followed = follow_redirect(request, 307, "https://b.example/y")
    assert isinstance(followed, ApiRequest)
    assert (followed.headers, followed.auth) == ({"Accept": "text/plain"}, False)


async def test_a_location_that_is_no_url_is_not_followed() -> None:
    request = raw_request("GET", "https://a.example", "/v1/x", dialect=V1)
    assert isinstance(follow_redirect(request, 307, "http://[nonsense"), str)


async def test_a_page_whose_list_is_null_is_empty() -> None:
    """Some languages write an empty list as null; a page without any list is still not a page."""
    assert EventPage.model_validate_json(b'{"events":null,"isComplete":true}').events == []
    with pytest.raises(ValueError, match="events"):
        EventPage.model_validate_json(b'{"isComplete":true}')
