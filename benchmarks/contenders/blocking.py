"""The blocking client, and what it is measured against: the async one behind a plain ``portal.call`` of anyio."""

from __future__ import annotations

from anyio.from_thread import start_blocking_portal

from benchmarks import bodies
from benchmarks.jobs import Figures, Job
from benchmarks.measuring import drive_threads, stopwatch
from openwop import AsyncOpenwopClient, OpenwopClient
from openwop.sync._portal import Portal

_RUN = {
    "inputs": {"order": 1234, "lines": [1, 2, 3]},
    "tags": ["bench"],
    "metadata": {"tenant": "acme"},
}


def stream(job: Job) -> Figures:
    """Read one event stream to its end."""
    figures: Figures = {}
    count = 0
    with OpenwopClient(job.base_url, "key") as client:
        client.ready()
        with stopwatch(figures), client.runs.events(job.run_id) as events:
            for _ in events:
                count += 1
    return figures | {"events": count}


def requests(job: Job) -> Figures:
    """Alternate a POST and a GET, one thread for each request in flight."""
    if job.contender == "openwop-portal":
        return _requests_through_anyio(job)
    with OpenwopClient(job.base_url, "key") as client:
        client.ready()

        def one(number: int) -> object:
            if number % 2 == 0:
                return client.runs.create("wf.orders.v3", **_RUN)
            return client.runs.get(bodies.RUN_ID)

        return drive_threads(one, concurrency=job.concurrency, total=job.count)


def _requests_through_anyio(job: Job) -> Figures:
    with start_blocking_portal() as portal:
        client = AsyncOpenwopClient(job.base_url, "key")
        portal.call(client.ready)

        async def post() -> object:
            return await client.runs.create("wf.orders.v3", **_RUN)

        def one(number: int) -> object:
            return portal.call(post) if number % 2 == 0 else portal.call(client.runs.get, bodies.RUN_ID)

        figures = drive_threads(one, concurrency=job.concurrency, total=job.count)
        portal.call(client.aclose)
        return figures


async def _nothing() -> None:
    pass


def crossings(job: Job) -> Figures:
    """Call a function that does nothing, which leaves the way there and back."""
    if job.contender == "openwop-portal":
        with start_blocking_portal() as portal:
            return drive_threads(
                lambda _: portal.call(_nothing), concurrency=job.concurrency, total=job.count
            )
    own = Portal()
    figures = drive_threads(lambda _: own.call(_nothing), concurrency=job.concurrency, total=job.count)
    own.close()
    return figures
