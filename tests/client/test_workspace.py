"""Workspace files: paths, etags, and edits that lose nothing; with the development host, and with odd ones."""

from __future__ import annotations

import secrets
from typing import Any

import anyio
import pytest

from openwop import (
    ApiError,
    AsyncOpenwopClient,
    CapabilityNotSupportedError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    RequestValidationError,
    ResponseDecodeError,
)
from openwop.models import WorkspaceFile
from support.clients import MakeClient, serve_discovery
from support.fault_server import FaultServer, Reset, empty_response, error_response, json_response
from support.processes import DevHostProcess

pytestmark = pytest.mark.anyio

FILES = "/v1/host/workspace/files"
ETAG = '"93afcf77b9eac71c"'


def file_doc(**over: Any) -> dict[str, Any]:
    return {
        "path": "a.md",
        "content": "one",
        "contentType": "text/plain",
        "version": 3,
        "etag": ETAG,
        "updatedAt": "2026-01-01T00:00:00Z",
    } | over


@pytest.fixture
def client(make_client: MakeClient, devhost_process: DevHostProcess) -> AsyncOpenwopClient:
    return make_client(devhost_process.base_url, api_key=devhost_process.api_key)


@pytest.fixture
def folder() -> str:
    """The host is shared by all tests; each has its own names."""
    return f"test-{secrets.token_hex(6)}"


# -- with the development host -------------------------------------------------------------------------------


async def test_a_file_is_written_read_listed_and_deleted(client: AsyncOpenwopClient, folder: str) -> None:
    path = f"{folder}/notes/to-day.md"
    written = await client.workspace.put(path, "Grüße\n", content_type="text/plain")
    assert (written.path, written.content, written.version) == (path, "Grüße\n", 1)
    assert await client.workspace.get(path) == written
    (listed,) = (await client.workspace.list(f"{folder}/")).files
    assert (listed.path, listed.version, listed.etag) == (path, 1, written.etag)
    assert listed.content_type == "text/plain"
    await client.workspace.delete(path)
    assert (await client.workspace.list(folder)).files == []
    with pytest.raises(NotFoundError):
        await client.workspace.get(path)
    with pytest.raises(NotFoundError):
        await client.workspace.delete(path)


async def test_an_older_version_is_read_until_the_host_has_dropped_it(
    client: AsyncOpenwopClient, folder: str
) -> None:
    path = f"{folder}.md"
    for text in ("one", "two"):
        await client.workspace.put(path, text)
    assert (await client.workspace.get(path, version=1)).content == "one"
    assert (await client.workspace.get(path)).content == "two"
    with pytest.raises(NotFoundError):
        await client.workspace.get(path, version=7)


async def test_a_write_on_an_outdated_etag_is_a_conflict_that_names_the_current_version(
    client: AsyncOpenwopClient, folder: str
) -> None:
    """Protocol demands: 409 and not 412, with the version that won."""
    path = f"{folder}.md"
    first = await client.workspace.put(path, "one")
    second = await client.workspace.put(path, "two", if_match=first.etag)
    with pytest.raises(ConflictError) as caught:
        await client.workspace.put(path, "three", if_match=first.etag)
    assert (caught.value.status, caught.value.code) == (409, "workspace_conflict")
    assert caught.value.details["currentVersion"] == second.version == 2
    assert (await client.workspace.get(path)).content == "two"


