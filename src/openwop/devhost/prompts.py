"""A tenant's library of prompt templates, and what becomes of a template when it is filled in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openwop.devhost.clock import Clock, timestamp
from openwop.devhost.errors import HostError, invalid, not_found
from openwop.devhost.json_values import JsonObject, encode, is_array, is_number, is_object
from openwop.devhost.versions import PATTERN as VERSION
from openwop.devhost.versions import version_key

LIBRARY = "devhost"
"""The library of the host itself and of its users; a pack is a library of its own."""
MAX_TEXT_BYTES = 65_536
ID = r"[a-z0-9][a-z0-9._-]{0,127}"

_REF = re.compile(rf"prompt:({ID})(?:@({VERSION}))?")
_PLACEHOLDER = re.compile(r"\{\{([a-zA-Z_][a-zA-Z0-9_]{0,63})\}\}")
_REFERENCE = re.compile(r"\[REDACTED:[^\[\]]+\]")
_FITS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": is_array,
    "object": is_object,
}


@dataclass(frozen=True)
class Reference:
    """What a caller asks for: an id, and maybe a version, a library, and values that take precedence."""

    template_id: str
    version: str | None = None
    library: str | None = None
    overrides: JsonObject | None = None


def parse_ref(ref: Any) -> Reference:
    """Read the ``ref`` of a request, in either of its forms.

    Raises:
        HostError: 400 ``prompt_ref_invalid``.
    """
    if isinstance(ref, str):
        match = _REF.fullmatch(ref)
        if match is not None:
            return Reference(match[1], match[2])
    elif is_object(ref) and set(ref) <= {"templateId", "version", "libraryId", "variableOverrides"}:
        patterns = {"templateId": ID, "version": VERSION, "libraryId": ID}
        texts = all(
            isinstance(ref[name], str) and re.fullmatch(pattern, ref[name])
            for name, pattern in patterns.items()
            if name in ref
        )
        overrides = ref.get("variableOverrides", {})
        if texts and "templateId" in ref and is_object(overrides):
            return Reference(ref["templateId"], ref.get("version"), ref.get("libraryId"), overrides)
    message = "ref is prompt:<id>, prompt:<id>@<version>, or an object with a templateId."
    raise HostError(400, "prompt_ref_invalid", message, details={"field": "ref"})


class PromptLibrary:
    """The templates that a tenant sees: the host's and the packs', which stay as they are, and its own."""

    def __init__(self, clock: Clock, *, samples: bool) -> None:
        self._clock = clock
        self._shelves: dict[tuple[str, str], dict[str, JsonObject]] = {}
        for template in SAMPLE_PROMPTS if samples else ():
            self._put(template)

    def _put(self, template: JsonObject) -> None:
        library = template["meta"].get("packName", LIBRARY)
        self._shelves.setdefault((template["templateId"], library), {})[template["version"]] = template

    def newest(self) -> list[tuple[tuple[str, str], JsonObject]]:
        """The newest version of each template, with the key that it is sorted by."""
        return [(key, _newest(self._shelves[key])) for key in sorted(self._shelves)]

    def find(self, wanted: Reference) -> JsonObject:
        """One template; without a library, the tenant's own before those of packs.

        Raises:
            HostError: 404, or 400 ``prompt_ref_ambiguous``.
        """
        libraries = [
            library
            for template_id, library in sorted(self._shelves)
            if template_id == wanted.template_id and wanted.library in (None, library)
        ]
        if LIBRARY in libraries:
            libraries = [LIBRARY]
        if len(libraries) > 1:
            message = f"Several packs have a prompt {wanted.template_id!r}: say which by libraryId."
            raise HostError(400, "prompt_ref_ambiguous", message, details={"libraryIds": libraries})
        versions = self._shelves[wanted.template_id, libraries[0]] if libraries else {}
        if not versions or (wanted.version is not None and wanted.version not in versions):
            raise not_found("prompt", wanted.template_id)
        return _newest(versions) if wanted.version is None else versions[wanted.version]

    def create(self, body: JsonObject, author: str) -> JsonObject:
        """Add a template, or a version of one."""
        _check_template(body)
        versions = self._shelves.get((body["templateId"], LIBRARY), {})
        if versions:
            _refuse_unless_own(_newest(versions))
        if body["version"] in versions:
            message = f"There is a version {body['version']} of {body['templateId']} already."
            raise HostError(409, "conflict", message, details={"templateId": body["templateId"]})
        template = self._stamped(body, author, None)
        self._put(template)
        return template

    def update(self, wanted: Reference, body: JsonObject, author: str) -> JsonObject:
        """Add a version that is above all others; ``wanted`` may say which one the caller thinks is the newest."""
        _check_template(body)
        if body["templateId"] != wanted.template_id:
            raise invalid("The template's id is the one in the path.", field="templateId")
        newest = self.find(Reference(wanted.template_id, None, wanted.library))
        _refuse_unless_own(newest)
        stale = wanted.version is not None and wanted.version != newest["version"]
        if stale or version_key(body["version"]) <= version_key(newest["version"]):
            message = f"The newest version of {wanted.template_id} is {newest['version']}."
            raise HostError(409, "conflict", message, details={"newestVersion": newest["version"]})
        template = self._stamped(body, author, newest["meta"]["createdAt"])
        self._put(template)
        return template

    def delete(self, wanted: Reference) -> None:
        """Remove a template, or one version of it."""
        template = self.find(wanted)
        _refuse_unless_own(template)
        shelf = self._shelves[wanted.template_id, LIBRARY]
        if wanted.version is not None:
            del shelf[wanted.version]
        if wanted.version is None or not shelf:
            del self._shelves[wanted.template_id, LIBRARY]

    def _stamped(self, body: JsonObject, author: str, created_at: str | None) -> JsonObject:
        now = timestamp(self._clock.time())
        meta = {
            "author": body.get("meta", {}).get("author", author),
            "createdAt": created_at or now,
            "updatedAt": now,
            "source": "user",
        }
        return {**body, "meta": meta}


def _newest(versions: dict[str, JsonObject]) -> JsonObject:
    return versions[max(versions, key=version_key)]


def _refuse_unless_own(template: JsonObject) -> None:
    if template["meta"]["source"] != "user":
        message = f"{template['templateId']} belongs to the host or to a pack, and cannot be changed."
        raise HostError(403, "forbidden", message, details={"source": template["meta"]["source"]})


def _check_template(body: JsonObject) -> None:
    """Refuse what the body's schema cannot say."""
    if len(body["text"].encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
        raise invalid(f"text has at most {MAX_TEXT_BYTES} bytes.", field="text", maxBytes=MAX_TEXT_BYTES)
    names = [variable["name"] for variable in body.get("variables", ())]
    if len(set(names)) < len(names):
        raise invalid("Each variable is declared once.", field="variables")


# -- filling in ---------------------------------------------------------------------------------------


def render(template: JsonObject, values: JsonObject) -> JsonObject:
    """Fill a template in, and hash what comes of it.

    Raises:
        HostError: 400 for a value that is missing, of another type, or a secret itself. No message repeats a value.
    """
    declared: dict[str, JsonObject] = {
        variable["name"]: variable for variable in template.get("variables", ())
    }
    names = [*declared, *_PLACEHOLDER.findall(template["text"])]
    texts = {name: _text(name, declared.get(name, {}), values) for name in dict.fromkeys(names)}
    # In one pass: what a value looks like is never taken for a placeholder.
    composed = _PLACEHOLDER.sub(lambda match: texts[match[1]], template["text"])
    return {
        "hash": _hash(composed),
        "refs": [f"prompt:{template['templateId']}@{template['version']}"],
        "variableHashes": {name: _hash(text) for name, text in texts.items()},
        "composed": composed,
    }


def _text(name: str, variable: JsonObject, values: JsonObject) -> str:
    """What a variable's placeholder becomes."""
    place = {"variable": name}
    if name not in values:
        if variable.get("required"):
            raise HostError(400, "prompt_variable_unresolved", f"{name} has no value.", details=place)
        value = variable.get("defaultValue", "")
        return value if isinstance(value, str) else encode(value).decode()
    value = values[name]
    if variable.get("source") == "secret":
        if not (isinstance(value, str) and _REFERENCE.fullmatch(value)):
            raise invalid(f"{name} is a secret: send [REDACTED:<credentialRef>].", field=f"variables.{name}")
        return value
    if "type" in variable and not _FITS[variable["type"]](value):
        message = f"{name} is of type {variable['type']}."
        raise HostError(400, "prompt_variable_type_mismatch", message, details=place)
    return value if isinstance(value, str) else encode(value).decode()


def _hash(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def _sample(template_id: str, version: str, kind: str, text: str, **more: Any) -> JsonObject:
    meta = {
        "author": "openwop",
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        **more.pop("meta", {"source": "host"}),
    }
    return {"templateId": template_id, "version": version, "kind": kind, "text": text, **more, "meta": meta}


def _pack(name: str) -> JsonObject:
    return {"source": "pack", "packName": name, "packVersion": "1.0.0"}


_TOPIC: JsonObject = {"name": "topic", "type": "string", "required": True}
_WORDS: JsonObject = {"name": "words", "type": "number", "required": False, "defaultValue": 100}
_SEARCH_KEY: JsonObject = {"name": "searchKey", "type": "string", "required": True, "source": "secret"}

SAMPLE_PROMPTS: tuple[JsonObject, ...] = (
    _sample("openwop.editor", "1.0.0", "system", "You edit what others write.", tags=["samples", "editing"]),
    _sample(
        "openwop.writer", "1.0.0", "user", "Write about {{topic}}.", variables=[_TOPIC], tags=["samples", "writing"]
    ),
    _sample(
        "openwop.writer", "1.1.0", "user", "Write about {{topic}}, in {{words}} words.", name="Writer",
        variables=[_TOPIC, _WORDS], tags=["samples", "writing"],
        modelHints={"modelClass": "writing", "temperature": 0.7},
    ),
    _sample(
        "openwop.search", "1.0.0", "user", "Search for {{topic}} with {{searchKey}}.", variables=[_TOPIC, _SEARCH_KEY],
        tags=["samples"],
    ),
    _sample(
        "summary", "1.0.0", "user", "Sum up: <UNTRUSTED>{{text}}</UNTRUSTED>", meta=_pack("vendor.openwop.samples")
    ),
    _sample("summary", "2.0.0", "user", "In a sentence: {{text}}", meta=_pack("community.openwop.notes")),
)  # fmt: skip
