"""The host's test catalogue of packs, over its HTTP interface."""

from __future__ import annotations

import base64
import gzip
import hashlib
import tarfile

import httpx
import pytest

from devhost.kit import ManualClock
from openwop.devhost import ApiKey, DevHost, Limits
from support.packs import tarball

pytestmark = pytest.mark.asyncio

NAME, VERSION = "vendor.acme.tools", "1.0.0"
PLACE = f"/v1/packs-test/{NAME}/-/{VERSION}"
PACK = tarball(NAME, VERSION, {"README.md": b"hello"})
SIGNED = tarball(NAME, VERSION, {"keys/pack.json.sig": bytes(range(64))})


def sri(data: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(data).digest()).decode()


async def put(
    http: httpx.AsyncClient, data: bytes = PACK, place: str = PLACE, **headers: str
) -> httpx.Response:
    sent = {"content-type": "application/gzip"} | {
        key.replace("_", "-"): value for key, value in headers.items()
    }
    return await http.put(f"{place}.tgz", content=data, headers=sent)


async def test_what_is_published_is_given_back_with_its_checksum(host: DevHost) -> None:
    """The protocol demands it: 201, then 200 for the same bytes, and the checksum as the ETag."""
    http = host.http_client()
    answer = await put(http, x_pack_sha256=sri(PACK))
    assert answer.status_code == 201
    assert answer.json()["tarballSha256"] == sri(PACK)
    assert answer.json()["signed"] is False
    again = await put(http)
    assert (again.status_code, again.json()) == (200, answer.json())
    got = await http.get(f"{PLACE}.tgz")
    assert (got.content, got.headers["etag"]) == (PACK, f'"{sri(PACK)}"')
    assert got.headers["content-type"] == "application/tar+gzip"


async def test_a_version_never_changes(host: DevHost) -> None:
    """The protocol demands it."""
    http = host.http_client()
    await put(http)
    answer = await put(http, SIGNED)
    assert (answer.status_code, answer.json()["error"]) == (409, "version_conflict")


async def test_a_key_for_idempotency_does_not_let_other_bytes_pass_for_the_first(host: DevHost) -> None:
    """We chose it: the bytes themselves make a repetition one, and the header means nothing here."""
    http = host.http_client()
    await put(http, idempotency_key="k" * 32)
    assert (await put(http, SIGNED, idempotency_key="k" * 32)).status_code == 409


async def test_a_signature_is_that_in_the_pack(host: DevHost) -> None:
    http = host.http_client()
    assert (await http.get(f"{PLACE}.sig")).json()["error"] == "not_found"
    published = await put(http, SIGNED, x_pack_signing_method="manual")
    assert (published.json()["signed"], published.json()["signingMethod"]) == (True, "manual")
    assert (await http.get(f"{PLACE}.sig")).content == bytes(range(64))
    other = PLACE.replace(VERSION, "1.0.1")
    await put(http, tarball(NAME, "1.0.1"), other)
    answer = await http.get(f"{other}.sig")
    assert (answer.status_code, answer.json()["error"]) == (404, "signature_not_available")


async def test_a_version_can_be_taken_back_for_three_days(clock: ManualClock) -> None:
    """The protocol demands it."""
    async with DevHost(clock=clock) as host:
        http = host.http_client()
        await put(http)
        assert (await http.delete(PLACE)).status_code == 204
        assert (await http.delete(PLACE)).status_code == 404
        assert (await http.get(f"{PLACE}.tgz")).status_code == 404
        await put(http)
        clock.advance(72 * 3600 + 1)
        answer = await http.delete(PLACE)
        assert (answer.status_code, answer.json()["error"]) == (400, "unpublish_window_expired")


