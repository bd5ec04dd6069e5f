"""The workflows that every host has: for the demo, and for conformance tests.

``openwop-*`` show one thing each; ``conformance-*`` are the fixtures by which the protocol's own tests know a
host. Inputs are named in each description.
"""

from __future__ import annotations

from openwop.devhost.builder import edge, node, workflow
from openwop.devhost.json_values import JsonObject

_DELAY_INPUT: JsonObject = {"type": "expression", "expression": "inputs.delayMs"}


def _delay(id: str, default_ms: int, **config: object) -> JsonObject:
    """A delay that the run's input ``delayMs`` may set."""
    return node(id, "core.delay", config={"delayMs": default_ms, **config}, inputs={"delayMs": _DELAY_INPUT})


def _approval(id: str) -> list[JsonObject]:
    approve = node(
        id,
        "core.approval",
        config={
            "artifactId": "release-notes",
            "artifactType": "document",
            "title": "Publish the release notes?",
            "description": "The run goes on with what you decide.",
            "artifactData": {"text": "{{inputs.text ?? 'Release notes, first draft.'}}"},
        },
    )
    publish = node("publish", "core.transform", config={"mapping": {"published": True}}, outputRole="primary")
    decline = node("decline", "core.transform", config={"mapping": {"published": False}})
    return [approve, publish, decline]


_APPROVAL_EDGES = [
    edge("gate", "publish", when="output.approved"),
    edge("gate", "decline", when="not output.approved"),
]


def _demo() -> JsonObject:
    finding = {"channel": "findings", "value": {"by": "{{output.by}}", "text": "{{output.text}}"}}
    return workflow(
        "openwop-demo",
        name="Demo",
        description="Two branches look something up at once, then a mock model writes. Inputs: q, delayMs.",
        channels={"findings": {"reducer": "append", "maxSize": 20}},
        nodes=[
            node(
                "plan",
                "core.transform",
                config={"mapping": {"question": "{{inputs.q ?? 'How is the weather?'}}"}},
            ),
            _delay("search", 250),
            _delay("remember", 150),
            node(
                "found",
                "core.transform",
                config={
                    "mapping": {"by": "search", "text": "Two pages about: {{nodes.plan.output.question}}"},
                    "writes": [finding],
                },
            ),
            node(
                "recalled",
                "core.transform",
                config={
                    "mapping": {"by": "memory", "text": "You asked something like it before."},
                    "writes": [finding],
                },
            ),
            node(
                "write",
                "core.ai.callPrompt",
                config={
                    "text": "{{inputs.answer ?? 'Nothing was lost on the way, and every event came in its order.'}}",
                    "delayMsPerToken": 40,
                },
                outputRole="primary",
            ),
        ],
        edges=[
            ("plan", "search"),
            ("plan", "remember"),
            ("search", "found"),
            ("remember", "recalled"),
            ("found", "write"),
            ("recalled", "write"),
        ],
    )


def _asking() -> list[JsonObject]:
    """The workflows that wait for somebody, one for each kind of interrupt."""
    questions = [
        {"id": "audience", "question": "Who is it for?", "schema": {"type": "string", "minLength": 1}},
    ]
    clarify = node("ask", "core.clarification", config={"questions": questions, "contextType": "brief"})
    wait = node(
        "wait",
        "core.externalEvent",
        config={
            "eventType": "payment.settled",
            "correlation": {"correlationId": "{{inputs.correlationId ?? 'order-1'}}"},
        },
    )
    used = node(
        "use", "core.transform", config={"mapping": {"received": "{{nodes.wait.output.eventPayload}}"}}
    )
    brief = node(
        "use", "core.transform", config={"mapping": {"brief": "For {{nodes.ask.output.answers.audience}}."}}
    )
    return [
        workflow(
            "openwop-approval",
            description="Asks for an approval, then publishes or declines. Inputs: text.",
            nodes=_approval("gate"),
            edges=_APPROVAL_EDGES,
        ),
        workflow("openwop-clarification", nodes=[clarify, brief], edges=[("ask", "use")]),
        workflow(
            "openwop-external-event",
            description="Holds until an external event is delivered. Inputs: correlationId.",
            nodes=[wait, used],
            edges=[("wait", "use")],
        ),
        *_talking(),
    ]


