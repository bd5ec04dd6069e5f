"""The page for people: what it gives to whom, and what a browser makes of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.requests import Request

from devhost.kit import PATIENCE, Api, refusal
from openwop.devhost import DEFAULT_API_KEY, ApiKey, DevHost, WorkflowContext
from openwop.devhost.clock import wait_any
from openwop.devhost.scenario import Drop, Status
from openwop.devhost.server import listen
from support.browser import Page, find_browser, open_page

pytestmark = pytest.mark.asyncio

LOCAL = {"host": "localhost:3737"}
BROWSER = find_browser()
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
#: What would show if a text of a host's ever became a part of the page.
HOSTILE = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>"
SEQUENCES = (
    "[...document.querySelectorAll('#events > li')].map((row) => row.dataset.sequence ?? row.innerText)"
)
STATUS = "document.getElementById('run-status').textContent"


@pytest_asyncio.fixture
async def shown() -> AsyncIterator[DevHost]:
    """A host that shows itself to people."""
    async with DevHost(web_view=True) as host:
        yield host


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A tab of a browser."""
    assert BROWSER is not None
    async with open_page(BROWSER, tmp_path / "profile") as page:
        yield page


async def finished(host: DevHost, run_id: str) -> None:
    async with asyncio.timeout(PATIENCE):
        await wait_any([host.run(run_id).finished], host.runtime.clock)


# -- what it gives to whom ------------------------------------------------------------------------


async def test_there_is_no_page_unless_it_is_asked_for(api: Api) -> None:
    """We chose it: hosts of tests, and `--no-ui`, answer there as they do to any unknown path."""
    for path in ("/", "/_dev/runs"):
        assert refusal(await api.http.get(path, headers=LOCAL)) == (404, "not_found")


async def test_the_page_is_no_part_of_the_protocol(shown: DevHost) -> None:
    """We chose it: neither discovery nor the OpenAPI document tells of it."""
    http = shown.http_client()
    for path in ("/.well-known/openwop", "/v1/openapi.json"):
        text = (await http.get(path)).text
        assert "_dev" not in text
        assert '"devPage"' not in text
    assert not any(name.startswith("dev") for name in shown.faults._operations)


async def test_the_page_holds_no_key_and_may_do_next_to_nothing() -> None:
    """We chose it: it is the same for everybody, and runs only what it brings itself."""
    async with DevHost(api_keys=["hk_of_my_own"], web_view=True) as host:
        response = await host.http_client(authenticated=False).get("/", headers=LOCAL)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-frame-options"] == "DENY"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "hk_of_my_own" not in response.text
    assert f'DEFAULT_KEY = "{DEFAULT_API_KEY}"' in response.text  # the one that is no secret
    assert "://" not in response.text  # nothing is loaded from anywhere


@pytest.mark.parametrize(
    ("name", "good"),
    [("localhost", True), ("LOCALHOST.:80", True), ("127.0.0.1:3737", True), ("[::1]:3737", True), ("10.0.0.7", True),
     ("evil.example", False), ("127.0.0.1.evil.example:3737", False), ("localhost.evil.example", False),
     ("localhost:3737@evil.example", False), ("evil.example:3737, localhost", False), ("", False)],
)  # fmt: skip
async def test_the_page_answers_to_names_only_that_no_other_site_can_have(
    shown: DevHost, name: str, good: bool
) -> None:
    """We chose it: a site's name that suddenly means this machine (DNS rebinding) reads nothing."""
    http = shown.http_client()
    for path in ("/", "/_dev/runs", "/_dev/nothing"):
        response = await http.get(path, headers={"host": name})
        if not good:
            assert refusal(response) == (403, "forbidden")
        else:
            assert response.status_code == (404 if path == "/_dev/nothing" else 200)


