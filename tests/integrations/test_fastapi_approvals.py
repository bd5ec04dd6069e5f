"""The page on which people answer: what it shows, what it takes, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import Depends, FastAPI, HTTPException

from openwop import AsyncOpenwopClient, AsyncRun, ConfigurationError
from openwop.devhost import DevHost, WorkflowContext
from openwop.devhost.server import listen
from openwop.integrations.fastapi import ApprovalRequest, approval_routes, openwop_lifespan
from support.web_app import PATIENCE_S, ScriptedHost, refusing, serve_app, settle

pytestmark = pytest.mark.asyncio

HOSTILE = "</pre><script>window.taken = 1</script><img src=x onerror=taken()>\"'&"


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http,
    ):
        yield http


def app_of(host: DevHost | ScriptedHost, *arguments: Any, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=openwop_lifespan(host.client))
    app.include_router(approval_routes(*arguments, **options))
    return app


@dataclass
class Asked:
    """A run that waits, and the page on which it is answered."""

    host: DevHost
    client: AsyncOpenwopClient
    run: AsyncRun
    http: httpx.AsyncClient
    token: str = ""

    async def ask(self, workflow: str, node: str = "gate", **token_options: Any) -> str:
        """Start a run, and give the address of its page."""
        self.run = await self.client.start(workflow)
        async with asyncio.timeout(PATIENCE_S):
            while not await self.run.interrupts():
                await settle()
        self.token = self.host.interrupt_token(self.run.id, node, **token_options)
        return f"/approvals/{self.token}"

    async def post(self, url: str, **form: str) -> httpx.Response:
        return await self.http.post(url, data=form)


@pytest_asyncio.fixture
async def asked() -> AsyncIterator[Asked]:
    async with DevHost() as host, host.client() as client, served(app_of(host)) as http:

        @host.workflow("hostile")
        async def hostile(ctx: WorkflowContext) -> dict[str, Any]:
            data = {"title": HOSTILE, "description": HOSTILE, "artifactData": {HOSTILE: HOSTILE}}
            return dict(await ctx.interrupt("approval", data))

        yield Asked(host, client, client.get_run_handle("none"), http)


# -- the page ---------------------------------------------------------------------------------------------------------


async def test_the_page_shows_the_question_and_may_do_next_to_nothing(asked: Asked) -> None:
    """We chose it: no scripts, no frames, nothing kept, and no address of it told to others."""
    response = await asked.http.get(await asked.ask("openwop-approval"))
    assert response.status_code == 200
    assert "Publish the release notes?" in response.text
    assert "Release notes, first draft." in response.text
    assert re.findall(r'value="([\w-]+)"', response.text) == ["accept", "reject", "refine", "edit-accept"]
    assert "<script" not in response.text
    assert "://" not in response.text
    assert asked.token not in response.text
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-frame-options"] == "DENY"


async def test_no_text_of_a_runs_is_a_part_of_the_page(asked: Asked) -> None:
    """We chose it: titles and artifacts come from wherever the workflow has them."""
    url = await asked.ask("hostile", (await _only_node(asked, "hostile")))
    page = (await asked.http.get(url)).text
    refused = (await asked.post(url, action="edit-accept", artifact=HOSTILE)).text
    for text in (page, refused):
        assert "<script" not in text
        assert "<img" not in text
        assert text.count("</pre>") == 1
        assert "&lt;script&gt;" in text


async def _only_node(asked: Asked, workflow: str) -> str:
    run = await asked.client.start(workflow)
    async with asyncio.timeout(PATIENCE_S):
        while not (waiting := await run.interrupts()):
            await settle()
    return waiting[0].node_id


@pytest.mark.parametrize(
    ("form", "decision"),
    [
        ({"action": "accept"}, {"action": "accept"}),
        ({"action": "accept", "feedback": "Fine."}, {"action": "accept", "feedback": "Fine."}),
        ({"action": "reject", "feedback": "  "}, {"action": "reject"}),
        (
            {"action": "refine", "feedback": "Shorter."},
            {"action": "refine", "refineFeedback": {"scope": "whole", "text": "Shorter."}},
        ),
        (
            {"action": "edit-accept", "artifact": '{"text": "a\\r\\nb"}'},
            {"action": "edit-accept", "editedArtifactData": {"text": "a\r\nb"}},
        ),
    ],
)
async def test_each_action_is_answered_as_the_protocol_has_it(
    form: dict[str, str], decision: dict[str, Any]
) -> None:
    """The protocol: the decision with its time, and with what its action needs."""
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(json.loads(request.content)["resumeValue"])
            assert "authorization" not in request.headers
            return httpx.Response(200, json={})
        data = {"title": "T", "artifactData": {}, "actions": ["accept", "reject", "refine", "edit"]}
        return httpx.Response(200, json={"kind": "approval", "key": "k", "data": data})

    async with served(app_of(ScriptedHost(answer=answer), decided_by=lambda request: "ann")) as http:
        response = await http.post("/approvals/abc.def", data=form)
    assert response.status_code == 200
    assert "Thank you" in response.text
    assert sent[0].pop("decidedAt").endswith("Z")
    assert sent == [decision | {"decidedBy": "ann"}]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "action: is none of those that are offered"),
        ({"action": "ask"}, "action: is none of those that are offered"),
        ({"action": "refine"}, "feedback: must say what has to change"),
        ({"action": "edit-accept", "artifact": "{"}, "artifact: must be JSON"),
        ({"action": "edit-accept", "artifact": "NaN"}, "must be JSON"),
    ],
)
async def test_an_answer_that_cannot_be_brings_the_page_back_with_what_was_written(
    asked: Asked, form: dict[str, str], said: str
) -> None:
    """We chose it: nobody has to write it again, and the run still waits."""
    url = await asked.ask("openwop-approval")
    response = await asked.post(url, **form)
    assert response.status_code == 422
    assert said in response.text
    if form.get("artifact"):
        assert f"{form['artifact']}</textarea>" in response.text
    assert len(await asked.run.interrupts()) == 1


async def test_only_the_actions_that_are_offered_are_there(asked: Asked) -> None:
    """The protocol: what a person may answer is the interrupt's list, and the host holds to it as well."""
    url = await asked.ask("conformance-interrupt-quorum")
    page = (await asked.http.get(url)).text
    assert re.findall(r'value="([\w-]+)"', page) == ["accept", "reject"]
    assert "2 people have to accept it." in page
    assert (await asked.post(url, action="refine", feedback="x")).status_code == 422


