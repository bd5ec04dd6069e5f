"""What a browser is told of an error."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response

from openwop import (
    CapabilityNotSupportedError,
    ConfigurationError,
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
    RequestValidationError,
    RunFailedError,
    StreamLostError,
)
from openwop.errors import DocumentProblem, DocumentValidationError
from openwop.integrations.fastapi import OpenwopDep, add_error_handlers, openwop_lifespan, problem_response
from support.web_app import ScriptedHost, refusing

pytestmark = pytest.mark.asyncio


def app_of(host: ScriptedHost) -> FastAPI:
    app = FastAPI(lifespan=openwop_lifespan(host.client))
    add_error_handlers(app)

    @app.get("/run")
    async def read(client: OpenwopDep) -> str:
        return (await client.runs.get("run-1")).status

    return app


async def get(app: FastAPI, path: str = "/run") -> httpx.Response:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http,
    ):
        return await http.get(path)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(400, 400), (401, 502), (403, 502), (404, 404), (405, 502), (408, 504), (409, 409), (410, 410), (413, 413),
     (415, 502), (418, 502), (422, 422), (429, 429), (500, 502), (501, 501), (502, 502), (503, 503), (504, 504)],
)  # fmt: skip
async def test_a_refusal_of_the_host_becomes_one_of_ours(theirs: int, ours: int) -> None:
    """We chose it: what means the same to our caller passes; that *our* key was refused is no 401 of our caller's."""
    response = await get(app_of(refusing(theirs)))
    assert response.status_code == ours
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in response.headers
    problem = response.json()
    assert problem["status"] == ours
    assert problem["title"]
    assert len(problem["traceId"]) == 32
    if theirs == ours and ours != 502:
        assert problem.get("code", "some_code") == "some_code"


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500])
async def test_nothing_that_the_host_says_in_words_gets_out(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: a host's text may speak of others, or of secrets.  Our log has it, without the key in it."""
    caplog.set_level(logging.INFO, "openwop.fastapi")
    response = await get(app_of(refusing(status, "Not a code <script>")))
    for word in ("db-7", "hk_", "script", "host.example"):
        assert word not in response.text
    assert "db-7" in caplog.text
    assert "hk_live" not in caplog.text


async def test_how_long_to_wait_is_passed_on() -> None:
    """We chose it: whole seconds, rounded up, as RFC 9110 wants them."""
    response = await get(app_of(refusing(429, "rate_limited", **{"retry-after": "120"})))
    assert (response.status_code, response.headers["retry-after"]) == (429, "120")
    assert response.json()["code"] == "rate_limited"


FIELDS = [{"field": "inputs.q", "rule": "must be text"}]
PROBLEMS = DocumentValidationError(
    "flow.json", [DocumentProblem("a", "first"), DocumentProblem("b", "second")]
)


@pytest.mark.parametrize(
    ("error", "status", "extra"),
    [
        (RequestValidationError("inputs.q", "must be text"), 422, {"errors": FIELDS}),
        (PROBLEMS, 422, {"errors": [{"field": "a", "rule": "first"}, {"field": "b", "rule": "second"}]}),
        (RequestTimeoutError("30 s"), 504, {}),
        (ConnectionFailedError("refused"), 502, {}),
        (StreamLostError("lost"), 502, {}),
        (RunFailedError("run failed: secret of the run"), 502, {}),
        (CapabilityNotSupportedError(None, "capability_not_provided", "no", capability="audit"), 501, {}),
        (ConfigurationError("no client"), 500, {}),
    ],
)
async def test_an_error_without_an_answer_becomes_a_problem(
    error: OpenwopError, status: int, extra: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: the field that is wrong is named, and no text of the error's is shown otherwise."""
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/fail")
    async def fail() -> None:
        raise error

    response = await get(app, "/fail")
    assert response.status_code == status
    problem = response.json()
    assert {name: problem[name] for name in extra} == extra
    assert "secret of the run" not in response.text
    assert ("Traceback" in caplog.text) == (status == 500)


async def test_other_errors_are_left_to_the_framework() -> None:
    """We chose it: only this library's errors are answered."""
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/fail")
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await get(app, "/fail")


async def test_an_endpoint_can_make_the_same_answer_itself() -> None:
    """We chose it: for those who catch the error."""
    app = FastAPI()

    @app.get("/caught")
    async def caught() -> Response:
        return problem_response(RequestTimeoutError("x"))

    assert (await get(app, "/caught")).json()["status"] == 504
