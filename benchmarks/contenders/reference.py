"""``openwop-client``, the reference SDK: blocking, on urllib; threads give it concurrency.

It is imported by name, because it lives in an environment of its own that type checkers do not see.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from benchmarks import bodies
from benchmarks.jobs import Figures, Job
from benchmarks.measuring import drive_threads, stopwatch


def _client(job: Job) -> tuple[Any, Any]:
    if job.certificate is not None:
        os.environ["SSL_CERT_FILE"] = job.certificate  # urllib has no other way to be told
    package = importlib.import_module("openwop_client")
    return package, package.OpenwopClient(job.base_url, "key")


def stream(job: Job) -> Figures:
    """Read one event stream to its end."""
    _, client = _client(job)
    figures: Figures = {}
    count = 0
    with stopwatch(figures):
        for _ in client.runs_events(job.run_id):
            count += 1
    return figures | {"events": count}


def requests(job: Job) -> Figures:
    """Alternate a POST and a GET, one thread for each request in flight."""
    package, client = _client(job)
    run = package.CreateRunRequest(**bodies.CREATE_RUN)

    def one(number: int) -> object:
        return client.runs_create(run) if number % 2 == 0 else client.runs_get(bodies.RUN_ID)

    return drive_threads(one, concurrency=job.concurrency, total=job.count)
