"""Rules that the protocol sets for what a client sends (``run-options.md``), as pure functions for the models."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

MAX_TAGS = 100
MAX_TAG_LENGTH = 256
MAX_METADATA_DEPTH = 4
MAX_METADATA_BYTES = 8192
MAX_ID_LENGTH = 128

_DATE_TIME = re.compile(r"([0-9-]{10})[Tt]([0-9:]{8})(?:\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")
FILE_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,255}", re.ASCII)
LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?", re.ASCII)
SLUG = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)

_SCALARS = (str, int, float, bool, type(None))


def check_tags(tags: list[str]) -> list[str]:
    """At most 100 tags of 1 to 256 characters."""
    if len(tags) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags, not {len(tags)}")
    for index, tag in enumerate(tags):
        if not 1 <= len(tag) <= MAX_TAG_LENGTH:
            raise ValueError(f"tag {index} must have 1 to {MAX_TAG_LENGTH} characters, not {len(tag)}")
    return tags


def check_json(value: dict[str, Any]) -> dict[str, Any]:
    """Only what JSON can carry: text keys; text, finite numbers, booleans, ``None``, lists and dicts."""
    encode(value)
    return value


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """At most 8192 bytes of JSON, nested at most four levels deep."""
    size = len(encode(metadata))
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"at most {MAX_METADATA_BYTES} bytes of JSON, not {size}")
    depth = _depth(metadata)
    if depth > MAX_METADATA_DEPTH:
        raise ValueError(f"at most {MAX_METADATA_DEPTH} levels deep, not {depth}")
    return metadata


def check_url(url: str) -> str:
    """An absolute http or https URL."""
    parts = urlsplit(url)
    # urlsplit forgives blanks and line breaks, which no host does.
    if parts.scheme not in ("http", "https") or not parts.hostname or any(char <= " " for char in url):
        raise ValueError("must be an absolute http(s) URL such as 'https://example.com/callback'")
    return url


def check_date_time(text: str) -> str:
    """A moment as RFC 3339 writes it."""
    found = _DATE_TIME.fullmatch(text)
    try:
        if found is not None:
            date, time, zone = found.groups()
            datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone in 'Zz' else zone}")
            return text
    except ValueError:
        pass  # a thirteenth month, say
    raise ValueError("must be a time such as '2026-05-01T12:00:00Z'")


def check_id(value: str, max_length: int = MAX_ID_LENGTH) -> str | None:
    """What is wrong with an id, or ``None``.  Ids are opaque; only what no host can route is refused."""
    if not value:
        return "must not be empty"
    if value in (".", ".."):
        return f"must not be {value!r}: it would change the path of the URL"
    if len(value) > max_length:
        return f"must have at most {max_length} characters, not {len(value)}"
    return None


def check_file_path(path: str) -> str | None:
    """What is wrong with the path of a workspace file, or ``None``."""
    if not FILE_PATH.fullmatch(path):
        return (
            "must be 1 to 256 letters, digits, '.', '_', '-' and '/', and begin with a letter or a digit,"
            " e.g. 'notes/today.md'"
        )
    if ".." in path or "." in path.split("/"):
        return "must not hold '..', nor '.' between slashes"
    return None


def check_locale(locale: str) -> str:
    """A language tag as content has them: language, maybe script, maybe region."""
    if not LOCALE.fullmatch(locale):
        raise ValueError("must be a language tag such as 'de', 'pt-BR' or 'zh-Hant-TW'")
    return locale


def check_slug(slug: str) -> str:
    """The name of a page in a URL."""
    if not SLUG.fullmatch(slug):
        raise ValueError(
            "must be lower case letters, digits and '-', beginning with a letter, e.g. 'about-us'"
        )
    return slug


def encode(value: Any) -> bytes:
    """``value`` as compact JSON in UTF-8; ``ValueError`` names the place of what JSON cannot carry."""
    # Looked through beforehand, because `json` lets pass what it should not: it turns numbers that are keys into text.
    place = _first_not_json(value, "", 0)
    if place:
        raise ValueError(f"must be JSON: {place}")
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"must be JSON: {error}") from None


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can carry ``text``; half of a surrogate pair it cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in cast("dict[str, Any]", value).values()), default=0)
    if isinstance(value, list | tuple):
        return 1 + max((_depth(item) for item in cast("list[Any]", value)), default=0)
    return 0


def _first_not_json(value: Any, path: str, depth: int) -> str | None:
    if depth > 100:
        return f"{path.lstrip('.')[:80]} is nested too deep or contains itself"
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            if not isinstance(key, str):
                return f"key {key!r} at {path.lstrip('.') or 'the top'} is not text"
            if not is_encodable(key):
                return f"key {key!r} at {path.lstrip('.') or 'the top'} is not text that UTF-8 can encode"
            found = _first_not_json(item, f"{path}.{key}", depth + 1)
            if found:
                return found
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("list[Any]", value)):
            found = _first_not_json(item, f"{path}[{index}]", depth + 1)
            if found:
                return found
    elif isinstance(value, str):
        return None if is_encodable(value) else f"{path.lstrip('.')} is not text that UTF-8 can encode"
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"{path.lstrip('.')} is {value}, which JSON has no word for"
    elif not isinstance(value, _SCALARS):
        return f"{path.lstrip('.')} is a {type(value).__name__}"
    return None
