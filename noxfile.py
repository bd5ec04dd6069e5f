"""Everything that is checked before a change lands.

``nox`` runs the checks that a change must pass; ``nox -s NAME`` runs one of them. A Python that is not on
this machine is skipped, and nox says so. ``nox -s bench`` prints figures and judges nothing, so it is not
among the defaults.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "tests", "contract", "coverage", "wheel"]

ROOT = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13"]
GROUPS = nox.project.load_toml("pyproject.toml")


def install_group(session: nox.Session, name: str) -> None:
    """Install one of pyproject's dependency groups; the pip of an older Python cannot read them itself."""
    session.install("-q", *nox.project.dependency_groups(GROUPS, name))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, import rules; that models, operations and OpenAPI document agree, and both clients."""
    session.install("-q", "-e", ".[cli,dask,devhost,fastapi,keyring,otel,redis]")
    install_group(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    session.run("python", "tools/gen_models.py", "--check")
    session.run("python", "tools/gen_sync.py", "--check")
    session.run("python", "tools/check_spec.py")
    session.run("python", "tools/public_api.py", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly and twice: users of the package have one of the two checkers, or both."""
    session.install("-q", "-e", ".[dev]")
    install_group(session, "types")
    session.run("mypy")
    session.run("pyright", "--pythonpath", shutil.which("python", path=session.bin) or "python")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests on one Python; arguments after ``--`` go to pytest."""
    session.install("-q", "-e", ".[dev]")
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2"]))


@nox.session
def contract(session: nox.Session) -> None:
    """Let schemathesis try the development host with the document: every answer conforms, none is a failure."""
    session.install("-q", "-e", ".[dev]")
    install_group(session, "contract")
    session.run(
        "python", "-m", "pytest", "-n", "2", "tests/contract/test_host_conformance.py", *session.posargs
    )


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure branch coverage: all of the pure core, and at least 95 % of everything."""
    session.install("-q", "-e", ".[dev]")
    session.run("coverage", "erase")
    session.run("python", "-m", "pytest", "-n", "2", "--cov", "--cov-report=", *session.posargs)
    session.run("coverage", "report", "--include=*/openwop/_core/*", "--fail-under=100")
    session.run("coverage", "report")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the sdist and the wheel from it, and test the wheel where the source tree cannot be seen."""
    install_group(session, "build")
    work = Path(session.create_tmp()).resolve()
    dist, away = work / "dist", work / "away"
    for folder in (dist, away):
        shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist), ".", silent=True)
    session.run("twine", "check", "--strict", *map(str, sorted(dist.iterdir())))
    built = next(dist.glob("*.whl"))

    # The tests are copied without `src`: what they import can only be what the wheel brought.
    away.mkdir()
    shutil.copytree(ROOT / "tests", away / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", away)
    session.chdir(away)
    for extras in ("", "[cli,devhost]", "[dask,fastapi,keyring,otel,redis]", "[dev]"):
        venv = work / "venv"
        shutil.rmtree(venv, ignore_errors=True)
        session.run("python", "-m", "virtualenv", "-q", str(venv))
        python = venv / ("Scripts/python.exe" if (venv / "Scripts").is_dir() else "bin/python")
        session.run(str(python), "-m", "pip", "install", "-q", f"{built}{extras}", external=True)
        session.run(
            str(python), "-I", "tests/install_smoke/smoke.py", extras, str(ROOT / "src"), external=True
        )
        if extras == "[dev]":
            session.run(str(python), "-m", "pytest", "-n", "2", "tests/client", external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Print figures of speed and memory against the peers; nothing here passes or fails."""
    session.install("-q", "-e", ".[dev]")  # the reference client gets an environment of its own
    session.run("python", "-m", "benchmarks", *session.posargs)
