"""The live contract tests themselves: that they leave no operation out, and that a host's faults are found."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from contract.live import test_operations
from contract.live.judge import ROWS, Exchange, documented, faults, frame_faults
from contract.live.kit import ANSWERS, FIXTURES, NEVER_REFUSED, REFUSES, foreign_host
from contract.spec_support import ROOT
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow
from support.live_table import FOLDER

CHILD_S = 200  # a bound, and far from what it takes
KEY = "acme-key-5e6f7a8b9c0d"
VARIABLES = {
    "OPENWOP_CONTRACT_BASE_URL", "OPENWOP_CONTRACT_API_KEY", "OPENWOP_CONTRACT_SETTINGS", "PYTEST_ADDOPTS",
    "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID",
}  # fmt: skip
"""What this run was given, and the one that it starts is not."""

# A source tree whose package is not installed has no entry point; the plugin is named then.
PLUGIN = () if entry_points(group="pytest11", name="openwop") else ("-p", "_openwop_pytest")

NO: dict[str, Any] = {"supported": False}
NOT_THERE: dict[str, Any] = {
    "toolCatalog": NO,
    "workspace": NO,
    "content": NO,
    "replay": NO,
    "debugBundle": NO,
    "webhooks": NO,
    "agents": {"manifestRuntime": NO, "deployment": NO, "roster": NO, "orgChart": NO, "evalSuite": NO},
    "prompts": {"endpointsSupported": False, "mutableLibrary": False},
    "packs": {"testMode": NO},
    "triggerBridge": {"ingestion": {"registrationEndpoint": False}},
}


# -- nothing is left out -----------------------------------------------------------------------------------------


def test_each_documented_operation_has_a_live_call_and_a_refusal() -> None:
    """We chose it: an operation that is added to the document is tried on hosts, or this fails."""
    assert test_operations.CALLS
    assert ANSWERS.keys() == documented().keys() == ROWS.keys()
    assert REFUSES.keys() == documented().keys() - NEVER_REFUSED.keys()


# -- what is a fault ---------------------------------------------------------------------------------------------

JSON = {"content-type": "application/json"}


def found(operation: str, status: int, body: object, headers: Mapping[str, str] = JSON) -> list[str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(faults(Exchange(operation, status, headers, content)))


def test_an_answer_of_the_document_has_no_fault() -> None:
    """We chose it: fields and values that the document does not know are none."""
    envelope = {"error": "not_found", "message": "m", "more": 1}
    assert found("getRun", 404, envelope) == found("getRun", 418, envelope) == []
    assert found("cancelRun", 200, {"runId": "r", "status": "cancelling", "more": 1}) == []
    assert found("deleteWorkspaceFile", 204, b"", {}) == []
    assert found("createPromptTemplate", 201, b"", {}) == []
    chunk = {"chunk": "a", "runId": "r", "nodeId": "n", "isLast": True}
    assert list(frame_faults("messages", json.dumps([chunk, chunk]))) == []


@pytest.mark.parametrize(
    ("operation", "status", "body", "headers", "told"),
    [
        ("createRun", 200, {}, JSON, "createRun answered 200, which the document does not have"),
        ("getRun", 200, {"runId": 5}, JSON, "getRun answered 200 with a body that breaks `type` at $.runId"),
        ("getRun", 200, b"{", JSON, "getRun answered 200 with something that is no JSON"),
        ("getRun", 404, {"detail": "m"}, JSON, "getRun answered 404 with a body that breaks `required` at $"),
        ("getRun", 404, b"<p>", {"content-type": "text/html"}, "getRun answered 404 with text/html, and the"),
        ("getTool", 200, b"", {}, "getTool answered 200 with no media type, and the document has application/json"),
        ("deleteWorkspaceFile", 204, {}, JSON, "deleteWorkspaceFile answered 204 with a body, and the"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_answer_is_named(
    operation: str, status: int, body: object, headers: Mapping[str, str], told: str
) -> None:
    """We chose it: a fault says which operation, which status, and where in the body."""
    assert any(fault.startswith(told) for fault in found(operation, status, body, headers))


def test_what_is_wrong_with_an_answer_that_holds_a_secret_is_told_without_it() -> None:
    """We chose it: what a host sends in a secret's place may be the secret in another shape."""
    answer = {"webhookId": "w", "url": "https://h.example/", "events": [], "secret": 4711}
    (fault,) = found("registerWebhook", 201, answer)
    assert fault == "registerWebhook answered 201 with a body that breaks `type` at $.secret"


def test_a_frame_that_is_not_of_its_mode_is_a_fault() -> None:
    """We chose it: each mode has a schema of its own."""
    assert list(frame_faults("updates", '{"chunk": "a"}'))
    assert list(frame_faults("values", "{")) == ["streamRunEvents sent a frame of 'values' that is no JSON"]


