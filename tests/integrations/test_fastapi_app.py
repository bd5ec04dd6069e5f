"""The example application, in a real browser: live over a broken connection, and every kind of question answered."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import pytest_asyncio

from openwop.cli.relay import open_relay
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow
from openwop.devhost.server import listen
from support.browser import Page, find_browser, open_page
from support.web_app import PATIENCE_S, serve_app, settle

pytestmark = pytest.mark.asyncio

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_app" / "app.py"
BROWSER = find_browser()
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
HOSTILE = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>"
ROWS = "[...document.querySelectorAll('#events > li')].map((row) => Number(row.dataset.sequence))"
STATE = "document.getElementById('state').textContent"

if not EXAMPLE.exists():
    pytest.skip("the examples are not part of this checkout", allow_module_level=True)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fastapi_app_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks annotations up there
    spec.loader.exec_module(module)
    return module


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A tab of a browser."""
    assert BROWSER is not None
    async with open_page(BROWSER, tmp_path / "profile") as page:
        yield page


@asynccontextmanager
async def application(example: ModuleType, host: DevHost, **options: Any) -> AsyncIterator[tuple[Any, str]]:
    """The example, served in front of a host that is served as well; the application and its base URL."""
    async with host.serve() as host_url, host.client(base_url=host_url) as client:
        app = example.create_app(client, **options)
        async with serve_app(app) as base_url:
            yield app, base_url


async def start(page: Page, base_url: str, workflow: str) -> str:
    """Start a run with the form, as a person would; its id."""
    await page.go(base_url + "/")
    await page.value(f"document.querySelector('select').add(new Option({json.dumps(workflow)}))")
    await page.value(f"document.querySelector('select').value = {json.dumps(workflow)}")
    await page.follow("form button")
    return str(await page.value("location.pathname.split('/').pop()"))


# -- in a browser -----------------------------------------------------------------------------------------------------


@needs_browser
@pytest.mark.timeout(180)
async def test_a_browser_sees_every_event_once_over_a_connection_that_is_cut(
    example: ModuleType, page: Page
) -> None:
    """We chose it: the browser's own EventSource comes back with the place where it was."""
    before, after = ([f"{word}-{n}" for n in range(6)] for word in ("before", "after"))
    question = {"title": HOSTILE, "description": HOSTILE, "artifactType": "document"}
    names = [*before, "gate", *after]
    long = workflow(
        "long",
        nodes=[
            node(name, "core.approval", config=question) if name == "gate" else node(name, "core.noop")
            for name in names
        ],
        edges=list(itertools.pairwise(names)),
    )
    async with (
        DevHost(workflows=[long]) as host,
        application(example, host) as (_, base_url),
        open_relay(base_url) as relay,
    ):
        relay.cut_stream(after_bytes=1200, down_s=0.0)
        run_id = await start(page, relay.base_url, "long")
        await page.until("document.querySelector('.card')")
        assert relay.cuts == 1
        assert HOSTILE in str(await page.value("document.querySelector('.card').innerText"))
        relay.cut_stream(after_bytes=0, down_s=0.0)
        await page.click(".card button[name=accept]")
        await page.until(f"{STATE} === 'run.completed'")
        assert relay.cuts == 2
        async with host.client() as client:
            told = [event.sequence async for event in client.get_run_handle(run_id).events()]
        assert await page.value(ROWS) == told
        assert len(told) > 14
        assert len(relay.resumed_after) >= 2
        assert all(place.isdigit() for place in relay.resumed_after)
        # The end closes the EventSource: no further request comes, which would be one with the end as its place.
        await page.until("document.querySelectorAll('.card').length === 0")
        assert "end" not in relay.resumed_after
        assert await page.value("window.taken === undefined")
        assert page.complaints == []


@needs_browser
@pytest.mark.timeout(180)
async def test_a_browser_that_does_not_close_its_stream_stays_away_after_the_end(
    example: ModuleType, page: Page
) -> None:
    """The HTML standard: it connects once more, and 204 is what keeps it from doing so again."""
    async with (
        DevHost() as host,
        application(example, host) as (_, base_url),
        open_relay(base_url) as relay,
    ):
        run_id = await start(page, relay.base_url, "conformance-noop")
        ends = await page.value(
            f"""new Promise((resolve) => {{
                const source = new EventSource("/api/runs/{run_id}/events");
                let ends = 0;
                source.addEventListener("openwop.end", () => ends++);
                source.onerror = () => source.readyState === EventSource.CLOSED && resolve(ends);
            }})"""
        )
        assert ends == 1
        assert relay.resumed_after == ["end"]


