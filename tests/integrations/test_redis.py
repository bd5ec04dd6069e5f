"""Receivers in several processes that share what they have seen in a Redis."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import pytest_asyncio
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from openwop import ConfigurationError
from openwop.integrations.redis import AsyncRedisReplayStore, RedisReplayStore
from openwop.webhooks import WebhookVerificationError, WebhookVerifier, signed_headers
from support.redis_server import free_port, start_redis

SECRET = "whsec-shared"
AT_ONCE = 50
DAY_S = 86_400


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with start_redis() as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    with redis.Redis(port=port, socket_timeout=10) as client:
        client.flushall()
        yield client


@pytest_asyncio.fixture
async def async_client(client: Any, port: int) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis(port=port, socket_timeout=10) as connected:
        yield connected


def names(client: Any) -> list[bytes]:
    return list(client.scan_iter())


def body_of(sequence: int = 4, run_id: str = "run-1") -> bytes:
    return json.dumps({"runId": run_id, "event": {"type": "run.completed", "sequence": sequence}}).encode()


def reason_for(verifier: WebhookVerifier, body: bytes, **signing: Any) -> str | None:
    try:
        verifier.verify(signed_headers(SECRET, body, **signing), body)
    except WebhookVerificationError as error:
        return error.reason
    return None


async def reason_later(verifier: WebhookVerifier, body: bytes) -> str | None:
    try:
        await verifier.verify_async(signed_headers(SECRET, body), body)
    except WebhookVerificationError as error:
        return error.reason
    return None


# -- what is shared -----------------------------------------------------------------------------------------------


@pytest.mark.duty("G.109")
def test_what_one_receiver_has_seen_is_a_repetition_for_all(client: Any) -> None:
    """The protocol demands that a repetition has no second effect; we chose that it may come to another process."""
    one, other = (WebhookVerifier([SECRET], seen=RedisReplayStore(client)) for _ in range(2))
    assert reason_for(one, body_of()) is None
    assert reason_for(other, body_of()) == "replayed"
    for new in ({"sequence": 5}, {"run_id": "run-2"}):
        assert reason_for(other, body_of(**new)) is None
    assert reason_for(other, body_of(), webhook_id="wh-2") is None
    assert len(names(client)) == 4


PROGRAM = """
import sys
import redis
from openwop.integrations.redis import RedisReplayStore
from openwop.webhooks import WebhookVerificationError, WebhookVerifier, signed_headers

with redis.Redis(port=int(sys.argv[1])) as client:
    verifier = WebhookVerifier([sys.argv[2]], seen=RedisReplayStore(client))
    body = sys.argv[3].encode()
    try:
        print(verifier.verify(signed_headers(sys.argv[2], body), body).run_id)
    except WebhookVerificationError as error:
        print(error.reason)
