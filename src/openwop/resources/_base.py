"""What all resources share: one way to make a call, and its twin that also gives the answer it came in."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from openwop._core.operations import Operation
from openwop._core.request import refuse
from openwop._core.upload import Upload
from openwop._http.session import Session
from openwop.errors import RequestValidationError
from openwop.models.base import ModelMismatch, RequestModel, WireModel, check, check_document
from openwop.response import ApiResponse

__all__ = ["AsyncResource", "as_texts", "body", "body_of", "document", "raw"]

P = ParamSpec("P")
T = TypeVar("T")
ResourceT = TypeVar("ResourceT", bound="AsyncResource")
RequestT = TypeVar("RequestT", bound=RequestModel)


class AsyncResource:
    """Base of the groups of operations on a client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answers: list[ApiResponse[Any]] | None = None

    async def _call(
        self,
        operation: Operation[T],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: RequestModel | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        hold_s: float = 0.0,
        idempotency_key: str | None = None,
        posture: tuple[str, str] | None = None,
        upload: Upload | None = None,
    ) -> T:
        return await self._session.call(
            operation, path=path, query=query, body=body, headers=headers, timeout=timeout,
            hold_s=hold_s, idempotency_key=idempotency_key, posture=posture, answers=self._answers,
            upload=upload,
        )  # fmt: skip


def body(model: type[RequestT], /, **values: Any) -> RequestT:
    """The body of a call from the caller's arguments; what the protocol would refuse raises before any I/O."""
    try:
        return check(model, **values)
    except ModelMismatch as mismatch:
        refuse("", mismatch)


def body_of(
    model: type[RequestT], name: str, value: WireModel | RequestModel | Mapping[str, Any]
) -> RequestT:
    """``value``, the argument ``name``, as a body: a model of either kind, or a dict in the names of wire or Python."""
    if isinstance(value, model):
        return value
    document: Any = value.to_wire() if isinstance(value, WireModel | RequestModel) else value
    if not isinstance(document, Mapping):
        raise RequestValidationError(name, f"must be a model or a dict, not {type(document).__name__}")
    try:
        return check_document(model, cast("Mapping[str, Any]", document))
    except ModelMismatch as mismatch:
        refuse(name, mismatch)


def document(
    model: type[RequestT], name: str, value: WireModel | RequestModel | Mapping[str, Any]
) -> RequestT:
    """The same from a document that may be sent back as it was read.

    What the host added to it is left out, since it would be refused.  A field that could not be read has to be set
    anew.
    """
    if isinstance(value, WireModel):
        _check_whole(value)
        value = value.model_dump(mode="json", by_alias=True, exclude=set(value.model_extra or ()))
    return body_of(model, name, value)


def as_texts(name: str, value: Any) -> list[str] | None:
    """Several texts of any kind as a list; ``None`` stays ``None``, and one text alone is a mistake."""
    if value is None:
        return None
    if isinstance(value, str):
        raise RequestValidationError(name, f"must be a list of texts, not one text; write [{value!r}]")
    if not isinstance(value, Iterable):
        raise RequestValidationError(name, f"must be a list of texts, not {type(value).__name__}")
    return list(cast("Iterable[str]", value))


def _check_whole(read: WireModel) -> None:
    """Refuse to send back a document of which a field could not be read: its default would take the field's place."""
    for name, field in type(read).model_fields.items():
        if name not in read.model_fields_set and {name, field.alias} & set(read.model_extra or ()):
            raise RequestValidationError(
                name, "could not be read as the host sent it; set it before it goes back"
            )


def raw(
    method: Callable[P, Awaitable[T]],
) -> Callable[P, Awaitable[ApiResponse[T]]]:
    """The twin of a resource's bound ``method`` that gives an :class:`ApiResponse`.

    A method that makes several requests gives its whole result with the headers of the last one.
    """
    bound = cast("Any", method)
    resource: AsyncResource = bound.__self__
    function = cast("Callable[Concatenate[AsyncResource, P], Awaitable[T]]", bound.__func__)

    async def with_answer(*args: P.args, **kwargs: P.kwargs) -> ApiResponse[T]:
        twin = copy.copy(resource)
        answers: list[ApiResponse[Any]] = []
        twin._answers = answers  # a twin of our own
        data = await function(twin, *args, **kwargs)
        if not answers:
            raise RequestValidationError(
                "with_raw_response", "no request was made, so there is no answer to give"
            )
        return replace(cast("ApiResponse[T]", answers[-1]), data=data)

    with_answer.__doc__ = method.__doc__
    return with_answer
