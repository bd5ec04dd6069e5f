"""Options of a run: their ranges, their two encodings, keys that never leave, and what a host says that it takes."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from openwop import ConfigurationError, RequestValidationError, RunConfigurable, WorkflowDefinition
from openwop._core.options import Unlisted, fit_to_host, listed_options
from openwop._core.redact import REDACTED, redact_text
from openwop.models import AiOptions, BudgetPolicy, Capabilities, DistillationOptions, MockProvider
from openwop.models.base import ModelMismatch, check
from openwop.models.key_material import looks_like_key
from openwop.models.runs import RunOptions

KEYS = [
    "sk-abcd1234", "sk-ant-api03-AbCdEfGh", "sk-proj-AbCdEfGh_1234", "sk_live_51Habcdefgh", "hk_live_abcdef",
    "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AIzaSyA1234567890abcdefghijklmnop", "ya29.a0AfH6SMB-x",
    "ghp_0123456789abcdefABCDEF", "github_pat_0123456789abcdef", "glpat-0123456789abcdefABCD", "xoxb-1234567890-ab",
    "hf_0123456789abcdefABCD", "gsk_0123456789abcdefABCD", "xai-0123456789abcdefABCD", "nvapi-0123456789abcdef-A",
    "SG.0123456789abcdefABCD.x", "dapi0123456789abcdef0123456789abcdef", "whsec_0123456789abcdef0",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
    "-----BEGIN PRIVATE KEY-----\nMIIE", "Bearer abc", "bearer\tabc", "Basic dXNlcjpwYXNz", "api_key=abcd",
    "Authorization: x", "token: abcd", "token=abcd", "apiKey:abcd", '{"apiKey": "x"}', '{"token":"x"}',
    "https://user:hunter2@host.example/", "cred:sk-abcd1234",
]  # fmt: skip
REFERENCES = [
    "cred_a3b9c2", "secret_a3b9c2", "0b0e6a1e-52a8-4a45-9c60-3c1a5d1ed5d6", "d41d8cd98f00b204e9800998ecf8427e",
    "vault://team/anthropic", "projects/p/secrets/s/versions/1", "task-sk-list", "my-key", "bearer", "eyJ", "sk-1",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:anthropic-AbCdEf", "secret:anthropic", "token:ci", "key:1",
]  # fmt: skip


def read(options: Any) -> dict[str, Any]:
    sent = check(RunOptions, configurable=options).to_wire()
    assert json.loads(check(RunOptions, configurable=options).to_bytes()) == sent
    return dict(sent["configurable"])


def refusal(options: Any) -> ModelMismatch:
    with pytest.raises(ModelMismatch) as caught:
        check(RunOptions, configurable=options)
    return caught.value


def test_the_reserved_options_go_out_under_their_names() -> None:
    options = RunConfigurable(
        recursion_limit=50, run_timeout_ms=60_000, max_loop_iterations=3, ai_provider="anthropic", ai_model="m",
        ai_credential_ref="cred_1", model="old", temperature=1, max_tokens=5, prompt_overrides={"p": "text"},
        mock_provider=MockProvider(id="stream-text", config={"tokens": ["a"]}), escalation_threshold=0.5,
        reasoning_verbosity="off", distillation_token_budget=7,
        budget=BudgetPolicy(max_tokens=1, max_cost_usd=2, model_allow=["m-*"], on_exhaustion="interrupt"),
        **{"acme.tone": "formal"},
    )  # fmt: skip
    expected = {
        "recursionLimit": 50, "runTimeoutMs": 60_000, "maxLoopIterations": 3, "ai.provider": "anthropic",
        "ai.model": "m", "ai.credentialRef": "cred_1", "model": "old", "temperature": 1, "maxTokens": 5,
        "promptOverrides": {"p": "text"}, "mockProvider": {"id": "stream-text", "config": {"tokens": ["a"]}},
        "escalationThreshold": 0.5, "reasoningVerbosity": "off", "distillation.tokenBudget": 7,
        "budget": {"maxTokens": 1, "maxCostUsd": 2, "modelAllow": ["m-*"], "onExhaustion": "interrupt"},
        "acme.tone": "formal",
    }  # fmt: skip
    assert read(options) == expected
    assert read(expected) == expected
    text = check(RunOptions, configurable=expected).to_bytes()
    assert b'"runTimeoutMs":60000,' in text, "a whole number stays one: some hosts read no 60000.0"


def test_a_whole_number_with_a_point_is_sent_as_a_whole_number() -> None:
    """To JSON, ``5.0`` is the integer 5; not every host sees it so."""
    text = check(RunOptions, configurable={"recursionLimit": 5.0, "budget": {"maxRetries": 0.0}}).to_bytes()
    assert text == b'{"configurable":{"recursionLimit":5,"budget":{"maxRetries":0}}}'


OUT_OF_RANGE: list[tuple[dict[str, Any], str]] = [
    ({"recursionLimit": 0}, "recursionLimit"),
    ({"recursionLimit": 1.5}, "recursionLimit"),
    ({"recursionLimit": "5"}, "recursionLimit"),
    ({"model": ""}, "model"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"temperature": float("nan")}, "temperature"),
    ({"maxTokens": 0}, "maxTokens"),
    ({"promptOverrides": {"p": 1}}, "promptOverrides.p"),
    ({"runTimeoutMs": 0}, "runTimeoutMs"),
    ({"mockProvider": {}}, "mockProvider.id"),
    ({"mockProvider": {"id": "x" * 129}}, "mockProvider.id"),
    ({"mockProvider": {"id": "x", "tokens": []}}, "mockProvider.tokens"),
    ({"maxLoopIterations": 0}, "maxLoopIterations"),
    ({"escalationThreshold": 1.1}, "escalationThreshold"),
    ({"reasoningVerbosity": "loud"}, "reasoningVerbosity"),
    ({"distillation.tokenBudget": 0}, "distillation.tokenBudget"),
    ({"distillation": {"tokenBudget": 0}}, "distillation.tokenBudget"),
    ({"budget": {"maxTokens": 0}}, "budget.maxTokens"),
    ({"budget": {"thresholdPercent": 101}}, "budget.thresholdPercent"),
    ({"budget": {"modelDeny": ["a", "a"]}}, "budget.modelDeny"),
    ({"budget": {"max": 1}}, "budget.max"),
    ({"ai.provider": ""}, "ai.provider"),
    ({"ai": "anthropic"}, "ai"),
    ({"acme.when": {1}}, ""),
]


@pytest.mark.parametrize(("options", "field"), OUT_OF_RANGE)
def test_what_is_out_of_range_is_refused_with_its_place(options: dict[str, Any], field: str) -> None:
    """``run-options.md``: hosts answer 400 to it."""
    assert refusal(options).field == ".".join(["configurable", *filter(None, [field])])


@pytest.mark.duty("C.52")
def test_other_options_pass_under_their_own_names_but_for_the_reserved_ones_of_ai() -> None:
    """Hosts and workflows have options of their own; a vendor's has a prefix, and ``ai.*`` is the protocol's."""
    theirs = {
        "tone": "formal",
        "acme.x": {"deep": [None]},
        "max_tokens": 5,
        "ai_provider": "x",
        "aim": 1,
        "": 0,
    }
    assert read(theirs) == theirs, "a key is never taken for the attribute that happens to have its name"
    assert read(RunConfigurable.from_wire(theirs)) == theirs
    for reserved in ("ai.tone", "ai."):
        assert refusal({reserved: 1}).field == f"configurable.{reserved}"
    assert refusal({"ai": {"tone": 1}}).field == "configurable.ai.tone"


@pytest.mark.duty("C.57")
def test_flat_and_nested_are_what_the_caller_writes() -> None:
    """The protocol does not say which of the two it means, so neither is turned into the other unasked."""
    flat = {"ai.provider": "p", "ai.model": "m", "distillation.tokenBudget": 5, "x": 1}
    nested = {"ai": {"provider": "p", "model": "m"}, "distillation": {"tokenBudget": 5}, "x": 1}
    assert read(flat) == flat
    assert read(nested) == nested
    model = RunConfigurable(
        ai=AiOptions(provider="p", model="m"), distillation=DistillationOptions(token_budget=5), **{"x": 1}
    )
    assert read(model) == nested
    assert model.flat().to_wire() == flat
    assert model.flat().nested().to_wire() == nested
    assert RunConfigurable(ai_model="m").to_wire() == {"ai.model": "m"}, (
        "flat is what to use without a reason"
    )


def test_one_option_is_not_written_both_ways() -> None:
    """We chose it: a host could take either of the two."""
    assert refusal({"ai.model": "a", "ai": {"model": "b"}}).field == "configurable.ai"
    assert refusal({"distillation.tokenBudget": 1, "distillation": {}}).field == "configurable.distillation"
    assert read({"ai": None, "ai.model": "a"}) == {"ai.model": "a"}


@pytest.mark.duty("C.51")
def test_the_newer_name_of_the_model_is_sent_for_a_model_of_a_provider() -> None:
    """``run-options.md`` prefers ``ai.model``; the older name goes out only where the caller writes it."""
    assert read(RunConfigurable(ai_provider="p", ai_model="m")) == {"ai.provider": "p", "ai.model": "m"}
    assert read({"model": "m"}) == {"model": "m"}


@pytest.mark.duty("C.45")
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("place", "wrap"),
    [
        ("ai.credentialRef", lambda key: {"ai.credentialRef": key}),
        ("ai.credentialRef", lambda key: {"ai": {"credentialRef": key}}),
        ("acme.credentialsRef", lambda key: {"acme.credentialsRef": key}),
        ("acme.auth.apiKey", lambda key: {"acme": {"auth": {"apiKey": key}}}),
        ("acme.apiKeys.main", lambda key: {"acme.apiKeys": {"main": key}}),
        ("secrets[0]", lambda key: {"secrets": [key]}),
        ("tokens[0].token", lambda key: {"tokens": [{"token": key}]}),
        ("ai_credential_ref", lambda key: {"ai_credential_ref": key}),
    ],
    ids=["flat", "nested", "vendor", "deep", "keys", "secrets", "list", "homonym"],
)
def test_what_looks_like_a_key_is_refused_and_never_repeated(key: str, place: str, wrap: Any) -> None:
    """Raw key material is never sent, and an error that quoted it would put it into a log."""
    error = refusal(wrap(key))
    assert error.field == f"configurable.{place}"
    assert key not in str(error)
    assert "key" in error.rule


def test_a_model_that_is_made_by_hand_refuses_a_key_without_repeating_it() -> None:
    for make in (
        lambda: RunConfigurable(ai_credential_ref="sk-abcd1234"),
        lambda: RunConfigurable(ai=AiOptions(credential_ref="sk-abcd1234")),
        lambda: RunConfigurable(**{"acme.apiKey": "sk-abcd1234"}),
        lambda: RunConfigurable.from_wire({"ai_credential_ref": "sk-abcd1234"}),
    ):
        with pytest.raises(ValueError, match="never sent") as caught:
            make()
        assert "sk-abcd1234" not in str(caught.value)


def test_what_is_set_on_a_model_later_is_checked_when_it_is_used() -> None:
    """We chose it: a key does not get past the check by being assigned."""
    options = RunConfigurable(temperature=1, **{"acme.tone": "formal", "max_tokens": 7})
    assert read(options) == {"temperature": 1, "acme.tone": "formal", "maxTokens": 7}
    options.ai_credential_ref = "sk-abcd1234"
    assert refusal(options).field == "configurable.ai.credentialRef"
    options.ai_credential_ref = None
    options.temperature = 9
    assert refusal(options).field == "configurable.temperature"
    homonym = RunConfigurable.from_wire({"max_tokens": "many"})
    assert read(homonym) == {"max_tokens": "many"}, "a key is never renamed, here neither"


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_passes(reference: str) -> None:
    assert read({"ai.credentialRef": reference}) == {"ai.credentialRef": reference}


def test_prose_and_made_up_answers_are_not_searched_for_keys() -> None:
    """We chose it: a prompt may speak of keys, and a mock's answer is made up."""
    options = {
        "promptOverrides": {"vault.token": "Never say sk-abcd1234."},
        "mockProvider": {"id": "tool-calls", "config": {"token": "sk-abcd1234"}},
        "note": "sk-abcd1234",
    }
    assert read(options) == options