"""


@pytest.mark.duty("G.109")
def test_processes_share_it(client: Any, port: int) -> None:
    """We chose it: the same key is made of the same delivery in every process."""
    command = [sys.executable, "-c", PROGRAM, str(port), SECRET, body_of().decode()]
    printed = [
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60, env=os.environ
        ).stdout.strip()
        for _ in range(2)
    ]
    assert printed == ["run-1", "replayed"]
    assert reason_for(WebhookVerifier([SECRET], seen=RedisReplayStore(client)), body_of()) == "replayed"


@pytest.mark.asyncio
async def test_blocking_and_async_receivers_share_it(client: Any, async_client: Any) -> None:
    """We chose it: the web application may be one, and a worker the other."""
    blocking = WebhookVerifier([SECRET], seen=RedisReplayStore(client))
    waiting = WebhookVerifier([SECRET], seen=AsyncRedisReplayStore(async_client))
    assert await reason_later(waiting, body_of(1)) is None
    assert reason_for(blocking, body_of(1)) == "replayed"
    assert reason_for(blocking, body_of(2)) is None
    assert await reason_later(waiting, body_of(2)) == "replayed"


@pytest.mark.parametrize("decoded", [False, True])
def test_clients_may_be_set_up_in_any_way(client: Any, port: int, decoded: bool) -> None:
    """We chose it: what is new does not hang on how the client reads answers."""
    for protocol in (2, 3):
        with redis.Redis(port=port, decode_responses=decoded, protocol=protocol) as other:
            verifier = WebhookVerifier([SECRET], seen=RedisReplayStore(other))
            assert [reason_for(verifier, body_of(protocol)) for _ in range(2)] == [None, "replayed"]


def test_prefixes_keep_receivers_apart(client: Any) -> None:
    """We chose it: two services on one Redis, each of which has to see each delivery."""
    for prefix in ("a:", "b:"):
        verifier = WebhookVerifier([SECRET], seen=RedisReplayStore(client, prefix=prefix))
        assert reason_for(verifier, body_of()) is None
    assert sorted(key[:2] for key in names(client)) == [b"a:", b"b:"]


# -- one step -----------------------------------------------------------------------------------------------------


@pytest.mark.duty("G.109")
def test_of_many_threads_with_one_delivery_exactly_one_may_act(client: Any) -> None:
    """We chose it: it is written and asked for in one step."""
    verifiers = [WebhookVerifier([SECRET], seen=RedisReplayStore(client)) for _ in range(AT_ONCE)]
    together = Barrier(AT_ONCE)

    def receive(verifier: WebhookVerifier) -> str | None:
        together.wait(timeout=20)
        return reason_for(verifier, body_of())

    with ThreadPoolExecutor(AT_ONCE) as threads:
        reasons = list(threads.map(receive, verifiers))
    assert sorted(map(str, reasons)) == ["None", *["replayed"] * (AT_ONCE - 1)]


@pytest.mark.asyncio
@pytest.mark.duty("G.109")
async def test_of_many_tasks_with_one_delivery_exactly_one_may_act(async_client: Any) -> None:
    """We chose it: as with threads."""
    verifier = WebhookVerifier([SECRET], seen=AsyncRedisReplayStore(async_client))
    async with asyncio.timeout(30):
        reasons = await asyncio.gather(*(reason_later(verifier, body_of()) for _ in range(AT_ONCE)))
    assert sorted(map(str, reasons)) == ["None", *["replayed"] * (AT_ONCE - 1)]


# -- how long, and how much -----------------------------------------------------------------------------------------


def test_a_delivery_is_kept_for_a_day_or_as_long_as_was_asked(client: Any) -> None:
    """We chose it: each key ends by itself, and hosts that deliver until they succeed need hours."""
    key = ("wh-1", "run-1", 4)
    for options, expected in (({}, DAY_S), ({"keep_s": 600}, 600)):
        client.flushall()
        store = RedisReplayStore(client, **options)
        assert store.add(key) is True
        (name,) = names(client)
        assert expected - 60 < client.ttl(name) <= expected
        client.expire(name, 300)
        assert store.add(key) is False
        assert client.ttl(name) <= 300, "a repetition does not make it last"
        client.delete(name)  # as Redis does when its time is over
        assert store.add(key) is True


def test_no_key_is_longer_than_another(client: Any) -> None:
    """We chose it: the webhook's id is in a header that is not signed, and as long as somebody likes."""
    store = RedisReplayStore(client)
    keys: list[Any] = [
        ("x" * 100_000, "run", 1),
        ("", "", 0),
        ('a","b', "c", 1),
        ("a", 'b","c', 1),
        ("\ud800", "r", 1),
    ]
    assert [store.add(key) for key in keys] == [True] * len(keys)
    assert {len(name) for name in names(client)} == {len("openwop:webhook:") + 64}
    assert len(names(client)) == len(keys)
    assert {client.strlen(name) for name in names(client)} == {16}


@pytest.mark.asyncio
async def test_a_delivery_that_could_not_be_taken_in_may_come_again(client: Any, async_client: Any) -> None:
    """We chose it: a durable host repeats what was answered with an error, and that must not be lost."""
    body = body_of()
    blocking = WebhookVerifier([SECRET], seen=RedisReplayStore(client))
    blocking.forget(blocking.verify(signed_headers(SECRET, body), body))
    waiting = WebhookVerifier([SECRET], seen=AsyncRedisReplayStore(async_client))
    delivery = await waiting.verify_async(signed_headers(SECRET, body), body)
    await waiting.forget_async(delivery)
    assert names(client) == []
    assert reason_for(blocking, body) is None


# -- when an answer is lost ---------------------------------------------------------------------------------------


def losing_one_answer(connection: type[Any], *, waits: bool) -> type[Any]:
    """A kind of connection that breaks once: when a key was written, and before that is answered."""

    class Losing(connection):
        sent: Any = ()
        lost = 0

        def note(self) -> None:
            if self.sent[:1] == ("SET",) and not Losing.lost:
                Losing.lost += 1
                raise redis.ConnectionError("the answer is lost")

        if waits:

            async def send_command(self, *args: Any, **options: Any) -> None:
                self.sent = args
                await super().send_command(*args, **options)

            async def read_response(self, *args: Any, **options: Any) -> Any:
                answer = await super().read_response(*args, **options)
                self.note()
                return answer

        else:

            def send_command(self, *args: Any, **options: Any) -> None:
                self.sent = args
                super().send_command(*args, **options)

            def read_response(self, *args: Any, **options: Any) -> Any:
                answer = super().read_response(*args, **options)
                self.note()
                return answer

    return Losing


