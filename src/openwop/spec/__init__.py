"""The project's own OpenAPI 3.1 document of the protocol, as data.

The models and the operation rows of this package are held against it by ``tools/check_spec.py``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["DOCUMENT_NAME", "document_text", "load_document"]

DOCUMENT_NAME = "openwop-v1.openapi.yaml"


def document_text() -> str:
    """The document as YAML text, as it is in the package."""
    return files(__name__).joinpath(DOCUMENT_NAME).read_text(encoding="utf-8")


@cache
def load_document() -> dict[str, Any]:
    """The document as plain data.  It is read once, and every caller gets the same object: do not change it.

    Raises:
        ImportError: PyYAML is not there; the client does without it, and the extra ``devhost`` brings it.

    Example::

        operation = load_document()["paths"]["/v1/runs"]["post"]["operationId"]      # "createRun"
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            "PyYAML is needed to read the OpenAPI document: pip install 'openwop[devhost]'"
        ) from error
    document: dict[str, Any] = yaml.safe_load(document_text())
    return document
