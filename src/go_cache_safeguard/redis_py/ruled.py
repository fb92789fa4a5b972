"""What all guarded clients with one pool have in common, whether they wait or not.

Knows:     how a client gets its guard, and that it comes with the pool.
Called by: `redis_py.client`, `redis_py.asyncio`.
Never:     sends anything.
"""

from typing import Any, ClassVar, Self

from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.pools import guard_pool


class Ruled:
    """Goes before redis-py's client among the bases.

    Attributes:
        ruled_by: The guard of this class; None for the one of the process. `under` makes a class with another one.
        derives: How a class of connection becomes a guarded one.
    """

    ruled_by: ClassVar[Guard | None] = None
    derives: ClassVar[Any]

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
    def under(cls, guard: Guard) -> type[Self]:
        """The same class with other rules, for libraries that take a class."""
        return type(cls.__name__, (cls,), {"ruled_by": guard, "__module__": cls.__module__})

    @property
    def connection_pool(self) -> Any:
        """As in redis-py; every connection of it asks first."""
        return self._guarded_pool

    @connection_pool.setter
    def connection_pool(self, pool: Any) -> None:
        self._guarded_pool = guard_pool(pool, self._given, derive=self.derives)

    @property
    def guard(self) -> Guard:
        """Whose rules are kept."""
        found: Guard | None = self.connection_pool.connection_class.ruled_by
        return found or default_guard()
