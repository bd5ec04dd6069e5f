"""Live calls: what runs ask, and answers to it, by node and by token."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from contract.live.kit import PATIENCE_S, Live, answers, refuses
from openwop import ApiError, EventType, Interrupt, NotFoundError

MINT = "/v1/host/sample/test/interrupt-tokens"
"""Where the development host signs a token for a test key; elsewhere only a callback brings one."""
FOREIGN_TOKEN = "bm9ib2R5.c2lnbmVkLXRoaXM"


async def asked(live: Live) -> Interrupt:
    """Start a run that asks, and wait until it does."""
    run_id = await live.started("asking")
    with anyio.fail_after(PATIENCE_S):
        await live.event(run_id, EventType.INTERRUPT_REQUESTED, EventType.NODE_SUSPENDED)
        pending = await live.client.get_run_handle(run_id).interrupts()
    assert len(pending) == 1, f"the run has asked, and {len(pending)} interrupts are pending"
    return pending[0]


def answer_to(live: Live, interrupt: Interrupt) -> Any:
    """What the settings say, or consent to an approval."""
    given = live.host.workflows.get("asking")
    if isinstance(given, dict) and "answer" in given:
        return given["answer"]
    if interrupt.kind != "approval":
        pytest.skip(f"the run asks for {interrupt.kind!r}, and the settings have no answer to it")
    return {"action": "accept"}


async def token_for(live: Live, interrupt: Interrupt) -> str:
    """A token for an interrupt, where the host has a way for tests to get one."""
    body = {"runId": interrupt.run_id, "nodeId": interrupt.node_id}
    try:
        minted = await live.client.request("POST", MINT, json=body)
    except ApiError as error:
        pytest.skip(
            f"tokens come by callback, and the host makes none for tests ({error.status} {error.code})"
        )
    return str(minted["token"])


@answers("resolveInterruptByRun")
async def answer_a_run(live: Live) -> Any:
    interrupt = await asked(live)
    answer = answer_to(live, interrupt)
    resolution = await live.client.interrupts.resolve(interrupt.run_id, interrupt.node_id, answer)
    await live.over(interrupt.run_id)
    return resolution


@answers("inspectInterruptByToken")
async def read_what_is_asked(live: Live) -> Any:
    return await live.client.interrupts.inspect(await token_for(live, await asked(live)))


@refuses("inspectInterruptByToken", NotFoundError)
async def read_with_a_foreign_token(live: Live) -> Any:
    return await live.client.interrupts.inspect(FOREIGN_TOKEN)


@answers("resolveInterruptByToken")
async def answer_with_a_token(live: Live) -> Any:
    interrupt = await asked(live)
    answer = answer_to(live, interrupt)
    resolution = await live.client.interrupts.resolve_token(await token_for(live, interrupt), answer)
    await live.over(interrupt.run_id)
    return resolution


@refuses("resolveInterruptByToken", NotFoundError)
async def answer_with_a_foreign_token(live: Live) -> Any:
    return await live.client.interrupts.resolve_token(FOREIGN_TOKEN, {"action": "accept"})
