"""`redis.asyncio.Redis` behind the guard.

Knows:     that whatever pool a client is given, its connections are guarded before the client can use one.
Called by: applications, in the place of `redis.asyncio`.
Never:     sends anything itself (`redis_py.aiowire` does), or blocks the event loop while somebody is asked.
"""

import asyncio
from typing import Any, ClassVar

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
from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.pools import guard_pool

__all__ = [
    "GuardedBlockingConnectionPool",
    "GuardedConnection",
    "GuardedConnectionPool",
    "GuardedRedis",
    "GuardedRedisCluster",
    "GuardedSSLConnection",
    "GuardedUnixDomainSocketConnection",
]


class GuardedRedis(Redis):
    """A drop-in for `redis.asyncio.Redis`; see `redis_py.client.GuardedRedis`.

    Attributes:
        ruled_by: The guard of this class; None for the one of the process. `under` makes a class with another one.
    """

    ruled_by: ClassVar[Guard | None] = None

    def __init__(self, *args: Any, guard: Guard | None = None, **kwargs: Any) -> None:
        """As in redis-py.

        Args:
            *args: As in redis-py.
            guard: Whose rules are kept; None for the class' own, or else the process'.
            **kwargs: As in redis-py.

        Raises:
            Failure: The settings cannot be used.
            ValueError: The pool is in use without a guard.
        """
        self._given = guard or self.ruled_by
        super().__init__(*args, **kwargs)

    @classmethod
    def from_url(cls, url: str, *args: Any, guard: Guard | None = None, **kwargs: Any) -> Any:
        """As in redis-py.

        Args:
            url: As in redis-py.
            *args: Likewise.
            guard: Whose rules are kept; None for the class' own, or else the process'.
            **kwargs: As in redis-py.
        """
        if guard is not None:
            return cls.under(guard).from_url(url, *args, **kwargs)
        above: Any = super()
        return above.from_url(url, *args, **kwargs)

    @classmethod
    def under(cls, guard: Guard) -> "type[GuardedRedis]":
        """The same class with other rules, for libraries that take a class."""
        return type(cls.__name__, (cls,), {"ruled_by": guard, "__module__": cls.__module__})

    @property
    def connection_pool(self) -> Any:
        """As in redis-py; every connection of it asks first."""
        return self._guarded_pool

    @connection_pool.setter
    def connection_pool(self, pool: Any) -> None:
        self._guarded_pool = guard_pool(pool, self._given, derive=guarded)

    @property
    def guard(self) -> Guard:
        """Whose rules are kept."""
        found: Guard | None = self.connection_pool.connection_class.ruled_by
        return found or default_guard()

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
