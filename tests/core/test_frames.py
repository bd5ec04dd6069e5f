"""Frames are told apart by their data, whatever their name and whatever was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.frames import (
    Batch,
    Other,
    Unreadable,
    chunk_of,
    classify,
    classify_document,
    sequence_of_id,
)
from openwop._core.sse import OversizedFrame, SseFrame
from openwop.models.events import MessageChunk, RunEvent
from openwop.models.runs import RunSnapshot
from support.fault_steps import event_doc, snapshot_doc

NAMES = [
    "",
    "message",
    "node.completed",
    "state.snapshot",
    "ai.message.chunk",
    "updates",
    "messages",
    "batch",
]
CHUNK = {"chunk": "Hi", "isLast": False, "nodeId": "n", "runId": "r"}


def read(document: Any, name: str = "") -> Any:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return classify(SseFrame(data, name.encode(), None))


@pytest.mark.duty("E.88")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("document", "kind"),
    [(event_doc(3), RunEvent), (CHUNK, MessageChunk), (snapshot_doc(), RunSnapshot), ([event_doc(3)], Batch)],
)
def test_the_name_of_a_frame_does_not_matter(document: Any, kind: type, name: str) -> None:
    assert isinstance(read(document, name), kind)


def test_an_event_may_spell_its_sequence_and_payload_otherwise() -> None:
    event = read({"type": "node.completed", "seq": 4, "data": {"x": 1}})
    assert (event.sequence, event.payload) == (4, {"x": 1})


@pytest.mark.duty("E.79")
def test_an_event_of_an_unknown_type_with_unknown_fields_is_an_event() -> None:
    event = read({"type": "acme.thing", "sequence": 0, "x-acme": [1]})
    assert (event.type, event.model_extra) == ("acme.thing", {"x-acme": [1]})


@pytest.mark.duty("E.80")
@pytest.mark.duty("E.81")
@pytest.mark.parametrize("version", [None, 1, 99])
def test_an_event_of_any_schema_version_or_none_is_an_event(version: int | None) -> None:
    document = event_doc(1) | ({} if version is None else {"schemaVersion": version})
    assert read(document).schema_version == version


@pytest.mark.duty("E.83")
def test_a_chunk_with_an_unknown_finish_reason_is_a_chunk() -> None:
    chunk = read(CHUNK | {"isLast": True, "meta": {"finishReason": "moon_phase", "provider": "acme"}})
    assert (chunk.is_last, chunk.meta.finish_reason) == (True, "moon_phase")


@pytest.mark.parametrize(
    ("document", "name", "kind"),
    [
        ({"annotationId": "a", "runId": "r", "signal": "up"}, "", "annotation"),
        ({"runId": "r", "signal": "up"}, "run.annotated", "annotation"),
        ({"type": "run.annotated", "payload": {"annotationId": "a"}}, "", "annotation"),
        ({"type": "note", "text": "x"}, "run.annotated", "annotation"),
        ({"surfaceRef": "s", "catalogVersion": "1", "patch": []}, "ui.a2ui-surface.delta", "a2ui-delta"),
        ({"surfaceRef": "s"}, "", "unknown"),
        ({"patch": []}, "", "unknown"),
        ({"status": "running"}, "", "unknown"),
        ({"workflowId": "w"}, "", "unknown"),
        ({"error": "internal_error", "message": "x"}, "error", "unknown"),
        ({}, "", "unknown"),
        ("ping", "", "unknown"),
        (None, "", "unknown"),
        (17, "", "unknown"),
        (b"", "", "empty"),
        (b" \n", "", "empty"),
    ],
)
def test_what_is_no_item_of_any_mode_is_known_for_that(document: Any, name: str, kind: str) -> None:
    assert read(document, name) == Other(kind)


@pytest.mark.duty("E.86")
def test_a_delta_of_a_surface_is_never_taken_for_an_event() -> None:
    # It is not asked for; a host that sends it all the same gets it ignored, which stands for "not rendered".
    assert read({"surfaceRef": "s", "catalogVersion": "1", "patch": [{"op": "add"}]}) == Other("a2ui-delta")


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b"\xff\xfe",
        b'{"type": "x", "sequence": 1',
        b"[" * 100_000,
        {"type": "node.completed"},
        {"type": "node.completed", "sequence": "soon"},
        {"type": "node.completed", "sequence": None},
        {"status": "running", "workflowId": "w"},
    ],
)
def test_what_should_have_been_an_event_but_is_none_is_unreadable(document: Any) -> None:
    found = read(document)
    assert isinstance(found, Unreadable)
    assert found.reason
    assert len(found.excerpt) <= 400


def test_the_reason_holds_nothing_of_the_document() -> None:
    found = read({"type": "node.completed", "sequence": "very secret"})
    assert "secret" not in found.reason


def test_an_oversized_frame_is_unreadable() -> None:
    found = classify(OversizedFrame(b"", b"", b"3"))
    assert isinstance(found, Unreadable)
    assert "max_event_bytes" in found.reason


@pytest.mark.duty("E.72")
def test_a_batch_may_hold_one_element_or_none() -> None:
    assert [event.sequence for event in read([event_doc(1)]).documents] == [1]
    assert read([]) == Batch(())


def test_an_element_that_cannot_be_read_does_not_spoil_its_batch() -> None:
    first, bad, annotation, last = read(
        [event_doc(1), {"type": "node.completed"}, {"annotationId": "a"}, event_doc(2)]
    ).documents
    assert (first.sequence, last.sequence) == (1, 2)
    assert isinstance(bad, Unreadable)
    assert annotation == Other("annotation")


def test_the_text_of_a_chunk_event_names_its_node_and_run() -> None:
    event = RunEvent.model_validate(
        event_doc(5, "output.chunk", payload={"chunk": "Hi", "isLast": True, "channel": "c"})
    )
    chunk = chunk_of(event)
    assert chunk is not None
    assert (chunk.chunk, chunk.is_last, chunk.channel, chunk.node_id, chunk.run_id) == (
        "Hi", True, "c", "node-5", "run-1",
    )  # fmt: skip


def test_what_the_payload_of_a_chunk_event_says_goes_before_the_event() -> None:
    event = RunEvent.model_validate(event_doc(5, "output.chunk", payload={"chunk": "", "nodeId": "inner"}))
    chunk = chunk_of(event)
    assert chunk is not None
    assert (chunk.node_id, chunk.is_last) == ("inner", False)


@pytest.mark.parametrize("payload", [None, "text", [], {}, {"chunk": 3}])
def test_a_chunk_event_without_text_has_no_chunk(payload: Any) -> None:
    assert chunk_of(RunEvent(type="output.chunk", sequence=1, payload=payload)) is None


@pytest.mark.parametrize(
    ("frame_id", "sequence"),
    [
        (b"0", 0),
        (b"17", 17),
        (b"007", 7),
        (None, None),
        (b"", None),
        (b"-1", None),
        (b"1.0", None),
        (b"evt-1", None),
        ("\u0661".encode(), None),
        (b"9" * 18, 10**18 - 1),
        (b"9" * 19, None),
    ],
)
def test_only_plain_decimal_ids_stand_for_sequences(frame_id: bytes | None, sequence: int | None) -> None:
    assert sequence_of_id(frame_id) == sequence


json_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "type sequence seq payload data chunk isLast status workflowId runId annotationId patch".split()
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(json_documents, st.text(max_size=5))
def test_no_document_makes_the_reader_fail(document: Any, name: str) -> None:
    classify_document(document, name)


@given(st.binary(max_size=60), st.binary(max_size=10))
def test_no_bytes_make_the_reader_fail(data: bytes, name: bytes) -> None:
    classify(SseFrame(data, name, None))
