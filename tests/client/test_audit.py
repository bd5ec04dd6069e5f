"""The audit log: the host's verdict, and the client's own over what the host signed."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openwop import (
    AsyncOpenwopClient,
    CapabilityNotSupportedError,
    ConfigurationError,
    PermissionDeniedError,
)
from openwop._core.merkle import canonical_json, entry_hash
from openwop.audit import broken_links, merkle_root, verify_checkpoints
from openwop.errors import RequestValidationError, ResponseDecodeError
from openwop.models import AuditCheckpoint
from support.clients import serve_discovery
from support.fault_server import FaultServer, error_response, json_response
from support.processes import DevHostProcess

VERIFY = "/v1/audit/verify"
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()


def chain(length: int) -> list[dict[str, Any]]:
    """Entries that hold each other's hashes."""
    entries: list[dict[str, Any]] = []
    for number in range(length):
        previous = entry_hash(entries[-1]) if entries else None
        entries.append({"sequence": number, "action": "createRun", "prevHash": previous})
    return entries


def checkpoint(
    entries: list[dict[str, Any]], number: int, *, sign: str = "checkpoint", **more: Any
) -> dict[str, Any]:
    """A checkpoint over entries 0 to ``number``, signed in one of the two ways."""
    root = merkle_root(entries[: number + 1])
    document = {"checkpoint": f"c{number}", "atSequence": number, "merkleRoot": root, **more}
    signed = canonical_json(document) if sign == "checkpoint" else bytes.fromhex(root)
    return {**document, "signature": base64.b64encode(KEY.sign(signed)).decode()}


ENTRIES = chain(30)
POINTS = [checkpoint(ENTRIES, 9), checkpoint(ENTRIES, 19), checkpoint(ENTRIES, 29)]
DER = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RAW = PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(server.base_url, "hk_test", protocol="1", max_retries=0) as connected:
        yield connected


@pytest.mark.anyio
async def test_a_real_host_is_believed_and_checked(devhost_process: DevHostProcess) -> None:
    """The whole way: the host signs, the verdict says so, and the signatures hold against the key it advertises."""
    async with AsyncOpenwopClient(devhost_process.base_url, devhost_process.api_key) as client:
        for _ in range(12):
            await client.runs.create("conformance-noop")
        result = await client.audit.verify(0, 10_000)
        assert (result.from_seq, result.to_seq) == (0, 10_000)
        assert (result.chain_valid, result.checkpoints_valid, result.anomalies) == (True, True, [])
        auth = (await client.discovery.capabilities()).auth or {}
        checks = verify_checkpoints(result.checkpoints, auth["auditLogIntegrity"]["checkpointPublicKey"])
        assert checks
        assert {(check.valid, check.signed, check.reason) for check in checks} == {(True, "checkpoint", None)}
        none = await client.audit.with_raw_response.verify(0, 0)
        assert (none.status, none.data.checkpoints) == (200, [])


@pytest.mark.anyio
@pytest.mark.duty("B.39")
async def test_a_host_that_does_not_claim_such_a_log_is_not_asked(server: FaultServer) -> None:
    """The protocol recommends it: its profile, in the discovery document, says who keeps one."""
    serve_discovery(server, auth={"profiles": ["openwop-auth-mtls"]})
    async with AsyncOpenwopClient(server.base_url, "hk_test", max_retries=0) as client:
        with pytest.raises(CapabilityNotSupportedError) as caught:
            await client.audit.verify(0, 1)
    assert caught.value.capability == "openwop-audit-log-integrity"
    assert [request.path for request in server.requests] == ["/.well-known/openwop"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("first", "last", "field"),
    [(-1, 3, "from_seq"), (True, 3, "from_seq"), ("0", 3, "from_seq"), (0, 1.5, "to_seq"), (4, 3, "to_seq")],
)
async def test_a_range_that_is_none_is_not_asked_for(
    server: FaultServer, client: AsyncOpenwopClient, first: Any, last: Any, field: str
) -> None:
    with pytest.raises(RequestValidationError) as caught:
        await client.audit.verify(first, last)
    assert caught.value.field == field
    assert server.requests == ()


