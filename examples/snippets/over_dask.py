"""A fan-out over a Dask cluster, here one of two worker processes on this machine."""

import tempfile

from distributed import Client, LocalCluster

from openwop import RunSpec
from openwop.integrations.dask import fan_out


def main() -> None:
    with local_cluster() as local, Client(local) as cluster, tempfile.TemporaryDirectory() as shared:
        spread(cluster, shared)


def spread(cluster: Client, folder: str) -> None:
    # --8<-- [start:dask]
    specs = (RunSpec("conformance-noop", inputs={"row": row}) for row in range(200))
    with fan_out(cluster, specs, partition_size=25, journal_dir=folder) as outcomes:
        runs = {outcome.run_id for outcome in outcomes}  # a partition at a time, as they finish
    # --8<-- [end:dask]
    print(f"{len(runs)} runs, {outcomes.progress.completed} completed")


def local_cluster() -> LocalCluster:
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1")


if __name__ == "__main__":
    main()
