"""Deliveries of webhooks remembered in Redis, for receivers that are more than one process.

Needs the ``redis`` extra (``pip install 'openwop[redis]'``).

Example::

    client = redis.asyncio.Redis(host="redis.internal", socket_timeout=1)
    verifier = WebhookVerifier(secrets=[secret], seen=AsyncRedisReplayStore(client))
    delivery = await verifier.verify_async(request.headers, await request.body())
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

try:
    import redis
    import redis.asyncio
except ImportError as error:
    message = f"openwop.integrations.redis needs {error.name}: pip install 'openwop[redis]'"
    raise ImportError(message) from error

from openwop.errors import ConfigurationError
from openwop.webhooks import ReplayKey

__all__ = ["AsyncRedisReplayStore", "RedisReplayStore"]

_SHORTEST_S = 600
"""A delivery is good for five minutes to either side of the time in it."""
_DAY_S = 86_400


class RedisReplayStore:
    """Remembers deliveries in Redis, by a blocking client; for :meth:`WebhookVerifier.verify`.

    Each delivery is one key that expires, written and asked for in one step: of any number of processes that get the
    same delivery at once, one is told that it is new.  That holds also when the client loses an answer and asks again.

    What the client raises comes through as it is, a ``redis.ConnectionError`` for one: then nobody knows whether the
    delivery is new, and a receiver answers 503.  A host waits five seconds for that, so give the client a
    ``socket_timeout`` and few retries.

    Args:
        client: a ``redis.Redis``, or ``redis.RedisCluster``, of yours; it is never closed here.
        prefix: what the keys begin with; receivers that share it share what they have seen.
        keep_s: for how many seconds a delivery is remembered; 600 at least.  Hosts that deliver until they succeed may
            take hours for it.

    Raises :class:`ConfigurationError` for settings that cannot work.

    Example::

        verifier = WebhookVerifier(secrets=[secret], seen=RedisReplayStore(redis.Redis(socket_timeout=1)))
    """

    def __init__(
        self,
        client: redis.Redis | redis.RedisCluster,
        *,
        prefix: str = "openwop:webhook:",
        keep_s: int = _DAY_S,
    ) -> None:
        self._client = _checked(client, (redis.Redis, redis.RedisCluster), "redis.Redis")
        self._keys = _Keys(prefix, keep_s)

    def add(self, key: ReplayKey, /) -> bool:
        """Remember ``key`` in one step; ``True`` when it was new."""
        name, mark = self._keys.name(key), _mark()
        if self._client.set(name, mark, nx=True, ex=self._keys.keep_s) is not None:
            return True
        return _is_ours(self._client.get(name), mark)

    def discard(self, key: ReplayKey, /) -> None:
        """Forget ``key``, if it is there."""
        self._client.delete(self._keys.name(key))

    def __repr__(self) -> str:
        return f"RedisReplayStore({self._keys!r})"


class AsyncRedisReplayStore:
    """The same as :class:`RedisReplayStore` by an async client; for :meth:`WebhookVerifier.verify_async`, on asyncio.

    Args:
        client: a ``redis.asyncio.Redis``, or ``redis.asyncio.RedisCluster``, of yours; it is never closed here.
        prefix: what the keys begin with; receivers that share it share what they have seen, blocking ones too.
        keep_s: for how many seconds a delivery is remembered; 600 at least.

    Raises :class:`ConfigurationError` for settings that cannot work.

    Example::

        verifier = WebhookVerifier(secrets=[secret], seen=AsyncRedisReplayStore(redis.asyncio.Redis(socket_timeout=1)))
    """

    def __init__(
        self,
        client: redis.asyncio.Redis | redis.asyncio.RedisCluster,
        *,
        prefix: str = "openwop:webhook:",
        keep_s: int = _DAY_S,
    ) -> None:
        self._client = _checked(
            client, (redis.asyncio.Redis, redis.asyncio.RedisCluster), "redis.asyncio.Redis"
        )
        self._keys = _Keys(prefix, keep_s)

    async def add(self, key: ReplayKey, /) -> bool:
        """Remember ``key`` in one step; ``True`` when it was new."""
        name, mark = self._keys.name(key), _mark()
        if await self._client.set(name, mark, nx=True, ex=self._keys.keep_s) is not None:
            return True
        return _is_ours(await self._client.get(name), mark)

    async def discard(self, key: ReplayKey, /) -> None:
        """Forget ``key``, if it is there."""
        await self._client.delete(self._keys.name(key))

    def __repr__(self) -> str:
        return f"AsyncRedisReplayStore({self._keys!r})"


class _Keys:
    """What the keys are named, and how long they are kept."""

    def __init__(self, prefix: Any, keep_s: Any) -> None:
        if not isinstance(prefix, str) or not prefix:
            raise ConfigurationError(f"prefix: must be a text that is not empty, not {prefix!r}")
        if not isinstance(keep_s, int) or isinstance(keep_s, bool) or keep_s < _SHORTEST_S:
            raise ConfigurationError(
                f"keep_s: must be a whole number of seconds, at least {_SHORTEST_S}, not {keep_s!r}"
            )
        self.keep_s = keep_s
        self._prefix = prefix

    def name(self, key: ReplayKey) -> str:
        # A digest, because the webhook's id is as long as its sender likes; of JSON, so that no two keys look the same.
        return self._prefix + hashlib.sha256(json.dumps(key).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"prefix={self._prefix!r}, keep_s={self.keep_s}"


def _checked(client: Any, kinds: tuple[type, ...], name: str) -> Any:
    # A pipeline is a client too, but it only notes commands down: its answer says nothing of what is new.
    if not isinstance(client, kinds) or hasattr(client, "command_stack"):
        raise ConfigurationError(
            f"client: must be a {name}, not {type(client).__module__}.{type(client).__name__}"
        )
    return client


def _mark() -> str:
    """What one call writes, and no other."""
    return secrets.token_hex(8)


def _is_ours(value: Any, mark: str) -> bool:
    # A client whose connection broke writes again by itself: what it finds there may be what this call has written.
    return value in (mark, mark.encode())
