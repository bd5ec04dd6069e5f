"""Bodies that are sent and read piece by piece, over every way to the wire, with everything that can go wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from openwop import (
    ApiError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    NotFoundError,
    OpenwopError,
    RateLimitedError,
    RequestTimeoutError,
    RequestValidationError,
    ResponseDecodeError,
    ServerError,
)
from openwop._http.upload import PIECE_BYTES, sri
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from support.clients import MakeClient
from support.fault_server import (
    Body,
    Close,
    Drip,
    FaultServer,
    Head,
    Reset,
    Script,
    Signal,
    Stall,
    StopReading,
    bytes_response,
    error_response,
    json_response,
    redirect,
)

pytestmark = pytest.mark.anyio

NAME, VERSION = "vendor.acme.tools", "1.0.0"
PATH = f"/v1/packs-test/{NAME}/-/{VERSION}.tgz"
SIGNATURE = f"/v1/packs-test/{NAME}/-/{VERSION}.sig"
DATA = os.urandom(5 * PIECE_BYTES + 17)
CHECKSUM = sri(hashlib.sha256(DATA).digest())
PUBLISHED = {
    "name": NAME,
    "version": VERSION,
    "tarballSha256": CHECKSUM,
    "publishedAt": "2026-01-01T00:00:00Z",
}


def created() -> Script:
    return json_response(201, PUBLISHED)


async def pieces() -> AsyncIterator[bytes]:
    yield DATA[:100]
    yield b""
    yield DATA[100:]


def sources(tmp_path: Path) -> dict[str, Any]:
    """The same bytes, in every form in which they can be given."""
    path = tmp_path / "pack.tgz"
    path.write_bytes(DATA)
    file = io.BytesIO(b"skipped" + DATA)
    file.seek(len("skipped"))
    return {
        "bytes": DATA, "bytearray": bytearray(DATA), "memoryview": memoryview(DATA), "path": path, "text": str(path),
        "file": file, "iterable": iter([DATA[:7], DATA[7:]]), "async": pieces(),
    }  # fmt: skip


ONE_SHOT = ("iterable", "async")
FORMS = ("bytes", "bytearray", "memoryview", "path", "text", "file", *ONE_SHOT)


# -- up -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
async def test_whatever_holds_the_bytes_they_arrive_whole(
    server: FaultServer, make_client: MakeClient, tmp_path: Path, form: str
) -> None:
    """We chose it: the length goes out where it is known; the checksum where the bytes can be read twice."""
    server.on("PUT", PATH, created())
    published = await make_client(server).packs_test.publish(NAME, VERSION, sources(tmp_path)[form])
    (request,) = server.requests
    assert request.body == DATA
    assert published.tarball_sha256 == CHECKSUM
    assert request.headers["content-type"] == "application/gzip"
    if form in ONE_SHOT:
        assert request.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in request.headers
        assert "x-pack-sha256" not in request.headers
    else:
        assert request.headers["content-length"] == str(len(DATA))
        assert "transfer-encoding" not in request.headers
        assert request.headers["x-pack-sha256"] == CHECKSUM


async def test_an_empty_body_is_sent_as_one(server: FaultServer, make_client: MakeClient) -> None:
    server.on("PUT", PATH, created())
    client = make_client(server)
    await client.packs_test.publish(NAME, VERSION, b"")
    await client.packs_test.publish(NAME, VERSION, iter([]))
    assert [request.body for request in server.requests] == [b"", b""]


@pytest.mark.parametrize("form", ["bytes", "path", "file"])
@pytest.mark.parametrize(
    "fault",
    [
        error_response(429, "rate_limited", retry_after=0),
        error_response(503, "service_unavailable", retry_after=0),
        (Close(),),
        (Reset(),),
    ],
    ids=["429", "503", "closed", "reset"],
)
async def test_an_attempt_that_may_succeed_later_is_made_again_with_the_same_bytes(
    server: FaultServer, make_client: MakeClient, tmp_path: Path, form: str, fault: Script
) -> None:
    """The protocol demands that an attempt repeats the body; that a lost answer may be asked for again, it allows."""
    server.on("PUT", PATH, fault, created())
    await make_client(server).packs_test.publish(NAME, VERSION, sources(tmp_path)[form])
    first, second = server.requests
    assert first.body == second.body == DATA
    assert first.headers["x-pack-sha256"] == second.headers["x-pack-sha256"] == CHECKSUM


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["closed", "reset"])
async def test_a_connection_that_drops_in_the_middle_of_the_body_is_replaced(
    server: FaultServer, make_client: MakeClient, end: Any
) -> None:
    """We chose it: the whole body goes out again, since no host says how much of it came."""
    body = bytes(8 * 1024 * 1024)
    server.on_connect((StopReading(), end), ())
    server.on("PUT", PATH, created())
    await make_client(server).packs_test.publish(NAME, VERSION, body)
    (request,) = server.requests
    assert request.body == body
    assert request.connection > 1


@pytest.mark.parametrize("form", ONE_SHOT)
async def test_what_can_be_read_only_once_is_sent_only_once(
    server: FaultServer, make_client: MakeClient, tmp_path: Path, form: str
) -> None:
    """We chose it: half a body must never pass for the whole."""
    server.on("PUT", PATH, error_response(503, "service_unavailable", retry_after=0), created())
    with pytest.raises(ServerError, match="only once"):
        await make_client(server).packs_test.publish(NAME, VERSION, sources(tmp_path)[form])
    assert len(server.requests) == 1


async def test_what_can_be_read_only_once_is_not_read_before_there_is_a_connection(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: nothing of it is lost to a host that could not be reached at first."""
    server.on("PUT", PATH, created())
    read: list[int] = []

    async def source() -> AsyncIterator[bytes]:
        read.append(len(read))
        yield DATA

    client = make_client(server)
    with server.down(), pytest.raises(ConnectionFailedError):
        await client.packs_test.publish(NAME, VERSION, source())
    assert read == []


