"""Telling a key from a reference to one.

Keys of model providers never go over this protocol (``run-options.md``): a run names a credential that its host keeps,
by an opaque reference.  What looks like a key in a place for a reference is a slip, and the last chance to stop it is
before it leaves.  Only shapes that are known are told; thirty-two random characters may well be a reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from openwop.models.json_schema import Place
from openwop.models.key_shapes import PROVIDER_KEYS

__all__ = ["is_credential_name", "keys_in", "looks_like_key"]

_KEY = re.compile(
    rf"""
    (?<![\w-])(?:
        sk[_-][\w-]{{4,}}                                  # OpenAI, Anthropic, OpenRouter, Stripe
      | (?:pk|rk|whsec)[_-][\w-]{{16,}}
      | hk_[\w.-]{{4,}}                                    # keys of OpenWOP hosts
      | {PROVIDER_KEYS}
      | eyJ[\w-]{{8,}}\.[\w.-]+ | eyJ[\w-]{{24,}}            # JSON Web Tokens
    )
  | -----BEGIN[ ]                                        # PEM
  | (?i:\b(?:bearer|basic|negotiate)[ \t]+\S)            # an Authorization header
  | (?i:(?:authorization|password|(?:api|access|private)[ _-]?key)["']?\s*[:=])
  | (?i:(?:key|secret|token)(?:["']\s*:|["']?\s*=|:\s))  # not "vault:secret:name", which is how stores name theirs
  | ://[^/?\#\s@:]*:[^/?\#\s@]*@                         # user and password of a URL
    """,
    re.VERBOSE,
)

# Compared without case and separators, and by how they end: "acme.credential_ref" is a place for a reference too. In
# the plural, tokens are counted ("maxTokens").
_CREDENTIAL_ENDINGS = (
    *(
        "credential",
        "credentials",
        "credentialref",
        "credentialsref",
        "secret",
        "secretref",
        "token",
        "tokenref",
    ),
    *("apikey", "accesskey", "secretkey", "privatekey", "keyref", "password", "authorization", "bearer"),
    *(
        "credentialrefs",
        "secrets",
        "secretrefs",
        "apikeys",
        "accesskeys",
        "secretkeys",
        "privatekeys",
        "passwords",
    ),
)
_SEPARATORS = str.maketrans("", "", "-_. ")


def looks_like_key(text: str) -> bool:
    """Whether ``text`` has the shape of a key, a token or a password, or holds one.

    Example::

        assert looks_like_key("sk-ant-api03-abcdef") and not looks_like_key("cred_a3b9c2")
    """
    return _KEY.search(text) is not None


def is_credential_name(name: str) -> bool:
    """Whether an option of this name is a place for a reference to a credential."""
    return name.lower().translate(_SEPARATORS).endswith(_CREDENTIAL_ENDINGS)


def keys_in(value: Any, place: Place = (), *, in_credential: bool = False) -> Iterator[Place]:
    """Places in decoded JSON that are for references and hold what looks like a key."""
    if isinstance(value, dict):
        for name, member in cast("dict[str, Any]", value).items():
            inner = in_credential or is_credential_name(name)
            yield from keys_in(member, (*place, name), in_credential=inner)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from keys_in(item, (*place, index), in_credential=in_credential)
    elif in_credential and isinstance(value, str) and looks_like_key(value):
        yield place
