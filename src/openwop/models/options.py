"""Options of a run: the keys of ``configurable`` that the protocol has reserved, and their ranges (``run-options.md``).

Whatever is not reserved passes as it is: hosts and workflows have options of their own.  A vendor's option has the
vendor's prefix (``acme.tone``); names below ``ai.`` are the protocol's, and one that it does not have is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.fields import FieldInfo

from openwop.models.base import JsonObject, RequestModel, misplaced
from openwop.models.checks import check_json
from openwop.models.json_schema import dotted
from openwop.models.key_material import keys_in, looks_like_key

__all__ = [
    "AiOptions",
    "BudgetPolicy",
    "Configurable",
    "DistillationOptions",
    "MockProvider",
    "RunConfigurable",
]

_NOT_SEARCHED = ("mockProvider", "promptOverrides")
"""Options that are made up, or prose: a word in them that looks like a key is none."""


_NO_KEYS = (
    "must be the host's reference to a stored credential; this looks like a key, and keys are never sent"
)


def _check_reference(reference: str) -> str:
    if looks_like_key(reference):
        raise ValueError(_NO_KEYS)  # and no part of what was given: it may be a key
    return reference


def _keep_whole(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    number = handler(value)
    # A float would turn 60000 into 60000.0, which not every host reads as a whole number.
    return value if isinstance(value, int) else number


def _as_it_is(value: Any) -> Any:
    return value


def _whole(value: Any) -> Any:
    # To JSON, 5.0 is a whole number.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
Number = Annotated[float, WrapValidator(_keep_whole), PlainSerializer(_as_it_is)]
CredentialRef = Annotated[str, Field(min_length=1), AfterValidator(_check_reference)]
FreeJson = Annotated[JsonObject, AfterValidator(check_json)]


def _unique(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must not have the same item twice")
    return values


class MockProvider(RequestModel):
    """Answers made up by the host in place of a model's: for test keys only.

    ``config`` belongs to the provider; ``stream-text``, which every host with mock providers has, takes ``tokens``,
    ``delayMsPerToken`` (0 to 5000 milliseconds), ``finishReason``, ``usage`` and ``model``.

    Example::

        MockProvider(id="stream-text", config={"tokens": ["Hello", " world"]})
    """

    id: Annotated[str, Field(min_length=1, max_length=128)]
    config: FreeJson | None = None


class AiOptions(RequestModel):
    """Which model answers, in the nested encoding (``{"ai": {"provider": …}}``)."""

    provider: Text | None = None
    """One of ``aiProviders.supported`` in the host's discovery document."""
    model: Text | None = None
    """A model of that provider's."""
    credential_ref: CredentialRef | None = None
    """The host's opaque reference to a credential that it keeps; never a key."""


class DistillationOptions(RequestModel):
    """Limits of a run that distils memories, in the nested encoding."""

    token_budget: Count | None = None


class BudgetPolicy(RequestModel):
    """What a run may spend; what is left out is unbounded (``budget-policy.md``)."""

    max_tokens: Count | None = None
    max_cost_usd: Annotated[Number, Field(ge=0)] | None = None
    max_tool_calls: Count | None = None
    max_retries: Annotated[int, BeforeValidator(_whole), Field(ge=0)] | None = None
    model_allow: Annotated[list[str], AfterValidator(_unique)] | None = None
    """Names of models, with ``*`` for any text; ``model_deny`` wins over it."""
    model_deny: Annotated[list[str], AfterValidator(_unique)] | None = None
    threshold_percent: Annotated[Number, Field(ge=0, le=100)] | None = None
    """When the log says that a limit is near: per cent of it."""
    on_exhaustion: Literal["fail", "interrupt"] | None = None