@pytest.mark.parametrize("text", ["hk_live_abcdef", "sk-" + "a" * 16, "whsec_" + "a" * 16, "eyJ" + "a" * 24])
def test_what_is_taken_out_of_logs_is_also_seen_here(text: str) -> None:
    """We chose it: the two lists of shapes do not fall apart."""
    assert redact_text(text) == REDACTED
    assert looks_like_key(text)


def host(**families: Any) -> Capabilities:
    return Capabilities.model_validate({"protocolVersion": "1.1", **families})


LISTS = {"configurable": {"temperature": {"type": "number"}, "ai.model": {}, "acme.*": {}, "beta": {}}}


@pytest.mark.parametrize(
    ("families", "listed"),
    [
        ({}, None),
        ({"configurable": None}, None),
        ({"configurable": True}, None),
        ({"configurable": {}}, frozenset()),
        ({"configurable": {"a": {}, "b": {}}}, frozenset("ab")),
        ({"configurable": ["a", "b", 7]}, frozenset("ab")),
        ({"configurable": []}, frozenset()),
        ({"configurable": [{"name": "a", "type": "number"}, "b", {"name": 7}]}, frozenset("ab")),
        ({"configurable": [{"key": "a"}]}, None),
        ({"configurable": {"supported": True}}, None),
        ({"configurable": {"supported": False}}, frozenset()),
        ({"configurable": {"supported": True, "a": {}}}, frozenset("a")),
        ({"configurable": {"supported": {"type": "boolean"}}}, frozenset({"supported"})),
        ({"configurable": {"type": "object", "properties": {"a": {}}}}, frozenset("a")),
        ({"configurable": {"properties": {}}}, frozenset({"properties"})),
        ({"capabilities": {"configurable": {"a": {}}}}, frozenset("a")),
    ],
)
def test_a_list_is_understood_in_each_form_that_hosts_write(families: Any, listed: Any) -> None:
    """The schema says only that it is an object; a host that says nothing may take anything."""
    assert listed_options(host(**families)) == listed


