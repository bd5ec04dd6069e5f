"""What counts as an offer, which calls are refused because of it, and what a refusal by the host means."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.dialect import V1
from openwop._core.gating import NOT_OFFERED, means_absent, refusal
from openwop._core.request import ApiRequest
from openwop.models.discovery import Capabilities


def a_request(
    capability: str | None, *, item: bool = False, posture: tuple[str, str] | None = None
) -> ApiRequest:
    return ApiRequest(
        "GET", "https://host.example", "/v1/x", {}, None, "anOperation", "safe", True,
        capability=capability, names_item=item, posture=posture,
    )  # fmt: skip


def read(document: dict[str, Any]) -> Capabilities:
    return Capabilities.model_validate(document)


ON: dict[str, Any] = {"supported": True}
OFF: dict[str, Any] = {"supported": False}


@pytest.mark.duty("B.19")
@pytest.mark.duty("B.20")
@pytest.mark.parametrize(
    ("document", "name", "said"),
    [
        # absences
        ({}, "feedback", None),
        ({"feedback": None}, "feedback", None),
        ({"feedback": {}}, "feedback", None),
        ({"feedback": {"supported": None}}, "feedback", None),
        ({"feedback": {"supported": {"supported": True}}}, "feedback", None),
        ({"agents": {}}, "agents.roster", None),
        ({"agents": 7}, "agents.roster", None),
        ({"capabilities": None}, "feedback", None),
        ({"capabilities": 7}, "feedback", None),
        # records
        ({"feedback": ON}, "feedback", True),
        ({"feedback": OFF}, "feedback", False),
        ({"feedback": ON}, "feedback.supported", True),
        ({"feedback": True}, "feedback.supported", True),
        ({"runs": {"pauseResume": {"drainPolicies": ["immediate"]}}}, "runs.pauseResume", None),
        ({"feedback": {"status": "stable"}}, "feedback", True),
        # flags of other kinds
        ({"conversationPrimitive": True}, "conversationPrimitive", True),
        ({"conversationPrimitive": False}, "conversationPrimitive", False),
        ({"feedback": {"supported": "true"}}, "feedback", True),
        ({"feedback": {"supported": "Off"}}, "feedback", False),
        ({"feedback": {"supported": "in part"}}, "feedback", None),
        ({"feedback": 1}, "feedback", True),
        ({"feedback": 0}, "feedback", False),
        ({"aiProviders": {"supported": ["acme"]}}, "aiProviders", True),
        ({"aiProviders": {"supported": []}}, "aiProviders.supported", False),
        ({"replay": ["replay", "branch"]}, "replay", True),
        ({"agents": ["roster"]}, "agents.roster", True),
        ({"agents": ["roster"]}, "agents.orgChart", None),
        # nested
        ({"a2a": {"supported": True, "durableTasks": True}}, "a2a.durableTasks", True),
        ({"a2a": ON}, "a2a.durableTasks", None),
        ({"a.b": True}, "a.b", True),
        # the root, then the wrapper
        ({"capabilities": {"feedback": ON}}, "feedback", True),
        ({"capabilities": ["feedback"]}, "feedback", True),
        ({"feedback": OFF, "capabilities": {"feedback": ON}}, "feedback", False),
        ({"feedback": ON, "capabilities": {"feedback": OFF}}, "feedback", True),
        ({"feedback": None, "capabilities": {"feedback": ON}}, "feedback", True),
        (
            {"runs": {"bulkCancel": ON}, "capabilities": {"runs": {"pauseResume": ON}}},
            "runs.pauseResume",
            True,
        ),
    ],
)
def test_an_offer_is_found_wherever_hosts_put_it(
    document: dict[str, Any], name: str, said: bool | None
) -> None:
    """The protocol puts families at the root, under ``supported``; the other shapes are what hosts send (we chose)."""
    capabilities = read(document)
    assert capabilities.advertises(name) is said
    assert capabilities.supports(name) is (said is True)


@pytest.mark.parametrize(
    ("document", "name", "said"),
    [
        ({"agents": {"roster": ON, "manifestRuntime": OFF}}, "agents.roster", False),
        ({"agents": {"roster": ON, "manifestRuntime": ON}}, "agents.roster", True),
        ({"agents": {"roster": ON}}, "agents.roster", True),
        ({"agents": {"orgChart": ON, "roster": ON, "manifestRuntime": OFF}}, "agents.orgChart", False),
        ({"agents": {"manifestRuntime": ON}}, "agents.roster", None),
        ({"content": ON, "i18n": OFF}, "content.supported", False),
        ({"prompts": {"mutableLibrary": True, "endpointsSupported": False}}, "prompts.mutableLibrary", False),
        ({"prompts": {"supported": True}}, "prompts.endpointsSupported", None),
        ({"prompts": {"supported": False, "endpointsSupported": True}}, "prompts.endpointsSupported", True),
    ],
)
def test_what_needs_another_capability_is_not_offered_where_the_host_denies_that_one(
    document: dict[str, Any], name: str, said: bool | None
) -> None:
    """The protocol nests these gates.  A host that forgets to mention the outer one is taken at its word (we chose)."""
    assert read(document).advertises(name) is said


@pytest.mark.duty("B.30")
@pytest.mark.parametrize(
    ("document", "profiles"),
    [
        ({"auth": {"profiles": ["root"]}, "extensions": {"auth": {"profiles": ["old"]}}}, {"root"}),
        ({"extensions": {"auth": {"profiles": ["old"]}}}, {"old"}),
        ({"auth": None, "extensions": {"auth": {"profiles": ["old", "old", 7]}}}, {"old"}),
        ({"auth": {"profiles": "one"}}, {"one"}),
        ({"extensions": []}, set[str]()),
    ],
)
def test_auth_at_the_root_comes_before_auth_among_the_extensions(
    document: dict[str, Any], profiles: set[str]
) -> None:
    """The protocol demands the root where both are there."""
    assert read(document).auth_profiles == profiles


@pytest.mark.duty("B.39")
def test_the_audit_profile_is_found_among_the_auth_profiles() -> None:
    """The endpoint is gated by a profile and not by a family (OpenAPI ``verifyAuditLog``)."""
    audit = "openwop-audit-log-integrity"
    assert read({"auth": {"profiles": [audit]}}).supports(audit)
    refused = refusal(a_request(audit), V1, read({"auth": {"profiles": []}}))
    assert refused is not None
    assert refused.capability == audit


@pytest.mark.duty("B.31")
@pytest.mark.parametrize(
    ("capability", "document", "sent"),
    [
        (None, {}, True),
        ("feedback", None, True),
        ("feedback", {"feedback": ON}, True),
        ("feedback", {"capabilities": {"feedback": ON}}, True),
        ("feedback", {"feedback": OFF}, False),
        ("feedback", {}, False),
        ("feedback", {"feedback": {"signals": ["flag"]}}, False),
        ("runs.pauseResume", {}, True),
        ("runs.pauseResume", {"runs": {"pauseResume": {"drainPolicies": []}}}, True),
        ("runs.pauseResume", {"runs": {"pauseResume": OFF}}, False),
        ("replay", {}, True),
        ("replay", {"replay": OFF}, False),
    ],
)
def test_what_a_known_host_does_not_offer_is_not_sent(
    capability: str | None, document: dict[str, Any] | None, sent: bool
) -> None:
    """Silence is a no, but for pause, resume and fork: hosts had to have them before they could say so (we chose)."""
    refused = refusal(a_request(capability), V1, None if document is None else read(document))
    assert (refused is None) is sent
    if refused is not None:
        assert (refused.status, refused.code) == (None, NOT_OFFERED)
        assert refused.capability == capability
        assert "anOperation" in str(refused)


@pytest.mark.duty("B.35")
@pytest.mark.parametrize(
    ("replay", "modes", "sent"),
    [
        ({"supported": True, "modes": ["replay"]}, ("replay",), False),
        ({"supported": True, "modes": ["replay"], "fork": True}, ("replay",), False),
        ({"supported": True, "modes": ["replay", "branch", "branch"]}, ("replay", "branch"), True),
        ({"supported": True, "modes": ["branch"], "fork": False}, ("branch",), True),
        ({"supported": True, "fork": True}, (), True),
        ({"supported": True, "modes": []}, (), True),
        ({"supported": False, "modes": ["branch"]}, (), False),
    ],
)
def test_fork_modes_are_what_replay_modes_lists(
    replay: dict[str, Any], modes: tuple[str, ...], sent: bool
) -> None:
    """The protocol forbids to read them from the older ``fork``; without a list the host is asked (we chose)."""
    known = read({"replay": replay})
    assert known.fork_modes == modes
    refused = refusal(a_request("replay", posture=("replay.modes", "branch")), V1, known)
    assert (refused is None) is sent


@pytest.mark.duty("B.42")
@pytest.mark.parametrize(
    ("capability", "item", "document", "status", "code", "absent"),
    [
        ("feedback", False, None, 404, "not_found", True),
        ("feedback", False, {}, 404, None, True),
        ("feedback", False, {"feedback": OFF}, 404, "not_found", True),
        ("feedback", False, {"feedback": ON}, 404, "not_found", False),
        ("feedback", True, None, 404, "not_found", False),
        ("feedback", True, {}, 404, "not_found", False),
        ("feedback", True, None, 404, "capability_not_provided", True),
        ("feedback", True, {"feedback": ON}, 501, "capability_not_provided", True),
        ("feedback", True, None, 501, None, True),
        ("feedback", True, {"feedback": ON}, 422, "capability_required", True),
        (None, False, None, 404, "not_found", False),
        (None, False, None, 501, None, True),
        ("feedback", False, None, 400, "validation_error", False),
        ("feedback", False, None, 500, None, False),
    ],
)
def test_a_404_means_not_offered_only_together_with_discovery(
    capability: str | None,
    item: bool,
    document: dict[str, Any] | None,
    status: int,
    code: str | None,
    absent: bool,
) -> None:
    """The protocol lets a host answer 404 to "no such item" and to "no such operation" alike."""
    known = None if document is None else read(document)
    assert means_absent(a_request(capability, item=item), status, code, V1, known) is absent
