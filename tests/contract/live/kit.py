"""What the live calls share: which host they talk to, what it is known to have, and a record of what it answered."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from contract.live.judge import Exchange, documented
from openwop import (
    AsyncOpenwopClient,
    AuthenticationError,
    NotFoundError,
    OpenwopError,
    RunEvent,
    RunSnapshot,
)
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from openwop.models import Capabilities

logger = logging.getLogger(__name__)
PATIENCE_S = 20.0
NOBODY = f"contract-none-{secrets.token_hex(6)}"
"""An id that nothing has."""

FIXTURES = {
    "quick": "conformance-noop",
    "slow": "conformance-cancellable",
    "asking": "conformance-approval",
    "artifact": "openwop-artifact",
}
"""The workflows that the calls need, and those that do it where the host says that it has them: one that soon ends by
itself, one that takes long, one that asks for something, and one that makes an artifact."""

ANSWERS: dict[str, Callable[[Live], Awaitable[Any]]] = {}
"""For each operation a call that succeeds; it returns what the client made of the answer."""
REFUSES: dict[str, tuple[tuple[type[OpenwopError], ...], Callable[[Live], Awaitable[Any]]]] = {}
"""For each operation a call that the host refuses, and the errors that it may be."""
NEVER_REFUSED = {
    "getCapabilities": "a public document: nobody is refused it",
    "getOpenApiSpec": "a public document: nobody is refused it",
}
"""Operations that have no refusal to provoke, and why."""

DENIED_BY = {
    "bulkCancelRuns": "runs.bulkCancel",
    "registerWebhook": "webhooks",
    "unregisterWebhook": "webhooks",
}
"""Operations that the document puts under no capability, and the families by which a host can still say no."""

CallT = TypeVar("CallT", bound=Callable[..., Awaitable[Any]])


def answers(operation: str) -> Callable[[CallT], CallT]:
    """Have this be the call of ``operation`` that succeeds."""

    def register(call: CallT) -> CallT:
        assert operation not in ANSWERS, operation
        ANSWERS[operation] = call
        return call

    return register


def refuses(operation: str, *errors: type[OpenwopError]) -> Callable[[CallT], CallT]:
    """Have this be the call of ``operation`` that is refused with one of ``errors``."""

    def register(call: CallT) -> CallT:
        assert operation not in REFUSES, operation
        REFUSES[operation] = (errors, call)
        return call

    return register


def refuses_strangers(operation: str, call: Callable[[AsyncOpenwopClient], Awaitable[Any]]) -> None:
    """Have a call under a wrong key be the one of ``operation`` that is refused: it names nothing to be missing."""

    async def refused(live: Live) -> Any:
        return await call(await live.stranger())

    refuses(operation, AuthenticationError)(refused)


@dataclass(frozen=True)
class Host:
    """A host to try, and what has to be known of it that it does not tell itself."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    own: bool = False
    """Whether it was started for these tests, and nothing that is left on it is missed."""
    workflows: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, str] | None = None
    webhook_url: str = "https://example.com/openwop-contract"
    tenant_id: str | None = None
    allow_traces: bool = False


SETTINGS = {
    "name": "name",
    "workflows": "workflows",
    "evaluation": "evaluation",
    "webhookUrl": "webhook_url",
    "tenantId": "tenant_id",
    "allowTraces": "allow_traces",
}
"""What a settings file may say, and where it goes."""


