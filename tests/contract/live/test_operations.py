"""Every operation of the document, called on real hosts: one answer, and one refusal.

By itself this starts development hosts. ``docs/contract-tests.md`` says how to try another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from types import NoneType

import pytest

from contract.live import calls_catalogs, calls_interrupts, calls_kept, calls_runs
from contract.live.judge import ROWS, documented, faults
from contract.live.kit import ANSWERS, DENIED_BY, NEVER_REFUSED, REFUSES, Live
from contract.spec_support import misfits
from openwop import ApiError, CapabilityNotSupportedError, OpenwopError
from openwop._core.dialect import V1
from openwop.models import Capabilities

CALLS = (calls_catalogs, calls_interrupts, calls_kept, calls_runs)
"""What fills ``ANSWERS`` and ``REFUSES``."""
REFUSED_FOR = {"streamRunEvents": "pollRunEvents"}
"""A stream that is refused with 404 is looked for by polling, and the error is that of the poll."""
CALL_S = 60


@pytest.mark.asyncio
@pytest.mark.parametrize("operation", sorted(documented()))
async def test_an_operation_answers_as_the_document_says(operation: str, live: Live) -> None:
    """The protocol demands it: a documented status, a body of its schema, and nothing that the client cannot read."""
    async with _offered(live, operation):
        result = await ANSWERS[operation](live)
    _judge(live, operation)
    statuses = {exchange.status for exchange in live.exchanges_of(operation)}
    assert statuses & {200, 201, 202, 204}, f"{operation} was never answered with success: {sorted(statuses)}"
    assert (result is None) == (ROWS[operation].response is NoneType and operation != "streamRunEvents")
    unread = list(misfits(result, "answer"))
    assert not unread, f"{operation}: the client cannot read {', '.join(unread)}"


@pytest.mark.asyncio
@pytest.mark.parametrize("operation", sorted(documented().keys() - NEVER_REFUSED.keys()))
async def test_an_operation_refuses_as_the_document_says(operation: str, live: Live) -> None:
    """The protocol demands it: a documented status, an error envelope, and so an error of the fitting class."""
    kinds, call = REFUSES[operation]
    async with _offered(live, operation):
        error = await _refusal(operation, call(live))
    _judge(live, operation)
    fitting = " or ".join(kind.__name__ for kind in kinds)
    assert isinstance(error, kinds), f"{operation}: {error!r} is no {fitting}"
    assert error.status == live.exchanges_of(operation)[-1].status


async def _refusal(operation: str, call: Awaitable[object]) -> ApiError:
    """The error of a call; that of another operation, which was needed first, is not it."""
    try:
        await call
    except CapabilityNotSupportedError:
        raise
    except ApiError as error:
        if error.operation in (operation, REFUSED_FOR.get(operation)):
            return error
        raise
    raise AssertionError(f"{operation}: the host did not refuse it")


def _judge(live: Live, operation: str) -> None:
    """Hold what was answered on the way to the document; faults of other operations fail their own tests."""
    for exchange in live.exchanges:
        for fault in faults(exchange):
            assert exchange.operation != operation, fault
            if exchange.operation != "getCapabilities":  # which is on every way
                live.note(f"on the way: {fault}")


@asynccontextmanager
async def _offered(live: Live, operation: str) -> AsyncIterator[None]:
    """Skip what cannot be tried on a host; on one that was started for these tests, everything can."""
    try:
        async with _skipping(live, operation):
            yield
    except pytest.skip.Exception as skipped:
        if live.host.own:
            raise AssertionError(f"skipped, on a host that has everything: {skipped}") from skipped
        raise


@asynccontextmanager
async def _skipping(live: Live, operation: str) -> AsyncIterator[None]:
    """Skip what the host says that it does not offer; what it says that it offers has to be there."""
    known = await live.known()
    _skip_what_is_not_advertised(known, operation)
    try:
        async with asyncio.timeout(CALL_S):
            yield
    except CapabilityNotSupportedError as error:
        told_before = error.status is None  # of something that this operation needs
        offered = known is not None and error.capability is not None and known.supports(error.capability)
        if told_before or (error.capability is not None and not offered):
            pytest.skip(str(error))
        raise
    except (OpenwopError, AssertionError) as error:
        # What is wrong with the answer says more than what came of it.
        wrong = [fault for exchange in live.exchanges_of(operation) for fault in faults(exchange)]
        if wrong:
            raise AssertionError(wrong[0]) from error
        raise
    except TimeoutError as error:
        raise AssertionError(f"{operation}: what should have come did not come in time") from error


def _skip_what_is_not_advertised(known: Capabilities | None, operation: str) -> None:
    if known is None:
        return
    for name, may_be_silent in (
        (documented()[operation].capability, V1.core_capabilities),
        (DENIED_BY.get(operation), frozenset(DENIED_BY.values())),
    ):
        said = None if name is None else known.advertises(name)
        if name is not None and (said is False or (said is None and name not in may_be_silent)):
            how = "says so" if said is False else "does not mention it"
            pytest.skip(f"{operation}: the host does not offer {name!r}: its discovery document {how}")
