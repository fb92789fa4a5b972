"""redis-py's retry lets a lost reply through."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from go_cache_safeguard.redis_py.errors import ConnectionOutcomeUnknown
from go_cache_safeguard.redis_py.once import once, was_answered


class _Older(Retry):
    """As a site may have written it: it cannot be told what not to try again."""

    def call_with_retry(self, do: Any, fail: Any) -> Any:  # type: ignore[override]  # older ones took no more
        return super().call_with_retry(do, fail)


class _Failing:
    def __init__(self, error: Exception) -> None:
        self.error, self.tried = error, 0

    def __call__(self) -> None:
        self.tried += 1
        raise self.error

    async def wait(self) -> None:
        self()


@pytest.mark.parametrize("kind", [Retry, _Older])
def test_a_lost_reply_is_not_tried_again_and_a_broken_connection_is(kind: Callable[..., Any]) -> None:
    retry = once(kind(NoBackoff(), 3))
    failing = _Failing(RedisConnectionError("gone"))
    with pytest.raises(RedisConnectionError):
        retry.call_with_retry(failing, lambda _error: None)
    lost = _Failing(ConnectionOutcomeUnknown("lost"))
    with pytest.raises(ConnectionOutcomeUnknown):
        retry.call_with_retry(lost, lambda _error: None)
    assert (failing.tried, lost.tried) == (4, 1)


def test_likewise_where_it_is_awaited() -> None:
    retry = once(AsyncRetry(NoBackoff(), 2))
    failing, lost = _Failing(RedisConnectionError("gone")), _Failing(ConnectionOutcomeUnknown("lost"))

    async def fail(_error: Exception) -> None: ...

    async def both() -> None:
        with pytest.raises(RedisConnectionError):
            await retry.call_with_retry(failing.wait, fail)
        with pytest.raises(ConnectionOutcomeUnknown):
            await retry.call_with_retry(lost.wait, fail)

    asyncio.run(both())
    assert (failing.tried, lost.tried) == (3, 1)


def test_it_stays_the_retry_that_it_was() -> None:
    retry = Retry(NoBackoff(), 5, supported_errors=(ValueError,))
    made = once(retry)
    assert (made.get_retries(), made == retry, isinstance(made, Retry), once(made) is made) == (5, True, True, True)
    assert once(None) is None


def test_an_answer_of_the_server_in_the_shape_of_a_broken_connection_is_told_apart() -> None:
    assert was_answered(BusyLoadingError("loading"))
    assert was_answered(AuthenticationError("no"))
    demoted = RedisConnectionError("The previous master is now a slave")
    demoted.__context__ = ReadOnlyError("as redis-py leaves it there")
    assert was_answered(demoted)
    assert not was_answered(RedisConnectionError("gone"))
