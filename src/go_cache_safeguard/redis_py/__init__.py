"""redis-py behind the guard: drop-ins for its clients, pools and connections."""

from go_cache_safeguard.redis_py.client import GuardedRedis
from go_cache_safeguard.redis_py.cluster import GuardedRedisCluster
from go_cache_safeguard.redis_py.errors import (
    GuardError,
    GuardUnavailable,
    OperationElsewhere,
    OperationHeld,
    OperationRefused,
    OutcomeUnknown,
    parse_error,
)
from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.pools import GuardedBlockingConnectionPool, GuardedConnectionPool, guard_process
from go_cache_safeguard.redis_py.wire import (
    GuardedConnection,
    GuardedSSLConnection,
    GuardedUnixDomainSocketConnection,
)

__all__ = [
    "Guard",
    "GuardError",
    "GuardUnavailable",
    "GuardedBlockingConnectionPool",
    "GuardedConnection",
    "GuardedConnectionPool",
    "GuardedRedis",
    "GuardedRedisCluster",
    "GuardedSSLConnection",
    "GuardedUnixDomainSocketConnection",
    "OperationElsewhere",
    "OperationHeld",
    "OperationRefused",
    "OutcomeUnknown",
    "default_guard",
    "guard_process",
    "parse_error",
]