@pytest.mark.duty("C.43")
@pytest.mark.parametrize(
    ("options", "stranger", "left"),
    [
        ({"temperature": 1}, None, {"temperature": 1}),
        ({"temperature": 1, "model": "m"}, "model", {"temperature": 1}),
        ({"ai.provider": "p"}, "ai.provider", None),
        ({"ai": {"provider": "p", "model": "m"}}, "ai.provider", {"ai": {"model": "m"}}),
        ({"ai": {"provider": "p"}}, "ai.provider", None),
        ({"acme.tone": 1, "beta.any": 2, "beta": 3}, None, {"acme.tone": 1, "beta.any": 2, "beta": 3}),
        ({"other.tone": 1, "temperature": 1}, "other.tone", {"temperature": 1}),
        ({"acme": {"tone": 1}}, None, {"acme": {"tone": 1}}),
        ({"acme": 1}, "acme", None),
    ],
)
def test_an_option_that_is_not_listed_raises_or_is_left_out_or_sent(
    options: dict[str, Any], stranger: str | None, left: dict[str, Any] | None
) -> None:
    """A client leaves out what its host does not list (``capabilities.md``); silence about it would mislead."""
    given = RunConfigurable.from_wire(options)
    if stranger is None:
        assert fit_to_host(given, host(**LISTS), "raise") is given
    else:
        with pytest.raises(RequestValidationError) as caught:
            fit_to_host(given, host(**LISTS), "raise")
        assert caught.value.field == f"configurable.{stranger}"
        assert "temperature" in caught.value.rule
    omitted = fit_to_host(given, host(**LISTS), "omit")
    assert (omitted and omitted.to_wire()) == left
    assert fit_to_host(given, host(**LISTS), "send") is given
    assert fit_to_host(given, host(), "raise") is given, "a host that lists nothing may take anything"


