"""Workflow definitions as a host shows them (``workflow-definition`` of the protocol)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from pydantic import Discriminator, Field, Tag

from openwop.models.base import JsonObject, TolerantModel

if TYPE_CHECKING:
    from openwop.models.options import RunConfigurable

__all__ = [
    "ChannelDeclaration",
    "ConnectionPortValue",
    "EdgeCondition",
    "ExpressionPortValue",
    "NodeGroup",
    "PortValue",
    "StaticPortValue",
    "VariablePortValue",
    "WorkflowDefinition",
    "WorkflowEdge",
    "WorkflowMetadata",
    "WorkflowNode",
    "WorkflowSettings",
    "WorkflowTrigger",
    "WorkflowVariable",
]


class StaticPortValue(TolerantModel):
    """An input that is a constant."""

    type: Literal["static"]
    value: Any


class ExpressionPortValue(TolerantModel):
    """An input that the host computes."""

    type: Literal["expression"]
    expression: str


class ConnectionPortValue(TolerantModel):
    """An input that is another node's output."""

    type: Literal["connection"]
    node_id: str
    output_key: str
    optional: bool = False


class VariablePortValue(TolerantModel):
    """An input that is a variable of the run."""

    type: Literal["variable"]
    variable_name: str
    optional: bool = False


def _port_kind(value: Any) -> str:
    kind: Any = (
        cast("JsonObject", value).get("type") if isinstance(value, dict) else getattr(value, "type", None)
    )
    return kind if kind in ("static", "expression", "connection", "variable") else "other"


PortValue = Annotated[
    Annotated[StaticPortValue, Tag("static")]
    | Annotated[ExpressionPortValue, Tag("expression")]
    | Annotated[ConnectionPortValue, Tag("connection")]
    | Annotated[VariablePortValue, Tag("variable")]
    | Annotated[Any, Tag("other")],
    Discriminator(_port_kind),
]
"""Where an input of a node comes from; a kind of a later version stays plain JSON."""


class WorkflowNode(TolerantModel):
    """One step of a workflow."""

    id: str
    type_id: str
    name: str = ""
    position: dict[str, float] | None = None
    config: JsonObject = Field(default_factory=dict)
    inputs: dict[str, PortValue] = Field(default_factory=dict)
    credentials_ref: str | None = None
    settings: JsonObject | None = None
    output_role: str | None = None
    disabled: bool = False
    notes: str | None = None
    group_id: str | None = None
    agent: JsonObject | None = None
    envelope_contract: JsonObject | None = None
    artifact_type: str | None = None
    card_type: str | None = None
    output_sensitivity: dict[str, bool] | None = None


class EdgeCondition(TolerantModel):
    """When an edge is followed."""

    type: str | None = None
    left: str | None = None
    right: Any = None
    expression: str | None = None


class WorkflowEdge(TolerantModel):
    """A connection between two nodes; ``trigger_rule`` says when the target may start."""

    id: str
    source_node_id: str
    target_node_id: str
    source_output: str | None = None
    target_input: str | None = None
    condition: EdgeCondition | None = None
    label: str | None = None
    trigger_rule: str = "all_success"


class WorkflowTrigger(TolerantModel):
    """What starts a workflow."""

    id: str
    type: str
    name: str | None = None
    description: str | None = None
    config: JsonObject | None = None
    enabled: bool = True
    node_id: str | None = None
    event_type: str | None = None


class WorkflowVariable(TolerantModel):
    """A variable that every node of a run may read."""

    name: str
    type: str
    description: str | None = None
    required: bool = False
    default_value: Any = None
    sensitive: bool = False


class NodeGroup(TolerantModel):
    """Nodes drawn together; it does not change what runs."""

    id: str
    name: str
    color: str | None = None
    collapsed: bool = False
    node_ids: list[str] = Field(default_factory=list[str])
    position: dict[str, float] | None = None
    size: dict[str, float] | None = None


