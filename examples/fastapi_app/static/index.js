// Starts a run with what the form says, and goes to its page.

const form = document.getElementById("start");
const note = document.getElementById("note");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const answer = await fetch("/api/runs", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      workflow_id: fields.get("workflow"),
      inputs: fields.get("text") ? { text: fields.get("text") } : {},
      credential_ref: fields.get("credential") || null,
    }),
  });
  const told = await answer.json();
  if (answer.ok) {
    location.assign(`/runs/${encodeURIComponent(told.runId)}`);
  } else {
    note.textContent = [told.detail, ...(told.errors ?? []).map((error) => `${error.field} ${error.rule}`)].join(" ");
  }
});
