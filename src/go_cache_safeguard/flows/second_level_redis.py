"""Parcels on a Redis or Valkey server, and beside them what builds with them did.

Knows:     names, time to live, and that one answer is bounded on the server already.
Called by: `flows.cacheprog_start`; `flows.builds` reads what builds did.
Never:     waits longer than the limit, tries twice, or takes a password from the command line or a URL.
Source:    GETRANGE sends no more than it is asked for, and nothing for a key that is not there (redis.io/commands/getrange).
"""

import time

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PREFIX = "gcs:cacheprog:"
_BUILDS = "gcs:builds:"
"""Not below the prefix of parcels: emptying a namespace must not take what tells how it is borne."""
_EACH_HOUR = 1_000
"""Builds of a namespace that are told in an hour. Nothing is trimmed: a guard before the server would take that for a loss."""
_KEPT_S = 2 * 24 * 3_600
_HOUR_NS = 3_600 * 10**9
_MS = 1_000_000


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

    def tell(self, namespace: str, line: bytes) -> None:
        """See `flows.second_level.Backend`."""
        key = f"{_BUILDS}{namespace}:{time.time_ns() // _HOUR_NS}"
        if self._redis.xlen(key) < _EACH_HOUR:
            talk = self._redis.pipeline(transaction=False)
            talk.xadd(key, {"build": line})
            talk.expire(key, _KEPT_S)
            talk.execute()

    def told(self, namespace: str, start_ns: int) -> list[tuple[bytes, int]]:
        """What builds left behind since then, and when, by the server's clock in nanoseconds since 1970.

        Raises:
            RedisError: The server did not answer, or not so.
        """
        now_ns = time.time_ns()
        first_ns = max(start_ns, now_ns - _KEPT_S * 10**9)
        talk = self._redis.pipeline(transaction=False)
        for hour in range(first_ns // _HOUR_NS - 1, now_ns // _HOUR_NS + 2):  # whoever told may have another clock
            talk.xrange(f"{_BUILDS}{namespace}:{hour}", min=max(0, start_ns // _MS), count=_EACH_HOUR)
        return [
            (fields[b"build"], int(number.partition(b"-")[0]) * _MS)
            for found in talk.execute()
            for number, fields in found
            if b"build" in fields
        ]

    def close(self) -> None:
        """Let go of the connection."""
        self._redis.close()
