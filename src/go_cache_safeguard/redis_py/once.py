"""redis-py's own retry, except after a reply that got lost.

Knows:     that redis-py sends a call again after errors of the connection, with whatever `Retry` a site configured.
Called by: the guarded connections and clusters, for each `Retry` they are given.
Never:     changes how often, how long and after which other errors is retried.
Source:    retry.py and asyncio/retry.py of redis-py 6.4 and 8.1: `call_with_retry` catches subclasses of what it supports.
"""

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any

from redis.asyncio.retry import Retry as AsyncRetry
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError

from go_cache_safeguard.redis_py.errors import OutcomeUnknown


class _Final(BaseException):
    """Carries an error past `except` clauses for errors of the connection."""

    def __init__(self, error: OutcomeUnknown) -> None:
        super().__init__(error)
        self.error = error


class _Once:
    """Mixed into the class of a `Retry`."""

    __slots__ = ()

    def call_with_retry(self, do: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        """As in redis-py; what `do` raises for a lost reply is raised at once."""

        def tried() -> Any:
            try:
                return do()
            except OutcomeUnknown as error:
                raise _Final(error) from error

        above: Any = super()
        try:
            return above.call_with_retry(tried, *args, **kwargs)
        except _Final as final:
            raise final.error from final.error.__cause__


class _OnceAsked(_Once):
    """The same where redis-py can be told so."""

    __slots__ = ()

    def call_with_retry(self, do: Callable[[], Any], fail: Any, is_retryable: Any = None, **kwargs: Any) -> Any:
        """As in redis-py; what `do` raises for a lost reply is raised at once."""
        above: Any = super(_Once, self)
        if is_retryable is None:
            return above.call_with_retry(do, fail, _is_retryable, **kwargs)
        return super().call_with_retry(do, fail, is_retryable, **kwargs)


def _is_retryable(error: Exception) -> bool:
    return not isinstance(error, OutcomeUnknown)


class _AsyncOnce:
    """Likewise."""

    __slots__ = ()

    async def call_with_retry(self, do: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        """As in redis-py; what `do` raises for a lost reply is raised at once."""

        async def tried() -> Any:
            try:
                return await do()
            except OutcomeUnknown as error:
                raise _Final(error) from error

        above: Any = super()
        try:
            return await above.call_with_retry(tried, *args, **kwargs)
        except _Final as final:
            raise final.error from final.error.__cause__


def once(retry: Any) -> Any:
    """The same retry, which lets `OutcomeUnknown` through."""
    if retry is None or isinstance(retry, _Once | _AsyncOnce):
        return retry
    of: Any = _class_of
    made: Any = object.__new__(of(type(retry)))
    vars(made).update(vars(retry))
    return made


@cache
def _class_of(kind: Any) -> type:
    mixed: type = _AsyncOnce
    if not issubclass(kind, AsyncRetry):
        mixed = _OnceAsked if "is_retryable" in signature(kind.call_with_retry).parameters else _Once
    return type(kind.__name__, (mixed, kind), {"__module__": __name__, "__slots__": ()})


def was_answered(error: BaseException) -> bool:
    """Whether an error of the connection is in truth the server's answer that it did not do the call.

    -LOADING, -NOAUTH and the like are such classes in redis-py; a Sentinel's connection makes one of -READONLY.
    """
    answers = AuthenticationError | AuthorizationError | BusyLoadingError
    return isinstance(error, answers) or (
        isinstance(error, RedisConnectionError) and isinstance(error.__context__, ReadOnlyError)
    )
