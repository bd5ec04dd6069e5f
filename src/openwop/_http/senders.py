"""The ways to the wire: our own transport, stock httpx, or a client of the caller's.

Each gives an open ``httpx.Response`` for a request.  Why there are three is measured in ``benchmarks/``: stock httpx
slows down with connections and with open streams, so it only serves where our transport cannot (trio, proxies) or
where the caller brings a client.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from functools import cache, lru_cache
from typing import Any, Protocol, TypeGuard, TypeVar, cast
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx

from openwop._core.redact import redact_log_argument
from openwop._core.request import ApiRequest
from openwop._http.pool import OpenwopTransport, PoolOrigin, make_core_request, origin_of
from openwop.errors import ConfigurationError

__all__ = [
    "ClientSender",
    "DirectSender",
    "PoolSender",
    "Sender",
    "VerifyTypes",
    "encoded_target",
    "in_child_task",
    "make_sender",
]

T = TypeVar("T")
VerifyTypes = bool | str | ssl.SSLContext
CertTypes = str | tuple[str, str] | tuple[str, str, str]

CONNECT_TIMEOUT_S = 5.0
_CERT_PROBLEMS = {"KEY_VALUES_MISMATCH": "the key does not belong to the certificate"}
_LONGEST_PEM = 1024 * 1024
_IS_AS_SENT = re.compile(
    r"/(?:[\w~,:@=&+/.-]|%[0-9A-Fa-f]{2})*(?:\?(?:[\w~,:@=&+/.-]|%[0-9A-Fa-f]{2})+)?", re.ASCII
)
"""Targets of a request that httpx would leave as they are."""
_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class Sender(Protocol):
    """Sends one request and gives its open response; ``proves_not_sent``: a connect error means nothing went out."""

    proves_not_sent: bool
    watches_silence: bool
    closes_streams: bool
    """Whether closing it ends the streams that are open, and wakes those who read them."""
    needs_child_task: bool
    """Whether a native cancellation must not reach the library itself; see :func:`in_child_task`."""

    async def open(
        self,
        request: ApiRequest,
        *,
        connect_s: float,
        silence_s: float | None,
        upload: httpx.AsyncByteStream | None = None,
    ) -> httpx.Response:
        """The open response; its body has not been read.  ``upload`` is sent in the place of ``request.content``."""
        ...

    async def aclose(self) -> None:
        """Close what this sender opened itself."""
        ...


def _timeouts(connect_s: float, silence_s: float | None) -> dict[str, float | None]:
    return {"connect": min(connect_s, CONNECT_TIMEOUT_S), "read": silence_s, "write": silence_s, "pool": None}


def _upload_headers(request: ApiRequest) -> dict[str, str]:
    length = None if request.upload is None else request.upload.length
    return {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}


@lru_cache(maxsize=512)
def _parsed_url(origin: str, target: str) -> httpx.URL:
    # Parsing takes a tenth of the CPU of a short request, and most requests go to a URL that was just used.
    return httpx.URL(origin).copy_with(raw_path=target.encode("ascii"))


def encoded_target(origin: str, target: str) -> bytes:
    """Path and query as httpx would send them."""
    if _IS_AS_SENT.fullmatch(target) and "/." not in target:
        return target.encode("ascii")
    return _parsed_url(origin, target).raw_path


@lru_cache(maxsize=64)
def _parsed_origin(origin: str) -> tuple[PoolOrigin, bytes]:
    """An origin as the pool knows it, and its ``Host`` header."""
    url = httpx.URL(origin)
    return origin_of(url), url.netloc


class PoolSender:
    """Requests handed to our own pool, without the objects that httpx would make of them."""

    proves_not_sent = True
    watches_silence = True
    closes_streams = True
    needs_child_task = False

    def __init__(self, pool: OpenwopTransport) -> None:
        self._pool = pool

    async def open(
        self,
        request: ApiRequest,
        *,
        connect_s: float,
        silence_s: float | None,
        upload: httpx.AsyncByteStream | None = None,
    ) -> httpx.Response:
        origin, netloc = _parsed_origin(request.origin)
        target = encoded_target(request.origin, request.target)
        headers = [(b"Host", netloc)]
        headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in request.headers.items()]
        content = request.content
        if upload is not None:
            headers += [(name.encode(), value.encode()) for name, value in _upload_headers(request).items()]
        elif content is not None or request.method not in _NO_BODY:
            headers.append((b"Content-Length", b"%d" % len(content or b"")))
        body = upload or httpx.ByteStream(content or b"")
        extensions: dict[str, Any] = {"timeout": _timeouts(connect_s, silence_s)}
        outgoing = make_core_request(request.method, origin, target, headers, body, extensions)
        return await self._pool.exchange(outgoing, origin)

    async def aclose(self) -> None:
        await self._pool.aclose()


class DirectSender:
    """Requests handed to aiohttp's transport without ``httpx.AsyncClient`` around it: half the CPU of a short request.

    It reports a connection that closed after the request as a connect timeout, so nothing proves "not sent"; and a
    connection that broke in mid-chunk may leave its reader waiting without a timer, so silence is watched for outside.
    """

    proves_not_sent = False
    watches_silence = False
    closes_streams = False
    needs_child_task = False

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def open(
        self,
        request: ApiRequest,
        *,
        connect_s: float,
        silence_s: float | None,
        upload: httpx.AsyncByteStream | None = None,
    ) -> httpx.Response:
        url = _parsed_url(request.origin, request.target)
        content = request.content
        # With a stream of our own httpx leaves the two headers to us that it would else find out again each time.
        headers = {"Host": url.netloc.decode("ascii"), **request.headers}
        if upload is not None:
            headers.update(_upload_headers(request))
        elif content is not None or request.method not in _NO_BODY:
            headers["Content-Length"] = str(len(content or b""))
        outgoing = httpx.Request(
            request.method,
            url,
            headers=headers,
            stream=upload or httpx.ByteStream(content or b""),
            extensions={"timeout": _timeouts(connect_s, None)},
        )
        return await self._transport.handle_async_request(outgoing)

    async def aclose(self) -> None:
        await self._transport.aclose()


class ClientSender:
    """Requests through ``httpx.AsyncClient``: one for short requests and one for streams, or the caller's for both."""

    def __init__(
        self, requests: httpx.AsyncClient, streams: httpx.AsyncClient, *, owned: bool, silence: bool
    ) -> None:
        # Another library below a caller's client may call a connection that closed after the request a connect error.
        transport = getattr(requests, "_transport", None)
        self.proves_not_sent = owned or type(transport) is httpx.AsyncHTTPTransport
        self._requests = requests
        self._streams = streams
        self._owned = owned
        self.watches_silence = silence
        self.closes_streams = False
        self.needs_child_task = True

    async def open(
        self,
        request: ApiRequest,
        *,
        connect_s: float,
        silence_s: float | None,
        upload: httpx.AsyncByteStream | None = None,
    ) -> httpx.Response:
        client = self._requests if silence_s is None else self._streams
        timeouts = _timeouts(connect_s, silence_s if self.watches_silence else None)
        url = _parsed_url(request.origin, request.target)
        auth: Any = None
        if request.auth:
            # Parameters, headers and credentials of the caller's client are added to ours, and take the place of none.
            if client.params:
                url = url.copy_with(params=client.params.merge(url.params))
            outgoing = client.build_request(
                request.method,
                url,
                headers=request.headers,
                content=request.content,
                extensions={"timeout": timeouts},
            )
            outgoing.url = url
            if "Authorization" not in request.headers:
                auth = httpx.USE_CLIENT_DEFAULT
        else:
            # By token or to another origin: nothing that the caller's client carries may go along.
            outgoing = httpx.Request(
                request.method,
                url,
                headers=request.headers,
                content=request.content,
                extensions={"timeout": timeouts},
            )
        if upload is not None:
            headers = outgoing.headers.copy()
            headers.pop("Content-Length", None)
            headers.update(_upload_headers(request))
            outgoing = httpx.Request(
                outgoing.method,
                outgoing.url,
                headers=headers,
                stream=upload,  # as it is: httpx would put a generator around it, which a cancellation leaves open
                extensions=outgoing.extensions,
            )
        return await client.send(outgoing, stream=True, follow_redirects=False, auth=auth)

    async def aclose(self) -> None:
        if self._owned:
            try:
                await self._requests.aclose()
            finally:
                await self._streams.aclose()


