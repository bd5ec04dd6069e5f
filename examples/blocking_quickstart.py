"""The same without async and await: a run, a question that it asks, a stream left half-way, many runs, threads."""

from concurrent.futures import ThreadPoolExecutor

from openwop import Interrupt, OpenwopClient, RunSpec


# --8<-- [start:decide]
def decide(interrupt: Interrupt) -> dict[str, object] | None:
    """A plain function: it is called in a thread of its own, and may wait for a person, a file, another call."""
    return {"action": "accept"} if interrupt.kind == "approval" else None


# --8<-- [end:decide]


def main() -> None:
    # --8<-- [start:five-lines]
    with OpenwopClient() as client:  # OPENWOP_BASE_URL and OPENWOP_API_KEY say where
        run = client.start("conformance-multi-node")
        for event in run.events():  # ends at the run's last event, however often the connection drops
            print(event.sequence, event.type)
        print(run.result().status)
    # --8<-- [end:five-lines]

    with OpenwopClient() as client:
        # --8<-- [start:callback]
        snapshot = client.execute("conformance-approval", on_interrupt=decide, timeout=30)
        print("with a callback:", snapshot.status)
        # --8<-- [end:callback]

        # --8<-- [start:left]
        run = client.start("conformance-multi-node")
        with run.events(mode="debug") as events:
            first = next(events)
        with client.runs.events(run.id, mode="debug", after=events.cursor) as rest:
            print("went on behind", first.sequence, "with", next(rest).sequence)
        # --8<-- [end:left]

        # --8<-- [start:many]
        specs = (RunSpec("conformance-noop", inputs={"number": number}) for number in range(20))
        with client.fan_out(specs, concurrency=5) as outcomes:
            finished = [outcome.run_id for outcome in outcomes if outcome.error is None]
        print(len(finished), "runs finished")
        # --8<-- [end:many]

        # --8<-- [start:threads]
        with ThreadPoolExecutor(8) as threads:
            states = list(threads.map(client.runs.get, finished))
        print({state.status for state in states})
        # --8<-- [end:threads]


if __name__ == "__main__":
    main()
