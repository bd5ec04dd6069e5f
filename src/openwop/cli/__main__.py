"""``python -m openwop.cli``: the ``openwop`` command without its script."""

from __future__ import annotations

from openwop.cli import main

if __name__ == "__main__":
    main()