async def in_child_task(function: Callable[[], Awaitable[T]]) -> T:
    """Run ``function`` in a task of its own.

    Stock httpx leaks its connection when the task that sends, reads or closes is cancelled natively (25 to 41 sockets
    per 1,000); a child task is cancelled by its group's scope instead, which httpx survives.
    """
    results: list[T] = []
    failures: list[Exception] = []

    async def run() -> None:
        try:
            results.append(await function())
        except Exception as error:  # noqa: BLE001  # a boundary: raised below as itself, not in an ExceptionGroup
            failures.append(error)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
    except BaseException:
        # Cancelled after the answer came: nobody will ever read or close it.
        with anyio.CancelScope(shield=True):
            for response in results:
                if isinstance(response, httpx.Response):
                    await response.aclose()
        raise
    if failures:
        raise failures[0]
    return results[0]


class _TableFilter(logging.Filter):
    """hpack logs each header that goes into its table, name and value each for itself: nothing tells secrets apart."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.args = ()
        return True


class _TokenFilter(logging.Filter):
    """httpx logs every URL at INFO, httpcore every header of an answer at DEBUG; a token may stand in either."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact_log_argument(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(redact_log_argument(item) for item in record.args)
        return True


@cache
def keep_secrets_out_of_library_logs() -> None:
    """Filter what the HTTP libraries log, once per process."""
    secrets = _TokenFilter()
    # A filter on a logger does not see what its children log, so each of httpcore's is named.
    for name in (
        "httpx",
        "httpcore.connection",
        "httpcore.http11",
        "httpcore.http2",
        "httpcore.proxy",
        "httpcore.socks",
    ):
        logging.getLogger(name).addFilter(secrets)
    tables = _TableFilter()
    for name in ("hpack.hpack", "hpack.table"):
        logging.getLogger(name).addFilter(tables)


