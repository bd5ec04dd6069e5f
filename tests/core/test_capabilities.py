"""What a program asks a discovery document, beyond whether a family is offered."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.dialect import V1
from openwop._core.freshness import Validators, has_changed, max_age_s, scoped_view
from openwop.models.base import ModelMismatch
from openwop.models.discovery import Capabilities

CORE: dict[str, Any] = {
    "protocolVersion": "1.1",
    "supportedEnvelopes": [],
    "schemaVersions": {},
    "limits": {"clarificationRounds": 3, "schemaRounds": 2, "envelopesPerTurn": 5},
}


def read(**over: Any) -> Capabilities:
    return Capabilities.model_validate(CORE | over)


@pytest.mark.duty("B.34")
def test_a_declared_value_is_checked_by_name() -> None:
    """The protocol demands it: that something is declared says nothing of the value that is needed."""
    capabilities = read(
        memory={"compaction": {"trigger": "host-managed"}},
        webhooks={"signatureAlgorithms": ["v1"]},
        sandbox={"isolationModel": 7},
    )
    assert capabilities.posture("memory.compaction.trigger") == "host-managed"
    assert capabilities.declares("memory.compaction.trigger", "host-managed")
    assert not capabilities.declares("memory.compaction.trigger", "both")
    assert not capabilities.supports("memory.compaction.trigger")
    assert capabilities.declares("webhooks.signatureAlgorithms", "v1")
    assert not capabilities.declares("webhooks.signatureAlgorithms", "v")
    assert capabilities.posture("sandbox.isolationModel") is None
    assert not capabilities.declares("nothing.at.all", "v1")


@pytest.mark.duty("B.33")
@pytest.mark.parametrize(
    ("idempotency", "cross_region", "fenced"),
    [
        (None, "single-region", False),
        ({"supported": True}, "single-region", False),
        ({"crossRegion": "reconciled-records"}, "reconciled-records", False),
        ({"crossRegion": "strict"}, "strict", False),
        ({"crossRegion": "fenced-effects"}, "fenced-effects", True),
        ({"crossRegion": ["fenced-effects"]}, "single-region", False),
    ],
)
def test_only_fenced_effects_promise_that_no_effect_happens_twice(
    idempotency: Any, cross_region: str, fenced: bool
) -> None:
    """The protocol demands the check by name; the older ``strict`` was about something else."""
    capabilities = read(idempotency=idempotency)
    assert (capabilities.cross_region, capabilities.fenced_effects) == (cross_region, fenced)


@pytest.mark.duty("B.36")
def test_memory_is_compacted_only_where_the_host_says_so() -> None:
    """The protocol forbids to infer it from anything else, such as how many entries there are."""
    assert not read(memory={"supported": True, "entries": 3, "maxEntries": 10}).supports("memory.compaction")
    assert not read(memory={"supported": True, "compaction": {"maxInputEntries": 9}}).supports(
        "memory.compaction"
    )
    assert read(memory={"compaction": {"supported": True}}).supports("memory.compaction")
    assert not read(memory={"compaction": {"supported": True}}).supports("memory.distillation")


@pytest.mark.duty("B.37")
@pytest.mark.duty("B.38")
def test_fixtures_are_a_set_and_nothing_else_is_read_from_them() -> None:
    """The protocol: a set, even where a name is there twice; a client takes no notice of it."""
    capabilities = read(fixtures=["conformance-noop", "conformance-noop", "replay"])
    assert capabilities.fixture_names == {"conformance-noop", "replay"}
    assert not capabilities.supports("replay")
    assert read(fixtures=None).fixture_names == set()
    assert read(fixtures={"odd": 1}).fixture_names == set()


@pytest.mark.duty("B.41")
def test_a_family_says_whether_it_may_still_change() -> None:
    """We chose a helper: a program that wants only what is stable asks it."""
    capabilities = read(heartbeat={"supported": True, "tier": "experimental"}, feedback={"supported": True})
    assert capabilities.tier("heartbeat") == capabilities.tier("heartbeat.supported") == "experimental"
    assert capabilities.tier("feedback") == capabilities.tier("nothing") == "stable"


@pytest.mark.duty("B.22")
@pytest.mark.duty("B.32")
def test_what_a_program_needs_and_the_host_lacks_is_listed() -> None:
    """The checks that the protocol has a client do at startup, and before it submits what needs a runtime."""
    capabilities = read(
        replay={"supported": True, "modes": ["replay"]},
        supportedEnvelopes=["error"],
        capabilities={"runtimeCapabilities": ["chat.sendPrompt"]},
        limits=CORE["limits"] | {"maxRunDurationMs": 60_000, "maxRequestBodyBytes": "much"},
    )
    assert capabilities.missing(
        "replay", "openwop-replay-fork", protocol="1.0", envelopes=["error"], runtime=["chat.sendPrompt"],
        limits={"maxRunDurationMs": 60_000, "schemaRounds": 2, "maxBudgetTokens": 10**9, "maxRequestBodyBytes": 1},
    ) == ()  # fmt: skip
    assert capabilities.missing(
        "feedback", "openwop-memory", protocol="1.10", envelopes=["error", "prd.create"],
        runtime=["canvas.write"], limits={"maxRunDurationMs": 60_001, "maxNodeExecutions": 101},
    ) == (
        "protocolVersion: 1.1 is older than 1.10",
        "feedback",
        "openwop-memory",
        "supportedEnvelopes: prd.create",
        "runtimeCapabilities: canvas.write",
        "limits.maxRunDurationMs: 60000 is less than 60001",
        "limits.maxNodeExecutions: 100 is less than 101",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("offered", "floor", "enough"),
    [
        (["1.1"], "1.1", True),
        (["1.10"], "1.9", True),
        (["1.1", "2.0"], "1.2", False),
        (["odd"], "1.0", False),
    ],
)
def test_a_floor_of_the_protocol_holds_within_its_major(offered: list[str], floor: str, enough: bool) -> None:
    """The protocol: components are compared as numbers, and another major is another protocol."""
    assert (read(protocolVersions=offered).missing(protocol=floor) == ()) is enough


def test_a_floor_that_is_no_version_is_the_callers_mistake() -> None:
    """We chose to say so, instead of calling every host too old."""
    with pytest.raises(ModelMismatch, match="protocol"):
        read().missing(protocol="new")


@pytest.mark.duty("B.21")
def test_a_host_of_another_provenance_is_as_good_as_any() -> None:
    """The protocol forbids to refuse it, or to read a version from it."""
    capabilities = read(contractProvenance={"suiteVersion": "0.1", "corpusCommit": "feed"}, feedback=True)
    assert capabilities.supports("feedback")
    assert capabilities.missing("feedback", protocol="1.1") == ()
    assert capabilities.versions == ("1.1",)


@pytest.mark.duty("B.40")
@pytest.mark.parametrize(
    ("over", "profile", "derived"),
    [
        ({}, "openwop-core", True),
        ({"protocolVersion": "2.0"}, "openwop-core", False),
        ({"limits": CORE["limits"] | {"schemaRounds": -1}}, "openwop-core", False),
        ({"limits": CORE["limits"] | {"schemaRounds": 2.5}}, "openwop-core", False),
        ({"limits": None}, "openwop-core", False),
        ({"supportedEnvelopes": "all"}, "openwop-core", False),
        ({"profiles": ["openwop-secrets"]}, "openwop-secrets", False),
        ({"supportedEnvelopes": ["clarification.request"]}, "openwop-interrupts", True),
        ({}, "openwop-interrupts", False),
        ({}, "openwop-stream-sse", True),
        ({"supportedTransports": ["mcp"]}, "openwop-stream-poll", False),
        ({"supportedTransports": ["mcp", "rest"]}, "openwop-stream-poll", True),
        ({"secrets": {"supported": True, "scopes": ["user"]}}, "openwop-secrets", True),
        ({"secrets": {"supported": True, "scopes": ["run"]}}, "openwop-secrets", False),
        ({"secrets": {"scopes": ["user"]}}, "openwop-secrets", False),
        ({"aiProviders": {"policies": {"modes": ["optional"]}}}, "openwop-provider-policy", True),
        ({"aiProviders": {"policies": {"modes": []}}}, "openwop-provider-policy", False),
        ({"replay": {"supported": True, "modes": ["replay"]}}, "openwop-replay-fork", True),
        ({"replay": {"supported": True, "fork": True}}, "openwop-replay-fork", False),
        ({"fixtures": ["conformance-noop"]}, "openwop-fixtures", True),
        ({"fixtures": [""]}, "openwop-fixtures", False),
        ({"discovery": {"authScoped": {"supported": True}}}, "openwop-discovery-auth-scoped", True),
        ({}, "openwop-discovery-auth-scoped", False),
        (
            {"memory": {"supported": True}, "agents": {"memoryBackends": ["long-term"]}},
            "openwop-memory",
            True,
        ),
        (
            {"memory": {"supported": True, "writable": False}, "agents": {"memoryBackends": ["long-term"]}},
            "openwop-memory",
            False,
        ),
        ({"heartbeat": {"tier": "experimental"}}, "openwop-experimental", True),
        ({"multiAgent": {"executionModel": {"tier": "experimental"}}}, "openwop-experimental", True),
        ({"extensions": {"acme": {"tier": "experimental"}}}, "openwop-experimental", False),
        (
            {"triggerBridge": {"supported": True}, "deadLetter": {"supported": True}, "scheduling": True},
            "openwop-trigger-bridge",
            True,
        ),
        ({"triggerBridge": {"supported": True}, "deadLetter": True}, "openwop-trigger-bridge", False),
        ({"triggerBridge": {"supported": True}, "scheduling": True}, "openwop-trigger-bridge", False),
    ],
)
def test_profiles_are_derived_and_never_read(over: dict[str, Any], profile: str, derived: bool) -> None:
    """The protocol: a profile is a predicate over the document, and a field of that name is no claim."""
    capabilities = read(**over)
    assert (profile in capabilities.profiles) is derived
    assert capabilities.supports(profile) is derived


@pytest.mark.duty("B.25")
@pytest.mark.duty("B.26")
@pytest.mark.parametrize(
    ("old", "new", "same_document", "changed"),
    [
        (("c1", "e1"), ("c1", "e2"), False, False),
        (("c1", "e1"), ("c2", "e1"), True, True),
        (("c1", None), ("C1", None), True, True),
        ((None, "e1"), (None, "e1"), False, False),
        ((None, "e1"), (None, "e2"), True, False),
        ((None, "e1"), (None, "e2"), False, True),
        (("c1", None), (None, None), False, True),
        (("c1", None), (None, None), True, False),
        ((None, None), (None, None), False, True),
        ((None, None), (None, None), True, False),
    ],
)
def test_the_validator_of_the_capabilities_decides_before_that_of_the_bytes(
    old: tuple[str | None, str | None], new: tuple[str | None, str | None], same_document: bool, changed: bool
) -> None:
    """The protocol prefers ``Capabilities-Etag``, uninterpreted; without any, the documents are compared (we chose)."""
    assert has_changed(Validators(*old), Validators(*new), same_document=same_document) is changed


def test_validators_are_taken_as_they_come() -> None:
    """An empty header is none."""
    headers = {"Capabilities-Etag": '"cap 7"', "etag": 'W/"b"'}
    assert Validators.of(headers, V1) == Validators('"cap 7"', 'W/"b"')
    assert Validators.of({"Capabilities-Etag": "", "etag": ""}, V1) == Validators()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 300),
        ("public, max-age=60", 60),
        ("max-age=0", 0),
        ("No-Store, max-age=60", 0),
        ("no-cache", 0),
        ("s-maxage=7", 300),
        ("max-age=999999999", 86400),
        ("max-age=soon", 300),
    ],
)
def test_a_document_is_fresh_for_as_long_as_the_host_says(header: str, seconds: float) -> None:
    """5 minutes, as the protocol recommends to hosts, when nothing is said; never more than a day (we chose)."""
    assert max_age_s(header) == seconds


@pytest.mark.duty("B.41")
@pytest.mark.parametrize(
    ("scoped", "path"),
    [
        (None, None),
        ({"supported": False, "mode": "same-endpoint"}, None),
        ({"supported": True}, "/.well-known/openwop"),
        ({"supported": True, "mode": None}, "/.well-known/openwop"),
        ({"supported": True, "mode": "same-endpoint"}, "/.well-known/openwop"),
        (
            {"supported": True, "mode": "extension-endpoint", "endpointPath": "/v1/capabilities"},
            "/v1/capabilities",
        ),
        ({"supported": True, "mode": "extension-endpoint", "endpointPath": "//evil.example/x"}, None),
        ({"supported": True, "mode": "extension-endpoint", "endpointPath": "https://evil.example/x"}, None),
        ({"supported": True, "mode": "extension-endpoint"}, None),
        ({"supported": True, "mode": "by-fax", "endpointPath": 7}, None),
        ([], None),
    ],
)
def test_a_view_of_ones_own_is_only_looked_for_on_the_hosts_origin(scoped: Any, path: str | None) -> None:
    """The protocol lets a host show a credential more, or less, than everybody; the credential stays at home."""
    assert scoped_view({"discovery": {"authScoped": scoped}}, "/.well-known/openwop") == path
    assert scoped_view({}, "/.well-known/openwop") is None
