"""The host that tests run against: a development host in a thread of its own, or one that is there already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, overload

from anyio.from_thread import BlockingPortal, start_blocking_portal

from openwop.testing.expectations import Expectation
from openwop.testing.views import ClientSource, DevHostSource, RunSource, RunView, view_when

if TYPE_CHECKING:
    from openwop import OpenwopClient
    from openwop.client import AsyncOpenwopClient
    from openwop.devhost import DevHost
    from openwop.devhost.functions import WorkflowFunction
    from openwop.devhost.scenario import Faults

    F = TypeVar("F", bound=WorkflowFunction)

T = TypeVar("T")

DEFAULT_WITHIN_S = 5.0


class HostFeatureUnavailable(RuntimeError):
    """The test needs something that only a development host has, and runs against another one."""


class OpenwopHost:
    """A host under test. Get one from :meth:`start` or :meth:`connect`; its methods may be called from any thread.

    A development host runs in a thread with an event loop of its own, and is reached over a port of the loopback
    interface: so async tests under any event loop, blocking tests, and programs in other processes all see the
    same host. Workflow functions run in that thread, too: they share plain values with the test, not asyncio's
    events or locks.

    Attributes:
        base_url: Where it is.
        api_key: A key that it accepts.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        portal: BlockingPortal,
        source: RunSource,
        *,
        devhost: DevHost | None = None,
        on_unavailable: Callable[[str], object] | None = None,
    ) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self._portal = portal
        self._source = source
        self._devhost = devhost
        self._on_unavailable = on_unavailable

    def __repr__(self) -> str:
        kind = "DevHost" if self._devhost is not None else "another host"
        return f"<OpenwopHost {self.base_url} ({kind})>"

    @classmethod
    @contextmanager
    def start(cls, **options: Any) -> Generator[Self]:
        """Start a development host for as long as the context lasts.

        Args:
            options: For :class:`~openwop.devhost.DevHost`.
        """
        from openwop.devhost import DevHost

        devhost = DevHost(**options)
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            stack.enter_context(portal.wrap_async_context_manager(devhost))
            base_url = stack.enter_context(portal.wrap_async_context_manager(devhost.serve()))
            yield cls(base_url, devhost.api_key, portal, DevHostSource(devhost), devhost=devhost)

    @classmethod
    @contextmanager
    def connect(
        cls,
        base_url: str,
        api_key: str | None = None,
        *,
        on_unavailable: Callable[[str], object] | None = None,
    ) -> Generator[Self]:
        """Test against a host that is there already.

        Args:
            base_url: Where it is.
            api_key: The key for it.
            on_unavailable: Called with a reason when a test needs what only a development host has; a test framework
                skips the test there. :class:`HostFeatureUnavailable` is raised when it returns, or when it is absent.
        """
        from openwop.client import AsyncOpenwopClient

        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            client = AsyncOpenwopClient(base_url, api_key)
            stack.enter_context(portal.wrap_async_context_manager(client))
            yield cls(client.base_url, api_key, portal, ClientSource(client), on_unavailable=on_unavailable)

    # -- the program under test ----------------------------------------------------------------------

    def client(self, **options: Any) -> AsyncOpenwopClient:
        """Return an ``AsyncOpenwopClient`` for the host, for whichever event loop it is used in; close it there.

        Args:
            options: For ``AsyncOpenwopClient``.
        """
        from openwop.client import AsyncOpenwopClient

        return AsyncOpenwopClient(**self._reach(options))

    def sync_client(self, **options: Any) -> OpenwopClient:
        """Return a blocking ``OpenwopClient`` for the host; close it.

        Args:
            options: For ``OpenwopClient``.
        """
        from openwop import OpenwopClient

        return OpenwopClient(**self._reach(options))

    def _reach(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": self.base_url, "api_key": self.api_key, **options}

    def environ(self) -> dict[str, str]:
        """Return the environment variables by which a client finds the host, such as for a child process."""
        found = {"OPENWOP_BASE_URL": self.base_url}
        return found if self.api_key is None else {**found, "OPENWOP_API_KEY": self.api_key}

    # -- what happened ---------------------------------------------------------------------------------

    def expect(self, run: Any, *, within_s: float = DEFAULT_WITHIN_S) -> Expectation:
        """Expect something of a run.

        Args:
            run: A run handle, a snapshot, or a run's id.
            within_s: For how many seconds to wait for it.
        """
        run_id = _run_id(run)

        def look(wanted: Callable[[RunView], bool], seconds: float) -> RunView:
            return self._portal.call(view_when, self._source, run_id, wanted, seconds)

        return Expectation(run_id, look, within_s)

    # -- what only a development host has ----------------------------------------------------------------

    @property
    def is_devhost(self) -> bool:
        """Whether it is a development host, with all that follows."""
        return self._devhost is not None

    @property
    def devhost(self) -> DevHost:
        """The development host itself; what is async in it is called with :meth:`call`."""
        if self._devhost is None:
            self._unavailable("the development host itself")
        return self._devhost

    @property
    def faults(self) -> Faults:
        """What goes wrong on the host; see :mod:`openwop.devhost.scenario`."""
        if self._devhost is None:
            self._unavailable("scripted faults")
        return self._devhost.faults

    def workflow(self, id: str, **options: Any) -> Callable[[F], F]:
        """Have a workflow that is an async function; as :meth:`openwop.devhost.DevHost.workflow`."""
        if self._devhost is None:
            self._unavailable(f"the workflow {id!r}, written in Python")
        decorate = self._devhost.workflow(id, **options)

        def add(function: F) -> F:
            self._portal.call(decorate, function)
            return function

        return add

    def add_workflow(self, definition: Mapping[str, Any]) -> None:
        """Have a workflow from now on, in the protocol's JSON shape."""
        if self._devhost is None:
            self._unavailable(f"the workflow {definition.get('id')!r}, defined by the test")
        self._portal.call(self._devhost.add_workflow, definition)

    def interrupt_token(self, run: Any, node_id: str, **options: Any) -> str:
        """Sign a token for the open interrupt of a node; as :meth:`openwop.devhost.DevHost.interrupt_token`."""
        if self._devhost is None:
            self._unavailable("a signed token for an interrupt")
        devhost = self._devhost
        return self._portal.call(lambda: devhost.interrupt_token(_run_id(run), node_id, **options))

    @overload
    def call(self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T: ...
    @overload
    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T: ...
    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in the host's event loop and thread, async or not, and return what it returns."""
        if self._devhost is None:
            self._unavailable("a call into the development host")
        return self._portal.call(lambda: function(*args, **kwargs))

    def _unavailable(self, what: str) -> NoReturn:
        reason = f"needs {what}, and {self.base_url} is not a development host of the test's own"
        if self._on_unavailable is not None:
            self._on_unavailable(reason)
        raise HostFeatureUnavailable(f"the test {reason}")


def _run_id(run: Any) -> str:
    """The id of a run, however it is given.

    Raises:
        TypeError: It is nothing that has one.
    """
    found = run if isinstance(run, str) else getattr(run, "run_id", None) or getattr(run, "id", None)
    if not isinstance(found, str):
        raise TypeError(f"a run is a handle, a snapshot or an id, and not {run!r}")
    return found
