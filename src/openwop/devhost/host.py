"""The development host as one object: in a test, in a program, or behind a port."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx
from starlette.applications import Starlette
from starlette.routing import Match

from openwop.devhost.access import ApiKey, KeyRing
from openwop.devhost.app import create_app
from openwop.devhost.callbacks import Callbacks
from openwop.devhost.catalogs import Catalogs
from openwop.devhost.clock import Clock, Signal, SystemClock, wait_any
from openwop.devhost.content import add_sample_page
from openwop.devhost.discovery import discovery_document
from openwop.devhost.evals import sample_evaluations
from openwop.devhost.fault_layer import FaultLayer
from openwop.devhost.functions import WorkflowFunction
from openwop.devhost.idempotency import IdempotencyCache
from openwop.devhost.json_values import JsonObject, merge_deeply
from openwop.devhost.levers import Levers
from openwop.devhost.options import Limits
from openwop.devhost.receivers import Courier
from openwop.devhost.routing import Interceptor, LiteralRoutes, RawRoute, Services
from openwop.devhost.runner import RunController
from openwop.devhost.runtime import DEFAULT_TOKEN_LIFETIME_S, Runtime, new_run_id
from openwop.devhost.samples import sample_workflows
from openwop.devhost.scenario import Effect, Faults
from openwop.devhost.store import Store
from openwop.devhost.store_memory import MemoryStore
from openwop.devhost.store_sqlite import SqliteStore
from openwop.devhost.transport import AsgiApp, InProcessTransport
from openwop.devhost.virtual_time import VirtualClock, clock_of
from openwop.devhost.web_view import WebView
from openwop.devhost.webhooks import Webhooks
from openwop.devhost.workflows import TakesWorkflows
from openwop.devhost.workspace import add_sample_file

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient

DEFAULT_API_KEY = "hk_test_dev"
IN_PROCESS_URL = "http://devhost.invalid"
CLOSE_SECONDS = 1.0


class DevHost(Levers, TakesWorkflows):
    """An OpenWOP host in memory.

    It belongs to the event loop in which it is entered: its runs execute there, and :meth:`client` and
    :meth:`transport` work there only. For a client in another loop or thread, serve it on a port.

    Attributes:
        faults: What goes wrong; a test adds to it.

    Args:
        api_keys: The keys it accepts, the first of which is :attr:`api_key`. A key that begins with ``hk_test_``
            may use mock providers.
        workflows: Definitions to have besides the samples, in the protocol's JSON shape.
        samples: Whether to have the sample and fixture workflows, a sample file, page and evaluation, and sample
            agents, tools and prompts at all.
        keepalive_s: After how many seconds of silence a stream sends a comment.
        limits: The host's ceilings.
        clock: Where it gets its time from: the machine when absent; ``"virtual"`` for a clock that only
            :meth:`advance` moves; ``"autojump"`` for one that also moves by itself, to whatever is due next, when
            somebody waits for the host and nothing else happens; or a
            :class:`~openwop.devhost.VirtualClock`.
        db: A file to keep runs in, and whatever else has to be there when the host is started again with it; in
            memory when absent. See ``docs/durable-host.md``.
        store: Another place to keep them in; not together with ``db``.
        run_ids: Gives each run its id.
        capabilities: Laid over the discovery document, object by object.
        discovery_max_age_s: How many seconds clients may keep the discovery document.
        min_client_version: Refuse clients that call themselves older, with 426.
        allow_loopback_webhooks: Deliver webhooks and callbacks to this machine too, with http as well. Into other
            private networks nothing is ever delivered.
        faults: What goes wrong from the beginning, as objects or as data (:mod:`openwop.devhost.scenario`).
        personality: Which other host this one is like (:mod:`openwop.devhost.personalities`).
        web_view: Whether to show the host to people, too: a page at ``/`` that lists runs, shows their events and takes
            answers to their questions. It is for browsers on this machine, and no part of the protocol.
        intercept: Called with the operation's name and the request before each operation; a response that it
            returns is sent in the operation's place.

    Attributes:
        api_key: The first of its keys.
        runtime: Its workflows and its runs.
        webhooks: The subscriptions, with what became of their deliveries; ``webhooks.copies = 2`` sends each twice.
        runs_taken_up: How many unfinished runs it has found in its store when it was entered, and goes on with.

    Raises:
        StoreError: The file of ``db`` is in use, is damaged, or is not one of a development host.

    Example::

        async with DevHost() as host, host.client() as client:
            snapshot = await client.execute("conformance-noop")
    """

    runs_taken_up = 0

    def __init__(
        self,
        *,
        api_keys: Iterable[str | ApiKey] = (DEFAULT_API_KEY,),
        workflows: Iterable[Mapping[str, Any]] = (),
        samples: bool = True,
        keepalive_s: float = 15.0,
        limits: Limits | None = None,
        clock: Clock | Literal["virtual", "autojump"] | None = None,
        db: str | os.PathLike[str] | None = None,
        store: Store | None = None,
        run_ids: Callable[[], str] = new_run_id,
        capabilities: Mapping[str, Any] | None = None,
        discovery_max_age_s: int = 300,
        min_client_version: str | None = None,
        allow_loopback_webhooks: bool = False,
        faults: Iterable[Effect | Mapping[str, Any]] = (),
        personality: str | None = None,
        web_view: bool = False,
        intercept: Interceptor | None = None,
    ) -> None:
        keys = KeyRing(api_keys)
        time = clock_of(clock)
        store = _store_of(db, store)
        self.api_key = keys.first().key
        self._courier = Courier(allow_loopback=allow_loopback_webhooks, clock=time)
        self.runtime = Runtime(
            keys=keys,
            clock=time,
            store=store,
            limits=limits or Limits(),
            receiver_problem=self._courier.problem,
            run_ids=run_ids,
        )
        self.capabilities: JsonObject = dict(capabilities or {})
        self._min_client_version = min_client_version
        kept = store.documents
        self._services = Services(self.runtime, IdempotencyCache(time, kept), min_client_version, intercept)
        self.webhooks = Webhooks(time, self.runtime.spawn, self._courier, kept)
        self._listen(Callbacks(time, self.runtime.spawn, self._courier, self.runtime.interrupt_token))
        app = create_app(
            self._services,
            Catalogs(time, samples=samples),
            keepalive_s=keepalive_s,
            discovery=self.discovery,
            discovery_max_age_s=discovery_max_age_s,
            webhooks=self.webhooks,
        )
        self.faults = _faults_of(app)
        faulty = FaultLayer(app, self.faults.take, time, self.runtime.closing)
        self._web_view = WebView(faulty, self.runtime) if web_view else None
        self._app: AsgiApp = self._web_view or faulty
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests = 0
        self._idle = Signal()
        self._clients = AsyncExitStack()
        with _closed_on_error(store):
            self._script(personality, faults)
            self._furnish(workflows, samples=samples)

    def _listen(self, callbacks: Callbacks) -> None:
        self.runtime.listeners += [self.webhooks.publish, callbacks.publish]

    def _script(self, personality: str | None, first: Iterable[Effect | Mapping[str, Any]]) -> None:
        if personality is not None:
            self.faults.personality(personality)
        for fault in first:
            if isinstance(fault, Effect):
                self.faults.add(fault)
            else:
                self.faults.load([fault])

    def _furnish(self, workflows: Iterable[Mapping[str, Any]], *, samples: bool) -> None:
        for document in (*(sample_workflows() if samples else ()), *workflows):
            self.add_workflow(document)
        if samples:
            self._add_samples()

    def _add_samples(self) -> None:
        add_sample_page(self.runtime.content(None))
        add_sample_file(self.runtime.workspace(None))
        suite, agent, agent_id = sample_evaluations()
        self.add_workflow(agent)
        self.add_evaluation(suite, {agent_id: agent["id"]})

    # -- life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("A DevHost is entered once; create another one.")
        self._loop = asyncio.get_running_loop()
        clock = self.runtime.clock
        try:
            self.webhooks.restore()
            self.runs_taken_up = self.runtime.take_up()
        except BaseException:
            await self.aclose()
            raise
        if isinstance(clock, VirtualClock) and clock.autojump_threshold_s is not None:
            self.runtime.spawn(clock.jump_when_idle(lambda: self._requests > 0), "autojump")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all streams and runs, and wait until nothing of the host is left running."""
        self.runtime.closing.latch()
        try:
            await self.runtime.close()
            if self._requests:  # streams have been told to end, and do, unless their reader does not read
                await wait_any([self._idle], SystemClock(), CLOSE_SECONDS)
        finally:
            self.runtime.store.close()
            await self._clients.aclose()

    def _check_loop(self) -> None:
        if self._loop is None:
            raise RuntimeError("Enter the DevHost first: async with DevHost() as host.")
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("This DevHost runs in another event loop; reach it through host.serve().")

    # -- what it serves ---------------------------------------------------------------------------

    @property
    def has_web_view(self) -> bool:
        """Whether it shows itself to people, too, at ``/``."""
        return self._web_view is not None

    def _have_workflow(self, definition: JsonObject, function: WorkflowFunction | None) -> None:
        self.runtime.add_workflow(definition, function)

    def add_evaluation(self, suite: Mapping[str, Any], agents: Mapping[str, str]) -> None:
        """Have a suite from now on, and agents to try it on.

        Args:
            suite: The protocol's ``agent-eval-suite``; its tasks have to be of the kind ``golden``.
            agents: Ids of agents, with the id of the workflow that does an agent's work: a task's input is the
                run's, and its output ``answer`` (or all of them) is what is scored.

        Raises:
            ValueError: It is no suite, or one that needs a judge.
        """
        self.runtime.evaluations.add_suite(dict(suite))
        self.runtime.evaluations.agents.update(agents)

    def discovery(self) -> JsonObject:
        """Return the discovery document, as of now."""
        document = discovery_document(
            self.runtime.limits,
            self.runtime.workflows,
            content=self.runtime.content(None).settings,
            host_id=self.runtime.host_id,
            audit_key=self.runtime.audit.public_key(),
            min_client_version=self._min_client_version,
        )
        return merge_deeply(document, self.capabilities)

    def add_api_key(self, key: str | ApiKey) -> None:
        """Accept another key from now on."""
        self.runtime.keys.add(key)

    def revoke_api_key(self, key: str) -> None:
        """Refuse a key from now on, with 401 ``key_revoked``."""
        self.runtime.keys.revoke(key)

    def set_intercept(self, intercept: Interceptor | None) -> None:
        """Replace the interceptor; None takes it away."""
        self._services.intercept = intercept

    def run(self, run_id: str) -> RunController:
        """Return a run of this host, for a test to look at.

        Raises:
            LookupError: There is no such run.
        """
        run = self.runtime.controller(run_id)
        if run is None:
            raise LookupError(f"there is no run {run_id!r}")
        return run

    def interrupt_token(
        self,
        run_id: str,
        node_id: str,
        *,
        intent: str = "resolve",
        expires_in_s: float = DEFAULT_TOKEN_LIFETIME_S,
    ) -> str:
        """Sign a token for the open interrupt of a node, as a callback would deliver it.

        Args:
            run_id: The run.
            node_id: The node that waits.
            intent: ``resolve``, or ``inspect`` for a token that may only look.
            expires_in_s: Its lifetime in seconds, at most the interrupt's own time limit; negative for a token
                that has expired already.

        Raises:
            LookupError: The node does not wait for anything.
        """
        return self.runtime.interrupt_token(run_id, node_id, intent=intent, expires_in_s=expires_in_s)[0]

    # -- how it is reached --------------------------------------------------------------------------

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application, for the event loop that the host was entered in."""
        self._check_loop()
        self._count_requests(1)
        try:
            await self._app(scope, receive, send)
        finally:
            self._count_requests(-1)
            if self._requests == 0:
                self._idle.notify()

    def _count_requests(self, change: int) -> None:
        self._requests += change
        if isinstance(clock := self.runtime.clock, VirtualClock):
            clock.notice()

    def transport(self) -> InProcessTransport:
        """Return an httpx transport that reaches the host without a socket; streams really stream."""
        return InProcessTransport(self.app)

    def http_client(self, *, authenticated: bool = True, **options: Any) -> httpx.AsyncClient:
        """Return a bare httpx client for the host; it is closed with the host.

        Args:
            authenticated: Whether to send the host's API key.
            options: For ``httpx.AsyncClient``.
        """
        headers = httpx.Headers(options.pop("headers", None))
        if authenticated:
            headers.setdefault("Authorization", f"Bearer {self.api_key}")
        options.setdefault("timeout", 30.0)
        client = httpx.AsyncClient(
            transport=self.transport(), base_url=IN_PROCESS_URL, headers=headers, **options
        )
        self._clients.push_async_callback(client.aclose)
        return client

    def client(self, **options: Any) -> AsyncOpenwopClient:
        """Return an ``AsyncOpenwopClient`` whose bytes go to this host in the same process.

        Args:
            options: For ``AsyncOpenwopClient``.
        """
        from openwop.client import AsyncOpenwopClient

        options.setdefault("base_url", IN_PROCESS_URL)
        options.setdefault("api_key", self.api_key)
        options.setdefault("http_client", self.http_client(authenticated=False))
        return AsyncOpenwopClient(**options)

    @asynccontextmanager
    async def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
        """Serve the host on a port, from the same event loop, and give its base URL.

        Args:
            host: The address to listen on; keep it a loopback address.
            port: The port; 0 takes a free one.
        """
        from openwop.devhost.server import LoopServer, listen

        self._check_loop()
        if self._web_view is not None:
            self._web_view.names.add(host.lower())
        listener = listen(host, port)
        server = LoopServer(self.app, listener)
        async with server:
            name = f"[{host}]" if ":" in host else host
            yield f"http://{name}:{listener.getsockname()[1]}"


def _store_of(db: str | os.PathLike[str] | None, store: Store | None) -> Store:
    """Return the one place in which a host is asked to keep things."""
    if db is None:
        return MemoryStore() if store is None else store
    if store is not None:
        raise ValueError("db and store are two places to keep the same; give one of them")
    return SqliteStore(db)


@contextmanager
def _closed_on_error(store: Store) -> Generator[None]:
    try:
        yield
    except BaseException:
        store.close()
        raise


def _faults_of(app: Starlette) -> Faults:
    """Return what can go wrong with an application's operations; so far nothing does."""
    routes = [route for route in app.routes if isinstance(route, LiteralRoutes | RawRoute)]

    def operation_of(scope: Any) -> str | None:
        for route in routes:
            if route.matches(scope)[0] is Match.FULL:
                operation = route.operation_of(scope)
                return None if operation is None else operation.id
        return None

    return Faults(operation_of, [each.id for route in routes for each in route.operations])
