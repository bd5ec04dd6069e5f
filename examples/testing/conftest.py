"""Settings of the tests beside it."""

from typing import Any

import pytest


# --8<-- [start:options]
@pytest.fixture
def openwop_host_options() -> dict[str, Any]:
    return {"keepalive_s": 5.0}


@pytest.fixture
def openwop_client_options() -> dict[str, Any]:
    return {"timeout": 10.0}


# --8<-- [end:options]