@pytest.mark.asyncio
async def test_a_client_that_asks_again_does_not_make_a_new_delivery_a_repetition(
    client: Any, port: int
) -> None:
    """We chose it: clients of Redis repeat by themselves what was not answered, and this one would be lost."""
    kind = losing_one_answer(redis.Connection, waits=False)
    pool = redis.ConnectionPool(connection_class=kind, port=port, retry=Retry(NoBackoff(), 1))
    with redis.Redis.from_pool(pool) as losing:
        verifier = WebhookVerifier([SECRET], seen=RedisReplayStore(losing))
        assert [reason_for(verifier, body_of()) for _ in range(2)] == [None, "replayed"]
    assert kind.lost == 1

    kind = losing_one_answer(redis.asyncio.Connection, waits=True)
    async_pool = redis.asyncio.ConnectionPool(
        connection_class=kind, port=port, retry=AsyncRetry(NoBackoff(), 1), decode_responses=True
    )
    async with redis.asyncio.Redis.from_pool(async_pool) as losing:
        verifier = WebhookVerifier([SECRET], seen=AsyncRedisReplayStore(losing))
        assert [await reason_later(verifier, body_of(5)) for _ in range(2)] == [None, "replayed"]
    assert kind.lost == 1


# -- when it is away --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_when_redis_is_away_nothing_is_taken_for_new() -> None:
    """We chose it: nobody knows, so the receiver is told, and answers 503."""
    nobody: dict[str, Any] = {"port": free_port(), "retry": Retry(NoBackoff(), 0), "socket_timeout": 5}
    with redis.Redis(**nobody) as client:
        verifier = WebhookVerifier([SECRET], seen=RedisReplayStore(client))
        with pytest.raises(redis.ConnectionError):
            reason_for(verifier, body_of())
    nobody["retry"] = AsyncRetry(NoBackoff(), 0)
    async with redis.asyncio.Redis(**nobody) as client:
        verifier = WebhookVerifier([SECRET], seen=AsyncRedisReplayStore(client))
        with pytest.raises(redis.ConnectionError):
            await reason_later(verifier, body_of())


def test_a_forged_delivery_asks_redis_nothing() -> None:
    """We chose it: who has no secret must not be able to fill it, or to learn that it is away."""
    with redis.Redis(port=free_port()) as client:
        verifier = WebhookVerifier([SECRET], seen=RedisReplayStore(client))
        with pytest.raises(WebhookVerificationError, match="signature_mismatch"):
            verifier.verify(signed_headers("whsec-other", body_of()), body_of())


def test_a_client_goes_on_when_a_store_is_let_go(client: Any) -> None:
    """We chose it: it is the caller's."""
    store = RedisReplayStore(client)
    store.add(("wh", "run", 1))
    del store
    assert len(names(client)) == 1


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "options",
    [
        {"keep_s": 599},
        {"keep_s": 600.5},
        {"keep_s": True},
        {"keep_s": "600"},
        {"prefix": ""},
        {"prefix": b"p"},
    ],
)
async def test_settings_that_cannot_work_are_refused(options: Any) -> None:
    """We chose it: found when the service starts; a delivery is good for ten minutes, so none is forgotten sooner."""
    for store, client in (
        (RedisReplayStore, redis.Redis()),
        (AsyncRedisReplayStore, redis.asyncio.Redis()),
    ):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            store(client, **options)


@pytest.mark.asyncio
async def test_the_wrong_kind_of_client_is_refused() -> None:
    """We chose it: a coroutine, or a pipeline that only notes commands down, would look like something new."""
    blocking, waiting = redis.Redis(), redis.asyncio.Redis()
    for client in (waiting, blocking.pipeline(), None, "redis://"):
        with pytest.raises(ConfigurationError, match=r"client: must be a redis\.Redis"):
            RedisReplayStore(client)
    for client in (blocking, waiting.pipeline(), None):
        with pytest.raises(ConfigurationError, match=r"client: must be a redis\.asyncio\.Redis"):
            AsyncRedisReplayStore(client)


@pytest.mark.asyncio
async def test_what_is_shown_of_a_store_has_no_address_and_no_password() -> None:
    """We chose it: a client shows its whole connection."""
    blocking = RedisReplayStore(redis.Redis(password="pw-canary"))
    waiting = AsyncRedisReplayStore(redis.asyncio.Redis(password="pw-canary"))
    assert repr(blocking) == "RedisReplayStore(prefix='openwop:webhook:', keep_s=86400)"
    assert repr(waiting) == "AsyncRedisReplayStore(prefix='openwop:webhook:', keep_s=86400)"


def test_without_the_extra_the_import_says_what_to_install() -> None:
    """We chose it."""
    program = "import sys; sys.modules['redis'] = None\nimport openwop.integrations.redis"
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'openwop[redis]'")
