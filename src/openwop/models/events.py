"""Events of a run, as streams and polls deliver them (``stream-modes.md``, ``rest-endpoints.md``)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, cast

from pydantic import (
    AliasChoices,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from openwop.errors import ResponseDecodeError
from openwop.models.base import (
    JsonObject,
    ModelMismatch,
    ModelT,
    TolerantModel,
    WireModel,
    as_object,
    mismatch,
    parse_json,
)
from openwop.models.event_types import EventType, canonical_event_type

__all__ = ["ChunkMeta", "ChunkToolCall", "ChunkUsage", "EventPage", "EventType", "MessageChunk", "RunEvent"]

_ClassOf = type[ModelT]  # within RunEvent, `type` is the type of the event


class RunEvent(WireModel):
    """One entry of a run's event log.

    Attributes that a host left out are ``None``; fields that this client does not know are in ``model_extra``.

    Example::

        async for event in run.events():
            if event.matches(EventType.NODE_COMPLETED):
                print(event.sequence, event.node_id, event.payload)
    """

    event_id: str | None = None
    """Opaque and unique within the run; some hosts leave it out."""
    run_id: str = ""
    type: str
    """The event's type as the host spelled it; compare with :meth:`matches`."""
    payload: Any = Field(
        default=None, validation_alias=AliasChoices("payload", "data"), serialization_alias="payload"
    )
    """The raw JSON of the event; older hosts call it ``data``."""
    timestamp: datetime | None = None
    sequence: int
    """Place in the run's log, from 0, without gaps in the log (a filtered stream does skip numbers)."""
    node_id: str | None = None
    schema_version: int | None = None
    engine_version: str | int | float | None = None
    causation_id: str | None = None

    @property
    def canonical_type(self) -> str:
        """The type in the spelling of the newest protocol major; types this client does not know as they are."""
        return canonical_event_type(self.type)

    @property
    def data(self) -> Any:
        """The payload as a class of :mod:`openwop.models.payloads`, for the types that have one.

        The raw JSON for any other type, and for a payload that does not fit its class: this never raises.  Built when
        it is first asked for.  A ``nodeId`` or ``runId`` that the payload must have and leaves to the event itself is
        filled in from there.

        Example::

            match event.data:
                case NodeFailed(node_id=node, error=error):
                    print(node, error.code)
                case OutputChunk(chunk=text):
                    print(text, end="")
        """
        # Not a field and not a private attribute: either would cost each event that is read, and few are asked.
        own = vars(self)
        made_of = (self.type, self.node_id, self.run_id)
        kept: tuple[Any, tuple[str | None, ...], Any] | None = own.get(_DATA)
        if kept is None or kept[0] is not self.payload or kept[1] != made_of:
            kept = own[_DATA] = (self.payload, made_of, _typed_payload(self))
        return kept[2]

    def data_as(self, model: _ClassOf[ModelT]) -> ModelT:
        """The payload as ``model``, which may be a class of :mod:`openwop.models.payloads` or one of your own.

        Raises:
            ResponseDecodeError: The payload does not fit; ``field`` says where.

        Example::

            vote = event.data_as(AcmeVote)      # class AcmeVote(BaseModel), for a vendor's own type of event
        """
        try:
            return _read_payload(self, model)
        except ModelMismatch as error:
            where = f"field {error.field!r}: " if error.field else ""
            raise ResponseDecodeError(
                f"event {self.type} (sequence {self.sequence}): the payload is no {model.__name__}: "
                f"{where}{error.rule}",
                field=error.field,
            ) from None

    @property
    def is_terminal(self) -> bool:
        """Whether this is the last event of its run: completed, failed or cancelled."""
        return self.type in TERMINAL_EVENT_TYPES

    def matches(self, *types: str) -> bool:
        """Whether the event has one of ``types``, in whatever spelling the host or the caller uses.

        Example::

            event.matches(EventType.AGENT_TOOL_CALLED)      # true for "agent.toolCalled" and "agent.tool-called"
        """
        own = canonical_event_type(self.type)
        return any(own == canonical_event_type(wanted) for wanted in types)


_DATA = "_data"
"""Where an event keeps its typed payload, with the payload, the type and the ids that it was made of."""


def _typed_payload(event: RunEvent) -> Any:
    if as_object(event.payload) is None:
        return event.payload
    from openwop.models.payloads import payload_model  # loaded with the first payload that somebody looks at

    model = payload_model(event.type)
    if model is None:
        return event.payload
    try:
        return _read_payload(event, model)
    except ModelMismatch:
        return event.payload  # the raw JSON is the documented answer


