"""Evaluate an agent, look at what is kept beside the run, and check the host's audit log."""

import asyncio

from openwop import AsyncOpenwopClient
from openwop.audit import verify_checkpoints


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:eval]
        created = await client.runs.create_eval(
            "openwop.samples.reviewer", "openwop.samples.evals.reviewer@1.0.0", modes=["golden"]
        )
        run = client.get_run_handle(created.run_id)
        async for event in run.events():
            if event.type == "eval.scored":
                print(event.payload["taskId"], event.payload["score"])
        summary = await client.runs.eval_summary(run.id)
        print("passed" if summary.passed else "failed", "with", summary.aggregate_score)
        # --8<-- [end:eval]

        # --8<-- [start:annotate]
        # A person overrules the score of one task, in words that readers must not take for more than words.
        await run.annotate(
            {"kind": "label", "label": "too strict"}, target={"nodeId": "task-says-why"}, note="it did"
        )
        for annotation in await client.runs.annotations(run.id):
            print(annotation.target.node_id, annotation.signal.label)
        # --8<-- [end:annotate]

        # --8<-- [start:bundle]
        bundle = await run.debug_bundle(max_events=5)
        events = len(bundle.events)
        if bundle.truncated:  # the rest is in the log, behind the last event of the bundle
            async for _ in run.events(mode="debug", after=bundle.last_sequence):
                events += 1
        print("the whole log" if events == (await run.debug_bundle()).last_sequence + 1 else "part of it")
        # --8<-- [end:bundle]

        # --8<-- [start:artifact]
        report = await client.start("openwop-artifact", inputs={"title": "Q3"})
        await report.result()
        print((await report.artifact("report"))["content"]["title"])
        # --8<-- [end:artifact]

        for _ in range(10):  # enough changes for a checkpoint
            await client.runs.create("conformance-noop")
        auth = (await client.discovery.capabilities()).auth
        public_key = auth["auditLogIntegrity"]["checkpointPublicKey"]  # keep it; do not ask for it each time
        # --8<-- [start:audit]
        result = await client.audit.verify(0, 999)
        checks = verify_checkpoints(result.checkpoints, public_key)
        print("the host says", result.chain_valid, "and its signatures", all(check.valid for check in checks))
        # --8<-- [end:audit]


if __name__ == "__main__":
    asyncio.run(main())
