"""A workflow file with two mistakes in it, and what is said about them."""

import tempfile
from pathlib import Path

from openwop import DocumentValidationError, WorkflowDefinition

BROKEN = """{
  "id": "greet", "name": "Greet", "version": "1",
  "nodes": [{"id": "say", "typeId": "core.noop", "name": "Say", "position": {"x": 0, "y": 0}, "config": {}, "inputs": {}}],
  "edges": [{"id": "1", "sourceNodeId": "say", "targetNodeId": "shout"}],
  "triggers": [], "variables": [],
  "channels": {"total": {"reducer": "sum"}},
  "metadata": {}, "settings": {}
}
"""  # noqa: E501


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "greet.json"
        path.write_text(BROKEN, encoding="utf-8")
        # --8<-- [start:check]
        try:
            workflow = WorkflowDefinition.validate_file(path)
        except DocumentValidationError as error:
            for problem in error.problems:
                print(f"{path.name}:{problem.line}: {problem.field}: {problem.rule}")
        else:
            print(workflow.name, "is sound")
        # --8<-- [end:check]


if __name__ == "__main__":
    main()
