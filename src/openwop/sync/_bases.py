"""What the generated classes cannot take over from the async ones: how clients, downloads and connections end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from openwop.errors import ConfigurationError
from openwop.sync._batches import BatchIterator
from openwop.sync._portal import Portal, blocking_middleware, in_worker_thread

if TYPE_CHECKING:
    import httpx

    from openwop.config import TokenSource
    from openwop.downloads import AsyncDownload
    from openwop.middleware import BlockingMiddleware, Middleware

__all__ = ["BlockingClient", "Pieces", "all_in_worker_threads", "client_parts", "entered", "token_source"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Closable(Protocol):
    async def aclose(self) -> None: ...


class _Context(Protocol[T_co]):
    async def __aenter__(self) -> AsyncIterator[T_co]: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


ClientT = TypeVar("ClientT", bound=_Closable)


class BlockingClient(Generic[ClientT]):
    """A client that ends with its ``with``, and with it its share of the loop thread."""

    _portal: Portal
    _async: ClientT
    _owned: httpx.AsyncClient | None = None
    _is_copy = False

    def _open(
        self, make: Callable[..., ClientT], http_client: Callable[[], httpx.AsyncClient] | None = None
    ) -> None:
        """Make the async client, with what ``http_client`` returns, and the portal to it."""
        given: Any = http_client
        if given is not None and not callable(given):
            raise ConfigurationError(
                f"http_client: must be a callable that returns an httpx.AsyncClient, not {type(given).__name__}"
            )
        self._async = make()  # a setting that cannot work is refused here, before a thread starts
        self._portal = Portal()
        if http_client is not None:
            try:
                self._owned = self._portal.run(http_client)
                self._async = make(http_client=self._owned)
            except BaseException:
                self._portal.close()
                raise
        self._portal.close_with(partial(_close, self._async, self._owned))

    @classmethod
    def _wrap(cls, portal: Portal, native: ClientT) -> Self:
        """A copy on the same connections."""
        copy = object.__new__(cls)
        copy._portal = portal
        copy._async = native
        copy._is_copy = True
        return copy

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, open streams included.  Calls that are still going on end with an error.

        May be called again.  A ``with_options`` copy closes nothing.
        """
        if self._is_copy:
            return
        try:
            if self._portal.usable:
                self._portal.call(_close, self._async, self._owned)
        finally:
            self._portal.close()


def client_parts(client: BlockingClient[ClientT]) -> tuple[Portal, ClientT]:
    """What an object that a caller makes from a client works through."""
    given: Any = client
    if not isinstance(given, BlockingClient):
        raise ConfigurationError(
            f"client: must be a blocking client, not {type(given).__name__}; an AsyncOpenwopClient goes with the class "
            "of the same name without `Blocking`"
        )
    return client._portal, client._async


async def _close(native: _Closable, owned: httpx.AsyncClient | None) -> None:
    try:
        await native.aclose()
    finally:
        if owned is not None:
            await owned.aclose()


def token_source(api_key: str | Callable[[], str] | None) -> str | TokenSource | None:
    """The key, or what gives it, as the async client takes it."""
    return in_worker_thread(api_key) if callable(api_key) else api_key


def all_in_worker_threads(middleware: Sequence[BlockingMiddleware]) -> list[Middleware]:
    """Middleware of blocking functions, as the async client takes it."""
    return [blocking_middleware(each) for each in middleware]


class Pieces(BatchIterator[bytes]):
    """The pieces of a download, read ahead."""

    def __init__(self, portal: Portal, download: AsyncDownload) -> None:
        super().__init__(portal, download, ahead=16, size=len, place=lambda: download.sha256)
        self._download = download

    @property
    def sha256(self) -> str:
        """The checksum of the pieces that were handed out, or of everything."""
        return self._download.sha256 if self._pump is None else str(self.place)


class _Entered(Generic[T]):
    """An async context that was entered, as something that can be iterated over and closed."""

    def __init__(self, context: _Context[T], items: AsyncIterator[T]) -> None:
        self._context = context
        self._items = items

    def __aiter__(self) -> AsyncIterator[T]:
        return self._items

    async def aclose(self) -> None:
        await self._context.__aexit__(None, None, None)


def entered(portal: Portal, context: _Context[T]) -> BatchIterator[T]:
    """What an async context gives to iterate over; closing that leaves the context."""
    return portal.iterate(_Entered(context, portal.call(context.__aenter__)))
