// Follows a run, and shows a card for each thing that it asks. Texts of the run become text nodes, never HTML.

const api = `/api/runs/${location.pathname.split("/").pop()}`;
const [events, cards, state, note] = ["events", "cards", "state", "note"].map((id) => document.getElementById(id));

// -- the stream -------------------------------------------------------------------------------------------------------

// --8<-- [start:stream]
const source = new EventSource(`${api}/events`);

source.addEventListener("openwop.open", (message) => {
  note.textContent = "";
  if (!JSON.parse(message.data).resumed) {
    events.replaceChildren(); // what follows starts at the beginning
    cards.replaceChildren();
  }
  refresh(); // the last look may have gone down with the connection
});
source.addEventListener("openwop.event", (message) => show(JSON.parse(message.data)));
source.addEventListener("openwop.end", () => source.close()); // or the browser would connect again
source.addEventListener("openwop.error", (message) => {
  const problem = JSON.parse(message.data);
  note.textContent = problem.detail;
  if (!problem.retryable) source.close();
});
source.onerror = () => {
  const gone = source.readyState === EventSource.CLOSED;
  note.textContent = gone ? "This run cannot be followed." : "The connection was lost; trying again.";
};
// --8<-- [end:stream]

function show(event) {
  const row = add(events, "li", `${event.sequence} ${event.type}`);
  row.dataset.sequence = event.sequence;
  state.textContent = event.type;
  const kind = event.payload?.kind;
  if (event.type === "interrupt.requested" && ["conversation.start", "conversation.close"].includes(kind)) {
    notice(kind, event.payload.data ?? {}); // told, and not waited for
  } else if (/^(interrupt|approval|clarification|run)\.|^node\.suspended$/.test(event.type)) {
    refresh();
  }
}

// -- the cards --------------------------------------------------------------------------------------------------------

let looking = Promise.resolve();

// One look after the other, so that an older answer never replaces a newer one.
function refresh() {
  looking = looking.then(look).catch(() => {}); // without a connection; the next one begins with a look
}

async function look() {
  const answer = await fetch(`${api}/interrupts`);
  if (!answer.ok) return;
  const waiting = await answer.json();
  const name = (asked) => `${asked.nodeId} ${asked.interruptId ?? asked.key ?? ""}`;
  const names = new Set(waiting.map(name));
  for (const card of cards.querySelectorAll("form")) if (!names.has(card.dataset.name)) card.remove();
  const shown = new Set([...cards.querySelectorAll("form")].map((card) => card.dataset.name));
  for (const asked of waiting) {
    if (!shown.has(name(asked))) cards.append(cardFor(asked, name(asked)));
  }
}

const BODIES = {
  approval: approvalCard,
  clarification: clarificationCard,
  "external-event": eventCard,
  "conversation.exchange": conversationCard,
  "low-confidence": confidenceCard,
};

function cardFor(asked, name) {
  const card = document.createElement("form");
  card.className = "card";
  card.dataset.name = name;
  card.dataset.kind = asked.kind;
  (BODIES[asked.kind] ?? anyCard)(card, asked, asked.data ?? {});
  add(card, "p", "").className = "said";
  return card;
}

function approvalCard(card, asked, data) {
  add(card, "h2", data.title || "An approval");
  if (data.description) add(card, "p", data.description);
  if (data.artifactData != null) add(card, "pre", pretty(data.artifactData));
  const offered = data.actions?.length ? data.actions : ["accept", "reject"];
  const path = `approvals/${encodeURIComponent(asked.nodeId)}`;
  const feedback = add(card, "label", "What you have to say").appendChild(document.createElement("input"));
  feedback.name = "feedback";
  const labels = { accept: "Accept", reject: "Reject", refine: "Ask for changes" };
  for (const [action, label] of Object.entries(labels)) {
    if (offered.includes(action)) {
      button(card, label, action, () => send(card, path, { action, feedback: feedback.value }));
    }
  }
  if (offered.includes("edit-accept") || offered.includes("edit")) {
    const text = area(card, "The artifact (JSON)", "artifact", pretty(data.artifactData ?? null));
    button(card, "Accept with my changes", "edit-accept", () =>
      send(card, path, { action: "edit-accept", artifact: JSON.parse(text.value) }));
  }
}

