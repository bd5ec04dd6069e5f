"""What an author may write is what the protocol's own schema of a workflow says: neither more nor less."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.schema_strategies import InstanceStrategies
from contract.spec_support import PHASES
from contract.test_spec_protocol import BASE, PROTOCOL, protocol
from contract.test_spec_requests import WRONG_TYPES, replaced
from openwop.models.json_schema import violations
from openwop.models.workflow_schema import WORKFLOW_SCHEMA

pytestmark = pytest.mark.skipif(
    not (PROTOCOL / "schemas").is_dir(), reason="the protocol's own schemas are not beside this repository"
)


def theirs() -> Any:
    return protocol().at(f"{BASE}schemas/workflow-definition.schema.json")


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        found += places(item, (*path, step))
    return found


@settings(max_examples=40, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_two_schemas_agree_on_sound_definitions_and_on_their_neighbours(data: st.DataObject) -> None:
    """The protocol's schema decides, and ours is in words that can say what is wrong."""
    judge = protocol().validator(theirs())
    sound = data.draw(InstanceStrategies(protocol(), unknown_properties=False).instances(theirs()))
    assert [str(violation) for violation in violations(sound, WORKFLOW_SCHEMA)] == []
    for _ in range(10):
        place = data.draw(st.sampled_from(places(sound)))
        other = replaced(
            sound, place, data.draw(st.sampled_from([*WRONG_TYPES, "A", "a.b", "vendor.a.b", 10**12]))
        )
        ours = [str(violation) for violation in violations(other, WORKFLOW_SCHEMA)]
        assert (not ours) == judge.is_valid(other), (
            place,
            ours,
            [e.message for e in judge.iter_errors(other)],
        )