def _talking() -> list[JsonObject]:
    """The workflows that wait for what is neither an approval, nor answers to questions, nor an event."""
    city: JsonObject = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
    talk = node(
        "talk",
        "core.conversationGate",
        config={
            "title": "A trip",
            "initialPrompt": "Let us plan a trip.",
            "prompts": ["Where do you want to go?", "And from there?"],
            "outcomeSchema": city,
            "closeReason": "goal-reached",
        },
    )
    route = {"kind": "next-worker", "nextWorkerIds": ["writer"]}
    decider = node(
        "decide",
        "vendor.devhost.decide",
        config={
            "agentId": "samples.router",
            "decision": route,
            "confidence": "{{inputs.confidence ?? 0.5}}",
        },
    )
    sign = node(
        "sign",
        "core.interrupt",
        config={"kind": "custom", "data": {"customKind": "signature", "payload": {"page": 3}}},
    )
    chat = node(
        "chat",
        "vendor.devhost.chat",
        config={"opening": "Hello.", "delayMsPerToken": "{{inputs.delayMsPerToken ?? 0}}"},
        outputRole="primary",
    )
    return [
        workflow(
            "openwop-chat",
            description="Chats until it is told bye; asks a tool about the weather. Inputs: delayMsPerToken.",
            nodes=[chat],
        ),
        workflow("openwop-conversation", description="Has a conversation of two turns.", nodes=[talk]),
        workflow(
            "openwop-low-confidence",
            description="Has an unsure decision ratified. Inputs: confidence, from 0 to 1.",
            nodes=[decider],
        ),
        workflow("openwop-custom-interrupt", description="Waits for something of its own.", nodes=[sign]),
    ]


def _shown() -> list[JsonObject]:
    return [
        _demo(),
        *_asking(),
        workflow(
            "openwop-stream-text",
            description="Streams a mock model's text. Inputs: prompt, tokens, delayMsPerToken.",
            nodes=[_model("write")],
        ),
        workflow(
            "openwop-failure",
            description="Fails after its first node. Inputs: code, message.",
            nodes=[node("before", "core.noop"), _failing("break")],
            edges=[("before", "break")],
        ),
        *_family("openwop-subworkflow-parent", "openwop-subworkflow-child"),
        workflow(
            "openwop-artifact",
            description="Makes an artifact named report. Inputs: title, text.",
            nodes=[
                node(
                    "write",
                    "vendor.devhost.artifact",
                    config={
                        "artifactId": "report",
                        "artifactType": "document",
                        "content": {
                            "title": "{{inputs.title ?? 'Report'}}",
                            "text": "{{inputs.text ?? 'All is well.'}}",
                        },
                    },
                )
            ],
        ),
        workflow(
            "openwop-burst",
            description="Emits many events quickly. Inputs: count, kind (log or chunk), size.",
            nodes=[
                node(
                    "burst",
                    "vendor.devhost.burst",
                    config={
                        "count": "{{inputs.count ?? 1000}}",
                        "kind": "{{inputs.kind ?? 'log'}}",
                        "size": "{{inputs.size ?? 16}}",
                    },
                )
            ],
        ),
    ]


def _model(id: str) -> JsonObject:
    return node(
        id,
        "core.ai.callPrompt",
        config={
            "prompt": "{{inputs.prompt}}",
            "tokens": "{{inputs.tokens}}",
            "delayMsPerToken": "{{inputs.delayMsPerToken}}",
        },
    )


def _failing(id: str) -> JsonObject:
    return node(
        id,
        "core.fail",
        config={
            "code": "{{inputs.code ?? 'demo_failure'}}",
            "message": "{{inputs.message ?? 'This run fails.'}}",
        },
    )


