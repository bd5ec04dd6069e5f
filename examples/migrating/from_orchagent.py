"""What a program does with orchagent's threads, secrets and approvals, done with a host of OpenWOP."""

from openwop import Interrupt, OpenwopClient, RequestValidationError, RunConfigurable

MOCK = {"id": "stream-text", "config": {"tokens": ["Tides ", "follow ", "the moon."], "delayMsPerToken": 1}}


# --8<-- [start:turn]
def ask(client: OpenwopClient, thread: list[str], prompt: str) -> None:
    """One turn of a conversation: a run, whose id the program keeps."""
    run = client.start(
        "conformance-stream-text",
        inputs={"prompt": prompt, "previousRun": thread[-1] if thread else None},
        configurable={"mockProvider": MOCK},
    )
    thread.append(run.id)
    for text in run.messages():
        print(text, end="")
    print()


# --8<-- [end:turn]


# --8<-- [start:history]
def history(client: OpenwopClient, thread: list[str]) -> None:
    """What was said, from the logs of the runs."""
    for run_id in thread:
        started = client.runs.poll_events(run_id).events[0]
        print("user:", started.payload["inputs"]["prompt"])
        print("ended as:", client.get_run_handle(run_id).snapshot().status)


# --8<-- [end:history]


# --8<-- [start:decide]
def decide(interrupt: Interrupt) -> dict[str, object] | None:
    """Answer what this program knows how to answer."""
    return {"action": "accept"} if interrupt.kind == "approval" else None


# --8<-- [end:decide]


def main() -> None:
    with OpenwopClient() as client:
        thread: list[str] = []
        ask(client, thread, "Why are there tides?")
        ask(client, thread, "And why two a day?")
        history(client, thread)

        # --8<-- [start:secrets]
        options = RunConfigurable(
            ai_provider="openai",
            ai_model="some-model",
            ai_credential_ref="team-openai",
        )
        print(options.to_wire())
        try:
            client.start("conformance-noop", configurable={"providers.openai.apiKey": "sk-" + "0" * 40})
        except RequestValidationError as error:
            print("not sent:", error.field)
        # --8<-- [end:secrets]

        # --8<-- [start:approve]
        print(client.execute("conformance-approval", on_interrupt=decide, timeout=30).status)
        # --8<-- [end:approve]


if __name__ == "__main__":
    main()
