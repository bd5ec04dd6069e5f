"""Every valid document of the protocol fits its model, and comes out of it as it went in."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.schema_strategies import parse_instant, same_json
from contract.spec_support import (
    DOCUMENTS,
    PAYLOADS,
    PHASES,
    SCHEMAS,
    component,
    is_request,
    misfits,
    read,
    valid_instances,
    write,
)
from openwop.models import ApprovalData, EventPage, SuspendRequest
from openwop.models.events import event_from_json

ALIASES = {"EventPage": {"isTerminal": "isComplete"}}
"""Spellings that a model reads and does not write, by component: ``x-openwop-alias-of`` in the document."""


def in_written_spelling(name: str, instance: Any) -> Any:
    """``instance`` with every alias replaced by the name that a model writes."""
    renamed = dict(instance) if isinstance(instance, dict) else instance
    for alias, target in ALIASES.get(name, {}).items():
        if alias in renamed:
            renamed.setdefault(target, renamed.pop(alias))
    return renamed


def check_that_an_instance_comes_back(name: str, data: st.DataObject) -> None:
    instance = data.draw(valid_instances(name))
    model = read(name, instance)
    assert list(misfits(model)) == []
    written = write(model)
    assert same_json(in_written_spelling(name, written), in_written_spelling(name, instance))
    assert SCHEMAS.validator(component(name)).is_valid(written)


@pytest.mark.duty("A.6")
@pytest.mark.parametrize("name", DOCUMENTS)
@settings(max_examples=60, phases=PHASES)
@given(data=st.data())
def test_valid_instances_are_read_and_written_back_unchanged(name: str, data: st.DataObject) -> None:
    """Nothing is refused, nothing is lost or added, and no property is treated as if it were unknown."""
    check_that_an_instance_comes_back(name, data)


@pytest.mark.parametrize("name", PAYLOADS)
@settings(max_examples=10, phases=PHASES)
@given(data=st.data())
def test_valid_payloads_are_read_and_written_back_unchanged(name: str, data: st.DataObject) -> None:
    """The same for what events carry."""
    check_that_an_instance_comes_back(name, data)


def check_that_a_misfit_is_kept(name: str, data: st.DataObject) -> None:
    instance = data.draw(valid_instances(name))
    required = component(name).get("required", ()) if isinstance(component(name), dict) else ()
    optional = sorted(instance.keys() - set(required))
    if not optional:
        return
    broken = data.draw(st.sampled_from(optional))
    read_tolerantly = event_from_json if name == "RunEvent" else partial(read, name)
    model = read_tolerantly({**instance, broken: "[REDACTED]"})
    written = in_written_spelling(name, write(model))
    for key, sent in in_written_spelling(name, {**instance, broken: "[REDACTED]"}).items():
        if key in ("error", "lastError") and sent == "[REDACTED]":
            # An error may come as plain text: the model makes it part of an error.
            assert "[REDACTED]" in json.dumps(written[key])
        else:
            # Where a document had to be mended, `null` counts as absent.
            assert same_json(written.get(key), sent)


@pytest.mark.duty("J.132")
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not is_request(name)])
@settings(max_examples=25, phases=PHASES)
@given(data=st.data())
def test_a_property_of_the_wrong_type_is_kept_and_spoils_nothing_else(name: str, data: st.DataObject) -> None:
    """We chose it: a redaction stand-in may come where an object is due, and the rest must stay readable."""
    check_that_a_misfit_is_kept(name, data)


@pytest.mark.parametrize("name", PAYLOADS)
@settings(max_examples=10, phases=PHASES)
@given(data=st.data())
def test_a_misfit_in_a_payload_is_kept_and_spoils_nothing_else(name: str, data: st.DataObject) -> None:
    """The same for what events carry."""
    check_that_a_misfit_is_kept(name, data)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2024-05-01T12:00:00.123456789Z", "2024-05-01T14:00:00.123456+02:00"),
        ("2024-05-01t12:00:00z", "2024-05-01T12:00:00Z"),
    ],
)
def test_times_are_compared_as_instants(text: str, same: str) -> None:
    assert same_json({"at": [text]}, {"at": [same]})
    assert not same_json({"at": [text]}, {"at": ["2024-05-01T12:00:01Z"]})
    assert parse_instant("2024-13-01T12:00:00Z") is None


def test_the_other_spelling_of_a_complete_page_is_read() -> None:
    """The protocol has two shapes of a poll's answer; both say that the run is over."""
    assert EventPage.model_validate({"events": [], "isTerminal": True}).is_complete
    assert EventPage.model_validate({"events": [], "isComplete": True}).is_complete


def test_an_event_that_is_a_little_off_does_not_cost_its_page() -> None:
    """Older hosts write ``seq`` and ``data``, and a field may be redacted; without a sequence, nothing is an event."""
    events = [
        {"type": "run.started", "sequence": 0, "payload": {}},
        {"type": "node.started", "seq": 1, "data": {"n": 1}},
        {"type": "node.completed", "sequence": 2, "payload": {}, "timestamp": "[REDACTED]"},
    ]
    page = EventPage.model_validate_json(json.dumps({"events": events}))
    assert [event.sequence for event in page.events] == [0, 1, 2]
    assert page.events[1].payload == {"n": 1}
    assert page.events[2].timestamp is None
    with pytest.raises(ValidationError, match="sequence"):
        EventPage.model_validate({"events": [*events, {"type": "run.completed"}]})
    with pytest.raises(ValidationError, match="list"):
        EventPage.model_validate({"events": {}})


def test_data_of_an_unknown_kind_of_interrupt_stays_plain_json() -> None:
    """No model is guessed for a kind that the client does not know."""
    asked = SuspendRequest.model_validate({"kind": "acme.vote", "key": "k", "data": {"title": "Vote"}})
    assert asked.data == {"title": "Vote"}
    approval = {"artifactId": "a", "artifactType": "doc", "title": "t", "actions": ["accept"]}
    known = SuspendRequest.model_validate({"kind": "approval", "key": "k", "data": approval})
    assert isinstance(known.data, ApprovalData)