def _read_payload(event: RunEvent, model: type[ModelT]) -> ModelT:
    try:
        return model.model_validate(event.payload)
    except ValidationError as error:
        document = as_object(event.payload) or {}
        lacking = {
            detail["loc"][0]
            for detail in error.errors(include_url=False, include_input=False, include_context=False)
            if len(detail["loc"]) == 1
        }
        own = {
            name: value
            for name, value in (("nodeId", event.node_id), ("runId", event.run_id))
            if value and name in lacking and document.get(name) is None
        }
        if not own:
            raise mismatch(error) from None
    try:
        return model.model_validate({**document, **own})
    except ValidationError as error:
        raise mismatch(error) from None


TERMINAL_EVENT_TYPES: frozenset[str] = frozenset({"run.completed", "run.failed", "run.cancelled"})


class ChunkUsage(TolerantModel):
    """Token counts of one model call."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class ChunkToolCall(TolerantModel):
    """A tool call in a model's output; ``arguments`` may be an incomplete piece of JSON text."""

    id: str | None = None
    name: str | None = None
    arguments: str | None = None


class ChunkMeta(TolerantModel):
    """What a model provider said with a chunk.  ``provider`` must not steer a program (``stream-modes.md``)."""

    finish_reason: str | None = None
    """``stop length tool_calls content_filter``, or a reason of a later version."""
    logprobs: Any = None
    tool_calls: list[ChunkToolCall] | None = None
    model: str | None = None
    usage: ChunkUsage | None = None
    provider: str | None = None
    provider_extensions: JsonObject | None = None


class MessageChunk(TolerantModel):
    """A piece of a model's text, in ``messages`` mode.  ``is_last`` ends one call of the model, not the stream."""

    chunk: str
    node_id: str | None = None
    run_id: str | None = None
    is_last: bool = False
    channel: str | None = None
    meta: ChunkMeta | None = None


class EventPage(TolerantModel):
    """One answer of a poll.  ``is_complete`` says that the run is over, not that this page is the last one."""

    events: list[RunEvent]
    is_complete: bool = Field(
        default=False,
        validation_alias=AliasChoices("isComplete", "isTerminal"),
        serialization_alias="isComplete",
    )
    run_id: str | None = None
    last_event_seq: int | None = None
    run_status: str | None = None

    @field_validator("events", mode="wrap")
    @classmethod
    def _read_like_a_stream(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        # One event that is a little off must not cost the page: a poll is what a stream falls back to.  Some languages
        # write an empty list as null.
        if value is None:
            return []
        try:
            return handler(value)
        except ValidationError:
            if not isinstance(value, list):
                raise
            items = cast("Any", value)
            return [item if isinstance(item, RunEvent) else event_from_json(item) for item in items]


def event_reader() -> Callable[[bytes], RunEvent]:
    """A function from the bytes of one JSON document to a :class:`RunEvent`, as fast as pydantic has it.

    It raises pydantic's ``ValidationError`` for anything that is not exactly a run event; give such bytes to
    :func:`read_event_document`, which is tolerant and slower.
    """
    # The bound validator saves `model_validate_json`'s own call on each event (a tenth of the whole cost), and
    # it is only there once a deferred model has been built.
    RunEvent.model_rebuild()
    return RunEvent.__pydantic_validator__.validate_json


@cache
def event_list_reader() -> Callable[[bytes], list[RunEvent]]:
    """The same for a JSON array of events, as a batch is: one call for all of them."""
    return TypeAdapter(list[RunEvent]).validator.validate_json


def event_from_json(document: Any) -> RunEvent:
    """Read a decoded JSON document as an event, tolerating what hosts are known to do.

    ``seq`` stands for ``sequence`` and ``data`` for ``payload``; an optional field of the wrong type counts as absent.
    Raises :class:`ModelMismatch` when there is no usable ``type`` or ``sequence``.
    """
    if not isinstance(document, dict):
        raise ModelMismatch("", "an event must be a JSON object")
    fields = {
        key: item
        for key, item in cast("JsonObject", document).items()
        if item is not None or key == "payload"
    }
    if "sequence" not in fields and "seq" in fields:
        fields["sequence"] = fields.pop("seq")
    misfits: JsonObject = {}
    while True:
        try:
            event = RunEvent.model_validate(fields)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
            name = str(detail["loc"][0]) if detail["loc"] else ""
            if name in ("type", "sequence") or name not in fields:
                raise ModelMismatch(name, detail["msg"]) from None
            misfits[name] = fields.pop(name)
            continue
        if misfits and event.__pydantic_extra__ is not None:
            event.__pydantic_extra__.update(misfits)
        return event


def read_event_document(content: bytes) -> Any:
    """The bytes of a frame as plain JSON; :class:`ModelMismatch` when they are not JSON in UTF-8."""
    return parse_json(content)