async def test_a_new_token_does_not_send_an_iterable_twice(
    server: FaultServer, make_client: MakeClient
) -> None:
    tokens = iter(["hk_old", "hk_new", "hk_newer", "hk_newest"])
    server.on("PUT", PATH, error_response(401, "key_expired"), created())
    with pytest.raises(ApiError) as caught:
        await make_client(server, api_key=lambda: next(tokens)).packs_test.publish(NAME, VERSION, pieces())
    assert caught.value.status == 401
    assert len(server.requests) == 1


async def test_a_refusal_that_comes_before_the_body_is_over_is_the_error(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: the host's answer says more than the connection that it then closed."""
    refusal = json_response(413, {"error": "tarball_too_large", "message": "no"}, connection="close")
    server.on_connect((*refusal, Close()))
    with pytest.raises((ApiError, ConnectionFailedError)) as caught:
        await make_client(server, max_retries=0).packs_test.publish(NAME, VERSION, bytes(32 * 1024 * 1024))
    assert isinstance(caught.value, ConnectionFailedError) or caught.value.code == "tarball_too_large"


async def test_a_conflict_is_told_and_not_tried_again(server: FaultServer, make_client: MakeClient) -> None:
    server.on("PUT", PATH, error_response(409, "version_conflict"))
    with pytest.raises(ConflictError):
        await make_client(server).packs_test.publish(NAME, VERSION, DATA)
    assert len(server.requests) == 1


async def test_a_body_goes_along_with_a_redirect_on_the_same_origin_only(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("PUT", PATH, redirect("/elsewhere"))
    server.on("PUT", "/elsewhere", created())
    client = make_client(server, api_key="hk_secret")
    await client.packs_test.publish(NAME, VERSION, DATA)
    assert [request.body for request in server.requests] == [DATA, DATA]
    with pytest.raises(ConfigurationError, match="only once"):
        await client.packs_test.publish(NAME, VERSION, iter([DATA]))
    with FaultServer() as other:
        server.on("PUT", PATH, redirect(f"{other.base_url}/elsewhere"))
        with pytest.raises(ConfigurationError, match="another origin"):
            await client.packs_test.publish(NAME, VERSION, DATA)
        assert other.requests == ()


async def test_a_slow_transfer_that_moves_is_not_cut_off(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: neither the time for one attempt nor that for the whole call ends a body that moves."""
    server.on("PUT", PATH, created())

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(6):
            await anyio.sleep(0.1)  # not a wait for something: this is the slow line
            yield bytes(PIECE_BYTES)

    client = make_client(server, timeout=0.3, total_timeout=0.4)
    await client.packs_test.publish(NAME, VERSION, slow())
    assert len(server.requests[0].body) == 6 * PIECE_BYTES


async def test_a_host_that_takes_nothing_is_a_timeout(server: FaultServer, make_client: MakeClient) -> None:
    """We chose it: every wait for the network has a bound."""
    server.on_connect((StopReading(), Stall()))
    client = make_client(server, timeout=0.3, max_retries=0)
    with anyio.fail_after(10), pytest.raises(RequestTimeoutError):
        await client.packs_test.publish(NAME, VERSION, bytes(32 * 1024 * 1024))
    server.drop_connections()


async def test_a_host_that_does_not_answer_is_a_timeout(server: FaultServer, make_client: MakeClient) -> None:
    server.on("PUT", PATH, (Stall(),))
    client = make_client(server, timeout=0.3, max_retries=0)
    with anyio.fail_after(10), pytest.raises(RequestTimeoutError):
        await client.packs_test.publish(NAME, VERSION, DATA)


async def test_a_cancelled_upload_leaves_no_connection_and_closes_the_source(
    server: FaultServer, make_client: MakeClient
) -> None:
    ended = anyio.Event()
    moving = anyio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield DATA
            moving.set()
            await anyio.sleep_forever()
        finally:
            ended.set()

    client = make_client(server)
    async with anyio.create_task_group() as group:
        group.start_soon(client.packs_test.publish, NAME, VERSION, source())
        with anyio.fail_after(5):
            await moving.wait()
        group.cancel_scope.cancel()
    with anyio.fail_after(5):
        await ended.wait()
        await server.until_closed()


class OutOfPaperError(Exception):
    """What a source of the caller's raises."""


async def test_what_the_source_raises_is_raised(server: FaultServer, make_client: MakeClient) -> None:
    """We chose it: as itself, whatever the HTTP library makes of it, and without another attempt."""

    async def source() -> AsyncIterator[bytes]:
        yield DATA
        raise OutOfPaperError

    with pytest.raises(OutOfPaperError):
        await make_client(server).packs_test.publish(NAME, VERSION, source())
    assert server.requests == ()


@pytest.mark.parametrize("wrong", [["text"], [7]])
async def test_an_iterable_of_something_else_is_refused(
    server: FaultServer, make_client: MakeClient, wrong: Any
) -> None:
    with pytest.raises(RequestValidationError, match="tarball"):
        await make_client(server).packs_test.publish(NAME, VERSION, wrong)
    assert server.requests == ()


async def test_a_file_that_shrinks_while_it_is_sent_is_an_error_and_not_half_a_pack(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "pack.tgz"
    path.write_bytes(DATA)

    async def shrink(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        os.truncate(path, 10)
        return await call_next(request)

    with pytest.raises(RequestValidationError, match="shorter"):
        await make_client(server, middleware=[shrink]).packs_test.publish(NAME, VERSION, path)
    assert server.requests == ()


async def test_a_file_that_is_replaced_between_attempts_is_sent_as_it_was(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """The protocol demands the same bytes in each attempt."""
    path = tmp_path / "pack.tgz"
    path.write_bytes(DATA)
    other = tmp_path / "other.tgz"
    other.write_bytes(b"other")

    def refuse(_: object) -> Script:
        os.replace(other, path)
        return error_response(503, "service_unavailable", retry_after=0)

    server.on("PUT", PATH, refuse, created())
    await make_client(server).packs_test.publish(NAME, VERSION, path)
    assert [request.body for request in server.requests] == [DATA, DATA]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("ab", VERSION, DATA), "name"),
        (("x" * 215, VERSION, DATA), "name"),
        ((7, VERSION, DATA), "name"),
        ((NAME, "1.0", DATA), "version"),
        ((NAME, "01.0.0", DATA), "version"),
        ((NAME, "1.0.0\n", DATA), "version"),
        ((NAME, "1.0.0/..", DATA), "version"),
        ((NAME, VERSION, "no-such-file.tgz"), "tarball"),
        ((NAME, VERSION, "."), "tarball"),
        ((NAME, VERSION, io.StringIO("text")), "tarball"),
        ((NAME, VERSION, 7), "tarball"),
        ((NAME, VERSION, None), "tarball"),
    ],
)
async def test_what_cannot_be_published_is_refused_before_anything_is_sent(
    server: FaultServer, make_client: MakeClient, arguments: tuple[Any, Any, Any], field: str
) -> None:
    with pytest.raises(RequestValidationError) as caught:
        await make_client(server).packs_test.publish(*arguments)
    assert caught.value.field == field
    assert server.connections_accepted == 0


async def test_a_checksum_or_signing_method_that_is_none_is_refused(make_client: MakeClient) -> None:
    client = make_client("http://127.0.0.1:9")
    wrong: Any = "pgp"
    with pytest.raises(RequestValidationError, match="signing_method"):
        await client.packs_test.publish(NAME, VERSION, DATA, signing_method=wrong)
    with pytest.raises(RequestValidationError, match="sha256"):
        await client.packs_test.publish(NAME, VERSION, DATA, sha256="sha256:00")


async def test_names_and_versions_are_one_segment_each(server: FaultServer, make_client: MakeClient) -> None:
    """The protocol demands it of all that is put into a path."""
    server.on("PUT", "*", created())
    await make_client(server).packs_test.publish(
        "@scope/na.me", "1.0.0-rc.1+b", DATA, signing_method="manual"
    )
    (request,) = server.requests
    # aiohttp's own way of writing a URL leaves the `@` as it is, which means the same.
    assert request.target.replace("@", "%40") == "/v1/packs-test/%40scope%2Fna.me/-/1.0.0-rc.1%2Bb.tgz"
    assert request.headers["x-pack-signing-method"] == "manual"


async def test_middleware_sees_an_upload_and_no_content(server: FaultServer, make_client: MakeClient) -> None:
    server.on("PUT", PATH, created())
    seen: list[tuple[bytes | None, int | None]] = []

    async def look(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        assert request.upload is not None
        seen.append((request.content, request.upload.length))
        return await call_next(request)

    await make_client(server, middleware=[look]).packs_test.publish(NAME, VERSION, DATA)
    assert seen == [(None, len(DATA))]


# -- down ---------------------------------------------------------------------------------------------------------


def tarball(data: bytes = DATA, **headers: Any) -> Script:
    return bytes_response(200, data, "application/tar+gzip", **headers)


async def test_a_download_is_read_in_pieces_as_bytes_or_into_a_file(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    server.on("GET", PATH, tarball(etag=f'"{CHECKSUM}"'))
    client = make_client(server)
    async with client.packs_test.tarball(NAME, VERSION) as download:
        assert download.length == len(DATA)
        assert b"".join([piece async for piece in download]) == DATA
    assert download.sha256 == CHECKSUM
    assert b"".join([piece async for piece in client.packs_test.tarball(NAME, VERSION)]) == DATA
    assert await client.packs_test.tarball(NAME, VERSION).read() == DATA
    async with client.packs_test.tarball(NAME, VERSION) as opened:
        assert await opened.read() == DATA
    target = tmp_path / "pack.tgz"
    target.write_bytes(b"before")
    await client.packs_test.tarball(NAME, VERSION).save(target)
    assert target.read_bytes() == DATA
    assert os.listdir(tmp_path) == ["pack.tgz"]
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


CUTS = [(Close(),), (Reset(),)]


@pytest.mark.parametrize("end", CUTS, ids=["closed", "reset"])
async def test_a_whole_download_that_breaks_off_is_begun_again(
    server: FaultServer, make_client: MakeClient, tmp_path: Path, end: Script
) -> None:
    """We chose it: what a caller gets at once, or as a file, is the whole or an error."""
    head = Head(200, (("Content-Length", str(len(DATA))),))
    server.on(
        "GET", PATH, (head, Body(DATA[:200_000]), *end), tarball(), (head, Body(DATA[:9]), *end), tarball()
    )
    client = make_client(server)
    assert await client.packs_test.tarball(NAME, VERSION).read() == DATA
    await client.packs_test.tarball(NAME, VERSION).save(tmp_path / "pack.tgz")
    assert (tmp_path / "pack.tgz").read_bytes() == DATA


@pytest.mark.parametrize("end", CUTS, ids=["closed", "reset"])
async def test_a_download_in_pieces_that_breaks_off_says_so(
    server: FaultServer, make_client: MakeClient, end: Script
) -> None:
    """We chose it: what was handed out cannot be taken back, so nothing is asked for again."""
    server.on("GET", PATH, (Head(200, (("Content-Length", str(len(DATA))),)), Body(DATA[:200_000]), *end))
    got: list[bytes] = []

    async def read() -> None:
        async with make_client(server).packs_test.tarball(NAME, VERSION) as download:
            async for piece in download:
                got.append(piece)

    with pytest.raises(ConnectionFailedError):
        await read()
    assert DATA.startswith(b"".join(got))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "refusal", [error_response(429, "rate_limited", retry_after=0), error_response(503, "x", retry_after=0)]
)
async def test_a_download_that_is_refused_for_now_is_asked_for_again(
    server: FaultServer, make_client: MakeClient, refusal: Script
) -> None:
    server.on("GET", PATH, refusal, tarball(), refusal, tarball())
    client = make_client(server)
    assert await client.packs_test.tarball(NAME, VERSION).read() == DATA
    async with client.packs_test.tarball(NAME, VERSION) as download:
        assert b"".join([piece async for piece in download]) == DATA


async def test_a_file_appears_whole_or_not_at_all(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    target = tmp_path / "pack.tgz"
    target.write_bytes(b"before")
    client = make_client(server, max_retries=0)
    for script, error in [
        (error_response(404, "not_found"), NotFoundError),
        ((Head(200, (("Content-Length", "9"),)), Body(b"12"), Close()), ConnectionFailedError),
        (tarball(etag='"' + sri(bytes(32)) + '"'), ResponseDecodeError),
        (error_response(429, "rate_limited", retry_after=3600), RateLimitedError),
    ]:
        server.on("GET", PATH, script)
        with pytest.raises(error):
            await client.packs_test.tarball(NAME, VERSION).save(target)
        assert target.read_bytes() == b"before"
        assert os.listdir(tmp_path) == ["pack.tgz"]
    with pytest.raises(FileNotFoundError):
        await client.packs_test.tarball(NAME, VERSION).save(tmp_path / "missing" / "pack.tgz")
    with pytest.raises(RequestValidationError, match="path"):
        await client.packs_test.tarball(NAME, VERSION).save(f"{tmp_path}/")


async def test_a_cancelled_download_leaves_no_connection_and_no_file(
    server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    moving = threading.Event()
    half = (Head(200, (("Content-Length", str(len(DATA))),)), Body(DATA[:1000]), Signal(moving), Stall())
    server.on("GET", PATH, half)
    client = make_client(server)
    async with anyio.create_task_group() as group:
        group.start_soon(client.packs_test.tarball(NAME, VERSION).save, tmp_path / "pack.tgz")
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(moving.wait, 5)
        group.cancel_scope.cancel()
    assert os.listdir(tmp_path) == []
    await server.until_closed()


async def test_leaving_a_download_early_closes_the_connection(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", PATH, (Head(200, (("Content-Length", "9999"),)), Body(b"first"), Stall()))
    async with make_client(server).packs_test.tarball(NAME, VERSION) as download:
        assert await anext(download) == b"first"
    await server.until_closed()
    with pytest.raises(StopAsyncIteration):
        await anext(download)
    with pytest.raises(RuntimeError, match="read or closed"):
        await download.read()


async def test_the_bytes_of_a_download_are_those_on_the_wire(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol demands that the gzipped bytes are hashed as they came, whatever the host calls them."""
    data = gzip.compress(b"the tar")
    checksum = sri(hashlib.sha256(data).digest())
    server.on("GET", PATH, tarball(data, content_encoding="gzip", etag=f'"{checksum}"'))
    client = make_client(server)
    assert await client.packs_test.tarball(NAME, VERSION).read() == data
    async with client.packs_test.tarball(NAME, VERSION) as download:
        assert b"".join([piece async for piece in download]) == data


async def test_bytes_that_are_not_those_of_the_checksum_are_an_error(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it; an ETag in any other notation says nothing about the bytes."""
    server.on("GET", PATH, tarball(etag=f'"{sri(bytes(32))}"'))
    client = make_client(server)
    with pytest.raises(ResponseDecodeError, match="checksum"):
        await client.packs_test.tarball(NAME, VERSION).read()
    with pytest.raises(ResponseDecodeError, match="checksum"):
        async for _ in client.packs_test.tarball(NAME, VERSION):
            pass
    for other in ('"abc"', f'W/"{sri(bytes(32))}"', '"sha256-"', '"sha256-' + "0" * 64 + '"'):
        server.on("GET", PATH, tarball(etag=other))
        assert await client.packs_test.tarball(NAME, VERSION).read() == DATA


async def test_more_than_the_caller_wants_in_memory_is_an_error(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", PATH, tarball())
    client = make_client(server)
    with pytest.raises(ResponseDecodeError, match="max_bytes"):
        await client.packs_test.tarball(NAME, VERSION).read(max_bytes=len(DATA) - 1)
    assert await client.packs_test.tarball(NAME, VERSION).read(max_bytes=len(DATA)) == DATA


async def test_a_slow_download_that_moves_is_not_cut_off_and_silence_is(
    server: FaultServer, make_client: MakeClient
) -> None:
    slow = (
        Head(200, (("Content-Length", "60"), ("Connection", "close"))),
        Drip(bytes(60), size=10, interval_s=0.4),
        Close(),
    )
    server.on("GET", PATH, slow)
    client = make_client(server, timeout=1.6, total_timeout=2.0, max_retries=0)
    assert await client.packs_test.tarball(NAME, VERSION).read() == bytes(60)
    server.on("GET", PATH, (Head(200, (("Content-Length", "60"),)), Body(b"1"), Stall()))
    with anyio.fail_after(10), pytest.raises(RequestTimeoutError):
        await client.packs_test.tarball(NAME, VERSION).read()
    with anyio.fail_after(10), pytest.raises(RequestTimeoutError):
        async for _ in client.packs_test.tarball(NAME, VERSION):
            pass


async def test_an_endless_error_is_read_no_further_than_it_takes(
    server: FaultServer, make_client: MakeClient
) -> None:
    endless = (Head(404, (("Content-Length", str(10**9)),)), *[Body(bytes(65536))] * 64, Stall())
    server.on("GET", PATH, endless)
    with anyio.fail_after(10), pytest.raises(NotFoundError):
        await make_client(server, max_retries=0).packs_test.tarball(NAME, VERSION).read()


@pytest.mark.duty("I.120")
async def test_redirects_are_followed_without_the_key_on_another_origin(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol says that a signature may be kept elsewhere; whose key it is not."""
    with FaultServer() as storage:
        storage.on("GET", "/blob", bytes_response(200, bytes(64), "application/octet-stream"))
        storage.on("GET", "/pack", tarball())
        server.on("GET", SIGNATURE, redirect(f"{storage.base_url}/blob?token=1", 302))
        server.on("GET", PATH, redirect(f"{storage.base_url}/pack", 302))
        client = make_client(server, api_key="hk_secret", headers={"X-Team": "a"})
        assert await client.packs_test.signature(NAME, VERSION) == bytes(64)
        assert await client.packs_test.tarball(NAME, VERSION).read() == DATA
        for request in storage.requests:
            assert "hk_secret" not in str(request.header_list)
            assert "x-team" not in request.headers
    assert all(request.headers["authorization"] == "Bearer hk_secret" for request in server.requests)


async def test_a_missing_signature_or_version_is_not_found(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", SIGNATURE, error_response(404, "signature_not_available"))
    server.on("DELETE", "*", error_response(404, "not_found"))
    client = make_client(server)
    with pytest.raises(NotFoundError) as caught:
        await client.packs_test.signature(NAME, VERSION)
    assert caught.value.code == "signature_not_available"
    with pytest.raises(NotFoundError):
        await client.packs_test.delete(NAME, VERSION)


async def test_a_host_without_the_test_catalogue_says_what_is_missing(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("PUT", PATH, error_response(501, "capability_not_provided"))
    with pytest.raises(OpenwopError, match="capability_not_provided"):
        await make_client(server).packs_test.publish(NAME, VERSION, DATA)


@pytest.mark.parametrize(
    "document",
    [{"name": NAME, "version": VERSION}, {**PUBLISHED, "publishedAt": None, "signed": "?", "x": 1}],
)
async def test_an_answer_that_lacks_half_is_read(
    server: FaultServer, make_client: MakeClient, document: dict[str, Any]
) -> None:
    """We chose it: a reader makes do with less."""
    server.on("PUT", PATH, json_response(200, document))
    published = await make_client(server).packs_test.publish(NAME, VERSION, DATA)
    assert (published.name, published.published_at, published.signed) == (NAME, None, None)


async def test_with_raw_response_tells_a_new_version_from_an_old_one(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("PUT", PATH, created(), json_response(200, PUBLISHED))
    publish = make_client(server).packs_test.with_raw_response.publish
    assert [(await publish(NAME, VERSION, DATA)).status for _ in range(2)] == [201, 200]
