"""What the author of a workflow definition may write, as a JSON Schema: closed, unlike what a reader must put up with.

The shape is the protocol's ``workflow-definition``; :mod:`openwop.models.workflow_rules` has what no schema can say.
"""

from __future__ import annotations

from openwop.models.base import JsonObject

__all__ = ["WORKFLOW_SCHEMA"]

_STRING: JsonObject = {"type": "string"}
_TEXT: JsonObject = {"type": "string", "minLength": 1}
_FLAG: JsonObject = {"type": "boolean"}
_FREE: JsonObject = {"type": "object"}
_COUNT: JsonObject = {"type": "integer", "minimum": 0}
_POSITIVE: JsonObject = {"type": "integer", "minimum": 1}
_TIME: JsonObject = {"type": "string", "format": "date-time"}
_NAME = r"^[a-z0-9][a-z0-9._-]{0,127}$"
_SEMVER = r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"


def _closed(required: str, /, **properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def _open(required: str = "", /, **properties: JsonObject) -> JsonObject:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list_of(items: JsonObject, /, **limits: int | bool) -> JsonObject:
    return {"type": "array", "items": items, **limits}


def _one_of(*values: str) -> JsonObject:
    return {"type": "string", "enum": list(values)}


def _when(type: str, then: JsonObject, otherwise: JsonObject) -> JsonObject:
    return {"if": {"type": type}, "then": then, "else": otherwise}


_POINT = _open("x y", x={"type": "number"}, y={"type": "number"})

_PORTS: dict[str, JsonObject] = {
    "static": _closed("type value", type={}, value={}),
    "expression": _closed("type expression", type={}, expression=_TEXT),
    "connection": _closed("type nodeId outputKey", type={}, nodeId=_TEXT, outputKey=_TEXT, optional=_FLAG),
    "variable": _closed("type variableName", type={}, variableName=_TEXT, optional=_FLAG),
}
_PORT: JsonObject = {
    **_open("type", type={"enum": list(_PORTS)}),
    # One condition per kind, and not `oneOf`, which can only say that none of the four fits.
    "allOf": [
        {"if": {"required": ["type"], "properties": {"type": {"const": kind}}}, "then": shape}
        for kind, shape in _PORTS.items()
    ],
}

_MODEL_CLASSES = "reasoning tool-using chat code vision multimodal embedding classification retrieval"
_AGENT: JsonObject = {
    **_closed(
        "agentId",
        agentId={"type": "string", "minLength": 3, "maxLength": 256},
        name={"type": "string", "maxLength": 256},
        modelClass=_one_of(*_MODEL_CLASSES.split()),
        memoryRef={**_TEXT, "maxLength": 256},
        version={"type": "string", "maxLength": 64},
        channel={**_TEXT, "maxLength": 64},
        sourceManifestId={"type": "string", "maxLength": 256},
    ),
    "not": {"required": ["version", "channel"]},
}

_NODE = _closed(
    "id typeId name position config inputs",
    id=_TEXT,
    typeId={**_TEXT, "pattern": r"^[a-z][a-zA-Z0-9._-]*$"},
    name=_TEXT,
    position=_POINT,
    config=_FREE,
    inputs={"type": "object", "additionalProperties": _PORT},
    credentialsRef=_STRING,
    settings=_FREE,
    outputRole=_one_of("primary", "secondary"),
    disabled=_FLAG,
    notes=_STRING,
    groupId=_STRING,
    agent=_AGENT,
    envelopeContract=_FREE,
    artifactType=_STRING,
    cardType=_STRING,
    outputSensitivity={"type": "object", "additionalProperties": _FLAG},
)

_EDGE = _closed(
    "id sourceNodeId targetNodeId",
    id=_TEXT,
    sourceNodeId=_TEXT,
    sourceOutput=_STRING,
    targetNodeId=_TEXT,
    targetInput=_STRING,
    condition=_closed(
        "",
        type=_one_of("expression", "equals", "notEquals", "contains", "regex"),
        left=_STRING,
        right={},
        expression=_STRING,
    ),
    label=_STRING,
    triggerRule=_one_of("all_success", "any_success", "all_complete", "none_failed", "any_failed"),
)

_TRIGGER_TYPES = (
    "manual schedule webhook event artifact canvas envelope command chat-message channel-write".split()
)
_TRIGGER = _closed(
    "id type",
    id=_TEXT,
    type=_one_of(*_TRIGGER_TYPES),
    name=_STRING,
    description=_STRING,
    config=_FREE,
    enabled=_FLAG,
    nodeId=_STRING,
    eventType=_STRING,
)

_VARIABLE = _closed(
    "name type",
    name=_TEXT,
    type=_one_of("string", "number", "boolean", "object", "array"),
    description=_STRING,
    required=_FLAG,
    defaultValue={},
    sensitive=_FLAG,
)

_GROUP = _closed(
    "id name nodeIds position size",
    id=_TEXT,
    name=_TEXT,
    color=_STRING,
    collapsed=_FLAG,
    nodeIds=_list_of(_STRING),
    position=_POINT,
    size=_open("width height", width={"type": "number"}, height={"type": "number"}),
)

_ACCESS_LIST = _list_of(
    {**_TEXT, "maxLength": 256, "pattern": r"^([a-z][a-zA-Z0-9._-]*\*?|\*)$"}, maxItems=256, uniqueItems=True
)
_CHANNEL = _closed(
    "reducer",
    reducer={
        "type": "string",
        "pattern": r"^(replace|append|merge|counter|votes|feedback|message"
        r"|vendor\.[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*)$",
        "x-pattern-means": "be replace, append, merge, counter, votes, feedback, message or vendor.<org>.<name>",
    },
    schema=_FREE,
    default={},
    maxSize=_POSITIVE,
    ttlMs={**_POSITIVE, "maximum": 31_536_000_000},
    options=_FREE,
    access=_when(
        "string",
        _one_of("public", "private"),
        _closed("", readers=_ACCESS_LIST, writers=_ACCESS_LIST),
    ),
    schemaVersion=_POSITIVE,
    compatibleWith=_list_of(_POSITIVE, uniqueItems=True),
    sensitive=_FLAG,
)

_PROMPT_REF = _when(
    "string",
    {"type": "string", "pattern": rf"^prompt:[a-z0-9][a-z0-9._-]{{0,127}}(@{_SEMVER})?$"},
    _closed(
        "templateId",
        libraryId={"type": "string", "pattern": _NAME},
        templateId={"type": "string", "pattern": _NAME},
        version={"type": "string", "pattern": f"^{_SEMVER}$"},
        variableOverrides=_FREE,
    ),
)
_PROMPT_KINDS = ("system", "user", "few-shot", "schema-hint")

_METADATA = _open(
    createdBy=_STRING,
    createdAt=_TIME,
    updatedBy=_STRING,
    updatedAt=_TIME,
    tags=_list_of({**_TEXT, "maxLength": 256}, maxItems=100),
    category=_STRING,
    author=_STRING,
    codeVersion=_STRING,
    customizedAt=_TIME,
    customizedBy=_STRING,
    forkedFrom=_STRING,
    clonedFrom=_STRING,
    clonedAt=_TIME,
    customProperties=_FREE,
    complianceClass=_one_of("public", "pii", "phi", "pci", "regulated"),
    complianceConfig=_open(maskingMode=_one_of("mask", "omit", "hash", "passthrough")),
)

_SETTINGS = _open(
    timeout=_COUNT,
    maxRetries=_COUNT,
    logLevel=_one_of("debug", "info", "warn", "error"),
    maxLoopbackIterations=_POSITIVE,
)

WORKFLOW_SCHEMA: JsonObject = _closed(
    "id name version nodes edges triggers variables metadata settings",
    id={
        **_TEXT,
        "maxLength": 128,
        "pattern": r"^[a-z][a-z0-9_-]*$",
        "x-pattern-means": "begin with a letter and have only lower-case letters, digits, '_' and '-'",
    },
    name={**_TEXT, "maxLength": 256},
    description=_STRING,
    version=_TEXT,
    type=_STRING,
    isActive=_FLAG,
    status=_one_of("active", "inactive", "draft", "archived"),
    tenantId=_STRING,
    scopeId=_STRING,
    slug={"type": "string", "pattern": r"^[a-z0-9][a-z0-9_-]*$"},
    nodes=_list_of(_NODE, minItems=1),
    edges=_list_of(_EDGE),
    triggers=_list_of(_TRIGGER),
    variables=_list_of(_VARIABLE),
    groups=_list_of(_GROUP),
    channels={"type": "object", "additionalProperties": _CHANNEL},
    configurableSchema=_FREE,
    defaults=_closed("", promptRefs=_closed("", **dict.fromkeys(_PROMPT_KINDS, _PROMPT_REF))),
    metadata=_METADATA,
    settings=_SETTINGS,
    acceptsInheritedArtifacts=_list_of(_FREE),
    createdAt=_TIME,
    updatedAt=_TIME,
)
"""A workflow definition as it is written."""
