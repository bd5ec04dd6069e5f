"""Prompt templates (``prompts.md``): as hosts show them, and the bodies that add, change and render them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from openwop.models.base import JsonObject, RequestModel, TolerantModel, in_object
from openwop.models.checks import check_date_time, check_json, encode

__all__ = [
    "PromptMeta",
    "PromptMetaRequest",
    "PromptModelHints",
    "PromptModelHintsRequest",
    "PromptPage",
    "PromptRef",
    "PromptTemplate",
    "PromptTemplateRequest",
    "PromptVariable",
    "PromptVariableRequest",
    "RenderPromptRequest",
    "RenderedPrompt",
    "check_library_id",
    "check_version",
]

MAX_TEXT_BYTES = 65_536

_ID = r"[a-z0-9][a-z0-9._-]{0,127}"
_VERSION = r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"
_ID_PATTERN = re.compile(_ID)
_VERSION_PATTERN = re.compile(_VERSION)
_REF_PATTERN = re.compile(rf"prompt:{_ID}(@{_VERSION})?")
_VARIABLE_PATTERN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_PACK_PATTERN = re.compile(r"(core|vendor|community|private)\.[a-z][a-z0-9_-]*(\.[a-z][a-zA-Z0-9_-]*)+")


def _matching(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(value: str) -> str:
        if pattern.fullmatch(value) is None:
            raise ValueError(rule)
        return value

    return AfterValidator(check)


_ID_RULE = "must be 1 to 128 of a-z 0-9 . _ - and begin with a letter or digit, such as 'writer'"
_VERSION_RULE = "must be a semantic version such as '1.2.0'"


def check_library_id(value: str) -> str | None:
    """What is wrong with the id of a library, or ``None``."""
    return None if _ID_PATTERN.fullmatch(value) else _ID_RULE


def check_version(value: str) -> str | None:
    """What is wrong with an exact version, or ``None``."""
    return None if _VERSION_PATTERN.fullmatch(value) else _VERSION_RULE


# ------------------------------------------------------------------------------------------------------------ reading


class PromptVariable(TolerantModel):
    """What a ``{{name}}`` in a template stands for."""

    name: str
    type: str = "string"
    """``string number boolean array object``."""
    required: bool = False
    source: str | None = None
    """``input variable secret context``; ``None`` means ``input``."""
    extract_path: str | None = None
    default_value: Any = None
    description: str | None = None


class PromptModelHints(TolerantModel):
    """Advice of a template's author, which overrides nothing."""

    model_class: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    envelope_type: str | None = None


class PromptMeta(TolerantModel):
    """Where a template comes from: ``source`` is ``host``, ``pack`` or ``user``, and only a user's can be changed."""

    author: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    source: str | None = None
    pack_name: str | None = None
    pack_version: str | None = None


class PromptTemplate(TolerantModel):
    """One version of a prompt template; ``{{name}}`` in its text is where values go, and nothing else is special.

    Example::

        template = await client.prompts.get("writer")
        newer = template.model_copy(update={"version": "1.1.0", "text": "Write about {{topic}}, briefly."})
        await client.prompts.update("writer", newer)
    """

    template_id: str
    version: str = ""
    kind: str = ""
    """``system user few-shot schema-hint``, or one of a later protocol version."""
    text: str = ""
    name: str | None = None
    description: str | None = None
    variables: list[PromptVariable] = Field(default_factory=list[PromptVariable])
    model_hints: PromptModelHints | None = None
    tags: list[str] = Field(default_factory=list[str])
    meta: PromptMeta | None = None


class PromptPage(TolerantModel):
    """One page of templates; ``next_cursor`` leads to the next one and is ``None`` on the last."""

    items: list[PromptTemplate]
    next_cursor: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_the_list_alone(cls, value: Any) -> Any:
        return in_object("items", value)

    @field_validator("next_cursor", mode="before")
    @classmethod
    def _number_is_text(cls, value: Any) -> Any:
        # A cursor that was dropped for being a number would end the list early, and nobody would know.
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class RenderedPrompt(TolerantModel):
    """What came of rendering; every hash is ``sha256:`` and 64 hexadecimal digits."""

    hash: str
    refs: list[str] = Field(default_factory=list[str])
    """The templates that it was made of, each in its version."""
    variable_hashes: dict[str, str] = Field(default_factory=dict[str, str])
    composed: str | None = None
    """The text; only from hosts whose ``prompts.observability`` is ``full``."""
    content_trust: str | None = None