class ChannelDeclaration(TolerantModel):
    """A typed channel that parallel branches write to; ``reducer`` says how writes combine."""

    reducer: str
    schema_: JsonObject | None = Field(default=None, alias="schema")
    default: Any = None
    max_size: int | None = None
    ttl_ms: int | None = None
    options: JsonObject | None = None
    access: str | JsonObject | None = None
    schema_version: int = 1
    compatible_with: list[int] | None = None
    sensitive: bool = False


class WorkflowMetadata(TolerantModel):
    """Who made a workflow, and when."""

    created_by: str | None = None
    created_at: datetime | None = None
    updated_by: str | None = None
    updated_at: datetime | None = None
    tags: list[str] | None = None
    category: str | None = None
    author: str | None = None
    code_version: str | None = None
    customized_at: datetime | None = None
    customized_by: str | None = None
    forked_from: str | None = None
    cloned_from: str | None = None
    cloned_at: datetime | None = None
    custom_properties: JsonObject | None = None
    compliance_class: str | None = None
    compliance_config: JsonObject | None = None


class WorkflowSettings(TolerantModel):
    """Limits of a workflow: ``timeout`` in milliseconds."""

    timeout: int | None = None
    max_retries: int | None = None
    log_level: str | None = None
    max_loopback_iterations: int | None = None


class WorkflowDefinition(TolerantModel):
    """A workflow: nodes, edges, triggers, variables and channels.

    Example::

        workflow = await client.workflows.get("my-workflow")
        print([node.id for node in workflow.nodes])
    """

    id: str
    name: str = ""
    version: str = ""
    nodes: list[WorkflowNode] = Field(default_factory=list[WorkflowNode])
    edges: list[WorkflowEdge] = Field(default_factory=list[WorkflowEdge])
    triggers: list[WorkflowTrigger] = Field(default_factory=list[WorkflowTrigger])
    variables: list[WorkflowVariable] = Field(default_factory=list[WorkflowVariable])
    metadata: WorkflowMetadata = Field(default_factory=WorkflowMetadata)
    settings: WorkflowSettings = Field(default_factory=WorkflowSettings)
    description: str | None = None
    type: str | None = None
    is_active: bool | None = None
    status: str | None = None
    tenant_id: str | None = None
    scope_id: str | None = None
    slug: str | None = None
    groups: list[NodeGroup] | None = None
    channels: dict[str, ChannelDeclaration] | None = None
    configurable_schema: JsonObject | None = None
    defaults: JsonObject | None = None
    accepts_inherited_artifacts: list[JsonObject] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def validate_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a definition from a JSON or YAML file (``.yaml``, ``.yml``), if nothing is wrong with it.

        Checked are the shape (as an author has to keep to it: no unknown fields, no unknown values), ids that are used
        twice, edges and connections to nodes that are not there, cycles, channels and their reducers, and variables
        that are not declared.  Which node types there are only a host can tell.

        Raises:
            DocumentValidationError: with all ``problems`` at once, each with line, field and rule.
            ConfigurationError: the file is YAML, and PyYAML is not installed (extra ``devhost``).
            OSError: the file cannot be read.

        Protocol: the workflow definition schema, ``channels-and-reducers.md``.

        Example::

            workflow = WorkflowDefinition.validate_file("greet.json")
        """
        from openwop.models.documents import read_checked
        from openwop.models.workflow_rules import workflow_problems

        return cls.model_validate(read_checked(path, workflow_problems))

    def check_configurable(self, options: RunConfigurable | Mapping[str, Any] | None = None) -> None:
        """Check options of a run against this workflow's ``configurable_schema``, as its host will.

        A workflow without such a schema takes whatever the host takes, and nothing is raised.

        Raises:
            RequestValidationError: the first option that the protocol or the schema refuses: ``field`` names it,
                ``rule`` says what it must be.  Also when the schema itself cannot be used.
            ConfigurationError: the package ``jsonschema`` is not installed (extras ``cli`` and ``devhost``).

        Protocol: ``run-options.md``.

        Example::

            workflow = await client.workflows.get("my-workflow")
            workflow.check_configurable({"temperature": 0.2})
        """
        from openwop.models.configurable_schema import check_options

        check_options(self.configurable_schema, options)
