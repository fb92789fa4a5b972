"""Pools whose connections ask first.

Knows:     how a pool of redis-py, with or without asyncio, is made to hand out guarded connections only.
Called by: the guarded clients, with any pool they are given; libraries that take a class of pool; applications.
Never:     leaves a connection in a pool that does not ask; takes a pool over while somebody uses a connection of it.
"""

from functools import wraps
from typing import Any

from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool
from redis.connection import BlockingConnectionPool, ConnectionPool

from go_cache_safeguard.redis_py.aiowire import guarded as aioguarded
from go_cache_safeguard.redis_py.errors import ConnectionOutcomeUnknown, OutcomeUnknown
from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.wire import Watched, guarded


def guard_pool(
    pool: Any, ruled_by: Guard | None, unknown: type[OutcomeUnknown] = ConnectionOutcomeUnknown, derive: Any = guarded
) -> Any:
    """Make a pool give guarded connections from now on.

    Args:
        pool: Any pool of redis-py; changed in place. One that is guarded already keeps its guard.
        ruled_by: Whose rules are kept; None for the process' own.
        unknown: What is raised for a lost reply.
        derive: How its class of connection becomes a guarded one.

    Raises:
        ValueError: Somebody uses one of its connections now.
    """
    if issubclass(pool.connection_class, Watched):
        return pool
    if _in_use(pool):
        raise ValueError("connections of this pool are in use without a guard; give a guarded client a pool of its own")
    pool.connection_class = derive(pool.connection_class, ruled_by, unknown)
    pool.reset()
    return pool


def _in_use(pool: Any) -> bool:
    waiting = getattr(pool, "pool", None)
    if waiting is not None and hasattr(pool, "_connections"):
        idle = [one for one in waiting.queue if one is not None]
        return len(idle) < len(pool._connections)  # noqa: SLF001 - redis-py has no other way to ask
    return bool(pool._in_use_connections)  # noqa: SLF001 - likewise


def guard_process(ruled_by: Guard | None = None) -> None:
    """Guard every pool of redis-py that is made in this process from now on, by whatever library; a second call does nothing.

    For libraries that make their clients themselves, such as Celery. Call it before they do. Connections without a pool, and
    pools that are there already, stay as they are.

    Args:
        ruled_by: Whose rules are kept; None for the process' own.

    Raises:
        Failure: The settings cannot be used.
    """
    guard = ruled_by or default_guard()
    for kind, derive in ((ConnectionPool, guarded), (AsyncConnectionPool, aioguarded)):
        _guard_made(kind, guard, derive)


_PROCESS: set[type] = set()


def _guard_made(kind: Any, guard: Guard, derive: Any) -> None:
    if kind in _PROCESS:
        return
    _PROCESS.add(kind)
    make = kind.__init__

    @wraps(make)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        guard_pool(self, guard, derive=derive)

    kind.__init__ = made


class GuardedConnectionPool(ConnectionPool):
    """For libraries that take a class of pool and make the client themselves, such as Django's cache."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        guard_pool(self, None)


class GuardedBlockingConnectionPool(BlockingConnectionPool):
    """Likewise, one that waits for a connection when all are in use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        above: Any = super()
        above.__init__(*args, **kwargs)
        guard_pool(self, None)
