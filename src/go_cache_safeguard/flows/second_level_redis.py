"""Parcels on a Redis or Valkey server.

Knows:     names, time to live, and that one answer is bounded on the server already.
Called by: `flows.cacheprog_start`.
Never:     waits longer than the limit, tries twice, or takes a password from the command line or a URL.
Source:    GETRANGE sends no more than it is asked for, and nothing for a key that is not there (redis.io/commands/getrange).
"""

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PREFIX = "gcs:cacheprog:"


class RedisBackend:
    """One server."""

    def __init__(self, url: str, *, password: str | None, timeout_s: float, ttl_s: int) -> None:
        """Prepare; the first request connects.

        Args:
            url: `redis://host:port/db`, `rediss://...` or `unix:///path?db=N`.
            password: Or None.
            timeout_s: For connecting, and for each answer.
            ttl_s: How long the server keeps a parcel, in seconds; 0 for as long as it likes.
        """
        given = {} if password is None else {"password": password}
        self._ttl_s = ttl_s
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **given,
        )

    def get(self, name: str, limit: int) -> bytes | None:
        """See `flows.second_level.Backend`."""
        found = self._redis.getrange(PREFIX + name, 0, limit - 1)
        if not isinstance(found, bytes):
            raise TypeError("the server's answer is no string")
        return found or None

    def put(self, name: str, data: bytes) -> None:
        """See `flows.second_level.Backend`."""
        self._redis.set(PREFIX + name, data, ex=self._ttl_s or None)
