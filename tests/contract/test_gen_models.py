"""The generated payloads are what the generator writes from the document, and it refuses what it cannot write."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.spec_support import PAYLOADS, component, load_tool
from openwop.models import TolerantModel, payloads
from openwop.spec import load_document

gen_models = load_tool("gen_models")
Content = dict[str, Any]


def test_the_package_is_what_would_be_written() -> None:
    """Compared whole: nobody edits these files, and nobody forgets to write them again."""
    assert gen_models.differences(gen_models.files(load_document())) == []


def test_the_check_names_what_differs_and_writing_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "payloads"
    assert gen_models.main([], target) == 0
    assert gen_models.main(["--check"], target) == 0
    capsys.readouterr()

    (target / "voice.py").write_text("edited = True\n", encoding="utf-8")
    (target / "shapes.py").unlink()
    (target / "old.py").write_text("", encoding="utf-8")
    assert gen_models.main(["--check"], target) == 1
    out = capsys.readouterr().out
    for name in ("voice.py", "shapes.py", "old.py"):
        assert f"{name}: differs\n" in out
    assert "nodes.py" not in out
    assert (target / "old.py").exists()

    assert gen_models.main([], target) == 0
    assert gen_models.main(["--check"], target) == 0


def test_every_payload_and_shape_of_the_document_has_its_class() -> None:
    """No more and no less; a class says in its docstring which type of event it is the payload of."""
    names = {name.removeprefix("payloads.") for name in PAYLOADS}
    assert set(payloads.__all__) == names | {"PAYLOAD_NAMES", "payload_model"}
    assert set(payloads.__all__) <= set(dir(payloads))
    for name in names:
        model = getattr(payloads, name)
        assert issubclass(model, TolerantModel)
        event_type = component(f"payloads.{name}").get("x-openwop-event-type")  # type: ignore[union-attr]
        assert (event_type is not None) == (name in payloads.PAYLOAD_NAMES.values())
        if event_type is not None:
            assert f"``{event_type}``: " in model.__doc__
            assert payloads.payload_model(event_type) is model


def test_a_class_is_named_after_the_type_in_its_newest_spelling() -> None:
    """We chose it: whoever knows ``EventType.RUN_RESUME_STARTED`` knows ``RunResumeStarted``."""
    for event_type, name in payloads.PAYLOAD_NAMES.items():
        assert name == "".join(word.capitalize() for word in event_type.replace(".", "-").split("-"))


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'NodeVanished'"):
        payloads.NodeVanished  # noqa: B018  # reading it is the test


SPOILT: list[tuple[str, Callable[[Content], object]]] = [
    (
        "RunPaused: run.held is not among the known types",
        lambda schemas: schemas["payloads.RunPaused"].update({"x-openwop-event-type": "run.held"}),
    ),
    (
        "node.failed: both NodeFailed and RunPaused",
        lambda schemas: (
            schemas.update({"payloads.RunPaused": schemas.pop("payloads.RunPaused")}),
            schemas["payloads.RunPaused"].update({"x-openwop-event-type": "node.failed"}),
        ),
    ),
    (
        "acme.vote: no family has types that begin with 'acme'",
        lambda schemas: schemas["payloads.RunPaused"].update({"x-openwop-event-type": "acme.vote"}),
    ),
    (
        "RunPaused: the types of one payload must be of one family",
        lambda schemas: schemas["payloads.RunPaused"].update(
            {"x-openwop-event-type": ["run.paused", "node.failed"]}
        ),
    ),
    (
        "RunPaused: the first sentence of its description is too long",
        lambda schemas: schemas["payloads.RunPaused"].update(description="A pause " * 20),
    ),
]


@pytest.mark.parametrize(("expected", "spoil"), SPOILT, ids=[name for name, _ in SPOILT])
def test_a_document_that_cannot_be_written_as_classes_is_refused(
    expected: str, spoil: Callable[[Content], object]
) -> None:
    content = copy.deepcopy(load_document())
    spoil(content["components"]["schemas"])
    with pytest.raises(ValueError, match=expected):
        gen_models.files(content)


def test_every_kind_of_property_has_its_annotation() -> None:
    """A name that Python or pydantic has taken gets an underscore, and keeps its name on the wire."""
    content = copy.deepcopy(load_document())
    content["components"]["schemas"]["payloads.RunPaused"] = {
        "type": "object",
        "description": "A `pause`. It has everything.",
        "x-openwop-event-type": ["run.paused"],
        "required": ["from", "at", "maybe"],
        "properties": {
            "from": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "maybe": {"type": ["integer", "null"]},
            "json": {"type": "object"},
            "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
            "ratio": {"type": "number", "default": 0.5},
            "deep": {"type": "boolean", "default": False},
            "what": {},
            "texts": {"type": "array", "items": {"type": "string", "x-openwop-known-values": ["a", "b"]}},
            "error": {"allOf": [{"$ref": "#/components/schemas/payloads.EventError"}], "description": "Why."},
        },
    }
    text = gen_models.files(content)["runs.py"]
    ast.parse(text)
    start = text.index("class RunPaused")
    assert (
        text[start : text.index("\n\n\nclass", start)]
        == '''class RunPaused(TolerantModel):
    """``run.paused``: a ``pause``.

    It has everything.
    """

    from_: str = Field(alias="from")
    at: datetime
    maybe: int | None
    json_: JsonObject | None = Field(default=None, alias="json")
    counts: dict[str, int] | None = None
    ratio: float = 0.5
    deep: bool = False
    what: Any = None
    texts: list[str] | None = None
    """Known values: ``a b``."""
    error: EventError | None = None
    """Why."""'''
    )
    assert "from pydantic import Field\n" in text
    assert "from datetime import datetime\n" in text