@cache
def _default_ssl_context() -> ssl.SSLContext:
    # Loading the certificate bundle takes 30 to 50 ms, so it is done once, and only for https.
    return httpx.create_ssl_context()


def ssl_context(verify: VerifyTypes, cert: CertTypes | None) -> ssl.SSLContext:
    """TLS settings for ``verify`` (bool, path of a CA file or folder, or a context) and a client's ``cert``.

    Raises :class:`ConfigurationError`, which names the setting and the file.
    """
    if isinstance(verify, ssl.SSLContext):
        context = verify
    elif verify is True and cert is None:
        return _default_ssl_context()
    elif isinstance(verify, bool):
        context = httpx.create_ssl_context(verify=verify)
    else:
        context = _context_from_path(verify)
    if cert is not None:
        _load_client_certificate(context, cert)
    return context


def _context_from_path(given: Any) -> ssl.SSLContext:
    if not _is_path(given):
        raise ConfigurationError(
            f"verify: must be True, False, a path or an ssl.SSLContext, not {type(given).__name__}"
        )
    path = os.fspath(given)
    try:
        if os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(f"verify: {path!r} is not a readable CA file or folder") from None


def _is_path(given: Any) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(given, str | os.PathLike)


def _load_client_certificate(context: ssl.SSLContext, cert: Any) -> None:
    parts = cast("tuple[Any, ...]", (cert,) if _is_path(cert) else cert if isinstance(cert, tuple) else ())
    if not 1 <= len(parts) <= 3:
        raise ConfigurationError("cert: must be a file, (certificate, key) or (certificate, key, password)")
    certificate, key, password = cast("tuple[Any, Any, Any]", (*parts, None, None)[:3])
    _check_pem("certificate", certificate, b"-----BEGIN ")
    _check_pem("key", certificate if key is None else key, b"PRIVATE KEY-----")
    asked = False

    def ask() -> Any:
        nonlocal asked
        asked = True
        if password is None:  # OpenSSL would ask for it on the terminal, and wait there
            raise ConfigurationError(
                f"cert: the key is encrypted; give cert=({certificate!r}, key, password)"
            )
        return password

    try:
        context.load_cert_chain(certificate, key, ask)
    except ssl.SSLError as error:
        # OpenSSL does not always say why it cannot read a key that it has asked the password of.
        unknown = "the password is wrong, or the key is damaged" if asked else "not in PEM form"
        reason = _CERT_PROBLEMS.get(error.reason or "", unknown)
        named = ", ".join(repr(str(part)) for part in (certificate, key) if part is not None)
        raise ConfigurationError(f"cert: {named} cannot be used: {reason}") from None
    except ConfigurationError:  # of `ask`
        raise
    except (TypeError, ValueError):
        raise ConfigurationError("cert: the password must be text of at most 1,024 characters") from None


def _check_pem(what: str, path: Any, mark: bytes) -> None:
    """OpenSSL does not say which of the two files it cannot read, nor that the key is missing."""
    try:
        with open(path, "rb") as file:
            found = mark in file.read(_LONGEST_PEM)
    except (OSError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigurationError(f"cert: the {what} {path!r} cannot be read ({reason})") from None
    if not found:
        raise ConfigurationError(f"cert: there is no {what} in PEM form in {os.fspath(path)!r}")


def proxy_applies(base_url: httpx.URL) -> bool:
    """Whether the environment routes ``base_url`` through a proxy."""
    proxies = getproxies()
    if not (proxies.get(base_url.scheme) or proxies.get("all")):
        return False
    return not proxy_bypass(base_url.host)


def make_sender(
    *,
    origin: str,
    backend: str,
    kind: str,
    verify: VerifyTypes,
    cert: CertTypes | None,
    client: httpx.AsyncClient | None,
) -> Sender:
    """The sender for one client on one event loop; ``backend`` is ``"asyncio"`` or ``"trio"``."""
    keep_secrets_out_of_library_logs()
    asyncio_runs = backend == "asyncio"
    if client is not None:
        return ClientSender(client, client, owned=False, silence=not asyncio_runs)
    url = httpx.URL(origin)
    context = ssl_context(verify, cert)  # for http too: a redirect may lead to https
    if kind == "aiohttp":
        return _aiohttp_sender(context, asyncio_runs)
    if asyncio_runs and not proxy_applies(url):
        return PoolSender(OpenwopTransport(ssl_context=context))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)

    def new_client() -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=context, limits=limits, timeout=None)

    return ClientSender(new_client(), new_client(), owned=True, silence=not asyncio_runs)


def _aiohttp_sender(context: ssl.SSLContext, asyncio_runs: bool) -> DirectSender:
    if not asyncio_runs:
        raise ConfigurationError("transport: 'aiohttp' runs on asyncio only; leave it out under trio")
    try:
        from openwop._http.aiohttp_sender import make_transport
    except ImportError:
        raise ConfigurationError(
            "transport: 'aiohttp' needs an extra: pip install 'openwop[aiohttp]'"
        ) from None
    return DirectSender(make_transport(context))
