"""The host behind a port: in this process, and as a program of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from devhost.kit import PATIENCE, Api, Stream, refusal, yielded_until
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow
from openwop.devhost.server import listen, main

pytestmark = pytest.mark.asyncio

KEY = {"authorization": "Bearer hk_test_p"}
START_SECONDS = 30.0


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Start the host as users do, and stop it whatever happens."""
    command = [sys.executable, "-m", "openwop.devhost", "--port", "0", "--key", "hk_test_p", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"openwop devhost ready on (http://127\.0\.0\.1:\d+)\n", line)
        if found is None:
            process.kill()
            _, errors = await process.communicate()
            raise AssertionError(f"{line!r}\n{errors.decode()}")
        yield process, found[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def create(http: httpx.AsyncClient, workflow_id: str) -> str:
    response = await http.post("/v1/runs", json={"workflowId": workflow_id})
    assert response.status_code == 201, response.text
    run_id: str = response.json()["runId"]
    return run_id


async def test_the_program_keeps_its_runs_whatever_its_manners(tmp_path: Path) -> None:
    """We chose it: a file, faults and a personality go together; the second program has the runs of the first."""
    faults = tmp_path / "faults.json"
    faults.write_text(
        json.dumps([{"fault": "status", "status": 503, "operation": "getRun"}]), encoding="utf-8"
    )
    options = ("--db", str(tmp_path / "runs.sqlite"), "--faults", str(faults), "--personality", "older")
    async with program(*options) as (_, url), httpx.AsyncClient(base_url=url, headers=KEY) as http:
        run_id = await create(http, "openwop-approval")
    async with program(*options) as (_, url), httpx.AsyncClient(base_url=url, headers=KEY) as http:
        answers = [await http.get(f"/v1/runs/{run_id}") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [503, 200]
        assert answers[1].json()["status"] == "waiting-approval"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_serves_and_stops_at_once_with_streams_open(number: signal.Signals) -> None:
    """One line when it listens; on a signal, streams end properly, nothing on stderr, status 0."""
    async with (
        program() as (process, url),
        httpx.AsyncClient(base_url=url, headers=KEY, timeout=PATIENCE) as http,
    ):
        run_id = await create(http, "openwop-approval")
        async with http.stream("GET", f"/v1/runs/{run_id}/events") as response:
            stream = Stream(response)
            await stream.until("node.suspended")
            process.send_signal(number)
            assert await stream.rest() == []
        async with asyncio.timeout(PATIENCE):
            out, errors = await process.communicate()
    assert (process.returncode, out, errors) == (0, b"", b"")


async def test_the_program_has_the_workflows_of_a_directory(tmp_path: Path) -> None:
    """--workflows: every *.json in it."""
    definition = workflow("from-file", nodes=[node("a", "core.noop")])
    (tmp_path / "one.json").write_text(json.dumps(definition), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a workflow", encoding="utf-8")
    async with (
        program("--workflows", str(tmp_path)) as (_, url),
        httpx.AsyncClient(base_url=url, headers=KEY, timeout=PATIENCE) as http,
    ):
        run_id = await create(http, "from-file")
        async with http.stream("GET", f"/v1/runs/{run_id}/events") as response:
            assert (await Stream(response).rest())[-1].event == "run.completed"
        fixtures = (await http.get("/.well-known/openwop")).json()["fixtures"]
        assert {"from-file", "conformance-noop"} <= set(fixtures)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bad.json", "{", "bad.json"),
        ("list.json", "[]", "is an object"),
        ("shape.json", '{"id": "x"}', "is required"),
    ],
)
async def test_a_bad_workflow_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    """The program does not start with half of what it was asked for."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert await asyncio.to_thread(main, ["--workflows", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["--workflows", str(tmp_path / "nowhere")]) == 2
    assert "not a directory" in capsys.readouterr().err


async def test_a_port_that_is_taken_is_an_error_in_one_line() -> None:
    """No traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "openwop.devhost", "--port", str(taken.getsockname()[1])]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        async with asyncio.timeout(START_SECONDS):
            _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().startswith("openwop devhost: ")
    assert errors.count(b"\n") == 1


# -- in this process, over a socket ---------------------------------------------------------------


async def test_a_host_in_this_process_serves_on_a_port(host: DevHost) -> None:
    """The same runs as in process; several servers at once, and again after one has stopped."""
    headers = {"authorization": f"Bearer {host.api_key}"}
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            async with host.serve() as first, host.serve() as second:
                assert first != second
                async with httpx.AsyncClient(headers=headers) as http:
                    body = {"workflowId": "conformance-noop"}
                    created = (await http.post(f"{first}/v1/runs", json=body)).json()
                    assert created["eventsUrl"].startswith(first)
                    async with http.stream("GET", f"{second}/v1/runs/{created['runId']}/events") as response:
                        assert (await Stream(response).rest())[-1].event == "run.completed"
                    assert refusal(await http.get(f"{second}/nothing")) == (404, "not_found")


async def test_leaving_the_server_ends_its_streams_and_not_the_host_s(host: DevHost) -> None:
    """A stream over the socket ends properly; the run, and a stream in process, go on."""
    headers = {"authorization": f"Bearer {host.api_key}"}
    inside = host.http_client()
    run_id = await create(inside, "openwop-approval")
    async with asyncio.timeout(PATIENCE):
        async with (
            httpx.AsyncClient(headers=headers) as http,
            inside.stream("GET", f"/v1/runs/{run_id}/events") as near,
        ):
            async with host.serve() as url:
                far_response = await http.send(
                    http.build_request("GET", f"{url}/v1/runs/{run_id}/events"), stream=True
                )
                far = Stream(far_response)
                last = (await far.until("node.suspended"))[-1].id
                poll_url = f"{url}/v1/runs/{run_id}/events/poll?timeout=60&lastSequence={last}"
                poll = asyncio.create_task(http.get(poll_url))
                waiters = host.run(run_id).changed
                await yielded_until(lambda: waiters.waiters == 3)  # two streams and the poll
            assert await far.rest() == []
            assert (await poll).json() == {"events": [], "isComplete": False, "lastEventSeq": int(last)}
            await far_response.aclose()
            stream = Stream(near)
            await stream.until("node.suspended")
            body = {"resumeValue": {"action": "accept"}}
            await inside.post(f"/v1/runs/{run_id}/interrupts/gate", json=body)
            assert (await stream.rest())[-1].event == "run.completed"


async def test_a_reader_that_hangs_up_is_noticed(host: DevHost) -> None:
    """The host stops waiting on behalf of a reader who has gone, without anything having happened in the run."""
    headers = {"authorization": f"Bearer {host.api_key}"}
    async with asyncio.timeout(PATIENCE), host.serve() as url, httpx.AsyncClient(headers=headers) as http:
        run_id = await create(host.http_client(), "openwop-approval")
        changed = host.run(run_id).changed
        async with http.stream("GET", f"{url}/v1/runs/{run_id}/events") as response:
            await Stream(response).until("node.suspended")
            await yielded_until(lambda: changed.waiters > 0)
        await yielded_until(lambda: changed.waiters == 0)
    assert changed.waiters == 0


async def test_a_slow_reader_of_a_socket_loses_nothing(host: DevHost) -> None:
    """Far more than all buffers hold; the host waits, and goes on where it stopped."""
    async with asyncio.timeout(PATIENCE * 3), host.serve() as url:
        http = host.http_client()
        body = {"workflowId": "openwop-burst", "inputs": {"count": 8000, "size": 500}}
        run_id = (await http.post("/v1/runs", json=body)).json()["runId"]
        address = httpx.URL(url)
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=1024)
        request = f"GET /v1/runs/{run_id}/events?streamMode=debug HTTP/1.1\r\nHost: x\r\n"
        writer.write(f"{request}Authorization: Bearer {host.api_key}\r\n\r\n".encode())
        await Api(host, http).finished(run_id)
        count = 0
        async for line in reader:
            count += line.startswith(b"id: ")
            if line.startswith(b"event: run.completed"):
                break
        writer.close()
        await writer.wait_closed()
    assert count == 8000 + 4


@pytest.mark.parametrize("port", ["65536", "80000", "-1"])
async def test_a_number_that_is_no_port_is_refused(port: str) -> None:
    """The resolver alone would take it modulo 65536 and listen somewhere else."""
    with pytest.raises(ValueError, match=port):
        listen("127.0.0.1", int(port))


async def test_connections_send_small_answers_at_once() -> None:
    """asyncio turns Nagle's algorithm off only for sockets whose protocol is named; without, 40 ms an answer."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with pytest.raises(OSError, match=r"\S"):
            listen("127.0.0.1", listener.getsockname()[1])


async def test_the_client_of_this_package_reaches_the_host_in_process(host: DevHost) -> None:
    """host.client() is an ordinary client, whose bytes go to this host."""
    async with asyncio.timeout(PATIENCE), host.client() as client:
        snapshot = await client.execute("conformance-noop")
    assert snapshot.status == "completed"