@needs_browser
@pytest.mark.timeout(180)
async def test_each_kind_of_question_has_a_card_that_answers_it(example: ModuleType, page: Page) -> None:
    """We chose it: a person in front of a browser can answer whatever a run asks."""
    async with DevHost() as host, application(example, host) as (_, base_url):
        async with host.client() as client:

            async def finish(run_id: str) -> Any:
                async with asyncio.timeout(PATIENCE_S):
                    snapshot = await client.get_run_handle(run_id).result()
                await page.until(f"{STATE} === 'run.completed' && !document.querySelector('form.card')")
                return snapshot.outputs

            run_id = await start(page, base_url, "openwop-approval")
            await page.click(".card[data-kind=approval] button[name=reject]")
            assert await finish(run_id) == {"published": False}

            run_id = await start(page, base_url, "openwop-approval")
            await page.until("document.querySelector('.card textarea')")
            await page.value("document.querySelector('.card textarea').value = 'no JSON'")
            await page.click(".card button[name=edit-accept]")
            await page.until("document.querySelector('.said').textContent.includes('JSON')")
            await page.value("document.querySelector('.card textarea').value = '{\"text\": \"Better.\"}'")
            await page.click(".card button[name=edit-accept]")
            assert await finish(run_id) == {"published": True}

            run_id = await start(page, base_url, "openwop-clarification")
            await page.type(".card[data-kind=clarification] textarea", "engineers")
            await page.click(".card button[name=answer]")
            assert await finish(run_id) == {"brief": "For engineers."}

            run_id = await start(page, base_url, "openwop-external-event")
            await page.until("document.querySelector('.card textarea')")
            await page.value("document.querySelector('.card textarea').value = '{\"paid\": true}'")
            await page.click(".card[data-kind=external-event] button[name=answer]")
            assert await finish(run_id) == {"received": {"paid": True}}

            run_id = await start(page, base_url, "openwop-low-confidence")
            await page.click(".card[data-kind=low-confidence] button[name=answer]")
            await finish(run_id)

            run_id = await start(page, base_url, "openwop-custom-interrupt")
            await page.click(".card[data-kind=custom] button[name=answer]")
            await finish(run_id)

            run_id = await start(page, base_url, "openwop-conversation")
            for city in ("Oslo", "Bergen"):
                await page.type("form.card[data-kind='conversation.exchange'] textarea[name=city]", city)
                await page.value("document.querySelector('form.card').dataset.old = 1")
                await page.click("form.card button[name=answer]")
                await page.until("!document.querySelector('form.card[data-old]')")
            await finish(run_id)
            for kind, text in (
                ("conversation.start", "Let us plan a trip."),
                ("conversation.close", "goal-reached"),
            ):
                shown = await page.value(f"document.querySelector('.notice[data-kind=\"{kind}\"]').innerText")
                assert text in shown
        assert page.complaints == []


@needs_browser
@pytest.mark.timeout(180)
async def test_an_approval_page_works_in_a_browser_without_scripts(example: ModuleType, page: Page) -> None:
    """We chose it: forms, and a policy that allows nothing else, which the browser has no complaint about."""
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    await page.command("Emulation.setScriptExecutionDisabled", value=True)
    async with DevHost(allow_loopback_webhooks=True) as host, host.client() as client:
        app = example.create_app(client, public_url=url)
        async with serve_app(app, listener), asyncio.timeout(PATIENCE_S * 3):
            run = await client.start("openwop-approval", callback_url=f"{url}/approvals")
            while not app.state.outbox:
                await settle()
            await page.go(app.state.outbox[0].url)
            await page.follow("button[value=accept]")
            assert "Your answer was taken." in await page.value("document.body.innerText")
            assert (await run.result()).outputs == {"published": True}
    assert page.complaints == []


# -- without one ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def visitor(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_S) as http:
        yield http


async def test_nobody_sees_or_answers_the_runs_of_others(example: ModuleType) -> None:
    """We chose it: the example shows that a run id is no permission."""
    async with (
        DevHost() as host,
        application(example, host) as (_, url),
        visitor(url) as ann,
        visitor(url) as bob,
    ):
        started = await ann.post("/api/runs", json={"workflow_id": "openwop-approval"})
        run_id = started.json()["runId"]
        assert (await ann.get(f"/runs/{run_id}")).status_code == 200
        for path in (f"/runs/{run_id}", f"/api/runs/{run_id}/events", f"/api/runs/{run_id}/interrupts"):
            assert (await bob.get(path)).status_code == 404
        for path in ("interrupts/gate", "approvals/gate"):
            answer = await bob.post(f"/api/runs/{run_id}/{path}", json={"value": 1, "action": "accept"})
            assert answer.status_code == 404
        async with asyncio.timeout(PATIENCE_S):
            while not (waiting := (await ann.get(f"/api/runs/{run_id}/interrupts")).json()):
                await settle()
        assert [asked["nodeId"] for asked in waiting] == ["gate"]


async def test_a_credential_goes_by_its_name_and_a_key_goes_nowhere(example: ModuleType) -> None:
    """The protocol: keys of model providers never go over it."""
    keeps: dict[str, Any] = {
        "secrets": {"supported": True},
        "aiProviders": {"byok": ["anthropic"]},
        "configurable": {"ai.credentialRef": {}},
    }
    key = "sk-ant-api03-" + "a1B2" * 12
    async with (
        DevHost(capabilities=keeps) as host,
        application(example, host) as (app, url),
        visitor(url) as http,
    ):
        client = app.state.openwop_client
        await client.discovery.capabilities()
        wish = {"workflow_id": "conformance-noop", "credential_ref": key}
        refused = await http.post("/api/runs", json=wish)
        assert refused.status_code == 422
        assert "credentialRef" in refused.json()["errors"][0]["field"]
        assert key not in refused.text
        taken = await http.post("/api/runs", json=wish | {"credential_ref": "team-anthropic"})
        assert taken.status_code == 201, taken.text
        snapshot = await client.runs.get(taken.json()["runId"])
        assert snapshot.configurable == {"ai.credentialRef": "team-anthropic"}


async def test_a_delivery_of_the_host_reaches_the_application(example: ModuleType) -> None:
    """We chose it: the webhook route of the example, with a real host."""
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks/openwop"
    async with DevHost(allow_loopback_webhooks=True) as host, host.client() as client:
        hook = await client.webhooks.register(url, ["run.completed"])
        app = example.create_app(client, webhook_secrets=[hook.secret])
        async with serve_app(app, listener), asyncio.timeout(PATIENCE_S):
            snapshot = await client.execute("conformance-noop")
            while not app.state.finished:
                await settle()
            assert list(app.state.finished) == [{"runId": snapshot.run_id, "type": "run.completed"}]
