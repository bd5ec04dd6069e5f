"""Endpoints of prompt templates: list, read, add, change, remove, render."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from openwop.devhost.catalogs import Catalogs
from openwop.devhost.errors import invalid
from openwop.devhost.json_values import JsonObject, decode, encode, is_array
from openwop.devhost.prompts import ID, MAX_TEXT_BYTES, Reference, parse_ref, render
from openwop.devhost.queries import choice, matching, number
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.versions import PATTERN as VERSION

_READ, _WRITE = ("prompts:read",), ("prompts:write",)
_KINDS = ("system", "user", "few-shot", "schema-hint")
_SOURCES = ("host", "pack", "user")
_PAGE, _LARGEST_PAGE = 50, 200


def _text(pattern: str | None = None, **more: object) -> JsonObject:
    found: JsonObject = {"type": "string", **more}
    return found if pattern is None else {**found, "pattern": rf"\A(?:{pattern})\Z"}


_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:]{8}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
_TEMPLATE_BODY: JsonObject = {
    "type": "object",
    "required": ["templateId", "version", "kind", "text"],
    "properties": {
        "templateId": _text(ID),
        "version": _text(VERSION),
        "kind": {"enum": list(_KINDS)},
        "text": _text(maxLength=MAX_TEXT_BYTES),
        "name": _text(maxLength=200),
        "description": _text(maxLength=2000),
        "variables": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "type", "required"],
                "properties": {
                    "name": _text(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}"),
                    "type": {"enum": ["string", "number", "boolean", "array", "object"]},
                    "required": {"type": "boolean"},
                    "source": {"enum": ["input", "variable", "secret", "context"]},
                    "extractPath": _text(),
                    "defaultValue": True,
                    "description": _text(maxLength=500),
                },
                "additionalProperties": False,
            },
        },
        "modelHints": {
            "type": "object",
            "properties": {
                "modelClass": _text(),
                "temperature": {"type": "number", "minimum": 0, "maximum": 2},
                "maxTokens": {"type": "integer", "minimum": 1},
                "envelopeType": _text(),
            },
            "additionalProperties": False,
        },
        "tags": {"type": "array", "maxItems": 32, "items": _text(minLength=1, maxLength=64)},
        "meta": {
            "type": "object",
            "properties": {
                "author": _text(),
                "createdAt": _text(_MOMENT),
                "updatedAt": _text(_MOMENT),
                "source": {"enum": list(_SOURCES)},
                "packName": _text(
                    r"(core|vendor|community|private)\.[a-z][a-z0-9_-]*(\.[a-z][a-zA-Z0-9_-]*)+"
                ),
                "packVersion": _text(VERSION),
            },
            "additionalProperties": False,
            "anyOf": [
                {"properties": {"source": {"enum": ["host", "user"]}}},
                {"required": ["packName", "packVersion"]},
            ],
        },
    },
    "additionalProperties": False,
}
_RENDER_BODY: JsonObject = {
    "type": "object",
    "required": ["ref", "variables"],
    "properties": {
        "ref": True,  # what is wrong with it has a code of its own
        "variables": {"type": "object"},
        "contentTrust": {"enum": ["trusted", "untrusted"]},
    },
    "additionalProperties": False,
}


class _Prompts:
    def __init__(self, catalogs: Catalogs) -> None:
        self._catalogs = catalogs

    async def list_prompts(self, call: Call) -> Reply:
        """``GET /v1/prompts``: the newest version of each template."""
        kind, source = choice(call, "kind", _KINDS), choice(call, "source", _SOURCES)
        model_class = call.query.get("modelClass")
        tags = set(call.request.query_params.getlist("tag"))
        limit = number(call, "limit", 1, _LARGEST_PAGE, _PAGE)
        after = _read_cursor(call)
        found = [
            (key, template)
            for key, template in self._catalogs.prompts(call.caller).newest()
            if (after is None or key > after)
            and kind in (None, template["kind"])
            and source in (None, template["meta"]["source"])
            and model_class in (None, template.get("modelHints", {}).get("modelClass"))
            and tags <= set(template.get("tags", ()))
        ]
        page: JsonObject = {"items": [template for _, template in found[:limit]]}
        if len(found) > limit:
            page["nextCursor"] = _write_cursor(found[limit - 1][0])
        return Reply(200, page)

    async def get_prompt(self, call: Call) -> Reply:
        """``GET /v1/prompts/{templateId}``, conditional on request."""
        wanted = _wanted(call)
        template = self._catalogs.prompts(call.caller).find(wanted)
        pinned = "public, max-age=31536000, immutable"
        headers = {
            "etag": _etag(template),
            "cache-control": "max-age=60" if wanted.version is None else pinned,
        }
        known = call.request.headers.get("if-none-match", "")
        if any(part.strip().removeprefix("W/") in (headers["etag"], "*") for part in known.split(",")):
            return Reply(304, None, headers)
        return Reply(200, template, headers)

    async def create_prompt(self, call: Call) -> Reply:
        """``POST /v1/prompts``."""
        template = self._catalogs.prompts(call.caller).create(call.body, call.caller.principal)
        place = f"/v1/prompts/{template['templateId']}?version={template['version'].replace('+', '%2B')}"
        return Reply(201, template, {"location": place})

    async def update_prompt(self, call: Call) -> Reply:
        """``PUT /v1/prompts/{templateId}``."""
        template = self._catalogs.prompts(call.caller).update(_wanted(call), call.body, call.caller.principal)
        return Reply(200, template, {"etag": _etag(template)})

    async def delete_prompt(self, call: Call) -> Reply:
        """``DELETE /v1/prompts/{templateId}``."""
        self._catalogs.prompts(call.caller).delete(_wanted(call))
        return Reply(204)

    async def render_prompt(self, call: Call) -> Reply:
        """``POST /v1/prompts:render``."""
        wanted = parse_ref(call.body["ref"])
        template = self._catalogs.prompts(call.caller).find(wanted)
        rendered = render(template, {**call.body["variables"], **(wanted.overrides or {})})
        trust = call.body.get("contentTrust")
        return Reply(200, rendered if trust is None else {**rendered, "contentTrust": trust})


def operations(catalogs: Catalogs) -> tuple[Operation, ...]:
    """The operations on prompt templates."""
    endpoints = _Prompts(catalogs)
    one = "/v1/prompts/{templateId}"
    return (
        Operation("listPromptTemplates", "GET", "/v1/prompts", endpoints.list_prompts, _READ),
        Operation(
            "createPromptTemplate", "POST", "/v1/prompts", endpoints.create_prompt, _WRITE, _TEMPLATE_BODY
        ),
        Operation("getPromptTemplate", "GET", one, endpoints.get_prompt, _READ),
        Operation("updatePromptTemplate", "PUT", one, endpoints.update_prompt, _WRITE, _TEMPLATE_BODY),
        Operation("deletePromptTemplate", "DELETE", one, endpoints.delete_prompt, _WRITE),
        Operation(
            "renderPromptTemplate", "POST", "/v1/prompts:render", endpoints.render_prompt, _READ, _RENDER_BODY
        ),
    )


def _wanted(call: Call) -> Reference:
    return Reference(
        call.path["templateId"], matching(call, "version", VERSION), matching(call, "libraryId", ID)
    )


def _etag(template: JsonObject) -> str:
    return f'"{hashlib.sha256(encode(template)).hexdigest()}"'


def _write_cursor(key: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(encode(list(key))).decode()


def _read_cursor(call: Call) -> tuple[str, str] | None:
    text = call.query.get("cursor")
    if text is None:
        return None
    try:
        key: Any = decode(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        key = None
    if not (is_array(key) and len(key) == 2 and all(isinstance(part, str) for part in key)):
        raise invalid("The cursor is not one of this host's.", field="cursor")
    return key[0], key[1]