@pytest.mark.duty("F.102")
async def test_a_second_answer_finds_that_it_was_handled(asked: Asked) -> None:
    """The protocol makes the token worthless; for a person that is nothing bad."""
    url = await asked.ask("openwop-approval")
    assert (await asked.post(url, action="accept")).status_code == 200
    for response in (await asked.post(url, action="reject"), await asked.http.get(url)):
        assert response.status_code == 409
        assert "answered this already" in response.text
    assert (await asked.run.result()).outputs == {"published": True}


async def test_two_answers_at_once_are_one_answer(asked: Asked) -> None:
    """We chose it: whoever is second hears that the other was first."""
    url = await asked.ask("openwop-approval")
    answers = await asyncio.gather(*(asked.post(url, action=name) for name in ("accept", "reject")))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_link_whose_time_is_over_says_so(asked: Asked) -> None:
    """The protocol: 410 for a token past its expiry."""
    url = await asked.ask("openwop-approval", expires_in_s=-5)
    for response in (await asked.http.get(url), await asked.post(url, action="accept")):
        assert response.status_code == 410
        assert "its time is over" in response.text


async def test_a_link_to_look_says_so_when_it_is_used_to_answer(asked: Asked) -> None:
    """The protocol: a token may be for looking only."""
    url = await asked.ask("openwop-approval", intent="inspect")
    assert (await asked.http.get(url)).status_code == 200
    response = await asked.post(url, action="accept")
    assert response.status_code == 403
    assert "can be read and not be answered" in response.text