# -- which host is tried -----------------------------------------------------------------------------------------


def test_a_host_without_a_key_is_a_mistake_of_the_call(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: a key that was set for another host must not go to this one."""
    monkeypatch.setenv("OPENWOP_CONTRACT_BASE_URL", "https://host.example")
    monkeypatch.delenv("OPENWOP_CONTRACT_API_KEY", raising=False)
    monkeypatch.setenv("OPENWOP_API_KEY", "hk_for_somewhere_else")
    with pytest.raises(pytest.UsageError, match="OPENWOP_CONTRACT_API_KEY"):
        foreign_host(pytestconfig)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"workflow": {}}', "workflow"),
        ('{"workflows": {"fast": "w"}}', "workflows.fast"),
        ('{"workflows": {"quick": {"id": "w"}}}', "workflowId"),
        ('{"workflows": ["w"]}', "JSON object"),
        ("[]", "JSON object"),
        ("{", "settings"),
    ],
)
def test_a_settings_file_with_a_mistake_is_refused(
    text: str, told: str, tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: a misspelt setting would otherwise be a call that is skipped."""
    (tmp_path / "settings.json").write_text(text, encoding="utf-8")
    monkeypatch.setenv("OPENWOP_CONTRACT_BASE_URL", "https://host.example")
    monkeypatch.setenv("OPENWOP_CONTRACT_API_KEY", KEY)
    monkeypatch.setenv("OPENWOP_CONTRACT_SETTINGS", str(tmp_path / "settings.json"))
    with pytest.raises(pytest.UsageError, match=told):
        foreign_host(pytestconfig)


@pytest.mark.asyncio
async def test_a_mistake_of_the_call_is_told_in_a_line() -> None:
    """We chose it: whoever has forgotten the key reads just that, and no traceback of pytest's."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment["OPENWOP_CONTRACT_BASE_URL"] = "https://host.example"
    target = str(Path(test_operations.__file__).relative_to(ROOT))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", target,
        cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await child.communicate()
    assert child.returncode == pytest.ExitCode.USAGE_ERROR
    assert output.decode().strip() == (
        "ERROR: the contract tests have a host and no key for it: set OPENWOP_CONTRACT_API_KEY"
    )


# -- whole runs, against hosts that are not the usual one ----------------------------------------------------------


@dataclass(frozen=True)
class ChildRun:
    """What a test run of its own came to."""

    code: int
    output: str
    rows: Mapping[str, Mapping[str, Any]]
    markdown: str

    def of(self, outcome: str) -> set[str]:
        """The operations with this outcome."""
        return {name for name, row in self.rows.items() if row["outcome"] == outcome}


@asynccontextmanager
async def tried(
    host: DevHost, folder: Path, settings: Mapping[str, Any], *arguments: str, by_options: bool = False
) -> AsyncIterator[ChildRun]:
    """Run the live tests in another process, against a host that is served from this one."""
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    async with host, host.serve() as base_url:
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | {
            "OPENWOP_CONTRACT_SETTINGS": str(folder / "settings.json"),
            FOLDER: str(folder / "report"),
        }
        if by_options:
            arguments = (
                *PLUGIN,
                "--openwop-base-url",
                base_url,
                "--openwop-api-key",
                host.api_key,
                *arguments,
            )
        else:
            environment |= {
                "OPENWOP_CONTRACT_BASE_URL": base_url,
                "OPENWOP_CONTRACT_API_KEY": host.api_key,
            }
        target = str(Path(test_operations.__file__).relative_to(ROOT))
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", target, *arguments,
            cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(CHILD_S):
                output, _ = await child.communicate()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        text = output.decode()
        table = folder / "report" / "operations.json"
        assert table.exists(), text
        hosts = json.loads(table.read_text(encoding="utf-8"))
        assert list(hosts) == ["acme"], text
        rows = {row["operation"]: row for row in hosts["acme"]}
        assert child.returncode is not None
        yield ChildRun(child.returncode, text, rows, table.with_suffix(".md").read_text(encoding="utf-8"))


@pytest.mark.timeout(CHILD_S + 20)
@pytest.mark.asyncio
async def test_a_host_with_little_to_offer_passes_with_a_reason_for_each_call_that_was_not_made(
    tmp_path: Path,
) -> None:
    """We chose it: what a host does not advertise, or was not told to the tests, is skipped and never passed."""
    host = DevHost(
        api_keys=[KEY],
        samples=False,
        workflows=[
            workflow("acme-hello", nodes=[node("hello", "core.noop")]),
            workflow("acme-batch", nodes=[node("work", "core.delay", config={"delayMs": 30_000})]),
            workflow(
                "acme-gate", nodes=[node("gate", "core.approval", config={"actions": ["accept", "reject"]})]
            ),
        ],
        capabilities=NOT_THERE,
    )
    workflows = {
        "quick": "acme-hello",
        "slow": {"workflowId": "acme-batch", "inputs": {}},
        "asking": "acme-gate",
    }
    async with tried(host, tmp_path, {"name": "acme", "workflows": workflows}, by_options=True) as child:
        assert child.code == 0, child.output
        assert child.rows.keys() == documented().keys()
        assert child.of("failed") == set()
        reasons = {name: child.rows[name]["answer"]["reason"] for name in child.of("skipped")}
        assert all(reasons.values())
        for name, row in documented().items():
            if row.capability is not None and not _kept_by(row.capability):
                assert row.capability in reasons[name]
                assert child.rows[name]["refusal"]["outcome"] == "skipped"
        assert reasons.pop("listTools") == (
            "listTools: the host does not offer 'toolCatalog': its discovery document says so"
        )
        assert FIXTURES["artifact"] in reasons["getArtifact"]
        assert "none for tests (403 forbidden)" in reasons["resolveInterruptByToken"]
        assert "says so" in reasons["registerWebhook"]
        assert {
            "createRun", "cancelRun", "pauseRun", "resolveInterruptByRun", "streamRunEvents", "createAnnotation"
        } <= child.of("passed")  # fmt: skip
        assert "| listTools | `GET /v1/tools` | toolCatalog | skipped | skipped |" in child.markdown
        assert f"table: {tmp_path / 'report' / 'operations.md'}" in child.output
        assert KEY not in child.output + child.markdown


def _kept_by(capability: str) -> bool:
    """Whether the host with little to offer has this all the same."""
    return capability in (
        "feedback", "runs.pauseResume", "a2a.durableTasks", "openwop-audit-log-integrity",
        "multiAgent.executionModel.crossHostCausation.ancestryEndpointSupported",
    )  # fmt: skip


@pytest.mark.timeout(CHILD_S + 20)
@pytest.mark.asyncio
async def test_a_host_that_breaks_operations_fails_there_and_each_failure_is_named(tmp_path: Path) -> None:
    """We chose it: a wrong body, a wrong status and a call that fails are each told of their own operation.

    That there is no discovery document is one of these failures, and no reason to leave the others out.
    """
    forbidden = JSONResponse({"error": "forbidden", "message": "not today"}, 403)
    broken = {
        "getCapabilities": JSONResponse({"error": "not_found", "message": "no document"}, 404),
        "getTool": JSONResponse({"toolId": "a:b", "safetyTier": 5}, 200),
        "getDebugBundle": JSONResponse({"error": "internal_error", "message": "out of order"}, 500),
        "createAnnotation": JSONResponse({"annotationId": "a"}, 200),
        "getWorkflow": JSONResponse({"detail": "no such thing"}, 404),
        "deletePromptTemplate": forbidden,
    }

    async def intercept(operation: str, request: Request) -> Response | None:
        return broken.get(operation)

    tried_too = ("listTools", "createPromptTemplate", "createContentPage", "inspectInterruptByToken")
    settings = {"name": "acme", "workflows": {"quick": "conformance-noop", "asking": "conformance-approval"}}
    host = DevHost(api_keys=[KEY], intercept=intercept)
    async with tried(host, tmp_path, settings, "-n", "1", "-k", " or ".join([*broken, *tried_too])) as child:
        assert child.code == 1, child.output
        assert child.of("failed") == broken.keys()
        assert child.of("passed") == {"listTools", "createPromptTemplate"}
        told = {name: child.rows[name]["answer"]["reason"] for name in child.rows}
        assert "getCapabilities: not_found (HTTP 404): no document" in told["getCapabilities"]
        assert "getTool answered 200 with a body that breaks" in told["getTool"]
        assert "getDebugBundle: internal_error (HTTP 500): out of order" in told["getDebugBundle"]
        assert "createAnnotation answered 200, which the document does not have" in told["createAnnotation"]
        refusal = child.rows["getWorkflow"]["refusal"]["reason"]
        assert "getWorkflow answered 404 with a body that breaks `required`" in refusal
        for name in broken:
            assert f"FAILED {name}: " in child.output
        assert told["createContentPage"].startswith("creating a page cannot be undone; allowTraces")
        assert "none for tests (403 forbidden)" in told["inspectInterruptByToken"]
        notes = child.rows["createPromptTemplate"]["notes"]
        assert len(notes) == 2  # one of each call
        assert all(note.startswith("left behind: prompt contract-") and "not today" in note for note in notes)