# ------------------------------------------------------------------------------------------------------------ sending


def _fits(text: str) -> str:
    size = len(text.encode("utf-8", "surrogatepass"))  # half a surrogate pair is refused elsewhere, by name
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"at most {MAX_TEXT_BYTES} bytes in UTF-8, not {size}")
    return text


def _is_json(value: Any) -> Any:
    encode(value)
    return value


PromptId = Annotated[str, _matching(_ID_PATTERN, _ID_RULE)]
Version = Annotated[str, _matching(_VERSION_PATTERN, _VERSION_RULE)]
Kind = Literal["system", "user", "few-shot", "schema-hint"]
DateTime = Annotated[str, AfterValidator(check_date_time)]


class PromptVariableRequest(RequestModel):
    """The declaration of a variable, to be sent."""

    name: Annotated[
        str, _matching(_VARIABLE_PATTERN, "must be 1 to 64 letters, digits and _, not a digit first")
    ]
    type: Literal["string", "number", "boolean", "array", "object"]
    required: bool
    source: Literal["input", "variable", "secret", "context"] | None = None
    extract_path: str | None = None
    default_value: Annotated[Any, AfterValidator(_is_json)] = None
    description: Annotated[str, Field(max_length=500)] | None = None


class PromptModelHintsRequest(RequestModel):
    """Advice for whoever calls a model, to be sent."""

    model_class: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    envelope_type: str | None = None


class PromptMetaRequest(RequestModel):
    """Provenance, to be sent; hosts fill in most of it themselves.  A pack's template names its pack."""

    author: str | None = None
    created_at: DateTime | None = None
    updated_at: DateTime | None = None
    source: Literal["host", "pack", "user"] | None = None
    pack_name: (
        Annotated[str, _matching(_PACK_PATTERN, "must be a pack's name such as 'vendor.acme.prompts'")] | None
    ) = None
    pack_version: Version | None = None

    @model_validator(mode="after")
    def _pack_is_named(self) -> PromptMetaRequest:
        if self.source == "pack" and (self.pack_name is None or self.pack_version is None):
            raise ValueError("must have pack_name and pack_version, since its source is 'pack'")
        return self


class PromptTemplateRequest(RequestModel):
    """A template to be added, or a newer version of one.  Closed: hosts refuse fields they do not know."""

    template_id: PromptId
    version: Version
    kind: Kind
    text: Annotated[str, Field(max_length=MAX_TEXT_BYTES), AfterValidator(_fits)]
    name: Annotated[str, Field(max_length=200)] | None = None
    description: Annotated[str, Field(max_length=2000)] | None = None
    variables: list[PromptVariableRequest] | None = None
    model_hints: PromptModelHintsRequest | None = None
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=32)] | None = (
        None
    )
    meta: PromptMetaRequest | None = None


class PromptRef(RequestModel):
    """A template by its parts: for a pinned library, or for ``variable_overrides``.

    Example::

        await client.prompts.render(PromptRef(template_id="writer", library_id="vendor.acme.prompts"), {"topic": "x"})
    """

    library_id: PromptId | None = None
    template_id: PromptId
    version: Version | None = None
    variable_overrides: Annotated[JsonObject, AfterValidator(check_json)] | None = None


class RenderPromptRequest(RequestModel):
    """The body of a render call."""

    ref: (
        Annotated[str, _matching(_REF_PATTERN, "must be 'prompt:<id>' or 'prompt:<id>@<version>'")]
        | PromptRef
    )
    variables: Annotated[JsonObject, AfterValidator(check_json)]
    content_trust: Literal["trusted", "untrusted"] | None = None
