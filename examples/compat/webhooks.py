"""The webhook helpers of ``openwop-client``: a delivery is signed and checked; only the import was changed."""

from openwop.compat import (
    DEFAULT_WEBHOOK_FRESHNESS_WINDOW_SECONDS,
    VerifyInvalid,
    VerifyValid,
    sign_webhook_delivery,
    verify_webhook_signature,
)

SECRET = "as the host returned it when the webhook was registered"
BODY = '{"runId": "run-1", "event": {"type": "run.completed", "sequence": 4, "payload": {"said": "schön"}}}'
SENT = 1_700_000_000


def main() -> None:
    # --8<-- [start:verify]
    signature, timestamp = sign_webhook_delivery(SECRET, SENT, BODY)
    outcome = verify_webhook_signature(SECRET, signature, timestamp, BODY.encode(), now_seconds=SENT + 10)
    print("valid" if outcome.valid else outcome.reason)
    # --8<-- [end:verify]
    print(signature, timestamp, isinstance(outcome, VerifyValid))

    window = DEFAULT_WEBHOOK_FRESHNESS_WINDOW_SECONDS
    print("window:", window)
    for name, arguments, now in (
        ("text and bytes", (SECRET, signature, timestamp, BODY), SENT),
        ("upper case", (SECRET, f"v1={signature[3:].upper()}", timestamp, BODY), SENT),
        ("as late as may be", (SECRET, signature, timestamp, BODY), SENT + window),
        ("too late", (SECRET, signature, timestamp, BODY), SENT + window + 1),
        ("too early", (SECRET, signature, timestamp, BODY), SENT - window - 1),
        ("another secret", ("another secret", signature, timestamp, BODY), SENT),
        ("another body", (SECRET, signature, timestamp, BODY + " "), SENT),
        ("another time", (SECRET, signature, str(SENT + 1), BODY), SENT),
        ("no scheme", (SECRET, signature[3:], timestamp, BODY), SENT),
        ("no digits", (SECRET, "v1=", timestamp, BODY), SENT),
        ("no hexadecimal", (SECRET, "v1=xyz", timestamp, BODY), SENT),
        ("no number", (SECRET, signature, "yesterday", BODY), SENT),
        ("before the epoch", (SECRET, signature, "-5", BODY), SENT),
    ):
        outcome = verify_webhook_signature(*arguments, now_seconds=now)
        print(f"{name}: {outcome.reason if isinstance(outcome, VerifyInvalid) else outcome}")
    unbounded = verify_webhook_signature(SECRET, signature, timestamp, BODY, freshness_window_seconds=0)
    print("without a window:", unbounded.valid, unbounded == VerifyValid())


if __name__ == "__main__":
    main()
