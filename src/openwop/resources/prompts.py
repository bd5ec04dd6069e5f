"""Prompt templates (``prompts.md``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, overload
from urllib.parse import urljoin, urlsplit

from openwop._core import operations as ops
from openwop._core.operations import Operation
from openwop._core.prompt_values import refused_value
from openwop.errors import RequestValidationError
from openwop.models.prompts import (
    PromptPage,
    PromptRef,
    PromptTemplate,
    PromptTemplateRequest,
    RenderedPrompt,
    RenderPromptRequest,
    check_library_id,
    check_version,
)
from openwop.pagination import AsyncPages
from openwop.resources._base import AsyncResource, body, body_of, raw

__all__ = ["AsyncPrompts", "AsyncPromptsWithRawResponse"]

Kind = Literal["system", "user", "few-shot", "schema-hint"]
Source = Literal["host", "pack", "user"]
Template = PromptTemplate | PromptTemplateRequest | Mapping[str, Any]

_KINDS = ("system", "user", "few-shot", "schema-hint")
_SOURCES = ("host", "pack", "user")


class AsyncPrompts(AsyncResource):
    """``client.prompts``: read the host's templates, keep your own there, and fill them in without a run."""

    @property
    def with_raw_response(self) -> AsyncPromptsWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`; without ``list``, which is many answers."""
        return AsyncPromptsWithRawResponse(self)

    def list(
        self,
        *,
        kind: Kind | None = None,
        tag: str | Sequence[str] | None = None,
        model_class: str | None = None,
        source: Source | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> AsyncPages[PromptPage, PromptTemplate]:
        """The templates, page by page; ``.items()`` of the result gives them one by one.

        Args:
            kind: only templates of this kind.
            tag: only templates with this tag, or with all of several.
            model_class: only templates with this hint.
            source: only templates of the host, of packs or of users.
            limit: the most templates on a page, 1 to 200; hosts take 50 when it is absent.
            timeout: seconds for each attempt.

        Returns:
            An iterator over pages.  Nothing is asked for before it is iterated over.

        Raises:
            RequestValidationError: an argument that the protocol would refuse, at once.

        Protocol: ``prompts.md``.

        Example::

            async for template in client.prompts.list(kind="system", tag="writing").items():
                print(template.template_id, template.version)
        """
        _one_of("kind", kind, _KINDS)
        _one_of("source", source, _SOURCES)
        query = {
            "kind": kind,
            "tag": _tags(tag),
            "modelClass": _text("model_class", model_class),
            "source": source,
        }
        size: Any = limit
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 200):
            raise RequestValidationError("limit", "must be a whole number from 1 to 200")

        async def fetch(cursor: str | None) -> PromptPage:
            asked = {**query, "limit": limit, "cursor": cursor}
            return await self._call(ops.LIST_PROMPTS, query=asked, timeout=timeout)

        return AsyncPages(ops.LIST_PROMPTS.id, fetch, lambda page: (page.items, page.next_cursor))

    @overload
    async def get(
        self,
        template_id: str,
        *,
        version: str | None = None,
        library_id: str | None = None,
        if_none_match: None = None,
        timeout: float | None = None,
    ) -> PromptTemplate: ...
    @overload
    async def get(
        self,
        template_id: str,
        *,
        version: str | None = None,
        library_id: str | None = None,
        if_none_match: str,
        timeout: float | None = None,
    ) -> PromptTemplate | None: ...
    async def get(
        self,
        template_id: str,
        *,
        version: str | None = None,
        library_id: str | None = None,
        if_none_match: str | None = None,
        timeout: float | None = None,
    ) -> PromptTemplate | None:
        """One template.

        Args:
            template_id: which one.
            version: exactly this version, such as ``"1.2.0"``; the newest when absent.
            library_id: in which library or pack, where several have a template of this id.
            if_none_match: an ``ETag`` of an earlier answer (``with_raw_response`` has it); the result is ``None`` when
                nothing changed since.
            timeout: seconds for each attempt.

        Raises:
            NotFoundError: there is no such template or version.
            InvalidRequestError: ``prompt_ref_ambiguous``: several packs have it, so give ``library_id``.

        Example::

            template = await client.prompts.get("writer", version="1.2.0")
        """
        if version is not None:
            _checked("version", version, check_version(_text("version", version) or ""))
        if library_id is not None:
            _checked("library_id", library_id, check_library_id(_text("library_id", library_id) or ""))
        return await self._call(
            ops.GET_PROMPT,
            path={"templateId": template_id},
            query={"version": version, "libraryId": library_id},
            headers={"If-None-Match": if_none_match} if if_none_match is not None else None,
            timeout=timeout,
        )

    async def create(
        self, template: Template, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> PromptTemplate:
        """Add a template to the host's library.

        Args:
            template: a model, or a dict in the names of the wire or of Python.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Returns:
            The template as the host has it, where its answer says so.  The protocol lets it answer without a body:
            then it is the template as it was sent, without what the host may have added to ``meta``.  The ``Location``
            is among the headers of ``with_raw_response``.

        Raises:
            RequestValidationError: a template that the protocol would refuse; nothing was sent.
            ConflictError: this version of it exists.  PermissionDeniedError: the library cannot be changed by this key.

        Example::

            await client.prompts.create(
                {"templateId": "writer", "version": "1.0.0", "kind": "user", "text": "Write about {{topic}}."}
            )
        """
        request = body_of(PromptTemplateRequest, "template", template)
        created = await self._call(
            ops.CREATE_PROMPT, body=request, idempotency_key=idempotency_key, timeout=timeout
        )
        return PromptTemplate.model_validate(request.to_wire()) if created is None else created

    async def update(
        self,
        template_id: str,
        template: Template,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> PromptTemplate:
        """Put a newer version of a template in its place.

        Args:
            template_id: which one.
            template: as for :meth:`create`, with the same id and a greater version.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Raises:
            ConflictError: the version is not greater than the newest one.
            PermissionDeniedError: the template is the host's own or a pack's.  NotFoundError: there is none.

        Example::

            template = await client.prompts.get("writer")
            await client.prompts.update("writer", template.model_copy(update={"version": "1.1.0"}))
        """
        request = body_of(PromptTemplateRequest, "template", template)
        if request.template_id != template_id:
            raise RequestValidationError(
                "template.template_id", f"must be {template_id!r}, which is to be updated"
            )
        return await self._call(
            ops.UPDATE_PROMPT,
            path={"templateId": template_id},
            body=request,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def delete(self, template_id: str, *, timeout: float | None = None) -> None:
        """Remove a template.

        The call has no idempotency key and is repeated all the same, since removing twice removes no more.  So a
        ``NotFoundError`` may also mean that the first attempt did it and its answer was lost.

        Raises:
            NotFoundError: there is none.  PermissionDeniedError: it is the host's own or a pack's.

        Example::

            await client.prompts.delete("writer")
        """
        await self._call(ops.DELETE_PROMPT, path={"templateId": template_id}, timeout=timeout)

    async def render(
        self,
        ref: str | PromptRef | PromptTemplate | Mapping[str, Any],
        variables: Mapping[str, Any],
        *,
        content_trust: Literal["trusted", "untrusted"] | None = None,
        timeout: float | None = None,
    ) -> RenderedPrompt:
        """Fill a template in, without a run and without keeping anything.

        A value that comes from a secret is never sent: name the credential, as ``"[REDACTED:<credentialRef>]"``.  With
        a template as ``ref``, whose variables say which of them are secrets, nothing else is let through for those; in
        any other case a value that has the shape of a key is refused.

        A host that renders elsewhere (``prompts.library.renderEndpoint``) is asked there, if that is on its own origin.

        Args:
            ref: ``"prompt:writer"``, ``"prompt:writer@1.2.0"``, a :class:`~openwop.models.PromptRef` or a dict like
                it, or a template that was read before: its own version is rendered.
            variables: values by name.
            content_trust: whether the values come from somebody you trust.
            timeout: seconds for each attempt.

        Returns:
            Hashes of the text and of each value; the text itself (``composed``) only from hosts that show it.

        Raises:
            RequestValidationError: what the protocol would refuse, or a secret; nothing was sent.
            InvalidRequestError: ``prompt_variable_unresolved``, ``prompt_variable_type_mismatch``,
                ``prompt_ref_invalid``.
            NotFoundError: there is no such template.

        Protocol: ``prompts.md``.

        Example::

            rendered = await client.prompts.render("prompt:writer@1.2.0", {"topic": "tides"})
            print(rendered.hash, rendered.composed)
        """
        values: Any = variables
        if not isinstance(values, Mapping):
            raise RequestValidationError("variables", f"must be a dict, not {type(values).__name__}")
        secrets = _secrets_of(ref) if isinstance(ref, PromptTemplate) else set[str]()
        target = _target(ref)
        _refuse_secrets("variables", variables, secrets)
        if isinstance(target, PromptRef) and target.variable_overrides:
            _refuse_secrets("ref.variable_overrides", target.variable_overrides, secrets)
        request = body(
            RenderPromptRequest, ref=target, variables=dict(variables), content_trust=content_trust
        ).model_copy(deep=True)  # what was checked is what is sent, whatever the caller does meanwhile
        await self._session.ready()
        return await self._call(self._render_operation(), body=request, timeout=timeout)

    def _render_operation(self) -> Operation[RenderedPrompt]:
        known = self._session.shared.capabilities
        place = known.family("prompts.library.renderEndpoint") if known is not None else None
        path = _path_on(self._session.config.base_url, place) if isinstance(place, str) and place else None
        return ops.RENDER_PROMPT if path is None else replace(ops.RENDER_PROMPT, path=path, versioned=False)


def _path_on(origin: str, place: str) -> str | None:
    """The path of a URL that the host gave; ``None`` for another origin, which must not get the key."""
    try:
        url, own = urlsplit(urljoin(f"{origin}/", place)), urlsplit(origin)
    except ValueError:
        return None
    path = url.path + (f"?{url.query}" if url.query else "")
    fits = path.startswith("/") and path.isascii() and path.isprintable() and " " not in path
    return path if fits and url[:2] == own[:2] else None


def _target(ref: str | PromptRef | PromptTemplate | Mapping[str, Any]) -> str | PromptRef:
    if isinstance(ref, str):
        return ref
    if not isinstance(ref, PromptTemplate):
        return body_of(PromptRef, "ref", ref)
    pack = ref.meta.pack_name if ref.meta is not None else None
    if pack is not None and check_library_id(pack) is None:  # two packs may have templates of one id
        return body_of(
            PromptRef,
            "ref",
            {"library_id": pack, "template_id": ref.template_id, "version": ref.version or None},
        )
    return f"prompt:{ref.template_id}" + (f"@{ref.version}" if ref.version else "")


def _secrets_of(template: PromptTemplate) -> set[str]:
    return {variable.name for variable in template.variables if variable.source == "secret"}


def _refuse_secrets(argument: str, values: Mapping[str, Any], secrets: set[str]) -> None:
    refused = refused_value(values, secrets)
    if refused is not None:
        raise RequestValidationError(f"{argument}.{refused[0]}", refused[1])


def _tags(tag: Any) -> list[str] | None:
    if tag is None:
        return None
    tags: list[Any] = [tag]
    if isinstance(tag, Iterable) and not isinstance(tag, str):
        tags = list(cast("Iterable[Any]", tag))
    if not all(isinstance(text, str) for text in tags):
        raise RequestValidationError("tag", "must be a text or a list of texts")
    return tags


def _text(name: str, value: str | None) -> str | None:
    given: Any = value
    if given is not None and not isinstance(given, str):
        raise RequestValidationError(name, f"must be text, not {type(given).__name__}")
    return value


def _one_of(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise RequestValidationError(name, f"must be one of {', '.join(map(repr, allowed))}, not {value!r}")


def _checked(name: str, value: str, problem: str | None) -> None:
    if problem is not None:
        raise RequestValidationError(name, f"{problem}, not {value!r}")


class AsyncPromptsWithRawResponse:
    """``client.prompts.with_raw_response``."""

    def __init__(self, prompts: AsyncPrompts) -> None:
        self.get = raw(prompts.get)
        self.create = raw(prompts.create)
        self.update = raw(prompts.update)
        self.delete = raw(prompts.delete)
        self.render = raw(prompts.render)
