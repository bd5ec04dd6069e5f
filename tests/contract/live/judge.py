"""One answer of a host, and what the OpenAPI document has to say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

from contract.schema_strategies import absolute
from contract.spec_support import SCHEMAS, URI
from openwop._core.operations import OPERATIONS
from openwop.spec import load_document

ROWS = {operation.id: operation for operation in OPERATIONS}
"""What the client knows of each operation."""
MAX_TOLD = 3


@dataclass(frozen=True)
class Exchange:
    """What came back for one attempt; ``content`` is ``None`` for a body that is read as it comes."""

    operation: str
    status: int
    headers: Mapping[str, str] = field(
        repr=False
    )  # pytest shows what it compares, and an answer may hold a secret
    content: bytes | None = field(repr=False)

    @property
    def media_type(self) -> str:
        """The type of the body, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Documented:
    """An operation as the document has it."""

    method: str
    path: str
    capability: str | None
    responses: Mapping[str, Any]
    frames: Mapping[str, str]


@cache
def documented() -> Mapping[str, Documented]:
    """Every operation of the document, by its id."""
    return {
        operation["operationId"]: Documented(
            method.upper(),
            path,
            operation.get("x-openwop-capability"),
            operation["responses"],
            operation.get("x-openwop-stream-frames", {}),
        )
        for path, item in absolute(load_document()["paths"], URI).items()
        for method, operation in item.items()
        if isinstance(operation, Mapping) and "operationId" in operation
    }


def faults(exchange: Exchange) -> Iterator[str]:
    """In what an answer is not one that the document has for its operation and its status."""
    where = f"{exchange.operation} answered {exchange.status}"
    responses = documented()[exchange.operation].responses
    response = responses.get(str(exchange.status))
    if response is None and exchange.status < 400:
        yield f"{where}, which the document does not have"
        return
    response = response or responses["default"]
    content: Any = response.get("content", {})
    if "$ref" in response:
        shared: Any = SCHEMAS.at(response["$ref"])
        content = shared.get("content", {})
    if not content:
        if exchange.content:
            yield f"{where} with a body, and the document has none"
    elif exchange.content == b"" and ROWS[exchange.operation].body_optional and exchange.status < 400:
        return
    elif exchange.media_type not in content:
        kind = exchange.media_type or "no media type"
        yield f"{where} with {kind}, and the document has {', '.join(content)}"
    elif exchange.content is not None and exchange.media_type == "application/json":
        yield from _faults_of_json(exchange, content[exchange.media_type]["schema"], where)


def _faults_of_json(exchange: Exchange, schema: Any, where: str) -> Iterator[str]:
    try:
        document = json.loads(exchange.content or b"")
    except ValueError:
        yield f"{where} with something that is no JSON"
        return
    for error in list(SCHEMAS.validator(schema).iter_errors(document))[:MAX_TOLD]:
        # The message quotes what the host sent, which may be a secret that it tells only once.
        told = "" if ROWS[exchange.operation].confidential else f" ({error.message[:160]})"
        yield f"{where} with a body that breaks `{error.validator}` at {error.json_path}{told}"


def frame_faults(mode: str, data: str) -> Iterator[str]:
    """In what the data of one server-sent event is not what the document has for a stream mode."""
    judge = SCHEMAS.validator(SCHEMAS.at(URI + documented()["streamRunEvents"].frames[mode]))
    try:
        document = json.loads(data)
    except ValueError:
        yield f"streamRunEvents sent a frame of {mode!r} that is no JSON"
        return
    for item in document if isinstance(document, list) else [document]:
        for error in list(judge.iter_errors(item))[:MAX_TOLD]:
            told = f"breaks `{error.validator}` at {error.json_path} ({error.message[:160]})"
            yield f"streamRunEvents sent a frame of {mode!r} that {told}"


def stream_path(run_id: str) -> str:
    """Where a run's events are streamed, for a request that is made by its path."""
    return documented()["streamRunEvents"].path.replace("{runId}", quote(run_id, safe=""))
