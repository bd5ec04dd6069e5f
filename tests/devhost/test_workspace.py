"""The host's workspace: paths, versions, conditions, limits, and tenants that do not see each other."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from devhost.kit import Api, refusal
from openwop.devhost import ApiKey, DevHost
from openwop.devhost.options import Limits

pytestmark = pytest.mark.asyncio

FILES = "/v1/host/workspace/files"


async def put(api: Api, path: str, content: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.http.put(f"{FILES}/{path}", json={"content": content}, headers=named)


async def test_each_write_is_a_version_with_an_etag_of_its_own(api: Api) -> None:
    """Protocol demands: version 1 first, one more each time; the etag in the body, quotes included, in no header."""
    answers = [await put(api, "a/b.md", text) for text in ("one", "two", "one")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    documents: list[dict[str, Any]] = [answer.json() for answer in answers]
    assert [document["version"] for document in documents] == [1, 2, 3]
    etags = [document["etag"] for document in documents]
    assert len(set(etags)) == 3  # also where the content came back: somebody has been there
    assert all(etag.startswith('"') and etag.endswith('"') for etag in etags)
    assert "etag" not in answers[0].headers
    assert documents[0]["contentType"] == "text/markdown"
    for version, document in enumerate(documents, 1):
        assert (await api.http.get(f"{FILES}/a/b.md", params={"version": version})).json() == document
    assert (await api.http.get(f"{FILES}/a%2Fb.md")).json() == documents[-1]


async def test_conditions_are_kept_and_a_failed_one_is_409(api: Api) -> None:
    """Protocol demands: 409 `workspace_conflict` with the current version.  `If-None-Match: *` is HTTP's."""
    etag = (await put(api, "a.md", "one", if_none_match="*")).json()["etag"]
    for headers in ({"if_match": '"other"'}, {"if_match": etag.strip('"')}, {"if_none_match": "*"}):
        answer = await put(api, "a.md", "two", **headers)
        assert refusal(answer) == (409, "workspace_conflict")
        assert answer.json()["details"] == {"currentVersion": 1}
    assert (await put(api, "a.md", "two", if_match=etag)).json()["version"] == 2
    assert refusal(await put(api, "none.md", "x", if_match=etag)) == (409, "workspace_conflict")
    assert refusal(await put(api, "a.md", "x", if_none_match='"e"')) == (400, "validation_error")
    assert refusal(await put(api, "a.md", "x", if_match="x" * 256)) == (400, "validation_error")


async def test_a_deleted_file_is_gone_with_its_history_and_its_count_goes_on(api: Api) -> None:
    await put(api, "a.md", "one")
    deleted = await api.http.delete(f"{FILES}/a.md")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("a.md", "a.md?version=1"):
        assert refusal(await api.http.get(f"{FILES}/{path}")) == (404, "not_found")
    assert refusal(await api.http.delete(f"{FILES}/a.md")) == (404, "not_found")
    assert "a.md" not in [file["path"] for file in (await api.http.get(FILES)).json()["files"]]
    assert (await put(api, "a.md", "again", if_none_match="*")).json()["version"] == 3


async def test_lists_are_sorted_filtered_and_without_contents(api: Api) -> None:
    for path in ("b.md", "a/2.md", "a/1.md"):
        await put(api, path, "x")
    files = (await api.http.get(FILES, params={"prefix": "a/"})).json()["files"]
    assert [file["path"] for file in files] == ["a/1.md", "a/2.md"]
    assert all("content" not in file for file in files)
    every = [file["path"] for file in (await api.http.get(FILES)).json()["files"]]
    assert every == ["README.md", "a/1.md", "a/2.md", "b.md"]
    assert refusal(await api.http.get(FILES, params={"prefix": "x" * 257})) == (400, "validation_error")


@pytest.mark.parametrize("path", ["..%2Fx", "a/..%2Fb", "a..b", ".a", "%2Fa", "a%20b", "x" * 257])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_what_is_no_path_is_400(api: Api, method: str, path: str) -> None:
    """Protocol demands: no `..`, no leading slash, at most 256 characters."""
    body = {"json": {"content": "x"}} if method == "PUT" else {}
    assert refusal(await api.http.request(method, f"{FILES}/{path}", **body)) == (400, "validation_error")


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "x", "", "00", "١"])
async def test_a_version_is_a_number_from_1_up(api: Api, version: str) -> None:
    answer = await api.http.get(f"{FILES}/README.md", params={"version": version})
    assert refusal(answer) == (400, "validation_error")


