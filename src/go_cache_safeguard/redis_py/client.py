"""`redis.Redis` behind the guard.

Knows:     that whatever pool a client is given, its connections are guarded before the client can use one.
Called by: applications, in the place of `redis.Redis`.
Never:     sends anything itself; what a call does is decided where it leaves (`redis_py.wire`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from redis import Redis

from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.pools import guard_pool
from go_cache_safeguard.redis_py.turnstile import RETRIED


class GuardedRedis(Redis):
    """A drop-in for `redis.Redis`.

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
        self._guarded_pool = guard_pool(pool, self._given)

    @property
    def guard(self) -> Guard:
        """Whose rules are kept."""
        found: Guard | None = self.connection_pool.connection_class.ruled_by
        return found or default_guard()

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
