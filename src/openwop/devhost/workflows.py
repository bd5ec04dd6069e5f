"""Adding workflows: to a host, or to a collection that a host takes over later."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from openwop.devhost.builder import node, workflow
from openwop.devhost.definition import parse_workflow
from openwop.devhost.functions import FUNCTION_NODE, FUNCTION_TYPE, WorkflowFunction, checked_function
from openwop.devhost.json_values import JsonObject
from openwop.devhost.nodes import KNOWN_TYPES

F = TypeVar("F", bound=WorkflowFunction)


class TakesWorkflows(ABC):
    """Whoever workflows can be added to."""

    @abstractmethod
    def _have_workflow(self, definition: JsonObject, function: WorkflowFunction | None) -> None:
        """Take a definition, and the function that its node calls when it is written in Python."""

    def add_workflow(self, definition: Mapping[str, Any]) -> None:
        """Have a workflow from now on, in the place of one with the same id.

        Args:
            definition: The protocol's JSON shape; :mod:`openwop.devhost.builder` writes it for you.

        Raises:
            WorkflowDefinitionError: The definition breaks a rule; the message names the place.
        """
        self._have_workflow(dict(definition), None)

    def workflow(
        self,
        id: str,
        *,
        name: str | None = None,
        version: str = "1.0.0",
        variables: Iterable[JsonObject] = (),
        channels: JsonObject | None = None,
        settings: JsonObject | None = None,
        configurable_schema: JsonObject | None = None,
        description: str | None = None,
    ) -> Callable[[F], F]:
        """Have a workflow that is an async function of one argument, its :class:`WorkflowContext`.

        What the function returns is the run's outputs, and sets variables of the same names; what is no mapping is
        the output ``result``. An exception fails the run: a :class:`WorkflowFailure` with its own code, any other
        one with ``workflow_error`` and its text. A cancel of the run cancels the function.

        Args:
            id: Lower case letters, digits, ``-`` and ``_``.
            name: For people; the id when absent.
            version: The definition's own version.
            variables: Declared variables, in the protocol's shape: inputs are checked against them.
            channels: Channel declarations by name.
            settings: Such as ``{"timeout": 5000, "maxRetries": 1}``.
            configurable_schema: A JSON Schema for ``configurable``.
            description: A sentence about it.

        Raises:
            WorkflowDefinitionError: The definition breaks a rule.
            TypeError: What is decorated is not an async function.

        Example::

            @host.workflow("greet")
            async def greet(ctx: WorkflowContext) -> dict[str, object]:
                return {"text": f"Hello {ctx.inputs['name']}"}
        """
        document = workflow(
            id,
            [node(FUNCTION_NODE, FUNCTION_TYPE, outputRole="primary")],
            name=name,
            version=version,
            variables=variables,
            channels=channels,
            settings=settings,
            configurable_schema=configurable_schema,
            description=description,
        )

        def add(function: F) -> F:
            self._have_workflow(document, checked_function(function))
            return function

        return add


@dataclass(frozen=True, slots=True)
class OwnWorkflow:
    """A definition, and the function that its node calls when it is written in Python."""

    definition: JsonObject
    function: WorkflowFunction | None = None


class Workflows(TakesWorkflows):
    """Workflows of a Python file, for ``openwop dev --workflows FILE.py``, and for tests that want the same ones.

    Attributes:
        own: What has been added, by id.

    Example::

        host = Workflows()

        @host.workflow("greet")
        async def greet(ctx: WorkflowContext) -> dict[str, object]:
            return {"text": f"Hello {ctx.inputs['name']}"}
    """

    def __init__(self) -> None:
        self.own: dict[str, OwnWorkflow] = {}

    def _have_workflow(self, definition: JsonObject, function: WorkflowFunction | None) -> None:
        checked = parse_workflow(definition, KNOWN_TYPES)
        self.own[checked.id] = OwnWorkflow(checked.document, function)

    def add_to(self, host: TakesWorkflows) -> None:
        """Have a host serve these workflows, too.

        Example::

            async with DevHost() as host:
                my_flows.host.add_to(host)
        """
        for entry in self.own.values():
            host._have_workflow(entry.definition, entry.function)