def endless_entry() -> bytes:
    """A tarball with a size that is more than any file has, in the notation of GNU for large ones."""
    header = bytearray(tarfile.TarInfo("big").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + b"\x7f" * 11
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return gzip.compress(bytes(header) + bytes(1024))


BAD = [
    ("tarball_gunzip_failed", b"no gzip"),
    ("tarball_gunzip_failed", PACK[:-20]),
    ("invalid_body", b""),
    ("tarball_tar_parse_failed", gzip.compress(b"x" * 1024)),
    ("tarball_tar_parse_failed", endless_entry()),
    ("tarball_manifest_missing", tarball(NAME, VERSION, {"README.md": b""}, manifest=b"")),
    ("tarball_manifest_not_json", tarball(NAME, VERSION, manifest=b"{")),
    ("tarball_manifest_too_large", tarball(NAME, VERSION, manifest=b" " * 300_000)),
    ("invalid_manifest", tarball(NAME, VERSION, manifest=b"[]")),
    ("manifest_mismatch", tarball(NAME, "9.9.9")),
    ("tarball_path_traversal", tarball(NAME, VERSION, {"../x": b""})),
    ("tarball_path_traversal", tarball(NAME, VERSION, {"/x": b""})),
    ("tarball_too_large", tarball(NAME, VERSION, {"big": bytes(51 * 1024 * 1024)}, level=1)),
]


@pytest.mark.parametrize(
    ("code", "data"), BAD, ids=[f"{index}-{code}" for index, (code, _) in enumerate(BAD)]
)
async def test_a_tarball_that_breaks_a_rule_is_refused_with_its_code(
    host: DevHost, code: str, data: bytes
) -> None:
    """The protocol names the codes."""
    answer = await put(host.http_client(), data)
    assert (answer.status_code, answer.json()["error"]) == (400, code)


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("invalid_pack_name", "/v1/packs-test/ab/-/1.0.0"),
        ("invalid_pack_name", "/v1/packs-test/%40scope%2Fname/-/1.0.0"),
        ("invalid_pack_scope", "/v1/packs-test/local.acme.tools/-/1.0.0"),
        ("invalid_version", f"/v1/packs-test/{NAME}/-/1.0"),
    ],
)
async def test_a_name_or_version_that_is_none_is_refused_everywhere(
    host: DevHost, code: str, place: str
) -> None:
    http = host.http_client()
    answers = [
        await put(http, PACK, place),
        await http.get(f"{place}.tgz"),
        await http.get(f"{place}.sig"),
        await http.delete(place),
    ]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(400, code)}


async def test_headers_that_do_not_fit_are_refused(host: DevHost) -> None:
    http = host.http_client()
    answer = await put(http, x_pack_sha256=sri(b"other"))
    assert (answer.status_code, answer.json()["error"]) == (400, "pack_integrity_failure")
    assert (await put(http, x_pack_signing_method="pgp")).json()["error"] == "validation_error"
    assert (await put(http, content_type="text/plain")).status_code == 415
    assert (await put(http, x_pack_sha256=sri(PACK).rstrip("="))).status_code == 400


async def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not() -> None:
    async def pieces() -> object:
        yield bytes(600)
        yield bytes(600)

    async with DevHost(limits=Limits(max_tarball_bytes=1000)) as host:
        http = host.http_client()
        headers = {"content-type": "application/gzip"}
        for content in (bytes(1001), pieces()):
            answer = await http.put(f"{PLACE}.tgz", content=content, headers=headers)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["error"]) == (413, "payload_too_large")


async def test_each_tenant_has_a_catalogue_and_writing_needs_the_scope() -> None:
    keys = [ApiKey("hk_a", tenant="a"), ApiKey("hk_b", tenant="b"), ApiKey("hk_r", frozenset(), tenant="a")]
    async with DevHost(api_keys=keys) as host:
        http = host.http_client()
        assert (await put(http)).status_code == 201
        as_b, as_reader = ({"authorization": f"Bearer {key}"} for key in ("hk_b", "hk_r"))
        assert (await http.get(f"{PLACE}.tgz", headers=as_b)).status_code == 404
        assert (await http.get(f"{PLACE}.tgz", headers=as_reader)).status_code == 200
        assert (await put(http, **as_reader)).status_code == 403
        assert (await http.delete(PLACE, headers=as_reader)).status_code == 403
        assert (await put(http, SIGNED, **as_b)).status_code == 201