def read_settings(path: Path) -> dict[str, Any]:
    """Read what a settings file says of a host.

    Raises:
        pytest.UsageError: It is no JSON object, or it has something that nobody would read.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"the settings of the contract tests: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("workflows", {}), dict):
        raise pytest.UsageError(f"{path}: a settings file is a JSON object, and so are its workflows")
    workflows: dict[str, Any] = document.get("workflows", {})
    unknown = {
        *(document.keys() - SETTINGS.keys()),
        *(f"workflows.{name}" for name in workflows.keys() - FIXTURES.keys()),
    }
    if unknown:
        raise pytest.UsageError(f"{path}: nothing is known of {', '.join(sorted(unknown))}")
    for name, value in workflows.items():
        if not isinstance(value, str) and not (isinstance(value, dict) and "workflowId" in value):
            raise pytest.UsageError(f"{path}: workflows.{name} is an id, or an object with a workflowId")
    return {SETTINGS[name]: value for name, value in document.items()}


def foreign_host(config: pytest.Config) -> Host | None:
    """The host that options or variables name, or ``None`` where they name none.

    Raises:
        pytest.UsageError: They leave out something.
    """
    url = config.getoption("--openwop-base-url", None) or os.environ.get("OPENWOP_CONTRACT_BASE_URL")
    if not url:
        return None
    key = config.getoption("--openwop-api-key", None) or os.environ.get("OPENWOP_CONTRACT_API_KEY")
    if not key:
        # Without this the client would take the key that some other variable has, for some other host.
        raise pytest.UsageError(
            "the contract tests have a host and no key for it: set OPENWOP_CONTRACT_API_KEY"
        )
    path = os.environ.get("OPENWOP_CONTRACT_SETTINGS")
    settings = read_settings(Path(path)) if path else {}
    return Host(**{"name": "host", **settings, "base_url": url, "api_key": key})


@dataclass
class Live:
    """A host under test, a client for it, and what it has answered so far."""

    host: Host
    client: AsyncOpenwopClient
    exchanges: list[Exchange]
    wrong_key: AsyncOpenwopClient
    notes: list[str] = field(default_factory=list)
    _clean_up: list[tuple[str, Callable[[], Awaitable[Any]]]] = field(default_factory=list)

    async def known(self) -> Capabilities | None:
        """What the host says of itself; ``None`` where it says nothing, which has a row of its own in the table."""
        try:
            return await self.client.discovery.capabilities()
        except OpenwopError as error:
            logger.info("there is no discovery document: %s", error)
            return None

    async def capabilities(self) -> Capabilities:
        """The same for those who only look for something in it."""
        return await self.known() or Capabilities()

    async def stream_modes(self) -> list[str]:
        """The modes of streams that the host lists, as far as the document has them."""
        listed = (await self.capabilities()).family("streamModes")
        known = documented()["streamRunEvents"].frames
        return [mode for mode in (listed if isinstance(listed, list) else ["updates"]) if mode in known]

    def exchanges_of(self, operation: str) -> list[Exchange]:
        """What the host has answered to one operation."""
        return [exchange for exchange in self.exchanges if exchange.operation == operation]

    def note(self, text: str) -> None:
        """Have the table tell something, once."""
        if text not in self.notes:
            self.notes.append(text)

    def unique(self) -> str:
        """A name that nothing on the host has yet."""
        return f"contract-{secrets.token_hex(6)}"

    # -- what a call needs ------------------------------------------------------------------------------------

    async def workflow(self, role: str) -> tuple[str, dict[str, Any]]:
        """The id of a workflow for one of the roles of :data:`FIXTURES`, and its inputs; skips where there is none."""
        given = self.host.workflows.get(role)
        if isinstance(given, str):
            return given, {}
        if given is not None:
            return given["workflowId"], given.get("inputs", {})
        usual = FIXTURES[role]
        if usual not in ((await self.capabilities()).fixtures or []):
            pytest.skip(
                f"no workflow for {role!r}: {usual} is not among the host's fixtures, and no setting names one"
            )
        return usual, {}

    async def started(self, role: str) -> str:
        """Start a run; what is not over at the end is cancelled."""
        workflow_id, inputs = await self.workflow(role)
        created = await self.client.runs.create(workflow_id, inputs=inputs, tenant_id=self.host.tenant_id)
        run_id = created.run_id
        if role in ("slow", "asking"):
            self.afterwards(f"run {run_id}", lambda: self.client.runs.cancel(run_id))
        return run_id

    async def finished(self, role: str = "quick") -> str:
        """Start a run and wait until it is over."""
        run_id = await self.started(role)
        await self.over(run_id)
        return run_id

    async def over(self, run_id: str) -> RunSnapshot:
        """Wait until a run is over."""
        return await self.client.get_run_handle(run_id).result(timeout=PATIENCE_S, check=False)

    async def event(self, run_id: str, *types: str) -> RunEvent:
        """Wait for an event of one of these types."""
        async with self.client.runs.events(run_id) as events:
            async for event in events:
                if any(event.matches(wanted) for wanted in types):
                    return event
        raise AssertionError(f"streamRunEvents: the run ended without {' or '.join(types)}")

    async def stranger(self) -> AsyncOpenwopClient:
        """A client with a key that nobody gave out; skips on a host that does not look at keys."""
        try:
            await self.wrong_key.runs.get(NOBODY)
        except AuthenticationError:
            return self.wrong_key
        except NotFoundError:
            pytest.skip("the host takes any key")
        raise AssertionError("getRun: the host has a run that nobody started")

    def leaves_traces(self, what: str) -> None:
        """Skip what no operation can undo, unless it is allowed."""
        if not (self.host.own or self.host.allow_traces):
            pytest.skip(f"{what} cannot be undone; allowTraces in the settings allows it")

    # -- afterwards -------------------------------------------------------------------------------------------

    def afterwards(self, what: str, undo: Callable[[], Awaitable[Any]]) -> None:
        """Undo something at the end, as well as can be done; the table tells what is left behind."""
        self._clean_up.append((what, undo))

    async def clean_up(self) -> None:
        """Undo what was done, the last thing first."""
        for what, undo in reversed(self._clean_up):
            try:
                await undo()
            except OpenwopError as error:
                if getattr(error, "status", None) not in (
                    404,
                    409,
                    410,
                ):  # those say that it is gone or over already
                    self.note(f"left behind: {what} ({error})")


@asynccontextmanager
async def connected(host: Host) -> AsyncIterator[Live]:
    """Connect to a host, record what it answers, and tidy up at the end."""
    exchanges: list[Exchange] = []

    async def record(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        response = await call_next(request)
        if request.operation in documented():  # requests by path are recorded by whoever makes them
            exchanges.append(Exchange(request.operation, response.status, response.headers, response.content))
        return response

    wrong = f"hk_test_{secrets.token_hex(12)}"
    async with (
        AsyncOpenwopClient(host.base_url, host.api_key, middleware=[record]) as client,
        AsyncOpenwopClient(host.base_url, wrong, middleware=[record]) as wrong_key,
    ):
        live = Live(host, client, exchanges, wrong_key)
        try:
            yield live
        finally:
            await live.clean_up()