async def test_a_file_that_is_too_large_is_refused_by_the_host(
    client: AsyncOpenwopClient, folder: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await client.workspace.put(f"{folder}.md", "x" * 300_000)
    assert (caught.value.status, caught.value.code) == (413, "workspace_too_large")


class Together:
    """Lets its callers go on once all of them are there, the first time; so each has seen the same file."""

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self._complete = anyio.Event()
        self.calls = 0

    async def wait(self) -> None:
        self.calls += 1
        self._missing -= 1
        if self._missing == 0:
            self._complete.set()
        await self._complete.wait()


@pytest.mark.duty("I.121")
@pytest.mark.parametrize("before", [None, "begun;"])
async def test_two_editors_at_once_both_see_their_change_land(
    client: AsyncOpenwopClient, folder: str, before: str | None
) -> None:
    """Protocol demands: after a conflict, read again and use the fresh etag.  Also where both create the file."""
    path = f"{folder}.md"
    if before is not None:
        await client.workspace.put(path, before)
    together = Together(2)

    async def edit(who: str) -> None:
        async def add(text: str | None) -> str:
            await together.wait()
            return f"{text or ''}{who};"

        await client.workspace.edit(path, add)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(edit, "ann")
            tasks.start_soon(edit, "bob")
    assert together.calls == 3  # two on the same text, and the loser once more
    content = (await client.workspace.get(path)).content
    assert content.startswith(before or "")
    assert sorted(content.removeprefix(before or "").split(";")) == ["", "ann", "bob"]


async def test_a_crowd_of_editors_counts_right(client: AsyncOpenwopClient, folder: str) -> None:
    """We chose it: an edit that is lost or done twice would show in the sum."""
    path = f"{folder}/counter"

    async def count() -> None:
        await client.workspace.edit(path, lambda text: str(int(text or "0") + 1), attempts=50)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(count)
    assert (await client.workspace.get(path)).content == "10"


async def test_an_edit_that_returns_nothing_leaves_everything_as_it_is(
    client: AsyncOpenwopClient, folder: str
) -> None:
    path = f"{folder}.md"
    assert await client.workspace.edit(path, lambda text: None) is None
    with pytest.raises(NotFoundError):
        await client.workspace.get(path)
    written = await client.workspace.put(path, "text")
    assert await client.workspace.edit(path, lambda text: None) == written


async def test_an_edit_keeps_the_media_type_unless_told_otherwise(
    client: AsyncOpenwopClient, folder: str
) -> None:
    """We chose it: a host takes markdown for granted, and an edit must not turn JSON into that."""
    path = f"{folder}.json"
    await client.workspace.put(path, "{}", content_type="application/json")
    edited = await client.workspace.edit(path, lambda text: f"[{text}]")
    assert edited is not None
    assert (edited.content, edited.content_type) == ("[{}]", "application/json")
    edited = await client.workspace.edit(path, lambda text: "x", content_type="text/plain")
    assert edited is not None
    assert edited.content_type == "text/plain"


async def test_a_file_that_is_deleted_under_an_edit_is_begun_anew(
    client: AsyncOpenwopClient, folder: str
) -> None:
    path = f"{folder}.md"
    await client.workspace.put(path, "old")
    seen: list[str | None] = []

    async def append(text: str | None) -> str:
        seen.append(text)
        if len(seen) == 1:
            await client.workspace.delete(path)
        return f"{text or ''}+"

    edited = await client.workspace.edit(path, append)
    assert seen == ["old", None]
    assert edited is not None
    assert edited.content == "+"


# -- what is sent --------------------------------------------------------------------------------------------


async def test_the_slashes_of_a_path_go_out_as_they_are(server: FaultServer, make_client: MakeClient) -> None:
    """Protocol demands: they are part of the name, and ids are the only thing whose slashes are encoded."""
    server.on("*", "*", json_response(200, file_doc()))
    client = make_client(server)
    await client.workspace.get("a/b_c.d-e/F", version=2)
    await client.workspace.list("a/b c&")
    got, listed = server.requests
    assert got.target == f"{FILES}/a/b_c.d-e/F?version=2"
    assert (listed.path, listed.query) == (FILES, {"prefix": ["a/b c&"]})


@pytest.mark.parametrize(
    "path",
    ["", "/a", "../a", "a/../b", "a/..", "a..b", "a/./b", "a/.", ".a", "-a", "a b", "a%2Fb", "ä", "a\n", "a?b",
     "x" * 257],
)  # fmt: skip
async def test_what_is_no_path_is_refused_before_anything_is_sent(
    server: FaultServer, make_client: MakeClient, path: str
) -> None:
    client = make_client(server)
    for call in (
        client.workspace.get(path),
        client.workspace.put(path, "x"),
        client.workspace.delete(path),
        client.workspace.edit(path, lambda text: "x"),
    ):
        with pytest.raises(RequestValidationError) as caught:
            await call
        assert caught.value.field == "path"
    assert server.requests == ()


async def test_other_arguments_that_no_host_could_take_are_refused_too(
    server: FaultServer, make_client: MakeClient
) -> None:
    workspace: Any = make_client(server).workspace
    for field, call in (
        ("version", lambda: workspace.get("a", version=0)),
        ("version", lambda: workspace.get("a", version=True)),
        ("prefix", lambda: workspace.list("x" * 257)),
        ("prefix", lambda: workspace.list(5)),
        ("prefix", lambda: workspace.list("\ud800")),
        ("content", lambda: workspace.put("a", 5)),
        ("content", lambda: workspace.put("a", "\ud800")),
        ("if_match", lambda: workspace.put("a", "x", if_match="")),
        ("if_match", lambda: workspace.put("a", "x", if_match='"ä"')),
        ("if_match", lambda: workspace.put("a", "x", if_match="x" * 256)),
        ("if_match", lambda: workspace.put("a", "x", if_match=b'"1"')),
        ("attempts", lambda: workspace.edit("a", str, attempts=0)),
        ("idempotency_key", lambda: workspace.put("a", "x", idempotency_key="")),
    ):
        with pytest.raises(RequestValidationError) as caught:
            await call()
        assert caught.value.field == field
    assert server.requests == ()


@pytest.mark.parametrize("etag", [ETAG, "no quotes", 'W/"weak"', '"half', '""twice""'])
async def test_an_etag_goes_back_byte_for_byte(
    server: FaultServer, make_client: MakeClient, etag: str
) -> None:
    """Protocol demands: it comes in the body, quotes included, and is nobody's but the host's to understand."""
    route = server.on("PUT", f"{FILES}/a.md", json_response(200, file_doc(etag=etag)))
    server.on("GET", f"{FILES}/a.md", json_response(200, file_doc(etag=etag)))
    client = make_client(server)
    file = await client.workspace.get("a.md")
    await client.workspace.put("a.md", "two", if_match=file.etag)
    await client.workspace.edit("a.md", lambda text: "three")
    put, edited = route.requests
    assert put.headers["if-match"] == edited.headers["if-match"] == etag
    assert put.json() == {"content": "two"}
    assert edited.json() == {"content": "three", "contentType": "text/plain"}


async def test_a_write_whose_answer_was_lost_is_repeated_under_its_key(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Protocol demands the key; without it the repetition would be a conflict with ourselves."""
    server.on("PUT", f"{FILES}/a.md", (Reset(),), json_response(200, file_doc()))
    server.on("DELETE", f"{FILES}/a.md", (Reset(),), empty_response(204))
    client = make_client(server)
    with anyio.fail_after(20):
        await client.workspace.put("a.md", "x", if_match=ETAG)
        await client.workspace.delete("a.md")
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert server.requests[1].headers["if-match"] == ETAG


async def test_a_new_file_is_created_only_if_nobody_else_has(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: the protocol has no condition for that, HTTP has, and a host may answer in HTTP's way (412)."""
    server.on("GET", f"{FILES}/a.md", error_response(404, "not_found"), json_response(200, file_doc()))
    put = server.on(
        "PUT", f"{FILES}/a.md", error_response(412, "precondition_failed"), json_response(200, file_doc())
    )
    seen: list[str | None] = []

    def fn(text: str | None) -> str:
        seen.append(text)
        return "mine"

    await make_client(server).workspace.edit("a.md", fn)
    assert seen == [None, "one"]
    first, second = put.requests
    assert (first.headers["if-none-match"], "if-match" in first.headers) == ("*", False)
    assert (second.headers["if-match"], "if-none-match" in second.headers) == (ETAG, False)


async def test_a_host_may_say_404_of_a_file_that_is_deleted_under_an_edit(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: the file that was read is not there any more, which is a conflict by another name."""
    server.on("GET", f"{FILES}/a.md", json_response(200, file_doc()), error_response(404, "not_found"))
    put = server.on(
        "PUT", f"{FILES}/a.md", error_response(404, "not_found"), json_response(200, file_doc(version=1))
    )
    edited = await make_client(server).workspace.edit("a.md", lambda text: f"{text or 'new'}+")
    assert edited is not None
    assert [request.json()["content"] for request in put.requests] == ["one+", "new+"]


async def test_an_edit_of_a_new_file_does_not_go_on_where_nothing_is_served(
    server: FaultServer, make_client: MakeClient
) -> None:
    """A host without files may say 404 to everything: the first write says so."""
    server.on("*", "*", error_response(404, "not_found"))
    with pytest.raises(ApiError):
        await make_client(server).workspace.edit("a.md", lambda text: "x")
    assert [request.method for request in server.requests] == ["GET", "PUT"]


async def test_an_edit_gives_up_with_the_last_conflict(server: FaultServer, make_client: MakeClient) -> None:
    get = server.on("GET", f"{FILES}/a.md", json_response(200, file_doc()))
    answers = [
        error_response(409, "workspace_conflict", details={"currentVersion": version})
        for version in (4, 5, 6)
    ]
    put = server.on("PUT", f"{FILES}/a.md", *answers)
    with pytest.raises(ConflictError) as caught, anyio.fail_after(20):
        await make_client(server).workspace.edit("a.md", lambda text: "x", attempts=3)
    assert caught.value.details["currentVersion"] == 6
    assert len(get.requests) == len(put.requests) == 3
    assert len({request.headers["idempotency-key"] for request in put.requests}) == 3


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "validation_error"), (403, "forbidden"), (413, "workspace_too_large"), (409, "idempotency_key_mismatch")],
)  # fmt: skip
async def test_an_edit_does_not_try_again_what_is_no_conflict(
    server: FaultServer, make_client: MakeClient, status: int, code: str
) -> None:
    server.on("GET", f"{FILES}/a.md", json_response(200, file_doc()))
    put = server.on("PUT", f"{FILES}/a.md", error_response(status, code))
    with pytest.raises(Exception, match=code):
        await make_client(server).workspace.edit("a.md", lambda text: "x")
    assert len(put.requests) == 1


# -- odd hosts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("etag", [None, "", '"\xe4"', "x" * 256])
async def test_an_edit_without_an_etag_is_refused_instead_of_done_unsafely(
    server: FaultServer, make_client: MakeClient, etag: str | None
) -> None:
    """We chose it: the schema lets a host leave the etag out, and then there is nothing to compare with."""
    document = {"path": "a.md", "content": "one", "etag": etag}
    server.on("GET", f"{FILES}/a.md", json_response(200, document))
    with pytest.raises(ResponseDecodeError, match="no etag"):
        await make_client(server).workspace.edit("a.md", lambda text: "x")
    assert len(server.requests) == 1


async def test_a_file_may_have_little_and_more_than_expected(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on(
        "GET",
        f"{FILES}/a.md",
        json_response(200, {"content": "x", "version": None, "updatedAt": "[REDACTED]", "x-acme": 1}),
        json_response(200, {"path": "a.md", "content": None}),
    )
    client = make_client(server)
    file = await client.workspace.get("a.md")
    assert file == WorkspaceFile.model_validate({"content": "x", "updatedAt": "[REDACTED]", "x-acme": 1})
    assert (file.version, file.etag, file.updated_at) == (None, None, None)
    assert file.model_extra == {"updatedAt": "[REDACTED]", "x-acme": 1}
    with pytest.raises(ResponseDecodeError) as caught:
        await client.workspace.get("a.md")
    assert caught.value.field == "content"


async def test_a_list_may_come_in_any_wrapping(server: FaultServer, make_client: MakeClient) -> None:
    """We chose it: other lists of the protocol are bare arrays; with contents or without, an item is an item."""
    server.on(
        "GET",
        FILES,
        json_response(200, {"files": [{"path": "a"}, file_doc(path="b")], "total": 2}),
        json_response(200, [{"path": "a", "version": 1}]),
        json_response(200, {"files": None}),
        json_response(200, {"files": []}),
    )
    workspace = make_client(server).workspace
    both = await workspace.list()
    assert [file.path for file in both.files] == ["a", "b"]
    assert both.model_extra == {"total": 2}
    assert [file.version for file in (await workspace.list()).files] == [1]
    assert (await workspace.list()).files == (await workspace.list()).files == []


async def test_a_host_without_files_is_told_apart_from_a_file_that_is_missing(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Protocol demands: 501 is "not offered"; an edit does not take it for a file to create."""
    server.on("*", "*", error_response(501, "capability_not_provided"))
    client = make_client(server)
    for call in (
        client.workspace.list(),
        client.workspace.get("a"),
        client.workspace.edit("a", lambda text: "x"),
    ):
        with pytest.raises(CapabilityNotSupportedError) as caught:
            await call
        assert caught.value.capability == "workspace"
    assert [request.method for request in server.requests] == ["GET"] * 3


async def test_the_raw_answer_comes_with_its_headers(server: FaultServer, make_client: MakeClient) -> None:
    serve_discovery(server)
    server.on("PUT", f"{FILES}/a.md", json_response(200, file_doc(), openwop_idempotent_replay="true"))
    server.on("DELETE", f"{FILES}/a.md", empty_response(204))
    raw = make_client(server).workspace.with_raw_response
    answer = await raw.put("a.md", "x")
    assert (answer.status, answer.data.version, answer.idempotent_replay) == (200, 3, True)
    assert (await raw.delete("a.md")).status == 204