class RunConfigurable(RequestModel):
    """The options of a run that have a meaning in the protocol, and any others by their names on the wire.

    **Two encodings.**  The protocol writes ``ai.provider`` and does not say whether that is a key with a dot or an
    object in an object.  Here it is what you write: ``ai_provider``, ``ai_model``, ``ai_credential_ref`` and
    ``distillation_token_budget`` go out flat (``{"ai.provider": …}``), which is what to choose when nothing else is
    known; ``ai`` and ``distillation`` go out nested (``{"ai": {"provider": …}}``).  :meth:`flat` and :meth:`nested`
    turn one into the other; nothing else does.

    Example::

        options = RunConfigurable(temperature=0.2, ai_provider="anthropic", **{"acme.tone": "formal"})
        run = await client.start("my-workflow", configurable=options)
    """

    model_config = ConfigDict(extra="allow")

    recursion_limit: Count | None = None
    """How many nodes the run may execute; the host's ``limits.maxNodeExecutions`` is the ceiling."""
    run_timeout_ms: Annotated[Number, Field(gt=0)] | None = None
    """How long the run may take, in milliseconds; ``limits.maxRunDurationMs`` is the ceiling."""
    max_loop_iterations: Count | None = None
    """How many turns the run's orchestrator may take."""
    ai_provider: Text | None = Field(
        default=None, validation_alias="ai.provider", serialization_alias="ai.provider"
    )
    ai_model: Text | None = Field(default=None, validation_alias="ai.model", serialization_alias="ai.model")
    """A model of ``ai_provider``'s; prefer it over ``model``."""
    ai_credential_ref: CredentialRef | None = Field(
        default=None, validation_alias="ai.credentialRef", serialization_alias="ai.credentialRef"
    )
    """The host's opaque reference to a credential that it keeps; never a key."""
    ai: AiOptions | None = None
    model: Text | None = None
    """A model, of whichever provider has it: older than ``ai_model``, which says more."""
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    max_tokens: Count | None = None
    """How many tokens a model may answer with."""
    prompt_overrides: Annotated[dict[str, str], AfterValidator(check_json)] | None = None
    """Texts in place of prompts, by the prompts' ids."""
    mock_provider: MockProvider | None = None
    escalation_threshold: Annotated[Number, Field(ge=0, le=1)] | None = None
    """Confidence below which an agent's decision is put before a person; hosts take 0.7 without it."""
    reasoning_verbosity: Literal["summary", "full", "off"] | None = None
    distillation_token_budget: Count | None = Field(
        default=None,
        validation_alias="distillation.tokenBudget",
        serialization_alias="distillation.tokenBudget",
    )
    distillation: DistillationOptions | None = None
    budget: BudgetPolicy | None = None

    @classmethod
    def from_wire(cls, options: Mapping[str, Any]) -> Self:
        """The options in JSON as it goes over the wire.  A key is never renamed.

        A workflow may have an option named ``max_tokens`` of its own, which is not the protocol's ``maxTokens``.

        Raises:
            pydantic.ValidationError: an option that the protocol refuses.

        Example::

            RunConfigurable.from_wire({"ai.provider": "anthropic", "acme.tone": "formal"})
        """
        return cast("Self", _with_keys_as_they_are(dict(options), cls.model_validate))

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        others: JsonObject = check_json(self.__pydantic_extra__ or {})
        for key in others:
            if key.startswith("ai."):
                rule = "is no option of the protocol, which keeps names below 'ai.' for itself"
                raise misplaced(key, f"{rule}; a vendor's option has the vendor's prefix")
        for place in keys_in({key: item for key, item in others.items() if key not in _NOT_SEARCHED}):
            raise misplaced(dotted(place), _NO_KEYS)
        for nested in ("ai", "distillation"):
            flat = [name for name in self._given() if name.startswith(f"{nested}_")]
            if flat and getattr(self, nested) is not None:
                raise misplaced(nested, "must be written flat or nested, not both")
        return self

    def _given(self) -> list[str]:
        return [
            name for name in type(self).model_fields if name in self.model_fields_set and getattr(self, name)
        ]

    def flat(self) -> Self:
        """The same options with ``ai`` and ``distillation`` written as keys with a dot.

        Example::

            assert RunConfigurable(ai=AiOptions(model="m")).flat().to_wire() == {"ai.model": "m"}
        """
        wire = self.to_wire()
        for family in ("ai", "distillation"):
            for name, value in wire.pop(family, {}).items():
                wire[f"{family}.{name}"] = value
        return self.from_wire(wire)

    def nested(self) -> Self:
        """The same options with ``ai`` and ``distillation`` written as objects.

        Example::

            assert RunConfigurable(ai_model="m").nested().to_wire() == {"ai": {"model": "m"}}
        """
        wire = self.to_wire()
        for key in list(wire):
            family, dot, name = key.partition(".")
            if dot and key in _wire_names(type(self)):
                wire.setdefault(family, {})[name] = wire.pop(key)
        return self.from_wire(wire)


def _wire_name(name: str, field: FieldInfo) -> str:
    return field.serialization_alias or field.alias or name


def _wire_names(model: type[RequestModel]) -> set[str]:
    return {_wire_name(name, field) for name, field in model.model_fields.items()}


def _with_keys_as_they_are(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Read a JSON object without taking a key for the attribute that happens to have its name."""
    if isinstance(value, RunConfigurable):
        # Its attributes may have been set since it was checked, and what is sent must be what is checked here.
        value = value.model_dump(by_alias=True, exclude_unset=True, warnings=False)
    if not isinstance(value, dict):
        return handler(value)
    options = cast("JsonObject", value)
    attributes = RunConfigurable.model_fields.keys() - _wire_names(RunConfigurable)
    homonyms = {key: item for key, item in options.items() if key in attributes}
    model: RunConfigurable = handler({key: item for key, item in options.items() if key not in homonyms})
    for place in keys_in(check_json(homonyms)):
        raise misplaced(dotted(place), _NO_KEYS)
    cast("JsonObject", model.__pydantic_extra__).update(homonyms)
    return model


Configurable = Annotated[RunConfigurable, WrapValidator(_with_keys_as_they_are)]
"""The options as a field of a request: a model, or JSON whose keys are never renamed."""
