"""Which values may be sent for the variables of a prompt: never a secret itself, only a reference to it.

Rule: the host keeps credentials, and a client names one as ``[REDACTED:<credentialRef>]`` (``prompts.md``).  Where a
variable is declared as a secret, nothing else is sent.  Where no declaration is at hand, a value that has the shape of
a well-known key is refused; here a rule that has to guess guesses "harmless", because it stands in the way.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any, cast

__all__ = ["refused_value"]

_REFERENCE = re.compile(r"\[REDACTED:[^\[\]\s][^\[\]]*\]")
_REMEDY = "send '[REDACTED:<credentialRef>]', the reference of a credential that the host keeps"

# Issued by providers whose keys have a prefix. What follows it has to look random, so that "sk-learn" is a word.
_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|rk|whsec)[_-](?=[\w-]*[A-Za-z0-9]{16})(?=[\w-]*[0-9])[\w-]{20,}"
    r"|hk_(?:(?:live|test)_[\w.-]{3,}|[A-Za-z0-9]{16,})"
    r"|gh[oprsu]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|xox[abeprs]-[\w-]{10,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Z0-9])|AIza[\w-]{35}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"  # a JSON Web Token
    r")"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY"
)


def refused_value(variables: Mapping[str, Any], secrets: Container[str] = ()) -> tuple[str, str] | None:
    """The first variable that must not be sent, with the reason; ``None`` when all may.

    ``secrets``: names of the variables that are declared as secrets.  The reason never has the value in it.

    Example::

        assert refused_value({"key": "swordfish"}, secrets={"key"}) is not None
        assert refused_value({"key": "[REDACTED:openai-main]"}, secrets={"key"}) is None
    """
    for name, value in variables.items():
        if name in secrets and not (isinstance(value, str) and _REFERENCE.fullmatch(value)):
            return name, f"is declared as a secret: {_REMEDY}"
        if _holds_key(value, 0):
            return name, f"has the shape of a key: {_REMEDY}"
    return None


def _holds_key(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return _KEYS.search(value) is not None
    if depth > 100:
        return False  # too deep to be sent at all, which the check of JSON says better
    if isinstance(value, Mapping):
        members = cast("Mapping[Any, Any]", value)
        return any(_holds_key(item, depth + 1) for pair in members.items() for item in pair)
    if isinstance(value, list | tuple):
        return any(_holds_key(item, depth + 1) for item in cast("list[Any]", value))
    return False
