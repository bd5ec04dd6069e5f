"""The tables of the pages for users of other clients: complete, and without a name that is not there."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import openwop

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {
    name: DOCS / f"migrating-from-{name}.md" for name in ("openwop-client", "orchagent", "cloacina-client")
}
NAME = re.compile(r"`([\w.]+)`")
KEYWORD = re.compile(r"`(\w+)=`")

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the pages are not part of this checkout")

# What the other two packages have for their users, in the releases that the pages name.  Neither is installed here:
# each needs a server of its own kind, and only its names matter.
OTHERS = {
    "orchagent": """
        OrchClient OrchClient.get_meta auth.register auth.login auth.set_token auth.get_token threads.create
        threads.create_from_file threads.set_secrets threads.history runs.send_message runs.stream_events runs.resume
        approvals.approve approvals.clear ChatSession ChatSession.ask Settings OrchError Unauthorized Forbidden
        NotFound RateLimited ServerError Event ThreadCreateResponse HistoryItem RunStartResponse
    """,
    "cloacina-client": """
        Client AsyncClient CloacinaApiError DeliveryPush ProtocolVersionError DELIVERY_PROTOCOL_VERSION generated models
        tenant_segment health ready create_key list_keys revoke_key create_tenant_key list_tenant_keys
        revoke_tenant_key create_ws_ticket local_login refresh logout whoami list_accounts create_account
        disable_account reset_password create_tenant list_tenants remove_tenant list_secrets create_secret get_secret
        rotate_secret delete_secret upload_workflow list_workflows get_workflow delete_workflow pause_workflow
        resume_workflow get_workflow_source list_triggers get_trigger pause_trigger resume_trigger fire_trigger
        get_trigger_interface create_instance list_instances get_instance delete_instance execute_workflow
        list_executions iterate_executions get_execution get_execution_events get_execution_tasks list_accumulators
        list_graphs get_graph list_reactors fire_reactor list_reactor_fires reactor_fire_timeseries
        get_reactor_interface get_accumulator_interface inject_accumulator list_agents compiler_status
        subscribe_delivery follow_execution_events
    """,
}


@dataclass(frozen=True)
class Row:
    """One row of a table whose second column is headed "Native"."""

    theirs: list[str]
    native: list[str]
    remark: str

    def __str__(self) -> str:
        return self.theirs[0]


def rows(page: Path) -> Iterator[Row]:
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif not inside:
            inside = len(cells) == 3 and cells[1] == "Native"
        elif not cells[0].startswith("---"):
            assert len(cells) == 3, f"{page.name}: {line}"
            yield Row(NAME.findall(cells[0]), NAME.findall(cells[1]), cells[2])


ALL_ROWS = {name: list(rows(page)) for name, page in PAGES.items() if page.exists()}


def resolve(dotted: str, *, blocking: bool = False) -> Any:
    """What ``client.runs.get``, ``run.cancel`` or ``openwop.models.RunDiff`` stands for; AttributeError if nothing."""
    first, *rest = dotted.split(".")
    found: Any
    if first == "openwop":
        found = openwop
    else:
        # Objects and not classes, because what `client.runs` is, is known to the client only. Neither does any I/O.
        make = openwop.OpenwopClient if blocking else openwop.AsyncOpenwopClient
        client = make("https://host.example", "key")
        found = {"client": client, "run": client.get_run_handle("run-1")}[first]
    for number, part in enumerate(rest):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            importlib.import_module(".".join([first, *rest[: number + 1]]))
        fields = getattr(found, "model_fields", {}) if isinstance(found, type) else {}
        found = fields[part] if part in fields else getattr(found, part)
    return found


def parameters(found: Any) -> set[str]:
    is_error = isinstance(found, type) and issubclass(found, BaseException)
    return set(inspect.signature(found).parameters) if callable(found) and not is_error else set()


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_a_table_of_names(page: str) -> None:
    """We chose it: and the checks below would say nothing about a table that they do not find."""
    assert len(ALL_ROWS[page]) > 10
    assert all(row.theirs for row in ALL_ROWS[page])


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
@pytest.mark.parametrize("page", PAGES)
def test_each_native_name_is_there(page: str, blocking: bool) -> None:
    """We chose it: a page that sends somebody to a name which is not there costs them an hour."""
    wrong: list[str] = []
    for name in sorted({name for row in ALL_ROWS[page] for name in row.native}):
        try:
            resolve(name, blocking=blocking)
        except (AttributeError, ImportError) as error:
            wrong.append(f"{name}: {error}")
    assert wrong == []


def test_the_check_for_native_names_sees_a_wrong_one() -> None:
    """We chose it: looking a name up must not end in something that has every attribute."""
    for wrong in (
        "client.runs.fetch",
        "client.run",
        "run.wait",
        "openwop.models.RunCreation",
        "openwop.nothing",
        "openwop.RunSnapshot.runId",
    ):
        with pytest.raises((AttributeError, ImportError)):
            resolve(wrong)


@pytest.mark.parametrize("page", OTHERS)
def test_every_call_of_the_other_clients_has_its_row(page: str) -> None:
    """We chose it: a call without a counterpart has a row as well, which says so."""
    listed = [name for row in ALL_ROWS[page] for name in row.theirs]
    assert sorted(listed) == sorted(OTHERS[page].split())


def test_a_call_without_a_counterpart_says_why() -> None:
    """We chose it: "none" alone leaves a reader with nothing to do."""
    for page in PAGES:
        for row in ALL_ROWS[page]:
            assert row.native or row.remark, str(row)


@pytest.fixture
def original() -> ModuleType:
    return pytest.importorskip("openwop_client", reason="openwop-client is not installed")


@pytest.fixture
def listed() -> list[str]:
    return [name for row in ALL_ROWS["openwop-client"] for name in row.theirs]


def test_every_public_name_of_the_original_has_its_row(original: ModuleType, listed: list[str]) -> None:
    """We chose it: whoever looks for a name finds it, methods of the client included."""
    wanted = {*original.__all__}
    for cls in (original.OpenwopClient, original.RegistryClient):
        wanted |= {f"{cls.__name__}.{name}" for name in vars(cls) if not name.startswith("_")}
    assert sorted(wanted - {*listed}) == []


def test_no_name_has_two_rows_or_is_not_the_originals(original: ModuleType, listed: list[str]) -> None:
    """We chose it: a slip in the table is a name that nobody finds."""
    assert sorted(name for name in {*listed} if listed.count(name) > 1) == []
    for name in listed:
        found: Any = original
        for part in name.split("."):
            found = getattr(found, part)


def test_each_keyword_is_one_of_the_calls_in_its_row(original: ModuleType) -> None:
    """We chose it: ``mode=`` is named as what it is called here, or as what it was called there."""
    for row in ALL_ROWS["openwop-client"]:
        known = set[str]()
        for name in row.native:
            known |= parameters(resolve(name))
        for name in row.theirs:
            found: Any = original
            for part in name.split("."):
                found = getattr(found, part)
            known |= parameters(found) if inspect.isroutine(found) else set()
        assert sorted({*KEYWORD.findall(row.remark)} - known) == [], str(row)


def test_the_drop_in_has_each_name_too(listed: list[str]) -> None:
    """We chose it: the first column is headed with both modules."""
    compat = importlib.import_module("openwop.compat")
    missing: list[str] = []
    for name in listed:
        try:
            attrgetter(name)(compat)
        except AttributeError:
            missing.append(name)
    assert missing == []
