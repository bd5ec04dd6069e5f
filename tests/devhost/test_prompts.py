"""The prompt library of the host: whose templates, which versions, what rendering makes of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from devhost.kit import Api, refusal
from openwop.devhost import DevHost
from openwop.devhost.access import SCOPES, ApiKey
from openwop.devhost.versions import version_key

pytestmark = pytest.mark.asyncio

PROMPTS = "/v1/prompts"
MINE: dict[str, Any] = {"templateId": "mine", "version": "1.0.0", "kind": "user", "text": "Hi"}


async def put(api: Api, version: str, query: str = "", **more: Any) -> tuple[int, str]:
    response = await api.http.put(f"{PROMPTS}/mine{query}", json={**MINE, "version": version, **more})
    return (200, response.json()["version"]) if response.status_code == 200 else refusal(response)


async def render(api: Api, ref: Any, **variables: Any) -> Any:
    response = await api.http.post(f"{PROMPTS}:render", json={"ref": ref, "variables": variables})
    return response.json()["composed"] if response.status_code == 200 else refusal(response)


async def test_versions_are_ordered_as_semantic_versions() -> None:
    """Pre-releases come before their release, numbers before words, and what stands behind ``+`` does not count."""
    ordered = [
        "0.9.9",
        "1.0.0-1",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-beta",
        "1.0.0",
        "1.0.10",
    ]
    assert all(version_key(a) < version_key(b) for a, b in pairwise(ordered))
    assert version_key("1.0.0+a") == version_key("1.0.0+b")
    assert version_key("no version") < version_key("0.0.0-0")


async def test_an_update_has_to_be_above_the_newest_version(api: Api) -> None:
    assert (await api.http.post(PROMPTS, json=MINE)).status_code == 201
    assert await put(api, "1.0.0") == (409, "conflict")
    assert await put(api, "1.0.0+build") == (409, "conflict")
    assert await put(api, "1.1.0-rc.1") == (200, "1.1.0-rc.1")
    assert await put(api, "1.1.0", "?version=1.0.0") == (409, "conflict")
    assert await put(api, "1.1.0", "?version=1.1.0-rc.1") == (200, "1.1.0")
    assert await put(api, "2.0.0", templateId="other") == (400, "validation_error")
    assert await put(api, "2.0.0", "?libraryId=vendor.none") == (404, "not_found")
    assert (await api.http.delete(f"{PROMPTS}/mine?version=1.1.0")).status_code == 204
    assert (await api.http.get(f"{PROMPTS}/mine")).json()["version"] == "1.1.0-rc.1"
    assert (await api.http.delete(f"{PROMPTS}/mine")).status_code == 204
    assert refusal(await api.http.get(f"{PROMPTS}/mine?version=1.0.0")) == (404, "not_found")
    assert await put(api, "2.0.0") == (404, "not_found")


async def test_the_last_version_takes_the_template_with_it(api: Api) -> None:
    await api.http.post(PROMPTS, json=MINE)
    assert (await api.http.delete(f"{PROMPTS}/mine?version=1.0.0")).status_code == 204
    assert refusal(await api.http.get(f"{PROMPTS}/mine")) == (404, "not_found")


async def test_a_repeated_creation_under_one_key_gets_the_same_answer(api: Api) -> None:
    """With its ``Location``; under another key it is a conflict."""
    first, again, other = [
        await api.http.post(PROMPTS, json=MINE, headers={"Idempotency-Key": key})
        for key in ("k1", "k1", "k2")
    ]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["location"] == again.headers["location"] == "/v1/prompts/mine?version=1.0.0"
    assert again.headers["openwop-Idempotent-Replay"] == "true"
    assert first.content == again.content
    assert refusal(other) == (409, "conflict")


async def test_who_made_it_and_when_is_the_hosts_to_say(api: Api) -> None:
    body = {**MINE, "meta": {"source": "host", "createdAt": "1999-01-01T00:00:00Z", "author": "ada"}}
    meta = (await api.http.post(PROMPTS, json=body)).json()["meta"]
    assert (meta["source"], meta["author"]) == ("user", "ada")
    assert meta["createdAt"] == meta["updatedAt"] > "2020"


@pytest.mark.parametrize(
    "change",
    [
        {"templateId": "Mine"}, {"templateId": "mine\n"}, {"version": "1"}, {"kind": "poem"}, {"more": 1},
        {"text": "ü" * 32_769}, {"tags": [""]}, {"meta": {"source": "pack"}}, {"modelHints": {"maxTokens": 0}},
        {"variables": [{"name": "a", "type": "string", "required": True}] * 2},
        {"variables": [{"name": "a", "type": "text", "required": True}]},
    ],
    ids=str,
)  # fmt: skip
async def test_a_template_that_breaks_a_rule_is_refused(api: Api, change: dict[str, Any]) -> None:
    assert refusal(await api.http.post(PROMPTS, json={**MINE, **change})) == (400, "validation_error")


@pytest.mark.parametrize(
    "query",
    ["kind=poem", "source=web", "limit=0", "limit=201", "limit=x", "cursor=x", "cursor=WzFd", "cursor=ü"],
)
async def test_a_query_that_is_not_legal_is_refused(api: Api, query: str) -> None:
    assert refusal(await api.http.get(f"{PROMPTS}?{query}")) == (400, "validation_error")


@pytest.mark.parametrize("query", ["version=1", "version=", "libraryId=A", "version=1.0.0%0A"])
async def test_a_version_or_library_that_has_not_the_form_of_one_is_refused(api: Api, query: str) -> None:
    for method in ("GET", "DELETE"):
        response = await api.http.request(method, f"{PROMPTS}/openwop.writer?{query}")
        assert refusal(response) == (400, "validation_error")


async def test_a_cursor_goes_on_behind_what_was_seen_though_the_list_has_changed(api: Api) -> None:
    page = (await api.http.get(PROMPTS, params={"limit": 1})).json()
    await api.http.post(PROMPTS, json={**MINE, "templateId": "a.first"})
    rest = (await api.http.get(PROMPTS, params={"cursor": page["nextCursor"]})).json()
    ids = [template["templateId"] for template in rest["items"]]
    assert "a.first" not in ids
    assert page["items"][0]["templateId"] not in ids
    assert "nextCursor" not in rest


async def test_an_etag_is_that_of_the_body(api: Api) -> None:
    first = await api.http.get(f"{PROMPTS}/openwop.writer")
    for header in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        same = await api.http.get(f"{PROMPTS}/openwop.writer", headers={"if-none-match": header})
        assert (same.status_code, same.content) == (304, b"")
    other = await api.http.get(f"{PROMPTS}/openwop.writer", headers={"if-none-match": '"x"'})
    assert other.json() == first.json()


@pytest.mark.parametrize(
    "ref",
    ["writer", "prompt:", "prompt:A", "prompt:a@1", 7, None, [], {}, {"templateId": "a", "more": 1},
     {"templateId": 7}, {"templateId": "a", "version": "1"}, {"templateId": "a", "variableOverrides": []}],
    ids=str,
)  # fmt: skip
async def test_a_reference_that_is_none_has_a_code_of_its_own(api: Api, ref: Any) -> None:
    assert await render(api, ref) == (400, "prompt_ref_invalid")


async def test_what_becomes_of_values(api: Api) -> None:
    """Text as it is, anything else as JSON, a default for what is missing, nothing for what was never declared."""
    names = ["text", "number", "flag", "list", "map"]
    types = ["string", "number", "boolean", "array", "object"]
    variables = [{"name": n, "type": t, "required": False} for n, t in zip(names, types, strict=True)]
    variables[1]["defaultValue"] = 5
    text = "|".join(f"{{{{{name}}}}}" for name in [*names, "undeclared"]) + " {{ text }} {{1}}"
    await api.http.post(PROMPTS, json={**MINE, "text": text, "variables": variables})
    assert await render(api, "prompt:mine") == "|5|||| {{ text }} {{1}}"
    values: dict[str, Any] = {
        "text": "ü{{number}}",
        "number": 1.5,
        "flag": True,
        "list": [1],
        "map": {"a": None},
    }
    assert (
        await render(api, "prompt:mine", **values, undeclared=[])
        == 'ü{{number}}|1.5|true|[1]|{"a":null}|[] {{ text }} {{1}}'
    )
    for name in names:
        assert await render(api, "prompt:mine", **{name: None}) == (400, "prompt_variable_type_mismatch")
    assert await render(api, {"templateId": "mine", "variableOverrides": {"number": 2}}, number=1) == (
        "|2|||| {{ text }} {{1}}"
    )


async def test_a_secret_itself_is_refused_and_not_repeated(api: Api) -> None:
    """What comes of a template may be shown, so only a reference may be in it."""
    body = {"ref": "prompt:openwop.search", "variables": {"topic": "tides", "searchKey": "swordfish"}}
    response = await api.http.post(f"{PROMPTS}:render", json=body)
    assert refusal(response) == (400, "validation_error")
    assert "swordfish" not in response.text


async def test_reading_and_writing_are_scopes_of_their_own() -> None:
    for scope, calls in (
        ("prompts:read", [("GET", PROMPTS), ("GET", f"{PROMPTS}/x"), ("POST", f"{PROMPTS}:render")]),
        ("prompts:write", [("POST", PROMPTS), ("PUT", f"{PROMPTS}/x"), ("DELETE", f"{PROMPTS}/x")]),
    ):
        async with DevHost(api_keys=[ApiKey("hk_test_dev", SCOPES - {scope})]) as host:
            for method, path in calls:
                response = await host.http_client().request(method, path)
                assert refusal(response) == (403, "forbidden")
                assert response.json()["details"] == {"scopeRequired": scope}


async def test_tenants_have_libraries_of_their_own() -> None:
    async with DevHost(api_keys=[ApiKey("hk_a", tenant="a"), ApiKey("hk_b", tenant="b")]) as host:
        http = host.http_client()
        assert (await http.post(PROMPTS, json=MINE)).status_code == 201
        other = await http.get(f"{PROMPTS}/mine", headers={"Authorization": "Bearer hk_b"})
        assert refusal(other) == (404, "not_found")