function clarificationCard(card, asked, data) {
  add(card, "h2", "Some questions");
  const questions = (data.questions ?? []).map((question) => {
    const plain = (question.schema?.type ?? "string") === "string";
    const text = area(card, question.question || question.id, question.id, "");
    return () => ({ id: question.id, answer: plain ? text.value : JSON.parse(text.value) });
  });
  button(card, "Answer", "answer", () => resolve(card, asked, { answers: questions.map((read) => read()) }));
}

function eventCard(card, asked, data) {
  add(card, "h2", `Waits for ${data.eventType ?? "an event"}`);
  add(card, "pre", pretty(data.correlation ?? {}));
  const text = area(card, "What the event brings (JSON)", "payload", "{}");
  button(card, "It has happened", "answer", () => resolve(card, asked, { eventPayload: JSON.parse(text.value) }));
}

function conversationCard(card, asked, data) {
  add(card, "h2", data.prompt || "Your turn");
  const schema = data.outcomeSchema ?? {};
  const plain = (schema.type ?? "string") === "string";
  const fields = schema.type === "object" ? Object.keys(schema.properties ?? {}) : [];
  if (fields.length) {
    const read = fields.map((name) => [name, area(card, name, name, "")]);
    button(card, "Answer", "answer", () =>
      resolve(card, asked, Object.fromEntries(read.map(([name, text]) => [name, text.value]))));
  } else {
    const text = area(card, "Answer", "answer", "");
    button(card, "Answer", "answer", () => resolve(card, asked, plain ? text.value : JSON.parse(text.value)));
  }
}

function confidenceCard(card, asked, data) {
  add(card, "h2", `${data.agentId ?? "An agent"} is not sure: ${data.observed} is below ${data.threshold}`);
  const text = area(card, "The decision (JSON)", "decision", pretty(data.decision ?? null));
  button(card, "This is the decision", "answer", () => resolve(card, asked, JSON.parse(text.value)));
}

// A kind that only the workflow's author knows, or one that is newer than this page.
function anyCard(card, asked, data) {
  add(card, "h2", data.customKind ?? asked.kind);
  add(card, "pre", pretty(data.payload ?? data));
  const text = area(card, "The answer (JSON)", "answer", "null");
  button(card, "Answer", "answer", () => resolve(card, asked, JSON.parse(text.value)));
}

function notice(kind, data) {
  const card = add(cards, "div", "");
  card.className = "card notice";
  card.dataset.kind = kind;
  const began = kind === "conversation.start";
  add(card, "h2", began ? data.title || "A conversation" : "The conversation is over");
  add(card, "p", (began ? data.initialPrompt : data.reason) ?? "");
}

// -- answers ----------------------------------------------------------------------------------------------------------

const resolve = (card, asked, value) => send(card, `interrupts/${encodeURIComponent(asked.nodeId)}`, { value });

async function send(card, path, body) {
  const said = card.querySelector(".said");
  said.textContent = "";
  const answer = await fetch(`${api}/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (answer.ok) return; // the stream tells what became of it
  if ([404, 409, 410].includes(answer.status)) {
    refresh(); // somebody else was faster, which is nothing bad
    return;
  }
  const told = await answer.json();
  const why = (told.errors ?? []).map((error) => `${error.field} ${error.rule}`);
  said.textContent = [told.detail, ...why].join(" ");
}

// -- elements ---------------------------------------------------------------------------------------------------------

function add(parent, tag, text) {
  const element = parent.appendChild(document.createElement(tag));
  element.textContent = text;
  return element;
}

function area(card, label, name, value) {
  const text = add(card, "label", label).appendChild(document.createElement("textarea"));
  text.name = name;
  text.value = value;
  return text;
}

function button(card, label, name, act) {
  const element = add(card, "button", label);
  element.name = name;
  element.addEventListener("click", async (event) => {
    event.preventDefault();
    try {
      await act();
    } catch (error) {
      card.querySelector(".said").textContent = error.message; // text that is no JSON, or no connection
    }
  });
}

const pretty = (value) => JSON.stringify(value, null, 2);
