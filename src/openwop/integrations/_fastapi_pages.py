"""The pages of approvals: plain HTML without scripts, in which every text of a host's is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from starlette.responses import HTMLResponse

from openwop.integrations._fastapi_answers import Field, artifact_text, fields_of, offered
from openwop.models.interrupts import ApprovalData, SuspendRequest

__all__ = ["message_page", "question_page"]

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; }
pre { background: #f4f4f4; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
form, fieldset { border: 1px solid #ccc; border-radius: 0.4rem; padding: 1rem; margin: 1rem 0; }
label { display: block; margin: 0.5rem 0; }
textarea, select { display: block; box-sizing: border-box; width: 100%; font: inherit; }
button { font: inherit; padding: 0.4rem 1rem; }
.note { background: #fff3cd; padding: 0.5rem 1rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none';"
        " base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the page's address is the credential
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LABELS = {
    "accept": "Accept",
    "reject": "Reject",
    "refine": "Ask for changes",
    "edit-accept": "Accept with my changes",
}


def message_page(title: str, text: str, status: int = 200) -> HTMLResponse:
    """A page that says one thing."""
    return _page(title, f"<p>{escape(text)}</p>", status)


def question_page(
    asked: SuspendRequest, entered: Mapping[str, str], note: str = "", status: int = 200
) -> HTMLResponse:
    """A page with a question and the forms that answer it; ``entered`` is what stands in them already."""
    told = f'<p class="note" role="alert">{escape(note)}</p>' if note else ""
    if isinstance(asked.data, ApprovalData) and asked.kind == "approval":
        title, body = _approval(asked.data, entered)
    else:
        title = "A run needs an answer"
        fields = "".join(_field(field, entered) for field in fields_of(asked))
        body = f"{_told(asked)}{_form(fields, 'answer', 'Answer')}"
    return _page(title, told + body + _deadline(asked), status)


def _approval(data: ApprovalData, entered: Mapping[str, str]) -> tuple[str, str]:
    text, plain = artifact_text(data)
    parts: list[str] = []
    if data.description:
        parts.append(f"<p>{escape(data.description)}</p>")
    if text:
        parts.append(f"<pre>{escape(text)}</pre>")
    if data.required_approvals > 1:
        parts.append(f"<p>{data.required_approvals} people have to accept it.</p>")
    for action in offered(data):
        if action == "edit-accept":
            fields = _field(Field("artifact", "The artifact", plain, value=text), entered)
        else:
            wanted = "What has to change" if action == "refine" else "Remark (optional)"
            fields = _field(Field("feedback", wanted, plain=True), entered)
        parts.append(_form(fields, action, _LABELS[action]))
    return data.title or "A run asks for an approval", "".join(parts)


def _told(asked: SuspendRequest) -> str:
    """What is known of a question whose fields do not say it all."""
    data = asked.data
    document = data if isinstance(data, dict) else data.to_wire()
    rest = {
        name: value
        for name, value in document.items()
        if name not in ("questions", "prompt", "outcomeSchema")
    }
    text, _ = artifact_text(ApprovalData(artifact_data=rest or None))
    return f"<pre>{escape(text)}</pre>" if text else ""


def _deadline(asked: SuspendRequest) -> str:
    if asked.expires_at is None:
        return ""
    return f"<p>This page works until {escape(asked.expires_at.isoformat(timespec='minutes'))}.</p>"


def _field(field: Field, entered: Mapping[str, str]) -> str:
    name, value = escape(field.name), entered.get(field.name, field.value)
    if field.choices:
        options = "".join(
            f'<option value="{escape(choice)}"{" selected" if choice == value else ""}>'
            f"{escape(choice.strip(chr(34)))}</option>"
            for choice in field.choices
        )
        control = f'<select name="{name}">{options}</select>'
    else:
        # A line break right after the tag is not part of the text, and one that the text begins with is.
        control = f'<textarea name="{name}" rows="4">\n{escape(value)}</textarea>'
    hint = "" if field.plain or field.choices else " (JSON)"
    return f"<label>{escape(field.label)}{hint}{control}</label>"


def _form(fields: str, action: str, label: str) -> str:
    return f'<form method="post">{fields}<button name="action" value="{escape(action)}">{escape(label)}</button></form>'


def _page(title: str, body: str, status: int) -> HTMLResponse:
    name = escape(title)
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><h1>{name}</h1>{body}</body></html>"
    )
    # A host may write half of a surrogate pair, which no encoding has.
    return HTMLResponse(html.encode("utf-8", "replace"), status, headers=_HEADERS)
