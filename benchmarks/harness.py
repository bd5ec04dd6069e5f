"""Runs measurements: starts the server, keeps it and the contenders on different cores, alternates them in rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.jobs import LABELS, Figures, Job

ROOT = Path(__file__).parent.parent
REFERENCE = "openwop-client==1.1.7"
REFERENCE_FOLDER = ROOT / ".venv-bench-reference"
JOB_S = 300.0
INSTALL_S = 300.0

Rounds = dict[str, list[Figures]]
"""The figures of each contender, one entry per round."""


@dataclass(frozen=True)
class Scale:
    """How large the measurements are."""

    rounds: int = 5
    events: int = 200_000
    requests: int = 2_000
    runs: int = 10_000
    open_streams: int = 1_000
    silent_streams: int = 3_000
    watch_s: float = 10.0
    memory_events: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    cancelled: int = 8_000
    imports: int = 11
    host_runs: int = 5_000
    host_stored: int = 10_000


FULL = Scale()
QUICK = Scale(
    rounds=3, events=20_000, requests=500, runs=2_000, open_streams=200, silent_streams=500, watch_s=3.0,
    memory_events=(1_000, 50_000, 200_000), cancelled=1_000, imports=5, host_runs=1_000, host_stored=2_000,
)  # fmt: skip


class MeasurementFailed(Exception):
    """A contender did not get through its job."""


@dataclass
class Harness:
    """What scenarios measure with."""

    scale: Scale
    url: str
    secure_url: str
    certificate: str
    server_core: int | None
    client_core: int | None
    reference_python: str | None
    log: list[dict[str, object]] = field(default_factory=list)
    """Every single measurement, for the JSON file."""

    def run(self, job: Job) -> Figures:
        """Do one measurement in a fresh interpreter, with the contender's own environment."""
        python = self.reference_python if job.contender == "reference" else sys.executable
        assert python is not None
        secure = job.certificate is not None
        job = replace(
            job,
            base_url=self.secure_url if secure else self.url,
            core=self.client_core,
            server_core=self.server_core,
        )
        try:
            done = subprocess.run(
                [python, "-m", "benchmarks.worker", json.dumps(asdict(job))],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=JOB_S,
                check=False,
            )
        except subprocess.TimeoutExpired as slow:
            raise MeasurementFailed(f"{label(job.contender)}, {job}: not done in {JOB_S:.0f} s") from slow
        if done.returncode != 0:
            raise MeasurementFailed(f"{label(job.contender)}, {job}:\n{done.stderr.strip()[-2000:]}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        self.log.append({"job": asdict(job), "figures": figures})
        return figures

    def rounds(self, jobs: Mapping[str, Job]) -> Rounds:
        """Measure all jobs in turn, and that several times: what changes on the machine meanwhile hits all alike."""
        results: Rounds = {name: [] for name in jobs}
        for _ in range(self.scale.rounds):
            for name, job in jobs.items():
                if name not in results:
                    continue
                try:
                    results[name].append(self.run(job))
                except MeasurementFailed as failure:
                    # The others are still worth measuring; what needs this one is reported as not measured.
                    print(f"\nleft out from here on: {failure}", file=sys.stderr, flush=True)
                    del results[name]
        return results

    def present(self, *contenders: str) -> list[str]:
        """Return the contenders that can be measured here."""
        return [name for name in contenders if name != "reference" or self.reference_python is not None]


def median(rounds: list[Figures], name: str, per: str | None = None) -> float:
    """Return the median of a figure, or of its quotient with another one."""
    return statistics.median(entry[name] / (entry[per] if per else 1.0) for entry in rounds)


def ratio(
    rounds: Rounds, above: str, below: str, name: str = "cpu_s", per: str | None = None
) -> float | None:
    """Return the median over the rounds of one contender's figure divided by the other's; ``None``: one is missing."""
    if above not in rounds or below not in rounds:
        return None
    pairs = zip(rounds[above], rounds[below], strict=True)
    return statistics.median(
        (a[name] / (a[per] if per else 1.0)) / (b[name] / (b[per] if per else 1.0)) for a, b in pairs
    )


def label(contender: str) -> str:
    """Return how a contender is called in tables."""
    return LABELS.get(contender, contender)


def clean_environment() -> dict[str, str]:
    """Return the environment without proxies and without settings for a client of this package."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("OPENWOP_", "SSL_CERT_"))
    }


# -- setting up -----------------------------------------------------------------------------------------------


def reference_python() -> str | None:
    """Return the interpreter of the reference client's own environment, made on first use; ``None`` if it cannot be."""
    folder = "Scripts" if os.name == "nt" else "bin"
    python = REFERENCE_FOLDER / folder / "python"
    check = [
        str(python),
        "-c",
        f"import importlib.metadata as m; assert m.version('openwop-client') == '{_pin()}'",
    ]
    if (
        python.exists()
        and subprocess.run(check, capture_output=True, check=False, timeout=60).returncode == 0
    ):
        return str(python)
    print(f"making the environment of {REFERENCE} …", flush=True)
    try:
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", REFERENCE_FOLDER], check=True, timeout=INSTALL_S
        )
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REFERENCE]
        subprocess.run(install, check=True, timeout=INSTALL_S)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the reference client is left out: {error}", file=sys.stderr)
        return None
    return str(python)


def _pin() -> str:
    return REFERENCE.partition("==")[2]


def make_certificate(folder: Path) -> tuple[str, str]:
    """Make a certificate for the loopback interface, with the ``openssl`` program."""
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += [
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
    ]
    subprocess.run(
        [*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60
    )
    return certificate, key


@contextmanager
def _server(certificate: str, key: str, core: int | None) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "benchmarks.server", "--certificate", certificate, "--key", key]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            assert process.stdout is not None
            ready, *ports = process.stdout.readline().split() or [""]
            if ready != "READY":
                raise RuntimeError("the benchmark server did not start")
            yield int(ports[0]), int(ports[1])
        finally:
            process.terminate()


def _raise_file_limit() -> None:
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _two_cores() -> tuple[int | None, int | None]:
    """A core for the server and one for the clients, where the machine has two and lets us choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) >= 2 else (None, None)


@contextmanager
def open_harness(scale: Scale, *, with_reference: bool) -> Iterator[Harness]:
    """Start the server and yield what scenarios measure with."""
    _raise_file_limit()
    server_core, client_core = _two_cores()
    reference = reference_python() if with_reference else None
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = make_certificate(Path(folder))
        with _server(certificate, key, server_core) as (port, secure_port):
            yield Harness(
                scale=scale,
                url=f"http://127.0.0.1:{port}",
                secure_url=f"https://127.0.0.1:{secure_port}",
                certificate=certificate,
                server_core=server_core,
                client_core=client_core,
                reference_python=reference,
            )
