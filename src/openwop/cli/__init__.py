"""The ``openwop`` command.

It needs the ``cli`` extra, and the commands that start a host need ``devhost`` too:
``pip install 'openwop[cli,devhost]'``.  Importing this package imports neither.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = ("typer", "rich", "click")


def main() -> None:
    """Run the command line of this process, and leave with its exit code; ``openwop --help`` lists the codes.

    Example::

        python -m openwop.cli --version
    """
    try:
        from openwop.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(
            f"openwop: the command line needs {error.name}, which is not installed: "
            "pip install 'openwop[cli,devhost]'",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(run())