@pytest.mark.parametrize("token", ["nothing", "a.b", "..%2fx", "a/b/c", "x" * 9000, "%00", "%F0%9F%8E%88"])
async def test_an_address_that_never_was_one_shows_a_page_of_its_own(asked: Asked, token: str) -> None:
    """We chose it: people see a sentence, not a document for programs."""
    response = await asked.http.get(f"/approvals/{token}")
    assert response.status_code == 404
    assert "There is no such question" in response.text


async def test_a_form_of_another_site_is_refused(asked: Asked) -> None:
    """We chose it: the token is what it would lack; this is for addresses that were passed around."""
    url = await asked.ask("openwop-approval")
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert (await asked.http.post(url, data={"action": "accept"}, headers=headers)).status_code == 403
    assert len(await asked.run.interrupts()) == 1
    assert (await asked.post(url, action="accept", **{"x": "y" * 2_000_000})).status_code == 413
    assert len(await asked.run.interrupts()) == 1


@pytest.mark.parametrize(
    ("workflow", "node", "form", "outcome"),
    [
        ("openwop-clarification", "ask", {"answer.0": "engineers"}, "completed"),
        ("openwop-external-event", "wait", {"answer": '{"paid": true}'}, "completed"),
        ("openwop-low-confidence", "decide", {"answer": '{"kind": "terminate"}'}, "completed"),
        ("openwop-custom-interrupt", "sign", {"answer": "signed"}, "completed"),
        ("openwop-conversation", "talk", {"answer": '{"city": "Oslo"}'}, None),
    ],
)
async def test_every_other_kind_of_question_has_a_form_as_well(
    asked: Asked, workflow: str, node: str, form: dict[str, str], outcome: str | None
) -> None:
    """We chose it: a callback brings all kinds of questions."""
    url = await asked.ask(workflow, node)
    page = await asked.http.get(url)
    assert all(f'name="{name}"' in page.text for name in form)
    response = await asked.post(url, action="answer", **form)
    assert "Thank you" in response.text, response.text
    if outcome is not None:
        assert (await asked.run.result()).status == outcome


async def test_a_host_that_is_not_there_is_told_with_a_trace_and_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """We chose it: a host's text may hold the token."""
    token = "eyJtoken.of-mine-which-is-secret"
    async with served(app_of(refusing(503, "busy"))) as http:
        response = await http.get(f"/approvals/{token}")
    assert response.status_code == 503
    assert re.search(r"Trace: [0-9a-f]{32}", response.text)
    assert "db-7" not in response.text
    assert token not in response.text + caplog.text


