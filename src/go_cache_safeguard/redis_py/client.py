"""`redis.Redis` behind the guard.

Knows:     that whatever pool a client is given, its connections are guarded before the client can use one.
Called by: applications, in the place of `redis.Redis`.
Never:     sends anything itself; what a call does is decided where it leaves (`redis_py.wire`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis

from go_cache_safeguard.redis_py.ruled import Ruled
from go_cache_safeguard.redis_py.turnstile import RETRIED
from go_cache_safeguard.redis_py.wire import guarded


class GuardedRedis(Ruled, Redis):
    """A drop-in for `redis.Redis`; see `redis_py.ruled.Ruled` for how it gets its guard."""

    derives = staticmethod(guarded)

    def guard_status(self, op: str) -> str:
        """Where an operation stands, such as `HELD`, `APPROVED` or `DONE`.

        Raises:
            Failure: There is none of this name, or the journal cannot be read.
        """
        return self.guard.status(op)

    def guard_retry(self, op: str, *args: Any, **options: Any) -> Any:
        """Send again, word for word, the call that was held as this operation.

        Args:
            op: The operation.
            *args: The command and its arguments, as for `execute_command`.
            **options: Likewise.

        Raises:
            OperationHeld: It is not approved yet.
        """
        this: Any = self
        with claiming(op):
            return this.execute_command(*args, **options)


@contextmanager
def claiming(op: str) -> Iterator[None]:
    """Say for all calls inside which operation they are the retry of."""
    token = RETRIED.set(op)
    try:
        yield
    finally:
        RETRIED.reset(token)