async def test_a_version_that_nobody_will_ever_reach_is_not_found(api: Api) -> None:
    answer = await api.http.get(f"{FILES}/README.md", params={"version": "9" * 5000})
    assert refusal(answer) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    ["{}", '{"content": 1}', '{"content": "x", "path": "a"}', "[]", '{"content": "\\ud800"}', "", "x"],
)
async def test_a_body_that_is_not_the_protocols_is_400(api: Api, body: str) -> None:
    assert refusal(await api.http.put(f"{FILES}/a.md", content=body)) == (400, "validation_error")
    assert refusal(await api.http.get(f"{FILES}/a.md")) == (404, "not_found")


async def test_limits_are_kept_and_advertised() -> None:
    limits = Limits(max_workspace_file_bytes=4, max_workspace_files=2, max_workspace_versions=2)
    async with DevHost(limits=limits, samples=False) as host:
        api = Api(host, host.http_client())
        assert (await put(api, "a", "1234")).status_code == 200
        too_large = await put(api, "a", "123ä")
        assert refusal(too_large) == (413, "workspace_too_large")
        assert too_large.json()["details"] == {"maxFileBytes": 4}
        for text in "23":
            await put(api, "a", text)
        assert refusal(await api.http.get(f"{FILES}/a?version=1")) == (404, "not_found")
        assert (await api.http.get(f"{FILES}/a?version=2")).json()["content"] == "2"
        await put(api, "b", "x")
        assert refusal(await put(api, "c", "x")) == (413, "workspace_too_large")
        assert (await put(api, "b", "y")).status_code == 200
        await api.http.delete(f"{FILES}/b")
        assert (await put(api, "c", "x")).status_code == 200
        advertised = host.discovery()["workspace"]
        assert advertised == {
            "supported": True, "versioned": True, "maxFileBytes": 4, "maxFiles": 2, "maxVersions": 2,
        }  # fmt: skip


async def test_tenants_have_workspaces_of_their_own() -> None:
    """Protocol demands: another tenant's file is as good as none."""
    keys = [ApiKey("hk_test_a", tenant="a"), ApiKey("hk_test_b", tenant="b")]
    async with DevHost(api_keys=keys) as host:
        a, b = (
            Api(host, host.http_client(headers={"Authorization": f"Bearer {key.key}"}, authenticated=False))
            for key in keys
        )
        await put(a, "a.md", "a's")
        assert refusal(await b.http.get(f"{FILES}/a.md")) == (404, "not_found")
        assert (await b.http.get(FILES)).json() == {"files": []}
        assert (await put(b, "a.md", "b's")).json()["version"] == 1
        assert (await a.http.get(f"{FILES}/a.md")).json()["content"] == "a's"


async def test_reading_and_writing_need_a_scope_each() -> None:
    keys = [ApiKey("hk_test_r", scopes=frozenset({"workspace:read"}))]
    async with DevHost(api_keys=keys) as host:
        api = Api(host, host.http_client())
        assert (await api.http.get(f"{FILES}/README.md")).status_code == 200
        assert refusal(await put(api, "a", "x")) == (403, "forbidden")
        assert refusal(await api.http.delete(f"{FILES}/README.md")) == (403, "forbidden")
        stranger = host.http_client(authenticated=False)
        assert refusal(await stranger.get(FILES)) == (401, "unauthenticated")


async def test_a_key_answers_a_repetition_and_not_another_file(api: Api) -> None:
    """A repeated write is the first write; the same key for another path is a mistake, though the bodies are equal."""
    first = await put(api, "a.md", "x", idempotency_key="k1")
    again = await put(api, "a.md", "x", idempotency_key="k1")
    assert (again.json(), again.headers["openwop-idempotent-replay"]) == (first.json(), "true")
    assert refusal(await put(api, "b.md", "x", idempotency_key="k1")) == (409, "idempotency_key_mismatch")
    for _ in range(2):
        deleted = await api.http.delete(f"{FILES}/a.md", headers={"idempotency-key": "k2"})
        assert deleted.status_code == 204
