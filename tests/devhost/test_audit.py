"""The audit log: every change has an entry, and a change to an entry is noticed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devhost.kit import Api, ManualClock, refusal
from openwop.audit import broken_links, merkle_root, verify_checkpoints
from openwop.devhost import DevHost
from openwop.devhost.access import SCOPES, ApiKey

pytestmark = pytest.mark.asyncio


async def verified(api: Api, first: int = 0, last: int = 1000) -> dict[str, Any]:
    response = await api.http.get("/v1/audit/verify", params={"fromSeq": first, "toSeq": last})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def changes(api: Api, count: int) -> None:
    for _ in range(count):
        await api.start("conformance-noop")


async def test_each_change_has_one_entry_and_reading_has_none(api: Api) -> None:
    """We chose what is noted: what was asked, by whom, of which run, and what came of it; refusals too."""
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    await api.snapshot(run_id)
    await api.http.post("/v1/runs", json={"workflowId": "nothing"})
    token = api.host.interrupt_token(run_id, "gate")
    body = {"resumeValue": {"action": "accept", "decidedAt": "2026-05-01T12:00:00Z"}}
    await api.http.post(f"/v1/interrupts/{token}", json=body, headers={"authorization": ""})
    await api.http.post("/v1/nowhere", json={})
    entries = api.host.runtime.audit.entries
    assert [(e["action"], e["status"], e.get("runId")) for e in entries] == [
        ("createRun", 201, None),
        ("createRun", 400, None),
        ("resolveInterruptByToken", 200, None),
    ]
    assert [entry["sequence"] for entry in entries] == [0, 1, 2]
    assert entries[2]["principal"] == "token"
    written = json.dumps(entries)
    assert token not in written
    assert api.host.api_key not in written


async def test_a_repetition_changes_nothing_and_has_no_entry(api: Api) -> None:
    """An answer that is given again under its key was noted when it was given first."""
    for _ in range(2):
        await api.http.post(
            "/v1/runs", json={"workflowId": "conformance-noop"}, headers={"idempotency-key": "k" * 32}
        )
    assert len(api.host.runtime.audit.entries) == 1


async def test_the_chain_and_the_checkpoints_hold_for_somebody_else(api: Api) -> None:
    """The protocol's rules, applied by code that is not the host's: links, roots, signatures, interval."""
    await changes(api, 35)
    result = await verified(api)
    entries = api.host.runtime.audit.entries
    advertised = api.host.discovery()["auth"]["auditLogIntegrity"]
    assert [c["atSequence"] for c in result["checkpoints"]] == [9, 19, 29]
    assert advertised["checkpointIntervalEntries"] == 10
    assert broken_links(entries) == []
    assert result["checkpoints"][1]["merkleRoot"] == merkle_root(entries[:20])
    checks = verify_checkpoints(result["checkpoints"], advertised["checkpointPublicKey"], entries=entries)
    assert [(check.valid, check.signed) for check in checks] == [(True, "checkpoint")] * 3
    assert (result["chainValid"], result["checkpointsValid"], result["anomalies"]) == (True, True, [])


async def test_only_what_is_in_the_range_is_shown_with_both_ends(api: Api) -> None:
    await changes(api, 25)
    for first, last, shown in (
        (0, 8, []),
        (0, 9, [9]),
        (9, 19, [9, 19]),
        (10, 18, []),
        (20, 500, []),
        (7, 7, []),
    ):
        result = await verified(api, first, last)
        assert (result["fromSeq"], result["toSeq"]) == (first, last)
        assert [c["atSequence"] for c in result["checkpoints"]] == shown


async def test_a_changed_entry_is_an_anomaly_of_the_next_one(api: Api) -> None:
    await changes(api, 15)
    entries = api.host.runtime.audit.entries
    entries[4]["status"] = 500
    del entries[12]["prevHash"]
    result = await verified(api)
    assert [(a["atSeq"], a["actualPrevHash"]) for a in result["anomalies"]] == [
        (5, entries[5]["prevHash"]), (12, ""), (13, entries[13]["prevHash"]),
    ]  # fmt: skip
    assert (result["chainValid"], result["checkpointsValid"]) == (False, False)
    later = await verified(api, 6, 8)
    assert (later["chainValid"], later["anomalies"]) == (True, [])


@pytest.mark.parametrize(
    "forge", [lambda c: c.update(checkpoint="other"), lambda c: c.update(merkleRoot="00" * 32)]
)
async def test_a_forged_checkpoint_is_not_valid_though_the_chain_is(api: Api, forge: Any) -> None:
    await changes(api, 10)
    forge(api.host.runtime.audit.checkpoints[0])
    result = await verified(api)
    assert (result["chainValid"], result["checkpointsValid"], result["anomalies"]) == (False, False, [])


async def test_a_rewritten_log_whose_links_fit_again_does_not_fit_the_checkpoint(api: Api) -> None:
    """What the tree is for: whoever recomputes the chain cannot sign the root."""
    from openwop._core.merkle import entry_hash

    await changes(api, 10)
    entries = api.host.runtime.audit.entries
    entries[4]["status"] = 500
    for number in range(5, 10):
        entries[number]["prevHash"] = entry_hash(entries[number - 1])
    result = await verified(api)
    assert (result["chainValid"], result["checkpointsValid"], result["anomalies"]) == (False, False, [])


async def test_a_quiet_host_signs_after_a_while(timed: Api, clock: ManualClock) -> None:
    """The protocol recommends it: by number or by time, whichever comes first."""
    await changes(timed, 2)
    assert (await verified(timed))["checkpoints"] == []
    clock.advance(300)
    await changes(timed, 1)
    assert [c["atSequence"] for c in (await verified(timed))["checkpoints"]] == [2]
    await changes(timed, 9)
    assert [c["atSequence"] for c in (await verified(timed))["checkpoints"]] == [2]
    await changes(timed, 1)
    assert [c["atSequence"] for c in (await verified(timed))["checkpoints"]] == [2, 12]


@pytest.mark.parametrize(
    "query", ["", "fromSeq=0", "toSeq=3", "fromSeq=-1&toSeq=3", "fromSeq=x&toSeq=3", "fromSeq=4&toSeq=3"]
)
async def test_a_range_that_is_none_is_refused(api: Api, query: str) -> None:
    assert refusal(await api.http.get(f"/v1/audit/verify?{query}")) == (400, "validation_error")


async def test_the_log_has_a_scope_of_its_own() -> None:
    """The protocol demands `audit:read`."""
    async with DevHost(api_keys=[ApiKey("hk_test_x", SCOPES - {"audit:read"})]) as host:
        response = await host.http_client().get("/v1/audit/verify?fromSeq=0&toSeq=1")
        assert refusal(response) == (403, "forbidden")
        assert response.json()["details"] == {"scopeRequired": "audit:read"}