def _family(parent: str, child: str) -> list[JsonObject]:
    """A parent that runs a child, which takes as long as the input ``delayMs`` says."""
    call = node(
        "child",
        "core.subWorkflow",
        config={
            "workflowId": child,
            "inputMapping": {"delayMs": "inputs.delayMs ?? 0"},
            "outputMapping": {"answer": "answer"},
        },
    )
    result = node("result", "core.transform", config={"mapping": {"answer": "{{variables.answer}}"}})
    work = node("work", "core.transform", config={"mapping": {"answer": 42}}, name="Work")
    return [
        workflow(parent, nodes=[call, result], edges=[("child", "result")], description="Inputs: delayMs."),
        workflow(
            child, nodes=[_delay("delay", 0), work], edges=[("delay", "work")], description="Inputs: delayMs."
        ),
    ]


def _conformance() -> list[JsonObject]:
    questions = [{"id": "q1", "question": "Which way?"}]
    return [
        workflow("conformance-noop", nodes=[node("noop", "core.noop")]),
        workflow("conformance-delay", nodes=[_delay("delay", 200)], description="Inputs: delayMs."),
        workflow("conformance-cancellable", nodes=[_delay("delay", 30_000)], description="Inputs: delayMs."),
        workflow("conformance-idempotent", nodes=[node("once", "core.noop")]),
        workflow(
            "conformance-multi-node",
            nodes=[node(name, "core.noop") for name in ("first", "second", "third")],
            edges=[("first", "second"), ("second", "third")],
        ),
        workflow("conformance-approval", nodes=_approval("gate"), edges=_APPROVAL_EDGES),
        workflow(
            "conformance-clarification",
            nodes=[node("ask", "core.clarification", config={"questions": questions})],
        ),
        workflow("conformance-failure", nodes=[_failing("fail")]),
        workflow("conformance-stream-text", nodes=[_model("write")]),
        *_family("conformance-subworkflow-parent", "conformance-subworkflow-child"),
        workflow(
            "conformance-cap-breach",
            description="Three nodes, for a recursionLimit below three.",
            nodes=[node(name, "core.noop") for name in ("one", "two", "three")],
            edges=[("one", "two"), ("two", "three")],
        ),
        workflow(
            "conformance-run-duration-breach",
            description="Takes long, for a runTimeoutMs that is short.",
            nodes=[_delay("delay", 30_000)],
        ),
        workflow(
            "conformance-identity", nodes=[node("same", "core.identity", inputs={"value": _whole_input()})]
        ),
    ]


def _interrupting() -> list[JsonObject]:
    """The fixtures of the interrupt profiles."""
    correlation = {"correlationId": "{{inputs.correlationId ?? 'conformance'}}"}
    return [
        workflow(
            "conformance-interrupt-external-event",
            nodes=[
                node(
                    "wait",
                    "core.externalEvent",
                    config={"eventType": "conformance.event", "correlation": correlation},
                )
            ],
        ),
        workflow(
            "conformance-interrupt-quorum",
            nodes=[
                node(
                    "gate", "core.approval", config={"requiredApprovals": 2, "actions": ["accept", "reject"]}
                )
            ],
        ),
        workflow(
            "conformance-interrupt-auth-required",
            nodes=[node("gate", "core.approval")],
        ),
        workflow(
            "conformance-interrupt-parent-child-cancel",
            nodes=[
                node(
                    "child",
                    "core.subWorkflow",
                    config={"workflowId": "conformance-interrupt-parent-child-cancel-child"},
                )
            ],
        ),
        workflow("conformance-interrupt-parent-child-cancel-child", nodes=[node("gate", "core.approval")]),
        workflow(
            "conformance-agent-low-confidence",
            nodes=[
                node(
                    "low-conf-decider",
                    "vendor.devhost.decide",
                    config={"agentId": "core.conformance.low-conf-decider", "confidence": 0.5},
                )
            ],
        ),
    ]


def _whole_input() -> JsonObject:
    return {"type": "expression", "expression": "inputs"}


def sample_workflows() -> list[JsonObject]:
    """Return the definitions of all samples and fixtures."""
    return [*_shown(), *_conformance(), *_interrupting()]
