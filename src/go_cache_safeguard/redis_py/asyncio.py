"""`redis.asyncio.Redis` behind the guard.

Knows:     that whatever pool a client is given, its connections are guarded before the client can use one.
Called by: applications, in the place of `redis.asyncio`.
Never:     sends anything itself (`redis_py.aiowire` does), or blocks the event loop while somebody is asked.
"""

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool, ConnectionPool

from go_cache_safeguard.redis_py.aiocluster import GuardedRedisCluster
from go_cache_safeguard.redis_py.aiowire import (
    GuardedConnection,
    GuardedSSLConnection,
    GuardedUnixDomainSocketConnection,
    guarded,
)
from go_cache_safeguard.redis_py.client import claiming
from go_cache_safeguard.redis_py.pools import guard_pool
from go_cache_safeguard.redis_py.ruled import Ruled

__all__ = [
    "GuardedBlockingConnectionPool",
    "GuardedConnection",
    "GuardedConnectionPool",
    "GuardedRedis",
    "GuardedRedisCluster",
    "GuardedSSLConnection",
    "GuardedUnixDomainSocketConnection",
]


class GuardedRedis(Ruled, Redis):  # type: ignore[misc]  # bases of redis-py disagree, which shows beside another base
    """A drop-in for `redis.asyncio.Redis`; see `redis_py.ruled.Ruled` for how it gets its guard."""

    derives = staticmethod(guarded)

    async def guard_status(self, op: str) -> str:
        """Where an operation stands; see `redis_py.client.GuardedRedis.guard_status`."""
        return await asyncio.to_thread(self.guard.status, op)

    async def guard_retry(self, op: str, *args: Any, **options: Any) -> Any:
        """Send again what was held; see `redis_py.client.GuardedRedis.guard_retry`."""
        this: Any = self
        with claiming(op):
            return await this.execute_command(*args, **options)


class GuardedConnectionPool(ConnectionPool):
    """For libraries that take a class of pool and make the client themselves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        guard_pool(self, None, derive=guarded)


class GuardedBlockingConnectionPool(BlockingConnectionPool):
    """Likewise, one that waits for a connection when all are in use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        guard_pool(self, None, derive=guarded)