@pytest.mark.anyio
async def test_both_ends_go_out_and_refusals_are_typed(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    server.on(
        "GET", VERIFY,
        error_response(403, "forbidden", details={"scopeRequired": "audit:read"}), error_response(404, "not_found"),
    )  # fmt: skip
    with pytest.raises(PermissionDeniedError):
        await client.audit.verify(0, 0)
    with pytest.raises(CapabilityNotSupportedError):  # the path names nothing else that could be missing
        await client.audit.verify(3, 7)
    queries = ["fromSeq=0&toSeq=0", "fromSeq=3&toSeq=7"]
    assert [request.target for request in server.requests] == [f"{VERIFY}?{query}" for query in queries]


@pytest.mark.anyio
async def test_a_host_that_does_not_say_so_has_proved_nothing(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: an answer without a verdict is readable, and its verdict is no."""
    anomaly = {"atSeq": 3, "expectedPrevHash": "aa", "actualPrevHash": ""}
    server.on(
        "GET", VERIFY,
        json_response(200, {}),
        json_response(200, {"chainValid": None, "checkpoints": None, "anomalies": [anomaly], "x-more": 1}),
        json_response(200, {"chainValid": True, "checkpoints": [{"atSequence": 4}, *POINTS]}),
        json_response(200, {"chainValid": True, "checkpoints": [*POINTS, None, "[REDACTED]"], "anomalies": ["x"]}),
        json_response(200, []),
    )  # fmt: skip
    silent = await client.audit.verify(0, 9)
    assert (silent.chain_valid, silent.checkpoints_valid, silent.checkpoints, silent.anomalies) == (
        False,
        None,
        [],
        [],
    )
    odd = await client.audit.verify(0, 9)
    assert (odd.chain_valid, odd.anomalies[0].at_seq, odd.model_extra) == (False, 3, {"x-more": 1})
    partly = await client.audit.verify(0, 29)
    checks = verify_checkpoints(partly.checkpoints, PEM)
    assert [check.reason for check in checks] == ["incomplete", None, None, None]
    masked = await client.audit.verify(0, 29)
    checks = verify_checkpoints(masked.checkpoints, PEM)
    assert [check.reason for check in checks] == [None, None, None, "incomplete", "incomplete"]
    assert len(masked.anomalies) == 1
    with pytest.raises(ResponseDecodeError, match="verifyAuditLog"):
        await client.audit.verify(0, 9)


@pytest.mark.parametrize(
    "key",
    [PEM, DER, RAW, base64.b64encode(DER).decode(), base64.b64encode(RAW).decode()],
    ids=["pem", "der", "raw", "der-base64", "raw-base64"],
)
def test_the_key_may_come_in_any_usual_form(key: str | bytes) -> None:
    assert [check.valid for check in verify_checkpoints(POINTS, key, entries=ENTRIES)] == [True, True, True]


EC = (
    generate_private_key(SECP256R1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)


UNKNOWN_KIND = DER.replace(b"\x2b\x65\x70", b"\x2b\x65\x7f")


@pytest.mark.parametrize(
    "key",
    ["", "nonsense", "ü", b"short", EC, base64.b64encode(b"x" * 31).decode(), None, 5, UNKNOWN_KIND],
    ids=[
        "empty",
        "nonsense",
        "no-ascii",
        "short",
        "another-curve",
        "31-bytes",
        "none",
        "number",
        "unknown-kind",
    ],
)
def test_what_is_no_key_of_this_kind_is_refused(key: Any) -> None:
    with pytest.raises(RequestValidationError) as caught:
        verify_checkpoints(POINTS, key)
    assert caught.value.field == "public_key"


def test_each_change_to_a_checkpoint_is_noticed() -> None:
    """A signature over the whole checkpoint covers its name and its place, too."""
    good = POINTS[0]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"checkpoint": "c10"}, "signature"),
        ({"atSequence": 10}, "signature"),
        ({"merkleRoot": POINTS[1]["merkleRoot"]}, "signature"),
        ({"merkleRoot": "no hex"}, "signature"),
        ({"signature": POINTS[1]["signature"]}, "signature"),
        ({"signature": "not base64!"}, "signature"),
        ({"x-more": 1}, "signature"),
        ({"signature": ""}, "incomplete"),
        ({"atSequence": None}, "incomplete"),
    ]
    for change, reason in changes:
        check = verify_checkpoints([{**good, **change}], PEM)[0]
        assert (check.valid, check.reason) == (False, reason), change
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert [check.reason for check in verify_checkpoints(POINTS, stranger)] == ["signature"] * 3


def test_members_that_a_host_signed_along_are_part_of_what_is_checked() -> None:
    """The prose has a time in a checkpoint; whatever stands there is covered by the signature."""
    timed = checkpoint(ENTRIES, 9, ts="2026-05-01T12:00:00Z")
    model = AuditCheckpoint.model_validate(timed)
    assert verify_checkpoints([model], PEM)[0].valid
    assert not verify_checkpoints([{**timed, "ts": "2026-05-01T12:00:01Z"}], PEM)[0].valid


def test_a_signature_over_the_root_alone_counts_and_is_told_apart() -> None:
    """Prose and schema of the protocol disagree on what is signed; hosts do either."""
    by_root = checkpoint(ENTRIES, 9, sign="root")
    assert [(c.valid, c.signed) for c in verify_checkpoints([by_root], PEM)] == [(True, "root")]
    assert [(c.valid, c.signed) for c in verify_checkpoints([POINTS[0]], PEM)] == [(True, "checkpoint")]


def test_what_the_host_signed_for_another_purpose_is_no_root() -> None:
    """A root has 32 bytes: else the text of a good checkpoint, signed by the host, would pass for the root of any."""
    good = POINTS[0]
    document = {name: value for name, value in good.items() if name != "signature"}
    forged = {**good, "atSequence": 10**6, "merkleRoot": canonical_json(document).hex()}
    assert verify_checkpoints([forged], PEM)[0].reason == "signature"
    spaced = checkpoint(ENTRIES, 9, sign="root")
    assert verify_checkpoints([{**spaced, "merkleRoot": f" {spaced['merkleRoot']}"}], PEM)[0].valid is False


@pytest.mark.parametrize("entry", [{"n": float("nan")}, {"n": b""}, 7, None], ids=str)
def test_entries_that_are_no_json_are_told_as_such(entry: Any) -> None:
    for check in (merkle_root, broken_links, lambda given: verify_checkpoints(POINTS, PEM, entries=given)):
        with pytest.raises(RequestValidationError) as caught:
            check([entry, {"prevHash": None}])
        assert caught.value.field == "entries"


def test_checkpoints_must_go_forward() -> None:
    """A log that was rewound shows as checkpoints out of order."""
    reasons = [
        check.reason for check in verify_checkpoints([POINTS[1], POINTS[0], POINTS[1], POINTS[2]], PEM)
    ]
    assert reasons == [None, "order", "order", None]


def test_with_the_entries_a_root_that_does_not_fit_them_is_noticed() -> None:
    """The signature is good, and the log is not the one that was signed."""
    changed = [dict(entry) for entry in ENTRIES]
    changed[12]["action"] = "deleteRun"
    checks = verify_checkpoints(POINTS, PEM, entries=changed)
    assert [(check.valid, check.reason) for check in checks] == [
        (True, None),
        (False, "root"),
        (False, "root"),
    ]
    assert verify_checkpoints(POINTS[2:], PEM, entries=ENTRIES[:20])[0].reason == "root"


def test_a_broken_link_is_found_where_it_is() -> None:
    changed = [dict(entry) for entry in ENTRIES]
    changed[12]["action"] = "deleteRun"
    del changed[20]["prevHash"]
    broken = broken_links(changed)
    assert [(link.at_seq, link.actual_prev_hash) for link in broken] == [
        (13, ENTRIES[13]["prevHash"]), (20, ""), (21, ENTRIES[21]["prevHash"]),
    ]  # fmt: skip
    assert broken[0].expected_prev_hash == entry_hash(changed[12])
    assert broken_links(ENTRIES) == []
    assert [link.at_seq for link in broken_links(ENTRIES[5:], first=5)] == []
    assert [link.at_seq for link in broken_links(ENTRIES[5:])] == [0]


def test_without_the_package_for_signatures_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency of the client, and is imported by nothing but a check of signatures."""
    script = "import sys, openwop.audit, openwop.client; assert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(ConfigurationError, match=r"openwop\[cli\]"):
        verify_checkpoints(POINTS, PEM)
