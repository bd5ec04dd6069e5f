"""Files with keys or results in them, which only their owner may read."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from openwop.errors import ConfigurationError

__all__ = ["refuse_if_others_can_read"]


def refuse_if_others_can_read(setting: str, path: Path, facts: os.stat_result) -> None:
    """Raise :class:`ConfigurationError`, which names ``setting``, for what is no file or is open to others.

    On Windows what the folder allows is what the file allows, and nothing is asked here.
    """
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigurationError(f"{setting}: {path} is not a file")
    if sys.platform != "win32" and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{setting}: others may read {path}; run: chmod 600 {path}")
