"""Tools that agents may be given (``tool-catalog.md``)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from openwop.models.base import JsonObject, TolerantModel, in_object

__all__ = ["ToolAuth", "ToolCatalog", "ToolDescriptor"]


class ToolAuth(TolerantModel):
    """What a caller of a tool needs: scopes, and maybe a credential that the host keeps."""

    scopes: list[str] = Field(default_factory=list[str])
    credential_ref: bool | None = None


class ToolDescriptor(TolerantModel):
    """One tool, for reading only: tools are called by runs.

    The compact view has ``tool_id source safety_tier title description input_schema`` and nothing else.

    Example::

        tool = await client.tools.get("mcp:files/read")
        print(tool.title, tool.safety_tier)
    """

    tool_id: str
    source: str = ""
    """``node-pack workflow mcp connector host-extension``, or one of a later protocol version."""
    title: str | None = None
    description: str | None = None
    input_schema: JsonObject | None = None
    """JSON Schema of the arguments; ``None`` when the host keeps it to itself."""
    output_schema: JsonObject | None = None
    auth: ToolAuth | None = None
    egress: str | None = None
    approval: str | None = None
    replay_policy: str | None = None
    safety_tier: str = ""
    """What a call may do: ``pure``, ``read``, ``write`` or ``exec``.  Take one you do not know for ``exec``."""
    cost_hint: str | None = None
    latency_hint: str | None = None


# What the compact view never has.
_FULL = ("output_schema", "auth", "egress", "approval", "replay_policy", "cost_hint", "latency_hint")


class ToolCatalog(TolerantModel):
    """The tools of a host."""

    tools: list[ToolDescriptor]

    @model_validator(mode="before")
    @classmethod
    def _accept_the_list_alone(cls, value: Any) -> Any:
        # The OpenAPI document of the protocol has the bare array, its prose the object.
        return in_object("tools", value)

    @property
    def view(self) -> Literal["standard", "compact"]:
        """Which view came.  Hosts may give the standard view whatever was asked for, so the answer itself tells.

        ``"standard"`` as soon as one tool has something that the compact view leaves out.
        """
        full = any(getattr(tool, name) is not None for tool in self.tools for name in _FULL)
        return "standard" if full else "compact"