async def test_the_page_answers_to_the_name_that_the_host_listens_on(
    shown: DevHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: whoever serves under a name of their own means it."""
    monkeypatch.setattr("openwop.devhost.server.listen", lambda host, port: listen("127.0.0.1", port))
    async with shown.serve(host="Dev.Example") as base_url:
        assert re.fullmatch(r"http://Dev\.Example:\d+", base_url)
    http = shown.http_client()
    assert (await http.get("/", headers={"host": "dev.example:80"})).status_code == 200
    assert (await http.get("/", headers={"host": "elsewhere.example"})).status_code == 403


async def test_an_address_of_the_newer_kind_is_written_as_one_in_the_url(shown: DevHost) -> None:
    """The protocol demands nothing; RFC 3986 wants brackets around it."""
    try:
        async with shown.serve(host="::1") as base_url, httpx.AsyncClient(base_url=base_url) as http:
            assert re.fullmatch(r"http://\[::1\]:\d+", base_url)
            assert (await http.get("/")).status_code == 200
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


async def test_the_list_is_for_keys_that_may_read_runs_and_has_those_that_they_may_see() -> None:
    """We chose it: the same rule as for a single run, and the newest run first."""
    keys = [
        ApiKey("hk_all"),
        ApiKey("hk_a", tenant="a"),
        ApiKey("hk_b", tenant="b"),
        ApiKey("hk_none", scopes=frozenset({"runs:create"})),
    ]
    async with DevHost(api_keys=keys, web_view=True) as host:
        http = host.http_client(authenticated=False, headers=LOCAL)

        async def listed(key: str) -> httpx.Response:
            return await http.get("/_dev/runs", headers={"authorization": f"Bearer {key}"})

        started: list[str] = []
        for key in ("hk_a", "hk_b", "hk_all"):
            response = await http.post(
                "/v1/runs",
                json={"workflowId": "conformance-noop"},
                headers={"authorization": f"Bearer {key}"},
            )
            started.append(response.json()["runId"])
            await finished(host, started[-1])
        everything = (await listed("hk_all")).json()
        assert [run["runId"] for run in everything["runs"]] == started[::-1]
        assert everything["more"] is False
        assert everything["runs"][0] == {
            "runId": started[2],
            "workflowId": "conformance-noop",
            "workflowName": "conformance-noop",
            "status": "completed",
        }
        assert [run["runId"] for run in (await listed("hk_b")).json()["runs"]] == [started[1]]
        assert refusal(await listed("hk_none")) == (403, "forbidden")
        assert refusal(await listed("hk_unknown")) == (401, "unauthenticated")
        assert refusal(await http.post("/_dev/runs")) == (405, "method_not_allowed")


async def test_the_list_has_an_end(shown: DevHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """We chose it: a host that has had many runs shows its newest, and says that there are others."""
    monkeypatch.setattr("openwop.devhost.web_view.LISTED_RUNS", 2)
    api = Api(shown, shown.http_client(headers=LOCAL))
    started = [await api.start("conformance-noop") for _ in range(3)]
    body = (await api.http.get("/_dev/runs")).json()
    assert [run["runId"] for run in body["runs"]] == started[:0:-1]
    assert body["more"] is True


async def test_the_list_has_what_a_host_before_this_one_has_kept(tmp_path: Path) -> None:
    """We chose it: runs that were over when the host stopped are in its file, and are shown like the others."""
    async with DevHost(db=tmp_path / "runs.sqlite") as before:
        api = Api(before, before.http_client())
        kept = [await api.start("openwop-approval"), await api.start("conformance-noop")]
        await finished(before, kept[1])
    async with DevHost(db=tmp_path / "runs.sqlite", web_view=True) as host:
        new = await Api(host, host.http_client()).start("conformance-noop")
        listed = (await host.http_client().get("/_dev/runs", headers=LOCAL)).json()["runs"]
    assert [run["runId"] for run in listed] == [new, kept[1], kept[0]]


async def test_scripted_faults_are_not_spent_on_the_page(shown: DevHost) -> None:
    """We chose it: a page that is open in some browser changes no test of a program."""
    http = shown.http_client(headers=LOCAL)
    fault = shown.faults.add(Status(503), path="*")
    assert (await http.get("/")).status_code == 200
    assert (await http.get("/_dev/runs")).status_code == 200
    assert fault.hits == 0
    assert (await http.get("/v1/runs/none")).status_code == 503


# -- what a browser makes of it -------------------------------------------------------------------


@needs_browser
async def test_a_run_is_followed_live_over_a_cut_and_its_question_is_answered_with_a_click(
    shown: DevHost, page: Page
) -> None:
    """We chose it: every event once, in order, as it comes; and a host's texts are never a part of the page."""
    go_on = asyncio.Event()

    @shown.workflow("hostile", name=HOSTILE)
    async def hostile(ctx: WorkflowContext) -> dict[str, Any]:
        for number in range(5):
            await ctx.emit("acme.before", {"number": number, "text": ctx.inputs["text"]})
        await go_on.wait()
        for number in range(5):
            await ctx.emit("acme.after", {"number": number})
        question = {"title": HOSTILE, "description": HOSTILE, "artifactData": {"text": HOSTILE}}
        return dict(await ctx.interrupt("approval", question))

    resumed: list[str | None] = []

    async def note(operation: str, request: Request) -> None:
        if operation == "streamRunEvents":
            resumed.append(request.headers.get("last-event-id"))

    shown.set_intercept(note)
    cut = shown.faults.add(Drop(after_events=9, inside="frame"), operation="streamRunEvents")
    async with shown.serve() as base_url:
        await page.go(f"{base_url}/")
        await page.until("document.getElementById('no-runs').checkVisibility()")
        async with shown.client() as client:
            run = await client.start("hostile", inputs={"text": HOSTILE})
            row = f"[data-run={json.dumps(run.id)}] button"
            assert HOSTILE in await page.until(f"document.querySelector({json.dumps(row)})?.innerText")
            await page.click(row)
            await page.until("document.querySelectorAll('#events .payload').length >= 7")
            assert not any(event.startswith("acme.after") for event in await events(page))
            go_on.set()  # what comes now comes while the page looks on
            await page.until("document.querySelector('#questions [data-action=accept]')")
            assert sum(event.startswith("acme.after") for event in await events(page)) == 5
            assert (await page.value("document.getElementById('questions').innerText")).count(HOSTILE) >= 2
            await page.click("#questions [data-action=accept]")
            assert (await run.result()).status == "completed"
            await page.until(f"{STATUS} === 'completed'")
            await page.click("#events li:nth-child(3) summary")
            assert HOSTILE.split("'")[0] in await page.until(
                "document.querySelector('#events li:nth-child(3) pre')?.textContent"
            )
    log = shown.run(run.id).read(0)
    assert cut.hits == 1
    assert await page.value("document.getElementById('run').dataset.connections") == "2"
    assert resumed[0] is None
    # Browsers drop what has come and was not read when a connection breaks; seven events were shown before it did.
    assert resumed[1] in ("6", "7", "8")
    assert await page.value(SEQUENCES) == [str(event.sequence) for event in log]
    assert await page.value("document.querySelector('#questions section')") is None
    assert await page.value("document.querySelectorAll('script, img').length") == 1
    assert await page.value("window.taken") is None
    assert log[-2].payload["outputs"]["action"] == "accept"
    assert page.complaints == []


async def events(page: Page) -> list[str]:
    """The names of the events that the page shows."""
    names: list[str] = await page.value(
        "[...document.querySelectorAll('#events summary')].map((row) => row.children[2].textContent)"
    )
    return names


@needs_browser
async def test_nothing_is_lost_or_doubled_on_hosts_of_other_kinds(shown: DevHost, page: Page) -> None:
    """We chose it: the page reads streams as tolerantly as a client has to."""
    faults: list[tuple[str, dict[str, Any]]] = [
        ("drop", {"after_events": 3, "inside": "character", "times": 2}),
        ("end", {"after_events": 2, "times": 3}),
        ("ignore_last_event_id", {}),
        ("duplicate", {}),
        ("no_ids", {}),
        ("rename", {}),
        ("bom", {}),
        ("json_instead_of_sse", {}),
        ("huge_event", {}),
        ("overlap", {}),
        ("poll_only", {}),
    ]
    api = Api(shown, shown.http_client())
    async with shown.serve() as base_url:
        await page.go(f"{base_url}/")
        for name, settings in faults:
            shown.faults.clear()
            shown.faults.add("drop", after_events=4)
            fault = shown.faults.add(name, **settings)
            run_id = await api.start("openwop-stream-text", inputs={"prompt": "Grüße, ganz öffentlich"})
            await page.value(f"location.hash = {json.dumps(run_id)}")
            await page.until(f"document.getElementById('run-id').textContent === {json.dumps(run_id)}")
            await page.until(f"{STATUS} === 'completed' && document.querySelector('#events .payload')")
            log = shown.run(run_id).read(0)
            await page.until(f"document.querySelector('#events > [data-sequence=\"{log[-1].sequence}\"]')")
            assert await page.value(SEQUENCES) == [str(event.sequence) for event in log], name
            assert fault.hits, name
    assert page.complaints == []


@needs_browser
async def test_a_key_of_ones_own_is_asked_for_and_never_in_the_address(page: Page) -> None:
    """We chose it: the host gives its key to nobody; the page forgets it with its tab."""
    async with DevHost(api_keys=["hk_of_my_own"], web_view=True) as host, host.serve() as base_url:
        run_id = await Api(host, host.http_client()).start("openwop-clarification")
        await page.go(f"{base_url}/#{run_id}")
        await page.type("#key", "hk_wrong")
        await page.click("#sign-in button")
        await page.until("document.getElementById('trouble').textContent.includes('not known')")
        await page.type("#key", "hk_of_my_own")
        await page.click("#sign-in button")
        await page.until(f"document.querySelector('[data-run={run_id}]')")
        await page.type("#questions textarea", "everybody")
        await page.click("#questions .answers button")
        await finished(host, run_id)
        await page.until(f"{STATUS} === 'completed'")
        assert (host.run(run_id).state.outputs or {})["brief"] == "For everybody."
        assert "hk_" not in await page.value("location.href")
        await page.reload()
        await page.until(f"document.querySelector('[data-run={run_id}]')")
    assert page.complaints == []
