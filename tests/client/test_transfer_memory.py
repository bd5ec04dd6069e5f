"""How much memory a large body takes: the client in a process of its own, a real socket to a server in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.test_transfers import NAME, PATH, PUBLISHED, VERSION
from support.fault_server import FaultServer, bytes_response, json_response

pytest.importorskip("resource", reason="this system does not tell a process how much memory it took")

BODY_BYTES = 50 * 1024 * 1024
ALLOWED_GROWTH_BYTES = 12 * 1024 * 1024

PROGRAM = """
import json, resource, sys
import anyio, httpx
from openwop import AsyncOpenwopClient

url, kind, folder, name, version = sys.argv[1:]

def peak():
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024

async def pieces(count):
    for _ in range(count):
        yield bytes(1024 * 1024)

async def main():
    options = {"protocol": "1", "max_retries": 0}
    if kind == "caller":
        options["http_client"] = httpx.AsyncClient(trust_env=False, timeout=None)
    elif kind == "aiohttp":
        options["transport"] = "aiohttp"
    async with AsyncOpenwopClient(url, **options) as client:
        packs = client.packs_test

        async def every_way(source, count, target):
            await packs.publish(name, version, source)
            await packs.publish(name, version, pieces(count))
            await packs.tarball("small.pack.x" if count == 1 else name, version).save(target)

        await every_way(folder + "/small", 1, folder + "/small.out")   # everything is imported and warm now
        before = peak()
        await every_way(folder + "/large", 50, folder + "/large.out")
        print(json.dumps(peak() - before))
    if "http_client" in options:
        await options["http_client"].aclose()

anyio.run(main, backend="trio" if kind == "trio" else "asyncio")
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["own", "caller", "aiohttp", "trio"])
def test_fifty_megabytes_go_both_ways_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    """We chose it: from a file, from an iterable, and into a file, only a small piece is in memory at a time."""
    body = os.urandom(1024) * (BODY_BYTES // 1024)
    (tmp_path / "small").write_bytes(bytes(1024 * 1024))
    (tmp_path / "large").write_bytes(body)
    with FaultServer() as server:
        server.on("PUT", PATH, json_response(201, PUBLISHED))
        server.on("GET", PATH, bytes_response(200, body, "application/tar+gzip"))
        small = PATH.replace(NAME, "small.pack.x")
        server.on("GET", small, bytes_response(200, bytes(1024 * 1024), "application/tar+gzip"))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, server.base_url, kind, str(tmp_path), NAME, VERSION],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=150,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        sent = [request.body for request in server.requests if request.method == "PUT"]
    assert sent[2] == body
    assert sent[3] == bytes(BODY_BYTES)
    assert (tmp_path / "large.out").read_bytes() == body
    assert json.loads(done.stdout) < ALLOWED_GROWTH_BYTES
