"""Errors, as a program written for ``openwop-client`` tells them apart; of it, only the import was changed."""

import os
import re

from openwop.compat import (
    HTTP_ERROR_CODES,
    CreateRunRequest,
    OpenwopClient,
    WopError,
    is_http_error_code,
)


def main() -> None:
    url, key = os.environ["OPENWOP_BASE_URL"], os.environ["OPENWOP_API_KEY"]
    client = OpenwopClient(url, key)

    # --8<-- [start:refused]
    try:
        client.runs_create(CreateRunRequest(workflowId="no-such-workflow"))
    except WopError as error:
        if error.envelope and is_http_error_code(error.envelope.error):
            print(error.status, error.envelope.error, error.envelope.details)
        else:
            print(error.status, "is not an answer of the protocol's")
    # --8<-- [end:refused]

    try:
        client.runs_create(CreateRunRequest(workflowId="no-such-workflow"))
    except WopError as error:
        print("trace:", bool(error.trace_id and re.fullmatch("[0-9a-f]{32}", error.trace_id)))
        print("in its text as well:", str(error).endswith(f"(trace={error.trace_id})"))
        print("from its header:", f"-{error.trace_id}-" in str(error.traceparent))

    try:
        OpenwopClient(url, "hk_of_nobody").runs_get("run-1")
    except WopError as error:
        if error.envelope:
            print(error.status, error.envelope.error)
            print(error.envelope.error in error.raw_text, error.envelope.message in str(error))

    # What a host lacks, or does not know, is None from some calls and an error from others.
    print("artifact:", client.runs_get_artifact("no-such-run", "no-such-artifact"))
    print("agent:", client.agents_get("no-such-agent"))
    try:
        client.runs_get("no-such-run")
    except WopError as error:
        print("run:", error.status)

    # --8<-- [start:unreachable]
    try:
        OpenwopClient("http://127.0.0.1:9", key, timeout=5).runs_get("run-1")
    except WopError as error:
        print("no answer at all:", error.status, error.envelope, error.trace_id)
    # --8<-- [end:unreachable]

    for arguments in ("", key), (url, ""):
        try:
            OpenwopClient(*arguments)
        except ValueError:
            print("refused before anything is sent")
    print("rate_limited" in HTTP_ERROR_CODES, is_http_error_code("made_up"), is_http_error_code(404))


if __name__ == "__main__":
    main()
