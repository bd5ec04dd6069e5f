"""What large bodies do to files and to the connection when something comes in between."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Any

import anyio
import pytest

from openwop import ApiError, RequestValidationError
from support.clients import MakeClient
from support.fault_server import Body, FaultServer, Head, Script, Stall, error_response, json_response

pytestmark = pytest.mark.anyio

NAME, VERSION = "vendor.acme.tools", "1.0.0"
PATH = f"/v1/packs-test/{NAME}/-/{VERSION}.tgz"
DATA = os.urandom(100_000)

needs_asyncio = pytest.mark.parametrize("variant", ["own", "caller", "aiohttp"], indirect=True)


def whole() -> Script:
    return (Head(200, (("Content-Length", str(len(DATA))),)), Body(DATA))


def created() -> Script:
    return json_response(201, {"name": NAME, "version": VERSION})


class SlowOpen:
    """``open`` in a thread that stops before it returns, as on a slow disk."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.done = threading.Event()
        self.files: list[IO[Any]] = []

    def __call__(self, *args: Any, **options: Any) -> IO[Any]:
        self.reached.set()
        assert self.go_on.wait(10)
        file: IO[Any] = builtins.open(*args, **options)  # noqa: SIM115 - what is tested closes it
        self.files.append(file)
        self.done.set()
        return file

    async def cancelled_meanwhile(self, work: Callable[[], Any]) -> None:
        task = asyncio.ensure_future(work())
        assert await asyncio.to_thread(self.reached.wait, 5)
        task.cancel()
        await asyncio.wait([task], timeout=0.05)  # time for who does not wait for the thread
        self.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(self.done.wait, 5)