async def test_the_token_is_in_no_log_of_the_servers(caplog: pytest.LogCaptureFixture) -> None:
    """We chose it: an access log has the path of each request, and whoever reads it could answer."""
    caplog.set_level(logging.DEBUG)
    inside: list[str] = []
    async with DevHost() as host, host.client() as client:
        app = app_of(host)

        async def closed() -> None:
            raise HTTPException(401)

        app.include_router(approval_routes(path="/locked"), dependencies=[Depends(closed)])

        @app.middleware("http")
        async def note(request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            inside.append(request.scope["path"])
            return response

        run = await client.start("openwop-approval")
        async with asyncio.timeout(PATIENCE_S):
            while not await run.interrupts():
                await settle()
        token = host.interrupt_token(run.id, "gate")
        async with serve_app(app) as base_url:
            caplog.clear()
            # What this test itself says over HTTP is not the server's.
            logging.getLogger("httpx").disabled = logging.getLogger("httpcore").disabled = True
            try:
                async with httpx.AsyncClient(base_url=base_url) as http:
                    for path in (
                        f"/approvals/{token}",
                        f"/approvals/{token}/",
                        f"/approvals/{token}?x={token}",
                    ):
                        await http.get(path)
                    await http.post(f"/approvals/{token}", data={"action": "accept"})
                    assert (await http.get(f"/locked/{token}")).status_code == 401
            finally:
                logging.getLogger("httpx").disabled = logging.getLogger("httpcore").disabled = False
    access = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert len(access) == 5
    assert all("/approvals/REDACTED" in line or "/locked/REDACTED" in line for line in access)
    ours = [
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    ]
    assert not any(token in line for line in [*ours, *inside])


# -- what hosts post --------------------------------------------------------------------------------------------------


async def test_a_host_brings_its_question_and_somebody_answers_it_on_the_page() -> None:
    """The protocol leaves open what is posted; this is what the development host posts, over a real socket."""
    told: asyncio.Queue[ApprovalRequest] = asyncio.Queue()
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with DevHost(allow_loopback_webhooks=True) as host, host.client() as client:
        app = app_of(host, told.put, public_url=url)
        async with serve_app(app, listener), httpx.AsyncClient() as http, asyncio.timeout(PATIENCE_S):
            run = await client.start("openwop-approval", callback_url=f"{url}/approvals")
            request = await told.get()
            assert (request.run_id, request.node_id, request.asked.kind) == (run.id, "gate", "approval")
            assert request.expires_at is not None
            assert request.token not in repr(request)
            assert request.url.startswith(f"{url}/approvals/")
            assert "Publish" in (await http.get(request.url)).text
            await http.post(request.url, data={"action": "reject"})
            assert (await run.result()).outputs == {"published": False}


@pytest.mark.parametrize(
    "posted",
    [b"", b"[]", b"not json", b"\xff", b'{"token": 7}', b'{"runId": "r"}', b'{"token": ".."}',
     b'{"token": "of-nobody"}', b'{"token": ""}'],
)  # fmt: skip
async def test_what_is_posted_without_a_token_of_our_hosts_goes_no_further(posted: bytes) -> None:
    """We chose it: anybody may post there, so the host is asked, and the sender is told nothing."""
    told: list[ApprovalRequest] = []
    async with DevHost() as host, served(app_of(host, told.append)) as http:
        response = await http.post("/approvals", content=posted)
        assert (response.status_code, response.content) == (400, b"")
        assert (await http.post("/approvals", content=b"x" * 2_000_000)).status_code == 413
    assert told == []


async def test_a_callback_is_sent_back_while_the_host_cannot_be_asked_or_there_is_no_room() -> None:
    """We chose it: 503 has a host try again."""
    async with served(app_of(refusing(503), print)) as http:
        assert (await http.post("/approvals", json={"token": "t.t"})).status_code == 503
    go_on = asyncio.Event()
    told: list[str] = []

    async def tell(request: ApprovalRequest) -> None:
        await go_on.wait()
        told.append(request.url)

    asked = {"kind": "approval", "key": "k", "data": {}}
    host = ScriptedHost(answer=lambda _: httpx.Response(200, json=asked))
    async with served(app_of(host, tell, concurrency=1, queue_size=0)) as http:
        answers = [(await http.post("/approvals", json={"token": f"t.{n}"})).status_code for n in (1, 2)]
        go_on.set()
    assert answers == [204, 503]
    assert told == ["http://app/approvals/t.1"]


async def test_without_anybody_to_tell_there_is_no_callback(asked: Asked) -> None:
    """We chose it: what nobody reads is not taken in."""
    response = await asked.http.post("/approvals", json={"token": "t"}, follow_redirects=True)
    assert response.status_code == 404


@pytest.mark.parametrize("path", ["", "approvals", "/approvals/"])
async def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    """We chose it: at once."""
    with pytest.raises(ConfigurationError, match="path"):
        approval_routes(path=path)
