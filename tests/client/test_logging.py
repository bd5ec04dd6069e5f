"""What the loggers below ``openwop`` say, and what their records carry beside the text."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from openwop import NotFoundError, RequestTimeoutError
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from support.clients import MakeClient
from support.fault_server import (
    FaultServer,
    Stall,
    error_response,
    json_response,
    snapshot_doc,
    sse_response,
)
from support.streams import EVENTS, cut_off, last_event, node_events

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
with_page = pytest.mark.skipif(not PAGE.exists(), reason="the pages are not part of this checkout")


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What is ours in a record."""
    return {
        name.removeprefix("openwop_"): value
        for name, value in vars(record).items()
        if name.startswith("openwop_")
    }


def of(caplog: pytest.LogCaptureFixture, logger: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == logger]


async def test_each_attempt_and_each_retry_is_a_record_at_debug(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: what is needed to find a call again is in fields, and the path has names instead of ids."""
    caplog.set_level(logging.DEBUG, "openwop")
    with FaultServer() as server:
        server.on(
            "GET", "/v1/runs/{id}", error_response(503, "unavailable"), json_response(200, snapshot_doc())
        )
        answer = await make_client(server, api_key="hk_test").runs.with_raw_response.get("run-1")
    first, retry, second = of(caplog, "openwop.http")
    assert {record.levelname for record in (first, retry, second)} == {"DEBUG"}
    call = {
        "operation": "getRun", "method": "GET", "path": "/v1/runs/{runId}", "trace_id": answer.trace_id,
    }  # fmt: skip
    assert fields(first) == call | {"attempt": 0, "status": 503, "duration_s": first.openwop_duration_s}
    assert fields(second) == call | {"attempt": 1, "status": 200, "duration_s": second.openwop_duration_s}
    assert fields(retry) == call | {
        "attempt": 1, "status": 503, "reason": "ServerError", "delay_s": retry.openwop_delay_s,
    }  # fmt: skip
    assert 0 < second.openwop_duration_s < 5
    assert re.fullmatch(r"GET /v1/runs/\{runId\}: HTTP 200 in \d\.\d{3} s", second.getMessage())


async def test_an_attempt_without_an_answer_says_why(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: the reason is the class of the error, and ``cancelled`` where nobody waited any more."""
    caplog.set_level(logging.DEBUG, "openwop")
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", (Stall(),))
        with pytest.raises(RequestTimeoutError):
            await make_client(server, api_key="hk_test", max_retries=0, timeout=0.2).runs.get("run-1")
        patient = make_client(server, api_key="hk_test")
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(patient.runs.get, "run-2")
                await anyio.to_thread.run_sync(server.wait_for_request, 2)
                group.cancel_scope.cancel()
    found = [fields(record) for record in of(caplog, "openwop.http")]
    assert [(each["reason"], each.get("status")) for each in found] == [
        ("RequestTimeoutError", None), ("cancelled", None),
    ]  # fmt: skip


# Under trio stock httpx leaves its own inner generators to the garbage collector when a connection breaks.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object:pytest.PytestUnraisableExceptionWarning"
)
async def test_a_stream_that_goes_on_says_so_at_info(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: a dropped connection is worth a line, and an event is not."""
    caplog.set_level(logging.DEBUG, "openwop")
    with FaultServer() as server:
        server.on("GET", EVENTS, cut_off(*node_events(0)), sse_response(*node_events(1), last_event(2)))
        async with make_client(server, api_key="hk_test").runs.events("run-1") as events:
            assert len([event async for event in events]) == 3
    ended, again = of(caplog, "openwop.stream")
    assert (ended.levelname, again.levelname) == ("DEBUG", "INFO")
    assert fields(again) == {
        "operation": "streamRunEvents", "run_id": "run-1", "delay_s": again.openwop_delay_s,
        "reason": "ConnectionFailedError",
    }  # fmt: skip
    connections = [fields(record) for record in of(caplog, "openwop.http")]
    assert [(each["status"], each["path"]) for each in connections] == [(200, "/v1/runs/{runId}/events")] * 2
    assert len({each["trace_id"] for each in connections}) == 1


async def test_where_debug_is_off_a_call_is_not_looked_at(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: nobody pays for records that nobody gets."""
    caplog.set_level(logging.INFO, "openwop")
    seen: list[object] = []

    async def look(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        seen.append(request.watch)
        return await call_next(request)

    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", error_response(404, "run_not_found"))
        with pytest.raises(NotFoundError):
            await make_client(server, api_key="hk_test", middleware=[look]).runs.get("run-1")
    assert seen == [None]
    assert of(caplog, "openwop.http") == []


async def test_what_stands_in_a_field_is_redacted(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The protocol demands it: a path of the caller's own may hold a token."""
    caplog.set_level(logging.DEBUG, "openwop")
    with FaultServer() as server:
        server.on("GET", "*", json_response(200, {}))
        client = make_client(server, api_key="hk_test")
        await client.request("GET", "/v1/interrupts/Y2FuYXJ5dG9rZW4.Y2FuYXJ5bWFj", params={"key": "Y2FuYXJ5"})
    [record] = of(caplog, "openwop.http")
    assert fields(record)["path"] == "/v1/interrupts/[REDACTED]?key=[REDACTED]"
    assert "Y2FuYXJ5" not in str(vars(record))


@with_page
def test_the_page_lists_every_field() -> None:
    """We chose it: the names are a promise."""
    from openwop._core.logs import log_fields

    known = {f"openwop_{name}" for name in log_fields.__kwdefaults__}
    listed = re.findall(r"^\| `(openwop_\w+)` \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(listed) == len(set(listed))
    assert set(listed) == known


@with_page
def test_the_page_lists_every_logger() -> None:
    """We chose it: the names are a promise."""
    sources = (Path(__file__).parents[2] / "src" / "openwop").rglob("*.py")
    used = {
        name
        for source in sources
        for name in re.findall(r'getLogger\("(openwop\.\w+)"\)', source.read_text(encoding="utf-8"))
    }
    logs = PAGE.read_text(encoding="utf-8").partition("## Logs")[2]
    listed = set(re.findall(r"^\| `(openwop\.\w+)` \|", logs, re.M))
    assert listed == used


def test_a_library_sets_no_logging_up_and_prints_nothing_by_itself() -> None:
    """We chose it, as Python's documentation asks of libraries."""
    program = """if True:
        import logging
        from openwop import AsyncOpenwopClient
        AsyncOpenwopClient("http://h.example")
        assert logging.getLogger().handlers == []
        assert [type(h) for h in logging.getLogger("openwop").handlers] == [logging.NullHandler]
        logging.getLogger("openwop.stream").warning("nobody has asked to see this")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_development_host_says_on_stderr_what_broke() -> None:
    """We chose it: it is a program, and a workflow function that raises has to be seen, but not twice."""
    program = """if True:
        import asyncio, logging, sys
        from openwop.devhost import DevHost

        async def main():
            async with DevHost() as host, host.client() as client:
                @host.workflow("fails")
                async def fails(context):
                    raise ValueError("no")

                await (await client.start("fails")).result(check=False)

        if len(sys.argv) > 1:
            logging.basicConfig(format="%(message)s")
        asyncio.run(main())
    """
    for arguments in ([], ["configured"]):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("the workflow fails failed in run") == 1
