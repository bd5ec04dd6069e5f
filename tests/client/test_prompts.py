"""Prompt templates: against the development host over a real socket, and against hosts that differ."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from openwop import (
    AsyncOpenwopClient,
    CapabilityNotSupportedError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ResponseDecodeError,
)
from openwop.errors import RequestValidationError
from openwop.models import PromptRef, PromptTemplate, PromptTemplateRequest, PromptVariable
from support.clients import serve_discovery
from support.fault_server import (
    FaultServer,
    Reset,
    bytes_response,
    empty_response,
    error_response,
    json_response,
)
from support.processes import DevHostProcess, start_devhost

pytestmark = pytest.mark.asyncio

MINE: dict[str, Any] = {"templateId": "mine", "version": "1.0.0", "kind": "user", "text": "Hi {{name}}"}
RENDERED = {"hash": "sha256:" + "0" * 64, "refs": [], "variableHashes": {}}


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def host() -> Iterator[DevHostProcess]:
    """A host of its own, because its library changes."""
    with start_devhost() as process:
        yield process


@pytest_asyncio.fixture
async def client(host: DevHostProcess) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(host.base_url, host.api_key) as connected:
        yield connected


@pytest_asyncio.fixture
async def odd(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    """A client of a host that answers as the test says."""
    async with AsyncOpenwopClient(server.base_url, "hk_test", protocol="1", max_retries=0) as connected:
        yield connected


async def test_the_list_is_the_same_in_pages_of_any_size(client: AsyncOpenwopClient) -> None:
    whole = [template async for template in client.prompts.list().items()]
    assert len(whole) >= 5
    for limit in (1, 2, 200):
        pages = [page async for page in client.prompts.list(limit=limit)]
        assert [template for page in pages for template in page.items] == whole
        assert all(len(page.items) == limit for page in pages[:-1])
        assert pages[-1].next_cursor is None


async def test_filters_are_the_hosts_and_all_tags_must_be_there(client: AsyncOpenwopClient) -> None:
    async def ids(**filters: Any) -> list[str]:
        return [template.template_id async for template in client.prompts.list(**filters).items()]

    assert await ids(kind="system") == ["openwop.editor"]
    assert await ids(tag=("samples", "writing"), source="host") == ["openwop.writer"]
    assert await ids(tag="editing") == ["openwop.editor"]
    assert await ids(model_class="writing") == ["openwop.writer"]
    assert await ids(source="pack", limit=1) == ["summary", "summary"]
    assert await ids(tag="no such tag") == []


async def test_a_template_in_its_newest_version_in_another_and_unchanged(client: AsyncOpenwopClient) -> None:
    newest = await client.prompts.with_raw_response.get("openwop.writer")
    assert (newest.data.version, newest.headers["cache-control"]) == ("1.1.0", "max-age=60")
    assert await client.prompts.get("openwop.writer", if_none_match=newest.headers["etag"]) is None
    old = await client.prompts.with_raw_response.get("openwop.writer", version="1.0.0")
    assert old.data.version == "1.0.0"
    assert "immutable" in old.headers["cache-control"]
    changed = await client.prompts.get("openwop.writer", if_none_match=old.headers["etag"])
    assert changed == newest.data
    with pytest.raises(NotFoundError):
        await client.prompts.get("openwop.writer", version="9.9.9")
    with pytest.raises(InvalidRequestError) as ambiguous:
        await client.prompts.get("summary")
    assert ambiguous.value.code == "prompt_ref_ambiguous"
    for library in ambiguous.value.details["libraryIds"]:
        found = await client.prompts.get("summary", library_id=library)
        assert found.meta is not None
        assert found.meta.pack_name == library


async def test_a_template_from_its_creation_to_its_removal(client: AsyncOpenwopClient) -> None:
    made = await client.prompts.with_raw_response.create(MINE)
    assert (made.status, made.headers["location"]) == (201, "/v1/prompts/mine?version=1.0.0")
    assert made.data.meta is not None
    assert (made.data.meta.source, made.data.text) == ("user", "Hi {{name}}")
    with pytest.raises(ConflictError):
        await client.prompts.create(MINE)
    newer = made.data.model_copy(update={"version": "1.0.1", "text": "Hello {{name}}"})
    updated = await client.prompts.update("mine", newer)
    assert (updated.version, updated.text) == ("1.0.1", "Hello {{name}}")
    assert await client.prompts.get("mine") == updated
    assert await client.prompts.get("mine", version="1.0.0") == made.data
    with pytest.raises(ConflictError):
        await client.prompts.update("mine", {**MINE, "version": "1.0.1-rc.1"})
    rendered = await client.prompts.render("prompt:mine@1.0.0", {"name": "Ada"})
    assert rendered.composed == "Hi Ada"
    await client.prompts.delete("mine")
    with pytest.raises(NotFoundError):
        await client.prompts.delete("mine")


async def test_templates_of_the_host_and_of_packs_stay_as_they_are(client: AsyncOpenwopClient) -> None:
    writer = await client.prompts.get("openwop.writer")
    for call in (
        client.prompts.update("openwop.writer", writer.model_copy(update={"version": "2.0.0"})),
        client.prompts.delete("openwop.writer"),
        client.prompts.create({**MINE, "templateId": "openwop.writer", "version": "3.0.0"}),
    ):
        with pytest.raises(PermissionDeniedError):
            await call
    assert await client.prompts.get("openwop.writer") == writer


async def test_rendering_puts_values_in_once_and_hashes_what_comes_of_it(client: AsyncOpenwopClient) -> None:
    values = {"topic": "{{words}}", "words": 7}
    rendered = await client.prompts.render("prompt:openwop.writer", values, content_trust="untrusted")
    assert rendered.composed == "Write about {{words}}, in 7 words."
    assert (rendered.hash, rendered.refs) == (sha256(rendered.composed), ["prompt:openwop.writer@1.1.0"])
    assert rendered.variable_hashes == {"topic": sha256("{{words}}"), "words": sha256("7")}
    assert rendered.content_trust == "untrusted"
    overridden = PromptRef(
        template_id="openwop.writer", version="1.0.0", variable_overrides={"topic": "tides"}
    )
    assert (await client.prompts.render(overridden, values)).composed == "Write about tides."
    for given, code in (
        ({}, "prompt_variable_unresolved"),
        ({"topic": 7}, "prompt_variable_type_mismatch"),
    ):
        with pytest.raises(InvalidRequestError) as refused:
            await client.prompts.render("prompt:openwop.writer", given)
        assert (refused.value.code, refused.value.details["variable"]) == (code, "topic")
    with pytest.raises(NotFoundError):
        await client.prompts.render("prompt:no.such", {})


@pytest.mark.duty("I.122")
async def test_a_secret_goes_out_as_a_reference_only(client: AsyncOpenwopClient) -> None:
    """With the template at hand, its declaration decides; the host refuses what slips through without it."""
    template = await client.prompts.get("openwop.search")
    for secret in ("swordfish", None, ["[REDACTED:a]"]):
        with pytest.raises(RequestValidationError) as refused:
            await client.prompts.render(template, {"topic": "tides", "searchKey": secret})
        assert refused.value.field == "variables.searchKey"
        assert "swordfish" not in str(refused.value)
    values = {"topic": "tides", "searchKey": "[REDACTED:search-main]"}
    rendered = await client.prompts.render(template, values)
    assert rendered.composed == "Search for tides with [REDACTED:search-main]."
    with pytest.raises(InvalidRequestError) as late:
        await client.prompts.render("prompt:openwop.search", {"topic": "tides", "searchKey": "swordfish"})
    assert "swordfish" not in str(late.value) + json.dumps(late.value.details)


# -- what is sent -------------------------------------------------------------------------------------


@pytest.mark.duty("I.122")
@pytest.mark.parametrize("place", ["variables.key", "ref.variable_overrides.key"])
async def test_a_key_is_refused_wherever_it_is_put(
    server: FaultServer, odd: AsyncOpenwopClient, place: str
) -> None:
    """We chose it: without a declaration at hand, the shape of a value has to tell."""
    key = "sk-" + "proj-Ab3dEf6hIj9kLm2nOp5q"
    ref: dict[str, Any] = {"templateId": "a"}
    values = {"key": [key]} if place == "variables.key" else {}
    with pytest.raises(RequestValidationError) as refused:
        await odd.prompts.render(ref if values else {**ref, "variableOverrides": {"key": key}}, values)
    assert refused.value.field == place
    assert key not in str(refused.value)
    assert server.requests == ()


@pytest.mark.parametrize(
    ("ref", "sent"),
    [
        ("prompt:a", "prompt:a"),
        ("prompt:vendor.acme.a-b_c@1.2.3-rc.1+5", "prompt:vendor.acme.a-b_c@1.2.3-rc.1+5"),
        ({"templateId": "a", "libraryId": "l"}, {"templateId": "a", "libraryId": "l"}),
        ({"template_id": "a", "library_id": None}, {"templateId": "a"}),
        (PromptRef(template_id="a", version="1.0.0"), {"templateId": "a", "version": "1.0.0"}),
        (PromptTemplate(template_id="a", version="1.0.0"), "prompt:a@1.0.0"),
        (PromptTemplate(template_id="a"), "prompt:a"),
        (
            PromptTemplate.model_validate(
                {"templateId": "a", "version": "1.0.0", "meta": {"packName": "core.p.q"}}
            ),
            {"libraryId": "core.p.q", "templateId": "a", "version": "1.0.0"},
        ),
        (
            PromptTemplate.model_validate(
                {"templateId": "a", "version": "1.0.0", "meta": {"packName": "core.p.Q"}}
            ),
            "prompt:a@1.0.0",
        ),
    ],
    ids=repr,
)
async def test_a_reference_may_be_given_in_any_form(
    server: FaultServer, odd: AsyncOpenwopClient, ref: Any, sent: Any
) -> None:
    """A template that was read before stands for its own version, in its own pack."""
    server.on("POST", "/v1/prompts:render", json_response(200, RENDERED))
    await odd.prompts.render(ref, {"n": 1}, content_trust="trusted")
    (request,) = server.requests
    assert json.loads(request.body) == {"ref": sent, "variables": {"n": 1}, "contentTrust": "trusted"}
    assert "idempotency-key" not in request.headers


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("ref", ("writer", {})),
        ("ref", ("prompt:", {})),
        ("ref", ("prompt:a@1", {})),
        ("ref", ("prompt:a@1.0.0\n", {})),
        ("ref", (7, {})),
        ("ref.templateId", ({}, {})),
        ("ref.templateId", ({"templateId": "A"}, {})),
        ("ref.version", ({"templateId": "a", "version": "1.٢.0"}, {})),
        ("ref.more", ({"templateId": "a", "more": 1}, {})),
        ("variables", ("prompt:a", None)),
        ("variables", ("prompt:a", {"x": float("nan")})),
        ("variables", ("prompt:a", {"x": object()})),
    ],
)
async def test_a_render_call_that_the_protocol_refuses_names_its_argument(
    server: FaultServer, odd: AsyncOpenwopClient, field: str, arguments: tuple[Any, Any]
) -> None:
    with pytest.raises(RequestValidationError) as caught:
        await odd.prompts.render(*arguments)
    assert caught.value.field == field
    assert server.requests == ()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("templateId", {"templateId": "Mine"}),
        ("version", {"version": "1.0"}),
        ("kind", {"kind": "assistant"}),
        ("text", {"text": "x" * 65_537}),
        ("text", {"text": "ü" * 32_769}),
        ("name", {"name": "x" * 201}),
        ("tags", {"tags": ["t"] * 33}),
        ("tags.0", {"tags": [""]}),
        ("variables.0.name", {"variables": [{"name": "a-b", "type": "string", "required": True}]}),
        ("variables.0.required", {"variables": [{"name": "a", "type": "string"}]}),
        ("modelHints.temperature", {"modelHints": {"temperature": 2.5}}),
        ("meta.createdAt", {"meta": {"createdAt": "yesterday"}}),
        ("meta", {"meta": {"source": "pack"}}),
        ("more", {"more": 1}),
        ("model", {"model": 1}),
    ],
)
async def test_a_template_that_the_protocol_refuses_is_not_sent(
    server: FaultServer, odd: AsyncOpenwopClient, field: str, change: dict[str, Any]
) -> None:
    template = {**MINE, **change}
    for make in (lambda: odd.prompts.create(template), lambda: odd.prompts.update("mine", template)):
        with pytest.raises(RequestValidationError) as caught:
            await make()
        assert caught.value.field == f"template.{field}"
    assert server.requests == ()


async def test_arguments_of_reading_are_checked_before_anything_is_sent(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    bad: Any
    for bad, field in (
        ({"kind": "assistant"}, "kind"), ({"source": "web"}, "source"), ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": True}, "limit"), ({"tag": [1]}, "tag"), ({"tag": 1}, "tag"), ({"model_class": 1}, "model_class"),
    ):  # fmt: skip
        with pytest.raises(RequestValidationError) as caught:
            odd.prompts.list(**bad)
        assert caught.value.field == field
    for bad, field in (
        ({"version": "1"}, "version"),
        ({"version": ""}, "version"),
        ({"version": 1}, "version"),
        ({"library_id": "No"}, "library_id"),
    ):
        with pytest.raises(RequestValidationError) as caught:
            await odd.prompts.get("a", **bad)
        assert caught.value.field == field
    with pytest.raises(RequestValidationError) as caught:
        await odd.prompts.update("other", MINE)
    assert caught.value.field == "template.template_id"
    text: Any = "Hi"
    with pytest.raises(RequestValidationError) as caught:
        await odd.prompts.create(text)
    assert caught.value.field == "template"
    assert server.requests == ()


async def test_a_list_call_sends_its_filters_with_every_page(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    page = {"items": [{"templateId": "a"}], "nextCursor": "c/1="}
    route = server.on("GET", "/v1/prompts", json_response(200, page), json_response(200, {"items": None}))
    found = [template async for template in odd.prompts.list(kind="user", tag=["x", "y z"], limit=1).items()]
    assert [template.template_id for template in found] == ["a"]
    first, second = (request.query for request in route.requests)
    assert first == {"kind": ["user"], "tag": ["x", "y z"], "limit": ["1"]}
    assert second == {**first, "cursor": ["c/1="]}


# -- hosts that differ --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        empty_response(201, Location="/v1/prompts/mine"),
        json_response(201, {}, Location="/v1/prompts/mine"),
        json_response(201, {"ok": True}, Location="/v1/prompts/mine"),
        bytes_response(201, b"created", "text/plain", Location="/v1/prompts/mine"),
    ],
    ids=["empty", "object", "something-else", "text"],
)
@pytest.mark.parametrize("as_model", [PromptTemplate, PromptTemplateRequest, dict])
async def test_a_creation_that_is_answered_without_a_template_is_a_success(
    server: FaultServer, odd: AsyncOpenwopClient, answer: Any, as_model: Any
) -> None:
    """The status says it all: an error would have the caller create it again."""
    server.on("POST", "/v1/prompts", answer)
    template = MINE if as_model is dict else as_model.model_validate(MINE)
    made = await odd.prompts.with_raw_response.create(template)
    assert (made.data.template_id, made.data.text, made.data.meta) == ("mine", "Hi {{name}}", None)
    assert made.headers["location"] == "/v1/prompts/mine"
    (request,) = server.requests
    assert json.loads(request.body) == MINE
    assert len(request.headers["idempotency-key"]) == 32


async def test_a_template_can_be_read_changed_and_sent_back(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    """We chose it: ``null`` for absent is read and not sent back, and a default that is ``null`` stays one."""
    variable = {"name": "a", "type": "string", "required": False, "source": None, "defaultValue": None}
    document = {**MINE, "name": None, "variables": [variable], "meta": {"createdAt": "2026-01-01T00:00:00Z"}}
    server.on("GET", "/v1/prompts/{id}", json_response(200, document))
    server.on("PUT", "/v1/prompts/{id}", json_response(200, {**MINE, "version": "1.1.0"}))
    template = await odd.prompts.get("mine")
    await odd.prompts.update("mine", template.model_copy(update={"version": "1.1.0"}))
    sent = json.loads(server.requests[-1].body)
    assert sent == {
        **MINE,
        "version": "1.1.0",
        "variables": [{"name": "a", "type": "string", "required": False, "defaultValue": None}],
        "meta": {"createdAt": "2026-01-01T00:00:00Z"},
    }


async def test_a_field_that_the_protocol_does_not_have_is_named_and_not_dropped(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    """We chose it: what a host adds to a template is kept in reading, and hosts refuse it in a body."""
    server.on("GET", "/v1/prompts/{id}", json_response(200, {**MINE, "x-acme": 1}))
    with pytest.raises(RequestValidationError) as caught:
        await odd.prompts.update("mine", await odd.prompts.get("mine"))
    assert caught.value.field == "template.x-acme"


async def test_templates_that_leave_out_almost_everything_are_read(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    items = [{"templateId": "a", "kind": "poem", "meta": "[REDACTED]", "variables": [{"name": "v"}]}]
    server.on(
        "GET",
        "/v1/prompts",
        json_response(200, {"items": items, "nextCursor": None}),
        json_response(200, items),
    )
    assert [found.template_id async for found in odd.prompts.list().items()] == ["a"]
    (template,) = [found async for found in odd.prompts.list().items()]
    assert (template.kind, template.text, template.meta) == ("poem", "", None)
    assert template.variables == [PromptVariable(name="v")]
    server.on("POST", "/v1/prompts:render", json_response(200, {"hash": "sha256:x", "refs": None}))
    rendered = await odd.prompts.render("prompt:a", {})
    assert (rendered.refs, rendered.composed) == ([], None)


async def test_a_page_without_items_is_an_error(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    server.on("GET", "/v1/prompts", json_response(200, {"templates": []}))
    with pytest.raises(ResponseDecodeError):
        await anext(odd.prompts.list())


async def test_a_deletion_whose_answer_was_lost_is_made_again(server: FaultServer) -> None:
    """It has no idempotency key, and removing twice removes no more."""
    route = server.on("DELETE", "/v1/prompts/{id}", (Reset(),), empty_response(204))
    async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
        await client.prompts.delete("mine")
    assert len(route.requests) == 2
    assert "idempotency-key" not in route.requests[0].headers


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("/prefix/v1/prompts:render", "/prefix/v1/prompts:render"),
        ("v1/p:render?a=1", "/v1/p:render?a=1"),
        ("{base}/render", "/render"),
        ("https://elsewhere.example/render", "/v1/prompts:render"),
        ("//elsewhere.example/render", "/v1/prompts:render"),
        ("http://[", "/v1/prompts:render"),
        ("/ü", "/v1/prompts:render"),
        ("", "/v1/prompts:render"),
        (7, "/v1/prompts:render"),
        (None, "/v1/prompts:render"),
    ],
)
async def test_a_host_that_renders_elsewhere_is_asked_there_but_nobody_else_gets_the_key(
    server: FaultServer, place: Any, target: str
) -> None:
    """``prompts.library.renderEndpoint``: another origin would be given the credential."""
    if isinstance(place, str):
        place = place.replace("{base}", server.base_url)
    prompts = {"supported": True, "endpointsSupported": True, "library": {"renderEndpoint": place}}
    serve_discovery(server, prompts=prompts)
    server.on("POST", "*", json_response(200, RENDERED))
    async with AsyncOpenwopClient(server.base_url, "hk_test") as client:
        await client.prompts.render("prompt:a", {})
    assert server.requests[-1].target == target


async def test_values_that_are_changed_while_the_host_is_asked_are_sent_as_they_were_checked(
    server: FaultServer,
) -> None:
    serve_discovery(server, prompts={"supported": True, "endpointsSupported": True})
    server.on("POST", "/v1/prompts:render", json_response(200, RENDERED))
    key = "hk_" + "live_abcdef"
    values: dict[str, Any] = {"lines": ["one"]}
    async with AsyncOpenwopClient(server.base_url, "hk_test", protocol="auto", max_retries=0) as client:
        call = asyncio.create_task(client.prompts.render("prompt:mine", values))
        await asyncio.sleep(0)
        values["lines"].append(key)
        await call
    assert json.loads(server.requests[-1].body)["variables"] == {"lines": ["one"]}


async def test_a_template_that_is_not_there_is_no_family_that_is_not_there(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    """A reference in the body names something as an id in the path does."""
    server.on("*", "*", error_response(404, "not_found"))
    for make in (lambda: odd.prompts.render("prompt:a", {}), lambda: odd.prompts.delete("a")):
        with pytest.raises(NotFoundError):
            await make()
    with pytest.raises(CapabilityNotSupportedError):
        await anext(odd.prompts.list())


async def test_a_host_without_the_family_says_so(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    server.on("*", "*", error_response(501, "capability_not_provided"))
    for call, capability in (
        (anext(odd.prompts.list()), "prompts.endpointsSupported"),
        (odd.prompts.get("a"), "prompts.endpointsSupported"),
        (odd.prompts.render("prompt:a", {}), "prompts.endpointsSupported"),
        (odd.prompts.create(MINE), "prompts.mutableLibrary"),
        (odd.prompts.delete("a"), "prompts.mutableLibrary"),
    ):
        with pytest.raises(CapabilityNotSupportedError) as caught:
            await call
        assert caught.value.capability == capability