def test_a_host_that_lists_none_or_very_many_is_told_as_such() -> None:
    given = RunConfigurable(temperature=1)
    with pytest.raises(RequestValidationError, match="it lists none"):
        fit_to_host(given, host(configurable={}), "raise")
    with pytest.raises(RequestValidationError, match=r"o19, …\)"):
        fit_to_host(given, host(configurable={f"o{n:02}": {} for n in range(50)}), "raise")


@pytest.mark.duty("C.46")
@pytest.mark.duty("C.47")
@pytest.mark.parametrize("unlisted", ["raise", "omit", "send"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("families", "provider", "rule"),
    [
        ({}, None, "keeps no credentials"),
        ({"secrets": {"supported": False}, "aiProviders": {"byok": ["a"]}}, "a", "keeps no credentials"),
        ({"secrets": {"supported": "yes"}}, "a", "keeps no credentials"),
        ({"secrets": {"supported": True}}, None, "aiProviders.byok is empty"),
        ({"secrets": {"supported": True}, "aiProviders": {"byok": []}}, None, "aiProviders.byok is empty"),
        ({"secrets": {"supported": True}, "aiProviders": {"byok": ["a"]}}, "b", "only for a"),
        ({"secrets": {"supported": True}, "aiProviders": {"byok": "a"}}, "b", "only for none"),
        ({"secrets": {"supported": True}, "aiProviders": {"byok": ["a"]}}, "a", None),
        ({"secrets": {"supported": True}, "aiProviders": {"byok": ["a"]}}, None, None),
        ({"capabilities": {"secrets": {"supported": True}, "aiProviders": {"byok": ["a"]}}}, "a", None),
    ],
)
def test_a_credential_goes_only_where_it_is_taken(
    families: dict[str, Any], provider: str | None, rule: str | None, nested: bool, unlisted: Unlisted
) -> None:
    """No credential of the caller's to a host that keeps none, nor for a provider that it takes none for."""
    given = RunConfigurable(ai_credential_ref="cred_1", ai_provider=provider)
    given = given.nested() if nested else given
    if rule is None:
        assert fit_to_host(given, host(**families), unlisted) is given
        return
    with pytest.raises(RequestValidationError, match=rule) as caught:
        fit_to_host(given, host(**families), unlisted)
    assert caught.value.field == "configurable.ai.credentialRef"
    assert "cred_1" not in str(caught.value)


@pytest.mark.duty("C.48")
def test_unknown_members_of_the_families_for_credentials_do_no_harm() -> None:
    families = {
        "secrets": {"supported": True, "scopes": ["galaxy"], "resolution": "x"},
        "aiProviders": {
            "byok": ["acme.model-shop", 7],
            "policies": {"modes": ["sometimes"]},
            "authModes": {"a": 1},
        },
    }
    given = RunConfigurable(ai_credential_ref="cred_1", ai_provider="acme.model-shop")
    assert fit_to_host(given, host(**families), "raise") is given


@pytest.mark.duty("C.49")
@pytest.mark.duty("C.50")
@pytest.mark.parametrize(
    "providers",
    [
        {"authModes": {"a": ["telepathy"]}},
        {"authModes": {"a": ["none"]}},
        {"authModes": "unknown"},
        {"selfHosted": ["ollama"], "authModes": {"ollama": ["none"]}},
        {},
    ],
)
def test_nothing_is_guessed_from_ways_to_authenticate_or_from_who_hosts_a_provider(providers: Any) -> None:
    """``byok`` alone says who takes credentials; a self-hosted provider may have any model, with any options."""
    families = {"secrets": {"supported": True}, "aiProviders": {"byok": ["a", "ollama"], **providers}}
    for provider in ("a", "ollama"):
        given = RunConfigurable(
            ai_provider=provider, ai_model="any", ai_credential_ref="cred_1", max_tokens=10**6
        )
        assert fit_to_host(given, host(**families), "raise") is given
    given = RunConfigurable(ai_provider="b", ai_credential_ref="cred_1")
    with pytest.raises(RequestValidationError, match="only for a, ollama"):
        fit_to_host(given, host(**families), "raise")


def workflow(schema: Any) -> WorkflowDefinition:
    return WorkflowDefinition(id="w", configurable_schema=schema)


SCHEMA = {
    "type": "object",
    "required": ["tone"],
    "properties": {
        "tone": {"enum": ["formal", "plain"]},
        "temperature": {"type": "number", "maximum": 1},
        "acme": {"type": "object", "properties": {"deep": {"type": "array", "items": {"type": "string"}}}},
    },
    "patternProperties": {"^x-": {"type": "integer"}},
    "additionalProperties": False,
}


@pytest.mark.duty("C.44")
@pytest.mark.parametrize(
    ("options", "field", "rule"),
    [
        (None, "configurable.tone", "is required"),
        ({}, "configurable.tone", "is required"),
        (RunConfigurable(temperature=1), "configurable.tone", "is required"),
        ({"tone": "rude"}, "configurable.tone", 'must satisfy enum ["formal", "plain"]'),
        ({"tone": "plain", "temperature": 1.5}, "configurable.temperature", "must satisfy maximum 1"),
        ({"tone": "plain", "x-1": 1, "model": "m"}, "configurable.model", "is not among the options"),
        ({"tone": "plain", "acme": {"deep": ["a", 1]}}, "configurable.acme.deep[1]", 'type "string"'),
        ({"tone": "plain", "temperature": 7}, "configurable.temperature", "less than or equal to 2"),
        ({"tone": "plain", "ai.credentialRef": "sk-abcd1234"}, "configurable.ai.credentialRef", "never sent"),
    ],
)
def test_options_are_held_against_the_schema_of_their_workflow(options: Any, field: str, rule: str) -> None:
    """Hosts expose the schema for this; what the protocol refuses is refused all the same."""
    with pytest.raises(RequestValidationError) as caught:
        workflow(SCHEMA).check_configurable(options)
    assert caught.value.field == field
    assert rule in caught.value.rule
    assert "rude" not in str(caught.value), "a value may be a secret, and is not repeated"


def test_options_that_fit_pass_and_so_does_anything_without_a_schema() -> None:
    workflow(SCHEMA).check_configurable({"tone": "plain", "temperature": 0.5, "x-1": 1})
    workflow(None).check_configurable({"anything": 1})
    workflow(None).check_configurable()


def nested(levels: int) -> dict[str, Any]:
    """A schema inside of schemas."""
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "strange"}, "configurableSchema.type"),
        ({"$ref": "https://host.invalid/schema.json"}, "configurableSchema"),
        ({"$ref": "#/nowhere"}, "configurableSchema"),
        ({"$ref": "#"}, "configurableSchema"),
        ({"$id": "http://[bad", "$ref": "other"}, "configurableSchema"),
        ({"$defs": {"deep": nested(5000)}}, "configurableSchema"),
    ],
)
def test_a_schema_that_cannot_be_used_is_told_and_nothing_is_fetched(schema: Any, field: str) -> None:
    """We chose it: a reference in a host's schema is no reason to ask other servers."""
    with pytest.raises(RequestValidationError) as caught:
        workflow(schema).check_configurable({})
    assert caught.value.field == field


def test_a_number_that_a_schema_cannot_be_held_against_is_told() -> None:
    with pytest.raises(RequestValidationError, match="cannot be used for checking"):
        workflow({"properties": {"n": {"multipleOf": 0.1}}}).check_configurable({"n": 10**400})


def test_a_long_rule_is_cut() -> None:
    with pytest.raises(RequestValidationError) as caught:
        workflow({"properties": {"tone": {"enum": ["x" * 500]}}}).check_configurable({"tone": "y"})
    assert len(caught.value.rule) < 250


def test_checking_against_a_schema_says_which_package_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency of the client."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    workflow(None).check_configurable({})
    with pytest.raises(ConfigurationError, match=r"openwop\[cli\]"):
        workflow(SCHEMA).check_configurable({"tone": "plain"})


def test_a_model_is_closed_where_the_protocol_is() -> None:
    with pytest.raises(ValidationError):
        MockProvider.model_validate({"id": "x", "tokens": []})
