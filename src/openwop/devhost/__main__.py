"""``python -m openwop.devhost``: serve a development host on a port."""

from __future__ import annotations

from openwop.devhost.server import main

if __name__ == "__main__":
    raise SystemExit(main())
