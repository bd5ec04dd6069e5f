"""One measurement in a fresh interpreter: ``python -m benchmarks.worker JOB``, the job as JSON, the figures as JSON.

The reference client runs in an environment of its own, so nothing but the standard library is imported here before the
contender's module is.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

from benchmarks.jobs import CONTENDERS, Job


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})
    module = importlib.import_module(CONTENDERS[job.contender])
    figures = getattr(module, job.task)(job)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
