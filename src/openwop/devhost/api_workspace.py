"""Endpoints of workspace files."""

from __future__ import annotations

from openwop.devhost.errors import invalid
from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.workspace import DEFAULT_CONTENT_TYPE, Workspace

MAX_PREFIX_LENGTH = 256
_PUT_BODY: JsonObject = {
    "type": "object",
    "required": ["content"],
    "properties": {"content": {"type": "string"}, "contentType": {"type": "string"}},
    "additionalProperties": False,
}


def _workspace(call: Call) -> Workspace:
    return call.runtime.workspace(call.caller.tenant)


async def list_files(call: Call) -> Reply:
    """``GET /v1/host/workspace/files``."""
    prefix = call.query.get("prefix", "")
    if len(prefix) > MAX_PREFIX_LENGTH:
        raise invalid(f"prefix has at most {MAX_PREFIX_LENGTH} characters.", field="prefix")
    return Reply(200, {"files": _workspace(call).list(prefix)})


async def get_file(call: Call) -> Reply:
    """``GET /v1/host/workspace/files/{path}``."""
    asked = call.query.get("version")
    if asked is not None and not (asked.isascii() and asked.isdecimal() and asked.strip("0")):
        raise invalid("version is a whole number from 1 up.", field="version")
    version = None if asked is None else _version(asked)
    return Reply(200, _workspace(call).read(call.path["path"], version))


def _version(digits: str) -> int:
    # Nobody counts that far, and very long texts of digits are not read at all.
    return int(digits.lstrip("0")[:18])


async def put_file(call: Call) -> Reply:
    """``PUT /v1/host/workspace/files/{path}``."""
    headers = call.request.headers
    if headers.get("if-none-match", "*") != "*":
        raise invalid("If-None-Match has one legal value here: *.", field="If-None-Match")
    if_match = headers.get("if-match")
    if if_match is not None and len(if_match) > 255:
        raise invalid("If-Match has at most 255 characters.", field="If-Match")
    document = _workspace(call).write(
        call.path["path"],
        call.body["content"],
        call.body.get("contentType", DEFAULT_CONTENT_TYPE),
        if_match=if_match,
        only_new="if-none-match" in headers,
    )
    return Reply(200, document)


async def delete_file(call: Call) -> Reply:
    """``DELETE /v1/host/workspace/files/{path}``."""
    _workspace(call).delete(call.path["path"])
    return Reply(204)


_FILES = "/v1/host/workspace/files"
_FILE = f"{_FILES}/{{path...}}"

OPERATIONS = (
    Operation("listWorkspaceFiles", "GET", _FILES, list_files, ("workspace:read",)),
    Operation("getWorkspaceFile", "GET", _FILE, get_file, ("workspace:read",)),
    Operation("putWorkspaceFile", "PUT", _FILE, put_file, ("workspace:write",), _PUT_BODY),
    Operation("deleteWorkspaceFile", "DELETE", _FILE, delete_file, ("workspace:write",)),
)