@needs_asyncio
async def test_a_task_cancelled_while_the_file_is_made_leaves_none(
    server: FaultServer, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: also for asyncio's own cancellation, which goes through anyio's shields."""
    slow = SlowOpen()
    monkeypatch.setattr("openwop.downloads.open", slow, raising=False)
    client = make_client(server)
    await slow.cancelled_meanwhile(
        lambda: client.packs_test.tarball(NAME, VERSION).save(tmp_path / "pack.tgz")
    )
    assert os.listdir(tmp_path) == []
    assert slow.files[0].closed
    assert server.requests == ()


@needs_asyncio
async def test_a_task_cancelled_while_the_source_is_opened_closes_it(
    server: FaultServer, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pack.tgz"
    path.write_bytes(DATA)
    slow = SlowOpen()
    monkeypatch.setattr("openwop._http.upload.open", slow, raising=False)
    client = make_client(server)
    await slow.cancelled_meanwhile(lambda: client.packs_test.publish(NAME, VERSION, path))
    assert slow.files[0].closed
    assert server.requests == ()


@needs_asyncio
async def test_a_cancelled_save_has_not_replaced_the_file(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """We chose it: at whatever turn of the loop the cancellation comes, an error means that nothing changed."""
    target = tmp_path / "pack.tgz"
    client = make_client(server)
    turns, finished = 0, 0
    while finished < 3:  # from the first turn on, until there is nothing left to cancel
        server.on("GET", PATH, whole())
        target.write_bytes(b"before")
        task = asyncio.ensure_future(client.packs_test.tarball(NAME, VERSION).save(target))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert target.read_bytes() == b"before"
        else:
            finished += 1
            assert target.read_bytes() == DATA
        assert os.listdir(tmp_path) == ["pack.tgz"]
        turns += 1 + turns // 8


@needs_asyncio
async def test_a_cancelled_download_leaves_no_connection_at_whatever_turn(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """Stock httpx loses a connection whose reader is cancelled natively."""
    head = Head(200, (("Content-Length", str(len(DATA))), ("Connection", "close")))
    server.on("GET", PATH, (head, Body(DATA), Stall()))  # so that only the client can have closed it
    client = make_client(server)
    for turns in range(200):
        task = asyncio.ensure_future(client.packs_test.tarball(NAME, VERSION).save(tmp_path / "pack.tgz"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await server.until_closed()


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")
async def test_a_saved_file_keeps_the_permissions_and_the_link_of_the_one_before(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """We chose it: what only its owner could read stays so, and a link goes on leading to the file."""
    server.on("GET", PATH, whole())
    real, link = tmp_path / "real.tgz", tmp_path / "link.tgz"
    real.write_bytes(b"before")
    real.chmod(0o600)
    link.symlink_to(real.name)
    await make_client(server).packs_test.tarball(NAME, VERSION).save(link)
    assert link.is_symlink()
    assert real.read_bytes() == DATA
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
async def test_what_is_no_file_is_not_replaced_by_one(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """We chose it: a folder, a pipe or a device is refused before anything is asked for."""
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    client = make_client(server)
    for target in (pipe, folder, f"{tmp_path}/a\0b"):
        with pytest.raises(RequestValidationError, match="path"):
            await client.packs_test.tarball(NAME, VERSION).save(target)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]
    assert server.requests == ()


async def test_a_full_disk_leaves_no_part_of_a_small_file(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """A small body is written only when the file is flushed, and closing it then fails a second time."""
    resource = pytest.importorskip("resource")
    server.on("GET", PATH, (Head(200, (("Content-Length", "900"),)), Body(DATA[:900])))
    client = make_client(server)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            await client.packs_test.tarball(NAME, VERSION).save(tmp_path / "pack.tgz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


async def test_a_download_of_which_a_part_was_read_is_not_saved_as_if_it_were_whole(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    server.on("GET", PATH, whole())
    async with make_client(server).packs_test.tarball(NAME, VERSION) as download:
        await anext(download)
        with pytest.raises(RuntimeError, match="part"):
            await download.save(tmp_path / "pack.tgz")
        with pytest.raises(RuntimeError, match="part"):
            await download.read()
    assert os.listdir(tmp_path) == []


async def test_an_opened_download_is_saved_whole(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    server.on("GET", PATH, whole())
    async with make_client(server).packs_test.tarball(NAME, VERSION) as download:
        await download.save(tmp_path / "pack.tgz")
    assert (tmp_path / "pack.tgz").read_bytes() == DATA


# -- up -----------------------------------------------------------------------------------------------------------


async def test_an_iterable_with_a_hole_is_not_half_a_pack(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: ``None`` among the pieces is a mistake, and not the end of them."""
    holed: Any = iter([DATA, None, DATA])
    with pytest.raises(RequestValidationError, match="NoneType"):
        await make_client(server).packs_test.publish(NAME, VERSION, holed)
    assert server.requests == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
async def test_a_named_pipe_is_refused_and_not_waited_for(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """Opening one waits for a writer, in a thread that no cancellation ends."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    late = threading.Timer(3, lambda: _open_and_close(pipe))  # so that a failure of this test comes to an end
    late.start()
    try:
        began = anyio.current_time()
        with pytest.raises(RequestValidationError, match="regular file"):
            await make_client(server).packs_test.publish(NAME, VERSION, pipe)
        assert anyio.current_time() - began < 2
    finally:
        late.cancel()


def _open_and_close(pipe: Path) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


async def test_sources_that_cannot_be_read_are_named(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """We chose it: a path that is none and a file that was closed are bad arguments like any other."""
    closed = (tmp_path / "pack.tgz").open("wb+")
    closed.close()
    client = make_client(server)
    for wrong in ("a\0b", closed):
        with pytest.raises(RequestValidationError, match="tarball: cannot be read"):
            await client.packs_test.publish(NAME, VERSION, wrong)
    assert server.requests == ()


async def test_a_view_with_steps_is_sent_as_what_it_shows(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("PUT", PATH, created())
    await make_client(server).packs_test.publish(NAME, VERSION, memoryview(DATA)[::2])
    assert server.requests[0].body == DATA[::2]


async def test_a_generator_ends_with_the_call(server: FaultServer, make_client: MakeClient) -> None:
    """We chose it: what it holds is let go of when the call is over, like what an async one holds."""
    server.on("PUT", PATH, error_response(400, "invalid_body"))
    ended: list[bool] = []

    def source() -> Iterator[bytes]:
        try:
            yield DATA
            yield 7  # type: ignore[misc]
        finally:
            ended.append(True)

    given = source()
    with pytest.raises(RequestValidationError):
        await make_client(server).packs_test.publish(NAME, VERSION, given)
    assert ended == [True]


@pytest.mark.parametrize("variant", ["own", "aiohttp"], indirect=True)
@pytest.mark.parametrize("slow_source", [False, True], ids=["held up", "slow"])
async def test_an_error_in_the_middle_of_the_body_ends_the_sending(
    make_client: MakeClient, slow_source: bool
) -> None:
    """RFC 9112 says so; a host that has refused may read no more, and what it would read is sent for nothing."""
    over = asyncio.Event()
    refused = asyncio.Event()
    refusal = b'{"error": "tarball_too_large", "message": "no"}'

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nContent-Length: 47\r\n\r\n"
        )
        writer.write(refusal)
        refused.set()
        await over.wait()  # neither reads nor closes
        writer.close()

    async def slow() -> AsyncIterator[bytes]:
        yield DATA
        await refused.wait()
        while True:
            yield DATA[:1]
            await asyncio.sleep(0)

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        client = make_client(f"http://{host}:{port}", max_retries=0)
        source: Any = slow() if slow_source else bytes(32 * 1024 * 1024)
        with (
            anyio.fail_after(4),
            pytest.raises(ApiError) as caught,
        ):  # sooner than the time limit of the client
            await client.packs_test.publish(NAME, VERSION, source)
        over.set()
    assert caught.value.code == "tarball_too_large"
